//! A listener and foreign senders that do what they like: numbers that jump, times that run backwards, pauses, goodbyes, several
//! sources at once. It never panics or hangs, hands out no block that was not filled, and counts every one.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lanradio::playout::adaptive::BufferChoice;
use lanradio::playout::foreign::{Foreign, Output};
use lanradio::time::Instant;
use lanradio::wire::StationId;
use lanradio::wire::foreign::ForeignPacket;
use lanradio::wire::ids::{RtpTimestamp, Seq};
use libfuzzer_sys::fuzz_target;

/// What happens next: its kind, a jump, a pause before it in ms, and a twist.
type Step = (u8, i32, u16, u8);

/// Steps of one input: more teach a fuzzer nothing.
const MAX_STEPS: usize = 2_000;
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Deadlines met in a row without time passing: more is a busy loop.
const MAX_IDLE: usize = 3;

fuzz_target!(|input: (u8, Vec<Step>)| {
    let (buffer, steps) = input;
    let start = Duration::from_millis(40 + 20 * u64::from(buffer));
    let choice = match buffer % 2 {
        0 => BufferChoice::Fixed(start),
        _ => BufferChoice::Auto {
            min: start / 2,
            max: start * 2,
        },
    };
    let mut world = World::new(choice, start);
    for step in steps.into_iter().take(MAX_STEPS) {
        world.take(step);
    }
    world.run_for(20_000_000);
    assert!(!world.foreign.is_on_air(), "what is silent has an end");
});

struct World {
    foreign: Foreign,
    now: Instant,
    source: u32,
    seq: u16,
    timestamp: u32,
    samples: u32,
    /// Samples appended and not played.
    waiting: u64,
    blocks: u64,
}

impl World {
    fn new(choice: BufferChoice, start: Duration) -> World {
        World {
            foreign: Foreign::new(choice, start),
            now: Instant::from_micros(1_000_000),
            source: 7,
            seq: 65_530,
            timestamp: u32::MAX - 5_000,
            samples: 960,
            waiting: 0,
            blocks: 0,
        }
    }

    fn take(&mut self, (kind, jump, pause_ms, twist): Step) {
        self.run_for(u64::from(self.samples) * 125 / 6);
        match kind % 10 {
            0 => self.seq = self.seq.wrapping_add_signed(jump as i16),
            1 => self.timestamp = self.timestamp.wrapping_add_signed(jump),
            2 => self.timestamp = self.timestamp.wrapping_add_signed(jump % 6_000),
            3 => self.run_for(u64::from(pause_ms) * 1_000),
            4 => self.source = u32::from(twist % 6),
            5 => self.samples = 120 * (1 + u32::from(twist % 48)),
            6 => {
                let goodbye = [StationId(self.source)];
                self.foreign.handle_goodbyes(&goodbye, HOST);
            }
            _ => {}
        }
        let payload = [twist];
        let packet = ForeignPacket {
            source: StationId(self.source),
            seq: Seq(self.seq),
            timestamp: RtpTimestamp(self.timestamp),
            samples: self.samples,
            payload: &payload,
        };
        let late = Duration::from_millis(u64::from(twist % 8));
        let _ = self
            .foreign
            .handle_packet(&packet, HOST, self.now - late, self.now);
        self.seq = self.seq.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.samples);
        self.drain(twist);
    }

    fn run_for(&mut self, us: u64) {
        let until = Instant::from_micros(self.now.as_micros() + us);
        let mut idle = 0;
        while let Some(at) = self.foreign.poll_timeout().filter(|at| *at < until) {
            idle = if at <= self.now { idle + 1 } else { 0 };
            assert!(idle < MAX_IDLE, "a deadline that never passes");
            self.now = self.now.max(at);
            self.foreign.handle_timeout(self.now);
            self.drain(1);
        }
        self.now = until;
        self.foreign.handle_timeout(self.now);
        self.drain(1);
    }

    fn drain(&mut self, twist: u8) {
        while let Some(output) = self.foreign.poll_output() {
            match output {
                Output::Decode { .. } if twist == 0 => self.foreign.undecodable(),
                Output::Decode { samples, skip, .. } => self.waiting += u64::from(samples - skip),
                Output::Conceal { samples, .. } | Output::Pad { samples } => {
                    self.waiting += u64::from(samples);
                }
                Output::Play { frame, .. } => {
                    assert_eq!(frame, self.blocks);
                    self.waiting = self.waiting.checked_sub(960).expect("a whole block");
                    self.blocks += 1;
                }
                Output::TunedIn { .. } => self.waiting = 0,
                Output::OnAir { .. } | Output::OffAir { .. } => {}
            }
        }
        assert!(self.waiting < 960 + 5_760, "{} samples wait", self.waiting);
        assert_eq!(self.foreign.statistics().played(), self.blocks);
    }
}
