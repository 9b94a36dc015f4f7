//! Do the fuzzers start from everything that the parsers can say? The committed corpus reaches every way to be refused and
//! packets that are accepted. Made anew with `cargo test --test fuzz_corpus -- --ignored`.

#[path = "../fuzz/fuzz_targets/station.rs"]
mod station;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lanradio::station::node::Submission;
use lanradio::station::playlist::ListedTrack;
use lanradio::wire::block::Block;
use lanradio::wire::control::{EndReason, Heartbeat, Hello, Message, RunInfo, State, TrackInfo};
use lanradio::wire::election::{Ask, Confirm, Refusal, Reply, Round, Stale, Standing};
use lanradio::wire::foreign::ForeignPacket;
use lanradio::wire::ids::Numbering;
use lanradio::wire::media::{Flags, HEADER_BYTES, MAX_PAYLOAD_BYTES, MediaPacket};
use lanradio::wire::probe::{Probe, Time};
use lanradio::wire::repair::{Nack, Repair};
use lanradio::wire::report::{Bursts, Lately, NodeReport, RepairTimes, Report, Timing};
use lanradio::wire::rtcp;
use lanradio::wire::{
    FrameIndex, NodeId, PlanDigest, RtpTimestamp, Slot, StationId, Term, TrackId,
};
use station::{Bytes, Part, World, true_name};

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

fn read(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus(target)).expect("the corpus is committed");
    files
        .map(|file| fs::read(file.expect("an entry").path()).expect("a file"))
        .collect()
}

fn heartbeat() -> Heartbeat {
    let track = |first: u64| TrackInfo {
        first: FrameIndex(first),
        frames: Some(1500),
        title: "Song".into(),
        artist: "Band".into(),
    };
    Heartbeat {
        station: StationId(7),
        term: Term {
            counter: 1,
            leader: NodeId(0x0102_0304_0506_0708),
        },
        number: 9,
        sent_at_us: 2_000_000,
        young: true,
        state: State::Playing,
        next: FrameIndex(100),
        buffer_ms: 500,
        plan: PlanDigest(0x00ab_cdef),
        run: Some(RunInfo {
            first: FrameIndex(0),
            starts_at: Slot(0),
            end: Some(FrameIndex(3000)),
        }),
        tracks: [Some(track(0)), Some(track(1500))],
        name: "hall".into(),
        succession: Default::default(),
    }
}

fn media_seeds() -> Vec<Vec<u8>> {
    let numbering = Numbering::of(StationId(7));
    let packet = |payload: &[u8], flags| {
        let term = Term {
            counter: 1,
            leader: NodeId(0x0102_0304_0506_0708),
        };
        let belongs = (term.short(), PlanDigest(0x00ab_cdef), flags);
        let mut bytes = Vec::new();
        MediaPacket::place(
            &numbering,
            FrameIndex(70_000),
            Slot(70_010),
            false,
            belongs,
            payload,
        )
        .write(&mut bytes);
        bytes
    };
    let good = packet(&[0xfc, 1, 2, 3], Flags::default());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    vec![
        good.clone(),
        packet(&[0xfc; 300], Flags::COVER.with(Flags::LAST_OF_TRACK)),
        packet(&[0xfc; MAX_PAYLOAD_BYTES], Flags::SOLO.with(Flags::SILENCE)),
        good[..20].to_vec(),
        with(0, 0x50),
        [with(0, 0xb0), vec![0]].concat(),
        [with(0, 0xb0), vec![0, 2]].concat(),
        with(1, 97),
        with(12, 0x10),
        with(16, 0x1f),
        with(14, 0xff),
        good[..HEADER_BYTES].to_vec(),
        // Other programs': two frames in one packet, lengths and padding, another codec, no Opus.
        foreign(0x80, 0xe1, &[0xfd, 1, 2, 3, 4]),
        foreign(0xa0, 0x7f, &[0xff, 0xc2, 2, 1, 7, 8, 9, 0, 0, 0, 2]),
        foreign(0x80, 0, &[1, 2, 3]),
        foreign(0x80, 0x60, &[0xff, 0x3f, 1]),
    ]
}

/// RTP without a header element of ours.
fn foreign(first: u8, second: u8, payload: &[u8]) -> Vec<u8> {
    let header = [first, second, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9];
    [&header[..], payload].concat()
}

fn rtcp_seeds() -> Vec<Vec<u8>> {
    let report = rtcp::sender_report(StationId(7), 5_000_000, RtpTimestamp(960), 7, 900, "name");
    let bye = rtcp::bye(StationId(7), "name");
    let with = |at: usize, value: u8| {
        let mut bytes = report.clone();
        bytes[at] = value;
        bytes
    };
    vec![
        report.clone(),
        [&report[..], &bye].concat(),
        vec![0x82, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9],
        bye,
        vec![],
        with(0, 0x40),
        report[..20].to_vec(),
        with(0, 0xa0),
        with(0, 0x9f),
    ]
}

fn control_seeds() -> Vec<Vec<u8>> {
    let beat = |change: &dyn Fn(&mut Heartbeat)| {
        let mut beat = heartbeat();
        change(&mut beat);
        Message::Heartbeat(Box::new(beat)).to_bytes()
    };
    let good = beat(&|_| {});
    // A name of 65 bytes, which no node of ours would write: hello, its node, the length, the name, and nothing else.
    let long_name = [vec![1, 1, 7, 65], vec![b'a'; 65], vec![0; 9]].concat();
    let (station, node, term) = (StationId(7), NodeId(8), heartbeat().term);
    let (plan, round) = (PlanDigest(9), Round::Vote { counter: 2 });
    let standing = Standing {
        standby: true,
        eligible: true,
        http_port: 8_080,
        ..Standing::default()
    };
    vec![
        good.clone(),
        beat(&|beat| beat.state = State::Idle),
        beat(&|beat| beat.state = State::Over(EndReason::Left)),
        beat(&|beat| (beat.run, beat.tracks) = (None, [None, None])),
        Message::Hello(Hello {
            node: NodeId(7),
            name: "kitchen".into(),
            founding: true,
            station: None,
            standing: Standing::default(),
            held_to: None,
        })
        .to_bytes(),
        Message::Hello(Hello {
            node,
            name: "hall".into(),
            founding: false,
            station: Some(station),
            standing,
            held_to: Some(TrackId([7; 16])),
        })
        .to_bytes(),
        Message::Confirm(Confirm {
            station,
            node,
            term,
            number: 5,
            plan,
            standing,
            accepts: Some(FrameIndex(70_100)),
        })
        .to_bytes(),
        Message::Ask(Ask {
            station,
            node,
            term,
            attempt: 3,
            round,
            rank: 0,
            eligible: true,
            plan,
            version: 4,
            quorum: 2,
        })
        .to_bytes(),
        Message::Reply(Reply {
            station,
            node,
            candidate: NodeId(9),
            attempt: 3,
            round: Round::PreVote,
            refusal: Some(Refusal::NewerPlan),
            counter: 6,
            plan,
            version: 5,
            http_port: 8_080,
        })
        .to_bytes(),
        Message::Nack(Nack {
            station,
            node,
            first: FrameIndex(70_001),
            bitmap: 5,
        })
        .to_bytes(),
        Message::Repair(Repair {
            packet: media_seeds().swap_remove(0),
        })
        .to_bytes(),
        Message::Stale(Stale {
            station,
            node,
            term,
        })
        .to_bytes(),
        Message::Report(Box::new(NodeReport {
            station,
            node,
            report: Report {
                listens: true,
                lately: Lately {
                    frames: 500,
                    missed: 25,
                    concealed: 1,
                    ..Lately::default()
                },
                bursts: Bursts([20, 0, 1, 0, 0, 0, 0]),
                repair: Some(RepairTimes {
                    p50_us: 2_000,
                    p99_us: 9_000,
                }),
                buffer_ms: 500,
                replica_percent: 99,
                timing: Some(Timing {
                    sync_us: -40,
                    drift_ppb: 12_340,
                }),
                ..Report::default()
            },
        }))
        .to_bytes(),
        Message::Probe(Probe {
            station,
            node,
            number: 0x1234_5678_9abc_def0,
            apart_us: Some(-12_345),
        })
        .to_bytes(),
        Message::Time(Time {
            station,
            term,
            number: 0x1234_5678_9abc_def0,
            received_us: 12_345_678,
            waited_us: 48,
            rate_sigma_ppb: 0,
            doubted: false,
        })
        .to_bytes(),
        vec![],
        vec![9, 0, 0],
        vec![1, 77],
        good[..good.len() / 2].to_vec(),
        [good, vec![0]].concat(),
        vec![1; 1_300],
        long_name,
    ]
}

/// For each part, runs in which everything that a forger can do is done, alone and amid the ordinary.
fn node_seeds() -> Vec<Vec<u8>> {
    let beat = |what: u8| {
        // Host, what, number + 1, a far term or index, its leader, the station clock as it is.
        let mut step = vec![6, 1, what, 1];
        step.extend([255; 1].repeat(usize::from(matches!(what % 10, 0 | 1 | 5 | 8))));
        step.extend([9; 1].repeat(usize::from(matches!(what % 10, 0 | 4 | 6 | 8 | 9))));
        step.extend([2, 200].iter().take(usize::from(what % 10 == 7) * 2));
        step.push(0);
        step
    };
    let raw = |message: &[u8]| [&[5, 7, message.len() as u8][..], message].concat();
    let mut steps: Vec<Vec<u8>> = (0..10).map(beat).collect();
    for (ahead, term, flags) in [(0, 0, 0), (20, 0, 1), (120, 0, 2), (1, 255, 0), (3, 1, 1)] {
        steps.push(vec![7, ahead, 0, term, 200, flags, 0]);
    }
    for what in (0..6).chain(128..134) {
        steps.push(vec![8, what, 9, 1, 200, 1, 3, 255]);
        steps.push(vec![8, what, 1, 255, 0, 0, 3, 1]);
    }
    // Numbers that leap, heartbeats from elsewhere, confirmations of a stranger.
    steps.push(vec![6, 1, 2, 255, 0]);
    steps.push(vec![6, 3, 2, 1, 0]);
    steps.push(vec![8, 3, 9, 0, 0, 1, 3, 0]);
    steps.push(vec![9, 255, 7]);
    steps.push(vec![9, 20, 3]);
    steps.extend([
        vec![3, 250],
        vec![4, 0x10, 0x27],
        vec![10, 0],
        vec![10, 1],
        vec![10, 2],
    ]);
    steps.extend([
        raw(&control_seeds()[4]),
        raw(&control_seeds()[6]),
        raw(&[1, 77]),
    ]);
    steps.push([&[11, 3][..], &[1, 2, 3], &[5]].concat());
    let mut seeds = Vec::new();
    for part in 0..3 {
        let usual = [0; 12];
        for some in steps.chunks(6) {
            let some = some.iter().flat_map(|step| [&step[..], &usual].concat());
            let start = [&[part, 10, 1][..], &usual].concat();
            seeds.push(start.into_iter().chain(some).collect());
        }
    }
    seeds
}

fn submission(frames: Option<u64>, title: &str, owner: u64) -> Vec<u8> {
    let track = ListedTrack {
        id: TrackId([9; 16]),
        owner: NodeId(owner),
        title: title.into(),
        artist: String::new(),
        frames,
        digest: Some([7; 32]),
    };
    let submission = Submission {
        owner: NodeId(1 << 32),
        tracks: vec![track],
        open: frames.is_none(),
    };
    postcard::to_stdvec(&submission).expect("plain data")
}

fn http_seeds() -> Vec<Vec<u8>> {
    let kind = |kind: u8, bytes: Vec<u8>| [vec![kind], bytes].concat();
    let world = World::new(Part::Leader);
    let digest = world.subject.programme().digest();
    let plan = world.subject.plan_bytes(digest).expect("its own plan");
    let mut backward = plan.clone();
    *backward.last_mut().expect("some bytes") ^= 1;
    let mut block = Vec::new();
    Block {
        track: TrackId([1; 16]),
        first: 50,
        packets: vec![&[0xfc, 1], &[0xfc, 2, 3]],
    }
    .write(&mut block);
    let mut damaged = block.clone();
    *damaged.last_mut().expect("some bytes") ^= 1;
    vec![
        kind(0, submission(Some(100), "song", 1 << 32)),
        kind(0, submission(None, "growing", 1 << 32)),
        kind(0, submission(Some(100), "of another", 2 << 32)),
        kind(0, submission(Some(1 << 40), "endless", 1 << 32)),
        kind(0, vec![0xff; 20]),
        kind(1, plan.clone()),
        kind(1, plan[..plan.len() / 2].to_vec()),
        kind(1, backward),
        kind(1, vec![]),
        kind(2, block.clone()),
        kind(2, [block.clone(), damaged].concat()),
        kind(2, block[..30].to_vec()),
    ]
}

#[test]
#[ignore = "writes the corpus"]
fn write_the_corpus() {
    for (target, seeds) in [
        ("media", media_seeds()),
        ("control", control_seeds()),
        ("rtcp", rtcp_seeds()),
        ("node", node_seeds()),
        ("http", http_seeds()),
    ] {
        fs::create_dir_all(corpus(target)).expect("a folder");
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(corpus(target).join(format!("seed-{number:02}")), seed).expect("a file");
        }
    }
}

#[test]
fn media_corpus_reaches_every_error_and_accepted_packets() {
    let said: BTreeSet<&str> = read("media")
        .iter()
        .map(|bytes| MediaPacket::parse(bytes).map_or_else(|error| error.reason(), |_| "accepted"))
        .collect();
    let all = [
        "accepted",
        "extension",
        "foreign",
        "padding",
        "payload",
        "payload_type",
        "truncated",
        "version",
    ];
    assert_eq!(said, BTreeSet::from(all));
}

#[test]
fn media_corpus_reaches_foreign_streams_that_play_and_those_that_do_not() {
    let said: BTreeSet<&str> = read("media")
        .iter()
        .filter(|bytes| MediaPacket::parse(bytes).is_err_and(|error| error.reason() == "foreign"))
        .map(|bytes| ForeignPacket::parse(bytes).map_or_else(|error| error.reason(), |_| "plays"))
        .collect();
    let all = ["foreign_opus", "foreign_payload_type", "plays"];
    assert_eq!(said, BTreeSet::from(all));
}

#[test]
fn rtcp_corpus_reaches_every_error_and_goodbyes() {
    let said: BTreeSet<&str> = read("rtcp")
        .iter()
        .map(|bytes| match rtcp::goodbyes(bytes) {
            Ok(sources) if sources.is_empty() => "report",
            Ok(_) => "goodbye",
            Err(error) => error.reason(),
        })
        .collect();
    let all = [
        "goodbye",
        "report",
        "rtcp_malformed",
        "rtcp_padding",
        "rtcp_truncated",
        "rtcp_version",
    ];
    assert_eq!(said, BTreeSet::from(all));
}

#[test]
fn control_corpus_reaches_every_error_and_every_message() {
    let said: BTreeSet<&str> = read("control")
        .iter()
        .map(|bytes| match Message::parse(bytes) {
            Ok(Message::Heartbeat(_)) => "heartbeat",
            Ok(Message::Hello(_)) => "hello",
            Ok(Message::Confirm(_)) => "confirm",
            Ok(Message::Ask(_)) => "ask",
            Ok(Message::Reply(_)) => "reply",
            Ok(Message::Stale(_)) => "stale",
            Ok(Message::Nack(_)) => "nack",
            Ok(Message::Repair(_)) => "repair",
            Ok(Message::Report(_)) => "report",
            Ok(Message::Probe(_)) => "probe",
            Ok(Message::Time(_)) => "time",
            Err(error) => error.reason(),
        })
        .collect();
    let all = [
        "ask",
        "confirm",
        "control_empty",
        "control_malformed",
        "control_range",
        "control_too_long",
        "control_unknown",
        "control_version",
        "heartbeat",
        "hello",
        "nack",
        "probe",
        "repair",
        "reply",
        "report",
        "stale",
        "time",
    ];
    assert_eq!(said, BTreeSet::from(all));
}

#[test]
fn node_corpus_reaches_every_part_and_every_doubt() {
    let mut said: BTreeSet<&str> = BTreeSet::new();
    for input in read("node") {
        let mut bytes = Bytes(&input);
        let part = match bytes.byte().expect("a part") % 3 {
            0 => Part::Leader,
            1 => Part::Heir,
            _ => Part::Waiting,
        };
        let mut world = World::new(part);
        while world.step(&mut bytes) {}
        said.extend(world.subject.rejected().keys());
    }
    for reason in [
        "confirm_stranger",
        "frame_too_early",
        "heartbeat_number",
        "heartbeat_quorum",
        "heartbeat_sender",
        "plan_malformed",
        "report_stranger",
        "roster_full",
        "submission_malformed",
        "term_leap",
    ] {
        assert!(said.contains(reason), "{reason}: {said:?}");
    }
}

#[test]
fn http_corpus_reaches_submissions_plans_and_blocks_that_are_taken_and_that_are_not() {
    let mut said = BTreeSet::new();
    for input in read("http") {
        let (kind, bytes) = input.split_first().expect("a kind");
        said.insert(match kind {
            0 => {
                let mut world = World::new(Part::Leader);
                let taken = world.subject.handle_submission(bytes, world.now);
                taken.map_or("submission refused", |()| "submission taken")
            }
            1 if World::new(Part::Heir).plan(bytes) => "plan taken",
            1 if true_name(bytes).is_some() => "plan not asked for",
            1 => "plan refused",
            _ => Block::parse(bytes).map_or_else(|error| error.reason(), |_| "block taken"),
        });
    }
    for what in [
        "block taken",
        "block_truncated",
        "plan refused",
        "plan taken",
        "submission refused",
        "submission taken",
    ] {
        assert!(said.contains(what), "{what}: {said:?}");
    }
}
