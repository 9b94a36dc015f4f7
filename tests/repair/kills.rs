//! Packets are lost, and then the leader: who repairs when nobody leads?

use std::ops::Range;

use crate::heard::assert_heard;
use crate::losses::{Lossy, assert_counted, assert_thrifty, lost_bytes};
use crate::report::Goal;
use crate::scene::random_between;
use crate::song::Song;
use crate::station::{Roster, SENDER, Station};
use crate::wire::{Expected, Trouble};
use crate::{figure, times};

const SECOND: i64 = 1_000_000_000;
const ROSTER: Roster = Roster {
    heirs: 2,
    plain: 2,
    spare: 0,
    silent: false,
};

/// A station of which some hosts lose packets, and whose leader is killed in the middle.
struct Killed {
    station: Station,
    lossy: Lossy,
    lossy_ns: i64,
    at_ns: i64,
}

impl Killed {
    fn with_loss(
        per_cent: u32,
        hosts: fn(&Station) -> Range<usize>,
        seconds: usize,
    ) -> Option<Killed> {
        let station = Station::start(&Song::of(seconds + 2), ROSTER)?;
        station.sleep_until_s(1.5);
        let lossy = Lossy::start(&station, hosts(&station), per_cent * 10);
        let lossy_ns = crate::stalls::now_ns();
        station.sleep_until_s(1.5 + seconds as f64 / 2.0 + random_between(0.0, 0.1));
        let at_ns = station.kill(SENDER);
        let mut killed = Killed {
            station,
            lossy,
            lossy_ns,
            at_ns,
        };
        killed.station.end(&[SENDER]);
        Some(killed)
    }

    /// All listeners heard everything, and were repaired at little cost; `troubles` are what the wire is excused for.
    fn assert_unheard(&self, troubles: Vec<Trouble>) -> usize {
        let station = &self.station;
        let wire = station.wire();
        wire.assert(&Expected {
            troubles,
            ..station.expected()
        });
        let repeats = wire.repeats().len();
        let replaced = wire.replaced(self.at_ns, station.host(SENDER).ip.into());
        let after_ms = (replaced.expect("a sender").0 - self.at_ns) as f64 / 1e6;
        println!("replaced after {after_ms:.0} ms, {repeats} frames twice");
        let traffic = station.taps.sent();
        traffic.assert_right(&wire);
        let of_heirs = station.heirs().map(|heir| station.taps.sent_by(heir));
        let by_heirs: usize = of_heirs.map(|sent| sent.repairs().packets).sum();
        println!("{by_heirs} repairs by heirs");
        let dropped = self.lossy.dropped(&wire);
        // Where a dozen or less is lost, it may all have been before.
        let lost: usize = dropped.iter().map(|(_, dropped)| dropped.len()).sum();
        assert!(
            by_heirs > 0 || lost <= 12,
            "heirs repair when the leader is gone"
        );
        let mut concealed = 0;
        for host in station.listeners() {
            concealed += assert_heard(station, host, &wire);
        }
        for (host, dropped) in dropped
            .iter()
            .filter(|(host, _)| station.plain().contains(host))
        {
            assert_counted(station, *host, dropped);
        }
        assert_thrifty(&traffic, lost_bytes(&wire, &dropped));
        concealed
    }
}

/// Of the frames that two heirs and two listeners play in a minute, so many may be concealed at this loss.
fn kill_while_listeners_lose(per_cent: u32, most_concealed: usize, test: &str) {
    let seconds = times(9, 60);
    let Some(killed) = Killed::with_loss(per_cent, Station::plain, seconds) else {
        return;
    };
    let concealed = killed.assert_unheard(vec![Trouble::loss(killed.at_ns)]);
    figure(
        &format!(
            "frames concealed at {per_cent} % loss when the leader is killed, in a minute of four listeners"
        ),
        ("", vec![concealed as f64]),
        Some(Goal::AtMost(most_concealed as f64)),
        "–",
        test,
    );
    assert!(concealed <= most_concealed, "{concealed} concealed");
}

#[test]
fn leader_killed_while_listeners_lose_a_hundredth_is_not_heard() {
    kill_while_listeners_lose(1, 0, "killed_while_listeners_lose_a_hundredth");
}

#[test]
fn leader_killed_while_listeners_lose_a_twentieth_is_not_heard() {
    kill_while_listeners_lose(5, 0, "killed_while_listeners_lose_a_twentieth");
}

#[test]
fn leader_killed_while_listeners_lose_a_tenth_is_not_heard() {
    kill_while_listeners_lose(10, 0, "killed_while_listeners_lose_a_tenth");
}

#[test]
fn leader_killed_while_listeners_lose_a_fifth_costs_a_frame_of_ten_thousand() {
    kill_while_listeners_lose(20, 1, "killed_while_listeners_lose_a_fifth");
}

#[test]
fn leader_killed_while_heirs_and_listeners_lose_a_tenth_is_not_heard() {
    let seconds = times(9, 60);
    let Some(killed) = Killed::with_loss(10, Station::listeners, seconds) else {
        return;
    };
    // Heirs that miss two frames in a row send them, rightly, for all that they know.
    let covers = Trouble {
        from_ns: killed.lossy_ns - SECOND / 10,
        to_ns: i64::MAX,
        repeats: usize::MAX,
    };
    assert_eq!(killed.assert_unheard(vec![covers]), 0);
}
