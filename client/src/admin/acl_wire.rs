//! The ACL messages, version 1, which every broker since Kafka 2.0 speaks.
//!
//! Not krafka's: its 0.28.1 numbers the pattern types LITERAL 2 and PREFIXED 3, where the protocol says MATCH 2, LITERAL 3
//! and PREFIXED 4. A deletion of one literal ACL would so delete every ACL that matches the name.

use bytes::{Buf, BufMut};
use krafka::__private::protocol::{Decode, Encode, KafkaString, TryEncode, VersionedDecode, VersionedEncode};
use krafka::error::{ErrorCode, Result};

/// The version that is written and read here.
pub(super) const VERSION: i16 = 1;

/// Code of "any", in filters.
pub(super) const ANY: i8 = 1;

/// An ACL with the codes of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) resource_type: i8,
    pub(super) resource_name: String,
    pub(super) pattern_type: i8,
    pub(super) principal: String,
    pub(super) host: String,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

/// A filter over ACLs with the codes of the protocol; names that are not set match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) resource_type: i8,
    pub(super) resource_name: Option<String>,
    pub(super) pattern_type: i8,
    pub(super) principal: Option<String>,
    pub(super) host: Option<String>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

impl Filter {
    fn encode(&self, buf: &mut impl BufMut) -> Result<()> {
        self.resource_type.encode(buf);
        KafkaString(self.resource_name.clone()).try_encode(buf)?;
        self.pattern_type.encode(buf);
        KafkaString(self.principal.clone()).try_encode(buf)?;
        KafkaString(self.host.clone()).try_encode(buf)?;
        self.operation.encode(buf);
        self.permission.encode(buf);
        Ok(())
    }
}

pub(super) struct DescribeRequest(pub(super) Filter);

impl VersionedEncode for DescribeRequest {
    fn encode_versioned(&self, _version: i16, buf: &mut impl BufMut) -> Result<()> {
        self.0.encode(buf)
    }
}

pub(super) struct CreateRequest(pub(super) Vec<Binding>);

impl VersionedEncode for CreateRequest {
    fn encode_versioned(&self, _version: i16, buf: &mut impl BufMut) -> Result<()> {
        count(self.0.len()).encode(buf);
        for binding in &self.0 {
            let Binding { resource_name, principal, host, .. } = binding.clone();
            let as_filter = Filter {
                resource_type: binding.resource_type,
                resource_name: Some(resource_name),
                pattern_type: binding.pattern_type,
                principal: Some(principal),
                host: Some(host),
                operation: binding.operation,
                permission: binding.permission,
            };
            // The same fields in the same order; only that none may be null.
            as_filter.encode(buf)?;
        }
        Ok(())
    }
}

pub(super) struct DeleteRequest(pub(super) Vec<Filter>);

impl VersionedEncode for DeleteRequest {
    fn encode_versioned(&self, _version: i16, buf: &mut impl BufMut) -> Result<()> {
        count(self.0.len()).encode(buf);
        self.0.iter().try_for_each(|filter| filter.encode(buf))
    }
}

/// A broker's verdict on the request or on one item.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
}

impl Verdict {
    fn decode(buf: &mut impl Buf) -> Result<Self> {
        let code = ErrorCode::from_i16(i16::decode(buf)?);
        Ok(Self { code, message: KafkaString::decode(buf)?.0 })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct DescribeResponse {
    pub(super) verdict: Verdict,
    pub(super) bindings: Vec<Binding>,
}

impl VersionedDecode for DescribeResponse {
    fn decode_versioned(_version: i16, buf: &mut impl Buf) -> Result<Self> {
        let _throttle_ms = i32::decode(buf)?;
        let verdict = Verdict::decode(buf)?;
        let mut bindings = Vec::new();
        for _ in 0..i32::decode(buf)? {
            let (resource_type, resource_name, pattern_type) = (i8::decode(buf)?, text(buf)?, i8::decode(buf)?);
            for _ in 0..i32::decode(buf)? {
                bindings.push(Binding {
                    resource_type,
                    resource_name: resource_name.clone(),
                    pattern_type,
                    principal: text(buf)?,
                    host: text(buf)?,
                    operation: i8::decode(buf)?,
                    permission: i8::decode(buf)?,
                });
            }
        }
        Ok(Self { verdict, bindings })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct CreateResponse(pub(super) Vec<Verdict>);

impl VersionedDecode for CreateResponse {
    fn decode_versioned(_version: i16, buf: &mut impl Buf) -> Result<Self> {
        let _throttle_ms = i32::decode(buf)?;
        (0..i32::decode(buf)?).map(|_| Verdict::decode(buf)).collect::<Result<_>>().map(Self)
    }
}

/// For each filter a verdict, and the ACLs that it matched, each with its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeleteResponse(pub(super) Vec<(Verdict, Vec<(Verdict, Binding)>)>);

impl VersionedDecode for DeleteResponse {
    fn decode_versioned(_version: i16, buf: &mut impl Buf) -> Result<Self> {
        let _throttle_ms = i32::decode(buf)?;
        let mut results = Vec::new();
        for _ in 0..i32::decode(buf)? {
            let verdict = Verdict::decode(buf)?;
            let mut matched = Vec::new();
            for _ in 0..i32::decode(buf)? {
                let verdict = Verdict::decode(buf)?;
                let binding = Binding {
                    resource_type: i8::decode(buf)?,
                    resource_name: text(buf)?,
                    pattern_type: i8::decode(buf)?,
                    principal: text(buf)?,
                    host: text(buf)?,
                    operation: i8::decode(buf)?,
                    permission: i8::decode(buf)?,
                };
                matched.push((verdict, binding));
            }
            results.push((verdict, matched));
        }
        Ok(Self(results))
    }
}

/// A null where none may be is read as an empty name, which no ACL has.
fn text(buf: &mut impl Buf) -> Result<String> {
    Ok(KafkaString::decode(buf)?.0.unwrap_or_default())
}

fn count(length: usize) -> i32 {
    i32::try_from(length).expect("a request holds far fewer than 2^31 ACLs")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `topic orders, literal, User:a, *, read, allow`, byte by byte as the protocol's specification has it.
    const BINDING: &[u8] = b"\x02\x00\x06orders\x03\x00\x06User:a\x00\x01*\x03\x03";

    fn binding() -> Binding {
        Binding {
            resource_type: 2,
            resource_name: "orders".into(),
            pattern_type: 3,
            principal: "User:a".into(),
            host: "*".into(),
            operation: 3,
            permission: 3,
        }
    }

    fn bytes(request: &impl VersionedEncode) -> Vec<u8> {
        let mut buf = Vec::new();
        request.encode_versioned(VERSION, &mut buf).expect("encodes");
        buf
    }

    #[test]
    fn requests_have_the_protocols_bytes() {
        assert_eq!(bytes(&CreateRequest(vec![binding()])), [b"\0\0\0\x01", BINDING].concat());
        let open = Filter {
            resource_type: ANY,
            resource_name: None,
            pattern_type: ANY,
            principal: None,
            host: None,
            operation: ANY,
            permission: ANY,
        };
        let all = b"\x01\xff\xff\x01\xff\xff\xff\xff\x01\x01";
        assert_eq!(bytes(&DescribeRequest(open.clone())), all);
        assert_eq!(bytes(&DeleteRequest(vec![open])), [b"\0\0\0\x01".as_slice(), all].concat());
    }

    #[test]
    fn answers_are_read_as_the_protocol_writes_them() {
        let described =
            b"\0\0\0\0\0\0\xff\xff\0\0\0\x01\x02\x00\x06orders\x03\0\0\0\x01\x00\x06User:a\x00\x01*\x03\x03";
        let answer = DescribeResponse::decode_versioned(VERSION, &mut &described[..]).expect("decodes");
        assert_eq!(answer.bindings, [binding()]);

        let created = b"\0\0\0\0\0\0\0\x02\0\0\xff\xff\0\x1f\0\x02no";
        let CreateResponse(verdicts) = CreateResponse::decode_versioned(VERSION, &mut &created[..]).expect("decodes");
        assert_eq!(verdicts[1], Verdict { code: ErrorCode::ClusterAuthorizationFailed, message: Some("no".into()) });

        let deleted = [b"\0\0\0\0\0\0\0\x01\0\0\xff\xff\0\0\0\x01\0\0\xff\xff".as_slice(), BINDING].concat();
        let DeleteResponse(results) = DeleteResponse::decode_versioned(VERSION, &mut &deleted[..]).expect("decodes");
        assert_eq!(results[0].1[0].1, binding());
    }

    #[test]
    fn a_short_answer_is_an_error_and_a_wrong_count_allocates_nothing() {
        let endless = b"\0\0\0\0\0\0\xff\xff\x7f\xff\xff\xff";
        assert!(DescribeResponse::decode_versioned(VERSION, &mut &endless[..]).is_err());
        assert!(DeleteResponse::decode_versioned(VERSION, &mut &b"\0\0\0\0\x7f\xff\xff\xff"[..]).is_err());
    }
}
