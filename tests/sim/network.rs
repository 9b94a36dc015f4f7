//! How do packets get from one host to another, and which do not?

use crate::world::{Channel, Packet, What, World};

/// What the network does to packets.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) loss_permille: u64,
    /// So many of ten thousand packets are the first of a burst that is lost.
    pub(crate) bursts: u64,
    pub(crate) duplicate_permille: u64,
    pub(crate) delay_us: (u64, u64),
}

impl World {
    pub(crate) fn hears(&self, from: usize, to: usize) -> bool {
        self.parts[from] == self.parts[to] && !self.cuts.contains(&(from, to))
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.cuts.is_empty()
            && self.muffled.is_empty()
            && self.parts.iter().all(|part| *part == self.parts[0])
    }

    pub(crate) fn multicast(&mut self, from: usize, channel: Channel, bytes: &[u8]) {
        for to in 0..self.hosts.len() {
            if to != from && !self.muffled.contains(&(from, to)) {
                self.send(from, to, channel, bytes);
            }
        }
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, channel: Channel, bytes: &[u8]) {
        let (least, most) = self.network.delay_us;
        let copies = 1 + u64::from(self.random(1_000) < self.network.duplicate_permille);
        if self.network.bursts > 0 && self.random(10_000) < self.network.bursts {
            let until = self.now_us + 20_000 + self.random(130_000);
            self.deaf_until.insert((from, to), until);
        }
        let deaf = self
            .deaf_until
            .get(&(from, to))
            .is_some_and(|until| self.now_us < *until);
        for _ in 0..copies {
            let lost = self.random(1_000) < self.network.loss_permille;
            let arrived_us = self.now_us + least + self.random(most - least + 1);
            if lost || deaf || !self.hears(from, to) {
                continue;
            }
            let packet = Packet {
                channel,
                from,
                bytes: bytes.to_vec(),
                arrived_us,
            };
            self.at(arrived_us, What::Arrive(to, packet));
        }
    }

    /// Somebody sends this with the address of a host.
    pub(crate) fn forge(&mut self, from: usize, to: usize, channel: Channel, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        let arrived_us = self.now_us + 50;
        let packet = Packet {
            channel,
            from,
            bytes,
            arrived_us,
        };
        self.at(arrived_us, What::Arrive(to, packet));
    }
}
