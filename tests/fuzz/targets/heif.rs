#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus { eyeshot_fuzz::run(bytes, &["avif", "heic"]) });
