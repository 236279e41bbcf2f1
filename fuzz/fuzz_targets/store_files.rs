//! State files, indexes and batch headers as found on the disk.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| lockgate::store::local::fuzz_files(input));
