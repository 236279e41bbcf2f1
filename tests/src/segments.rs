//! Reads what a broker left on disk: Kafka's own form, one folder per partition.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use uuid::Uuid;

use crate::batch::{Found, parse};

/// Segment files of a partition, oldest first.
pub fn segment_files(data: &Path, topic: Uuid, partition: i32) -> Result<Vec<PathBuf>> {
    let folder = data.join("partitions").join(format!("{topic}-{partition}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|ext| ext == "log") && stem.len() == 20 {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Every batch of a partition as stored. Fails where the bytes are not whole, intact batches in order; zeroes that
/// were reserved behind the last batch do not count.
pub fn stored_batches(data: &Path, topic: Uuid, partition: i32) -> Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    for path in segment_files(data, topic, partition)? {
        let bytes = Bytes::from(std::fs::read(&path)?);
        let (found, size) = parse(bytes.clone());
        ensure!(
            bytes[size..].iter().all(|&byte| byte == 0),
            "{}: {} bytes from {size} on are no batch",
            path.display(),
            bytes.len() - size
        );
        all.extend(found);
    }
    let mut next = i64::MIN;
    for batch in &all {
        ensure!(batch.intact, "the batch at offset {} has a wrong CRC", batch.base_offset);
        ensure!(batch.base_offset >= next, "offset {} follows {next}", batch.base_offset);
        next = batch.base_offset + i64::from(batch.last_offset_delta) + 1;
    }
    Ok(all)
}
