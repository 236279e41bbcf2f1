//! Encoded responses: bytes and file ranges, ready to be sent.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Encodable, HeaderVersion};

use super::api::ProtocolError;
use crate::limits;
use crate::store::Piece;

/// A response frame in parts, its length and header included.
#[derive(Debug)]
pub struct Response {
    pub parts: Vec<Piece>,
}

impl Response {
    pub fn len(&self) -> usize {
        self.parts.iter().map(Piece::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// Encodes a whole response message.
pub fn encode<R: Encodable + HeaderVersion>(
    response: &R,
    version: i16,
    correlation_id: i32,
) -> Result<Response, ProtocolError> {
    let to_error = |error: anyhow::Error| ProtocolError::Encode(error.to_string());
    let size = response.compute_size(version).map_err(to_error)?;
    if size > limits::RESPONSE_BYTES {
        return Err(ProtocolError::Encode(format!("{size} bytes are more than {}", limits::RESPONSE_BYTES)));
    }
    let mut frame = start_frame(R::header_version(version), correlation_id, size);
    response.encode(&mut frame, version).map_err(to_error)?;
    Ok(Response { parts: vec![Piece::Memory(finish_frame(frame, 0))] })
}

/// Begins a frame: room for the length, the correlation id, and empty tagged fields where the header has them.
pub(super) fn start_frame(header_version: i16, correlation_id: i32, size_hint: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(size_hint + 9);
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if header_version >= 1 {
        frame.put_u8(0);
    }
    frame
}

/// Writes the frame's length, counting `following` bytes that are sent after it.
pub(super) fn finish_frame(mut frame: BytesMut, following: usize) -> Bytes {
    let length = (frame.len() - 4 + following) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}
