#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wherd_fuzz::provider(bytes);
});
