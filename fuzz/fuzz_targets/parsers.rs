//! All that reads names and data from the ensemble; the first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| zookeeper_recipes::model::fuzz::parse(data));
