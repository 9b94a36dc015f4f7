//! Real files in, the same music out on three hosts: bit for bit what was on the wire, and at the right pitch.

use std::path::Path;

use crate::capture::{self, Capture, Frame, Packet};
use crate::net::Lan;
use crate::process::Node;
use crate::wav::Block;
use crate::{measure, music, reference, wav};

/// What a whole programme left behind.
pub(crate) struct Played {
    pub(crate) packets: Vec<Packet>,
    pub(crate) frames: Vec<Frame>,
    /// The straight decode of what was captured.
    pub(crate) expected: Vec<Block>,
    pub(crate) sender: Node,
    pub(crate) listeners: Vec<Node>,
}

/// Sends from host 0 with `arguments`; every other host listens from the start. Waits until all have ended well, and
/// panics unless each listener wrote exactly what the wire carried.
pub(crate) fn play(lan: &Lan, arguments: &[&str], limit_s: u64) -> Played {
    let capture = Capture::start(lan);
    let listen = |host: usize| {
        lan.listen(
            host,
            &format!("listener-{host}"),
            &["--once", "--no-standby"],
        )
    };
    let mut listeners: Vec<_> = (1..lan.hosts.len()).map(listen).collect();
    let mut sender = lan.start(0, "sender", arguments);
    sender.wait_for_code(limit_s, 0);
    for listener in &mut listeners {
        listener.wait_for_code(10, 0);
    }
    let packets = capture.stop();
    let frames = capture::media(&packets);
    let expected = reference::decode(&frames);
    for host in 1..lan.hosts.len() {
        let name = format!("listener-{host}");
        reference::assert_same(&wav::read_blocks(&lan.wav(&name)), &expected, &name);
    }
    Played {
        packets,
        frames,
        expected,
        sender,
        listeners,
    }
}

/// How a file became stereo: what each side should sound like, given its channels.
fn to_stereo(channels: Vec<Vec<f32>>) -> [Vec<f32>; 2] {
    match <[Vec<f32>; 1]>::try_from(channels) {
        Ok([mono]) => [mono.clone(), mono],
        Err(channels) if channels.len() == 2 => channels.try_into().unwrap(),
        // ITU-R BS.775: centre and surround 3 dB down, no low-frequency channel. Order: L R C LFE Ls Rs.
        Err(channels) => [(0, 4), (1, 5)].map(|(front, surround)| {
            let half = std::f32::consts::FRAC_1_SQRT_2;
            let mix = |index: usize| {
                channels[front][index] + half * (channels[2][index] + channels[surround][index])
            };
            (0..channels[0].len()).map(mix).collect()
        }),
    }
}

/// Sends one file in one format to three listeners and checks all that is claimed of it.
fn format_plays(name: &str, rate_hz: u32, channels: usize, seconds: f64, options: &[&str]) {
    let Some(lan) = Lan::new(4) else { return };
    let file = lan.dir.join(name);
    music::piece(rate_hz, channels, seconds).save(&file, options);
    let source = to_stereo(music::decoded_by_ffmpeg(&file, channels));
    let played = play(&lan, &["send", &lan.path(name)], 40);
    reference::assert_one_run(&played.frames);
    assert_eq!(
        played
            .frames
            .iter()
            .filter(|frame| frame.is_last_of_track())
            .count(),
        1
    );
    assert!(played.frames.last().unwrap().is_last_of_track());
    is_the_music(&source, &played.expected, channels);
    // Codecs pad, so only their rough length is known here; the WAV tests know it exactly.
    let source_frames = reference::frames_of(source[0].len());
    let sent = played.frames.len();
    assert!(
        (source_frames..source_frames + 5).contains(&sent),
        "{sent} frames for {source_frames}"
    );
    events_tell_the_story(&played);
    controls_are_where_they_belong(&lan, &played.packets);
}

fn is_the_music(source: &[Vec<f32>; 2], played: &[Block], channels: usize) {
    let sides = [wav::channel(played, 0), wav::channel(played, 1)];
    // A downmix may be turned down as a whole so that it cannot clip; nothing else may change the volume.
    let with_gain = channels > 2;
    for side in 0..2 {
        let likeness = measure::likeness(&source[side], &sides[side], 4_800, with_gain);
        println!("side {side}: {likeness:?}");
        assert!(likeness.snr_db >= 12.0, "side {side}: {likeness:?}");
        // Two resamplers may disagree by a sample, and the best fit of a lossy copy by a fraction of one.
        assert!(
            likeness.delay >= 309.0,
            "the encoder's look-ahead cannot vanish: {likeness:?}"
        );
        assert!(
            (0.3..1.05).contains(&likeness.gain),
            "side {side}: {likeness:?}"
        );
    }
    let sides_alike = measure::likeness(&sides[0], &sides[1], 100, false);
    println!("right against left: {sides_alike:?}");
    if channels == 1 {
        // Not equal to the last bit: the encoder knows nothing of mono.
        assert!(
            sides_alike.snr_db > 30.0,
            "mono is the same on both sides: {sides_alike:?}"
        );
    }
    if channels > 1 {
        let crossed = measure::likeness(&source[0], &sides[1], 4_800, true);
        assert!(
            crossed.snr_db < 6.0,
            "right must not play left: {crossed:?}"
        );
    }
}

fn events_tell_the_story(played: &Played) {
    let frames = played.frames.len() as u64;
    assert_eq!(played.sender.events_named("on_air").len(), 1);
    for listener in &played.listeners {
        let tuned_in = listener.events_named("tuned_in");
        assert_eq!(
            (tuned_in.len(), tuned_in[0]["frame"].as_u64()),
            (1, Some(0))
        );
        let off_air = listener.events_named("off_air");
        assert_eq!(
            (off_air.len(), off_air[0]["reason"].as_str()),
            (1, Some("ended"))
        );
        assert_eq!(
            (
                listener.last_stat("received"),
                listener.last_stat("concealed")
            ),
            (frames, 0)
        );
        assert_eq!(
            (listener.last_stat("late"), listener.last_stat("rejected")),
            (0, 0)
        );
    }
}

/// RTCP on port + 1: reports at the start and then every 5 s, a BYE at the end. Heartbeats on port + 2, ten a second.
fn controls_are_where_they_belong(lan: &Lan, packets: &[Packet]) {
    let own = packets
        .iter()
        .filter(|packet| packet.to.ip().is_multicast());
    assert!(
        own.clone().all(|packet| packet.ttl == 1),
        "no router passes it on"
    );
    let of_sender = |port: u16| {
        let ours = packets
            .iter()
            .filter(move |packet| packet.from.ip() == lan.hosts[0].ip && packet.to.port() == port);
        ours.collect::<Vec<_>>()
    };
    let media = of_sender(5004);
    let seconds = (media.last().unwrap().at_ns - media[0].at_ns) as f64 / 1e9;
    let types: Vec<Vec<u8>> = of_sender(5005)
        .iter()
        .map(|packet| rtcp_types(&packet.payload))
        .collect();
    let reports = types
        .iter()
        .filter(|types| types.starts_with(&[200, 202]))
        .count() as f64;
    assert!(
        (reports - (1.0 + seconds / 5.0)).abs() <= 1.1,
        "{reports} reports in {seconds} s: {types:?}"
    );
    assert_eq!(
        types.iter().filter(|types| types.contains(&203)).count(),
        1,
        "one BYE: {types:?}"
    );
    assert!(
        types.last().unwrap().contains(&203),
        "the BYE is last: {types:?}"
    );
    let heartbeats = of_sender(5006).len() as f64;
    assert!(
        heartbeats >= 9.0 * seconds,
        "{heartbeats} control packets in {seconds} s"
    );
}

/// The packet types of a compound RTCP datagram.
fn rtcp_types(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while bytes.len() >= 4 {
        assert_eq!(bytes[0] >> 6, 2, "RTCP version");
        types.push(bytes[1]);
        let length = 4 + 4 * usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        bytes = &bytes[length..];
    }
    types
}

#[test]
fn wav_48k_stereo_plays_on_three_hosts() {
    format_plays("song.wav", 48_000, 2, 9.0, &[]);
}

#[test]
fn mp3_44k_stereo_plays_on_three_hosts() {
    format_plays(
        "song.mp3",
        44_100,
        2,
        8.0,
        &["-c:a", "libmp3lame", "-b:a", "192k"],
    );
}

#[test]
fn ogg_vorbis_22k_stereo_plays_on_three_hosts() {
    format_plays(
        "song.ogg",
        22_050,
        2,
        8.0,
        &["-c:a", "libvorbis", "-q:a", "6"],
    );
}

#[test]
fn flac_96k_mono_plays_the_same_on_both_sides() {
    format_plays("song.flac", 96_000, 1, 8.0, &["-c:a", "flac"]);
}

#[test]
fn m4a_44k_stereo_plays_on_three_hosts() {
    format_plays("song.m4a", 44_100, 2, 8.0, &["-c:a", "aac", "-b:a", "192k"]);
}

#[test]
fn opus_48k_stereo_plays_on_three_hosts() {
    format_plays(
        "song.opus",
        48_000,
        2,
        8.0,
        &["-c:a", "libopus", "-b:a", "192k"],
    );
}

#[test]
fn flac_with_six_channels_is_mixed_down_by_the_book() {
    format_plays("surround.flac", 48_000, 6, 8.0, &["-c:a", "flac"]);
}

#[test]
fn pitch_of_a_44k_file_is_right_to_one_ppm() {
    const FREQUENCIES_HZ: [f64; 2] = [997.0, 3_001.0];
    let Some(lan) = Lan::new(2) else { return };
    music::tones(44_100, &FREQUENCIES_HZ, 22.0)
        .save(&lan.dir.join("tones.flac"), &["-c:a", "flac"]);
    let played = play(&lan, &["send", &lan.path("tones.flac")], 60);
    assert_eq!(played.frames.len(), reference::frames_of(22 * 48_000));
    for (side, frequency_hz) in FREQUENCIES_HZ.into_iter().enumerate() {
        let error_ppm =
            measure::pitch_error_ppm(&wav::channel(&played.expected, side), frequency_hz);
        println!("{frequency_hz} Hz: {error_ppm:.4} ppm");
        assert!(
            error_ppm.abs() < 1.0,
            "{frequency_hz} Hz is {error_ppm} ppm off"
        );
    }
}

#[test]
fn every_second_is_played_once_and_in_order() {
    const SECONDS: usize = 10;
    let Some(lan) = Lan::new(2) else { return };
    let music = music::numbered_seconds(SECONDS);
    music.save(&lan.dir.join("numbers.wav"), &[]);
    let played = play(&lan, &["send", &lan.path("numbers.wav")], 40);
    assert_eq!(played.frames.len(), reference::frames_of(SECONDS * 48_000));
    for side in 0..2 {
        // The decoder is 312 samples behind: without them the seconds are where they were.
        let sound = &wav::channel(&played.expected, side)[312..];
        for second in 0..SECONDS {
            assert_eq!(number_of(&sound[second * 48_000..]), second, "side {side}");
            let chirp = second * 48_000..second * 48_000 + music::BITS_AT;
            let place = measure::find(
                sound,
                &music.channels[side][chirp.clone()],
                chirp.start as isize - 2_000,
                chirp.start as isize + 2_000,
            );
            assert_eq!(
                place,
                Some(chirp.start as isize),
                "chirp of second {second}, side {side}"
            );
        }
    }
}

/// The number that a second tells by its eight tones.
fn number_of(second: &[f32]) -> usize {
    let bit = |index: &usize| {
        let from = music::BITS_AT + index * music::BIT_LENGTH;
        let strength = |tone: f64| measure::tone(&second[from..from + music::BIT_LENGTH], tone).0;
        usize::from(strength(music::BIT_TONES_HZ[1]) > strength(music::BIT_TONES_HZ[0]))
    };
    (0..8).map(|index| bit(&index) << index).sum()
}

#[test]
fn several_files_are_one_timeline_with_a_fresh_decoder_for_each_track() {
    let Some(lan) = Lan::new(3) else { return };
    let pieces = [
        ("one", 48_000, 2.5),
        ("two", 44_100, 3.0),
        ("three", 48_000, 2.01),
    ];
    let mut counts = Vec::new();
    for (title, rate_hz, seconds) in pieces {
        let options = [
            "-c:a",
            "flac",
            "-metadata",
            &format!("title=Song {title}"),
            "-metadata",
            "artist=The Testers",
        ];
        music::piece(rate_hz, 2, seconds).save(&lan.dir.join(format!("{title}.flac")), &options);
        counts.push(reference::frames_of((seconds * 48_000.0).round() as usize));
    }
    let paths = pieces.map(|(title, ..)| lan.path(&format!("{title}.flac")));
    let played = play(&lan, &["send", &paths[0], &paths[1], &paths[2]], 40);
    reference::assert_one_run(&played.frames);
    let firsts = [0, counts[0], counts[0] + counts[1], counts.iter().sum()];
    assert_eq!(played.frames.len(), firsts[3]);
    let flagged = played
        .frames
        .iter()
        .enumerate()
        .filter(|(_, frame)| frame.is_last_of_track());
    let flagged: Vec<_> = flagged.map(|(index, _)| index).collect();
    assert_eq!(flagged, [firsts[1] - 1, firsts[2] - 1, firsts[3] - 1]);
    tracks_are_announced(&played.sender, &firsts);
    for listener in &played.listeners {
        tracks_are_announced(listener, &firsts);
    }
    let wrong_reset = {
        let mut frames = played.frames.clone();
        frames.iter_mut().for_each(|frame| frame.flags = 0);
        reference::decode(&frames)
    };
    assert_ne!(
        wrong_reset, played.expected,
        "a decoder that is not reset would be heard"
    );
    sounds_like_each_piece(&lan.dir, &played.expected, &firsts);
}

fn tracks_are_announced(node: &Node, firsts: &[usize]) {
    let told: Vec<_> = node
        .events_named("track")
        .iter()
        .map(|event| {
            let text = |field: &str| event[field].as_str().unwrap_or("none").to_owned();
            (
                text("title"),
                text("artist"),
                event["first_frame"].as_u64().unwrap() as usize,
            )
        })
        .collect();
    let expected: Vec<_> = ["one", "two", "three"]
        .iter()
        .zip(firsts)
        .map(|(title, first)| (format!("Song {title}"), "The Testers".to_owned(), *first))
        .collect();
    assert_eq!(told, expected, "{:?}", node.events());
}

fn sounds_like_each_piece(dir: &Path, played: &[Block], firsts: &[usize]) {
    for (index, title) in ["one", "two", "three"].into_iter().enumerate() {
        let source = music::decoded_by_ffmpeg(&dir.join(format!("{title}.flac")), 2);
        let part = &played[firsts[index]..firsts[index + 1]];
        for (side, channel) in source.iter().enumerate().take(2) {
            let likeness = measure::likeness(channel, &wav::channel(part, side), 2_400, false);
            assert!(
                likeness.snr_db >= 12.0,
                "{title}, side {side}: {likeness:?}"
            );
        }
    }
}

#[test]
fn packets_cross_as_many_routers_as_they_are_told_to() {
    let Some(lan) = Lan::new(1) else { return };
    music::piece(48_000, 2, 0.5).save(&lan.dir.join("short.wav"), &[]);
    let capture = Capture::start(&lan);
    let mut sender = lan.start(0, "sender", &["send", "--ttl", "3", &lan.path("short.wav")]);
    sender.wait_for_code(20, 0);
    let packets = capture.stop();
    let ours: Vec<_> = packets
        .iter()
        .filter(|packet| (5004..=5006).contains(&packet.to.port()))
        .collect();
    assert!(ours.len() > 25 && ours.iter().all(|packet| packet.ttl == 3));
}
