//! Fuzzes `parity_router::fuzz::records`, the parsers of record batches.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parity_router::fuzz::records(bytes));
