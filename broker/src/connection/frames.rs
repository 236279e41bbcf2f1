//! Cuts a byte stream into request frames, without copying, within bounds.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::budget::{Allowance, Share};
use crate::limits;

#[derive(Debug, Error)]
pub(super) enum FrameError {
    #[error("a request of {size} bytes is larger than the {limit} that are allowed")]
    TooLarge { size: usize, limit: usize },
    #[error("the first bytes are not a Kafka request{0}")]
    NotKafka(&'static str),
}

/// A whole frame, and its share of the budget until it is dropped.
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) budget: Option<Share>,
}

/// The receive buffer of one connection.
pub(super) struct Frames {
    buffer: BytesMut,
    /// Budget for the frame that is being received, once it is known to be large.
    reserved: Option<Share>,
    allowance: Allowance,
    /// It waits for the budget, not for the client.
    waiting: bool,
    /// Room to make for the next read.
    chunk: usize,
}

impl Frames {
    pub(super) fn new(allowance: Allowance) -> Self {
        let chunk = limits::RECEIVE_BUFFER_SMALL;
        Self { buffer: BytesMut::new(), reserved: None, allowance, waiting: false, chunk }
    }

    /// Takes the next whole frame (without its length) if it has arrived.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Frame>, FrameError> {
        let Some(size) = self.size(limit)? else { return Ok(None) };
        if self.buffer.len() < 4 + size {
            return Ok(None);
        }
        self.buffer.advance(4);
        let bytes = self.buffer.split_to(size).freeze();
        if size > limits::RECEIVE_BUFFER_LARGE && self.buffer.len() < limits::RECEIVE_BUFFER_LARGE {
            // The rest goes on in a buffer of its own, or this one would keep the large frame's memory.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Ok(Some(Frame { bytes, budget: self.reserved.take() }))
    }

    /// True when part of a frame has arrived.
    pub(super) fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes of it that have arrived.
    pub(super) fn arrived(&self) -> usize {
        self.buffer.len()
    }

    /// True when the next read has to wait for others to give memory back.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Reads more. 0 means that the client has closed its side. Cancel safe.
    pub(super) async fn read(&mut self, source: &mut (impl AsyncRead + Unpin), limit: usize) -> io::Result<usize> {
        let missing = match self.size(limit) {
            Ok(Some(size)) => (4 + size).saturating_sub(self.buffer.len()),
            _ => 0,
        };
        // Before authentication the small frame limit is the bound: nobody else's share may be taken.
        let trusted = limit > limits::FRAME_BEFORE_AUTHENTICATION;
        let arrived = self.buffer.len();
        // Room for as much as has come already, at most: what is only claimed takes nothing.
        let room = if missing > self.chunk { missing.min(self.chunk.max(arrived)) } else { self.chunk };
        if trusted && (missing > limits::RECEIVE_BUFFER_SMALL || self.reserved.is_some()) {
            let share = self.reserved.get_or_insert_default();
            self.waiting = true;
            self.allowance.raise(share, arrived + room.min(missing)).await;
            self.waiting = false;
        }
        if self.buffer.is_empty() && self.chunk == limits::RECEIVE_BUFFER_SMALL && self.buffer.capacity() > room * 4 {
            // A connection that has gone quiet gives its large buffer back.
            self.buffer = BytesMut::new();
        }
        let enough = if missing > self.chunk { 0 } else { missing };
        if self.buffer.capacity() - self.buffer.len() < enough.max(limits::RECEIVE_BUFFER_SMALL) {
            self.buffer.reserve(room);
        }
        let spare = self.buffer.capacity() - self.buffer.len();
        let count = source.read_buf(&mut self.buffer).await?;
        // A read that fills its room is followed by a larger one, a small read after an idle time by a small one.
        if count == spare && trusted {
            self.chunk = limits::RECEIVE_BUFFER_LARGE;
        } else if count < limits::RECEIVE_BUFFER_SMALL / 2 && missing == 0 {
            self.chunk = limits::RECEIVE_BUFFER_SMALL;
        }
        Ok(count)
    }

    fn size(&self, limit: usize) -> Result<Option<usize>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let size = i32::from_be_bytes(*head);
        match usize::try_from(size) {
            Ok(size) if size <= limit => Ok(Some(size)),
            _ if head.starts_with(&[0x16, 0x03]) => {
                Err(FrameError::NotKafka(": they look like TLS, but this listener has no TLS"))
            }
            _ if head.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
                Err(FrameError::NotKafka(": they look like text, such as HTTP"))
            }
            Ok(size) => Err(FrameError::TooLarge { size, limit }),
            Err(_) => Err(FrameError::NotKafka(": the length is negative")),
        }
    }
}
