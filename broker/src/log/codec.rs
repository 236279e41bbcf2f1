//! The four codecs of record batches. Decompression streams and is bounded: what a few bytes claim never decides how
//! much memory is taken.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// The smallest bound on what one batch may decompress to. Ordinary producers stay far below: their batches are at most
/// some megabytes before compression.
const MIN_DECOMPRESSED_LIMIT: usize = 64 << 20;
/// Larger batches (a raised `max.message.bytes`) may decompress to this many times their size.
const DECOMPRESSED_RATIO: usize = 16;
/// zstd's own default limit for a window (128 MiB), which every compression level stays within.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Block size of xerial's snappy framing, as the Java client writes it.
const SNAPPY_BLOCK: usize = 32 * 1024;
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and lowest compatible version.
const XERIAL_HEADER_LEN: usize = 16;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub fn from_id(id: i16) -> Option<Self> {
        Some(match id {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return None,
        })
    }

    pub fn id(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }
}

/// How many bytes the records of a batch with `len` compressed bytes may decompress to.
pub fn decompressed_limit(len: usize) -> usize {
    len.saturating_mul(DECOMPRESSED_RATIO).max(MIN_DECOMPRESSED_LIMIT)
}

/// Compressed bytes as a stream that fails beyond its limit.
pub struct Decoder<'a> {
    inner: Inner<'a>,
    left: usize,
}

enum Inner<'a> {
    Plain(&'a [u8]),
    Gzip(MultiGzDecoder<&'a [u8]>),
    Snappy(SnappyBlocks<'a>),
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
}

impl<'a> Decoder<'a> {
    pub fn new(codec: Codec, bytes: &'a [u8]) -> io::Result<Self> {
        let inner = match codec {
            Codec::None => Inner::Plain(bytes),
            Codec::Gzip => Inner::Gzip(MultiGzDecoder::new(bytes)),
            Codec::Snappy => Inner::Snappy(SnappyBlocks::new(bytes)),
            Codec::Lz4 => Inner::Lz4(Box::new(FrameDecoder::new(bytes))),
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Inner::Zstd(decoder)
            }
        };
        Ok(Self { inner, left: decompressed_limit(bytes.len()) })
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        // One byte over the limit is asked for, so that a batch of exactly the limit passes.
        let wanted = buf.len().min(self.left.saturating_add(1));
        let buf = &mut buf[..wanted];
        let read = match &mut self.inner {
            Inner::Plain(bytes) => bytes.read(buf)?,
            Inner::Gzip(decoder) => decoder.read(buf)?,
            Inner::Snappy(blocks) => blocks.read(buf, self.left)?,
            Inner::Lz4(decoder) => {
                let read = decoder.read(buf)?;
                if read == 0 && !decoder.get_ref().is_empty() {
                    return Err(invalid("bytes follow the lz4 frame"));
                }
                read
            }
            Inner::Zstd(decoder) => decoder.read(buf)?,
        };
        self.left =
            self.left.checked_sub(read).ok_or_else(|| invalid("the records decompress to more than allowed"))?;
        Ok(read)
    }
}

/// Snappy as Kafka clients write it: xerial's framing (Java), or one raw block (librdkafka and others).
struct SnappyBlocks<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    position: usize,
}

impl<'a> SnappyBlocks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let framed = bytes.len() >= XERIAL_HEADER_LEN && bytes.starts_with(&XERIAL_MAGIC);
        let rest = if framed { &bytes[XERIAL_HEADER_LEN..] } else { bytes };
        Self { rest, framed, block: Vec::new(), position: 0 }
    }

    fn read(&mut self, buf: &mut [u8], limit: usize) -> io::Result<usize> {
        while self.position == self.block.len() {
            let Some(compressed) = self.next_block()? else { return Ok(0) };
            let len = snap::raw::decompress_len(compressed).map_err(snappy)?;
            if len > limit {
                return Err(invalid("the records decompress to more than allowed"));
            }
            self.block.resize(len, 0);
            let written = snap::raw::Decoder::new().decompress(compressed, &mut self.block).map_err(snappy)?;
            self.block.truncate(written);
            self.position = 0;
        }
        let read = (&self.block[self.position..]).read(buf)?;
        self.position += read;
        Ok(read)
    }

    fn next_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        let (len, rest) = self.rest.split_first_chunk().ok_or_else(|| invalid("a snappy block length is cut"))?;
        let len =
            usize::try_from(i32::from_be_bytes(*len)).map_err(|_| invalid("a snappy block length is negative"))?;
        let (block, rest) = rest.split_at_checked(len).ok_or_else(|| invalid("a snappy block is cut"))?;
        self.rest = rest;
        Ok(Some(block))
    }
}

/// Decompresses all of it into `out` (cleared first), within [`decompressed_limit`].
pub fn decompress(codec: Codec, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    Decoder::new(codec, bytes)?.read_to_end(out)?;
    Ok(())
}

/// Compresses records in the form that every Kafka client reads.
pub fn compress(codec: Codec, bytes: &[u8]) -> io::Result<Vec<u8>> {
    compress_at(codec, None, bytes)
}

/// The same at a level of the codec's own scale; `None` is its default. Snappy and lz4 have one level only.
pub fn compress_at(codec: Codec, level: Option<i32>, bytes: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Codec::None => Ok(bytes.to_vec()),
        Codec::Gzip => {
            let level = level.and_then(|level| u32::try_from(level).ok());
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Codec::Snappy => compress_xerial(bytes),
        Codec::Lz4 => {
            // Java's reader takes independent blocks only.
            let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(bytes)?;
            encoder.finish().map_err(io::Error::other)
        }
        // In one piece: told the size, the high levels do not reserve memory for windows of 128 MiB.
        Codec::Zstd => zstd::bulk::compress(bytes, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)),
    }
}

fn compress_xerial(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_LEN + bytes.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(SNAPPY_BLOCK)];
    for chunk in bytes.chunks(SNAPPY_BLOCK) {
        let len = encoder.compress(chunk, &mut block).map_err(snappy)?;
        out.extend_from_slice(&(len as i32).to_be_bytes());
        out.extend_from_slice(&block[..len]);
    }
    Ok(out)
}

fn snappy(error: snap::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_round_trips() {
        let mut out = Vec::new();
        for len in [0usize, 1, 1000, 200_000] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * i % 251) as u8).collect();
            for codec in ALL {
                let compressed = compress(codec, &bytes).unwrap();
                decompress(codec, &compressed, &mut out).unwrap();
                assert_eq!(out, bytes, "{codec:?} {len}");
                assert_eq!(Codec::from_id(codec.id()), Some(codec));
            }
        }
    }

    #[test]
    fn levels_trade_time_for_size() {
        let bytes: Vec<u8> = (0..200_000u32).flat_map(|i| (i * i / 7 % 1009).to_string().into_bytes()).collect();
        let mut out = Vec::new();
        for (codec, fast, small) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -50, 22)] {
            let [fast, default, small] = [Some(fast), None, Some(small)].map(|level| {
                let compressed = compress_at(codec, level, &bytes).unwrap();
                decompress(codec, &compressed, &mut out).unwrap();
                assert_eq!(out, bytes, "{codec:?} {level:?}");
                compressed.len()
            });
            assert!(fast > default && default >= small, "{codec:?}: {fast}, {default}, {small}");
        }
    }

    #[test]
    fn raw_snappy_is_read_too() {
        let compressed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        let mut out = Vec::new();
        decompress(Codec::Snappy, &compressed, &mut out).unwrap();
        assert_eq!(out, b"hello hello hello");
    }

    #[test]
    fn bombs_end_with_an_error() {
        let zeros = vec![0u8; MIN_DECOMPRESSED_LIMIT + 1];
        for codec in [Codec::Gzip, Codec::Zstd] {
            let bomb = compress(codec, &zeros).unwrap();
            let mut decoder = Decoder::new(codec, &bomb).unwrap();
            assert!(io::copy(&mut decoder, &mut io::sink()).is_err(), "{codec:?}");
        }
        // A raw snappy block whose preamble claims 4 GiB - 1.
        let mut out = Vec::new();
        assert!(decompress(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0], &mut out).is_err());
        assert!(out.capacity() < MIN_DECOMPRESSED_LIMIT);
    }

    #[test]
    fn garbage_and_trailing_bytes_are_errors() {
        let mut out = Vec::new();
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert!(decompress(codec, &[0x55; 40], &mut out).is_err(), "{codec:?}");
            let mut followed = compress(codec, b"records").unwrap();
            followed.extend_from_slice(&[7; 9]);
            assert!(decompress(codec, &followed, &mut out).is_err(), "{codec:?}");
        }
    }
}
