//! A sender that comes to a station that is on air: what does it say, and when may it go?

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use lanradio::wire::media::MediaPacket;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::network::Witness;
use crate::sound::{blocks, strength, tone, wav};
use crate::support::{Process, Studio, named};

/// A station that plays 6 s of a tone, and its listener, which records.
fn station(studio: &Studio) -> (Process, Process) {
    studio.tone("a.wav", 6_000, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once --events -");
    let leader = studio.start("send a.wav --name kitchen --events -");
    listener.wait_event("tuned_in");
    (leader, listener)
}

/// A sender that reads a pipe, with the first half of a tone of 4 s in it, that stays open.
fn joiner(studio: &Studio) -> Process {
    let mut command = studio.command(["send", "-", "--events", "-"]);
    command.stdin(Stdio::piped());
    let mut joiner = Process::spawn(command);
    let mut bytes = wav(48_000, &tone(4_000, 880.0), &[]);
    bytes.truncate(bytes.len() / 2);
    let stdin = joiner.stdin.as_mut().unwrap();
    stdin.write_all(&bytes).unwrap();
    joiner.wait_stderr("is on air, led by kitchen (127.0.0.1");
    joiner.wait_stderr("playing \"a\": what is sent here plays after that");
    joiner
}

#[test]
fn sender_that_joined_ends_its_pipe_at_the_first_ctrl_c_and_stays_until_that_is_safe() {
    let studio = Studio::new();
    let (leader, listener) = station(&studio);
    let joiner = joiner(&studio);
    joiner.signal(Signal::SIGTERM);
    let joiner = joiner.finish_within(Duration::from_secs(4)).exits(0);
    // Until the signal its length was not known: nobody could have all of it.
    let safe = named(&joiner.events(), "safe");
    assert!(safe[0]["nodes"].as_u64().is_some_and(|nodes| nodes >= 1));
    joiner.says(&["Ctrl-C again to leave now", "stdin: safe on ", "plays on"]);
    leader.finish().exits(0);
    let events = listener.finish().exits(0).events();
    assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
    let sound = studio.recording("out.wav");
    let more = blocks(&sound) - 301;
    assert!((50..=101).contains(&more), "{more} of 100 frames");
    assert!(strength(&sound[301 * 1_920..], 880.0) > 9_000.0);
}

#[test]
fn second_ctrl_c_of_a_sender_that_joined_is_obeyed_at_once_and_the_station_plays_on() {
    let studio = Studio::new();
    let (leader, listener) = station(&studio);
    let joiner = joiner(&studio);
    // What comes next is in the programme.
    let queue = |status: &[u8]| serde_json::from_slice::<Value>(status).unwrap()["queue"].clone();
    while queue(&studio.run("status --json").exits(0).stdout) == serde_json::json!([]) {}
    // Both are pending when it wakes up.
    joiner.signal(Signal::SIGSTOP);
    joiner.signal(Signal::SIGTERM);
    joiner.signal(Signal::SIGINT);
    joiner.signal(Signal::SIGCONT);
    joiner.finish_within(Duration::from_secs(2)).exits(130);
    leader.finish().exits(0);
    let events = listener.finish().exits(0).events();
    assert_eq!(named(&events, "off_air")[0]["reason"], "source_lost");
    assert_eq!(named(&events, "stats").last().unwrap()["concealed"], 0);
}

#[test]
fn what_is_sent_to_a_leader_without_an_api_is_said_and_plays_when_that_station_is_over() {
    let studio = Studio::new();
    studio.tone("a.wav", 4_000, 440.0);
    studio.tone("b.wav", 2_000, 880.0);
    let witness = Witness::of(&studio);
    let port = studio.port + 3;
    let leader = studio.start(&format!("send a.wav --events - --http 127.0.0.2:{port}"));
    leader.wait_event("track");
    let joiner = studio.start("send b.wav --events -");
    let warning = joiner.wait_event("warning");
    let text = warning["text"].as_str().unwrap();
    assert!(text.contains("has no API that can be reached"), "{text}");
    leader.finish().exits(0);
    let events = joiner.finish().exits(0).events();
    assert_eq!(named(&events, "warning").len(), 1, "{events:?}");
    assert_eq!(named(&events, "off_air").len(), 2, "the other's, its own");
    let mut frames = std::collections::BTreeMap::new();
    for (_, bytes) in witness.heard() {
        if let Ok(packet) = MediaPacket::parse(&bytes) {
            *frames.entry(packet.station).or_insert(0) += 1;
        }
    }
    let mut frames: Vec<_> = frames.into_values().collect();
    frames.sort_unstable();
    assert_eq!(frames, [101, 201]);
}

#[test]
fn what_a_lone_listener_has_of_a_song_is_played_and_then_the_source_is_lost() {
    let studio = Studio::new();
    studio.tone("a.wav", 60_000, 440.0);
    let listener = studio.listener("listen --output file:out.wav --once --events - --cache 1MiB");
    let sender = studio.start("send a.wav --events - --bitrate 510 --complexity 0");
    listener.wait_stderr("the cache of");
    sender.signal(Signal::SIGKILL);
    drop(sender);
    let events = listener.finish().exits(0).events();
    assert_eq!(named(&events, "off_air")[0]["reason"], "source_lost");
    assert_eq!(named(&events, "stats").last().unwrap()["concealed"], 0);
    let lost = named(&events, "warning");
    let lost = lost
        .iter()
        .filter(|warning| warning["text"].as_str().unwrap().contains("is lost"));
    assert_eq!(lost.count(), 1, "{events:?}");
    let heard = blocks(&studio.recording("out.wav"));
    assert!((100..2_500).contains(&heard), "{heard} frames");
}

#[test]
fn sender_that_leads_goes_when_its_own_files_are_over_and_what_others_added_plays_on() {
    let studio = Studio::new();
    let (leader, mut listener) = station(&studio);
    studio.tone("b.wav", 8_000, 880.0);
    let mut other = studio.start("send b.wav --events -");
    other.wait_event("safe");
    let leader = leader.finish().exits(0);
    assert_eq!(named(&leader.events(), "handed_over").len(), 1);
    assert!(listener.runs() && other.runs(), "they go on");
    other.finish().exits(0);
    let events = listener.finish().exits(0).events();
    assert_eq!(named(&events, "off_air")[0]["reason"], "ended");
    let sound = studio.recording("out.wav");
    assert_eq!(blocks(&sound), 301 + 401);
    assert!(strength(&sound[301 * 1_920..], 880.0) > 9_000.0);
}
