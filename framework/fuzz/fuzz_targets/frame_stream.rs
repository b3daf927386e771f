//! Fuzzes `frame_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| estafette_fuzz::frame_stream(data));
