//! See `estafette_fuzz::nested`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| estafette_fuzz::nested(data));
