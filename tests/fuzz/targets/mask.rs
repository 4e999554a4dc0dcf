//! Hands `mask` what libFuzzer makes up.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| adit_fuzz::mask::check(data));
