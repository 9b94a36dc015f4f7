//! Does `listen` treat RTP of other programs as its help and the README say: when it begins, when it ends, and who goes first?

use std::thread;
use std::time::Duration;

use crate::network::heckle;
use crate::sound::{blocks, frames_of};
use crate::support::{Studio, named};

/// Sends packets number `numbers` of source 9, 20 ms of silence each, in real time.
fn send_rtp(studio: &Studio, numbers: std::ops::Range<u16>) {
    for number in numbers {
        let mut packet = vec![0x80, 0xe1]; // with a marker, of type 97: as ffmpeg does
        packet.extend(number.to_be_bytes());
        packet.extend((u32::from(number) * 960).to_be_bytes());
        packet.extend([0, 0, 0, 9, 0xfc, 0xff, 0xfe]);
        heckle(studio, studio.port, &packet);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stream_of_another_program_is_told_and_once_ends_with_its_goodbye() {
    let studio = Studio::new();
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    send_rtp(&studio, 0..50);
    heckle(&studio, studio.port + 1, &[0x81, 203, 0, 1, 0, 0, 0, 9]);
    let listener = listener
        .finish()
        .exits(0)
        .says(&["now playing: RTP stream from 127.0.0.1", "off air: ended"]);
    let events = listener.events();
    let on_air = &named(&events, "on_air")[0];
    assert!(
        on_air["station"] == "00000009" && on_air["term"].is_null(),
        "{on_air}"
    );
    assert_eq!(named(&events, "tuned_in")[0]["frame"], 0);
    assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
    let last = named(&events, "stats").pop().unwrap();
    assert_eq!(
        (&last["lost"], &last["rejected"]),
        (&0.into(), &0.into()),
        "{last}"
    );
    // A machine that stalls may have made more of it: by concealed blocks, which are counted.
    let made_up = last["concealed"].as_u64().unwrap() as usize;
    assert_eq!(blocks(&studio.recording("out.wav")), 50 + made_up, "{last}");
}

#[test]
fn once_ends_after_5_s_of_nothing_from_another_program() {
    let studio = Studio::new();
    let listener = studio.listener("listen --output null --once --events -");
    send_rtp(&studio, 0..10);
    let events = listener.finish().exits(0).events();
    let off_air = &named(&events, "off_air")[0];
    assert_eq!(off_air["reason"], "source_lost");
    let at = |event: &serde_json::Value| event["t_us"].as_u64().unwrap();
    let waited_us = at(off_air) - at(&named(&events, "on_air")[0]);
    assert!(waited_us >= 5_000_000, "{waited_us}");
}

#[test]
fn other_programs_are_ignored_and_counted_while_a_station_is_on_air() {
    let studio = Studio::new();
    let samples = studio.tone("a.wav", 2_000, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let sender = studio.start("send a.wav");
    listener.wait_event("tuned_in");
    send_rtp(&studio, 0..20);
    sender.finish().exits(0);
    let events = listener.finish().exits(0).events();
    let last = named(&events, "stats").pop().unwrap();
    assert_eq!(last["rejected_by"]["foreign"], 20, "{last}");
    assert_eq!(named(&events, "on_air").len(), 1);
    assert_eq!(blocks(&studio.recording("out.wav")), frames_of(samples));
}
