//! A listener is cut off, or stands still, and comes back: how soon, and at the right place?

use nix::sys::signal::Signal;

use crate::growth::Growth;
use crate::heard::{count, wrong_in};
use crate::net::{Host, ip_inside};
use crate::report::Goal;
use crate::scene::{random_between, sleep_until, summary};
use crate::song::Song;
use crate::stalls::{self, now_ns};
use crate::station::{Roster, Station, name};
use crate::wire::Wire;
use crate::{figure, measure, times};

const SECOND: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;
const BUFFER_NS: i64 = 500 * MS;
/// How soon sound must be back.
const SOON_MS: f64 = 300.0;
/// As much as two listeners may be apart, with a watch that looks every millisecond.
const IN_STEP_MS: f64 = 12.0;

/// How a listener is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The switch's side of the cable goes down: the listener sees that its link is gone.
    SwitchDown,
    /// The listener's own interface goes down: its routes are gone, too.
    OwnDown,
    /// The port is taken out of the switch: the link stays, and nothing comes.
    Unplugged,
    /// The process stands still, and its host goes on: its sockets fill.
    Stopped,
    /// The process and the link stand still, as when a laptop sleeps.
    Asleep,
}

const WAYS: [Way; 5] = [
    Way::SwitchDown,
    Way::OwnDown,
    Way::Unplugged,
    Way::Stopped,
    Way::Asleep,
];

impl Way {
    fn what(self) -> &'static str {
        match self {
            Way::SwitchDown => "cable out for 3 s",
            Way::OwnDown => "interface down for 3 s",
            Way::Unplugged => "cable out for 3 s behind another switch (no link event)",
            Way::Stopped => "listener stopped for 2 s",
            Way::Asleep => "listener and link stopped for 3 s, as in a suspend",
        }
    }

    /// How long it lasts, at least.
    fn lasts_ns(self) -> i64 {
        match self {
            Way::Stopped => 2 * SECOND,
            _ => 3 * SECOND,
        }
    }

    fn begin(self, station: &Station, host: usize) {
        let (node, host) = (&station.nodes[host], station.host(host));
        match self {
            Way::SwitchDown => host.cut_cable(),
            Way::OwnDown => own_link(host, "down"),
            Way::Unplugged => switch_port(host, &["nomaster"]),
            Way::Stopped => node.signal(Signal::SIGSTOP),
            Way::Asleep => {
                node.signal(Signal::SIGSTOP);
                host.cut_cable();
            }
        }
    }

    fn end(self, station: &Station, host: usize) {
        let (node, host) = (&station.nodes[host], station.host(host));
        match self {
            Way::SwitchDown => host.mend_cable(),
            Way::OwnDown => {
                own_link(host, "up");
                // As whatever configures a host's network does.
                let route = ["route", "add", "224.0.0.0/4", "dev", "lan0"];
                ip_inside(&host.namespace, &route);
            }
            Way::Unplugged => switch_port(host, &["master", "sw"]),
            Way::Stopped => node.signal(Signal::SIGCONT),
            Way::Asleep => {
                host.mend_cable();
                node.signal(Signal::SIGCONT);
            }
        }
    }
}

fn own_link(host: &Host, state: &str) {
    ip_inside(&host.namespace, &["link", "set", "lan0", state]);
}

fn switch_port(host: &Host, what: &[&str]) {
    let command = [&["link", "set", host.port.as_str()][..], what].concat();
    ip_inside(&host.switch, &command);
}

/// The listener that nothing happens to.
const STEADY: usize = 1;

/// One listener's outage.
struct Outage {
    way: Way,
    host: usize,
    from_ns: i64,
    /// Right before the link was put back or the process continued.
    back_ns: i64,
}

/// What came of it.
struct Return {
    way: Way,
    /// From the link to the first block from which on all is right and in step.
    after_ms: f64,
    concealed: usize,
    excused: bool,
    /// What was wrong with it, but for the time that it took.
    complaints: Vec<String>,
}

impl Outage {
    fn file(&self) -> usize {
        self.host - STEADY
    }

    /// Every frame once, those of the outage's time concealed at most, and soon all right and in step.
    fn judge(&self, station: &Station, wire: &Wire, growth: &Growth) -> Return {
        let Outage { way, host, .. } = *self;
        let (heard, sent) = (station.heard(host), wire.blocks());
        assert_eq!(heard.len(), sent.len(), "{way:?}: each frame once");
        let concealed = count(&station.nodes[host], "concealed");
        let received = count(&station.nodes[host], "received");
        assert_eq!(received + concealed, sent.len(), "{way:?}");
        let wrong = wrong_in(&heard, &sent, 0..sent.len());
        // In a stall right at the beginning or the end, the frames next to the outage are lost, too.
        let excused = stalls::excuse(way.what(), self.from_ns, self.from_ns + SECOND / 5)
            || stalls::excuse(way.what(), self.back_ns, self.back_ns + SECOND);
        let off_ms = |block: usize| {
            let at = |file: usize| growth.written_ns(file, block).expect("a block");
            (at(self.file()) - at(0)) as f64 / 1e6
        };
        // From the last block that is wrong or out of step, on.
        let stray = (0..sent.len()).rev().find(|block| {
            let stalled = || {
                let sent_ns = wire.sent_ns(*block);
                stalls::touching(&stalls::log(), sent_ns, sent_ns + BUFFER_NS, 20).is_some()
            };
            heard[*block] != sent[*block] || (off_ms(*block).abs() > IN_STEP_MS && !stalled())
        });
        let stray = stray.unwrap_or(0);
        let back = (stray + 1).min(sent.len() - 1);
        let back_at_ns = growth.written_ns(self.file(), back).expect("a block");
        let after_ms = (back_at_ns - self.back_ns) as f64 / 1e6;
        println!(
            "{way:?}: {concealed} concealed, wrong {:?} to {:?}; right and in step from block {back} on, {after_ms:.0} ms after ({:+.1} ms beside the other)",
            wrong.first(),
            wrong.last(),
            off_ms(back),
        );
        let mut complaints = Vec::new();
        if let (Some(first), Some(last)) = (wrong.first(), wrong.last())
            && !excused
        {
            if wire.sent_ns(*first) < self.from_ns {
                complaints.push(format!("{way:?}: frame {first} was there"));
            }
            let latest_ns = self.back_ns + (SOON_MS * 1e6) as i64 - BUFFER_NS;
            if wire.sent_ns(*last) > latest_ns {
                complaints.push(format!("{way:?}: frame {last} was to be had"));
            }
        }
        Return {
            way,
            after_ms,
            concealed,
            excused,
            complaints,
        }
    }
}

/// All the ways, one after the other in the same seconds, each at a listener of its own.
fn outages() -> Option<Vec<Return>> {
    let song = Song::of(10);
    let mut station = Station::measured(&song, Roster::plain(1 + WAYS.len()))?;
    let files = (STEADY..).take(1 + WAYS.len());
    let growth = Growth::watch(files.map(|host| station.lan.wav(&name(host))).collect());
    // Each begins a little after the one before, so that no command waits for another, and at any place within a frame.
    let begin_ns =
        |place: usize| station.at_s(2.0 + 0.1 * place as f64 + random_between(0.0, 0.05));
    let mut outages = Vec::new();
    for (place, way) in WAYS.into_iter().enumerate() {
        sleep_until(begin_ns(place));
        let host = STEADY + 1 + place;
        let from_ns = now_ns();
        way.begin(&station, host);
        outages.push(Outage {
            way,
            host,
            from_ns,
            back_ns: from_ns + way.lasts_ns() + random_between(0.0, 3e8) as i64,
        });
    }
    outages.sort_by_key(|outage| outage.back_ns);
    for outage in &mut outages {
        sleep_until(outage.back_ns);
        outage.back_ns = now_ns();
        outage.way.end(&station, outage.host);
    }
    station.end(&[]);
    let wire = station.wire();
    station.assert_undisturbed(&wire);
    let steady = crate::heard::assert_heard(&station, STEADY, &wire);
    assert_eq!(steady, 0, "nothing happened to it");
    if crate::tells() {
        let outage = &outages[1];
        println!("outage {:?} of host {}", outage.way, outage.host);
        station
            .taps
            .tell(outage.back_ns - 100_000_000, outage.back_ns + 700_000_000);
    }
    let judge = |outage: &Outage| outage.judge(&station, &wire, &growth);
    Some(outages.iter().map(judge).collect())
}

#[test]
fn listener_that_was_cut_off_or_stood_still_is_back_in_step_within_300_ms() {
    let mut returns = Vec::new();
    for _ in 0..times(1, 5) {
        let Some(more) = outages() else { return };
        returns.extend(more);
    }
    let mut complaints: Vec<_> = returns
        .iter()
        .flat_map(|back| back.complaints.clone())
        .collect();
    for way in WAYS {
        let of_way = returns.iter().filter(|back| back.way == way);
        let calm: Vec<_> = of_way.filter(|back| !back.excused).collect();
        let after: Vec<_> = calm.iter().map(|back| back.after_ms).collect();
        if after.is_empty() {
            println!("{way:?}: in a stall each time, nothing is measured");
            continue;
        }
        let concealed: Vec<_> = calm.iter().map(|back| back.concealed as f64).collect();
        println!("{way:?}: back after, ms: {}", summary(&after));
        let frames = measure::percentile(&concealed, 50.0);
        let note = format!("{frames:.0} frames concealed in the median");
        figure(
            &format!(
                "{}: from its end to sound that is exact and in step",
                way.what()
            ),
            ("ms", after.clone()),
            Some(Goal::AtMost(SOON_MS)),
            &note,
            "cut_off_or_stood_still",
        );
        if measure::percentile(&after, 50.0) > SOON_MS {
            complaints.push(format!("{way:?}: back after {after:.0?} ms"));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}
