//! SASL messages, from strangers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::auth::sasl::{plain, scram};

fuzz_target!(|message: &[u8]| {
    let _ = plain::parse(message);
    let _ = scram::parse_client_first(message);
    let _ = scram::parse_client_final(message);
});
