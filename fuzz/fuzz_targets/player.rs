//! A real listener on a hostile network: packets and heartbeats of one station in any order and with any twist, others in
//! between, and pauses. It never panics, and whatever comes, no index is decided twice or out of order, every block is counted, and a
//! buffer that adapts keeps its limits.
#![no_main]

use std::time::Duration;

use lanradio::playout::dial::Dial;
use lanradio::playout::player::{BufferChoice, Config, Output};
use lanradio::playout::store::Via;
use lanradio::time::Instant;
use lanradio::wire::control::{EndReason, Heartbeat, RunInfo, State};
use lanradio::wire::ids::{FRAME_MICROS, Numbering};
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{FrameIndex, NodeId, PlanDigest, Slot, StationId, Term};
use libfuzzer_sys::fuzz_target;

/// What happens next: its kind, how far from where the station is, the pause before it in ms, and a twist.
type Step = (u8, i16, u16, u8);

/// Steps of one input: more teach a fuzzer nothing.
const MAX_STEPS: usize = 2_000;
/// The limits of a buffer that adapts.
const MIN_BUFFER: Duration = Duration::from_millis(60);
const MAX_BUFFER: Duration = Duration::from_secs(2);

fuzz_target!(|steps: Vec<Step>| {
    let auto = BufferChoice::Auto {
        min: MIN_BUFFER,
        max: MAX_BUFFER,
    };
    for buffer in [BufferChoice::Station, auto] {
        let mut world = World::new(buffer);
        for step in steps.iter().take(MAX_STEPS) {
            world.take(*step);
            world.check();
        }
    }
});

struct World {
    adapts: bool,
    dial: Dial,
    now: Instant,
    /// The station's next frame and its idle frames so far.
    next: u64,
    idle: u64,
    number: u64,
    /// The station that is tuned in, and the last index that it decided.
    tuned: Option<StationId>,
    last: Option<FrameIndex>,
    blocks: u64,
}

impl World {
    fn new(buffer: BufferChoice) -> World {
        let config = Config::default();
        World {
            adapts: buffer != BufferChoice::Station,
            dial: Dial::new(Config { buffer, ..config }),
            now: Instant::from_micros(1_000_000),
            next: 0,
            idle: 0,
            number: 0,
            tuned: None,
            last: None,
            blocks: 0,
        }
    }

    fn take(&mut self, (kind, offset, pause_ms, twist): Step) {
        let index = FrameIndex(self.next.saturating_add_signed(offset.into()));
        let ordinary = Instant::from_micros(self.now.as_micros() + FRAME_MICROS);
        let paused = Instant::from_micros(self.now.as_micros() + u64::from(pause_ms) * 1_000);
        match kind % 10 {
            // The usual thing, so that an input gets somewhere: the next frame, in time.
            0..=2 => {
                self.now = ordinary;
                self.media(StationId(7), FrameIndex(self.next), self.idle, 0);
                self.next += 1;
            }
            3 => {
                self.now = paused;
                let idle = self.idle.saturating_add_signed(i64::from(twist as i8));
                self.media(StationId(7), index, idle, twist);
            }
            4 => self.media(StationId(u32::from(twist)), index, self.idle, twist),
            5 => {
                self.now = paused;
                self.beat(index, twist);
            }
            6 => {
                let frames = u64::from(pause_ms) * 1_000 / FRAME_MICROS;
                self.now = paused;
                self.idle += if twist % 2 == 0 { frames } else { 0 };
                self.next += if twist % 2 == 0 { 0 } else { frames };
            }
            7 => self.repair(index, twist),
            // All that is missing comes, as it was sent.
            8 => {
                for missing in self.dial.missing(self.now) {
                    self.repair(missing.index, twist & 3);
                }
            }
            _ => {
                self.now =
                    Instant::from_micros(self.now.as_micros() + u64::from(pause_ms) * 100_000)
            }
        }
    }

    fn term(twist: u8) -> Term {
        Term {
            counter: 1 + u32::from(twist >> 6),
            leader: NodeId(1 << 32),
        }
    }

    fn media(&mut self, station: StationId, index: FrameIndex, idle: u64, twist: u8) {
        let payload = [0xfc, twist];
        let packet = World::packet(station, index, idle, twist, &payload);
        let _ = self.dial.handle_media(&packet, self.now, self.now);
    }

    fn repair(&mut self, index: FrameIndex, twist: u8) {
        let ways = [Via::Replica, Via::Unicast, Via::Multicast, Via::Fetched];
        let via = ways[usize::from(twist % 4)];
        let payload = [0xfc, twist];
        let packet = World::packet(StationId(7), index, self.idle, twist, &payload);
        let asked = (twist >= 128).then(|| Duration::from_millis(u64::from(twist)));
        let how = (via, asked);
        let _ = self.dial.handle_repair(&packet, how, self.now, self.now);
    }

    fn packet(
        station: StationId,
        index: FrameIndex,
        idle: u64,
        twist: u8,
        payload: &[u8],
    ) -> MediaPacket<'_> {
        let numbering = Numbering::of(station);
        let flags = match twist >> 4 & 3 {
            0 => Flags::default(),
            1 => Flags::COVER,
            2 => Flags::SOLO,
            _ => Flags::LAST_OF_TRACK,
        };
        let identity = (World::term(twist).short(), PlanDigest(twist.into()), flags);
        let (slot, marker) = (Slot(index.0 + idle), index.0 == 0 || twist % 4 == 3);
        MediaPacket::place(&numbering, index, slot, marker, identity, payload)
    }

    fn beat(&mut self, next: FrameIndex, twist: u8) {
        self.number += u64::from(twist & 0x3f);
        let first = FrameIndex(next.0 - next.0.min(u64::from(twist)));
        let beat = Heartbeat {
            station: StationId(if twist % 16 == 15 { 9 } else { 7 }),
            term: World::term(twist),
            number: self.number,
            sent_at_us: (next.0 + self.idle) * FRAME_MICROS,
            young: false,
            state: match twist % 5 {
                0 => State::Idle,
                1 => State::Over(EndReason::Ended),
                _ => State::Playing,
            },
            next,
            buffer_ms: 40 + u32::from(twist),
            plan: PlanDigest(twist.into()),
            run: (twist % 3 > 0).then_some(RunInfo {
                first,
                starts_at: Slot(first.0 + self.idle),
                end: (twist % 3 > 1).then_some(next),
            }),
            tracks: [None, None],
            name: String::new(),
            succession: Default::default(),
        };
        let _ = self.dial.handle_heartbeat(&beat, self.now, self.now);
    }

    fn check(&mut self) {
        let Some(player) = self.dial.player_mut() else {
            return;
        };
        player.handle_timeout(self.now);
        let limits = MIN_BUFFER..=MAX_BUFFER;
        assert!(!self.adapts || limits.contains(&player.buffer()));
        if self.tuned.replace(player.station()) != Some(player.station()) {
            self.last = None;
        }
        while let Some(output) = player.poll_output() {
            let (Output::Play { index } | Output::Conceal { index, .. }) = output else {
                continue;
            };
            self.blocks += 1;
            let in_order = self.last.is_none_or(|last| index > last);
            assert!(in_order, "{index} after {:?}", self.last);
            self.last = Some(index);
        }
        assert_eq!(self.dial.statistics().played(), self.blocks);
        for missing in self.dial.missing(self.now) {
            assert!(missing.play_at > self.now);
            assert!(self.last.is_none_or(|last| missing.index > last));
        }
    }
}
