//! Hands `body` what libFuzzer makes up.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| adit_fuzz::body::check(data));
