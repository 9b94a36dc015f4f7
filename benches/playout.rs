//! What does a packet cost before it is decoded: to build, to parse, and to find its place in the buffer?
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make functions without documentation"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lanradio::playout::{Config, Output, Player};
use lanradio::time::Instant;
use lanradio::wire::ids::{Numbering, PlanDigest, ShortTerm};
use lanradio::wire::media::{Flags, MediaPacket};
use lanradio::wire::{FRAME_MICROS, FrameIndex, Slot, StationId};

const STATION: StationId = StationId(0x00c0_ffee);
/// A typical frame at 128 kbit/s (FACTS).
const PAYLOAD: [u8; 320] = [0x5a; 320];
const FRAMES: u64 = 1_000;

fn packet(numbering: &Numbering, n: u64) -> MediaPacket<'static> {
    let term = ShortTerm {
        counter: 1,
        leader: 2,
    };
    let header = (term, PlanDigest(3), Flags::default());
    MediaPacket::place(numbering, FrameIndex(n), Slot(n), n == 0, header, &PAYLOAD)
}

fn wire(criterion: &mut Criterion) {
    let numbering = Numbering::of(STATION);
    let mut bytes = Vec::new();
    criterion.bench_function("packet build", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            packet(&numbering, black_box(70_000)).write(&mut bytes);
        });
    });
    criterion.bench_function("packet parse", |bencher| {
        bencher.iter(|| MediaPacket::parse(black_box(&bytes)).unwrap().payload.len());
    });
}

/// A thousand frames on time, as a listener sees them: receive, time out, take the outputs. Per element: one frame.
fn player(criterion: &mut Criterion) {
    let numbering = Numbering::of(STATION);
    let mut group = criterion.benchmark_group("player, a frame");
    group.throughput(Throughput::Elements(FRAMES));
    for loss_percent in [0, 5, 20] {
        group.bench_function(format!("{loss_percent} % loss"), |bencher| {
            let new = || Player::new(STATION, Config::default());
            bencher.iter_batched(
                new,
                |player| listen(player, &numbering, loss_percent),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn listen(mut player: Player, numbering: &Numbering, loss_percent: u64) -> Player {
    let mut octets = 0;
    for n in 0..FRAMES {
        let now = Instant::from_micros(1_000_000 + n * FRAME_MICROS);
        // A multiplicative hash: the same losses every time, without a pattern.
        if n < 3 || n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff >= loss_percent * 655 {
            player
                .handle_media(&packet(numbering, n), now, now)
                .unwrap();
        }
        player.handle_timeout(now);
        while let Some(output) = player.poll_output() {
            if let Output::Play { index, .. } = output {
                octets += player.payload(index).map_or(0, <[u8]>::len);
            }
        }
        black_box(player.poll_timeout());
    }
    black_box(octets);
    player
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = wire, player
}
criterion_main!(benches);
