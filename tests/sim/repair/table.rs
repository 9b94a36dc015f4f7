//! How is the table written down, and what must be true of each of its rows?

use super::channel::Loss;
use super::pair::{Setup, Tally};
use super::{MOST_REPAIRS, TO_BEAT};

/// One row: a cell without and with a replica.
pub(crate) struct Row<'a> {
    pub(crate) setup: Setup,
    pub(crate) to_beat: Option<f64>,
    pub(crate) without: &'a Tally,
    pub(crate) with: &'a Tally,
}

/// What the columns are.
pub(crate) fn head() -> String {
    assert_eq!(TO_BEAT.len(), super::LOSSES.len());
    "\
What the network drops, and what of it is heard. Made by `cargo test --test sim repair`, in virtual time: a sender, and a listener
that asks it for what is lost (--no-standby); another one that stands by and has a replica. 128 kbit/s are 50 packets a second; wires
take 0.05 to 0.4 ms, machines wake up to 0.3 ms late, and clocks drift apart by 110 ppm.

Lost are media, heartbeats and repairs alike: each packet by itself with the same probability; or all for a while, 5 % of the time
(bursts): a Gilbert-Elliott channel which every 20 ms may change, with geometric bursts of that length on average. Where it changes
lies anywhere between two frames.

  lost          frames of the stream that did not come, in per cent
  residual      frames that were played without data, in per cent
  floor         those of them during whose whole buffer nothing passed at all: no repair can be better
  to beat       the best of what we know (NACK), in per cent
  repairs       sent, in per cent of the stream, and for each frame lost
  NACKs         sent for each frame lost
  p50, p99      from the first question to the answer, in ms
  replica       residual of the listener that has one, in per cent
"
    .into()
}

/// The heading of a part.
pub(crate) fn title(what: &str) -> String {
    format!(
        "\n{what}\n\n{:<15} {:>7} {:>7} {:>8} {:>8} {:>7} | {:>7} {:>6} {:>6} | {:>6} {:>6} | {:>8}\n",
        "loss",
        "buffer",
        "lost",
        "residual",
        "floor",
        "to beat",
        "repairs",
        "each",
        "NACKs",
        "p50",
        "p99",
        "replica"
    )
}

impl Row<'_> {
    /// As it stands in the table.
    pub(crate) fn line(&self) -> String {
        let Tally { decided, lost, .. } = *self.without;
        let ms = |percent| {
            let ms = self.without.latency_ms(percent);
            ms.map_or("-".into(), |ms| format!("{ms:.1}"))
        };
        format!(
            "{:<15} {:>4} ms {:>7.3} {:>8.5} {:>8.5} {:>7} | {:>7.3} {:>6.3} {:>6.3} | {:>6} {:>6} | {:>8.5}\n",
            name(self.setup.loss),
            self.setup.buffer_ms,
            percent(lost, decided),
            percent(self.without.concealed, decided),
            percent(self.without.hopeless, decided),
            self.to_beat.map_or("-".into(), |most| most.to_string()),
            percent(self.without.repairs, decided),
            ratio(self.without.repairs, lost),
            ratio(self.without.nacks, lost),
            ms(50),
            ms(99),
            percent(self.with.concealed, self.with.decided),
        )
    }

    /// What is not as it must be. A short run says little of what is rare.
    pub(crate) fn faults(&self, in_full: bool) -> Vec<String> {
        let Row { setup, without, .. } = self;
        let mut faults = Vec::new();
        let residual = percent(without.concealed, without.decided);
        let judged = in_full || matches!(setup.loss, Loss::Random(_));
        if let Some(most) = self.to_beat.filter(|most| judged && residual > *most) {
            faults.push(format!("{setup:?}: {residual} %, and {most} is to beat"));
        }
        if self.with.concealed > 0 || self.with.nacks > 0 {
            let Tally {
                concealed, nacks, ..
            } = self.with;
            let text =
                format!("{setup:?}: {concealed} frames concealed, {nacks} NACKs with a replica");
            faults.push(text);
        }
        let repairs = ratio(without.repairs, without.lost);
        if repairs > MOST_REPAIRS {
            faults.push(format!("{setup:?}: {repairs} repairs for each frame lost"));
        }
        faults
    }
}

fn name(loss: Loss) -> String {
    match loss {
        Loss::Random(percent) => format!("{percent} %"),
        Loss::Bursts(mean_ms) => format!("bursts, {mean_ms} ms"),
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn percent(part: u64, whole: u64) -> f64 {
    ratio(part, whole) * 100.0
}
