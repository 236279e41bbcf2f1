//! What all parts measure with.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::broker::{Broker, Usage};

/// What something took of a broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) elapsed: Duration,
    /// Of the broker's process (seconds).
    pub(super) cpu: f64,
}

impl Cost {
    /// Runs `work`, and says what it took.
    pub(super) fn of<T>(broker: &Broker, work: impl FnOnce() -> Result<T>) -> Result<(T, Self)> {
        let (before, started) = (broker.usage()?, Instant::now());
        let done = work()?;
        let elapsed = started.elapsed();
        Ok((done, Self { elapsed, cpu: broker.usage()?.cpu_seconds - before.cpu_seconds }))
    }

    pub(super) fn millis(&self) -> f64 {
        self.elapsed.as_secs_f64() * 1e3
    }
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Growth of the resident memory between two moments (bytes).
pub(super) fn growth(before: Usage, after: Usage) -> f64 {
    after.resident_bytes as f64 - before.resident_bytes as f64
}

/// Median and 99th percentile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Latency {
    /// `millis`: one for each call, at least one.
    pub(super) fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        Self { p50: millis[millis.len() / 2], p99: millis[millis.len() * 99 / 100] }
    }

    /// Calls `once` so many times (milliseconds).
    pub(super) fn measure(times: usize, mut once: impl FnMut() -> Result<()>) -> Result<Self> {
        let mut millis = Vec::with_capacity(times);
        for _ in 0..times {
            millis.push(timed(&mut once)?.1);
        }
        Ok(Self::of(millis))
    }
}

/// What came of it, and how long it took (milliseconds).
pub(super) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed().as_secs_f64() * 1e3))
}

/// The least that one durable append takes: a record of 1 KiB written to the end of a file, and fdatasync.
pub(super) fn durable_append(folder: &Path, times: usize) -> Result<Latency> {
    let mut file = File::create(folder.join("bare"))?;
    Latency::measure(times, || {
        file.write_all(&[7; 1100])?;
        Ok(file.sync_data()?)
    })
}

/// The middle one by `key`.
pub(super) fn median<T>(mut runs: Vec<T>, key: impl Fn(&T) -> f64) -> T {
    runs.sort_by(|a, b| key(a).total_cmp(&key(b)));
    runs.swap_remove(runs.len() / 2)
}

/// Memory that was free for a while is slow to touch on some machines, and that would drown every difference: so the page
/// cache is filled first, as on a server that has run for a while.
pub(crate) fn fill_page_cache(folder: &Path) -> Result<()> {
    let free = || -> Result<u64> {
        let text = std::fs::read_to_string("/proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemFree:")).context("no MemFree")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    };
    let path = folder.join("filler");
    if !path.exists() {
        File::create(&path)?.set_len(64 << 30)?;
    }
    let mut file = File::open(&path)?;
    let mut piece = vec![0; 1 << 20];
    while free()? > 500 << 20 && file.read(&mut piece)? > 0 {}
    Ok(())
}
