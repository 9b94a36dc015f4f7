//! Which packets go out, when, and what do they say?

use super::*;
use crate::wire::ids::RtpTimestamp;
use crate::wire::rtcp;

#[test]
fn frames_are_contiguous_and_on_their_grid_to_the_last_one() {
    let mut bench = Bench::with_tracks(config(), &[70, 0, 1, 130]);
    bench.run_until(at_ms(100_000));
    let sent = bench.media();
    assert_eq!(sent.len(), 201);
    let content = (0..70)
        .map(|k| (0, k))
        .chain([(2, 0)])
        .chain((0..130).map(|k| (3, k)));
    for ((n, sent), (track, k)) in (0..).zip(&sent).zip(content) {
        let expected = Sent {
            at: ON_AIR + Duration::from_millis(20 * n),
            index: FrameIndex(n),
            slot: Slot(n),
            marker: n == 0,
            last_of_track: [69, 70, 200].contains(&n),
            plan: sent.plan,
            track,
            k,
        };
        assert_eq!(*sent, expected);
    }
    let titles: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Track {
                title, first_frame, ..
            } => Some((title, first_frame.0)),
            _ => None,
        })
        .collect();
    let expected = [("title 0", 0), ("title 2", 70), ("title 3", 71)]
        .map(|(title, first)| (title.to_owned(), first));
    assert_eq!(titles, expected);
    assert_eq!(
        (
            bench.node.frames_sent(),
            bench.node.skipped(),
            has_idled(&bench)
        ),
        (201, 0, 0)
    );
}

#[test]
fn at_the_end_a_station_stays_until_the_last_frame_has_played() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.run_until(at_ms(1_980));
    assert_eq!(bench.node.state(), Some(State::Over(EndReason::Ended)));
    // the last frame is due at 1,980 ms, and lasts 20 ms; the buffer is 500 ms, the margin 200 ms
    bench.run_until(at_ms(2_699));
    assert!(!bench.is_done());
    bench.run_until(at_ms(2_700));
    assert!(bench.is_done());
    let [.., (_, bye), (_, off_air), _] = &bench.log[..] else {
        panic!()
    };
    assert_eq!(
        off_air,
        &Output::Event(Event::OffAir {
            reason: EndReason::Ended
        })
    );
    let Output::Rtcp(bye) = bye else {
        panic!("{bye:?}")
    };
    assert_eq!(rtcp::goodbyes(bye), Ok(vec![STATION]));
    let beats = bench.beats();
    let over = beats
        .iter()
        .filter(|(_, beat)| beat.state == State::Over(EndReason::Ended));
    let over: Vec<_> = over.collect();
    assert_eq!(over.len(), 8, "at once, then every 100 ms");
    assert!(
        over.iter()
            .all(|(_, beat)| beat.next == FrameIndex(100)
                && beat.run.unwrap().end == Some(beat.next))
    );
    assert!(
        beats
            .iter()
            .all(|(_, beat)| beat.run.unwrap().end == Some(FrameIndex(100))),
        "known from the start"
    );
}

#[test]
fn heartbeats_come_ten_times_a_second_and_with_frames() {
    let mut bench = Bench::with_tracks(config(), &[501]);
    bench.run_until(at_ms(9_999));
    let beats = bench.beats();
    assert_eq!(beats.len(), 100);
    for (n, (at, beat)) in (0..).zip(&beats) {
        assert_eq!(*at, at_ms(100 * n));
        assert_eq!(
            (beat.number, beat.sent_at_us, beat.young),
            (n + 1, 100_000 * n, n < 20)
        );
        let next = if n == 0 { 0 } else { 5 * n + 1 };
        assert_eq!((beat.next, beat.state), (FrameIndex(next), State::Playing));
    }
    let media: Vec<_> = bench.media().iter().map(|sent| sent.at).collect();
    assert!(
        beats.iter().all(|(at, _)| media.contains(at)),
        "no wake-up of their own"
    );
}

#[test]
fn without_a_source_heartbeats_come_by_their_own_timer() {
    let mut bench = Bench::new(config(), START);
    bench.run_until(at_ms(999));
    let beats = bench.beats();
    assert_eq!(beats.len(), 10);
    for (n, (at, beat)) in (0..).zip(&beats) {
        assert_eq!(
            (*at, beat.state, beat.run, beat.sent_at_us),
            (at_ms(100 * n), State::Idle, None, 100_000 * n)
        );
    }
    assert!(bench.media().is_empty() && bench.rtcp().is_empty());
}

#[test]
fn a_run_that_starts_late_starts_on_the_next_slot_of_a_clock_that_has_run_since_the_founding() {
    let mut bench = Bench::new(config(), START);
    bench.add(0);
    bench.run_until(at_ms(1_005));
    bench.grow(0, 50);
    bench.run_until(at_ms(1_007));
    assert_eq!(
        bench.node.state(),
        Some(State::Idle),
        "49 frames can be sent: the newest is held back"
    );
    bench.grow(0, 51);
    bench.run_until(at_ms(1_020));
    let sent = bench.media();
    assert_eq!(
        (sent.len(), sent[0].at, sent[0].index, sent[0].slot),
        (1, at_ms(1_020), FrameIndex(0), Slot(51))
    );
    let (at, beat) = bench.beats().pop().unwrap();
    assert_eq!(at, at_ms(1_007), "before the first packet");
    assert_eq!(beat.run.unwrap().starts_at, Slot(51));
}

#[test]
fn a_short_programme_needs_no_cushion() {
    let mut bench = Bench::with_tracks(config(), &[1]);
    bench.run_until(ON_AIR);
    let sent = bench.media();
    assert_eq!(
        (sent.len(), sent[0].marker, sent[0].last_of_track),
        (1, true, true)
    );
}

#[test]
fn after_a_stall_the_missed_frames_go_out_at_once_but_at_most_a_buffer() {
    // how long the stall, how many frames go out at its end, how many are skipped
    for (stall_ms, burst, skipped) in [
        (0, 1, 0),
        (20, 2, 0),
        (166, 9, 0),
        (480, 25, 0),
        (500, 25, 1),
        (2_000, 25, 76),
    ] {
        let mut bench = Bench::with_tracks(config(), &[1_000]);
        bench.run_until(at_ms(980));
        let wake = at_ms(1_000 + stall_ms);
        bench.wake(wake);
        let sent = bench.media();
        let late: Vec<_> = sent
            .iter()
            .filter(|sent| sent.at == wake)
            .map(|sent| sent.index.0)
            .collect();
        let newest = 50 + stall_ms / 20;
        assert_eq!(
            late,
            (newest + 1 - burst..=newest).collect::<Vec<_>>(),
            "{stall_ms} ms"
        );
        assert_eq!(bench.node.skipped(), skipped);
        let warned = bench
            .events()
            .iter()
            .any(|event| matches!(event, Event::Warning(_)));
        assert_eq!(warned, skipped > 0);
        bench.run_until(at_ms(30_000));
        let sent = bench.media();
        assert!(
            sent.iter()
                .all(|sent| sent.slot.0 == sent.index.0 && u64::from(sent.k) == sent.index.0),
            "the grid"
        );
        assert_eq!(sent.len() as u64 + skipped, 1_000);
        assert_eq!(sent.last().unwrap().at, at_ms(19_980));
    }
}

#[test]
fn a_node_that_slept_through_the_rest_of_its_programme_ends() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.run_until(at_ms(980));
    bench.wake(at_ms(600_000));
    assert_eq!(
        (bench.indices().len(), bench.node.state()),
        (50, Some(State::Over(EndReason::Ended)))
    );
    assert_eq!(bench.node.skipped(), 50);
    bench.run_until(at_ms(601_000));
    assert!(bench.is_done());
    assert!(
        bench
            .beats()
            .iter()
            .filter(|(_, beat)| matches!(beat.state, State::Over(_)))
            .count()
            >= 3
    );
}

#[test]
fn the_plan_has_a_new_name_whenever_it_changes_and_only_then() {
    let mut bench = Bench::new(config(), START);
    bench.add(0);
    bench.grow(0, 200);
    bench.run_until(at_ms(1_000));
    bench.finish(0, 200);
    bench.run_until(at_ms(2_000));
    bench.add(1);
    bench.finish(1, 100);
    bench.run_until(at_ms(3_000));
    bench.node.source_finished();
    bench.run_until(at_ms(5_900));
    let sent = bench.media();
    let mut plans = sent.iter().map(|sent| sent.plan).collect::<Vec<_>>();
    plans.dedup();
    assert_eq!(
        plans.len(),
        4,
        "open, closed, another track, the end of the run: {plans:?}"
    );
    for (at, beat) in bench.beats() {
        let same_wake = sent.iter().find(|sent| sent.at == at).unwrap();
        assert_eq!(
            beat.plan, same_wake.plan,
            "heartbeats name the plan of the packets"
        );
    }
    let (_, beat) = &bench.beats()[25];
    let [Some(now), Some(then)] = &beat.tracks else {
        panic!("{beat:?}")
    };
    assert_eq!(
        (&*now.title, now.first.0, now.frames),
        ("title 0", 0, Some(200))
    );
    assert_eq!(
        (&*then.title, then.first.0, then.frames),
        ("title 1", 200, Some(100))
    );
}

#[test]
fn who_leaves_says_so_three_times_and_is_gone() {
    let mut bench = Bench::with_tracks(config(), &[1_000]);
    bench.run_until(at_ms(1_005));
    bench.leave();
    bench.run_until(at_ms(5_000));
    assert_eq!(
        bench.indices(),
        (0..51).collect::<Vec<_>>(),
        "nothing after the frame last sent"
    );
    let over: Vec<_> = bench
        .beats()
        .into_iter()
        .filter(|(_, beat)| matches!(beat.state, State::Over(_)))
        .collect();
    assert_eq!(
        over.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        [1_005, 1_025, 1_045].map(at_ms)
    );
    for (_, beat) in &over {
        assert_eq!(
            (beat.state, beat.next),
            (State::Over(EndReason::Left), FrameIndex(51))
        );
        assert_eq!(beat.run.unwrap().end, Some(FrameIndex(51)));
    }
    assert!(bench.is_done());
    let (at, bye) = bench.rtcp().pop().unwrap();
    assert_eq!(
        (at, rtcp::goodbyes(&bye)),
        (at_ms(1_045), Ok(vec![STATION]))
    );
    assert!(bench.events().ends_with(&[
        Event::OffAir {
            reason: EndReason::Left
        },
        Event::Done
    ]));
}

#[test]
fn who_leaves_while_the_end_plays_out_goes_at_once() {
    let mut bench = Bench::with_tracks(config(), &[50]);
    bench.run_until(at_ms(1_000));
    bench.leave();
    bench.run_until(at_ms(1_001));
    assert!(bench.is_done());
    assert!(bench.events().contains(&Event::OffAir {
        reason: EndReason::Ended
    }));
}

#[test]
fn sequence_number_and_timestamp_wrap_unnoticed() {
    // 65,536 frames move the timestamp by 15 · 2²² ticks: only few stations have both wraps close together.
    let find = |ssrc| {
        let numbering = Numbering::of(StationId(ssrc));
        let seq_wraps =
            (1..1 << 10).map(|lap: u64| (lap << 16) - u64::from(numbering.seq(FrameIndex(0)).0));
        let wrap = seq_wraps
            .into_iter()
            .find(|&n| numbering.timestamp(Slot(n)).0 < 20 * 960)?;
        Some((StationId(ssrc), wrap - 50))
    };
    let (station, start) = (0..10_000).find_map(find).unwrap();
    let config = Config {
        station,
        first_frame: FrameIndex(start),
        ..config()
    };
    let mut bench = Bench::with_tracks(config, &[200]);
    bench.run_until(at_ms(10_000));
    let sent = bench.media();
    assert_eq!(bench.indices(), (start..start + 200).collect::<Vec<_>>());
    assert!(sent.iter().all(|sent| sent.slot.0 == sent.index.0));
    assert_eq!((sent[0].at, sent[199].at), (ON_AIR, at_ms(199 * 20)));
    let packets: Vec<_> = bench
        .log
        .iter()
        .filter_map(|(_, output)| match output {
            Output::Media(bytes) => MediaPacket::parse(bytes).ok(),
            _ => None,
        })
        .collect();
    assert!(
        packets
            .windows(2)
            .any(|pair| pair[0].seq.0 == u16::MAX && pair[1].seq.0 == 0)
    );
    assert!(
        packets
            .windows(2)
            .any(|pair| pair[0].timestamp.0 > pair[1].timestamp.0)
    );
    let (_, beat) = &bench.beats()[0];
    assert_eq!(
        (beat.next.0, beat.sent_at_us, beat.young),
        (start, start * 20_000, true),
        "it only looks old"
    );
}

#[test]
fn sender_reports_come_with_the_first_frame_and_every_5_s() {
    let mut bench = Bench::with_tracks(config(), &[601]);
    bench.run_until(at_ms(12_000));
    let ts0 = STATION.first_timestamp().0;
    let expected = [(0, 1), (250, 251), (500, 501)].map(|(n, packets): (u64, u32)| {
        let timestamp = RtpTimestamp(ts0.wrapping_add(960 * n as u32));
        let bytes = rtcp::sender_report(
            STATION,
            n * 20_000,
            timestamp,
            packets,
            5 * packets,
            "12345678@lanradio",
        );
        (at_ms(20 * n), bytes)
    });
    assert_eq!(bench.rtcp(), expected);
}

#[test]
fn a_missing_frame_is_skipped_and_told_once() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.shelf.0.get_mut(&track(0)).unwrap().truncate(90);
    bench.run_until(at_ms(10_000));
    assert_eq!((bench.indices().len(), bench.node.skipped()), (90, 10));
    assert_eq!(
        bench
            .events()
            .iter()
            .filter(|event| matches!(event, Event::Warning(_)))
            .count(),
        1
    );
    assert!(bench.is_done());
}

#[test]
fn early_repeated_and_backward_wakes_change_nothing() {
    let mut bench = Bench::with_tracks(config(), &[500]);
    let mut other = Bench::with_tracks(config(), &[500]);
    bench.run_until(at_ms(5_000));
    while other.now < at_ms(5_000) {
        let at = other.node.poll_timeout().unwrap().min(at_ms(5_000));
        other.wake(at - Duration::from_micros(1));
        other.wake(at);
        other.wake(at - Duration::from_secs(3));
        other.wake(at);
    }
    assert_eq!(bench.log, other.log);
}

#[test]
fn texts_are_cut_to_what_a_heartbeat_holds() {
    let long = "ä".repeat(200);
    let mut bench = Bench::new(
        Config {
            name: long.clone(),
            ..config()
        },
        START,
    );
    bench.node.add_track(track(0), &long, &long);
    bench.node.add_track(track(1), &long, &long);
    bench.finish(0, 30);
    bench.finish(1, 30);
    bench.run_until(ON_AIR);
    let (_, beat) = bench.beats().remove(0);
    assert_eq!(beat.name, "ä".repeat(MAX_NAME_BYTES / 2));
    assert!(
        beat.tracks
            .iter()
            .flatten()
            .all(|track| track.title == "ä".repeat(MAX_TEXT_BYTES / 2))
    );
}

#[test]
fn the_getters_tell_where_we_are() {
    let mut bench = Bench::with_tracks(config(), &[50, 150]);
    assert_eq!((bench.node.playing(), bench.node.term()), (None, None));
    bench.run_until(at_ms(1_190));
    let playing = bench.node.playing().unwrap();
    assert_eq!(
        (&*playing.title, playing.position),
        ("title 1", Duration::from_millis(200))
    );
    assert_eq!(playing.duration, Some(Duration::from_secs(3)));
    assert_eq!(
        (bench.node.next(), bench.node.term()),
        (FrameIndex(60), Some(config().term()))
    );
}
