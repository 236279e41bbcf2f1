//! The ACL messages, versions 2 and 3 (which differ only in the resource types that brokers know). krafka's own count
//! pattern types from Literal = 2, where the protocol has Match = 2, Literal = 3, Prefixed = 4.

use bytes::{Buf, BufMut};
use krafka::__private::protocol::{
    Decode, Encode, KafkaString, TaggedFields, TryEncode, VersionedDecode, VersionedEncode,
};
use krafka::__private::util::varint::{decode_unsigned_varint, encode_unsigned_varint};
use krafka::error::ErrorCode;
use krafka::{KrafkaError, Result};

type Message = Option<String>;

#[derive(Debug)]
pub(super) struct RawAcl {
    pub(super) resource_type: i8,
    pub(super) resource_name: String,
    pub(super) pattern_type: i8,
    pub(super) principal: String,
    pub(super) host: String,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

#[derive(Debug)]
pub(super) struct RawFilter {
    pub(super) resource_type: i8,
    pub(super) resource_name: Option<String>,
    pub(super) pattern_type: i8,
    pub(super) principal: Option<String>,
    pub(super) host: Option<String>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

pub(super) struct DescribeAcls {
    pub(super) filter: RawFilter,
}

pub(super) struct DescribeAclsResponse {
    pub(super) error_code: ErrorCode,
    pub(super) error_message: Message,
    pub(super) acls: Vec<RawAcl>,
}

pub(super) struct CreateAcls {
    pub(super) acls: Vec<RawAcl>,
}

pub(super) struct CreateAclsResponse {
    pub(super) results: Vec<(ErrorCode, Message)>,
}

pub(super) struct DeleteAcls {
    pub(super) filters: Vec<RawFilter>,
}

pub(super) struct DeleteAclsResponse {
    pub(super) filters: Vec<DeletedByFilter>,
}

pub(super) struct DeletedByFilter {
    pub(super) error_code: ErrorCode,
    pub(super) error_message: Message,
    pub(super) matching: Vec<(ErrorCode, Message, RawAcl)>,
}

impl RawFilter {
    fn encode(&self, buf: &mut impl BufMut) -> Result<()> {
        self.resource_type.encode(buf);
        KafkaString(self.resource_name.clone()).try_encode_compact(buf)?;
        self.pattern_type.encode(buf);
        KafkaString(self.principal.clone()).try_encode_compact(buf)?;
        KafkaString(self.host.clone()).try_encode_compact(buf)?;
        self.operation.encode(buf);
        self.permission.encode(buf);
        no_tags(buf);
        Ok(())
    }
}

impl VersionedEncode for DescribeAcls {
    fn encode_versioned(&self, _version: i16, buf: &mut impl BufMut) -> Result<()> {
        // The filter's fields are the request's, so its tags are too.
        self.filter.encode(buf)
    }
}

impl VersionedEncode for CreateAcls {
    fn encode_versioned(&self, _version: i16, buf: &mut impl BufMut) -> Result<()> {
        array_of(self.acls.len(), buf)?;
        for acl in &self.acls {
            acl.resource_type.encode(buf);
            KafkaString::new(&acl.resource_name).try_encode_compact(buf)?;
            acl.pattern_type.encode(buf);
            KafkaString::new(&acl.principal).try_encode_compact(buf)?;
            KafkaString::new(&acl.host).try_encode_compact(buf)?;
            acl.operation.encode(buf);
            acl.permission.encode(buf);
            no_tags(buf);
        }
        no_tags(buf);
        Ok(())
    }
}

impl VersionedEncode for DeleteAcls {
    fn encode_versioned(&self, _version: i16, buf: &mut impl BufMut) -> Result<()> {
        array_of(self.filters.len(), buf)?;
        for filter in &self.filters {
            filter.encode(buf)?;
        }
        no_tags(buf);
        Ok(())
    }
}

impl VersionedDecode for DescribeAclsResponse {
    fn decode_versioned(_version: i16, buf: &mut impl Buf) -> Result<Self> {
        i32::decode(buf)?; // throttle time
        let error_code = error(buf)?;
        let error_message = message(buf)?;
        let mut acls = Vec::new();
        for _ in 0..array(buf)? {
            let resource_type = i8::decode(buf)?;
            let resource_name = string(buf)?;
            let pattern_type = i8::decode(buf)?;
            for _ in 0..array(buf)? {
                acls.push(RawAcl {
                    resource_type,
                    resource_name: resource_name.clone(),
                    pattern_type,
                    principal: string(buf)?,
                    host: string(buf)?,
                    operation: i8::decode(buf)?,
                    permission: i8::decode(buf)?,
                });
                TaggedFields::decode(buf)?;
            }
            TaggedFields::decode(buf)?;
        }
        TaggedFields::decode(buf)?;
        Ok(Self { error_code, error_message, acls })
    }
}

impl VersionedDecode for CreateAclsResponse {
    fn decode_versioned(_version: i16, buf: &mut impl Buf) -> Result<Self> {
        i32::decode(buf)?; // throttle time
        let mut results = Vec::new();
        for _ in 0..array(buf)? {
            results.push((error(buf)?, message(buf)?));
            TaggedFields::decode(buf)?;
        }
        TaggedFields::decode(buf)?;
        Ok(Self { results })
    }
}

impl VersionedDecode for DeleteAclsResponse {
    fn decode_versioned(_version: i16, buf: &mut impl Buf) -> Result<Self> {
        i32::decode(buf)?; // throttle time
        let mut filters = Vec::new();
        for _ in 0..array(buf)? {
            let error_code = error(buf)?;
            let error_message = message(buf)?;
            let mut matching = Vec::new();
            for _ in 0..array(buf)? {
                let (code, text) = (error(buf)?, message(buf)?);
                let acl = RawAcl {
                    resource_type: i8::decode(buf)?,
                    resource_name: string(buf)?,
                    pattern_type: i8::decode(buf)?,
                    principal: string(buf)?,
                    host: string(buf)?,
                    operation: i8::decode(buf)?,
                    permission: i8::decode(buf)?,
                };
                TaggedFields::decode(buf)?;
                matching.push((code, text, acl));
            }
            TaggedFields::decode(buf)?;
            filters.push(DeletedByFilter { error_code, error_message, matching });
        }
        TaggedFields::decode(buf)?;
        Ok(Self { filters })
    }
}

fn no_tags(buf: &mut impl BufMut) {
    buf.put_u8(0);
}

fn error(buf: &mut impl Buf) -> Result<ErrorCode> {
    Ok(ErrorCode::from_i16(i16::decode(buf)?))
}

fn message(buf: &mut impl Buf) -> Result<Message> {
    Ok(KafkaString::decode_compact(buf)?.0)
}

/// A string that the protocol never leaves null.
fn string(buf: &mut impl Buf) -> Result<String> {
    Ok(message(buf)?.unwrap_or_default())
}

/// Nothing is reserved for the claimed length: a lie ends with the bytes.
fn array(buf: &mut impl Buf) -> Result<u32> {
    Ok(decode_unsigned_varint(buf)?.saturating_sub(1))
}

fn array_of(length: usize, buf: &mut impl BufMut) -> Result<()> {
    let length = u32::try_from(length + 1).map_err(|_| KrafkaError::config("too many ACLs for one request"))?;
    encode_unsigned_varint(length, buf);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_is_what_the_protocol_says() {
        let acl = RawAcl {
            resource_type: 2,
            resource_name: "t".into(),
            pattern_type: 4,
            principal: "User:a".into(),
            host: "*".into(),
            operation: 3,
            permission: 3,
        };
        let mut bytes = Vec::new();
        CreateAcls { acls: vec![acl] }.encode_versioned(2, &mut bytes).expect("encoded");
        assert_eq!(bytes, b"\x02\x02\x02t\x04\x07User:a\x02*\x03\x03\0\0");
    }

    #[test]
    fn a_filter_writes_null_for_what_is_open() {
        let filter = RawFilter {
            resource_type: 1,
            resource_name: None,
            pattern_type: 1,
            principal: None,
            host: None,
            operation: 1,
            permission: 1,
        };
        let mut bytes = Vec::new();
        DescribeAcls { filter }.encode_versioned(2, &mut bytes).expect("encoded");
        assert_eq!(bytes, b"\x01\0\x01\0\0\x01\x01\0");
    }

    #[test]
    fn a_listing_is_read_and_a_cut_one_refused() {
        let bytes = b"\0\0\0\0\0\0\0\x02\x02\x02t\x03\x02\x07User:a\x02*\x03\x03\0\0\0".to_vec();
        let response = DescribeAclsResponse::decode_versioned(2, &mut bytes.as_slice()).expect("valid");
        let acl = &response.acls[0];
        assert_eq!((acl.pattern_type, acl.resource_name.as_str(), acl.principal.as_str()), (3, "t", "User:a"));
        for length in 0..bytes.len() {
            assert!(DescribeAclsResponse::decode_versioned(2, &mut &bytes[..length]).is_err(), "{length}");
        }
    }
}
