//! Reads a partition from its start to its end as a consumer does, and checks what every consumer relies on: whole
//! batches, growing offsets, an end that is reached.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use crate::batch::{now_ms, parse};
use crate::ledger::Trouble;
use crate::records::{Record, decode};
use crate::requests::{Fetched, fetch_request, fetch_with, log_start};
use crate::wire::Connection;

/// Bytes of one fetch: small, so that a scan takes several and meets what happens meanwhile.
const FETCH_BYTES: i32 = 256 << 10;
/// How long an end that was promised may stay out of reach.
const PATIENCE: Duration = Duration::from_secs(10);

/// One way through a partition.
#[derive(Debug)]
pub struct Scan {
    /// Offset and content, without control records and, for a reader of committed records, without aborted ones.
    pub records: Vec<(i64, Record)>,
    pub log_start: i64,
    /// One past the last offset that was to be read: high watermark, or last stable offset, at the beginning.
    pub end: i64,
    /// Of all batches.
    pub bytes: u64,
    pub began: Instant,
    pub ended: Instant,
    /// Milliseconds since 1970.
    pub ended_ms: i64,
}

/// Reads partition 0. `None` when records were deleted before they could be read.
pub fn scan(connection: &mut Connection, topic: &str, committed: bool) -> Result<Option<Scan>, Trouble> {
    let began = Instant::now();
    let log_start = log_start(connection, topic).map_err(|_| Trouble::Broken)?;
    let (mut next, mut end, mut bytes) = (log_start, None, 0);
    let (mut records, mut aborting) = (Vec::new(), HashSet::new());
    let mut moved = Instant::now();
    while end.is_none_or(|end| next < end) {
        let mut request = fetch_request(topic, 0, next, 0, FETCH_BYTES);
        request.isolation_level = i8::from(committed);
        let fetched = fetch_with(connection, &request).map_err(|_| Trouble::Broken)?;
        if fetched.code == ResponseError::OffsetOutOfRange.code() {
            return Ok(None);
        }
        Trouble::check(fetched.code, "Fetch")?;
        let reached = *end.get_or_insert(if committed { fetched.last_stable } else { fetched.high_watermark });
        let (behind, size) = take(fetched, next, &mut records, &mut aborting)?;
        bytes += size;
        if behind > next {
            (next, moved) = (behind, Instant::now());
        } else if next < reached && moved.elapsed() > PATIENCE {
            return Err(Trouble::Wrong(format!("a reader is stuck at {next}, below {reached}")));
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let end = end.unwrap_or(next);
    records.retain(|(offset, _)| *offset < end);
    Ok(Some(Scan { records, log_start, end, bytes, began, ended: Instant::now(), ended_ms: now_ms() }))
}

/// Takes what one fetch brought; returns where to go on, and how many bytes the batches have.
fn take(
    fetched: Fetched,
    from: i64,
    records: &mut Vec<(i64, Record)>,
    aborting: &mut HashSet<i64>,
) -> Result<(i64, u64), Trouble> {
    let (batches, size) = parse(fetched.records);
    let mut to_abort = fetched.aborted;
    let mut next = from;
    for batch in batches {
        let read = decode(&batch).map_err(|error| Trouble::Wrong(format!("{error:#}")))?;
        aborting.extend(to_abort.extract_if(.., |(_, first)| *first < batch.end()).map(|(producer, _)| producer));
        if batch.is_control() {
            // An abort and a commit end alike what was aborted: the list has only those.
            aborting.remove(&batch.producer_id);
        } else if !(batch.is_transactional() && aborting.contains(&batch.producer_id)) {
            for (offset, record) in read {
                if records.last().is_some_and(|(last, _)| offset <= *last) {
                    return Err(Trouble::Wrong(format!("offset {offset} follows {:?}", records.last())));
                }
                records.push((offset, record));
            }
        }
        next = batch.end();
    }
    Ok((next, size as u64))
}
