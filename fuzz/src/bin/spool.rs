//! The reader of the spool: whatever stands in a segment, what is whole is found, and a record behind it too.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pandaprobe_core::fuzzing::segment(data));
