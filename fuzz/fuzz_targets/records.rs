//! Stored batches, read back: whatever is on the disk, an error is the worst that comes of it.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lockgate::log::records::{read_records, views};

fuzz_target!(|input: &[u8]| {
    let _ = read_records(Bytes::copy_from_slice(input));
    if let Some((&count, plain)) = input.split_first() {
        views(plain, i32::from(count)).take_while(Result::is_ok).for_each(drop);
    }
});
