//! Records of the catalog's log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::catalog::CatalogRecord;

fuzz_target!(|input: &[u8]| {
    if let Ok(record) = serde_json::from_slice::<CatalogRecord>(input) {
        let bytes = serde_json::to_vec(&record).expect("a record can be written");
        serde_json::from_slice::<CatalogRecord>(&bytes).expect("what was written can be read");
    }
});
