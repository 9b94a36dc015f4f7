//! What can somebody do to a station who sends in its name? Each of these is one message or a few; the song goes on.

use super::*;
use crate::station::node::voting::Voter;
use crate::wire::election::{Ask, Confirm, MAX_LEAP, Offer, Round, Stale, Standing};

/// A leader on air, and a standby that follows it; what the leader sends arrives a millisecond later.
struct Pair {
    leader: Bench,
    heir: Bench,
    heard: usize,
    /// What the heir has said to the leader.
    said: usize,
    unicast: bool,
}

const LEADER: NodeId = NodeId(1 << 32);

impl Pair {
    fn new() -> Pair {
        Pair::with_unicast(true)
    }

    /// Whether what the leader sends to the heir alone arrives.
    fn with_unicast(unicast: bool) -> Pair {
        let config = Config {
            node: LEADER,
            http_port: 8_080,
            ..config()
        };
        let leader = Bench::with_tracks(config.clone(), &[2_000]);
        let heir = Bench::new(
            Config {
                node: NODE,
                sends: false,
                ..config
            },
            START,
        );
        let mut pair = Pair {
            leader,
            heir,
            heard: 0,
            said: 0,
            unicast,
        };
        pair.heir.stock(0, 2_000);
        pair.heir.node.follow(Some(STATION));
        pair.run_until(at_ms(1_000));
        pair
    }

    fn run_until(&mut self, until: Instant) {
        while self.leader.now < until {
            let now = self.leader.now + Duration::from_millis(1);
            self.leader.wake(now);
            self.heir.now = now;
            for (_, output) in self.leader.log.split_off(self.heard) {
                self.leader.log.push((now, output.clone()));
                self.heard += 1;
                self.hears(output);
            }
            self.heir.wake(now);
            for (_, output) in self.heir.log[self.said..].iter().cloned() {
                match output {
                    Output::Control { bytes, .. } => {
                        let message = Message::parse(&bytes).unwrap();
                        (self.leader.node).handle_control(addr(2), &message, now, now);
                    }
                    Output::Fetch(Fetch::Plan { digest, .. }) => {
                        if let Some(plan) = self.leader.node.plan_bytes(digest) {
                            self.heir.node.handle_plan(digest, &plan, now).unwrap();
                        }
                    }
                    _ => {}
                }
            }
            self.said = self.heir.log.len();
            self.leader.drain();
        }
    }

    fn hears(&mut self, output: Output) {
        let now = self.heir.now;
        match output {
            Output::Control { to, bytes } if to.is_none_or(|to| self.unicast && to == addr(2)) => {
                let message = Message::parse(&bytes).unwrap();
                self.heir.node.handle_control(addr(1), &message, now, now);
            }
            Output::Media(bytes) => {
                let packet = MediaPacket::parse(&bytes).unwrap();
                self.heir.node.handle_media(&packet, now, now);
            }
            _ => {}
        }
        self.heir.drain();
    }

    fn last_beat(&self) -> Heartbeat {
        self.leader.beats().pop().unwrap().1
    }

    /// The heir hears this from somewhere.
    fn forge(&mut self, from: SocketAddr, message: &Message) {
        let now = self.heir.now;
        self.heir.node.handle_control(from, message, now, now);
        self.heir.drain();
    }

    fn forge_beat(&mut self, host: u8, change: impl FnOnce(&mut Heartbeat)) {
        let mut beat = self.last_beat();
        change(&mut beat);
        self.forge(addr(host), &Message::Heartbeat(Box::new(beat)));
    }

    /// A media packet in the leader's name, `ahead` of the one that it sends next.
    fn forge_media(&mut self, ahead: u64, term: Term, flags: Flags) {
        let index = self.leader.node.next().plus(ahead);
        let identity = (term.short(), PlanDigest(1), flags);
        let numbering = Numbering::of(STATION);
        let packet = MediaPacket::place(
            &numbering,
            index,
            Slot(index.0),
            false,
            identity,
            &[0, 0, 0, 0, 9],
        );
        let now = self.heir.now;
        self.heir.node.handle_media(&packet, now, now);
        self.heir.drain();
    }

    /// For three seconds more everything is as if nothing had been: the leader leads, the heir hears it and confirms.
    fn goes_on(&mut self) {
        let (frames, heir_log) = (self.leader.node.frames_sent(), self.heir.log.len());
        let until = self.leader.now + Duration::from_secs(3);
        self.run_until(until);
        assert_eq!(self.leader.node.frames_sent() - frames, 150);
        let term = self.leader.node.term();
        assert_eq!(self.heir.node.followed_term(), term);
        assert_eq!(self.leader.node.roster().heirs(), [NODE]);
        let told: Vec<_> = self.heir.log[heir_log..].iter().collect();
        let speaks = |output: &Output| matches!(output, Output::Media(_));
        assert!(
            !told.iter().any(|(_, output)| speaks(output)),
            "nothing to cover"
        );
        let confirmed = self.heir.node.voter.confirmed_at;
        assert!(confirmed.is_some_and(|at| until.since(at) < Duration::from_millis(200)));
    }

    fn rejected(&self, reason: &str) -> u64 {
        self.heir
            .node
            .rejected()
            .get(reason)
            .copied()
            .unwrap_or_default()
    }
}

fn highest(counter: u32) -> Term {
    Term {
        counter,
        leader: NodeId(9 << 32),
    }
}

#[test]
fn a_pair_without_a_forger_goes_on() {
    let mut pair = Pair::new();
    pair.goes_on();
    assert!(pair.heir.node.rejected().is_empty() && pair.leader.node.rejected().is_empty());
}

#[test]
fn a_term_that_leaps_is_counted_and_forbids_no_claim() {
    for counter in [1 + MAX_LEAP + 1, u32::MAX] {
        let mut pair = Pair::new();
        let term = highest(counter);
        let (station, node) = (STATION, term.leader);
        for _ in 0..20 {
            pair.forge_beat(7, |beat| (beat.term, beat.succession.over) = (term, None));
            pair.forge(
                addr(7),
                &Message::Stale(Stale {
                    station,
                    node,
                    term,
                }),
            );
            let ask = Ask {
                station,
                node,
                term,
                attempt: 1,
                round: Round::Vote { counter },
                rank: 0,
                eligible: true,
                plan: PlanDigest(1),
                version: 1 << 40,
                quorum: 1,
            };
            pair.forge(addr(7), &Message::Ask(ask));
            pair.forge_media(0, term, Flags::default());
            pair.forge_media(0, term, Flags::COVER);
            pair.run_until(pair.leader.now + Duration::from_millis(50));
        }
        pair.goes_on();
        assert_eq!(pair.rejected("term_leap"), 100);
        assert_eq!(
            pair.heir.node.voter.counter(STATION),
            Voter::default().counter(STATION)
        );
        let warnings = pair.heir.events();
        let warnings = warnings
            .iter()
            .filter(|event| matches!(event, Event::Warning(_)));
        assert_eq!(warnings.count(), 1, "once a minute is enough");
    }
}

#[test]
fn a_leader_does_not_follow_a_term_that_leaps_either() {
    let mut pair = Pair::new();
    let mine = pair.leader.node.term().unwrap();
    let term = highest(u32::MAX);
    let (station, node) = (STATION, term.leader);
    let now = pair.leader.now;
    let stale = Message::Stale(Stale {
        station,
        node,
        term,
    });
    let mut beat = pair.last_beat();
    (beat.term, beat.succession.over) = (term, Some(mine));
    let beat = Message::Heartbeat(Box::new(beat));
    for message in [&stale, &beat] {
        pair.leader.node.handle_control(addr(7), message, now, now);
    }
    assert_eq!(pair.leader.node.term(), Some(mine));
    assert_eq!(pair.leader.node.rejected()["term_leap"], 2);
    pair.goes_on();
}

#[test]
fn stale_terms_within_reach_raise_the_term_once_a_second_at_most() {
    let mut pair = Pair::new();
    let mut counter = 1;
    for _ in 0..1_000 {
        let now = pair.leader.now;
        counter += MAX_LEAP - 1;
        let (station, term) = (STATION, highest(counter));
        let node = term.leader;
        let stale = Message::Stale(Stale {
            station,
            node,
            term,
        });
        pair.leader.node.handle_control(addr(7), &stale, now, now);
        pair.run_until(now + Duration::from_millis(1));
    }
    let raised = pair.leader.node.term().unwrap().counter;
    assert!(raised <= 1 + 2 * MAX_LEAP, "{raised}");
    pair.goes_on();
}

#[test]
fn a_heartbeat_that_leaps_does_not_make_the_true_ones_old() {
    let mut pair = Pair::new();
    for number in [u64::MAX, 10_000] {
        pair.forge_beat(1, |beat| {
            (beat.number, beat.succession.heirs) = (number, vec![])
        });
    }
    assert_eq!(pair.rejected("heartbeat_number"), 2);
    pair.goes_on();
    // Two that agree are believed: a leader that stood still may have sent many. Two true ones are then believed, too.
    for number in [1 << 60, (1 << 60) + 1] {
        pair.forge_beat(1, |beat| beat.number = number);
    }
    pair.goes_on();
}

#[test]
fn a_heartbeat_in_the_leaders_name_from_elsewhere_says_nothing() {
    for state in [State::Playing, State::Idle, State::Over(EndReason::Ended)] {
        let mut pair = Pair::new();
        let nobody = NodeId(77 << 32);
        pair.forge_beat(7, |beat| {
            beat.number += 1;
            beat.state = state;
            beat.plan = PlanDigest(5);
            beat.succession.heirs = vec![nobody];
            beat.succession.offer = Some(Offer {
                successor: nobody,
                first: beat.next,
                lease_until_us: None,
            });
        });
        assert_eq!(pair.rejected("heartbeat_sender"), 1);
        pair.goes_on();
    }
}

#[test]
fn a_leader_that_got_another_address_is_believed_with_its_second_heartbeat() {
    let mut pair = Pair::new();
    for more in [1, 2] {
        pair.forge_beat(3, |beat| beat.number += more);
    }
    let Role::Following(following) = &pair.heir.node.role else {
        panic!("it follows")
    };
    assert_eq!(following.addr, Some(addr(3)));
    assert_eq!(warnings(&pair), 0, "an honest change is no crime");
}

fn warnings(pair: &Pair) -> usize {
    let events = pair.heir.events().into_iter();
    let warned = events.filter(|event| matches!(event, Event::Warning(_)));
    warned.count()
}

#[test]
fn one_who_goes_on_speaking_in_the_leaders_name_from_elsewhere_is_told_of_once() {
    let mut pair = Pair::new();
    for n in 0..5 {
        pair.forge_beat(7, |beat| beat.number += 1);
        pair.goes_on();
        assert_eq!(warnings(&pair), usize::from(n > 0), "after {n} before it");
    }
}

#[test]
fn heirs_that_name_nobody_are_forgotten_with_the_next_heartbeat() {
    let mut pair = Pair::new();
    pair.forge_beat(1, |beat| {
        beat.number += 1;
        beat.succession.heirs = (70..78).map(|id| NodeId(id << 32)).collect();
    });
    assert!(!pair.heir.node.roster().heirs().contains(&NODE));
    pair.goes_on();
}

#[test]
fn another_quorum_is_not_the_stations() {
    let mut pair = Pair::new();
    pair.forge_beat(1, |beat| {
        (beat.number, beat.succession.quorum) = (beat.number + 1, 1_000);
    });
    assert_eq!(pair.rejected("heartbeat_quorum"), 1);
    pair.goes_on();
}

#[test]
fn frames_of_the_future_do_not_move_what_comes_next() {
    for flags in [Flags::default(), Flags::COVER, Flags::SOLO] {
        for ahead in [10, 100, 190, 400, 1 << 30] {
            let mut pair = Pair::new();
            let term = pair.leader.node.term().unwrap();
            pair.forge_media(ahead, term, flags);
            let next = pair.leader.node.next();
            assert!(pair.heir.node.play_position() <= next, "{flags:?} {ahead}");
            assert_eq!(pair.rejected("frame_too_early"), 1, "{flags:?} {ahead}");
            pair.goes_on();
        }
    }
}

#[test]
fn what_a_new_leader_says_first_is_no_further_ahead_than_what_was_heard() {
    let ms = Duration::from_millis;
    // The leader falls silent, and somebody else says that it leads.
    for (ahead, believed) in [(1, true), (25, true), (60, false), (150, false)] {
        let mut pair = Pair::new();
        let next = pair.last_beat().next;
        let term = highest(2);
        let claims = |pair: &mut Pair, ahead: u64| {
            pair.heir.now += ms(60);
            pair.forge_beat(9, |beat| {
                (beat.term, beat.number) = (term, beat.number + ahead);
                beat.next = next.plus(ahead);
            });
            pair.heir.node.followed_term() == Some(term)
        };
        assert_eq!(claims(&mut pair, ahead), believed, "{ahead}");
        let refused = pair.rejected("frame_too_early");
        assert_eq!(refused, u64::from(!believed), "{ahead}");
        // Who says so twice has moved on meanwhile.
        assert!(claims(&mut pair, ahead + 3), "{ahead}");
    }
}

#[test]
fn a_flood_of_questions_is_answered_so_often_and_not_more() {
    let mut pair = Pair::new();
    let before = pair.heir.log.len();
    for attempt in 0..5_000 {
        let ask = Ask {
            station: STATION,
            node: NodeId(9 << 32),
            term: highest(1),
            attempt,
            round: Round::PreVote,
            rank: 0,
            eligible: true,
            plan: PlanDigest(1),
            version: 1,
            quorum: 1,
        };
        pair.forge(addr(7), &Message::Ask(ask));
    }
    let answers = pair.heir.log.len() - before;
    assert!(answers <= MAX_REPLIES_PER_SECOND + 1, "{answers}");
    assert!(pair.rejected("answer_flood") >= 4_000);
    pair.goes_on();
}

#[test]
fn confirmations_of_nobody_make_no_supporters() {
    let mut pair = Pair::new();
    let (now, term) = (pair.leader.now, pair.leader.node.term().unwrap());
    for id in 0..5_000 {
        let confirm = Confirm {
            station: STATION,
            node: NodeId(id << 32 | 5),
            term,
            number: 1,
            plan: PlanDigest(1),
            standing: Standing::default(),
            accepts: None,
        };
        pair.leader
            .node
            .handle_control(addr(7), &Message::Confirm(confirm), now, now);
    }
    assert_eq!(pair.leader.node.rejected()["confirm_stranger"], 5_000);
    assert_eq!(pair.leader.node.supporters(), 1);
    pair.goes_on();
}

#[test]
fn a_joiner_that_was_told_of_a_leader_that_never_was_finds_the_true_one() {
    let mut pair = Pair::new();
    let mut late = Bench::new(
        Config {
            node: NodeId(3 << 32),
            sends: false,
            ..config()
        },
        pair.leader.now,
    );
    late.node.follow(Some(STATION));
    let mut beat = pair.last_beat();
    beat.term = highest(u32::MAX);
    late.hear(&beat);
    assert_eq!(late.node.followed_term(), Some(beat.term));
    let mut said = 0;
    while pair.leader.now < at_ms(1_600) {
        let (now, beats) = (
            pair.leader.now + Duration::from_millis(1),
            pair.leader.log.len(),
        );
        pair.run_until(now);
        late.now = now;
        for (_, output) in pair.leader.log[beats..].iter().cloned() {
            if let Output::Control { bytes, .. } = output {
                let message = Message::parse(&bytes).unwrap();
                late.node.handle_control(addr(1), &message, now, now);
            }
        }
        late.wake(now);
        for (_, output) in late.log.split_off(said) {
            if let Output::Control { bytes, .. } = &output {
                let message = Message::parse(bytes).unwrap();
                pair.leader.node.handle_control(addr(3), &message, now, now);
            }
            late.log.push((now, output));
            said += 1;
        }
    }
    assert_eq!(late.node.followed_term(), pair.leader.node.term());
}

#[test]
fn an_heir_that_could_not_learn_the_clock_says_that_it_cannot_lead_well() {
    for unicast in [false, true] {
        let mut pair = Pair::with_unicast(unicast);
        pair.goes_on();
        let standing = pair
            .leader
            .node
            .roster()
            .get(NODE)
            .expect("the heir")
            .standing;
        assert_eq!(standing.eligible, unicast, "{standing:?}");
        assert!(standing.complete, "it holds everything");
        assert_eq!(pair.heir.node.clock_estimate().is_some(), unicast);
    }
}

/// A hello of a node that follows the station and says that it could take over at once.
fn hello(id: u64) -> Message {
    Message::Hello(hello_of(
        NodeId(id),
        Some(STATION),
        Standing {
            standby: true,
            eligible: true,
            complete: true,
            priority: i16::MAX,
            age_s: u32::MAX,
            http_port: 1,
        },
    ))
}

#[test]
fn a_roster_of_a_million_nodes_displaces_no_heir() {
    let mut pair = Pair::new();
    pair.goes_on();
    let mut id = 1_000;
    for round in 0..100_u64 {
        let now = pair.leader.now;
        for _ in 0..1_000 {
            id += 1;
            let from = SocketAddr::from(([192, 0, (id % 251) as u8, (id % 241) as u8], 40_000));
            let message = hello(id << 32 | 1);
            pair.leader.node.handle_control(from, &message, now, now);
            pair.forge(from, &message);
        }
        let until = now + Duration::from_millis(20);
        pair.run_until(until);
        let heirs = pair.leader.node.roster().heirs();
        assert!(heirs.contains(&NODE), "round {round}: {heirs:?}");
        assert!(pair.leader.node.roster().len() <= crate::station::roster::MAX_NODES);
    }
    assert!(pair.leader.node.rejected()["roster_full"] > 90_000);
    let until = pair.leader.now + Duration::from_secs(3);
    pair.run_until(until);
    let heirs = pair.leader.node.roster().heirs();
    assert_eq!(heirs.first(), Some(&NODE), "who has proved itself is first");
}

#[test]
fn a_heartbeat_from_the_future_moves_no_clock() {
    for far_us in [2_000_000, 1 << 53] {
        let mut pair = Pair::new();
        pair.forge_beat(1, |beat| {
            beat.number += 1;
            (beat.sent_at_us, beat.state) = (beat.sent_at_us + far_us, State::Idle);
        });
        assert_eq!(pair.rejected("heartbeat_clock"), 1);
        pair.goes_on();
    }
}
