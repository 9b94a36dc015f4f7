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

#[test]
fn ffmpeg_and_gstreamer_play_our_station_by_its_sdp_for_20_s_without_a_hole() {
    let Some(()) = tools::require() else { return };
    let Some(lan) = Lan::new(4) else { return };
    let music = music::piece(48_000, 2, 27.0);
    music.save(&lan.dir.join("song.wav"), &[]);
    let mut sender = lan.start(0, "sender", &["send", &lan.path("song.wav")]);
    sender.await_event("track", 1, 10);
    let asked = on(&lan.hosts[1], LANRADIO).arg("sdp").output().unwrap();
    fs::write(lan.dir.join("station.sdp"), &asked.stdout).unwrap();
    let [address, port, payload, encoding, rate] = parse(&String::from_utf8(asked.stdout).unwrap());

    let (sdp, file) = (lan.path("station.sdp"), |name: &str| lan.path(name));
    let arguments = format!(
        "-nostdin -v error -protocol_whitelist file,udp,rtp -i {sdp} -t 20 -ar 48000 -ac 2 -f s16le {}",
        file("ffmpeg.pcm")
    );
    let mut ffmpeg = Tool::start(&lan, 1, "ffmpeg", "ffmpeg", &arguments);
    // The caps are one argument; GStreamer knows encodings in capitals.
    let source = format!(
        "udpsrc address={address} port={port} multicast-iface=lan0 retrieve-sender-address=false \
         caps=application/x-rtp,media=audio,encoding-name={},clock-rate={rate},payload={payload}",
        encoding.to_uppercase()
    );
    let sink = |name: &str| {
        format!(
            "rtpopusdepay ! opusdec ! audioconvert ! audio/x-raw,format=S16LE,rate=48000,channels=2 ! filesink location={}",
            file(name)
        )
    };
    let plain = format!(
        "-q {source} ! rtpjitterbuffer latency=200 ! {}",
        sink("jitterbuffer.pcm")
    );
    let bin = format!(
        "-q rtpbin name=bin latency=200 {source} ! bin.recv_rtp_sink_0 bin. ! {}",
        sink("rtpbin.pcm")
    );
    let players = [(2, "jitterbuffer", plain), (3, "rtpbin", bin)];
    let players = players
        .map(|(host, name, pipeline)| Tool::start(&lan, host, name, "gst-launch-1.0", &pipeline));
    ffmpeg.wait(40);
    std::thread::sleep(Duration::from_secs(1));
    players
        .iter()
        .for_each(|player| player.signal(Signal::SIGKILL));
    for name in ["ffmpeg", "jitterbuffer", "rtpbin"] {
        let heard = tools::raw_stereo(&lan.dir.join(format!("{name}.pcm")));
        judge::assert_whole(&music.channels, &heard, 18.5, name);
    }
}
