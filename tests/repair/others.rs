//! Players that are not ours hear the station while others are repaired, as they would if nobody was.

use crate::heard::assert_heard;
use crate::losses::Lossy;
use crate::process::{LANRADIO, on};
use crate::song::Song;
use crate::station::{Roster, Station};
use crate::tools::{self, Tool};
use crate::wire::Wire;

use nix::sys::signal::Signal;

const SECONDS: usize = 12;

/// Those that record: name, program, arguments.
fn recorders(station: &Station) -> [(&'static str, &'static str, String); 2] {
    let lan = &station.lan;
    let ask = &mut on(station.host(station.spare(0)), LANRADIO);
    let description = crate::net::run(ask.arg("sdp")).stdout;
    std::fs::write(lan.dir.join("station.sdp"), description).unwrap();
    let ffmpeg = format!(
        "-nostdin -v error -protocol_whitelist file,udp,rtp -i {} -t {SECONDS} -f s16le {}",
        lan.path("station.sdp"),
        lan.path("ffmpeg.pcm")
    );
    let caps = "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=96";
    let source = format!("udpsrc address=239.255.77.77 port=5004 multicast-iface=lan0 caps={caps}");
    let raw = "audio/x-raw,format=S16LE,rate=48000,channels=2";
    let gstreamer = format!(
        "-q {source} ! rtpjitterbuffer latency=200 ! rtpopusdepay ! opusdec ! audioconvert ! {raw} ! filesink location={}",
        lan.path("gstreamer.pcm")
    );
    [
        ("ffmpeg", "ffmpeg", ffmpeg),
        ("gstreamer", "gst-launch-1.0", gstreamer),
    ]
}

fn assert_recorded(station: &Station, name: &str) {
    let heard = tools::raw_stereo(&station.lan.dir.join(format!("{name}.pcm")));
    let source = &station.song.music.channels;
    crate::sound::assert_whole(source, &heard, SECONDS as f64 - 1.5, name);
}

/// One listener of ours loses a tenth and is repaired.
fn assert_repaired(station: &Station, wire: &Wire) {
    let host = station.plain().start;
    assert_eq!(assert_heard(station, host, wire), 0);
    let traffic = station.taps.sent();
    traffic.assert_right(wire);
    assert!(traffic.repairs().packets > 10, "{:?}", traffic.repairs());
}

#[test]
fn ffmpeg_and_gstreamer_hear_nothing_of_the_repairs_of_others() {
    let Some(()) = tools::require() else { return };
    let roster = Roster {
        plain: 1,
        spare: 2,
        ..Roster::default()
    };
    let Some(mut station) = Station::start(&Song::of(SECONDS + 3), roster) else {
        return;
    };
    station.sleep_until_s(0.5);
    let _lossy = Lossy::start(&station, station.plain(), 100);
    let recorders = recorders(&station);
    let start = |(at, (name, program, arguments)): (usize, &(&str, &str, String))| {
        Tool::start(&station.lan, station.spare(at), name, program, arguments)
    };
    let mut running: Vec<_> = recorders.iter().enumerate().map(start).collect();
    running[0].wait(SECONDS as u64 + 20);
    station.end(&[]);
    running[1].signal(Signal::SIGKILL);
    let wire = station.wire();
    station.assert_undisturbed(&wire);
    assert_repaired(&station, &wire);
    for (name, ..) in &recorders {
        assert_recorded(&station, name);
    }
}
