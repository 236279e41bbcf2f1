//! Guards the decoder: the codec reserves memory for as many elements as the wire claims, so every request is walked
//! along Kafka's own message definition first. What passes decodes without surprise; nothing is allocated here.

use thiserror::Error;

use super::schema_table::message;
use crate::limits::REQUEST_ELEMENTS;

/// The newest version there is: the field was never removed.
pub(super) const LAST: i16 = i16::MAX;

/// Bytes before the client id: key, version, correlation id.
const FIXED_HEADER: usize = 8;

/// Why a request is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MalformedRequest {
    #[error("request {key} version {version} is not known here")]
    UnknownVersion { key: i16, version: i16 },
    #[error("{field}: the request ends in the middle")]
    Truncated { field: &'static str },
    #[error("{field}: length {length} is not allowed")]
    Length { field: &'static str, length: i64 },
    #[error("{field}: {count} elements cannot fit into the {remaining} bytes that follow")]
    Count { field: &'static str, count: u32, remaining: usize },
    #[error("{field}: a number is encoded in more than its 32 bits")]
    Varint { field: &'static str },
    #[error("{field}: may not be null")]
    Null { field: &'static str },
    #[error("{field}: is not UTF-8")]
    Text { field: &'static str },
    #[error("tagged field {tag} is out of order or does not fill its size")]
    Tag { tag: u32 },
    #[error("the request holds more than {REQUEST_ELEMENTS} array elements and tagged fields")]
    TooManyElements,
    #[error("{0} bytes follow the end of the request")]
    Trailing(usize),
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    Text,
    Bytes,
    Array(&'static Kind),
    Struct(&'static [Field]),
}

#[derive(Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    kind: Kind,
    first: i16,
    last: i16,
    /// Versions in which the field may be null.
    nullable: Option<(i16, i16)>,
    tag: Option<u32>,
}

pub(super) const fn field(name: &'static str, kind: Kind, first: i16, last: i16) -> Field {
    Field { name, kind, first, last, nullable: None, tag: None }
}

impl Field {
    pub(super) const fn nullable(mut self, first: i16, last: i16) -> Self {
        self.nullable = Some((first, last));
        self
    }

    pub(super) const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    fn in_version(&self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    fn may_be_null(&self, version: i16) -> bool {
        self.nullable.is_some_and(|(first, last)| first <= version && version <= last)
    }
}

/// One request of the table.
pub(super) struct Message {
    pub(super) first: i16,
    pub(super) last: i16,
    /// First version with compact lengths and tagged fields.
    pub(super) flexible: i16,
    pub(super) fields: &'static [Field],
}

/// Whether the decoder may have this request body, which must end where the body ends.
pub fn check(key: i16, version: i16, body: &[u8]) -> Result<(), MalformedRequest> {
    let known = message(key).filter(|message| message.first <= version && version <= message.last);
    let message = known.ok_or(MalformedRequest::UnknownVersion { key, version })?;
    let mut walk = Walk::new(body, version, version >= message.flexible);
    walk.fields(message.fields)?;
    match walk.rest.len() {
        more if more <= ALLOWED_BEHIND => Ok(()),
        more => Err(MalformedRequest::Trailing(more)),
    }
}

/// Bytes that may follow a request's end. Apache Kafka ignores any, and clients rely on it: librdkafka (as of 2.12) sends
/// three behind Metadata 13 for all topics and one behind AlterUserScramCredentials. More than a few are an error, so that
/// a mistake in the schema shows.
pub const ALLOWED_BEHIND: usize = 4;

/// Whether the decoder may have this request header; returns its length. `frame` may go on behind it. Header version
/// 0 has no client id, version 2 has tagged fields.
pub fn check_header(header_version: i16, frame: &[u8]) -> Result<usize, MalformedRequest> {
    let mut walk = Walk::new(frame, header_version, header_version >= 2);
    walk.take("RequestHeader", FIXED_HEADER)?;
    if header_version >= 1 {
        // The client id keeps its old form in every version, so that any broker can read it.
        let length = i64::from(i16::from_be_bytes(walk.array("ClientId")?));
        if length >= 0 {
            walk.text("ClientId", length as usize)?;
        } else if length != -1 {
            return Err(MalformedRequest::Length { field: "ClientId", length });
        }
    }
    if walk.flexible {
        walk.tags(&[])?;
    }
    Ok(frame.len() - walk.rest.len())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements_left: usize,
}

impl<'a> Walk<'a> {
    fn new(rest: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { rest, version, flexible, elements_left: REQUEST_ELEMENTS }
    }

    fn fields(&mut self, fields: &'static [Field]) -> Result<(), MalformedRequest> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.in_version(version)) {
            self.value(field.name, field.kind, field.may_be_null(version))?;
        }
        if self.flexible { self.tags(fields) } else { Ok(()) }
    }

    fn value(&mut self, name: &'static str, kind: Kind, nullable: bool) -> Result<(), MalformedRequest> {
        match kind {
            Kind::Fixed(size) => self.take(name, size).map(drop),
            Kind::Text => match self.length(name, nullable, 2)? {
                Some(length) => self.text(name, length as usize),
                None => Ok(()),
            },
            Kind::Bytes => match self.length(name, nullable, 4)? {
                Some(length) => self.take(name, length as usize).map(drop),
                None => Ok(()),
            },
            Kind::Array(element) => match self.length(name, nullable, 4)? {
                Some(count) => self.elements(name, *element, count),
                None => Ok(()),
            },
            Kind::Struct(fields) if nullable => match self.array::<1>(name)?[0] as i8 {
                1 => self.fields(fields),
                -1 => Ok(()),
                marker => Err(MalformedRequest::Length { field: name, length: i64::from(marker) }),
            },
            Kind::Struct(fields) => self.fields(fields),
        }
    }

    fn elements(&mut self, name: &'static str, element: Kind, count: u32) -> Result<(), MalformedRequest> {
        let remaining = self.rest.len();
        let smallest = self.smallest(element);
        if u64::from(count) * smallest as u64 > remaining as u64 {
            return Err(MalformedRequest::Count { field: name, count, remaining });
        }
        self.count(count)?;
        if let Kind::Fixed(size) = element {
            return self.take(name, count as usize * size).map(drop);
        }
        (0..count).try_for_each(|_| self.value(name, element, false))
    }

    /// The fewest bytes in which a value can be encoded. An empty nested array is its length alone, so this looks no
    /// deeper than one element.
    fn smallest(&self, kind: Kind) -> usize {
        match kind {
            Kind::Fixed(size) => size,
            Kind::Text => {
                if self.flexible {
                    1
                } else {
                    2
                }
            }
            Kind::Bytes | Kind::Array(_) => {
                if self.flexible {
                    1
                } else {
                    4
                }
            }
            Kind::Struct(fields) => {
                let present = fields.iter().filter(|field| field.tag.is_none() && field.in_version(self.version));
                let size = |field: &Field| match field.kind {
                    Kind::Struct(_) if field.may_be_null(self.version) => 1,
                    kind => self.smallest(kind),
                };
                present.map(size).sum::<usize>() + usize::from(self.flexible)
            }
        }
    }

    /// Tagged fields: known ones must fill their size exactly, since the decoder does not look at it.
    fn tags(&mut self, fields: &'static [Field]) -> Result<(), MalformedRequest> {
        const NAME: &str = "tagged fields";
        let count = self.varint(NAME)?;
        self.count(count)?;
        let mut next = 0;
        for _ in 0..count {
            let tag = self.varint(NAME)?;
            if u64::from(tag) < next {
                return Err(MalformedRequest::Tag { tag });
            }
            next = u64::from(tag) + 1;
            let size = self.varint(NAME)? as usize;
            let value = self.take(NAME, size)?;
            let known = fields.iter().find(|field| field.tag == Some(tag));
            if let Some(field) = known {
                if !field.in_version(self.version) {
                    return Err(MalformedRequest::Tag { tag });
                }
                let behind = std::mem::replace(&mut self.rest, value);
                self.value(field.name, field.kind, field.may_be_null(self.version))?;
                if !std::mem::replace(&mut self.rest, behind).is_empty() {
                    return Err(MalformedRequest::Tag { tag });
                }
            }
        }
        Ok(())
    }

    /// The length of a string, of bytes or of an array; `None` for null. `width` is that of the old encoding.
    fn length(&mut self, name: &'static str, nullable: bool, width: usize) -> Result<Option<u32>, MalformedRequest> {
        let length = match (self.flexible, width) {
            (true, _) => i64::from(self.varint(name)?) - 1,
            (false, 2) => i64::from(i16::from_be_bytes(self.array(name)?)),
            (false, _) => i64::from(i32::from_be_bytes(self.array(name)?)),
        };
        match u32::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 && nullable => Ok(None),
            Err(_) if length == -1 => Err(MalformedRequest::Null { field: name }),
            Err(_) => Err(MalformedRequest::Length { field: name, length }),
        }
    }

    fn count(&mut self, elements: u32) -> Result<(), MalformedRequest> {
        let left = self.elements_left.checked_sub(elements as usize);
        self.elements_left = left.ok_or(MalformedRequest::TooManyElements)?;
        Ok(())
    }

    fn varint(&mut self, field: &'static str) -> Result<u32, MalformedRequest> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.array::<1>(field)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| MalformedRequest::Varint { field });
            }
        }
        Err(MalformedRequest::Varint { field })
    }

    fn text(&mut self, field: &'static str, length: usize) -> Result<(), MalformedRequest> {
        let bytes = self.take(field, length)?;
        std::str::from_utf8(bytes).map(drop).map_err(|_| MalformedRequest::Text { field })
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MalformedRequest> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(MalformedRequest::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, field: &'static str, size: usize) -> Result<&'a [u8], MalformedRequest> {
        let (head, rest) = self.rest.split_at_checked(size).ok_or(MalformedRequest::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests;
