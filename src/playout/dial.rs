//! Which station is listened to, when several are heard?
//!
//! The first one that proves to be a station: by a heartbeat, or by three consecutive packets. Once a frame of it was heard it
//! is kept until it has gone off the air; whatever others send meanwhile is counted and ignored. Before that (an idle station,
//! or one that was invented, may never send a frame) one that does send frames takes its place, and a few candidates are kept
//! side by side, so that a flood of invented sources can neither fill the memory nor keep the true one out.
//!
//! RTP of other programs ([`Foreign`]) is treated alike: it is ignored while a station sends frames, and while it plays itself
//! stations are ignored; an idle station keeps nobody out.

use std::net::IpAddr;
use std::time::Duration;

use super::adaptive::{AdaptiveBuffer, BufferChoice};
use super::foreign::{Foreign, ForeignRejection};
use super::player::{Config, Player, Rejection};
use super::statistics::Statistics;
use super::store::{Missing, Via};
use crate::time::Instant;
use crate::wire::StationId;
use crate::wire::control::{Heartbeat, State};
use crate::wire::foreign::ForeignPacket;
use crate::wire::media::MediaPacket;

/// Reasons that count RTP of programs that are not listened to.
const FOREIGN: [&str; 3] = ["foreign", "foreign_payload_type", "foreign_opus"];
/// Candidates held side by side before one of them proves to be a station.
const MAX_CANDIDATES: usize = 4;

/// Picks the station and feeds its player.
pub struct Dial {
    config: Config,
    tuned: Option<Player>,
    candidates: Vec<Player>,
    /// On air only while `tuned` is not.
    foreign: Foreign,
    /// What the last station's buffer learned of the network.
    learned: Option<AdaptiveBuffer>,
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
            foreign: Foreign::new(config.buffer, config.default_buffer),
            learned: None,
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

    /// Whether the buffer adapts to the network.
    pub fn adapts(&self) -> bool {
        matches!(self.config.buffer, BufferChoice::Auto { .. })
    }

    /// Counts what never reached a player: garbage, foreign streams.
    pub fn reject(&mut self, reason: &'static str) {
        self.past.reject(reason);
    }

    /// The player of other programs' streams.
    pub fn foreign(&self) -> &Foreign {
        &self.foreign
    }

    /// The same, to be driven.
    pub fn foreign_mut(&mut self) -> &mut Foreign {
        &mut self.foreign
    }

    /// How many RTP packets of other programs were heard that could not be played.
    pub fn unplayable(&self) -> u64 {
        let statistics = self.statistics();
        let counts = FOREIGN.map(|reason| statistics.rejected.get(reason).copied());
        counts.into_iter().flatten().sum()
    }

    /// Totals since start, over all stations.
    pub fn statistics(&self) -> Statistics {
        let mut total = self.past.clone();
        total.add(self.foreign.statistics());
        self.tuned
            .iter()
            .for_each(|player| total.add(player.statistics()));
        total
    }

    /// When to come back, if no packet comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tuned = self.tuned.as_ref().and_then(Player::poll_timeout);
        tuned.into_iter().chain(self.foreign.poll_timeout()).min()
    }

    /// Time has come. Call it after all sockets were read.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(player) = &mut self.tuned {
            player.handle_timeout(now);
        }
        self.foreign.handle_timeout(now);
    }

    /// The listener leaves.
    pub fn handle_finish(&mut self) {
        if let Some(player) = &mut self.tuned {
            player.handle_finish();
        }
        self.foreign.handle_finish();
    }

    /// A packet of another program has arrived.
    pub fn handle_foreign(
        &mut self,
        packet: &ForeignPacket<'_>,
        from: IpAddr,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), ForeignRejection> {
        if self.tuned.as_ref().is_some_and(Player::is_busy) {
            let rejection = ForeignRejection::StationOnAir(packet.source);
            self.past.reject(rejection.reason());
            return Err(rejection);
        }
        let result = self.foreign.handle_packet(packet, from, arrived, now);
        if self.foreign.is_on_air() {
            if let Some(replaced) = self.tuned.take() {
                self.leave(replaced);
            }
            self.turn_all_away();
        }
        result
    }

    /// A media packet has arrived.
    pub fn handle_media(
        &mut self,
        packet: &MediaPacket<'_>,
        arrived: Instant,
        now: Instant,
    ) -> Result<(), Rejection> {
        let result = match self.player_for(packet.station) {
            Some(player) => player.handle_media(packet, arrived, now),
            None => return self.other(packet.station),
        };
        self.settle();
        result
    }

    /// A sound device takes so long until what is played is heard.
    pub fn handle_lead(&mut self, lead: Duration) {
        self.config.lead = lead;
        for player in self.tuned.iter_mut().chain(&mut self.candidates) {
            player.handle_lead(lead);
        }
    }

    /// The frames that the player misses.
    pub fn missing(&self, now: Instant) -> Vec<Missing> {
        let player = self.tuned.as_ref();
        player.map_or_else(Vec::new, |player| player.missing(now))
    }

    /// A packet of the station that is listened to has come by another way than the stream; how long after it was first asked for,
    /// if it was.
    pub fn handle_repair(
        &mut self,
        packet: &MediaPacket<'_>,
        (via, asked): (Via, Option<Duration>),
        arrived: Instant,
        now: Instant,
    ) -> Result<(), Rejection> {
        let Some(player) = self
            .tuned
            .as_mut()
            .filter(|player| player.station() == packet.station)
        else {
            return self.other(packet.station);
        };
        let repairs = player.awaits(packet);
        player.handle_repair(packet, via, arrived, now)?;
        // Further copies, and what is of no use any more, are no repairs.
        if let Some(latency) = asked.filter(|_| repairs) {
            player.statistics_mut().repair_latency.record(latency);
        }
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
        let result = match self.player_for(beat.station) {
            Some(player) => player.handle_heartbeat(beat, arrived, now),
            None => return self.other(beat.station),
        };
        self.settle();
        result
    }

    fn other(&mut self, station: StationId) -> Result<(), Rejection> {
        let rejection = Rejection::OtherStation(station);
        self.past.reject(rejection.reason());
        Err(rejection)
    }

    /// The player that a packet of `station` belongs to; none while another station or program is on air.
    fn player_for(&mut self, station: StationId) -> Option<&mut Player> {
        if self.foreign.is_on_air() {
            return None;
        }
        let (same, free) = match &self.tuned {
            Some(player) => (player.station() == station, !player.is_busy()),
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
                self.evict();
            }
            self.candidates.push(Player::new(station, self.config));
            self.candidates.len() - 1
        });
        self.candidates.get_mut(at)
    }

    /// Lets the candidate go that least speaks for: what was sent in its name was of no station.
    fn evict(&mut self) {
        let least = (0..self.candidates.len()).min_by_key(|at| {
            let player = &self.candidates[*at];
            (player.is_accepted(), player.evidence())
        });
        if let Some(at) = least {
            let gone = self.candidates.remove(at);
            self.turn_away(&gone);
        }
    }

    /// Tunes in to the first candidate that proved to be a station, or that sends frames while the one tuned in has none.
    fn settle(&mut self) {
        let first = |proved: fn(&Player) -> bool| self.candidates.iter().position(proved);
        let sends_frames = || first(|candidate| !candidate.is_waiting());
        let better = match &self.tuned {
            Some(player) if player.is_busy() => None,
            Some(player) if !player.is_off_air() => sends_frames(),
            _ => sends_frames().or_else(|| first(Player::is_accepted)),
        };
        let kept = better.map(|at| self.candidates.swap_remove(at));
        if kept.is_none() && !self.tuned.as_ref().is_some_and(Player::is_busy) {
            return;
        }
        if let Some(kept) = kept {
            if let Some(replaced) = self.tuned.take() {
                self.leave(replaced);
            }
            let tuned = self.tuned.insert(kept);
            if let Some(learned) = &self.learned {
                tuned.handle_learned(learned);
            }
        }
        self.turn_all_away();
    }

    /// Keeps the counters of a player that was tuned in. Its missing frames are lost.
    fn leave(&mut self, mut replaced: Player) {
        replaced.handle_finish();
        self.learned = replaced.learned().cloned().or(self.learned.take());
        self.past.add(replaced.statistics());
    }

    fn turn_all_away(&mut self) {
        let away = std::mem::take(&mut self.candidates);
        away.iter().for_each(|player| self.turn_away(player));
    }

    /// Counts what was sent for a candidate that is not tuned in: nothing of it was heard, whatever it had decided, and what was put
    /// aside was another station's.
    fn turn_away(&mut self, player: &Player) {
        self.past.add_rejected(player.statistics());
        let reason = Rejection::OtherStation(player.station()).reason();
        (0..player.evidence()).for_each(|_| self.past.reject(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ids::{NodeId, Numbering, PlanDigest, Slot};
    use crate::wire::media::Flags;
    use crate::wire::{FRAME_MICROS, FrameIndex, Term};

    const TERM: Term = Term {
        counter: 1,
        leader: NodeId(1 << 32),
    };

    fn due(slot: u64) -> Instant {
        Instant::from_micros(1_000_000_000 + slot * FRAME_MICROS)
    }

    /// Frame `index` of `station` arrives when it is due, and is used or not.
    fn hears(dial: &mut Dial, station: u32, index: u64) -> bool {
        let numbering = Numbering::of(StationId(station));
        let header = (TERM.short(), PlanDigest(1), Flags::default());
        let (frame, slot) = (FrameIndex(index), Slot(index));
        let packet = MediaPacket::place(&numbering, frame, slot, index == 0, header, &[1]);
        let used = dial.handle_media(&packet, due(index), due(index)).is_ok();
        plays(dial, due(index));
        used
    }

    fn hears_idle(dial: &mut Dial, station: u32, number: u64, slot: u64) {
        let beat = Heartbeat {
            station: StationId(station),
            term: TERM,
            number,
            sent_at_us: slot * FRAME_MICROS,
            young: false,
            state: State::Idle,
            next: FrameIndex(0),
            buffer_ms: 500,
            plan: PlanDigest(1),
            run: None,
            tracks: [None, None],
            name: "idle".into(),
            succession: Default::default(),
        };
        let _ = dial.handle_heartbeat(&beat, due(slot), due(slot));
        plays(dial, due(slot));
    }

    #[test]
    fn a_repair_is_timed_once_if_it_was_asked_for_and_came_in_time() {
        let mut dial = Dial::new(Config::default());
        let lost = [40, 42, 44];
        (0..50)
            .filter(|n| !lost.contains(n))
            .for_each(|n| _ = hears(&mut dial, 7, n));
        let comes =
            |dial: &mut Dial, station: u32, index: u64, asked_ms: Option<u64>, now: Instant| {
                let numbering = Numbering::of(StationId(station));
                let header = (TERM.short(), PlanDigest(1), Flags::default());
                let (frame, slot) = (FrameIndex(index), Slot(index));
                let packet = MediaPacket::place(&numbering, frame, slot, false, header, &[1]);
                let how = (Via::Unicast, asked_ms.map(Duration::from_millis));
                let _ = dial.handle_repair(&packet, how, now, now);
                plays(dial, now);
                let latency = dial.statistics().repair_latency;
                let longest = latency.quantile(1.0).unwrap_or_default();
                (latency.count(), longest.as_millis())
            };
        let now = due(49);
        assert_eq!(comes(&mut dial, 7, 42, None, now), (0, 0), "by chance");
        assert_eq!(comes(&mut dial, 7, 40, Some(7), now).0, 1);
        assert_eq!(comes(&mut dial, 7, 40, Some(8), now).0, 1, "a further copy");
        assert_eq!(
            comes(&mut dial, 9, 44, Some(9), now).0,
            1,
            "of another station"
        );
        // With a buffer of 500 ms it is played 25 frames after it was due.
        plays(&mut dial, due(70));
        assert_eq!(comes(&mut dial, 7, 44, Some(520), due(70)).0, 1, "too late");
    }

    fn plays(dial: &mut Dial, now: Instant) {
        if let Some(player) = dial.player_mut() {
            player.handle_timeout(now);
            while player.poll_output().is_some() {}
        }
    }

    fn tuned(dial: &Dial) -> Option<u32> {
        dial.player().map(|player| player.station().0)
    }

    #[test]
    fn a_station_that_plays_takes_the_place_of_one_that_never_sent_a_frame() {
        let mut dial = Dial::new(Config::default());
        hears_idle(&mut dial, 5, 1, 0);
        assert_eq!(tuned(&dial), Some(5));
        for n in 1..20 {
            hears_idle(&mut dial, 5, n + 1, n);
            hears(&mut dial, 7, n);
        }
        assert_eq!(tuned(&dial), Some(7));
        // Now it is kept, whoever else plays.
        assert!((20..40).all(|n| hears(&mut dial, 7, n) && !hears(&mut dial, 9, n)));
        assert_eq!(dial.statistics().rejected["other_station"], 16 + 20);
    }

    #[test]
    fn of_stations_that_waited_side_by_side_the_one_that_sends_a_frame_is_tuned_in() {
        let mut dial = Dial::new(Config::default());
        for station in [5, 9, 7] {
            hears_idle(&mut dial, station, 1, 0);
        }
        assert_eq!(tuned(&dial), Some(5));
        // The first one falls silent; the others were as good as it until now.
        plays(&mut dial, due(400));
        let numbering = Numbering::of(StationId(7));
        let header = (TERM.short(), PlanDigest(1), Flags::default());
        let packet = MediaPacket::place(&numbering, FrameIndex(0), Slot(400), true, header, &[1]);
        let _ = dial.handle_media(&packet, due(400), due(400));
        assert_eq!(tuned(&dial), Some(7));
    }

    #[test]
    fn a_flood_of_invented_sources_keeps_the_true_one_out_no_longer_than_it_takes_to_agree() {
        let mut dial = Dial::new(Config::default());
        for n in 0..10 {
            hears(&mut dial, 7, n);
            let flood = if n < 2 { 0..2 } else { 0..50 };
            flood.for_each(|k| _ = hears(&mut dial, 1_000 + n as u32 * 100 + k, 5_000));
        }
        assert_eq!(tuned(&dial), Some(7));
        let refused = dial.statistics().rejected["other_station"];
        assert_eq!(refused, 4 + 8 * 50);
    }

    #[test]
    fn what_a_buffer_that_adapts_has_learned_holds_for_the_next_station() {
        let ms = std::time::Duration::from_millis;
        for (heard, expected) in [(700, ms(60)), (450, ms(500))] {
            let buffer = BufferChoice::Auto {
                min: ms(60),
                max: ms(2_000),
            };
            let config = Config::default();
            let mut dial = Dial::new(Config { buffer, ..config });
            (0..heard).for_each(|n| _ = hears(&mut dial, 7, n));
            // After that the station is gone.
            (heard..heard + 400).for_each(|n| plays(&mut dial, due(n)));
            (2_000..2_010).for_each(|n| _ = hears(&mut dial, 9, n));
            assert_eq!(tuned(&dial), Some(9));
            assert_eq!(dial.player().map(Player::buffer), Some(expected));
        }
    }

    /// Packet `number` of another program's stream arrives when it is due, and is used or not.
    fn hears_foreign(dial: &mut Dial, source: u32, number: u64) -> bool {
        use crate::wire::ids::{RtpTimestamp, Seq};
        let packet = ForeignPacket {
            source: StationId(source),
            seq: Seq(number as u16),
            timestamp: RtpTimestamp(number as u32 * 960),
            samples: 960,
            payload: &[0xfc],
        };
        let from = IpAddr::from([10, 0, 0, 1]);
        let used = dial.handle_foreign(&packet, from, due(number), due(number));
        dial.handle_timeout(due(number));
        while dial.foreign_mut().poll_output().is_some() {}
        plays(dial, due(number));
        used.is_ok()
    }

    #[test]
    fn rtp_of_others_is_ignored_and_counted_while_a_station_is_on_air() {
        let mut dial = Dial::new(Config::default());
        (0..3).for_each(|n| _ = hears(&mut dial, 7, n));
        assert!((3..100).all(|n| hears(&mut dial, 7, n) && !hears_foreign(&mut dial, 1, n)));
        assert!(!dial.foreign().is_on_air());
        assert_eq!(
            (dial.statistics().rejected["foreign"], dial.unplayable()),
            (97, 97)
        );
    }

    #[test]
    fn an_idle_station_makes_way_for_the_rtp_of_others() {
        let mut dial = Dial::new(Config::default());
        for n in 0..50 {
            hears_idle(&mut dial, 5, n + 1, n);
            hears_foreign(&mut dial, 1, n);
        }
        assert_eq!((tuned(&dial), dial.foreign().is_on_air()), (None, true));
        assert!(dial.foreign().frames() > 20);
    }

    #[test]
    fn a_station_is_ignored_while_the_rtp_of_others_plays_and_tuned_in_when_that_has_ended() {
        let mut dial = Dial::new(Config::default());
        for n in 0..100 {
            hears_foreign(&mut dial, 1, n);
            hears(&mut dial, 7, n);
        }
        assert_eq!((tuned(&dial), dial.foreign().is_on_air()), (None, true));
        // Two packets came before the third of the other program; all are counted.
        assert_eq!(dial.statistics().rejected["other_station"], 100);
        let ended = (100..500).find(|n| {
            dial.handle_timeout(due(*n));
            while dial.foreign_mut().poll_output().is_some() {}
            hears(&mut dial, 7, *n);
            tuned(&dial).is_some()
        });
        // 5 s after the last packet, and three packets.
        assert_eq!(ended, Some(99 + 250 + 2));
    }

    #[test]
    fn a_station_that_is_left_leaves_no_concealed_frame_unaccounted() {
        let mut dial = Dial::new(Config::default());
        (0..100).for_each(|n| _ = hears(&mut dial, 7, n));
        (100..=800).for_each(|slot| plays(&mut dial, due(slot)));
        let missing = |dial: &Dial| {
            let total = dial.statistics();
            total.concealed - total.late - total.lost
        };
        // It returns, what was missed is concealed, and it ends.
        (805..820).for_each(|n| _ = hears(&mut dial, 7, n));
        assert!(missing(&dial) > 0);
        (820..1_200).for_each(|slot| plays(&mut dial, due(slot)));
        (1_200..1_210).for_each(|n| _ = hears(&mut dial, 9, n));
        assert_eq!((tuned(&dial), missing(&dial)), (Some(9), 0));
    }
}
