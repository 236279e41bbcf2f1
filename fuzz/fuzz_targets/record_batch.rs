//! A batch from a producer. Size, magic and CRC are made right, so that the fuzzer gets to what lies behind them; a batch
//! that passes must be readable, with as many records as its header says.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lockgate::log::header::{HEADER_LEN, LENGTH_OVERHEAD, crc_of};
use lockgate::log::records::read_records;
use lockgate::log::validate::validate;
use lockgate::log::{Compression, LogConfig, TimestampType};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, batch)) = input.split_first() else { return };
    let mut batch = batch.to_vec();
    if batch.len() >= HEADER_LEN {
        let length = (batch.len() - LENGTH_OVERHEAD) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = 2;
        let crc = crc_of(&batch);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let mut config = LogConfig::default();
    config.cleanup.compact = choice & 1 != 0;
    if choice & 2 != 0 {
        config.timestamp_type = TimestampType::LogAppendTime;
    }
    config.compression = match choice >> 2 & 7 {
        1 => Compression::Uncompressed,
        2 => Compression::Gzip,
        3 => Compression::Snappy,
        4 => Compression::Lz4,
        5 => Compression::Zstd,
        _ => Compression::Producer,
    };
    if let Ok(checked) = validate(&batch, &config, 1_700_000_000_000) {
        let stored = [&checked.header.encode()[..], &checked.records].concat();
        let records = read_records(Bytes::from(stored)).expect("what was accepted can be read");
        assert_eq!(records.len(), checked.header.count as usize);
    }
});
