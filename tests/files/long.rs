//! Is an hour as quick to start as a minute, and does it take no more memory than promised?

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use lanradio::media::source::Source;

use crate::ffmpeg::{self, Folder};
use crate::music::STEREO;
use crate::programme::{PATIENCE, Running, random_group};

/// The promise, 250 ms of which are spent listening for a station.
const FIRST_PACKET: Duration = Duration::from_millis(500);
/// Starts of each file, of which the median counts: single ones stall with a busy machine.
const STARTS: usize = 7;

/// An hour in a few seconds: a minute of music, 60 times in a row without being decoded.
fn hour(folder: &Folder, name: &str, options: &[&str]) -> PathBuf {
    let minute = folder.path(&format!("minute-{name}"));
    ffmpeg::encode(&minute, 48_000, STEREO, 60.0, options).unwrap();
    let path = folder.path(name);
    let (minute, hour) = (minute.to_str().unwrap(), path.to_str().unwrap());
    let mut arguments = vec!["-stream_loop", "59", "-i", minute, "-c", "copy"];
    if name.contains("no-header") {
        arguments.extend(["-write_xing", "0", "-id3v2_version", "0"]);
    }
    arguments.push(hour);
    ffmpeg::try_run(&arguments).unwrap();
    path
}

/// A socket that hears the group, beside anybody else.
fn ears(group: SocketAddrV4) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&group.into()).unwrap();
    let ears = UdpSocket::from(socket);
    ears.join_multicast_v4(group.ip(), &Ipv4Addr::LOCALHOST)
        .unwrap();
    ears
}

/// From the start of `send` to its first packet; the sender still runs.
fn first_packet(folder: &Folder, file: &Path) -> (Duration, Running) {
    let (ip, port) = random_group();
    let ears = ears(SocketAddrV4::new(ip, port));
    ears.set_read_timeout(Some(PATIENCE)).unwrap();
    let began = Instant::now();
    let file = file.to_str().unwrap();
    let sender = Running::start(&folder.0, &format!("{ip}:{port}"), &["send", file]);
    let heard = ears.recv(&mut [0; 2048]);
    assert!(heard.is_ok(), "nothing was sent: {}", sender.said());
    (began.elapsed(), sender)
}

#[test]
fn hour_long_files_begin_at_once() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    for (name, options) in [
        ("hour.mp3", &["-b:a", "128k"][..]),
        ("hour-no-header.mp3", &["-q:a", "4"]),
        ("hour.m4a", &["-c:a", "aac"]),
        ("hour.opus", &["-c:a", "libopus"]),
        ("hour.mkv", &["-c:a", "libvorbis"]),
    ] {
        let path = hour(&folder, name, options);
        let mut firsts = [(); STARTS].map(|()| first_packet(&folder, &path).0);
        firsts.sort();
        println!("{name}: first packet after {firsts:?}");
        let median = firsts[STARTS / 2];
        assert!(median < FIRST_PACKET, "{name}: {firsts:?}");
        let promised = Source::open(&path).unwrap().known_samples();
        let seconds = promised.map(|samples| samples as f64 / 48_000.0);
        println!("{name}: {seconds:?} s");
        // Without a header the length is an estimate from the bitrate of the first frames.
        let off = if name.contains("no-header") {
            0.2
        } else {
            0.01
        };
        let an_hour = seconds.is_none_or(|seconds| (seconds / 3_600.0 - 1.0f64).abs() < off);
        assert!(an_hour, "{name} promises {seconds:?} s");
        fs::remove_file(&path).unwrap();
    }
}

/// Minutes long, so only in the proof: all of an hour in memory, and played to its end by the library.
#[test]
fn hour_in_memory_takes_what_is_promised() {
    if !crate::proof() {
        return;
    }
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let path = hour(&folder, "hour.mp3", &["-b:a", "192k"]);
    let (_, sender) = first_packet(&folder, &path);
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", sender.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<f64>().unwrap() / 1024.0
    };
    let mut last = 0.0;
    // All of it is encoded when nothing is added any more.
    let mut still = 0;
    while still < 10 {
        sleep(Duration::from_secs(1));
        let now = peak();
        still = if now > last + 0.1 { 0 } else { still + 1 };
        last = now;
    }
    println!("an hour at 128 kbit/s: {last:.1} MiB");
    assert!(
        (50.0..=70.0).contains(&last),
        "10 MiB and 1 a minute were promised, {last:.1} taken"
    );
    let mut source = Source::open(&path).unwrap();
    let (mut samples, mut heard) = (Vec::new(), 0);
    while source.read(&mut samples).unwrap() > 0 {
        heard += samples.len() / 2;
        samples.clear();
    }
    assert!(
        (heard as f64 / 48_000.0 - 3_600.0).abs() < 5.0,
        "{heard} samples"
    );
}
