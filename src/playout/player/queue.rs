//! What has been decided and not been told yet.
//!
//! Usually a handful of outputs. After an hour without a network there are 180,000 concealed frames: a stretch of them is one entry.
//! And a listener that was stopped decides frames while it drains its sockets, which then need their places in the ring: their
//! payloads are saved here until they were told.

use std::collections::VecDeque;

use super::{Concealment, Output};
use crate::wire::FrameIndex;

/// Payloads saved at most: more than a socket's receive buffer of 4 MiB holds. Then packets are rejected (`full`).
const SAVED_LIMIT: usize = 8192;

#[derive(Debug)]
enum Entry {
    One(Output),
    /// Concealed frames `from..to`, with `hole` concealed ones right before them.
    Hole {
        from: FrameIndex,
        to: FrameIndex,
        hole: u64,
    },
}

impl Entry {
    /// The first frame that it decides.
    fn index(&self) -> Option<FrameIndex> {
        match self {
            Entry::One(Output::Preroll { index } | Output::Play { index }) => Some(*index),
            Entry::One(_) => None,
            Entry::Hole { from, .. } => Some(*from),
        }
    }
}

/// Outputs in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    saved: VecDeque<(FrameIndex, Vec<u8>)>,
}

impl Queue {
    pub(super) fn push(&mut self, output: Output) {
        self.entries.push_back(Entry::One(output));
    }

    /// Frame `index` is concealed; `hole` frames right before it were.
    pub(super) fn push_concealed(&mut self, index: FrameIndex, hole: u64) {
        match self.entries.back_mut() {
            Some(Entry::Hole { to, .. }) if *to == index && hole > 0 => *to = index.plus(1),
            _ => self.entries.push_back(Entry::Hole {
                from: index,
                to: index.plus(1),
                hole,
            }),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        let output = match self.entries.pop_front()? {
            Entry::One(output) => output,
            Entry::Hole { from, to, hole } => {
                if from.plus(1) < to {
                    self.entries.push_front(Entry::Hole {
                        from: from.plus(1),
                        to,
                        hole: hole + 1,
                    });
                }
                Output::Conceal {
                    index: from,
                    concealment: Concealment::after(hole),
                }
            }
        };
        if let Output::Preroll { index } | Output::Play { index } | Output::Conceal { index, .. } =
            output
        {
            while self.saved.front().is_some_and(|(saved, _)| *saved < index) {
                self.saved.pop_front();
            }
        }
        Some(output)
    }

    /// Whether a frame that was decided is still to be told.
    pub(super) fn has_frames(&self) -> bool {
        self.entries.iter().any(|entry| entry.index().is_some())
    }

    /// Whether the payload of `index`, which was decided, is still to be told: indices are told in order.
    pub(super) fn needs(&self, index: FrameIndex) -> bool {
        self.entries
            .iter()
            .find_map(Entry::index)
            .is_some_and(|first| first <= index)
    }

    pub(super) fn is_full(&self) -> bool {
        self.saved.len() >= SAVED_LIMIT
    }

    /// Saves a payload whose place is needed.
    pub(super) fn save(&mut self, index: FrameIndex, payload: &[u8]) {
        let at = self.saved.partition_point(|(saved, _)| *saved < index);
        self.saved.insert(at, (index, payload.to_vec()));
    }

    pub(super) fn saved(&self, index: FrameIndex) -> Option<&[u8]> {
        let at = self
            .saved
            .binary_search_by_key(&index, |(saved, _)| *saved)
            .ok()?;
        Some(&self.saved[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_concealment_is_one_entry_and_fades_once() {
        let mut queue = Queue::default();
        for n in 0..180_000 {
            queue.push_concealed(FrameIndex(n), n + 2);
        }
        assert_eq!(queue.entries.len(), 1);
        for n in 0..180_000 {
            let concealment = Concealment::after(n + 2);
            assert_eq!(
                queue.pop(),
                Some(Output::Conceal {
                    index: FrameIndex(n),
                    concealment
                })
            );
        }
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn saved_payloads_last_until_they_were_told() {
        let mut queue = Queue::default();
        for n in 0..3 {
            queue.push(Output::Play {
                index: FrameIndex(n),
            });
            queue.save(FrameIndex(n), &[n as u8]);
        }
        assert!(queue.needs(FrameIndex(2)));
        for n in 0..3u8 {
            queue.pop();
            assert_eq!(queue.saved(FrameIndex(n.into())), Some([n].as_slice()));
            assert!(!queue.needs(FrameIndex(n.into())));
        }
        assert_eq!(queue.saved(FrameIndex(1)), None);
    }
}
