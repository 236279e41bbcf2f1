//! Keys and values of `__transaction_state`.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    let middle = input.len().min(24);
    lockgate::txn::fuzz_records(bytes.slice(..middle), bytes);
});
