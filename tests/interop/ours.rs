//! ffmpeg and GStreamer find our station by its session description and play it.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::judge;
use crate::music;
use crate::net::Lan;
use crate::process::{LANRADIO, on};
use crate::tools::{self, Tool};

/// What the description says to a player that cannot read one: address, port, payload type, encoding, clock rate.
fn parse(sdp: &str) -> [String; 5] {
    let line = |start: &str| {
        let line = sdp.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("no {start} in {sdp}"))
    };
    let address = line("c=IN IP4 ").split('/').next().unwrap();
    let mut media = line("m=audio ").split_whitespace();
    let (port, payload) = (media.next().unwrap(), media.nth(1).unwrap());
    let mut format = line(&format!("a=rtpmap:{payload} ")).split('/');
    let (encoding, rate) = (format.next().unwrap(), format.next().unwrap());
    [address, port, payload, encoding, rate].map(str::to_owned)
}

/// Programs that record the station into `NAME.pcm`: name, program, arguments (separated by blanks).
fn recorders(lan: &Lan, sdp: &str) -> Vec<(&'static str, &'static str, String)> {
    let file = |name: &str| lan.path(&format!("{name}.pcm"));
    let description = lan.path("station.sdp");
    let protocols = "-protocol_whitelist file,udp,rtp";
    let [address, port, payload, encoding, rate] = parse(sdp);
    // The caps are one argument; GStreamer knows encodings in capitals.
    let source = format!(
        "udpsrc address={address} port={port} multicast-iface=lan0 retrieve-sender-address=false \
         caps=application/x-rtp,media=audio,encoding-name={},clock-rate={rate},payload={payload}",
        encoding.to_uppercase()
    );
    let sink = |name: &str| {
        let raw = "audio/x-raw,format=S16LE,rate=48000,channels=2";
        let to = file(name);
        format!("rtpopusdepay ! opusdec ! audioconvert ! {raw} ! filesink location={to}")
    };
    let (plain, bin) = (sink("jitterbuffer"), sink("rtpbin"));
    let mut recorders = vec![
        (
            "ffmpeg",
            "ffmpeg",
            format!(
                "-nostdin -v error {protocols} -i {description} -t 20 -ar 48000 -ac 2 -f s16le {}",
                file("ffmpeg")
            ),
        ),
        (
            "jitterbuffer",
            "gst-launch-1.0",
            format!("-q {source} ! rtpjitterbuffer latency=200 ! {plain}"),
        ),
        (
            "rtpbin",
            "gst-launch-1.0",
            format!("-q rtpbin name=bin latency=200 {source} ! bin.recv_rtp_sink_0 bin. ! {bin}"),
        ),
        // SDL's device of no machine writes what it is given, at the pace of a real one.
        (
            "ffplay",
            "env",
            format!(
                "SDL_AUDIODRIVER=disk SDL_DISKAUDIOFILE={} ffplay -v error -nodisp {protocols} {description}",
                file("ffplay")
            ),
        ),
    ];
    if tools::has("mpv") {
        let whitelist = "--demuxer-lavf-o=protocol_whitelist=[file,udp,rtp]";
        let format = "--audio-format=s16 --audio-samplerate=48000 --ao=pcm --ao-pcm-waveheader=no";
        let to = file("mpv");
        let arguments =
            format!("--no-config --no-video {format} --ao-pcm-file={to} {whitelist} {description}");
        recorders.push(("mpv", "mpv", arguments));
    } else {
        assert!(
            !tools::in_ci(),
            "mpv is missing (scripts/setup.sh test), and CI=true forbids skipping it"
        );
        tools::say("SKIPPED: mpv plays our station, since mpv is missing (scripts/setup.sh test)");
    }
    recorders
}

#[test]
fn other_players_play_our_station_by_its_sdp_for_20_s_without_a_hole() {
    let Some(()) = tools::require() else { return };
    let Some(lan) = Lan::new(6) else { return };
    let music = music::piece(48_000, 2, 27.0);
    music.save(&lan.dir.join("song.wav"), &[]);
    let mut sender = lan.start(0, "sender", &["send", &lan.path("song.wav")]);
    sender.await_event("track", 1, 10);
    let asked = on(&lan.hosts[1], LANRADIO).arg("sdp").output().unwrap();
    fs::write(lan.dir.join("station.sdp"), &asked.stdout).unwrap();

    let recorders = recorders(&lan, &String::from_utf8(asked.stdout).unwrap());
    let start = |(at, (name, program, arguments)): (usize, &(&str, &str, String))| {
        Tool::start(&lan, at + 1, name, program, arguments)
    };
    let mut running: Vec<_> = recorders.iter().enumerate().map(start).collect();
    running[0].wait(40);
    std::thread::sleep(Duration::from_secs(1));
    running
        .iter_mut()
        .skip(1)
        .for_each(|player| player.signal(Signal::SIGKILL));
    for (name, ..) in &recorders {
        let heard = tools::raw_stereo(&lan.dir.join(format!("{name}.pcm")));
        judge::assert_whole(&music.channels, &heard, 18.5, name);
    }
}
