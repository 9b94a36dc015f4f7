//! A node in virtual time that hears what a test lets it hear.

use super::*;
use crate::wire::StationId;

const MICROSECOND: Duration = Duration::from_micros(1);
const FRAME: Duration = Duration::from_millis(20);
const START: Instant = Instant::from_micros(5_000_000);
/// When everything has been heard for a while.
const CUT: Instant = Instant::from_micros(15_000_000);

const FOLLOWER: Expected = Expected {
    station: Some(StationId(7)),
    media: true,
    beats: true,
    solo: false,
    hellos: None,
    seeks: false,
    nodes: 4,
};
const IDLE: Expected = Expected {
    media: false,
    ..FOLLOWER
};
/// Once a second, give or take a tenth.
const HELLO_EVERY: Duration = Duration::from_millis(1_100);
const LEADER: Expected = Expected {
    media: false,
    beats: false,
    hellos: Some(HELLO_EVERY),
    ..FOLLOWER
};

/// What gets through to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Air {
    media: bool,
    beats: bool,
    /// Others say hello to all, once a second.
    hellos: bool,
    /// The leader answers.
    answers: bool,
    /// Heirs confirm.
    confirms: bool,
}

const ALL: Air = Air {
    media: true,
    beats: true,
    hellos: true,
    answers: true,
    confirms: false,
};
const NO_MEDIA: Air = Air {
    media: false,
    ..ALL
};
const NO_CONTROL: Air = Air {
    beats: false,
    hellos: false,
    ..ALL
};
const UNICAST: Air = Air {
    media: false,
    ..NO_CONTROL
};
const NOTHING: Air = Air {
    answers: false,
    ..UNICAST
};
/// The leader is gone; other nodes are not.
const LEADERLESS: Air = Air {
    hellos: true,
    ..NOTHING
};

struct Bench {
    reception: Reception,
    now: Instant,
    log: Vec<(Instant, Output)>,
    /// An answer on its way.
    answer_at: Option<Instant>,
    /// Answers to a call.
    greet_at: Option<Instant>,
    air: Air,
}

impl Bench {
    fn new(expected: Expected, air: Air) -> Bench {
        let mut reception = Reception::new(START, 1, false);
        reception.set_expected(expected, START);
        Bench {
            reception,
            now: START,
            log: Vec::new(),
            answer_at: None,
            greet_at: None,
            air,
        }
    }

    /// Heard all until [`CUT`]; what follows is `air`. Frames, heartbeats and hellos were last heard a moment before the cut.
    fn cut(expected: Expected, air: Air) -> Bench {
        let mut bench = Bench::new(expected, ALL);
        if expected.hellos.is_some() {
            (bench.air.confirms, bench.air.beats) = (true, false);
        }
        bench.run_to(CUT - MICROSECOND);
        assert_eq!(bench.outputs(), [], "all is well");
        bench.air = air;
        bench
    }

    /// Lets time pass up to `until`: what gets through comes when it should, and the node is woken for it and when it asks to be.
    fn run_to(&mut self, until: Instant) {
        loop {
            let mut next = until;
            let since = self.now.since(START);
            let tick = |every: Duration| {
                let passed = since.as_micros() / every.as_micros();
                START + every * (passed as u32 + 1)
            };
            let sources = [
                (self.air.media, Heard::Media, FRAME),
                (self.air.beats, Heard::Beat, FRAME * 5),
                (self.air.hellos, Heard::Hello, FRAME * 50),
                (self.air.confirms, Heard::Word, FRAME * 5),
            ];
            for (_, _, every) in sources.iter().filter(|(on, ..)| *on) {
                next = next.min(tick(*every));
            }
            // Run loops come by once a second.
            next = next.min(tick(FRAME * 50));
            let wake = self.reception.poll_timeout().map(|at| at.max(self.now));
            next = [Some(next), wake, self.answer_at, self.greet_at]
                .into_iter()
                .flatten()
                .min()
                .expect("a time");
            assert!(next >= self.now);
            let stands = next == self.now && wake == Some(next);
            for (on, heard, every) in sources {
                if on && tick(every) == next {
                    self.reception.handle(heard, next);
                }
            }
            if self.answer_at == Some(next) {
                self.answer_at = None;
                self.reception.handle(Heard::Answer, next);
            }
            if self.greet_at == Some(next) {
                self.greet_at = None;
                self.reception.handle(Heard::Greeting, next);
                if self.air.hellos {
                    self.reception.handle(Heard::Hello, next);
                }
            }
            self.now = next;
            let before = self.log.len();
            self.wake();
            if stands {
                let again = self.reception.poll_timeout();
                assert!(
                    self.log.len() > before || again > Some(next),
                    "a wake for nothing, again and again, at {next}"
                );
            }
            if next >= until {
                return;
            }
        }
    }

    fn wake(&mut self) {
        self.reception.handle_timeout(self.now);
        while let Some(output) = self.reception.poll_output() {
            if matches!(output, Output::Ask { .. }) && self.air.answers {
                self.answer_at = Some(self.now + Duration::from_millis(1));
            }
            if output == Output::Call && self.air.answers {
                self.greet_at = Some(self.now + Duration::from_millis(1));
            }
            self.log.push((self.now, output));
        }
    }

    fn set_link(&mut self, link: Link) {
        self.reception.set_link(link, self.now);
        self.wake();
    }

    /// All outputs but renewals, which come when they like.
    fn outputs(&self) -> Vec<Output> {
        let all = self.log.iter().map(|(_, output)| *output);
        all.filter(|output| *output != Output::Renew).collect()
    }

    fn told(&self) -> Vec<Told> {
        let told = self
            .outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Tell(told) => Some(told),
                _ => None,
            });
        told.collect()
    }

    /// When something was put out, in milliseconds after the cut.
    fn times(&self, wanted: impl Fn(&Output) -> bool) -> Vec<i64> {
        let log = self.log.iter().filter(|(_, output)| wanted(output));
        log.map(|(at, _)| at.micros_after(CUT) / 1_000).collect()
    }

    fn rejoins(&self) -> Vec<i64> {
        self.times(|output| *output == Output::Rejoin)
    }

    fn calls(&self) -> Vec<i64> {
        self.times(|output| *output == Output::Call)
    }

    fn asks(&self) -> Vec<i64> {
        self.times(|output| matches!(output, Output::Ask { .. }))
    }
}

/// When the last frame, heartbeat and hello before the cut came: all at the same time, a frame before it.
const LAST: Instant = Instant::from_micros(15_000_000 - 20_000);

#[test]
fn what_is_missing_is_found_after_a_second_and_not_a_microsecond_before() {
    // Frames come every 20 ms, heartbeats every 100 ms, hellos every second: the last ones before the cut.
    let last_beat = CUT - FRAME * 5;
    let cases = [
        (
            "frames only",
            FOLLOWER,
            NO_MEDIA,
            LAST,
            Told::Deaf(Ear::Media),
        ),
        (
            "heartbeats only",
            FOLLOWER,
            NO_CONTROL,
            last_beat,
            Told::Deaf(Ear::Control),
        ),
        (
            "idle, heartbeats",
            IDLE,
            UNICAST,
            last_beat,
            Told::Deaf(Ear::Group),
        ),
        (
            "idle, heartbeats, but not hellos",
            IDLE,
            Air {
                hellos: true,
                ..UNICAST
            },
            last_beat,
            Told::Deaf(Ear::Group),
        ),
    ];
    for (what, expected, air, last, told) in cases {
        let mut bench = Bench::cut(expected, air);
        let answers = if told == Told::Deaf(Ear::Group) {
            Duration::from_millis(1)
        } else {
            Duration::ZERO
        };
        let due = last + QUIET + answers;
        bench.run_to(due - MICROSECOND);
        assert_eq!(bench.told(), [], "{what}");
        assert_eq!(bench.rejoins(), [0i64; 0], "{what}");
        bench.run_to(due);
        assert_eq!(bench.told(), [told], "{what}");
        assert_eq!(bench.rejoins().len(), 1, "{what}");
        assert_eq!(
            bench.reception.is_deaf(),
            told != Told::Deaf(Ear::Control),
            "{what}"
        );
    }
}

#[test]
fn who_hears_nothing_at_all_asks_after_a_second_and_an_answer_makes_it_deaf() {
    let mut bench = Bench::cut(FOLLOWER, UNICAST);
    bench.run_to(LAST + QUIET - MICROSECOND);
    assert_eq!(bench.outputs(), []);
    bench.run_to(LAST + QUIET);
    assert_eq!(bench.outputs(), [Output::Ask { widely: false }]);
    assert!(!bench.reception.is_deaf());
    bench.run_to(LAST + QUIET + Duration::from_millis(1));
    assert_eq!(bench.told(), [Told::Deaf(Ear::Group)]);
    assert!(bench.reception.is_deaf() && bench.reception.fetches());
    // It goes on asking as long as it is deaf: heartbeats by unicast are all that it has.
    bench.run_to(CUT + Duration::from_secs(11));
    let asks = bench.asks();
    assert!((38..=41).contains(&asks.len()), "{asks:?}");
    assert!(
        bench
            .log
            .iter()
            .all(|(_, output)| *output != Output::Ask { widely: true }),
        "the leader answers: nobody else is asked"
    );
    assert_eq!(bench.told().len(), 1, "said once");
}

#[test]
fn the_groups_are_joined_at_once_and_then_ever_more_seldom() {
    let mut bench = Bench::cut(FOLLOWER, UNICAST);
    bench.run_to(CUT + Duration::from_secs(130));
    let rejoins = bench.rejoins();
    let waits: Vec<i64> = rejoins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(rejoins[0], 981, "{rejoins:?}");
    assert_eq!(waits[..6], [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
}

#[test]
fn who_is_not_answered_for_a_second_is_alone_and_not_deaf() {
    for (air, what) in [(NOTHING, "cut off"), (LEADERLESS, "no leader")] {
        let mut bench = Bench::cut(FOLLOWER, air);
        let asked = LAST + QUIET;
        bench.run_to(asked + ALONE_AFTER - MICROSECOND);
        assert_eq!(bench.rejoins(), [0i64; 0], "{what}");
        bench.run_to(asked + ALONE_AFTER);
        assert_eq!(bench.rejoins(), [1_980], "{what}: it may help");
        bench.run_to(CUT + Duration::from_secs(60));
        assert_eq!(
            bench.told(),
            [],
            "{what}: the others act, or the player speaks"
        );
        assert!(!bench.reception.is_deaf() && !bench.reception.fetches());
        let asks = bench.asks();
        assert_eq!(asks[..5], [980, 1_230, 1_480, 1_730, 2_730], "{what}");
        assert!((8..=12).contains(&asks.len()), "{what}: {asks:?}");
        let widely = bench.times(|output| *output == Output::Ask { widely: true });
        assert_eq!(widely, asks[1..], "{what}: the heirs, too");
    }
}

#[test]
fn a_deaf_node_whose_leader_falls_silent_is_alone_after_a_second() {
    for deaf in [UNICAST, NO_MEDIA] {
        let mut bench = Bench::cut(FOLLOWER, deaf);
        bench.run_to(CUT + Duration::from_secs(5));
        assert!(bench.reception.is_deaf());
        let last = bench.reception.sign_of_life_at().expect("a sign of life");
        let pending = bench.answer_at.take();
        assert_eq!(pending, None);
        bench.air = NOTHING;
        bench.run_to(last + ALONE_AFTER - MICROSECOND);
        assert!(bench.reception.is_deaf(), "{deaf:?}");
        bench.run_to(last + ALONE_AFTER);
        assert!(!bench.reception.is_deaf(), "{deaf:?}");
        // Another leader answers, and it is deaf as before.
        bench.air = UNICAST;
        bench.run_to(CUT + Duration::from_secs(30));
        assert!(bench.reception.is_deaf());
    }
}

#[test]
fn a_dead_leader_is_no_deafness_whenever_it_dies() {
    // Whatever was heard last, and however long before the last frame: hellos of others go on.
    for at_ms in (0..1_000).step_by(7) {
        let mut bench = Bench::new(FOLLOWER, ALL);
        bench.run_to(CUT + Duration::from_millis(at_ms));
        bench.air = LEADERLESS;
        // It was asked just before it died.
        bench.reception.handle(Heard::Answer, bench.now);
        bench.run_to(CUT + Duration::from_secs(10));
        assert_eq!(bench.told(), [], "died after {at_ms} ms");
    }
}

#[test]
fn a_takeover_is_not_deafness() {
    // Frames go on, heartbeats pause for less than a second; or both pause.
    for air in [NO_CONTROL, LEADERLESS] {
        let mut bench = Bench::cut(FOLLOWER, air);
        bench.run_to(CUT + Duration::from_millis(850));
        bench.air = ALL;
        bench.run_to(CUT + Duration::from_secs(5));
        assert_eq!(bench.outputs(), [], "{air:?}");
    }
}

#[test]
fn heard_again_is_said_when_all_has_come_for_half_a_second() {
    for (air, ear) in [
        (NO_MEDIA, Ear::Media),
        (NO_CONTROL, Ear::Control),
        (UNICAST, Ear::Group),
    ] {
        let mut bench = Bench::cut(FOLLOWER, air);
        let healed = CUT + Duration::from_secs(4);
        bench.run_to(healed - MICROSECOND);
        bench.air = ALL;
        // The first heartbeat comes at once, and so does the first frame.
        bench.run_to(healed + HEALED_AFTER - MICROSECOND);
        assert_eq!(bench.told(), [Told::Deaf(ear)]);
        assert_eq!(bench.reception.is_deaf(), ear != Ear::Control);
        bench.run_to(healed + HEALED_AFTER);
        let [_, Told::Again { after }] = bench.told()[..] else {
            panic!("{:?}", bench.told())
        };
        assert!((3_300..=3_700).contains(&after.as_millis()), "{after:?}");
        assert!(!bench.reception.is_deaf());
        let fetched = ear != Ear::Control;
        assert_eq!(bench.reception.fetches(), fetched, "for a while");
        let joined = bench.rejoins().len();
        bench.run_to(healed + HEALED_AFTER + FETCH_ON + QUIET);
        assert!(!bench.reception.fetches());
        assert_eq!(bench.rejoins().len(), joined, "no more");
        assert_eq!(bench.told().len(), 2);
    }
}

#[test]
fn what_does_not_get_through_may_change_and_each_is_said_once() {
    let mut bench = Bench::cut(FOLLOWER, UNICAST);
    bench.run_to(CUT + Duration::from_secs(3));
    bench.air = NO_MEDIA;
    bench.run_to(CUT + Duration::from_secs(6));
    bench.air = UNICAST;
    bench.run_to(CUT + Duration::from_secs(9));
    bench.air = NO_CONTROL;
    bench.run_to(CUT + Duration::from_secs(12));
    bench.air = ALL;
    bench.run_to(CUT + Duration::from_secs(15));
    let told = bench.told();
    let deaf = [Ear::Group, Ear::Media, Ear::Group, Ear::Control].map(Told::Deaf);
    assert_eq!(told[..4], deaf);
    assert!(matches!(told[4..], [Told::Again { .. }]), "{told:?}");
}

#[test]
fn a_network_that_comes_and_goes_is_not_said_to_do_so_for_ever() {
    let mut bench = Bench::new(FOLLOWER, ALL);
    for n in 0..100 {
        bench.air = NO_MEDIA;
        bench.run_to(CUT + Duration::from_secs(4 * n + 2));
        bench.air = ALL;
        bench.run_to(CUT + Duration::from_secs(4 * n + 4));
    }
    assert!(bench.told().len() <= 7, "{} lines", bench.told().len());
    assert!(bench.reception.is_deaf(), "it still fetches ahead");
    assert!(bench.rejoins().len() <= 30, "{:?}", bench.rejoins());
    // After a calm time it heals as fast as ever.
    bench.run_to(CUT + Duration::from_secs(500));
    assert!(!bench.reception.is_deaf());
    let told = bench.told().len();
    bench.air = NO_MEDIA;
    bench.run_to(CUT + Duration::from_secs(505));
    bench.air = ALL;
    bench.run_to(CUT + Duration::from_secs(506));
    assert_eq!(bench.told().len(), told + 2);
}

#[test]
fn whoever_expects_nothing_is_not_deaf() {
    for expected in [
        Expected::default(),
        Expected {
            media: false,
            beats: false,
            ..FOLLOWER
        },
    ] {
        let mut bench = Bench::new(expected, NOTHING);
        bench.run_to(CUT + Duration::from_secs(100));
        assert_eq!(bench.outputs(), []);
    }
    // The programme is over while it is deaf: nobody knows what would be heard now.
    let mut bench = Bench::cut(FOLLOWER, NO_MEDIA);
    bench.run_to(CUT + Duration::from_secs(3));
    bench.reception.set_expected(IDLE, bench.now);
    bench.run_to(CUT + Duration::from_secs(5));
    assert!(!bench.reception.is_deaf());
    assert_eq!(bench.told(), [Told::Deaf(Ear::Media)]);
    bench.reception.set_expected(FOLLOWER, bench.now);
    bench.run_to(CUT + Duration::from_secs(7));
    assert_eq!(bench.told(), [Told::Deaf(Ear::Media); 2]);
}

#[test]
fn another_station_has_its_second_too() {
    let mut bench = Bench::cut(FOLLOWER, NO_MEDIA);
    bench.run_to(LAST + QUIET - MICROSECOND);
    let station = Some(StationId(8));
    bench.reception.set_expected(
        Expected {
            station,
            ..FOLLOWER
        },
        bench.now,
    );
    let joined = bench.now;
    bench.run_to(joined + QUIET - MICROSECOND);
    assert_eq!(bench.told(), []);
    bench.run_to(joined + QUIET);
    assert_eq!(bench.told(), [Told::Deaf(Ear::Media)]);
}

/// The last hello before the cut.
const LAST_HELLO: Instant = Instant::from_micros(14_000_000);

#[test]
fn a_leader_that_is_answered_and_hears_no_hello_is_deaf_to_hellos_within_two_seconds() {
    // Its heirs confirm; or all that it has are listeners that do not.
    for confirms in [true, false] {
        let mut bench = Bench::cut(
            LEADER,
            Air {
                confirms,
                ..UNICAST
            },
        );
        if !confirms {
            bench = Bench::new(LEADER, LEADERLESS);
            bench.run_to(CUT - MICROSECOND);
            bench.air = UNICAST;
        }
        bench.run_to(LAST_HELLO + HELLO_EVERY - MICROSECOND);
        assert_eq!(bench.outputs(), []);
        let due = LAST_HELLO + HELLO_EVERY + calling::CALL_EVERY * 8;
        assert!(due < LAST_HELLO + Duration::from_secs(2));
        bench.run_to(due - MICROSECOND);
        assert_eq!((bench.told(), bench.calls().len()), (vec![], 8));
        bench.run_to(due);
        assert_eq!(bench.told(), [Told::Deaf(Ear::Hellos)]);
        assert_eq!(bench.rejoins().len(), 1);
        assert!(!bench.reception.is_deaf(), "it leads as well as before");
        // They are called about as often as they would say hello, as long as that is so.
        bench.run_to(CUT + Duration::from_secs(11));
        assert!(
            (16..=18).contains(&bench.calls().len()),
            "{:?}",
            bench.calls()
        );
        bench.air.hellos = true;
        bench.run_to(CUT + Duration::from_secs(13));
        assert!(matches!(bench.told()[..], [_, Told::Again { .. }]));
        let calls = bench.calls().len();
        bench.run_to(CUT + Duration::from_secs(60));
        assert_eq!((bench.told().len(), bench.calls().len()), (2, calls));
    }
}

#[test]
fn a_hello_that_was_lost_costs_one_call_and_others_that_are_gone_are_called_and_not_missed() {
    let mut bench = Bench::new(LEADER, LEADERLESS);
    bench.air.answers = true;
    bench.run_to(CUT - MICROSECOND);
    bench.air.hellos = false;
    bench.run_to(CUT + Duration::from_millis(99));
    bench.air.hellos = true;
    bench.run_to(CUT + Duration::from_secs(10));
    assert_eq!((bench.calls(), bench.told()), (vec![100], vec![]));
    // Nobody is there any more; after three hellos that is known.
    let mut bench = Bench::new(LEADER, LEADERLESS);
    bench.run_to(CUT - MICROSECOND);
    bench.air.hellos = false;
    bench.run_to(CUT + Duration::from_secs(2));
    let hellos = None;
    bench
        .reception
        .set_expected(Expected { hellos, ..LEADER }, bench.now);
    bench.run_to(CUT + Duration::from_secs(60));
    assert_eq!((bench.calls().len(), bench.outputs().len()), (8, 8));
}

#[test]
fn where_a_fifth_of_all_is_lost_a_leader_is_deaf_once_in_hours_and_if_it_is_it_finds_out() {
    const HOURS: u64 = 200;
    let mut random = Random::new(7);
    let mut lost = move || random.within(0..=4) == 0;
    let mut bench = Bench::new(LEADER, NOTHING);
    let mut alarms = 0;
    let mut calls = 0u64;
    let end = START + Duration::from_secs(HOURS * 3_600);
    let mut next_hello = START + QUIET;
    while bench.now < end {
        let wake = bench
            .reception
            .poll_timeout()
            .map_or(next_hello, |at| at.max(bench.now));
        bench.now = wake.min(next_hello);
        if bench.now == next_hello {
            next_hello += QUIET;
            if !lost() {
                bench.reception.handle(Heard::Hello, bench.now);
            }
        }
        bench.reception.handle_timeout(bench.now);
        while let Some(output) = bench.reception.poll_output() {
            alarms += u32::from(output == Output::Tell(Told::Deaf(Ear::Hellos)));
            calls += u64::from(output == Output::Call);
            if output == Output::Call && !lost() {
                let answers = [Heard::Hello, Heard::Greeting].into_iter();
                let heard: Vec<_> = answers.filter(|_| !lost()).collect();
                heard
                    .into_iter()
                    .for_each(|heard| bench.reception.handle(heard, bench.now));
            }
        }
    }
    println!("{alarms} in {HOURS} hours, {calls} calls");
    assert!(u64::from(alarms) <= HOURS / 4, "{alarms}");
    assert!(calls < HOURS * 3_600 / 2, "{calls}");
    // One that is deaf finds out all the same, if not always with the first round.
    let mut late = 0;
    for _ in 0..1_000 {
        let mut bench = Bench::new(LEADER, NOTHING);
        while bench.told().is_empty() {
            bench.now = bench.reception.poll_timeout().unwrap().max(bench.now);
            bench.reception.handle_timeout(bench.now);
            while let Some(output) = bench.reception.poll_output() {
                if output == Output::Call && !lost() && !lost() {
                    bench.reception.handle(Heard::Greeting, bench.now);
                }
                bench.log.push((bench.now, output));
            }
        }
        late += u32::from(bench.now > START + QUIET * 2);
    }
    assert!(late <= 40, "{late} of 1,000");
}

#[test]
fn a_leader_whom_nobody_confirms_any_more_asks_whether_another_one_leads() {
    // The last confirmation came with the last heartbeat, a tenth of a second before.
    let last = CUT - FRAME * 5;
    let mut bench = Bench::cut(LEADER, UNICAST);
    let other = |bench: &Bench| {
        let outputs = bench.outputs().into_iter();
        outputs
            .filter(|output| *output != Output::Call)
            .collect::<Vec<_>>()
    };
    bench.run_to(last + QUIET - MICROSECOND);
    assert_eq!(other(&bench), []);
    bench.run_to(last + QUIET);
    assert_eq!(other(&bench), [Output::Ask { widely: true }]);
    bench.run_to(last + QUIET + Duration::from_millis(1));
    assert_eq!(bench.told(), [Told::Deaf(Ear::Hellos)]);
    // It goes on asking: who of the two goes is not settled by one answer.
    bench.run_to(CUT + Duration::from_secs(3));
    assert!(bench.asks().len() >= 8, "{:?}", bench.asks());
    // It is replaced, and as deaf as before; or it hears again by then.
    for air in [UNICAST, ALL] {
        bench.reception.set_expected(FOLLOWER, bench.now);
        bench.air = air;
        bench.run_to(bench.now + QUIET * 2);
        let told = bench.told();
        match air {
            UNICAST => assert_eq!(told[1..], [Told::Deaf(Ear::Group)]),
            _ => assert!(matches!(told[2..], [Told::Again { .. }]), "{told:?}"),
        }
    }
    // Nobody answers: they are gone, or it is cut off.
    let mut bench = Bench::cut(LEADER, NOTHING);
    bench.run_to(last + QUIET + ALONE_AFTER);
    assert_eq!(bench.rejoins().len(), 1);
    bench.run_to(CUT + Duration::from_secs(60));
    assert_eq!(bench.told(), []);
    assert!((8..=12).contains(&bench.asks().len()), "{:?}", bench.asks());
    // Only its heirs are gone: others say hello as before, within a second at most.
    let mut bench = Bench::cut(LEADER, LEADERLESS);
    bench.run_to(CUT + Duration::from_secs(60));
    assert_eq!((bench.told(), bench.rejoins()), (vec![], vec![]));
    assert!(bench.asks().len() <= 4, "{:?}", bench.asks());
    assert_eq!(bench.calls(), [0i64; 0]);
    // It never had any heirs.
    let mut bench = Bench::new(LEADER, LEADERLESS);
    bench.run_to(CUT + Duration::from_secs(60));
    assert_eq!(bench.outputs(), []);
}

#[test]
fn in_a_large_station_all_ask_and_not_all_at_once() {
    let mut first = Vec::new();
    for seed in 0..200 {
        let mut bench = Bench::new(
            Expected {
                nodes: 1_000,
                ..FOLLOWER
            },
            ALL,
        );
        bench.reception.random = Random::new(seed);
        bench.run_to(CUT - MICROSECOND);
        bench.air = UNICAST;
        bench.run_to(CUT + Duration::from_secs(60));
        let asks = bench.asks();
        assert!(asks.len() <= 14, "{asks:?}");
        first.push(asks[0]);
        assert!(bench.reception.is_deaf());
    }
    let spread = first.iter().max().unwrap() - first.iter().min().unwrap();
    assert!(spread > 4_000, "{spread} ms");
}

#[test]
fn a_cable_that_is_out_is_said_after_half_a_second_and_nothing_is_asked() {
    for link in [
        Link::NoCarrier,
        Link::SwitchedOff,
        Link::NoAddress,
        Link::Gone,
    ] {
        let mut bench = Bench::cut(FOLLOWER, NOTHING);
        bench.run_to(CUT);
        bench.set_link(link);
        bench.run_to(CUT + TELL_AFTER - MICROSECOND);
        assert_eq!(bench.outputs(), [], "{link:?}");
        bench.run_to(CUT + TELL_AFTER);
        assert_eq!(bench.outputs(), [Output::Tell(Told::Link(link))]);
        bench.run_to(CUT + Duration::from_secs(3));
        assert_eq!(bench.outputs().len(), 1, "{link:?}");
        // It is back: the groups are joined and the leader is asked at once.
        bench.air = ALL;
        bench.set_link(Link::There);
        let after = Duration::from_secs(3);
        let back = [
            Output::Tell(Told::Back { after }),
            Output::Rejoin,
            Output::Ask { widely: false },
        ];
        assert_eq!(bench.outputs()[1..], back, "{link:?}");
        bench.run_to(CUT + Duration::from_secs(10));
        assert_eq!(bench.outputs().len(), 4, "{link:?}: nothing more");
    }
}

#[test]
fn a_short_flap_is_not_said_but_the_groups_are_joined_again() {
    let mut bench = Bench::cut(FOLLOWER, NOTHING);
    bench.run_to(CUT);
    bench.set_link(Link::SwitchedOff);
    bench.set_link(Link::Gone);
    bench.run_to(CUT + TELL_AFTER - MICROSECOND);
    bench.air = ALL;
    bench.set_link(Link::There);
    bench.run_to(CUT + Duration::from_secs(5));
    assert_eq!(
        bench.outputs(),
        [Output::Rejoin, Output::Ask { widely: false }]
    );
}

#[test]
fn an_interface_that_was_switched_off_from_the_start_is_not_told_twice() {
    let mut reception = Reception::new(START, 1, true);
    reception.set_link(Link::SwitchedOff, START);
    reception.handle_timeout(START + QUIET * 60);
    assert_eq!(reception.poll_output(), None);
    reception.set_link(Link::There, START + QUIET * 70);
    let after = QUIET * 70;
    assert_eq!(
        reception.poll_output(),
        Some(Output::Tell(Told::Back { after }))
    );
}

#[test]
fn after_a_cable_deafness_is_found_anew() {
    let mut bench = Bench::cut(FOLLOWER, NOTHING);
    bench.run_to(CUT);
    bench.set_link(Link::NoCarrier);
    bench.run_to(CUT + Duration::from_secs(2));
    bench.air = UNICAST;
    bench.set_link(Link::There);
    let back = bench.now;
    bench.run_to(back + QUIET - MICROSECOND);
    assert_eq!(bench.told().len(), 2, "gone, and back");
    bench.run_to(back + QUIET + Duration::from_millis(2));
    assert_eq!(bench.told()[2..], [Told::Deaf(Ear::Group)]);
}

#[test]
fn another_address_and_another_interface_of_the_same_name_are_said_at_once() {
    let mut bench = Bench::cut(FOLLOWER, ALL);
    let [before, now] = ["10.0.0.5", "10.0.0.7"].map(|text| text.parse().unwrap());
    bench
        .reception
        .handle_moved(true, Some((now, before)), bench.now);
    bench.wake();
    assert_eq!(bench.told(), [Told::Remade, Told::Address { now, before }]);
    // Who knows that it was gone is told that it is back.
    let mut bench = Bench::cut(FOLLOWER, NOTHING);
    bench.set_link(Link::Gone);
    bench.run_to(CUT + QUIET);
    bench.reception.handle_moved(true, None, bench.now);
    bench.set_link(Link::There);
    assert!(matches!(
        bench.told()[..],
        [Told::Link(Link::Gone), Told::Back { .. }]
    ));
}

#[test]
fn who_stood_still_and_missed_everything_joins_and_asks_at_once() {
    let mut bench = Bench::cut(FOLLOWER, ALL);
    bench.now = CUT + Duration::from_secs(600);
    bench.wake();
    assert_eq!(
        bench.outputs(),
        [Output::Rejoin, Output::Ask { widely: false }]
    );
    bench.run_to(bench.now + Duration::from_secs(5));
    assert_eq!(bench.outputs().len(), 2, "all is heard: nothing to say");
    // Still deaf after a second: that is said.
    let mut bench = Bench::cut(FOLLOWER, UNICAST);
    bench.now = CUT + Duration::from_secs(600);
    bench.wake();
    let woke = bench.now;
    bench.run_to(woke + QUIET - MICROSECOND);
    assert_eq!(bench.told(), []);
    bench.run_to(woke + QUIET + Duration::from_millis(2));
    assert_eq!(bench.told(), [Told::Deaf(Ear::Group)]);
    // A process that was stopped finds what was sent meanwhile in its sockets.
    let mut bench = Bench::cut(FOLLOWER, ALL);
    bench.now = CUT + Duration::from_secs(3);
    bench.reception.handle(Heard::Media, bench.now - FRAME);
    bench.reception.handle(Heard::Beat, bench.now - FRAME);
    bench.wake();
    assert_eq!(bench.outputs(), []);
}

#[test]
fn the_membership_is_renewed_about_once_a_minute_between_two_frames() {
    for (expected, air) in [(FOLLOWER, ALL), (IDLE, ALL), (Expected::default(), NOTHING)] {
        let mut bench = Bench::new(expected, air);
        bench.run_to(START + Duration::from_secs(3_600));
        let renewals: Vec<Instant> = (bench.log.iter())
            .filter(|(_, output)| *output == Output::Renew)
            .map(|(at, _)| *at)
            .collect();
        assert!((52..=72).contains(&renewals.len()), "{}", renewals.len());
        let waits: std::collections::BTreeSet<_> = renewals
            .windows(2)
            .map(|pair| pair[1].since(pair[0]).as_millis())
            .collect();
        assert!(waits.len() > 40, "not in step with others: {waits:?}");
        let phases = renewals
            .iter()
            .map(|at| at.since(START).as_micros() % FRAME.as_micros());
        let phases: Vec<_> = phases.collect();
        let is_between = |phase: &u128| (2_000..=14_000).contains(phase);
        assert!(
            !expected.media || phases.iter().all(is_between),
            "{phases:?}"
        );
        assert_eq!(bench.outputs(), []);
    }
}

#[test]
fn a_node_that_hears_all_is_not_woken_for_it() {
    let mut bench = Bench::cut(FOLLOWER, ALL);
    for _ in 0..100 {
        bench.run_to(bench.now + FRAME);
        let next = bench.reception.poll_timeout().expect("a time");
        let renewal = bench.reception.look_at.since(bench.now) < FRAME * 3;
        assert!(next.since(bench.now) > FRAME * 2 || renewal, "{next}");
    }
}

#[test]
fn who_waits_for_a_station_asks_now_and_then_and_at_once_when_it_was_away() {
    let waits = Expected {
        seeks: true,
        ..Expected::default()
    };
    let mut bench = Bench::new(waits, NOTHING);
    bench.run_to(START + Duration::from_secs(3_600));
    let sought = |bench: &Bench| bench.times(|output| *output == Output::Seek);
    let times = sought(&bench);
    assert!((60..=120).contains(&times.len()), "{}", times.len());
    let mut waits = times.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(waits.all(|ms| (30_000..=60_000).contains(&ms)));
    bench.set_link(Link::NoCarrier);
    bench.run_to(bench.now + Duration::from_secs(120));
    assert_eq!(sought(&bench).len(), times.len());
    bench.set_link(Link::There);
    assert_eq!(sought(&bench).len(), times.len() + 1, "it is back");
    bench.now += Duration::from_secs(600);
    bench.wake();
    assert_eq!(sought(&bench).len(), times.len() + 2, "it slept");
}
