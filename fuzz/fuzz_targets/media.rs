//! Whatever comes to the media port: parsed or refused, and what is parsed as ours is written back to the same packet. What is
//! not ours may be another program's.
#![no_main]

use lanradio::wire::foreign::ForeignPacket;
use lanradio::wire::media::{MediaError, MediaPacket};
use lanradio::wire::opus;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match MediaPacket::parse(bytes) {
    Ok(packet) => {
        let mut written = Vec::new();
        packet.write(&mut written);
        assert_eq!(MediaPacket::parse(&written), Ok(packet));
    }
    Err(MediaError::Foreign(source)) => {
        if let Ok(packet) = ForeignPacket::parse(bytes) {
            assert_eq!(packet.source.0, source);
            assert!(packet.samples > 0 && packet.samples <= opus::MAX_SAMPLES);
        }
    }
    Err(_) => {}
});
