//! A network of arbitrary datagrams in front of a real listener: it never panics and decides each index once, in order.
#![no_main]

use lanradio::playout::dial::Dial;
use lanradio::playout::player::{Config, Output};
use lanradio::time::Instant;
use lanradio::wire::control::Message;
use lanradio::wire::media::MediaPacket;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagrams: Vec<(bool, u32, Vec<u8>)>| {
    let mut dial = Dial::new(Config::default());
    let mut now = Instant::from_micros(1_000_000);
    for (is_media, pause_us, bytes) in datagrams.iter().take(2_000) {
        now = Instant::from_micros(now.as_micros() + u64::from(pause_us % 2_000_000));
        if *is_media {
            if let Ok(packet) = MediaPacket::parse(bytes) {
                let _ = dial.handle_media(&packet, now, now);
            }
        } else if let Ok(Message::Heartbeat(beat)) = Message::parse(bytes) {
            let _ = dial.handle_heartbeat(&beat, now, now);
        }
        let Some(player) = dial.player_mut() else {
            continue;
        };
        player.handle_timeout(now);
        let mut last = None;
        while let Some(output) = player.poll_output() {
            let (Output::Play { index, .. } | Output::Conceal { index, .. }) = output else {
                continue;
            };
            assert!(
                last.is_none_or(|last| index > last),
                "{index} after {last:?}"
            );
            last = Some(index);
        }
    }
});
