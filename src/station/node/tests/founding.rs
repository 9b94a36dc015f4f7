//! Whose is the group?

use super::*;
use crate::wire::rtcp;

fn hellos(bench: &Bench) -> Vec<Instant> {
    let hellos = bench
        .controls()
        .into_iter()
        .filter_map(|(at, to, message)| match message {
            Message::Hello(hello) if hello.founding => {
                assert_eq!((to, hello.node, &*hello.name), (None, NODE, "kitchen"));
                Some(at)
            }
            _ => None,
        });
    hellos.collect()
}

#[test]
fn on_an_empty_group_a_node_asks_twice_and_is_on_air_after_250_ms() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.run_until(at_ms(19));
    assert_eq!(hellos(&bench), [START, START + Duration::from_millis(100)]);
    let rest: Vec<_> = bench.log.iter().skip(2).collect();
    assert!(rest.iter().all(|(at, _)| *at == ON_AIR));
    let term = config().term();
    assert_eq!(
        bench.events(),
        [
            Event::OnAir {
                station: STATION,
                term
            },
            Event::Leader {
                term,
                reason: "founded"
            },
            Event::Track {
                title: "title 0".into(),
                artist: "artist".into(),
                first_frame: FrameIndex(0)
            },
        ]
    );
    let position = |what: fn(&Output) -> bool| {
        bench
            .log
            .iter()
            .position(|(_, output)| what(output))
            .unwrap()
    };
    assert!(
        position(|output| matches!(output, Output::Media(_)))
            > 2 + position(|output| matches!(output, Output::Event(Event::OnAir { .. }))),
        "heartbeat and events come before the first packet"
    );
    let (_, beat) = &bench.beats()[0];
    assert_eq!(
        (beat.next, beat.number, beat.young, beat.sent_at_us),
        (FrameIndex(0), 1, true, 0)
    );
    assert_eq!(
        (beat.state, beat.buffer_ms, &*beat.name),
        (State::Playing, 500, "kitchen")
    );
    let sent = bench.media();
    assert_eq!(
        (sent.len(), sent[0].index, sent[0].slot, sent[0].marker),
        (1, FrameIndex(0), Slot(0), true)
    );
}

#[test]
fn a_node_that_asked_late_listens_late() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.wake(START + Duration::from_millis(400));
    assert_eq!((hellos(&bench).len(), bench.node.state()), (2, None));
    bench.run_until(START + Duration::from_millis(549));
    assert_eq!(bench.node.state(), None);
    bench.run_until(START + Duration::from_millis(550));
    assert_eq!(bench.node.state(), Some(State::Playing));
}

#[test]
fn a_group_with_a_station_is_left_alone() {
    for state in [State::Playing, State::Idle] {
        let mut bench = Bench::with_tracks(config(), &[100]);
        bench.run_until(START + Duration::from_millis(120));
        bench.hear(&foreign_beat(NodeId(1), false, state));
        let joined = Event::Joined {
            name: "office".into(),
            title: "title 0".into(),
            artist: "artist".into(),
            station: StationId(0xffff_0000),
            addr: addr(9),
        };
        bench.run_until(at_ms(100));
        assert_eq!(bench.events()[0], joined);
        assert_eq!(bench.node.followed_term().unwrap().leader, NodeId(1));
        assert!(bench.media().is_empty() && bench.beats().is_empty());
    }
}

#[test]
fn a_station_that_is_over_does_not_keep_the_group() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.hear(&foreign_beat(
        NodeId(1),
        false,
        State::Over(EndReason::Ended),
    ));
    bench.run_until(ON_AIR);
    assert_eq!(bench.node.state(), Some(State::Playing));
}

#[test]
fn packets_without_a_heartbeat_are_a_station_too_unless_it_says_that_it_is_over() {
    for over in [false, true] {
        let mut bench = Bench::with_tracks(config(), &[100]);
        let station = StationId(0xffff_0000);
        let identity = (config().term().short(), PlanDigest(1), Flags::default());
        let numbering = Numbering::of(station);
        let packet = MediaPacket::place(&numbering, FrameIndex(5), Slot(5), false, identity, &[1]);
        let is_heard_until = |bench: &mut Bench, end: Instant| {
            while bench.now < end && !bench.is_done() {
                bench.node.handle_media(&packet, bench.now, bench.now);
                bench.run_until(bench.now + Duration::from_millis(100));
            }
        };
        bench.node.handle_media(&packet, bench.now, bench.now);
        if over {
            bench.hear(&foreign_beat(
                NodeId(1),
                false,
                State::Over(EndReason::Ended),
            ));
        }
        let busy = Event::Busy { station };
        if over {
            bench.run_until(ON_AIR);
            assert_eq!(bench.node.state(), Some(State::Playing));
        } else {
            // Its leader may have died a moment ago.
            is_heard_until(&mut bench, START + Duration::from_millis(1_900));
            assert!(!bench.events().contains(&busy) && bench.node.state().is_none());
            is_heard_until(&mut bench, START + Duration::from_millis(2_300));
            assert!(bench.events().contains(&busy) && bench.is_done());
        }
    }
}

#[test]
fn a_node_does_not_take_its_own_echo_for_another_station() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.hear(&foreign_beat(NODE, false, State::Playing));
    bench.run_until(at_ms(500));
    assert_eq!(bench.node.state(), Some(State::Playing));
}

/// Runs two nodes on one network that delivers after 1 ms, but not the hello number `lost`; the second one is started
/// `later_ms` after the first.
fn two_founders(ids: [NodeId; 2], later_ms: u64, lost: Option<usize>) -> [Bench; 2] {
    let later = Duration::from_millis(later_ms);
    let mut benches = [0, 1].map(|n| {
        let config = Config {
            node: ids[n],
            station: StationId(100 + n as u32),
            ..config()
        };
        Bench::with_tracks_at(START + later * n as u32, config, &[1_000])
    });
    let (mut heard, mut hellos) = ([0, 0], 0);
    for ms in 0..4_000 {
        let now = START + Duration::from_millis(ms);
        for n in 0..2 {
            if now < START + later && n == 1 {
                continue;
            }
            while let Some((at, output)) = benches[1 - n].log.get(heard[n]).cloned()
                && at < now
            {
                heard[n] += 1;
                match &output {
                    Output::Control { to: None, bytes } => {
                        let message = Message::parse(bytes).unwrap();
                        if matches!(message, Message::Hello(_)) {
                            hellos += 1;
                            if lost == Some(hellos - 1) {
                                continue;
                            }
                        }
                        benches[n]
                            .node
                            .handle_control(addr(1 - n as u8), &message, now, now);
                    }
                    Output::Media(bytes) => {
                        benches[n]
                            .node
                            .handle_media(&MediaPacket::parse(bytes).unwrap(), now, now);
                    }
                    _ => {}
                }
            }
            benches[n].wake(now);
        }
    }
    benches
}

#[test]
fn of_two_founders_exactly_one_stays() {
    let (low, high) = (NodeId(1 << 40), NodeId(2 << 40));
    let late = [0, 1, 50, 100, 149, 240, 249, 250, 251, 300, 1_000];
    let losses = [None, Some(0), Some(1), Some(2), Some(3)];
    for (later_ms, lost) in late
        .into_iter()
        .flat_map(|ms| losses.map(|lost| (ms, lost)))
    {
        for ids in [[low, high], [high, low]] {
            let benches = two_founders(ids, later_ms, lost);
            let states = benches.each_ref().map(|bench| bench.node.state());
            let stays = states.map(|state| state == Some(State::Playing));
            assert_eq!(
                stays.iter().filter(|stays| **stays).count(),
                1,
                "{ids:?} {later_ms} ms: {states:?}"
            );
            let loser = &benches[usize::from(stays[0])];
            assert!(
                loser
                    .events()
                    .iter()
                    .any(|event| matches!(event, Event::Joined { .. }))
            );
            let winner = ids[usize::from(!stays[0])];
            assert_eq!(loser.node.followed_term().unwrap().leader, winner);
            // Whoever yields has not sent a frame, even if one question was lost. (If it was the only one that could come in time,
            // some are sent before the two find out: then both are young.)
            if lost.is_none() || later_ms <= 149 {
                let sent = loser.media().len();
                assert_eq!(sent, 0, "{ids:?} {later_ms} ms, lost {lost:?}");
            }
            if later_ms >= 251 {
                assert!(
                    stays[0],
                    "the first one was on air: it stays, whatever the ids"
                );
            }
        }
    }
}

#[test]
fn a_founder_lets_founders_with_lower_ids_go_first_but_not_for_ever() {
    let hello = |node, founding| {
        Message::Hello(Hello {
            founding,
            ..hello_of(node, None, Default::default())
        })
    };
    let on_air_after = |node, founding, times: u64| {
        let mut bench = Bench::with_tracks(config(), &[1_000]);
        for k in 0..times {
            bench.run_until(START + Duration::from_millis(100 * k));
            bench
                .node
                .handle_control(addr(4), &hello(node, founding), bench.now, bench.now);
        }
        bench.run_until(START + Duration::from_secs(5));
        let (first, _) = bench.beats()[0];
        first.since(START).as_millis()
    };
    let (lower, higher) = (NodeId(NODE.0 - 1), NodeId(NODE.0 + 1));
    assert_eq!(on_air_after(lower, true, 3), 500);
    assert_eq!(on_air_after(higher, true, 3), 250);
    assert_eq!(
        on_air_after(lower, false, 3),
        250,
        "a listener founds nothing"
    );
    assert_eq!(on_air_after(lower, true, 50), 2_000, "a liar is not obeyed");
}

#[test]
fn a_young_station_gives_way_to_an_old_one_says_goodbye_and_joins_it() {
    let mut bench = Bench::with_tracks(config(), &[1_000]);
    bench.run_until(at_ms(1_999));
    let (beats, frames) = (bench.beats().len(), bench.media().len());
    let elder = |number| Heartbeat {
        number,
        ..foreign_beat(NodeId(u64::MAX), false, State::Playing)
    };
    bench.hear(&elder(7));
    for again in [7, 6] {
        bench.run_until(at_ms(2_099));
        bench.hear(&elder(again));
        assert_eq!(bench.node.state(), Some(State::Playing), "heard once only");
    }
    let (beats, frames) = (beats + 1, bench.media().len().max(frames));
    bench.hear(&elder(8));
    let before = bench.log.len();
    bench.run_until(at_ms(2_200));
    let bye = bench.rtcp().pop().unwrap();
    let goodbyes = bench.beats().split_off(beats);
    let apart = goodbyes.iter().map(|(at, _)| at.since(at_ms(2_099)));
    let apart: Vec<_> = apart.map(|late| late.as_millis()).collect();
    assert_eq!(apart, [0, 20, 40], "not in one burst");
    assert!(
        bench.log[before..]
            .iter()
            .all(|(_, output)| !matches!(output, Output::Media(_)))
    );
    bench
        .log
        .retain(|(_, output)| !matches!(output, Output::Media(_)));
    bench.node.config.station = StationId(0xffff_0000);
    bench.run_until(at_ms(2_200));
    assert_eq!(
        (bench.media().len(), frames > 0),
        (0, true),
        "not a frame more"
    );
    assert_eq!(goodbyes.len(), 3, "each of them may be lost");
    let left = State::Over(EndReason::Left);
    assert!(goodbyes.iter().all(|(_, beat)| beat.state == left));
    let events = bench.events();
    let [.., joined, off_air, leader] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(matches!(joined, Event::Joined { .. }));
    let reason = EndReason::Left;
    assert_eq!(off_air, &Event::OffAir { reason });
    assert!(matches!(
        leader,
        Event::Leader {
            reason: "joined",
            ..
        }
    ));
    assert_eq!(rtcp::goodbyes(&bye.1), Ok(vec![STATION]));
}

#[test]
fn a_young_station_yields_to_nobody_who_is_heard_only_once() {
    let heard = |times_ms: &[u64]| {
        let mut bench = Bench::with_tracks(config(), &[1_000]);
        for (number, ms) in (1..).zip(times_ms) {
            bench.run_until(at_ms(*ms));
            bench.hear(&Heartbeat {
                number,
                ..foreign_beat(NodeId(1), false, State::Playing)
            });
        }
        bench.run_until(at_ms(5_000));
        let joined = |event: &Event| matches!(event, Event::Joined { .. });
        !bench.events().iter().any(joined)
    };
    for stays in [
        &[500][..],
        &[500, 501, 502, 579],
        &[500, 1_001],
        &[2_000, 2_100],
    ] {
        assert!(heard(stays), "{stays:?}");
    }
    for yields in [
        &[500, 580][..],
        &[500, 540, 600],
        &[1_999, 2_100],
        &[500, 1_001, 1_101],
    ] {
        assert!(!heard(yields), "{yields:?}");
    }
}

#[test]
fn old_stations_never_merge_and_say_so_once() {
    let mut bench = Bench::with_tracks(config(), &[1_000]);
    bench.run_until(at_ms(2_000));
    for _ in 0..10 {
        bench.hear(&foreign_beat(NodeId(1), false, State::Playing));
        bench.run_until(bench.now + Duration::from_millis(100));
    }
    let warnings: Vec<_> = bench
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::Warning(_)))
        .collect();
    let [Event::Warning(text)] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!(
        text.contains("ffff0000") && text.contains("office") && text.contains("192.0.2.9"),
        "{text}"
    );
    assert_eq!(bench.node.state(), Some(State::Playing));
}

#[test]
fn an_old_station_waits_for_a_young_one_to_yield() {
    let mut bench = Bench::with_tracks(config(), &[1_000]);
    bench.run_until(at_ms(2_000));
    let events = bench.events().len();
    bench.hear(&foreign_beat(NodeId(1), true, State::Playing));
    assert_eq!(
        (bench.events().len(), bench.node.state()),
        (events, Some(State::Playing))
    );
}

#[test]
fn a_hello_is_answered_by_unicast_at_most_20_times_a_second() {
    let mut bench = Bench::with_tracks(config(), &[1_000]);
    let hello = |node| Message::Hello(hello_of(node, None, Default::default()));
    let answers = |bench: &Bench| {
        bench
            .controls()
            .into_iter()
            .filter(|(_, to, _)| *to == Some(addr(4)))
            .count()
    };
    bench
        .node
        .handle_control(addr(4), &hello(NodeId(4)), bench.now, bench.now);
    bench.drain();
    assert_eq!(answers(&bench), 0, "a founder has nothing to say");
    bench.run_until(at_ms(10));
    bench
        .node
        .handle_control(addr(4), &hello(NODE), bench.now, bench.now);
    bench.drain();
    assert_eq!(answers(&bench), 0, "its own hello");
    for ms in 0..3_000 {
        bench.run_until(at_ms(10 + ms));
        bench
            .node
            .handle_control(addr(4), &hello(NodeId(4)), bench.now, bench.now);
        bench.drain();
    }
    assert_eq!(answers(&bench), 60);
    let numbers = bench
        .controls()
        .into_iter()
        .filter_map(|(_, _, message)| match message {
            Message::Heartbeat(beat) => Some(beat.number),
            _ => None,
        });
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "answers are numbered with the rest"
    );
}

#[test]
fn leaving_before_the_founding_leaves_no_trace() {
    let mut bench = Bench::with_tracks(config(), &[100]);
    bench.leave();
    assert!(bench.is_done());
    assert_eq!(bench.events(), [Event::Done]);
    bench.leave();
    bench.wake(at_ms(1_000));
    assert_eq!(bench.events(), [Event::Done]);
}

#[test]
fn a_source_without_a_frame_never_goes_on_air() {
    for looped in [false, true] {
        let mut bench = Bench::with_tracks(Config { looped, ..config() }, &[0, 0]);
        bench.run_until(at_ms(1_000));
        assert_eq!(bench.events(), [Event::Done]);
        assert!(bench.is_done());
    }
}

#[test]
fn a_listener_that_hears_frames_and_no_leader_asks_ever_more_seldom() {
    let config = Config {
        sends: false,
        ..config()
    };
    let mut bench = Bench::new(config, START);
    bench.node.follow(Some(StationId(0xffff_0000)));
    bench.wake(START);
    bench.run_until(START + Duration::from_secs(600));
    let asked: Vec<u64> = (bench.log.iter())
        .filter(|(_, output)| matches!(output, Output::Control { to: None, .. }))
        .map(|(at, _)| at.since(START).as_millis() as u64)
        .collect();
    let waits: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(asked[0], 120, "its leader would have been heard by then");
    assert_eq!(waits[..4], [1_000, 1_120, 2_240, 4_480]);
    assert!(waits[7..].iter().all(|wait| *wait == 60_000), "{waits:?}");
}
