//! Whatever comes to the media port: parsed or refused, and what is parsed is written back to the same packet.
#![no_main]

use lanradio::wire::media::MediaPacket;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(packet) = MediaPacket::parse(bytes) {
        let mut written = Vec::new();
        packet.write(&mut written);
        assert_eq!(MediaPacket::parse(&written), Ok(packet));
    }
});
