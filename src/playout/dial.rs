//! Which station is listened to, when several are heard?
//!
//! The first one that proves to be a station: by a heartbeat, or by three consecutive packets. It is kept until it has gone off
//! the air; whatever others send meanwhile is counted and ignored. Before that, a few candidates are kept side by side, so that a
//! flood of invented sources can neither fill the memory nor keep the true one out.

use super::player::{Config, Player, Rejection};
use super::statistics::Statistics;
use crate::time::Instant;
use crate::wire::StationId;
use crate::wire::control::{Heartbeat, State};
use crate::wire::media::MediaPacket;

/// Candidates held side by side before one of them proves to be a station.
const MAX_CANDIDATES: usize = 4;

/// Picks the station and feeds its player.
pub struct Dial {
    config: Config,
    tuned: Option<Player>,
    candidates: Vec<Player>,
    /// Counters of players that are gone, and what no player was given.
    past: Statistics,
}

impl Dial {
    /// Nothing heard yet.
    pub fn new(config: Config) -> Dial {
        Dial {
            config,
            tuned: None,
            candidates: Vec::new(),
            past: Statistics::default(),
        }
    }

    /// The player of the station that is listened to.
    pub fn player(&self) -> Option<&Player> {
        self.tuned.as_ref()
    }

    /// The same, to be driven.
    pub fn player_mut(&mut self) -> Option<&mut Player> {
        self.tuned.as_mut()
    }

    /// Counts what never reached a player: garbage, foreign streams.
    pub fn reject(&mut self, reason: &'static str) {
        self.past.reject(reason);
    }

    /// Totals since start, over all stations.
    pub fn statistics(&self) -> Statistics {
        let mut total = self.past.clone();
        self.tuned
            .iter()
            .for_each(|player| total.add(player.statistics()));
        total
    }

    /// A media packet has arrived.
    pub fn handle_media(
        &mut self,
        packet: &MediaPacket<'_>,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), Rejection> {
        match self.player_for(packet.station) {
            Some(player) => player.handle_media(packet, arrived, now)?,
            None => return self.other(packet.station),
        }
        self.settle();
        Ok(())
    }

    /// A heartbeat has arrived. One that says that a programme is over tunes nobody in.
    pub fn handle_heartbeat(
        &mut self,
        beat: &Heartbeat,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), Rejection> {
        let known = self
            .tuned
            .as_ref()
            .is_some_and(|player| player.station() == beat.station);
        if !known && matches!(beat.state, State::Over(_)) {
            return Ok(());
        }
        match self.player_for(beat.station) {
            Some(player) => player.handle_heartbeat(beat, arrived, now)?,
            None => return self.other(beat.station),
        }
        self.settle();
        Ok(())
    }

    fn other(&mut self, station: StationId) -> Result<(), Rejection> {
        let rejection = Rejection::OtherStation(station);
        self.past.reject(rejection.reason());
        Err(rejection)
    }

    /// The player that a packet of `station` belongs to; none while another station is on air.
    fn player_for(&mut self, station: StationId) -> Option<&mut Player> {
        let (same, free) = match &self.tuned {
            Some(player) => (player.station() == station, player.is_off_air()),
            None => (false, true),
        };
        if same {
            return self.tuned.as_mut();
        }
        if !free {
            return None;
        }
        let at = self
            .candidates
            .iter()
            .position(|player| player.station() == station);
        let at = at.unwrap_or_else(|| {
            if self.candidates.len() == MAX_CANDIDATES {
                let gone = self.candidates.remove(0);
                self.past.add(gone.statistics());
            }
            self.candidates.push(Player::new(station, self.config));
            self.candidates.len() - 1
        });
        self.candidates.get_mut(at)
    }

    /// Tunes in to the first candidate that proved to be a station.
    fn settle(&mut self) {
        let free = self.tuned.as_ref().is_none_or(Player::is_off_air);
        if let Some(at) = self
            .candidates
            .iter()
            .position(Player::is_accepted)
            .filter(|_| free)
        {
            let player = self.candidates.swap_remove(at);
            for gone in self.candidates.drain(..).chain(self.tuned.replace(player)) {
                self.past.add(gone.statistics());
            }
        }
    }
}
