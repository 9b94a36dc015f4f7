//! A node that its leader's packets do not reach: what does it not do, what does it do instead, and what when that is over?

use std::collections::BTreeSet;

use super::*;
use crate::station::reception::{Heard, Output as Wish, Reception};
use crate::wire::control::Hello;
use crate::wire::election::Standing;

const LEADER: NodeId = NodeId(1 << 32);
const FRAMES: u64 = 5_000;

/// What of the leader's reaches the other one. What that one says always reaches the leader.
#[derive(Clone, Copy)]
struct Air {
    media: bool,
    beats: bool,
    unicast: bool,
}

const ALL: Air = Air {
    media: true,
    beats: true,
    unicast: true,
};
const NO_MEDIA: Air = Air {
    media: false,
    ..ALL
};
const UNICAST: Air = Air {
    beats: false,
    ..NO_MEDIA
};
const NOTHING: Air = Air {
    unicast: false,
    ..UNICAST
};

/// Frames of one track, with holes.
#[derive(Default)]
struct Copy(BTreeSet<u64>);

impl Frames for Copy {
    fn packet(&self, _: TrackId, k: u64) -> Option<&[u8]> {
        self.0.contains(&k).then_some(&[0; 5])
    }

    fn held_from(&self, _: TrackId, k: u64) -> u64 {
        (k..).take_while(|k| self.0.contains(k)).count() as u64
    }

    fn end(&self, _: TrackId) -> u64 {
        self.0.last().map_or(0, |last| last + 1)
    }
}

/// A leader on air and a node that follows it.
struct Pair {
    leader: Bench,
    node: Node,
    copy: Copy,
    air: Air,
    /// The node asks four times a second, as a deaf one does.
    asks: bool,
    sent: Vec<(Instant, Output)>,
    heard: usize,
}

impl Pair {
    /// All is well for a second; a standby holds everything by then.
    fn new(standby: bool) -> Pair {
        let leads = Config {
            node: LEADER,
            http_port: 8_080,
            ..config()
        };
        let follows = Config {
            sends: false,
            standby,
            ..config()
        };
        let mut pair = Pair {
            leader: Bench::with_tracks(leads, &[FRAMES]),
            node: Node::new(follows, START),
            copy: Copy::default(),
            air: ALL,
            asks: false,
            sent: Vec::new(),
            heard: 0,
        };
        pair.node.follow(Some(STATION));
        pair.run_ms(1_250);
        assert_eq!(pair.node.followed_term(), pair.leader.node.term());
        pair
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            let now = self.leader.now + Duration::from_millis(1);
            self.leader.wake(now);
            let said = self.leader.log[self.heard..].iter();
            let said: Vec<Output> = said.map(|(_, output)| output.clone()).collect();
            for output in said {
                self.hears(output, now);
            }
            self.heard = self.leader.log.len();
            if self.asks && (now.as_micros() / 1_000).is_multiple_of(250) {
                self.node.ask_who_leads(false);
            }
            self.node.handle_timeout(now, &self.copy);
            while let Some(output) = self.node.poll_output() {
                self.does(&output, now);
                self.sent.push((now, output));
            }
            self.leader.drain();
        }
    }

    fn hears(&mut self, output: Output, now: Instant) {
        match output {
            Output::Control { to, bytes } => {
                let reaches = match to {
                    None => self.air.beats,
                    Some(to) => self.air.unicast && to == addr(2),
                };
                if reaches {
                    let message = Message::parse(&bytes).unwrap();
                    self.node.handle_control(addr(1), &message, now, now);
                }
            }
            Output::Media(bytes) if self.air.media => {
                let packet = MediaPacket::parse(&bytes).unwrap();
                self.node.handle_media(&packet, now, now);
                if let Some((_, k)) = self.node.place(&packet) {
                    self.copy.0.insert(k);
                }
            }
            _ => {}
        }
    }

    fn does(&mut self, output: &Output, now: Instant) {
        match output {
            Output::Control { bytes, .. } => {
                let message = Message::parse(bytes).unwrap();
                (self.leader.node).handle_control(addr(2), &message, now, now);
            }
            Output::Fetch(Fetch::Plan { digest, .. }) => {
                let plan = self.leader.node.plan_bytes(*digest);
                if let Some(plan) = plan.filter(|_| self.air.unicast) {
                    self.node.handle_plan(*digest, &plan, now).unwrap();
                }
            }
            Output::Fetch(Fetch::Frames { first, .. }) if self.air.unicast => {
                // As much as fits into one answer.
                self.copy.0.extend(*first..FRAMES.min(first + 800));
                self.node.handle_frames(true, now);
            }
            _ => {}
        }
    }

    /// Frames that the node sent from `since` on.
    fn media(&self, since: usize) -> usize {
        let sent = self.sent[since..].iter();
        sent.filter(|(_, output)| matches!(output, Output::Media(_)))
            .count()
    }

    fn messages(&self, since: usize) -> Vec<(Option<SocketAddr>, Message)> {
        let sent = self.sent[since..].iter();
        sent.filter_map(|(_, output)| match output {
            Output::Control { to, bytes } => Some((*to, Message::parse(bytes).unwrap())),
            _ => None,
        })
        .collect()
    }

    fn questions(&self, since: usize) -> usize {
        let messages = self.messages(since).into_iter();
        messages
            .filter(|(_, message)| matches!(message, Message::Ask(_)))
            .count()
    }

    fn fetches(&self, since: usize) -> Vec<u64> {
        let sent = self.sent[since..].iter();
        sent.filter_map(|(_, output)| match output {
            Output::Fetch(Fetch::Frames { first, .. }) => Some(*first),
            _ => None,
        })
        .collect()
    }
}

#[test]
fn a_deaf_heir_covers_nothing_and_stands_for_no_election() {
    for air in [NO_MEDIA, UNICAST] {
        let mut pair = Pair::new(true);
        let before = pair.sent.len();
        pair.air = air;
        pair.run_ms(1_000);
        assert!(
            pair.media(before) > 0,
            "it covers as long as it does not know better"
        );
        pair.node.set_deaf(true);
        pair.asks = true;
        let since = pair.sent.len();
        pair.run_ms(5_000);
        assert_eq!((pair.media(since), pair.questions(since)), (0, 0));
        assert!(pair.node.term().is_none());
        // Heartbeats to it alone keep it up with what is on air.
        let (here, there) = (pair.node.play_position(), pair.leader.node.next());
        assert!(there.since(here) <= 13, "{here} and {there}");
        assert_eq!(pair.node.followed_term(), pair.leader.node.term());
    }
}

#[test]
fn covering_ends_when_the_node_is_found_to_be_deaf() {
    let mut pair = Pair::new(true);
    pair.air = NOTHING;
    pair.run_ms(100);
    let told = |pair: &Pair, wanted: fn(&Event) -> bool| {
        let events = pair.sent.iter().filter_map(|(_, output)| match output {
            Output::Event(event) => Some(event),
            _ => None,
        });
        events.filter(|event| wanted(event)).count()
    };
    assert_eq!(
        told(&pair, |event| matches!(event, Event::Covering { .. })),
        1
    );
    pair.node.set_deaf(true);
    pair.run_ms(1);
    assert_eq!(
        told(&pair, |event| matches!(event, Event::CoverEnd { .. })),
        1
    );
}

#[test]
fn a_deaf_node_says_that_it_is_no_heir_and_is_one_again() {
    let mut pair = Pair::new(true);
    pair.run_ms(2_000);
    let standing = |pair: &Pair| {
        let roster = pair.leader.node.roster();
        roster.get(NODE).expect("the heir").standing
    };
    assert!(standing(&pair).eligible);
    pair.air = UNICAST;
    pair.node.set_deaf(true);
    pair.asks = true;
    pair.run_ms(150);
    assert!(!standing(&pair).eligible, "said at once");
    // Nothing is handed over to it.
    let now = pair.leader.now;
    pair.leader.node.handle_leave(now);
    let since = pair.sent.len();
    pair.run_ms(2_000);
    let accepted = pair.messages(since).into_iter().any(
        |(_, message)| matches!(message, Message::Confirm(confirm) if confirm.accepts.is_some()),
    );
    assert!(!accepted && pair.node.term().is_none());
    let mut pair = Pair::new(true);
    pair.node.set_deaf(true);
    pair.run_ms(500);
    pair.node.set_deaf(false);
    pair.run_ms(150);
    assert!(standing(&pair).eligible);
}

#[test]
fn a_node_that_is_alone_and_not_deaf_goes_on_as_ever() {
    let mut pair = Pair::new(true);
    pair.air = UNICAST;
    pair.node.set_deaf(true);
    pair.asks = true;
    pair.run_ms(3_000);
    // The leader is gone. Its owner finds out after a second without an answer.
    pair.air = NOTHING;
    let since = pair.sent.len();
    pair.run_ms(1_000);
    assert_eq!((pair.media(since), pair.questions(since)), (0, 0));
    pair.node.set_deaf(false);
    pair.asks = false;
    // All that it says is lost, too.
    let since = pair.sent.len();
    pair.run_ms(1_000);
    assert!(pair.questions(since) > 0);
    assert!(
        (40..=80).contains(&pair.media(since)),
        "{}",
        pair.media(since)
    );
}

/// A pair whose heir hears nothing of its leader any more, with what watches over what it hears.
struct Watched {
    pair: Pair,
    reception: Reception,
    /// When it was found to be deaf first.
    deaf_at: Option<Instant>,
}

impl Watched {
    fn alone(standby: bool) -> Watched {
        let mut pair = Pair::new(standby);
        let now = pair.leader.now;
        let mut reception = Reception::new(now, 1, false);
        reception.set_expected(pair.node.expected(), now);
        reception.handle(Heard::Media, now);
        reception.handle(Heard::Beat, now);
        pair.air = NOTHING;
        Watched {
            pair,
            reception,
            deaf_at: None,
        }
    }

    /// As its owner does after all sockets were read.
    fn turn(&mut self) {
        let now = self.pair.leader.now;
        let node = &mut self.pair.node;
        self.reception.set_expected(node.expected(), now);
        self.reception.handle_timeout(now);
        while let Some(wish) = self.reception.poll_output() {
            if let Wish::Ask { widely } = wish {
                node.ask_who_leads(widely);
            }
        }
        node.set_deaf(self.reception.is_deaf());
        if self.reception.is_deaf() {
            self.deaf_at.get_or_insert(now);
        }
    }

    /// Answers whether the node believed it.
    fn hears(&mut self, host: u8, message: &Message, is_unicast: bool) -> bool {
        let (node, now) = (&mut self.pair.node, self.pair.leader.now);
        let station = node.expected().station;
        let is_believed = node.handle_control(addr(host), message, now, now);
        if let Some(heard) = Heard::of(message, is_unicast, station, is_believed) {
            self.reception.handle(heard, now);
        }
        is_believed
    }
}

#[test]
fn nobody_makes_a_lone_node_believe_that_it_is_deaf() {
    // Ten heartbeats a second in the name of the leader that is gone, to all or to the node alone.
    type Change = fn(&mut Heartbeat, u64);
    let cases: [(&str, u8, Change); 5] = [
        ("a term that leaps", 9, |beat, _| {
            beat.term.counter = 1_000_000
        }),
        ("a term of before", 9, |beat, _| beat.term.counter -= 1),
        ("another quorum each time", 9, |beat, n| {
            beat.succession.quorum = 2 + n as u16 % 2
        }),
        ("the same again and again", 1, |_, _| {}),
        // This is believed, and says nothing of a frame on air that is not heard.
        ("a leader that says and sends nothing new", 1, |beat, n| {
            beat.number += n + 1
        }),
    ];
    let all = (cases.into_iter()).flat_map(|case| {
        [(true, false), (true, true), (false, false), (false, true)].map(|how| (case, how))
    });
    for ((what, host, change), (standby, is_unicast)) in all {
        let mut alone = Watched::alone(standby);
        let (_, last) = alone.pair.leader.beats().pop().unwrap();
        let since = alone.pair.sent.len();
        let mut is_believed = false;
        for ms in 0..6_000 {
            alone.pair.run_ms(1);
            if ms % 100 == 50 {
                let mut beat = last.clone();
                change(&mut beat, ms / 100);
                is_believed |= alone.hears(host, &Message::Heartbeat(Box::new(beat)), is_unicast);
            }
            alone.turn();
        }
        let (sent, deaf_at) = (alone.pair.media(since), alone.deaf_at);
        let what = format!("{what}, standby: {standby}, by unicast: {is_unicast}");
        // Who could not send anyway may ask that leader for its frames.
        if standby || !is_believed {
            assert_eq!(deaf_at, None, "{what}");
        }
        assert!(!standby || sent >= 280, "{what}: {sent} sent");
        assert_eq!(
            is_believed,
            host == 1 && what.contains("nothing new"),
            "{what}"
        );
    }
}

#[test]
fn frames_that_are_not_believed_hide_no_deafness() {
    let mut pair = Pair::new(false);
    let now = pair.leader.now;
    let (_, bytes) = (pair.leader.log.iter().rev())
        .find_map(|(at, output)| match output {
            Output::Media(bytes) => Some((at, bytes.clone())),
            _ => None,
        })
        .unwrap();
    let packet = MediaPacket::parse(&bytes).unwrap();
    assert!(pair.node.handle_media(&packet, now, now), "heard again");
    for change in [
        |packet: &mut MediaPacket<'_>| packet.element.term.counter += 1_000_000,
        |packet: &mut MediaPacket<'_>| packet.element.term.counter -= 1,
        |packet: &mut MediaPacket<'_>| packet.element.index_high += 1,
    ] {
        let mut forged = packet;
        change(&mut forged);
        assert!(!pair.node.handle_media(&forged, now, now), "{forged:?}");
    }
}

#[test]
fn the_leader_is_asked_by_unicast_and_the_heirs_if_need_be() {
    let mut pair = Pair::new(true);
    let hello = Message::Hello(hello_of(
        NodeId(77 << 32),
        Some(STATION),
        Standing {
            standby: true,
            eligible: true,
            complete: true,
            ..Standing::default()
        },
    ));
    let now = pair.leader.now;
    pair.leader.node.handle_control(addr(7), &hello, now, now);
    pair.node.handle_control(addr(7), &hello, now, now);
    pair.run_ms(300);
    for (widely, whom) in [(false, vec![1]), (true, vec![1, 7])] {
        let since = pair.sent.len();
        pair.node.ask_who_leads(widely);
        pair.run_ms(1);
        let asked: Vec<_> = (pair.messages(since).into_iter())
            .filter(
                |(_, message)| matches!(message, Message::Hello(hello) if hello.station.is_none()),
            )
            .map(|(to, _)| to.expect("by unicast"))
            .collect();
        let whom: Vec<_> = whom.into_iter().map(addr).collect();
        assert_eq!(asked, whom, "{widely}");
    }
    // A deaf node does not forget the heirs, of whom it hears nothing any more.
    pair.node.set_deaf(true);
    pair.air = UNICAST;
    pair.asks = true;
    pair.run_ms(10_000);
    assert!(pair.node.roster().get(NodeId(77 << 32)).is_some());
    pair.node.set_deaf(false);
    pair.run_ms(5_000);
    assert!(pair.node.roster().get(NodeId(77 << 32)).is_none());
}

#[test]
fn a_known_node_is_answered_as_often_as_it_asks_and_strangers_are_not() {
    let mut pair = Pair::new(false);
    let now = pair.leader.now;
    let question = |node| Message::Hello(hello_of(node, None, Standing::default()));
    let cases = [
        (NODE, addr(2), MAX_ANSWERS_TO_KNOWN_PER_SECOND),
        // Not in its name from elsewhere.
        (NODE, addr(3), MAX_ANSWERS_PER_SECOND),
        (NodeId(5), addr(5), 0),
    ];
    for (node, from, answered) in cases {
        let before = pair.leader.log.len();
        for _ in 0..1_000 {
            pair.leader
                .node
                .handle_control(from, &question(node), now, now);
        }
        pair.leader.drain();
        let answers = pair.leader.log[before..].iter();
        let answers = answers.filter(
            |(_, output)| matches!(output, Output::Control { to: Some(to), .. } if *to == from),
        );
        assert_eq!(answers.count(), answered, "{node} from {from}");
    }
}

#[test]
fn who_is_no_standby_copies_while_it_is_deaf_what_it_plays_soon_and_forgets_it_afterwards() {
    let mut pair = Pair::new(false);
    pair.node.set_report(Report {
        buffer_ms: 1_000,
        ..Report::default()
    });
    assert_eq!(pair.fetches(0), [0u64; 0]);
    assert_eq!(pair.copy.0.len(), 0);
    pair.air = UNICAST;
    pair.asks = true;
    pair.run_ms(1_000);
    pair.node.set_deaf(true);
    pair.node.set_fetching(true);
    let since = pair.sent.len();
    pair.run_ms(300);
    // From the first frame that its player may still want: its own buffer of 50 frames, and 8 for the decoder.
    let first = pair.fetches(since)[0];
    let next = pair.leader.node.next().0;
    assert!(
        (next - 75..=next - 58).contains(&first),
        "{first} of {next}"
    );
    let mut most = 0;
    for _ in 0..600 {
        pair.run_ms(100);
        let next = pair.leader.node.next().0;
        let ahead = pair.copy.end(track(0)).saturating_sub(next);
        most = most.max(ahead);
        assert!(ahead > 600 || next + ahead == FRAMES, "{ahead} at {next}");
    }
    assert!(most <= 1_500 + 800, "{most} frames ahead");
    assert!(pair.fetches(since).len() < 10, "not frame by frame");
    assert!(!pair.node.programme().list().tracks().is_empty());
    pair.air = ALL;
    pair.node.set_deaf(false);
    pair.node.set_fetching(false);
    let since = pair.sent.len();
    pair.run_ms(5_000);
    assert_eq!(pair.node.programme().size(), (0, 0), "forgotten");
    assert_eq!(pair.fetches(since), [0u64; 0]);
    assert_eq!(pair.node.followed_term(), pair.leader.node.term());
}

#[test]
fn who_is_called_by_its_leader_says_hello_to_all_and_to_it_ten_times_a_second_at_most() {
    let mut pair = Pair::new(false);
    pair.run_ms(50);
    let hellos = |pair: &Pair, since: usize| {
        let messages = pair.messages(since).into_iter();
        let hellos = messages.filter_map(|(to, message)| match message {
            Message::Hello(hello) => Some((to, hello.node, hello.founding, hello.station)),
            _ => None,
        });
        hellos.collect::<Vec<_>>()
    };
    let said = |to| (to, NODE, false, Some(STATION));
    let since = pair.sent.len();
    let heard = pair.leader.log.len();
    pair.leader.node.call_others();
    pair.leader.drain();
    let calls = pair.leader.log[heard..].iter().filter(
        |(_, output)| matches!(output, Output::Control { to: Some(to), .. } if *to == addr(2)),
    );
    assert_eq!(calls.count(), 1);
    pair.run_ms(2);
    assert_eq!(hellos(&pair, since), [said(None), said(Some(addr(1)))]);
    // Who is called all the time says no more than that.
    let since = pair.sent.len();
    for _ in 0..500 {
        pair.leader.node.call_others();
        pair.leader.drain();
        pair.run_ms(2);
    }
    let count = hellos(&pair, since).len();
    assert!((18..=22).contains(&count), "{count}: one more is due");
    // A stranger's call, or one from elsewhere, is a hello like others: nothing is said.
    let since = pair.sent.len();
    let (call, now) = (pair.leader.node.hello(true, Some(STATION)), pair.leader.now);
    let stranger = Hello {
        node: NodeId(77),
        ..call.clone()
    };
    for (host, hello) in [(1, stranger), (9, call)] {
        let message = Message::Hello(hello);
        pair.node.handle_control(addr(host), &message, now, now);
    }
    while let Some(output) = pair.node.poll_output() {
        pair.sent.push((now, output));
    }
    assert_eq!(hellos(&pair, since), []);
    // Nobody but a leader calls.
    pair.node.call_others();
    assert_eq!(pair.node.poll_output(), None);
}

#[test]
fn what_is_expected_depends_on_who_is_on_air() {
    use crate::station::reception::Expected;
    let mut pair = Pair::new(true);
    let followed = Expected {
        station: Some(STATION),
        media: true,
        beats: true,
        solo: false,
        hellos: None,
        seeks: false,
        nodes: 1,
    };
    assert_eq!(pair.node.expected(), followed);
    let leads = pair.leader.node.expected();
    assert_eq!(
        leads.hellos,
        Some(Duration::from_millis(1_100)),
        "one an hello a second"
    );
    assert!(!leads.media && !leads.beats);
    let alone = Bench::new(
        Config {
            sends: false,
            ..config()
        },
        START,
    );
    let waits = Expected {
        seeks: true,
        ..Expected::default()
    };
    assert_eq!(alone.node.expected(), waits);
    // The station pauses: no frames are expected.
    let mut beat = pair.leader.beats().pop().unwrap().1;
    (beat.state, beat.number) = (State::Idle, beat.number + 1);
    let message = Message::Heartbeat(Box::new(beat));
    let now = pair.leader.now;
    pair.node.handle_control(addr(1), &message, now, now);
    assert!(!pair.node.expected().media && pair.node.expected().beats);
}

#[test]
fn another_port_of_the_api_is_said_at_once() {
    let mut pair = Pair::new(true);
    pair.run_ms(500);
    pair.node.set_http_port(4_711);
    pair.run_ms(2);
    let standing = pair.leader.node.roster().get(NODE).unwrap().standing;
    assert_eq!(standing.http_port, 4_711);
}

#[test]
fn a_node_that_waits_for_a_station_asks_all_for_it_and_no_other_does() {
    let config = Config {
        sends: false,
        ..config()
    };
    let mut waits = Bench::new(config, START);
    assert!(waits.node.expected().seeks);
    waits.node.seek_station();
    waits.drain();
    let asked = waits.controls();
    let [(_, None, Message::Hello(hello))] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert!(hello.station.is_none() && !hello.founding);
    let mut pair = Pair::new(true);
    assert!(!pair.node.expected().seeks && !pair.leader.node.expected().seeks);
    pair.node.seek_station();
    assert_eq!(pair.node.poll_output(), None);
}
