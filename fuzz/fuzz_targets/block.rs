//! Whatever an answer to a copy may be: read or refused, and never more packets than it has room for.
#![no_main]

use lanradio::wire::block::Block;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((block, rest)) = Block::parse(bytes) {
        let packets: usize = block.packets.iter().map(|packet| packet.len() + 2).sum();
        assert!(packets + rest.len() < bytes.len());
    }
});
