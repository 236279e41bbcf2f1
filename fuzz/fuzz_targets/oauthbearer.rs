//! The first message of OAUTHBEARER and the token in it, from strangers; and a key set, from an issuer gone wrong.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::auth::sasl::oauthbearer;
use lockgate::auth::token::{KeySet, Unverified};

fuzz_target!(|message: &[u8]| {
    if let Ok(response) = oauthbearer::parse(message) {
        let _ = Unverified::parse(response.token);
    }
    if let Ok(text) = std::str::from_utf8(message)
        && let Ok(token) = Unverified::parse(text)
    {
        let _ = token.claims(&[]);
    }
    let _ = KeySet::parse(message);
});
