//! A player that is not ours, and knows nothing of leaders, plays through a takeover, and through covers that nobody needed.

use crate::process::on;
use crate::scene::{HEIRS, LISTENERS, SENDER, SPARE, Scene};
use crate::song::Song;
use crate::stalls::now_ns;
use crate::times;
use crate::tools::{self, Tool};
use crate::wire::{Expected, Trouble};

const SECOND: i64 = 1_000_000_000;

/// Asks for the description of the station and records so many seconds of it with ffmpeg.
fn record(scene: &Scene, seconds: usize) -> Tool {
    let lan = &scene.lan;
    let mut ask = on(&lan.hosts[SPARE], crate::process::LANRADIO);
    let description = crate::net::run(ask.arg("sdp")).stdout;
    std::fs::write(lan.dir.join("station.sdp"), description).unwrap();
    let arguments = format!(
        "-nostdin -v error -protocol_whitelist file,udp,rtp -i {} -t {seconds} -f s16le {}",
        lan.path("station.sdp"),
        lan.path("ffmpeg.pcm")
    );
    Tool::start(lan, SPARE, "ffmpeg", "ffmpeg", &arguments)
}

/// ffmpeg recorded `seconds` to one frame, all of it one unbroken piece of the song.
fn assert_recorded(scene: &Scene, seconds: usize) {
    let heard = tools::raw_stereo(&scene.lan.dir.join("ffmpeg.pcm"));
    let off = heard[0].len() as i64 - seconds as i64 * 48_000;
    println!("ffmpeg recorded {seconds} s and {off} samples");
    assert!(off.abs() < 960, "{off} samples too many");
    crate::sound::assert_whole(
        &scene.song.music.channels,
        &heard,
        seconds as f64 - 1.5,
        "ffmpeg",
    );
}

#[test]
fn ffmpeg_plays_through_a_takeover_without_a_missing_packet() {
    const SECONDS: usize = 9;
    let Some(mut scene) = Scene::with(&Song::of(14), &[], &LISTENERS, 1) else {
        return;
    };
    scene.sleep_until_s(1.0);
    let mut ffmpeg = record(&scene, SECONDS);
    scene.sleep_until_s(6.0);
    let killed_ns = scene.kill(SENDER);
    ffmpeg.wait(30);
    scene.end(&[SENDER]);
    assert_recorded(&scene, SECONDS);
    let wire = scene.wire();
    wire.assert(&Expected {
        troubles: vec![Trouble::loss(killed_ns)],
        one_sender_from_ns: Some(killed_ns + SECOND),
        ..scene.expected()
    });
    scene.assert_heard(&LISTENERS, &wire);
}

#[test]
fn ffmpeg_plays_through_the_false_covers_of_heirs_that_lose_packets() {
    let seconds = times(20, 60);
    let Some(mut scene) = Scene::with(&Song::of(seconds + 4), &[], &LISTENERS, 1) else {
        return;
    };
    scene.sleep_until_s(1.0);
    for heir in HEIRS {
        scene.lan.hosts[heir].start_loss(50);
    }
    let lossy_ns = now_ns();
    let mut ffmpeg = record(&scene, seconds);
    ffmpeg.wait(seconds as u64 + 20);
    scene.end(&[]);
    assert_recorded(&scene, seconds);
    let wire = scene.wire();
    println!("{} frames were sent twice", wire.repeats().len());
    wire.assert(&Expected {
        troubles: vec![Trouble {
            from_ns: lossy_ns - SECOND / 10,
            to_ns: i64::MAX,
            repeats: usize::MAX,
        }],
        ..scene.expected()
    });
    // Covers are no claims: the leader stays.
    for heir in HEIRS {
        let claims = scene.events_after(heir, "took_over", lossy_ns);
        Scene::assert_no_claims(&claims);
    }
}
