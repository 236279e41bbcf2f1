//! Keys and values of `__consumer_offsets`, and subscriptions as group members send them.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| lockgate::group::fuzz_records(&Bytes::copy_from_slice(input)));
