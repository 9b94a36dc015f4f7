//! Whatever comes to the control port: parsed or refused, and what is parsed is written back to the same message.
#![no_main]

use lanradio::wire::control::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::parse(bytes) {
        assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
    }
});
