//! Loss, a cable out, stalls, a dead sender, an enemy on the network: what may be heard of it, to the frame.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::capture::{self, Capture, Frame, MEDIA_PORT};
use crate::net::Lan;
use crate::process::{Node, wait_until};
use crate::{garbage, measure, music, reference, wav};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 77);

/// A programme of `seconds` on the air: host 0 sends, the others listen from the start.
struct OnAir {
    lan: Lan,
    capture: Capture,
    sender: Node,
    listeners: Vec<Node>,
}

impl OnAir {
    /// Listeners are on hosts 1 to `listeners`; `spare` hosts more do nothing.
    fn start(listeners: usize, spare: usize, seconds: f64) -> Option<OnAir> {
        let lan = Lan::new(1 + listeners + spare)?;
        music::piece(48_000, 2, seconds).save(&lan.dir.join("song.wav"), &[]);
        let capture = Capture::start(&lan);
        let listen = |host: usize| {
            lan.listen(
                host,
                &format!("listener-{host}"),
                &["--once", "--no-standby"],
            )
        };
        let mut listeners: Vec<_> = (1..=listeners).map(listen).collect();
        let sender = lan.start(0, "sender", &["send", &lan.path("song.wav")]);
        for listener in &mut listeners {
            listener.await_event("tuned_in", 1, 10);
        }
        Some(OnAir {
            lan,
            capture,
            sender,
            listeners,
        })
    }

    fn await_frames(&self, count: usize) {
        wait_until(30, "frames on the wire", || {
            self.capture.media_count() >= count
        });
    }

    /// Waits for a good end everywhere.
    fn end(&mut self) {
        self.sender.wait_for_code(40, 0);
        for listener in &mut self.listeners {
            listener.wait_for_code(10, 0);
        }
    }

    /// The frames that the sender sent.
    fn frames(&self) -> Vec<Frame> {
        capture::media_from(&self.capture.so_far(), self.lan.hosts[0].ip)
    }

    fn heard_by(&self, host: usize) -> Vec<wav::Block> {
        wav::read_blocks(&self.lan.wav(&format!("listener-{host}")))
    }
}

/// The frames that an ear on the listener's own host never got: the holes, by index.
fn holes(frames: &[Frame], ear: &UdpSocket) -> BTreeSet<usize> {
    let mut passed = BTreeSet::new();
    let mut buffer = [0; 2048];
    while let Ok(length) = ear.recv(&mut buffer) {
        assert!(length > 32);
        passed.insert(u16::from_be_bytes([buffer[2], buffer[3]]));
    }
    let missed = frames
        .iter()
        .enumerate()
        .filter(|(_, frame)| !passed.contains(&frame.seq));
    missed.map(|(index, _)| index).collect()
}

/// A listener that missed `holes` and nothing else: counters, length, and every block outside the damage.
fn missed_exactly(on_air: &OnAir, host: usize, expected: &[wav::Block], holes: &BTreeSet<usize>) {
    let listener = &on_air.listeners[host - 1];
    let (received, concealed) = (
        listener.last_stat("received"),
        listener.last_stat("concealed"),
    );
    assert_eq!(
        concealed,
        holes.len() as u64,
        "concealed at listener {host}; the holes are {holes:?}"
    );
    assert_eq!(
        received + concealed,
        expected.len() as u64,
        "received and concealed at listener {host}"
    );
    let heard = on_air.heard_by(host);
    let audible =
        reference::assert_same_around_holes(&heard, expected, holes, &format!("listener {host}"));
    assert_eq!(
        audible,
        holes.len(),
        "a concealed block cannot equal the lost one"
    );
}

#[test]
fn at_five_percent_loss_and_with_no_answer_each_lost_packet_costs_one_concealed_frame() {
    let Some(mut on_air) = OnAir::start(2, 0, 10.0) else {
        return;
    };
    let ear = on_air.lan.hosts[1].ear(GROUP, MEDIA_PORT);
    let heard_from = on_air.capture.media_count();
    on_air.await_frames(heard_from + 50);
    on_air.lan.hosts[1].stop_answers();
    on_air.lan.hosts[1].start_loss(50);
    on_air.await_frames(425);
    let dropped = on_air.lan.hosts[1].stop_loss();
    on_air.end();
    let frames = on_air.frames();
    reference::assert_one_run(&frames);
    let expected = reference::decode(&frames);
    let mut holes = holes(&frames, &ear);
    // The ear came when the first frames were already through.
    holes.retain(|index| *index > heard_from + 20);
    println!("nft dropped {dropped} packets: {holes:?}");
    assert!(dropped > 0, "300 packets at 5 %");
    assert_eq!(
        holes.len(),
        dropped,
        "the ear and the kernel's counter agree"
    );
    missed_exactly(&on_air, 1, &expected, &holes);
    missed_exactly(&on_air, 2, &expected, &BTreeSet::new());
}

#[test]
fn cable_out_for_two_seconds_costs_one_listener_those_frames_but_for_the_last_and_the_others_nothing()
 {
    let Some(mut on_air) = OnAir::start(3, 0, 9.0) else {
        return;
    };
    let ear = on_air.lan.hosts[1].ear(GROUP, MEDIA_PORT);
    let heard_from = on_air.capture.media_count();
    on_air.await_frames(150);
    on_air.lan.hosts[1].cut_cable();
    std::thread::sleep(Duration::from_secs(2));
    on_air.lan.hosts[1].mend_cable();
    on_air.end();
    let frames = on_air.frames();
    reference::assert_one_run(&frames);
    let expected = reference::decode(&frames);
    let mut holes = holes(&frames, &ear);
    holes.retain(|index| *index > heard_from + 20);
    println!(
        "cable out: frames {:?} to {:?}",
        holes.first(),
        holes.last()
    );
    assert!(
        (90..=130).contains(&holes.len()),
        "2 s are about 100 frames: {holes:?}"
    );
    assert_eq!(
        holes.last().unwrap() - holes.first().unwrap() + 1,
        holes.len(),
        "one hole"
    );
    // What was still to be played when the cable was back is repaired: half a second of it.
    let repaired = on_air.listeners[0].last_stat("repaired") as usize;
    println!("{repaired} of {} repaired", holes.len());
    assert!((5..=25).contains(&repaired), "{repaired} repaired");
    let missed = holes.iter().copied().take(holes.len() - repaired).collect();
    missed_exactly(&on_air, 1, &expected, &missed);
    missed_exactly(&on_air, 2, &expected, &BTreeSet::new());
    missed_exactly(&on_air, 3, &expected, &BTreeSet::new());
}

#[test]
fn sender_that_stalled_sends_a_buffer_of_missed_frames_at_once_and_is_on_the_grid_again() {
    let Some(mut on_air) = OnAir::start(2, 0, 9.0) else {
        return;
    };
    on_air.await_frames(150);
    on_air.sender.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(1_500));
    on_air.sender.signal(Signal::SIGCONT);
    on_air.end();
    let frames = on_air.frames();
    let offsets = reference::offsets(&frames);
    assert!(offsets.is_sorted_by(|a, b| a < b), "in order, none twice");
    let total = reference::frames_of(9 * 48_000);
    assert_eq!(
        *offsets.last().unwrap() as usize + 1,
        total,
        "the timeline did not move"
    );
    for (frame, offset) in frames.iter().zip(&offsets) {
        assert_eq!(
            frame.ts,
            frames[0].ts.wrapping_add(960 * *offset as u32),
            "timestamp of frame {offset}"
        );
    }
    let resumed = 1 + frames
        .windows(2)
        .position(|pair| pair[1].at_ns - pair[0].at_ns > 1_000_000_000)
        .expect("a stall");
    // How late each frame is on the grid of the first one, in ms.
    let late_ms = |index: usize| {
        (frames[index].at_ns - frames[0].at_ns) as f64 / 1e6 - offsets[index] as f64 * 20.0
    };
    // Those that were due by then. (The machine may stall again in the middle of them.)
    let burst = 1 + (late_ms(resumed) / 20.0) as usize;
    let took_ns = frames[resumed + burst - 1].at_ns - frames[resumed].at_ns;
    assert!(took_ns < 250_000_000, "at once, not in {took_ns} ns");
    let overdue = (resumed..resumed + burst)
        .filter(|&index| late_ms(index) > 480.0)
        .count();
    let skipped: BTreeSet<usize> = (offsets[resumed - 1] + 1..offsets[resumed])
        .map(|offset| offset as usize)
        .collect();
    println!(
        "stalled before frame {}, skipped {}, then {burst} at once",
        offsets[resumed],
        skipped.len()
    );
    assert!(
        (20..=27).contains(&burst),
        "{burst} frames at once; a buffer is 25"
    );
    assert_eq!(
        frames.len() + skipped.len(),
        total,
        "nothing is missing but the frames skipped in the stall"
    );
    on_the_old_grid(&frames, &offsets, resumed, burst);
    for host in 1..=2 {
        heard_through_a_stall(&on_air, host, &frames, &offsets, &skipped, overdue);
    }
}

/// What follows the burst is where it would have been without the stall.
fn on_the_old_grid(frames: &[Frame], offsets: &[i64], resumed: usize, burst: usize) {
    let phase = |range: std::ops::Range<usize>| {
        let late = |index: usize| {
            (frames[index].at_ns - frames[0].at_ns - offsets[index] * 20_000_000) as f64 / 1e6
        };
        measure::percentile(&range.map(late).collect::<Vec<_>>(), 50.0)
    };
    let moved_ms = phase(resumed + burst + 5..frames.len()) - phase(0..resumed);
    assert!(moved_ms.abs() < 3.0, "the grid moved by {moved_ms} ms");
}

/// The listener concealed what was skipped, and what came too late to be played (of the `overdue` frames at most); the rest
/// is exact.
fn heard_through_a_stall(
    on_air: &OnAir,
    host: usize,
    frames: &[Frame],
    offsets: &[i64],
    skipped: &BTreeSet<usize>,
    overdue: usize,
) {
    let listener = &on_air.listeners[host - 1];
    let late = listener.last_stat("late") as usize;
    let end = skipped.last().unwrap() + 1;
    let holes: BTreeSet<usize> = skipped.iter().copied().chain(end..end + late).collect();
    assert!(
        late <= overdue,
        "{late} late, and {overdue} came at about their play time"
    );
    let concealed = listener.last_stat("concealed");
    assert_eq!(
        concealed,
        holes.len() as u64,
        "listener {host}: {} skipped, {late} late",
        skipped.len()
    );
    let heard = on_air.heard_by(host);
    let total = *offsets.last().unwrap() as usize + 1;
    assert_eq!(
        heard.len(),
        total,
        "listener {host}: one block for each index"
    );
    assert_eq!(listener.last_stat("received") + concealed, total as u64);
    let decoded = reference::decode(frames);
    let mut expected = vec![[0; 1920]; total];
    for (block, offset) in decoded.iter().zip(offsets) {
        expected[*offset as usize] = *block;
    }
    reference::assert_same_around_holes(&heard, &expected, &holes, &format!("listener {host}"));
}

#[test]
fn listener_that_was_stopped_for_two_seconds_still_writes_every_frame() {
    let Some(mut on_air) = OnAir::start(2, 0, 8.0) else {
        return;
    };
    on_air.await_frames(120);
    on_air.listeners[0].signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    on_air.listeners[0].signal(Signal::SIGCONT);
    on_air.end();
    let frames = on_air.frames();
    reference::assert_one_run(&frames);
    let expected = reference::decode(&frames);
    missed_exactly(&on_air, 1, &expected, &BTreeSet::new());
    missed_exactly(&on_air, 2, &expected, &BTreeSet::new());
}

#[test]
fn listener_outlives_a_killed_sender_and_plays_the_next_station() {
    let Some(lan) = Lan::new(2) else { return };
    music::piece(48_000, 2, 20.0).save(&lan.dir.join("first.wav"), &[]);
    music::piece(44_100, 2, 3.0).save(&lan.dir.join("second.wav"), &[]);
    let capture = Capture::start(&lan);
    let mut listener = lan.listen(1, "listener", &["--no-standby"]);
    let first = lan.start(0, "first", &["send", &lan.path("first.wav")]);
    wait_until(10, "3 s of music", || capture.media_count() >= 150);
    first.signal(Signal::SIGKILL);
    let killed = Instant::now();
    let off_air = listener.await_event("off_air", 1, 12);
    println!("source_lost after {:?}", killed.elapsed());
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!(off_air["reason"], "source_lost");
    let from_first = capture::media(&capture.so_far());
    let expected_first = reference::decode(&from_first);
    let after_first = wav::read_blocks(&lan.wav("listener"));
    ends_in_concealment(&after_first, &expected_first, &listener);

    let mut second = lan.start(0, "second", &["send", &lan.path("second.wav")]);
    second.wait_for_code(20, 0);
    let off_air = listener.await_event("off_air", 2, 10);
    assert_eq!(off_air["reason"], "ended");
    listener.signal(Signal::SIGINT);
    listener.wait_for_code(5, 0);
    let from_second = capture::media(&capture.stop()).split_off(from_first.len());
    reference::assert_one_run(&from_second);
    assert_ne!(from_second[0].ssrc, from_first[0].ssrc, "a new station");
    let expected = [after_first, reference::decode(&from_second)].concat();
    reference::assert_same(
        &wav::read_blocks(&lan.wav("listener")),
        &expected,
        "both stations",
    );
}

/// All that the dead sender had sent was played exactly. The listener cannot know that no more will come: it conceals until
/// that has faded to silence, and then waits.
fn ends_in_concealment(heard: &[wav::Block], expected: &[wav::Block], listener: &Node) {
    let extra = heard
        .len()
        .checked_sub(expected.len())
        .expect("the buffer was played out");
    println!("{extra} frames concealed after the last one that was sent");
    assert!(extra <= 10, "{extra} concealed frames are more than 200 ms");
    reference::assert_same(&heard[..expected.len()], expected, "before the kill");
    let silence = &heard[heard.len().min(expected.len() + 6)..];
    assert!(
        silence.iter().flatten().all(|sample| *sample == 0),
        "silent from 120 ms on"
    );
    assert_eq!(listener.last_stat("received"), expected.len() as u64);
}

/// 20,000 packets a second for 2.5 s, to the group's and the hosts' own media, report and control ports.
fn attack(on_air: &OnAir, attacker: usize) -> u32 {
    let packets = on_air.capture.so_far();
    let mut media = packets
        .iter()
        .filter(|packet| packet.to.port() == MEDIA_PORT);
    let genuine = media.next().unwrap().payload.clone();
    let hosts = &on_air.lan.hosts;
    let targets: Vec<_> = [GROUP, hosts[1].ip, hosts[0].ip]
        .into_iter()
        .flat_map(|address| [5004, 5005, 5006].map(|port| (address, port).into()))
        .collect();
    let garbage = |number| garbage::garbage(&genuine, number);
    garbage::flood(&hosts[attacker].socket(), &targets, 2.5, garbage)
}

#[test]
fn garbage_by_the_thousand_is_counted_by_reason_and_not_heard() {
    let Some(mut on_air) = OnAir::start(2, 1, 8.0) else {
        return;
    };
    on_air.await_frames(75);
    let sent = attack(&on_air, 3);
    let peaks_kib: Vec<_> = on_air
        .listeners
        .iter()
        .chain([&on_air.sender])
        .map(Node::peak_memory_kib)
        .collect();
    on_air.end();
    let frames = on_air.frames();
    reference::assert_one_run(&frames);
    assert_eq!(frames.len(), reference::frames_of(8 * 48_000));
    let expected = reference::decode(&frames);
    for host in 1..=2 {
        let listener = &on_air.listeners[host - 1];
        let stats = listener.events_named("stats").pop().unwrap();
        println!(
            "listener {host}: {} of {sent} rejected: {}",
            stats["rejected"], stats["rejected_by"]
        );
        let reasons = stats["rejected_by"]
            .as_object()
            .expect("an object of reasons");
        let counts: Vec<_> = reasons
            .values()
            .map(|count| count.as_u64().unwrap())
            .filter(|count| *count > 0)
            .collect();
        assert!(counts.len() >= 5, "reasons: {reasons:?}");
        assert_eq!(
            counts.iter().sum::<u64>(),
            stats["rejected"].as_u64().unwrap()
        );
        missed_exactly(&on_air, host, &expected, &BTreeSet::new());
    }
    println!("peak memory {peaks_kib:?} KiB");
    assert!(
        peaks_kib.iter().all(|peak| *peak < 16 * 1024),
        "peak memory {peaks_kib:?} KiB"
    );
}
