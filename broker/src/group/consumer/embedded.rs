//! What classic consumers put into their groups' opaque bytes: Kafka's `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::group::records::{Input, RecordError, put_text};

/// What a classic consumer wants and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: BTreeSet<Arc<str>>,
    pub(super) owned: Vec<(Arc<str>, i32)>,
    pub(super) rack: Option<Arc<str>>,
}

/// Fields of later versions come behind those of earlier ones, and what is behind them is ignored, as in Kafka.
pub(super) fn subscription(bytes: &Bytes) -> Result<Subscription, RecordError> {
    let mut input = Input::plain(bytes.clone());
    let version = input.int16()?;
    let topics = input.array(Input::text)?.into_iter().collect();
    input.optional_bytes()?;
    let owned = if version >= 1 { partitions(&mut input)? } else { Vec::new() };
    if version >= 2 {
        input.int32()?;
    }
    let rack = if version >= 3 { input.optional_text()? } else { None };
    Ok(Subscription { topics, owned, rack })
}

/// The partitions of an assignment. No bytes are no partitions: so far the member has none.
pub(super) fn assignment(bytes: &Bytes) -> Result<Vec<(Arc<str>, i32)>, RecordError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut input = Input::plain(bytes.clone());
    input.int16()?;
    partitions(&mut input)
}

fn partitions(input: &mut Input) -> Result<Vec<(Arc<str>, i32)>, RecordError> {
    let topics = input.array(|input| Ok((input.text()?, input.array(Input::int32)?)))?;
    let of = |(topic, indexes): (Arc<str>, Vec<i32>)| indexes.into_iter().map(move |index| (Arc::clone(&topic), index));
    Ok(topics.into_iter().flat_map(of).collect())
}

/// An assignment in the version that the member's own subscription has.
pub(super) fn encode_assignment<'a>(
    subscription: &Bytes,
    topics: impl ExactSizeIterator<Item = (&'a str, &'a BTreeSet<i32>)>,
) -> Bytes {
    let version = Input::plain(subscription.clone()).int16().unwrap_or(0);
    let mut out = BytesMut::new();
    out.put_i16(version);
    out.put_i32(topics.len() as i32);
    for (topic, partitions) in topics {
        put_text(&mut out, topic);
        out.put_i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    // No user data.
    out.put_i32(-1);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_of_all_versions_are_read() {
        let topics = BTreeSet::from(["a".into()]);
        let old = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff");
        assert_eq!(subscription(&old), Ok(Subscription { topics: topics.clone(), ..Default::default() }));
        let new = b"\0\x03\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x05\0\0\0\x02\0\x01r";
        let expected = Subscription { topics, owned: vec![("a".into(), 5)], rack: Some("r".into()) };
        assert_eq!(subscription(&Bytes::from_static(new)), Ok(expected));
        assert!(subscription(&Bytes::from_static(b"\0\0\x7f\xff\xff\xff")).is_err());
        assert!(subscription(&Bytes::new()).is_err());
    }

    #[test]
    fn assignments_come_back() {
        let partitions = BTreeSet::from([1, 4]);
        let bytes = encode_assignment(&Bytes::from_static(b"\0\x01"), [("a", &partitions)].into_iter());
        assert_eq!(&bytes[..], b"\0\x01\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\x01\0\0\0\x04\xff\xff\xff\xff");
        assert_eq!(assignment(&bytes), Ok(vec![("a".into(), 1), ("a".into(), 4)]));
    }
}
