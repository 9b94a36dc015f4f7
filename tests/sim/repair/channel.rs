//! Which packets does a bad network drop?

use std::collections::VecDeque;

use lanradio::station::random::Random;

/// A bad channel is one or the other for as long as a frame at least.
pub(crate) const SLOT_US: u64 = 20_000;
const MILLION: u64 = 1_000_000;
/// Bursts that are remembered: those of many buffers.
const REMEMBERED: usize = 64;

/// What the network drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// So many of a hundred packets, each by itself.
    Random(u64),
    /// Everything for a while, and 5 % in all: a Gilbert-Elliott channel that may change every 20 ms; a burst's mean length in ms.
    Bursts(u64),
}

impl Loss {
    /// What is lost in the long run, in per cent.
    pub(crate) const fn percent(self) -> u64 {
        match self {
            Loss::Random(percent) => percent,
            Loss::Bursts(_) => 5,
        }
    }
}

/// A way through the network, over time.
pub(crate) struct Channel {
    loss: Loss,
    random: Random,
    /// Up to this slot it is known what the channel did.
    slot: u64,
    /// Since when nothing passes.
    bad_since: Option<u64>,
    /// The last bursts, from and to when.
    bursts: VecDeque<(u64, u64)>,
}

impl Channel {
    /// A channel of which nothing was lost before `from_us`.
    pub(crate) fn new(loss: Loss, seed: u64, from_us: u64) -> Channel {
        Channel {
            loss,
            random: Random::new(seed),
            slot: from_us / SLOT_US,
            bad_since: None,
            bursts: VecDeque::new(),
        }
    }

    /// Whether a packet is lost that is sent now. Time does not go back.
    pub(crate) fn drops(&mut self, now_us: u64) -> bool {
        match self.loss {
            Loss::Random(percent) => self.chance(percent * MILLION / 100),
            Loss::Bursts(_) => self.bad_since(now_us).is_some(),
        }
    }

    /// Whether nothing at all has passed from one time to another one, which is over.
    pub(crate) fn was_closed(&self, from_us: u64, to_us: u64) -> bool {
        let now = self.bad_since.map(|since| (since, u64::MAX));
        let mut bursts = self.bursts.iter().copied().chain(now);
        bursts.any(|(began, ended)| began <= from_us && to_us <= ended)
    }

    /// Since when nothing has passed, if nothing passes now.
    fn bad_since(&mut self, now_us: u64) -> Option<u64> {
        let Loss::Bursts(mean_ms) = self.loss else {
            return None;
        };
        let ends = SLOT_US * 1_000 / mean_ms; // of a million slots of a burst, so many are its last
        let percent = self.loss.percent();
        let begins = ends * percent / (100 - percent);
        while self.slot < now_us / SLOT_US {
            self.slot += 1;
            let changes = self.chance(if self.bad_since.is_some() {
                ends
            } else {
                begins
            });
            let slot_us = self.slot * SLOT_US;
            match self.bad_since.filter(|_| changes) {
                Some(since) => {
                    self.bad_since = None;
                    self.bursts.push_back((since, slot_us));
                    if self.bursts.len() > REMEMBERED {
                        self.bursts.pop_front();
                    }
                }
                None if changes => self.bad_since = Some(slot_us),
                None => {}
            }
        }
        self.bad_since
    }

    fn chance(&mut self, of_a_million: u64) -> bool {
        self.random.bits() % MILLION < of_a_million
    }
}

/// What is lost in the long run, and for how long, is what was asked for.
#[test]
fn bursts_are_as_long_and_as_many_as_they_should_be() {
    for mean_ms in [60, 100, 200] {
        let mut channel = Channel::new(Loss::Bursts(mean_ms), 1, 0);
        let slots = 2_000_000;
        let (mut lost, mut bursts, mut before) = (0, 0, None);
        for slot in 0..slots {
            let since = channel.bad_since(slot * SLOT_US + 7);
            lost += u64::from(since.is_some());
            bursts += u64::from(since.is_some() && since != before);
            before = since;
        }
        let (percent, ms) = (
            lost as f64 * 100.0 / slots as f64,
            lost as f64 * 20.0 / bursts as f64,
        );
        assert!((4.8..5.2).contains(&percent), "{mean_ms}: {percent} %");
        let deviation = ms / mean_ms as f64;
        assert!((0.97..1.03).contains(&deviation), "{mean_ms}: {ms} ms");
    }
}
