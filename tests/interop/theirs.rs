//! We play what ffmpeg and GStreamer send, whatever their packets look like, and also when they are started again.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::judge;
use crate::music::{self, Music};
use crate::net::Lan;
use crate::process::Node;
use crate::tools::{self, Tool};
use crate::wav;

const SECONDS: f64 = 22.0;

/// A stream of another program: its name, what sends it, and its channels.
struct Stream {
    name: &'static str,
    program: &'static str,
    arguments: String,
    channels: usize,
    /// It is killed in the middle and started again.
    restarts: bool,
}

fn ffmpeg(name: &'static str, options: &str, channels: usize, restarts: bool) -> Stream {
    Stream {
        name,
        program: "ffmpeg",
        arguments: format!(
            "-nostdin -v error -re -i SONG -c:a libopus {options} -f rtp rtp://239.255.77.77:5004?ttl=1"
        ),
        channels,
        restarts,
    }
}

fn gstreamer(name: &'static str, options: &str, restarts: bool) -> Stream {
    Stream {
        name,
        program: "gst-launch-1.0",
        arguments: format!(
            "-q filesrc location=SONG ! wavparse ! audioconvert ! opusenc {options} ! rtpopuspay ! \
             udpsink host=239.255.77.77 port=5004 multicast-iface=lan0 ttl-mc=1"
        ),
        channels: 2,
        restarts,
    }
}

/// A sender on host 0, a listener on host 1.
struct Scene {
    music: Music,
    stream: Stream,
    sender: Option<Tool>,
    listener: Node,
    /// Last: the others show what lies in its folder when they are dropped.
    lan: Lan,
}

impl Scene {
    fn start(stream: Stream) -> Option<Scene> {
        let lan = Lan::new(2)?;
        let music = music::piece(48_000, stream.channels, SECONDS);
        music.save(&lan.dir.join("song.wav"), &[]);
        let listener = lan.listen(1, "heard", &[]);
        let mut scene = Scene {
            music,
            stream,
            sender: None,
            listener,
            lan,
        };
        scene.send();
        Some(scene)
    }

    fn send(&mut self) {
        let arguments = self
            .stream
            .arguments
            .replace("SONG", &self.lan.path("song.wav"));
        self.sender = Some(Tool::start(
            &self.lan,
            0,
            "sender",
            self.stream.program,
            &arguments,
        ));
    }

    /// Kills the sender and starts another one at once.
    fn restart(&mut self) {
        if self.stream.restarts {
            self.sender.take().unwrap().kill();
            self.send();
        }
    }

    /// What the listener wrote, after Ctrl-C.
    fn heard(&mut self) -> Vec<Vec<f32>> {
        self.listener.signal(Signal::SIGINT);
        self.listener.wait_for_code(10, 0);
        let blocks = wav::read_blocks(&self.lan.wav("heard"));
        let played = self.listener.last_stat("received") + self.listener.last_stat("concealed");
        assert_eq!(
            blocks.len() as u64,
            played,
            "{}: each block is counted",
            self.stream.name
        );
        vec![wav::channel(&blocks, 0), wav::channel(&blocks, 1)]
    }

    fn judge(mut self) {
        let name = self.stream.name;
        let heard = self.heard();
        let source = match &self.music.channels[..] {
            [mono] => vec![mono.clone(), mono.clone()],
            both => both.to_vec(),
        };
        if self.stream.restarts {
            return self.judge_restart(&source, &heard);
        }
        judge::assert_whole(&source, &heard, 18.5, name);
        assert_eq!(self.listener.last_stat("lost"), 0, "{name}");
        assert_eq!(self.listener.events_named("tuned_in").len(), 1, "{name}");
    }

    fn judge_restart(&self, source: &[Vec<f32>], heard: &[Vec<f32>]) {
        let name = self.stream.name;
        let found = judge::stretches(source, heard);
        println!("{name}: {found:?}");
        let [before, after] = found[..] else {
            panic!("{name}: {found:?}")
        };
        assert!(
            before.seconds() > 7.0 && after.seconds() > 7.0,
            "{name}: {found:?}"
        );
        // The first plays to what came of it before it was killed, the second from its beginning: between them is the fade.
        let gap_s = (after.from as f64 - before.to as f64) / 48_000.0;
        assert!(gap_s < 1.0, "{name}: {gap_s} s: {found:?}");
        let began_s = (after.from as f64 - after.distance as f64) / 48_000.0;
        assert!(
            began_s < 0.6,
            "{name}: the second one is heard from {began_s} s on"
        );
        let [first, second] = &self.listener.events_named("on_air")[..] else {
            panic!("{name}: on_air twice")
        };
        assert_ne!(first["station"], second["station"], "{name}");
        let tuned_in = self.listener.events_named("tuned_in");
        let waited_us = tuned_in[1]["t_us"].as_u64().unwrap() - second["t_us"].as_u64().unwrap();
        assert!(
            waited_us < 1_000_000,
            "{name}: {waited_us} us from the third packet to its sound"
        );
        assert!(self.listener.events_named("off_air").is_empty(), "{name}");
        assert_eq!(self.listener.last_stat("lost"), 0, "{name}");
    }
}

#[test]
fn streams_of_ffmpeg_and_gstreamer_play_for_20_s_without_a_hole_and_across_a_restart() {
    let Some(()) = tools::require() else { return };
    let streams = vec![
        ffmpeg("ffmpeg 20 ms", "-b:a 128k", 2, false),
        ffmpeg(
            "ffmpeg 2.5 ms",
            "-b:a 128k -application lowdelay -frame_duration 2.5",
            2,
            false,
        ),
        ffmpeg("ffmpeg 5 ms", "-b:a 128k -frame_duration 5", 2, false),
        ffmpeg("ffmpeg 10 ms", "-b:a 128k -frame_duration 10", 2, false),
        ffmpeg("ffmpeg 40 ms", "-b:a 128k -frame_duration 40", 2, false),
        // ffmpeg ends itself at a packet of more than 1,460 bytes, which 60 ms of 128k sometimes are.
        ffmpeg(
            "ffmpeg 60 ms",
            "-b:a 96k -vbr off -frame_duration 60",
            2,
            false,
        ),
        ffmpeg("ffmpeg mono", "-b:a 64k", 1, false),
        gstreamer("gstreamer 20 ms", "bitrate=128000", false),
        gstreamer("gstreamer 60 ms", "bitrate=128000 frame-size=60", false),
        ffmpeg("ffmpeg restarted", "-b:a 128k", 2, true),
        gstreamer("gstreamer restarted", "bitrate=128000", true),
    ];
    let scenes: Option<Vec<_>> = streams.into_iter().map(Scene::start).collect();
    let Some(mut scenes) = scenes else { return };
    std::thread::sleep(Duration::from_secs(10));
    scenes.iter_mut().for_each(Scene::restart);
    std::thread::sleep(Duration::from_millis(10_500));
    scenes.into_iter().for_each(Scene::judge);
}
