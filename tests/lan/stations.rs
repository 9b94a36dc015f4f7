//! Who may be on the air, with what, and for whom: two senders, a pipe that starves, IPv6, a player that is not ours.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::capture::{self, Capture, Frame};
use crate::net::Lan;
use crate::process::on;
use crate::{measure, music, proof, reference, wav};

#[test]
fn second_sender_is_told_who_plays_what_and_the_first_is_not_disturbed() {
    let Some(lan) = Lan::new(3) else { return };
    music::piece(48_000, 2, 7.0).save(
        &lan.dir.join("blue.flac"),
        &["-metadata", "title=Blue Test"],
    );
    let capture = Capture::start(&lan);
    let mut listener = lan.listen(2, "listener", &["--once", "--no-standby"]);
    let mut first = lan.start(
        0,
        "first",
        &["send", "--name", "studio-7", &lan.path("blue.flac")],
    );
    listener.await_event("tuned_in", 1, 10);
    let mut second = lan.start(1, "second", &["send", &lan.path("blue.flac")]);
    first.wait_for_code(30, 0);
    second.wait_for_code(30, 0);
    let complaint = second.stderr();
    for word in ["239.255.77.77", "Blue Test", "studio-7"] {
        assert!(complaint.contains(word), "{word:?} is not in {complaint}");
    }
    listener.wait_for_code(10, 0);
    let frames = capture::first_copies(capture::media(&capture.stop()));
    let song = reference::frames_of(7 * 48_000);
    assert_handed_over_after(&frames, song);
    assert_eq!(
        frames.len(),
        2 * song,
        "the second one's song comes after the first one's"
    );
    reference::assert_same(
        &wav::read_blocks(&lan.wav("listener")),
        &reference::decode(&frames),
        "listener",
    );
    assert_eq!(listener.last_stat("concealed"), 0);
}

/// One timeline; the leader plays its own song of so many frames and then leaves the rest to another one.
fn assert_handed_over_after(frames: &[Frame], song: usize) {
    reference::assert_one_timeline(frames);
    let terms = reference::terms(frames);
    let [_, (turn, _)] = terms[..] else {
        panic!("two terms, not {terms:?}")
    };
    // Its last frame has had time to play, and the hand-over is named ten frames ahead.
    assert!((song + 25..song + 200).contains(&turn), "{turn} of {song}");
}

#[test]
fn of_two_senders_started_at_the_same_instant_exactly_one_remains() {
    let Some(lan) = Lan::new(3) else { return };
    music::piece(48_000, 2, 3.0).save(&lan.dir.join("song.wav"), &[]);
    for attempt in 0..if proof() { 20 } else { 4 } {
        let capture = Capture::start(&lan);
        let name = |role: &str| format!("{role}-{attempt}");
        let mut listener = lan.listen(2, &name("listener"), &["--once", "--no-standby"]);
        let mut senders = [0, 1].map(|host| {
            lan.start(
                host,
                &name(&format!("sender-{host}")),
                &["send", &lan.path("song.wav")],
            )
        });
        if attempt % 2 == 1 {
            // Both stand still while they found, and wake at the same instant with their time to listen long over.
            for sender in &mut senders {
                sender.await_joined();
                sender.signal(Signal::SIGSTOP);
            }
            std::thread::sleep(Duration::from_millis(600));
            senders
                .iter()
                .for_each(|sender| sender.signal(Signal::SIGCONT));
        }
        let codes = senders.each_mut().map(|sender| sender.wait(30).code());
        listener.wait_for_code(10, 0);
        let complaints = senders.each_ref().map(|sender| sender.stderr());
        assert_eq!(codes, [Some(0); 2], "{complaints:#?}");
        let joined = |stderr: &String| stderr.contains("what is sent here plays after that");
        let winner = usize::from(joined(&complaints[0]));
        assert!(joined(&complaints[1 - winner]), "{complaints:#?}");
        let packets = capture.stop();
        let kept = capture::first_copies(capture::media(&packets));
        let lost = capture::media_from(&packets, lan.hosts[1 - winner].ip);
        println!("attempt {attempt}: host {winner} remained");
        let song = reference::frames_of(3 * 48_000);
        assert_handed_over_after(&kept, song);
        // The one that joined sends nothing before that (but covers, when the machine stalls).
        let founders = kept[0].term_counter;
        assert!(
            (lost.iter()).all(|frame| frame.flags & 1 == 1 || frame.term_counter > founders),
            "attempt {attempt}: frames sent by the one that joined"
        );
        assert_eq!(kept.len(), 2 * song);
        let heard = wav::read_blocks(&lan.wav(&name("listener")));
        reference::assert_same(
            &heard,
            &reference::decode(&kept),
            &format!("attempt {attempt}"),
        );
    }
}

#[test]
fn pipe_that_starves_makes_a_pause_on_air_and_no_gap_in_the_sound() {
    let Some(lan) = Lan::new(2) else { return };
    let bytes = music::piece(48_000, 2, 6.0).wav();
    let (now, later) = bytes.split_at(44 + 3 * 48_000 * 4);
    let capture = Capture::start(&lan);
    let mut listener = lan.listen(1, "listener", &["--once", "--no-standby"]);
    let mut sender = lan.start_with(0, "sender", &["send", "-"], |command| {
        command.stdin(Stdio::piped());
    });
    let mut pipe = sender.stdin();
    pipe.write_all(now).unwrap();
    // 3 s are played, then 2 s of nothing.
    std::thread::sleep(Duration::from_millis(5_400));
    pipe.write_all(later).unwrap();
    drop(pipe);
    sender.wait_for_code(30, 0);
    listener.wait_for_code(10, 0);
    let frames = capture::media(&capture.stop());
    assert_eq!(frames.len(), reference::frames_of(6 * 48_000));
    assert_eq!(
        reference::offsets(&frames),
        (0..frames.len() as i64).collect::<Vec<_>>(),
        "one index after the other"
    );
    let marked: Vec<_> = (0..frames.len())
        .filter(|index| frames[*index].marker)
        .collect();
    let [0, resumed] = marked[..] else {
        panic!("markers at {marked:?}")
    };
    assert!((100..=151).contains(&resumed), "went on at frame {resumed}");
    let idle_samples = frames[resumed].ts.wrapping_sub(frames[resumed - 1].ts) - 960;
    let idle_s = (frames[resumed].at_ns - frames[resumed - 1].at_ns) as f64 / 1e9 - 0.02;
    println!(
        "idle for {idle_s:.3} s, {} frames on the timeline",
        idle_samples / 960
    );
    assert_eq!(idle_samples % 960, 0, "whole frames of idle time");
    assert!(
        (f64::from(idle_samples) / 48_000.0 - idle_s).abs() < 0.05,
        "{idle_samples} samples for {idle_s} s"
    );
    assert!((1.0..4.0).contains(&idle_s), "idle for {idle_s} s");
    reference::assert_same(
        &wav::read_blocks(&lan.wav("listener")),
        &reference::decode(&frames),
        "listener",
    );
    assert_eq!(listener.last_stat("concealed"), 0);
    assert_eq!(
        listener.events_named("off_air").len(),
        1,
        "a pause is no end"
    );
}

#[test]
fn ipv6_group_plays_from_end_to_end() {
    const GROUP: &str = "[ff15::cc52:1]:5004";
    let Some(lan) = Lan::new(3) else { return };
    music::piece(48_000, 2, 4.0).save(&lan.dir.join("song.wav"), &[]);
    let capture = Capture::start(&lan);
    let mut listeners = [1, 2].map(|host| {
        lan.listen(
            host,
            &format!("listener-{host}"),
            &["--once", "--no-standby", "--group", GROUP],
        )
    });
    let mut sender = lan.start(
        0,
        "sender",
        &["send", "--group", GROUP, &lan.path("song.wav")],
    );
    sender.wait_for_code(30, 0);
    listeners
        .iter_mut()
        .for_each(|listener| listener.wait_for_code(10, 0));
    let packets = capture.stop();
    assert!(
        packets.iter().all(|packet| packet.to.is_ipv6()),
        "IPv6 only"
    );
    let frames = capture::media(&packets);
    reference::assert_one_run(&frames);
    assert_eq!(frames.len(), reference::frames_of(4 * 48_000));
    for name in ["listener-1", "listener-2"] {
        reference::assert_same(
            &wav::read_blocks(&lan.wav(name)),
            &reference::decode(&frames),
            name,
        );
    }
}

#[test]
fn ffmpeg_plays_what_sdp_describes() {
    let Some(lan) = Lan::new(2) else { return };
    music::piece(48_000, 2, 60.0).save(&lan.dir.join("song.wav"), &[]);
    let capture = Capture::start(&lan);
    let mut sender = lan.start(0, "sender", &["send", &lan.path("song.wav")]);
    sender.await_event("on_air", 1, 10);
    let mut sdp = lan.start(1, "sdp", &["sdp"]);
    sdp.wait_for_code(5, 0);
    let description = String::from_utf8(sdp.stdout()).unwrap();
    for line in [
        "v=0",
        "m=audio 5004 RTP/AVP 96",
        "opus/48000/2",
        "239.255.77.77",
    ] {
        assert!(
            description.contains(line),
            "{line:?} is not in {description}"
        );
    }
    std::fs::write(lan.dir.join("station.sdp"), description).unwrap();
    let recorded = lan.path("recorded.wav");
    let mut ffmpeg = on(&lan.hosts[1], "timeout");
    ffmpeg.args([
        "40",
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-protocol_whitelist",
        "file,udp,rtp",
    ]);
    ffmpeg.args([
        "-i",
        &lan.path("station.sdp"),
        "-t",
        "5",
        "-c:a",
        "pcm_s16le",
        &recorded,
    ]);
    crate::net::run(&mut ffmpeg);
    sender.signal(nix::sys::signal::Signal::SIGINT);
    sender.wait_for_code(5, 0);
    let expected = reference::decode(&capture::media(&capture.stop()));
    let heard = music::decoded_by_ffmpeg(recorded.as_ref(), 2);
    assert!(
        (heard[0].len() as i64 - 240_000).abs() < 2_000,
        "{} samples of 240,000",
        heard[0].len()
    );
    for (side, heard) in heard.iter().enumerate() {
        let sent = wav::channel(&expected, side);
        let start = 96_000;
        let found =
            measure::find(&sent, &heard[start..start + 1_024], 0, isize::MAX).unwrap() as usize;
        let part = &sent[found - start..];
        let likeness = measure::likeness(part, heard, 100, false);
        println!("side {side}: {likeness:?}");
        assert!(likeness.snr_db > 30.0, "side {side}: {likeness:?}");
    }
}
