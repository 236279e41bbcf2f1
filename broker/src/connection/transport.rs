//! How responses leave: on plaintext file ranges go straight from the page cache to the socket, on TLS they are read
//! once and encrypted.

use std::future::Future;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::page_cache;
use super::tls_socket::TlsSocket;
use crate::limits;
use crate::store::{FileRange, Piece};

/// Parts of one response written with a single system call.
const MAX_SLICES: usize = 64;

/// A client's byte stream.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Sends the parts in order.
    fn send(&mut self, parts: Vec<Piece>) -> impl Future<Output = io::Result<()>> + Send;
}

impl Transport for TcpStream {
    async fn send(&mut self, parts: Vec<Piece>) -> io::Result<()> {
        let mut memory: Vec<Bytes> = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Piece::Memory(bytes) => memory.push(bytes),
                Piece::File(range) => {
                    write_memory(self, &mut memory).await?;
                    page_cache::warm(&range).await?;
                    send_file(self, &range).await?;
                }
            }
        }
        write_memory(self, &mut memory).await
    }
}

impl Transport for TlsSocket<TcpStream> {
    async fn send(&mut self, parts: Vec<Piece>) -> io::Result<()> {
        for part in parts {
            match part {
                Piece::Memory(bytes) => self.write_all(&bytes).await?,
                Piece::File(range) => send_encrypted(self, range).await?,
            }
        }
        self.flush().await
    }
}

/// Writes and forgets all buffers, many per system call.
async fn write_memory(stream: &mut TcpStream, buffers: &mut Vec<Bytes>) -> io::Result<()> {
    let mut first = 0;
    while first < buffers.len() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for buffer in buffers[first..].iter().take(MAX_SLICES) {
            slices[count] = IoSlice::new(buffer);
            count += 1;
        }
        let mut written = stream.write_vectored(&slices[..count]).await?;
        if written == 0 && buffers[first..].iter().any(|buffer| !buffer.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while first < buffers.len() && written >= buffers[first].len() {
            written -= buffers[first].len();
            first += 1;
        }
        if first < buffers.len() {
            buffers[first].advance(written);
        }
    }
    buffers.clear();
    Ok(())
}

/// A file that ends early would leave the client waiting within a frame: that is an error, which closes the connection.
async fn send_file(stream: &mut TcpStream, range: &FileRange) -> io::Result<()> {
    let mut position = range.position;
    let end = range.position + range.len as u64;
    while position < end {
        let left = (end - position) as usize;
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let mut at = position;
                rustix::fs::sendfile(&*stream, &*range.file, Some(&mut at), left).map_err(io::Error::from)
            })
            .await?;
        if sent == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a segment file is shorter than its index says"));
        }
        position += sent as u64;
    }
    Ok(())
}

async fn send_encrypted(stream: &mut TlsSocket<TcpStream>, range: FileRange) -> io::Result<()> {
    let mut buffer = vec![0; range.len.min(limits::TLS_CHUNK)];
    let mut sent = 0;
    while sent < range.len {
        let wanted = (range.len - sent).min(buffer.len());
        let chunk = FileRange { file: Arc::clone(&range.file), position: range.position + sent as u64, len: wanted };
        buffer = page_cache::read(chunk, buffer).await?;
        stream.write_all(&buffer[..wanted]).await?;
        sent += wanted;
    }
    Ok(())
}
