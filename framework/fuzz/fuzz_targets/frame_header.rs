//! Fuzzes `frame_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| estafette_fuzz::frame_header(data));
