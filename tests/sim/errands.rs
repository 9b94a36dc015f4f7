//! What does not go by packets: frames that an encoder makes, and what nodes ask of each other by HTTP.

use std::net::SocketAddr;

use lanradio::station::node::Frames;
use lanradio::wire::TrackId;

use crate::host::{Host, payload};
use crate::world::{Feed, What, World};

/// Something that is done for one process: it is of no use to the next one on the same host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    pub(crate) host: usize,
    life: u32,
    /// The other end.
    pub(crate) holder: usize,
}

impl World {
    /// Encodes tracks on a host.
    pub(crate) fn feed(&mut self, host: usize, feed: &Feed) {
        let mut at = self.now_us + 5_000;
        let life = self.hosts[host].lives;
        let errand = Errand {
            host,
            life,
            holder: host,
        };
        for (n, &frames) in feed.tracks.iter().enumerate() {
            if n + 1 == feed.tracks.len() {
                at += feed.gap_us;
            }
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.random.bits().to_be_bytes());
            (id[14], id[15]) = (host as u8, n as u8);
            let tag = u32::from_be_bytes(id[..4].try_into().unwrap());
            self.tracks.insert(tag, frames);
            let (mut done, mut step, mut takes_us) = (0, 50, feed.second_us);
            while done < frames {
                done = (done + step).min(frames);
                self.at(at, What::Encoded(errand, TrackId(id), done, done == frames));
                at += takes_us;
                if let Some((_, stall_us, then_us)) =
                    feed.stall.filter(|(frame, ..)| *frame == done)
                {
                    at += stall_us;
                    (step, takes_us) = (20, then_us);
                }
            }
        }
        self.at(at, What::Encoded(errand, TrackId([0; 16]), 0, true));
    }

    pub(crate) fn copy(&mut self, errand: Errand, track: TrackId, first: u64) {
        if !self.is_same_process(errand) {
            return;
        }
        let reached = self.is_reachable(errand) && !self.stingy.contains(&errand.holder);
        let copied = self.hosts[errand.holder].shelf.copy_from(track, first, 500);
        let came = reached && !copied.is_empty();
        let host = &mut self.hosts[errand.host];
        if came {
            for (k, payload) in (first..).zip(copied) {
                host.shelf.insert(track, k, &payload);
            }
        }
        let now = host.clock.local(self.now_us);
        host.node.handle_frames(came, now);
        self.wake_if_awake(errand.host);
    }

    pub(crate) fn encode(&mut self, errand: Errand, track: TrackId, frames: u64, last: bool) {
        if !self.is_same_process(errand) {
            return;
        }
        let host = &mut self.hosts[errand.host];
        if frames == 0 {
            host.node.source_finished();
        } else {
            let had = host.shelf.end(track);
            if had == 0 {
                let title = format!("track {}{}", char::from(b'A' + track.0[14]), track.0[15]);
                host.node.add_track(track, &title, "");
            }
            (had..frames).for_each(|k| host.shelf.insert(track, k, &payload(track, k)));
            host.node.track_grew();
            if last {
                host.node.track_finished(track, frames, None);
            }
        }
        self.wake_if_awake(errand.host);
    }

    pub(crate) fn is_same_process(&self, errand: Errand) -> bool {
        let host = &self.hosts[errand.host];
        host.up && host.lives == errand.life
    }

    pub(crate) fn is_reachable(&self, errand: Errand) -> bool {
        let Errand { host, holder, .. } = errand;
        let awake = self.hosts[holder].is_awake(self.now_us);
        awake
            && self.is_same_process(errand)
            && self.hears(holder, host)
            && self.hears(host, holder)
    }

    pub(crate) fn errand(&self, host: usize, at: SocketAddr) -> Errand {
        let holder = (0..self.hosts.len())
            .find(|host| Host::http(*host) == at)
            .expect("a host");
        Errand {
            host,
            life: self.hosts[host].lives,
            holder,
        }
    }

    pub(crate) fn later(&mut self, what: What) {
        let at = self.now_us + 2_000 + self.random(4_000);
        self.at(at, what);
    }

    /// How many frames from the beginning a host other than the first holds of the track of which it holds most.
    pub(crate) fn most_held(&self) -> u64 {
        let others = self.hosts.iter().skip(1);
        others.map(|host| host.shelf.most()).max().unwrap_or(0)
    }

    /// How many frames a host holds.
    pub(crate) fn held_by(&self, number: usize) -> u64 {
        self.hosts[number].shelf.frames()
    }
}
