//! Does every packet sound where its timestamp says, and nowhere else?

use super::*;
use proptest::prelude::*;

#[test]
fn packets_of_any_duration_play_whole_in_time_across_both_wraps() {
    for samples in [120, 240, 480, 960, 1_920, 2_880, 5_760] {
        let mut world = World::new();
        let sender = Sender {
            samples,
            timestamp: u32::MAX - 96_000,
            seq: u16::MAX - 4,
            ..Sender::default()
        };
        let packets = sender.packets(30_000);
        world.hear(packets.clone());
        world.run_to(31_000_000);
        assert_eq!(world.places(), whole(&packets), "{samples}");
        let first_us = BEGIN_US + 500_000;
        for (k, at) in world.played_at.iter().take(1_500).enumerate() {
            let off_us = at.micros_after(Instant::from_micros(first_us + k as u64 * 20_000));
            assert!(off_us.abs() <= 1, "{samples}: block {k} is {off_us} us off");
        }
        assert_eq!(world.statistics().received, 1_500, "{samples}");
        // Then there is nothing, and it fades.
        assert!(world.made_up() <= 6 * 960, "{samples}");
    }
}

#[test]
fn a_mixture_of_durations_is_gathered_and_split() {
    let mut packets = Vec::new();
    let (mut timestamp, mut arrives_us) = (0, 0);
    for k in 0..400 {
        let samples = [120, 2_880, 960, 480, 5_760, 240, 1_920][k as usize % 7];
        packets.push(Sent {
            source: 7,
            seq: k,
            timestamp,
            samples,
            arrives_us,
            id: k.into(),
        });
        timestamp += samples;
        arrives_us = u64::from(timestamp) * 125 / 6;
    }
    let mut world = World::new();
    world.hear(packets.clone());
    world.run_to(arrives_us + 400_000);
    assert_eq!(
        (world.places(), world.made_up()),
        (whole(&packets[..world.places().len()]), 0)
    );
    assert!(world.places().len() > 390);
}

#[test]
fn a_lost_packet_is_concealed_for_its_time_and_counted_lost_after_a_second() {
    for (samples, blocks) in [(120, 1), (960, 1), (2_880, 3)] {
        let mut world = World::new();
        let mut packets = Sender {
            samples,
            ..Sender::default()
        }
        .packets(6_000);
        let expected = whole(&packets);
        packets.remove(40);
        world.hear(packets);
        world.run_to(6_300_000);
        let places = world.places();
        assert!(
            places.iter().all(|place| expected.contains(place)),
            "{samples}"
        );
        assert_eq!(world.made_up(), u64::from(samples));
        let statistics = world.statistics();
        assert_eq!(
            (statistics.concealed, statistics.lost, statistics.late),
            (blocks, 1, 0)
        );
    }
}

#[test]
fn a_packet_at_its_deadline_plays_and_one_after_it_is_late() {
    for (late_us, late, made_up) in [(0, 0, 0), (1, 1, 960)] {
        let mut world = World::new();
        let mut packets = Sender::default().packets(4_000);
        packets[50].arrives_us += 500_000 + late_us;
        world.hear(packets);
        world.run_to(4_300_000);
        assert_eq!(
            (world.statistics().late, world.made_up()),
            (late, made_up),
            "{late_us}"
        );
        assert_eq!(
            (world.statistics().lost, world.statistics().reordered),
            (0, 1)
        );
    }
}

#[test]
fn the_rest_of_a_long_packet_plays_when_only_its_beginning_is_too_late() {
    let mut world = World::new();
    let mut packets = Sender {
        samples: 2_880,
        ..Sender::default()
    }
    .packets(4_000);
    packets[30].arrives_us += 500_001;
    let expected = whole(&packets);
    world.hear(packets);
    world.run_to(4_200_000);
    assert!(world.places().iter().all(|place| expected.contains(place)));
    assert!(world.places().iter().any(|(id, _)| *id == 30));
    assert_eq!((world.made_up(), world.statistics().concealed), (960, 1));
}

#[test]
fn copies_are_counted_and_play_once() {
    let mut world = World::new();
    let packets = Sender::default().packets(4_000);
    let mut twice = packets.clone();
    twice.extend(packets.iter().skip(10).step_by(2).cloned().map(|mut sent| {
        sent.arrives_us += 700_000;
        sent
    }));
    let copies = twice.len() - packets.len();
    world.hear(twice);
    world.run_to(5_000_000);
    assert_eq!(world.places(), whole(&packets));
    assert_eq!(world.statistics().duplicate, copies as u64);
    assert_eq!(world.statistics().rejected_total(), 0);
}

#[test]
fn a_pause_of_the_sender_is_silence_and_nothing_is_lost() {
    let mut world = World::new();
    let first = Sender::default().packets(2_000);
    let second = Sender {
        seq: 65_100,
        timestamp: 0xffff_0000_u32.wrapping_add(2_400 * 48),
        from_us: 2_400_000,
        id: 100,
        ..Sender::default()
    };
    let second = second.packets(2_000);
    world.hear([first.clone(), second].concat());
    world.run_to(4_700_000);
    assert_eq!(
        (world.statistics().lost, world.statistics().concealed),
        (0, 20)
    );
    assert!(world.places().contains(&(100, 2_400 * 48)));
    assert_eq!(world.rejected("jump"), 0);
}

#[test]
fn a_small_step_of_the_timestamps_at_the_start_is_no_hole() {
    for step in [-312, -1, 1, 312, 480] {
        let mut world = World::new();
        let mut packets = Sender::default().packets(3_000);
        for sent in &mut packets[5..] {
            sent.timestamp = sent.timestamp.wrapping_add_signed(step);
        }
        world.hear(packets.clone());
        world.run_to(3_300_000);
        assert_eq!(
            world.places(),
            whole(&packets)[..world.places().len()],
            "{step}"
        );
        assert_eq!((world.made_up(), world.places().len() > 135), (0, true));
    }
}

#[test]
fn a_sender_cannot_make_time_run_faster_by_its_timestamps() {
    let mut world = World::new();
    let mut packets = Sender {
        samples: 5_760,
        ..Sender::default()
    }
    .packets(12_000);
    for (k, sent) in packets.iter_mut().enumerate().skip(10) {
        sent.timestamp = 0xffff_0000_u32.wrapping_add(10 * 5_760 + k as u32 * 10);
    }
    world.hear(packets);
    assert!(
        world.played_at.len() < 12 * 50 + 12,
        "{} blocks",
        world.played_at.len()
    );
}

#[test]
fn drift_of_500_ppm_is_followed_without_a_hole() {
    for ppm in [-500, 500] {
        let mut world = World::new();
        let mut packets = Sender::default().packets(600_000);
        for sent in &mut packets {
            let drift_us = sent.arrives_us as i64 * ppm / 1_000_000;
            sent.arrives_us = sent.arrives_us.saturating_add_signed(drift_us);
        }
        world.hear(packets.clone());
        assert_eq!((world.made_up(), world.statistics().lost), (0, 0), "{ppm}");
        let latencies = world.latencies_ms(&packets[100..packets.len() - 30]);
        let range = (
            latencies.iter().min().copied(),
            latencies.iter().max().copied(),
        );
        assert!(
            range.0 >= Some(494) && range.1 <= Some(506),
            "{ppm}: {range:?}"
        );
    }
}

#[test]
fn a_first_burst_does_not_shorten_the_buffer_for_the_rest() {
    for burst_ms in [100, 200, 400] {
        let mut world = World::new();
        let mut packets = Sender::default().packets(20_000);
        packets
            .iter_mut()
            .filter(|sent| sent.arrives_us < burst_ms * 1_000)
            .for_each(|sent| sent.arrives_us = 0);
        world.hear(packets.clone());
        assert_eq!(
            (world.made_up(), world.statistics().late),
            (0, 0),
            "{burst_ms}"
        );
        let latencies = world.latencies_ms(&packets[50..900]);
        assert!(
            latencies.iter().all(|ms| (490..=510).contains(ms)),
            "{burst_ms}: {latencies:?}"
        );
    }
}

#[test]
fn a_sender_that_stays_ahead_after_its_first_burst_is_not_buffered_longer() {
    for lead_ms in [100, 500, 900] {
        let mut world = World::new();
        let mut packets = Sender::default().packets(20_000);
        for sent in &mut packets {
            sent.arrives_us = sent.arrives_us.saturating_sub(lead_ms * 1_000);
        }
        world.hear(packets.clone());
        assert_eq!(
            (world.made_up(), world.statistics().late),
            (0, 0),
            "{lead_ms}"
        );
        let latencies = world.latencies_ms(&packets[200..900]);
        assert!(
            latencies.iter().all(|ms| (480..=520).contains(ms)),
            "{lead_ms}: {latencies:?}"
        );
    }
}

#[test]
fn the_first_packets_held_back_by_the_network_do_not_lengthen_the_buffer() {
    let mut world = World::new();
    let mut packets = Sender::default().packets(10_000);
    packets[..10]
        .iter_mut()
        .for_each(|sent| sent.arrives_us = 280_000);
    world.hear(packets.clone());
    assert_eq!(world.made_up(), 0);
    let latencies = world.latencies_ms(&packets[50..400]);
    assert!(
        latencies.iter().all(|ms| (490..=510).contains(ms)),
        "{latencies:?}"
    );
}

/// The first packet that is read says how late it is, and the others still wait in the socket.
#[test]
fn what_arrived_while_the_listener_was_stopped_is_played_and_nothing_made_up() {
    for samples in [120, 960, 2_880] {
        let mut world = World::new();
        let sender = Sender {
            samples,
            ..Sender::default()
        };
        let packets = sender.packets(8_000);
        let until = |us: u64| packets.partition_point(|sent| sent.arrives_us < us);
        let (stopped, goes_on) = (until(2_000_000), until(5_000_000));
        world.hear(packets[..stopped].to_vec());
        world.now = Instant::from_micros(BEGIN_US + 5_000_000);
        world.read_late(&packets[stopped..goes_on]);
        world.hear(packets[goes_on..].to_vec());
        world.run_to(8_400_000);
        let places = world.places();
        assert_eq!(places, whole(&packets)[..places.len()], "{samples}");
        let statistics = world.statistics();
        let counts = (statistics.concealed, statistics.late, statistics.lost);
        assert_eq!((world.made_up(), counts), (0, (0, 0, 0)), "{samples}");
        assert!(statistics.received >= 390, "{samples}: {statistics:?}");
    }
}

#[test]
fn what_does_not_decode_is_concealed_and_counted() {
    let mut world = World::new();
    world.damaged = vec![40, 41, 60];
    let packets = Sender::default().packets(3_000);
    let expected = whole(&packets);
    world.hear(packets);
    world.run_to(3_300_000);
    assert!(world.places().iter().all(|place| expected.contains(place)));
    assert_eq!(
        (world.statistics().concealed, world.statistics().lost),
        (3, 3)
    );
    assert_eq!((world.made_up(), world.rejected("opus")), (3 * 960, 3));
}

#[test]
fn no_more_is_held_than_the_limit_says_and_the_rest_is_counted() {
    let mut world = World::with_buffer(Duration::from_secs(5));
    let short = Sender {
        samples: 120,
        ..Sender::default()
    };
    let packets = short.packets(4_900);
    for sent in &packets {
        world.run_to(sent.arrives_us);
        let packet = ForeignPacket {
            source: StationId(7),
            seq: Seq(sent.seq),
            timestamp: RtpTimestamp(sent.timestamp),
            samples: 120,
            payload: &[0; 1_200],
        };
        let _ = world
            .foreign
            .handle_packet(&packet, HOST, world.now, world.now);
    }
    let held = (1 << 20) / 1_200;
    assert_eq!(world.rejected("full"), packets.len() as u64 - held);
    assert_eq!(world.foreign.held().as_micros() as u64, held * 2_500);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Loss, delay and copies in any mixture: each packet sounds in its place, at most once, and everything is counted.
    #[test]
    fn whatever_the_network_does_each_packet_sounds_in_its_place(
        samples in prop::sample::select(vec![120u32, 240, 480, 960, 1_920, 2_880]),
        fates in prop::collection::vec((0u8..100, 0u64..900), 60..400),
    ) {
        let mut world = World::new();
        let packets = Sender { samples, ..Sender::default() }.packets(8_000);
        let expected = whole(&packets);
        let (mut on_the_way, mut lost) = (Vec::new(), 0);
        for (k, sent) in packets.iter().enumerate() {
            let (fate, delay_ms) = fates[k % fates.len()];
            let mut delayed = sent.clone();
            match fate {
                // What is late at the end could be another stream's beginning.
                _ if k < 40 || k + 40 > packets.len() => on_the_way.push(sent.clone()),
                0..10 => lost += 1,
                10..20 => {
                    delayed.arrives_us += delay_ms * 1_000;
                    on_the_way.push(delayed);
                }
                20..30 => {
                    delayed.arrives_us += delay_ms * 1_000;
                    on_the_way.extend([sent.clone(), delayed]);
                }
                _ => on_the_way.push(sent.clone()),
            }
        }
        world.hear(on_the_way);
        world.run_to(12_000_000);
        let places = world.places();
        prop_assert!(places.iter().all(|place| expected.contains(place)));
        let mut ids: Vec<_> = places.iter().map(|(id, _)| *id).collect();
        ids.dedup();
        prop_assert_eq!(ids.len(), places.len());
        let statistics = world.statistics();
        // Each packet was played, came late, or is lost; those lost at the very end are not known of.
        let accounted = places.len() as u64 + statistics.late + statistics.lost;
        prop_assert!((expected.len() as u64).abs_diff(accounted) <= lost.min(12), "{} of {}: {:?}", accounted, expected.len(), statistics);
    }

    /// Packets of any numbers at any time: no panic, no endless loop, and the blocks are counted (see `World::drain`).
    #[test]
    fn whatever_is_sent_the_blocks_are_counted(
        steps in prop::collection::vec((0u8..8, any::<i16>(), any::<i32>(), 0u64..2_000, 1u32..48), 0..300),
    ) {
        let mut world = World::new();
        let (mut at_us, mut seq, mut timestamp) = (0, 0u16, 0u32);
        for (kind, jump, leap, pause_ms, grains) in steps {
            let mut sent = Sent { source: 7, seq, timestamp, samples: 960, arrives_us: 0, id: 0 };
            at_us += 20_000;
            match kind {
                0 => sent.seq = seq.wrapping_add_signed(jump),
                1 => sent.timestamp = timestamp.wrapping_add_signed(leap),
                2 => (sent.seq, sent.timestamp) = (seq.wrapping_add_signed(jump), timestamp.wrapping_add_signed(leap)),
                3 => at_us += pause_ms * 1_000,
                4 => sent.source = u32::from(jump as u16 % 6),
                5 => sent.samples = grains * 120,
                _ => {}
            }
            world.run_to(at_us);
            let _ = world.receive(&sent);
            if jump % 64 == 0 {
                world.goodbye(sent.source);
            }
            (seq, timestamp) = (sent.seq.wrapping_add(1), sent.timestamp.wrapping_add(sent.samples));
        }
        world.run_to(at_us + 20_000_000);
        prop_assert!(!world.foreign.is_on_air(), "{:?} at {}", world.foreign, world.now);
    }
}
