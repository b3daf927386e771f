//! Fuzzes `content_name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| estafette_fuzz::content_name(data));
