//! Whatever comes to the RTCP port: read or refused, and no more goodbyes than a datagram has room for.
#![no_main]

use lanradio::wire::rtcp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sources) = rtcp::goodbyes(bytes) {
        assert!(sources.len() * 4 <= bytes.len());
    }
});
