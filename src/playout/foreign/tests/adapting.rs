//! What a buffer that adapts does to other programs' streams.

use super::*;

const MIN_MS: u64 = 60;

fn adapting(max_ms: u64) -> World {
    World::with(BufferChoice::Auto {
        min: Duration::from_millis(MIN_MS),
        max: Duration::from_millis(max_ms),
    })
}

fn buffer_ms(world: &World) -> u64 {
    world.foreign.buffer().as_millis() as u64
}

/// The packets, each delayed by a random time below `jitter_us(its place)`.
fn delayed(mut packets: Vec<Sent>, jitter_us: impl Fn(u64) -> u64) -> Vec<Sent> {
    for (k, sent) in packets.iter_mut().enumerate() {
        let random = (k as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        sent.arrives_us += random % jitter_us(k as u64).max(1);
    }
    packets
}

#[test]
fn it_begins_with_the_usual_buffer_within_its_limits() {
    for (max_ms, expected_ms) in [(2_000, 500), (200, 200)] {
        let mut world = adapting(max_ms);
        world.hear(Sender::default().packets(400));
        assert_eq!(buffer_ms(&world), expected_ms);
    }
}

#[test]
fn jitter_that_grows_costs_nothing_whatever_the_packets_and_shrinking_is_not_heard() {
    for samples in [120, 960, 2_880] {
        let mut world = adapting(2_000);
        let sender = Sender {
            samples,
            ..Sender::default()
        };
        let a_second = 48_000 / u64::from(samples);
        // From none to 900 ms in a minute and a half, that for 10 s, then none.
        let jitter = |k: u64| 10_000 * (k / a_second).min(90) * u64::from(k < 100 * a_second);
        let packets = delayed(sender.packets(400_000), jitter);
        let end = 100 * a_second as usize;
        world.hear(packets[..end].to_vec());
        let grown = buffer_ms(&world);
        assert!((870..=930).contains(&grown), "{samples}: {grown} ms");
        world.hear(packets[end..].to_vec());
        let shrunk = grown - buffer_ms(&world);
        assert!((38..=45).contains(&shrunk), "{samples}: {shrunk} ms");
        let statistics = world.statistics();
        let counts = (world.made_up(), statistics.late, statistics.lost);
        assert_eq!(counts, (0, 0, 0), "{samples}: {statistics:?}");
    }
}

#[test]
fn where_it_stands_still_it_goes_where_it_should_be_at_once() {
    let mut world = adapting(2_000);
    let packets = Sender::default().packets(15_000);
    world.hear(packets.clone());
    assert_eq!(buffer_ms(&world), 499);
    world.run_to(17_000_000);
    assert!(world.foreign.stands_still());
    assert_eq!(buffer_ms(&world), MIN_MS);
}
