//! The judge is the codec itself: requests that are made from the table must decode, to their last byte.

use bytes::{BufMut, Bytes};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Message as _, VersionRange};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::protocol::schema_table::KEYS;

/// Makes request bodies along the table.
struct Maker {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    rng: StdRng,
    /// Nothing but what a request must have: empty arrays, nulls, no tagged fields.
    bare: bool,
}

impl Maker {
    fn request(key: i16, version: i16, seed: u64, bare: bool) -> Vec<u8> {
        let message = message(key).expect("a key of the table");
        let rng = StdRng::seed_from_u64(seed ^ ((key as u64) << 32) ^ ((version as u64) << 48));
        let mut maker = Self { out: Vec::new(), version, flexible: version >= message.flexible, rng, bare };
        maker.fields(message.fields);
        maker.out
    }

    fn fields(&mut self, fields: &'static [Field]) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.in_version(version)) {
            self.value(field.kind, field.may_be_null(version));
        }
        if self.flexible {
            self.tags(fields);
        }
    }

    fn tags(&mut self, fields: &'static [Field]) {
        let mut tags = Vec::new();
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_some() && field.in_version(version)) {
            if !self.bare && self.rng.random_bool(0.7) {
                let outer = std::mem::take(&mut self.out);
                self.value(field.kind, field.may_be_null(self.version));
                tags.push((field.tag.expect("filtered"), std::mem::replace(&mut self.out, outer)));
            }
        }
        tags.sort();
        if !self.bare && self.rng.random_bool(0.2) {
            tags.push((9_999, vec![7; self.rng.random_range(0..9)]));
        }
        self.varint(tags.len() as u32);
        for (tag, value) in tags {
            self.varint(tag);
            self.varint(value.len() as u32);
            self.out.extend(value);
        }
    }

    fn value(&mut self, kind: Kind, nullable: bool) {
        let null = nullable && (self.bare || self.rng.random_bool(0.2));
        let length = if self.bare { 0 } else { self.rng.random_range(0..4) };
        match kind {
            Kind::Fixed(size) => (0..size).for_each(|_| self.out.push(self.rng.random_range(0..2))),
            Kind::Struct(fields) => {
                if nullable {
                    self.out.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(fields);
                }
            }
            Kind::Text => {
                self.length(null, length, 2);
                (0..length).filter(|_| !null).for_each(|_| self.out.push(b'x'));
            }
            Kind::Bytes => {
                self.length(null, length, 4);
                (0..length).filter(|_| !null).for_each(|_| self.out.push(0xfe));
            }
            Kind::Array(element) => {
                self.length(null, length, 4);
                (0..length).filter(|_| !null).for_each(|_| self.value(*element, false));
            }
        }
    }

    fn length(&mut self, null: bool, length: u32, width: usize) {
        let length = if null { -1 } else { length as i32 };
        match (self.flexible, width) {
            (true, _) => self.varint((length + 1) as u32),
            (false, 2) => self.out.put_i16(length as i16),
            (false, _) => self.out.put_i32(length),
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// Whether the codec decodes a body, and how many bytes it leaves.
fn codec_leaves<R: Decodable>(body: &[u8], version: i16) -> Result<usize, String> {
    let mut bytes = Bytes::copy_from_slice(body);
    R::decode(&mut bytes, version).map(|_| bytes.len()).map_err(|error| error.to_string())
}

type Decode = fn(&[u8], i16) -> Result<usize, String>;

macro_rules! codec {
    ($($key:literal $request:ty),+ $(,)?) => {
        fn codec(key: i16) -> (VersionRange, Decode) {
            match key {
                $($key => (<$request>::VERSIONS, codec_leaves::<$request>),)+
                key => panic!("key {key} has no request type here"),
            }
        }
    };
}

codec!(
    0 ProduceRequest, 1 FetchRequest, 2 ListOffsetsRequest, 3 MetadataRequest, 8 OffsetCommitRequest,
    9 OffsetFetchRequest, 10 FindCoordinatorRequest, 11 JoinGroupRequest, 12 HeartbeatRequest, 13 LeaveGroupRequest,
    14 SyncGroupRequest, 15 DescribeGroupsRequest, 16 ListGroupsRequest, 17 SaslHandshakeRequest,
    18 ApiVersionsRequest, 19 CreateTopicsRequest, 20 DeleteTopicsRequest, 21 DeleteRecordsRequest,
    22 InitProducerIdRequest, 23 OffsetForLeaderEpochRequest, 24 AddPartitionsToTxnRequest, 25 AddOffsetsToTxnRequest,
    26 EndTxnRequest, 27 WriteTxnMarkersRequest, 28 TxnOffsetCommitRequest, 29 DescribeAclsRequest,
    30 CreateAclsRequest, 31 DeleteAclsRequest, 32 DescribeConfigsRequest, 33 AlterConfigsRequest,
    34 AlterReplicaLogDirsRequest, 35 DescribeLogDirsRequest, 36 SaslAuthenticateRequest, 37 CreatePartitionsRequest,
    42 DeleteGroupsRequest, 43 ElectLeadersRequest, 44 IncrementalAlterConfigsRequest,
    45 AlterPartitionReassignmentsRequest, 46 ListPartitionReassignmentsRequest, 47 OffsetDeleteRequest,
    48 DescribeClientQuotasRequest, 49 AlterClientQuotasRequest, 50 DescribeUserScramCredentialsRequest,
    51 AlterUserScramCredentialsRequest, 55 DescribeQuorumRequest, 57 UpdateFeaturesRequest, 60 DescribeClusterRequest,
    61 DescribeProducersRequest, 65 DescribeTransactionsRequest, 66 ListTransactionsRequest,
    68 ConsumerGroupHeartbeatRequest, 69 ConsumerGroupDescribeRequest, 71 GetTelemetrySubscriptionsRequest,
    72 PushTelemetryRequest, 74 ListConfigResourcesRequest, 75 DescribeTopicPartitionsRequest,
);

fn every_version() -> impl Iterator<Item = (i16, i16)> {
    KEYS.iter().flat_map(|&key| {
        let message = message(key).expect("a key of the table");
        (message.first..=message.last).map(move |version| (key, version))
    })
}

#[test]
fn the_table_knows_the_versions_of_the_codec() {
    for &key in KEYS {
        let message = message(key).expect("a key of the table");
        let codec = codec(key).0;
        assert_eq!((message.first, message.last), (codec.min, codec.max), "versions of key {key}");
    }
}

#[test]
fn what_the_table_describes_passes_and_decodes_to_the_last_byte() {
    for (key, version) in every_version() {
        for seed in 0..40 {
            let body = Maker::request(key, version, seed, seed == 0);
            assert_eq!(check(key, version, &body), Ok(()), "key {key} version {version} seed {seed}");
            assert_eq!(codec(key).1(&body, version), Ok(0), "key {key} version {version} seed {seed}");
        }
    }
}

#[test]
fn every_shorter_and_every_longer_body_is_refused() {
    for (key, version) in every_version() {
        let mut body = Maker::request(key, version, 1, false);
        for end in 0..body.len() {
            assert!(check(key, version, &body[..end]).is_err(), "key {key} version {version} cut at {end}");
        }
        let behind = ALLOWED_BEHIND + 1;
        body.resize(body.len() + behind, 0);
        assert_eq!(check(key, version, &body), Err(MalformedRequest::Trailing(ALLOWED_BEHIND + 1)));
    }
}

/// Peak of the address space: reserved memory shows here even when it is never touched.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).expect("Linux tells the peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn mutated_requests_never_panic_and_what_passes_decodes_within_its_size() {
    let mut rng = StdRng::seed_from_u64(7);
    let before = peak_kib();
    let mut passed = 0;
    for (key, version) in every_version() {
        for seed in 0..60 {
            let mut body = Maker::request(key, version, seed, false);
            for _ in 0..rng.random_range(1..4) {
                mutate(&mut body, &mut rng);
            }
            if check(key, version, &body).is_ok() {
                passed += 1;
                let left = codec(key).1(&body, version);
                let fits = left.as_ref().is_ok_and(|left| *left <= ALLOWED_BEHIND);
                assert!(fits, "key {key} version {version} seed {seed}: {left:?}");
            }
        }
    }
    assert!(passed > 1_000, "only {passed} mutated requests passed, which shows nothing about decoding");
    // The other tests of this process run at the same time, hence the wide margin; one wrong count reserves more.
    assert!(peak_kib() - before < 8 << 20, "decoding reserved more than 8 GiB");
}

fn mutate(body: &mut Vec<u8>, rng: &mut StdRng) {
    let at = rng.random_range(0..body.len() + 1);
    match rng.random_range(0..4) {
        0 if at < body.len() => body[at] = rng.random(),
        1 if at + 4 <= body.len() => body[at..at + 4].copy_from_slice(&rng.random::<[u8; 4]>()),
        2 => body.insert(at, rng.random()),
        _ if at < body.len() => drop(body.remove(at)),
        _ => {}
    }
}

#[test]
fn a_count_that_cannot_fit_is_refused_before_it_is_followed() {
    let mut metadata = vec![0x7f, 0xff, 0xff, 0xff];
    metadata.extend([0; 32]);
    let refused = check(3, 4, &metadata);
    assert_eq!(refused, Err(MalformedRequest::Count { field: "Topics", count: i32::MAX as u32, remaining: 32 }));
    assert_eq!(
        check(3, 4, &[0xff, 0xff, 0xff, 0xfe, 0]),
        Err(MalformedRequest::Length { field: "Topics", length: -2 })
    );
}

#[test]
fn many_small_elements_are_refused_although_they_fit() {
    let count = REQUEST_ELEMENTS as i32 + 1;
    let mut topics = count.to_be_bytes().to_vec();
    topics.resize(4 + 2 * count as usize, 0);
    assert_eq!(check(3, 0, &topics), Err(MalformedRequest::TooManyElements));
}

#[test]
fn tagged_fields_fill_their_size_and_come_in_order() {
    // DescribeCluster 0: one boolean, then tagged fields.
    assert_eq!(check(60, 0, &[0, 1, 5, 2, 9, 9]), Ok(()));
    assert_eq!(check(60, 0, &[0, 2, 5, 0, 5, 0]), Err(MalformedRequest::Tag { tag: 5 }));
    // Fetch 12, tag 0: the cluster id says that it is shorter than its field.
    let mut fetch = vec![0; 25];
    fetch.extend([1, 1, 1]);
    let with = |tag: &[u8]| [&fetch[..], tag].concat();
    assert_eq!(check(1, 12, &with(&[1, 0, 3, 3, b'a', b'b'])), Ok(()));
    assert_eq!(check(1, 12, &with(&[1, 0, 3, 2, b'a', b'b'])), Err(MalformedRequest::Tag { tag: 0 }));
}

#[test]
fn headers() {
    let fixed = [0, 3, 0, 12, 0, 0, 0, 1];
    let frame = |rest: &[u8]| [&fixed[..], rest].concat();
    assert_eq!(check_header(0, &fixed), Ok(8));
    assert_eq!(check_header(1, &frame(&[0, 2, b'm', b'e', 99])), Ok(12));
    assert_eq!(check_header(1, &frame(&[0xff, 0xff])), Ok(10));
    assert_eq!(check_header(2, &frame(&[0xff, 0xff, 1, 0, 1, 8])), Ok(14));
    for (version, rest) in
        [(1, &[][..]), (1, &[0]), (1, &[0, 5, b'x']), (1, &[0xff, 0xfe]), (2, &[0, 0]), (2, &[0, 0, 1])]
    {
        assert!(check_header(version, &frame(rest)).is_err(), "header {version} with {rest:?} passed");
    }
    (0..8).for_each(|end| assert!(check_header(0, &fixed[..end]).is_err()));
}
