//! What is asked for, of whom, and what is answered.

use super::*;
use crate::playout::store::Missing;
use crate::wire::control::Hello;
use crate::wire::election::Standing;
use crate::wire::repair::{Nack, Repair};

const PLAIN: NodeId = NodeId(7 << 32);
const MS: Duration = Duration::from_millis(1);

fn nack(first: u64, bitmap: u64) -> Message {
    Message::Nack(Nack {
        station: STATION,
        node: PLAIN,
        first: FrameIndex(first),
        bitmap,
    })
}

impl Bench {
    fn is_asked(&mut self, from: u8, message: &Message) {
        (self.node).handle_control(addr(from), message, self.now, self.now);
        self.run_until(self.now + 10 * MS);
    }

    /// The repairs so far, with whom each was for.
    fn repairs(&self) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
        let repairs = self.controls().into_iter();
        let repairs = repairs.filter_map(|(_, to, message)| match message {
            Message::Repair(Repair { packet }) => Some((to, packet)),
            _ => None,
        });
        repairs.collect()
    }

    /// The frames asked for so far, with whom, and when.
    fn nacks(&self) -> Vec<(Instant, Option<SocketAddr>, Vec<u64>)> {
        let nacks = self.controls().into_iter();
        let nacks = nacks.filter_map(|(at, to, message)| match message {
            Message::Nack(nack) => Some((at, to, nack.frames().map(|frame| frame.0).collect())),
            _ => None,
        });
        nacks.collect()
    }

    /// The media packets so far, by index.
    fn packets(&self) -> Vec<Vec<u8>> {
        let media = self.log.iter().filter_map(|(_, output)| match output {
            Output::Media(bytes) => Some(bytes.clone()),
            _ => None,
        });
        media.collect()
    }
}

fn leader() -> Bench {
    let mut bench = Bench::with_tracks(config(), &[60, 500]);
    bench.run_until(at_ms(1_990));
    assert_eq!(bench.indices(), (0..100).collect::<Vec<_>>());
    bench
}

#[test]
fn what_was_on_air_is_answered_with_the_very_packet() {
    let mut bench = leader();
    let sent = bench.packets();
    // The last frame of a track, the first of the next, the first one of all, and none of the future.
    bench.is_asked(4, &nack(59, 1));
    bench.is_asked(4, &nack(0, 0));
    bench.is_asked(4, &nack(99, 6));
    let expected = [59, 60, 0, 99].map(|index: usize| (Some(addr(4)), sent[index].clone()));
    assert_eq!(bench.repairs(), expected);
}

#[test]
fn frames_that_are_not_on_air_and_other_stations_are_not_answered() {
    let mut bench = leader();
    bench.is_asked(4, &nack(101, u64::MAX));
    bench.is_asked(4, &nack(1 << 30, u64::MAX));
    let Message::Nack(good) = nack(50, 0) else {
        unreachable!()
    };
    let other = Nack {
        station: StationId(1),
        ..good
    };
    let own = Nack { node: NODE, ..good };
    bench.is_asked(4, &Message::Nack(other));
    bench.is_asked(4, &Message::Nack(own));
    assert_eq!(bench.repairs(), []);
}

#[test]
fn what_two_nodes_ask_for_goes_to_the_group_once_and_what_two_strangers_ask_for_does_not() {
    for known in [true, false] {
        let mut bench = leader();
        let now = bench.now;
        for host in [4, 5] {
            let (from, node) = (addr(host), NodeId(u64::from(host) << 32));
            if known {
                bench.node.handle_control(from, &hello(node), now, now);
            }
            let Message::Nack(asked) = nack(90, 2) else {
                unreachable!()
            };
            let asked = Message::Nack(Nack { node, ..asked });
            bench.node.handle_control(from, &asked, now, now);
        }
        bench.is_asked(5, &nack(91, 0));
        let sent = bench.packets();
        let mut repairs = bench.repairs();
        let alone = (Some(addr(5)), sent[91].clone());
        let at = repairs.iter().position(|repair| *repair == alone);
        repairs.remove(at.expect("who misses more than the others gets it"));
        let to_all = [None];
        let to_each = [Some(addr(4)), Some(addr(5))];
        let to: &[_] = if known { &to_all } else { &to_each };
        let expected = [90, 92].into_iter().flat_map(|index: usize| {
            let packet = sent[index].clone();
            to.iter().map(move |to| (*to, packet.clone()))
        });
        assert_eq!(repairs, expected.collect::<Vec<_>>());
    }
}

#[test]
fn the_last_frames_of_a_programme_that_is_over_are_answered() {
    let mut bench = Bench::with_tracks(config(), &[60]);
    bench.run_until(at_ms(1_300));
    assert_eq!(bench.node.state(), Some(State::Over(EndReason::Ended)));
    bench.is_asked(4, &nack(59, 0));
    assert_eq!(
        bench.repairs(),
        [(Some(addr(4)), bench.packets()[59].clone())]
    );
}

#[test]
fn who_followed_a_programme_that_is_over_answers_for_its_last_frames_too() {
    let (leader, mut bench) = follower(true);
    let digest = leader.node.programme().digest();
    let plan = leader.node.plan_bytes(digest).unwrap();
    bench.node.handle_plan(digest, &plan, at_ms(1_000)).unwrap();
    bench.stock(0, 1_000);
    let last = leader.beats().pop().unwrap().1;
    let over = Heartbeat {
        number: last.number + 1,
        state: State::Over(EndReason::Ended),
        ..last
    };
    let last = over.next.0 - 1;
    hear(
        &mut bench,
        1,
        &Message::Heartbeat(Box::new(over)),
        at_ms(1_010),
    );
    assert_eq!(bench.node.followed_term(), None);
    for (from, first) in [(4, last), (5, last + 1)] {
        let asked = Message::Nack(Nack {
            station: STATION,
            node: NodeId(9 << 32),
            first: FrameIndex(first),
            bitmap: 0,
        });
        bench.is_asked(from, &asked);
    }
    let sent = leader.packets();
    assert_eq!(
        bench.repairs(),
        [(Some(addr(4)), sent[last as usize].clone())]
    );
}

/// A node that could lead says so.
fn hello(node: NodeId) -> Message {
    let standing = Standing {
        standby: true,
        eligible: true,
        ..Standing::default()
    };
    Message::Hello(hello_of(node, Some(STATION), standing))
}

/// A listener that holds nothing and follows a leader at host 1; an heir is at host 2.
fn follower(standby: bool) -> (Bench, Bench) {
    let studio = Config {
        node: NodeId(1 << 32),
        http_port: 8_080,
        ..config()
    };
    let mut leader = Bench::with_tracks(studio.clone(), &[1_000]);
    let listener = Config {
        node: PLAIN,
        sends: false,
        standby,
        ..studio
    };
    let mut bench = Bench::new(listener, START);
    bench.node.follow(Some(STATION));
    leader.run_until(at_ms(1_000));
    for (at, mut beat) in leader.beats() {
        beat.succession.heirs = vec![NODE, PLAIN];
        hear(&mut bench, 1, &Message::Heartbeat(Box::new(beat)), at);
    }
    hear(&mut bench, 2, &hello(NODE), at_ms(1_000));
    (leader, bench)
}

fn hear(bench: &mut Bench, from: u8, message: &Message, at: Instant) {
    bench.run_until(at);
    bench.node.handle_control(addr(from), message, at, at);
    bench.wake(at);
}

/// Frames `from..to` are missing, to be played 500 ms after they were due; and nothing is heard of the leader for as long. Something
/// else is, every 20 ms.
fn misses(bench: &mut Bench, from: u64, to: u64, until: Instant) {
    let something = Message::Nack(Nack {
        station: StationId(1),
        node: NODE,
        first: FrameIndex(0),
        bitmap: 0,
    });
    let began = bench.now;
    let mut now = began;
    while now < until {
        if now.since(began).as_millis().is_multiple_of(20) {
            bench.node.handle_control(addr(9), &something, now, now);
        }
        let missing = (from..to).map(|index| Missing {
            index: FrameIndex(index),
            late_at: at_ms(index * 20),
            play_at: at_ms(index * 20 + 500),
            at_once: false,
        });
        let missing: Vec<_> = missing.filter(|missing| missing.play_at > now).collect();
        bench.node.handle_missing(&missing, now);
        bench.wake(now);
        now += MS;
    }
}

#[test]
fn the_leader_is_asked_after_the_reorder_wait_and_again_until_the_play_time() {
    let (_, mut bench) = follower(false);
    misses(&mut bench, 48, 51, at_ms(1_010));
    assert_eq!(
        bench.nacks(),
        [(at_ms(1_008), Some(addr(1)), vec![48, 49, 50])]
    );
    misses(&mut bench, 48, 51, at_ms(1_600));
    let nacks = bench.nacks();
    assert!((6..40).contains(&nacks.len()), "{} questions", nacks.len());
    let last = |frame| nacks.iter().rfind(|(_, _, frames)| frames.contains(&frame));
    for frame in 48..51 {
        let (at, ..) = last(frame).unwrap();
        let play_at = at_ms(frame * 20 + 500);
        assert!(
            *at < play_at && play_at.since(*at) < 210 * MS,
            "{frame}: {at}"
        );
    }
}

#[test]
fn while_nothing_is_heard_one_frame_is_asked_for_now_and_then_and_all_when_something_comes() {
    let (_, mut bench) = follower(false);
    let missing = [48, 49, 50].map(|index| Missing {
        index: FrameIndex(index),
        late_at: at_ms(index * 20),
        play_at: at_ms(index * 20 + 500),
        at_once: true,
    });
    for ms in 1_000..1_260 {
        bench.node.handle_missing(&missing, at_ms(ms));
        bench.wake(at_ms(ms));
    }
    let asked: Vec<_> = bench
        .nacks()
        .into_iter()
        .map(|(_, _, asked)| asked)
        .collect();
    assert_eq!(asked[0], [48, 49, 50]);
    // After 50 ms, every 40 ms.
    assert!((4..=6).contains(&asked[1..].len()), "{asked:?}");
    assert!(asked[2..].iter().all(|frames| *frames == [48]), "{asked:?}");
    let before = bench.nacks().len();
    misses(&mut bench, 48, 51, at_ms(1_261));
    assert!(
        bench.nacks()[before].2.ends_with(&[49, 50]),
        "{:?}",
        bench.nacks()
    );
}

#[test]
fn while_nobody_leads_and_where_the_leader_does_not_answer_the_heir_is_asked() {
    let (_, mut bench) = follower(false);
    misses(&mut bench, 48, 51, at_ms(1_400));
    let asked: Vec<_> = bench.nacks().iter().map(|(_, to, _)| *to).collect();
    assert_eq!(asked[..2], [Some(addr(1)); 2], "two in vain");
    assert_eq!(asked[2], Some(addr(2)));
    // Once it has been silent for 100 ms, the leader comes last.
    let (_, mut bench) = follower(false);
    bench.run_until(at_ms(1_150));
    misses(&mut bench, 50, 52, at_ms(1_170));
    assert_eq!(bench.nacks()[0].1, Some(addr(2)));
}

#[test]
fn who_has_the_frame_itself_asks_nobody() {
    let (leader, mut bench) = follower(true);
    let digest = leader.node.programme().digest();
    let plan = leader.node.plan_bytes(digest).unwrap();
    bench.node.handle_plan(digest, &plan, at_ms(1_000)).unwrap();
    bench.stock(0, 1_000);
    misses(&mut bench, 48, 50, at_ms(1_020));
    assert_eq!(bench.nacks(), []);
    let own = bench.log.iter().filter_map(|(_, output)| match output {
        Output::Repair(packet) => Some(packet.clone()),
        _ => None,
    });
    assert_eq!(own.collect::<Vec<_>>(), leader.packets()[48..50]);
}

#[test]
fn a_frame_beyond_the_cover_horizon_is_not_taken_from_the_own_copy() {
    let (leader, mut bench) = follower(true);
    let digest = leader.node.programme().digest();
    let plan = leader.node.plan_bytes(digest).unwrap();
    bench.node.handle_plan(digest, &plan, at_ms(1_000)).unwrap();
    bench.stock(0, 1_000);
    let base = leader.beats().pop().unwrap().1.next.0 - 1;
    let missing = [base + CUSHION_FRAMES, base + CUSHION_FRAMES + 1].map(|index| Missing {
        index: FrameIndex(index),
        late_at: at_ms(index * 20),
        play_at: at_ms(index * 20 + 500),
        at_once: true,
    });
    bench.node.handle_missing(&missing, bench.now);
    bench.wake(bench.now);
    let own = bench.log.iter().filter_map(|(_, output)| match output {
        Output::Repair(packet) => MediaPacket::parse(packet).ok().map(|packet| packet.seq),
        _ => None,
    });
    let numbering = Numbering::of(STATION);
    let within = numbering.seq(FrameIndex(base + CUSHION_FRAMES));
    assert_eq!(own.collect::<Vec<_>>(), [within]);
}

#[test]
fn a_listener_that_starts_asks_who_is_on_air_for_a_moment() {
    let config = Config {
        sends: false,
        ..config()
    };
    let mut bench = Bench::new(config, START);
    bench.run_until(START + Duration::from_secs(60));
    let asked = bench.controls().into_iter();
    let asked: Vec<u64> = asked
        .filter(|(_, to, message)| {
            let asks = |hello: &Hello| hello.station.is_none() && !hello.founding;
            to.is_none() && matches!(message, Message::Hello(hello) if asks(hello))
        })
        .map(|(at, ..)| at.since(START).as_millis() as u64)
        .collect();
    assert_eq!(asked, [0, 30, 60, 120]);
    assert_eq!(bench.node.poll_timeout(), None);
}

#[test]
fn repairs_are_believed_of_nodes_that_are_known_and_for_this_node_alone_if_it_asked() {
    let (leader, mut bench) = follower(false);
    misses(&mut bench, 48, 51, at_ms(1_020));
    let packets = leader.packets();
    let now = bench.now;
    let asked = Repaired::Asked {
        after: now.since(at_ms(1_008)),
    };
    use Repaired::{Overheard, Refused};
    // From the leader, an heir, and a stranger that answers for them; frame 48 was asked for, frame 10 was not.
    let table = [
        (9, 48, false, Refused),
        (9, 48, true, Refused),
        (1, 10, false, Refused),
        (2, 10, true, Overheard),
        (2, 49, true, asked),
        (1, 48, false, asked),
    ];
    for (host, index, group, expected) in table {
        let packet = MediaPacket::parse(&packets[index]).unwrap();
        let repaired = (bench.node).handle_repair(addr(host), &packet, group, now);
        assert_eq!(repaired, expected, "frame {index} from {host}");
    }
}

#[test]
fn what_is_refused_for_want_of_credit_is_counted() {
    let mut bench = leader();
    for _ in 0..6 {
        (0..100)
            .step_by(20)
            .for_each(|first| bench.is_asked(4, &nack(first, (1 << 19) - 1)));
    }
    let refused = bench.node.rejected()["repair_budget"];
    assert_eq!(bench.repairs().len() as u64 + refused, 600);
    assert!((350..=500).contains(&refused), "{refused}");
}
