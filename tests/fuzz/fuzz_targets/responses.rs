//! Fuzzes `parity_router::fuzz::responses`, the parsers of responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parity_router::fuzz::responses(bytes));
