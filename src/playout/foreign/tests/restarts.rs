//! What if the sender starts again, or there are two of them?

use super::*;

fn tuned_in(world: &World) -> Vec<Instant> {
    let told = world.told.iter().zip(&world.told_at);
    told.filter(|(output, _)| matches!(output, Output::TunedIn { .. }))
        .map(|(_, at)| *at)
        .collect()
}

fn sources(world: &World) -> Vec<u32> {
    let source = |output: &Output| match output {
        Output::OnAir { source, .. } => Some(source.0),
        _ => None,
    };
    world.told.iter().filter_map(source).collect()
}

fn went_off_air(world: &World) -> bool {
    world
        .told
        .iter()
        .any(|output| matches!(output, Output::OffAir { .. }))
}

#[test]
fn a_source_is_believed_with_the_third_packet_that_follows_and_loses_none_of_them() {
    let mut world = World::new();
    let packets = Sender::default().packets(200);
    let believed = packets.iter().map(|sent| {
        let _ = world.receive(sent);
        world.foreign.is_on_air()
    });
    assert_eq!(believed.take(3).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(
        (sources(&world), world.foreign.from()),
        (vec![7], Some(HOST))
    );
    world.run_to(540_000);
    assert_eq!(world.places(), [(0, 0), (1, 960), (2, 1_920)]);
}

#[test]
fn what_only_looks_like_opus_is_not_believed_and_counted() {
    let twists: [fn(usize, &mut Sent); 4] = [
        |_, sent| sent.timestamp = 5, // video: one time for a whole picture
        |k, sent| sent.timestamp = sent.timestamp.wrapping_add(840 * k as u32), // another clock
        |k, sent| sent.seq = sent.seq.wrapping_add(k as u16), // two streams in one
        |k, sent| sent.samples = [960, 120][k % 2], // random bytes
    ];
    for twist in twists {
        let mut world = World::new();
        let mut packets = Sender::default().packets(2_000);
        packets
            .iter_mut()
            .enumerate()
            .for_each(|(k, sent)| twist(k, sent));
        world.hear(packets);
        assert!(!world.foreign.is_on_air() && world.played_at.is_empty());
        assert!(world.rejected("foreign") >= 98);
    }
}

#[test]
fn a_restarted_sender_is_played_within_a_second_and_nothing_of_either_is_lost() {
    let again = Sender {
        from_us: 5_000_000,
        id: 1_000,
        ..Sender::default()
    };
    let table = [
        (
            "new source",
            Sender {
                source: 8,
                seq: 17,
                timestamp: 99,
                ..again
            },
        ),
        (
            "an hour later",
            Sender {
                timestamp: 48_000 * 3_600,
                seq: 9_000,
                ..again
            },
        ),
        (
            "an hour earlier",
            Sender {
                timestamp: 0xffff_0000 - 48_000 * 3_600,
                seq: 50_000,
                ..again
            },
        ),
        (
            "numbers go on, time leaps back",
            Sender {
                seq: 65_000 + 200,
                timestamp: 50_000,
                ..again
            },
        ),
        (
            "time goes on, numbers leap",
            Sender {
                seq: 20_000,
                timestamp: 0xffff_0000 + 4_000 * 48 / 3,
                ..again
            },
        ),
    ];
    for silence_ms in [320, 1_000, 4_000] {
        for (name, second) in table {
            let mut world = World::new();
            let old = Sender::default().packets(5_000 - silence_ms);
            let new = second.packets(5_000);
            world.hear([old.clone(), new.clone()].concat());
            world.run_to(10_400_000);
            let heard: Vec<_> = world.places().into_iter().map(|(id, _)| id).collect();
            let sent: Vec<_> = [&old[..], &new[..new.len() - 5]]
                .concat()
                .iter()
                .map(|sent| sent.id)
                .collect();
            assert_eq!(heard[..sent.len()], sent, "{name} after {silence_ms} ms");
            let [_, second_at] = tuned_in(&world)[..] else {
                panic!("{name}: {:?}", world.told)
            };
            let waited = second_at.since(Instant::from_micros(BEGIN_US + 5_000_000));
            assert!(waited <= Duration::from_secs(1), "{name}: {waited:?}");
            assert!(!went_off_air(&world), "{name}");
            assert!(world.made_up() <= 7 * 960, "{name}: {}", world.made_up());
        }
    }
}

#[test]
fn a_sender_that_starts_again_with_the_same_numbers_is_played_from_its_beginning() {
    let mut world = World::new();
    let sender = Sender {
        samples: 240,
        ..Sender::default()
    };
    let again = Sender {
        from_us: 6_000_000,
        id: 5_000,
        ..sender
    };
    world.hear([sender.packets(5_000), again.packets(3_000)].concat());
    let ids: Vec<_> = world.places().into_iter().map(|(id, _)| id).collect();
    let switch = ids.iter().position(|id| *id == 5_000).unwrap();
    assert_eq!((switch, ids.contains(&999)), (1_000, true));
    assert!(tuned_in(&world)[1] <= Instant::from_micros(BEGIN_US + 7_000_000));
}

#[test]
fn a_sender_that_was_stopped_and_goes_on_late_is_played_again_within_a_second() {
    let mut world = World::new();
    let mut packets = Sender::default().packets(10_000);
    packets[200..]
        .iter_mut()
        .for_each(|sent| sent.arrives_us += 3_000_000);
    world.hear(packets);
    let [_, second_at] = tuned_in(&world)[..] else {
        panic!("{:?}", world.told)
    };
    let waited = second_at.since(Instant::from_micros(BEGIN_US + 7_000_000));
    assert!(waited <= Duration::from_secs(1), "{waited:?}");
    assert!(world.played_at.len() > 400 && world.made_up() <= 6 * 960);
}

#[test]
fn the_network_out_for_three_seconds_is_three_seconds_of_silence() {
    let mut world = World::new();
    let packets = Sender::default().packets(10_000);
    let expected = whole(&packets);
    let heard = [&packets[..200], &packets[350..]].concat();
    world.hear(heard);
    world.run_to(10_400_000);
    assert!(world.places().iter().all(|place| expected.contains(place)));
    assert_eq!((world.made_up(), world.statistics().lost), (150 * 960, 150));
    assert_eq!(tuned_in(&world).len(), 1);
}

#[test]
fn of_two_senders_the_first_is_kept_and_the_other_counted_until_the_first_is_silent() {
    let mut world = World::new();
    let first = Sender::default().packets(5_000);
    let other = Sender {
        source: 9,
        from_us: 7_000,
        id: 5_000,
        ..Sender::default()
    };
    let other = other.packets(8_000);
    world.hear([first.clone(), other].concat());
    let ids: Vec<_> = world.places().into_iter().map(|(id, _)| id).collect();
    let switch = ids.iter().position(|id| *id >= 5_000).unwrap();
    assert_eq!(ids[..switch], (0..250).collect::<Vec<_>>());
    // The other one is played from what it sent after the first had fallen silent.
    assert!((5_249..5_252).contains(&ids[switch]), "{}", ids[switch]);
    assert_eq!(sources(&world), [7, 9]);
    let refused = world.rejected("other_source");
    assert!((260..270).contains(&refused), "{refused}");
    assert!(world.made_up() <= 7 * 960);
}

#[test]
fn of_two_senders_the_first_is_kept_when_the_listener_was_stopped() {
    let mut world = World::new();
    let first = Sender {
        from_us: 7_000,
        ..Sender::default()
    };
    let other = Sender {
        source: 9,
        id: 5_000,
        ..Sender::default()
    };
    // The first one begins a little earlier, and is behind the other at each later step.
    let first = first.packets(6_000);
    let mut packets = [&first[..], &other.packets(6_000)[4..]].concat();
    packets.sort_by_key(|sent| sent.arrives_us);
    let until = |us: u64| packets.partition_point(|sent| sent.arrives_us < us);
    let (stopped, goes_on) = (until(2_000_000), until(5_000_000));
    assert_eq!(packets[stopped].source, 9);
    world.hear(packets[..stopped].to_vec());
    world.now = Instant::from_micros(BEGIN_US + 5_000_000);
    world.read_late(&packets[stopped..goes_on]);
    world.hear(packets[goes_on..].to_vec());
    let places = world.places();
    assert_eq!(places, whole(&first)[..places.len()]);
    assert_eq!((sources(&world), world.made_up()), (vec![7], 0));
}

#[test]
fn a_flood_of_invented_sources_neither_is_played_nor_keeps_the_true_one_out() {
    let mut world = World::new();
    let mut packets = Sender::default().packets(3_000);
    for k in 0..30_000 {
        packets.push(Sent {
            source: 1_000_000 + k,
            seq: k as u16,
            timestamp: k,
            samples: 960,
            arrives_us: 60_000 + u64::from(k) * 90,
            id: 9_999,
        });
    }
    world.hear(packets);
    assert_eq!(sources(&world), [7]);
    assert_eq!(
        (world.made_up(), world.rejected("other_source")),
        (0, 30_000)
    );
}

#[test]
fn a_sender_that_is_too_fast_is_not_played_later_and_later() {
    let mut world = World::new();
    let mut packets = Sender::default().packets(90_000);
    // As ffmpeg sends without -re, but at one and a half times the speed.
    packets
        .iter_mut()
        .for_each(|sent| sent.arrives_us = sent.arrives_us * 2 / 3);
    world.hear(packets);
    let held = world.foreign.held();
    assert!(held <= Duration::from_secs(3), "{held:?}");
    world.run_to(80_000_000);
    assert!(!world.foreign.is_on_air());
}

#[test]
fn numbers_from_before_the_clock_began_are_too_old() {
    let mut world = World::new();
    world.now = Instant::from_micros(100_000);
    let mut sent = Sender::default().packets(100);
    for packet in &sent {
        let _ = world.receive(packet);
    }
    let packet = &mut sent[0];
    packet.seq = packet.seq.wrapping_sub(100);
    packet.timestamp = packet.timestamp.wrapping_sub(200 * 48_000);
    assert_eq!(
        world.receive(packet),
        Err(ForeignRejection::TooOld(StationId(7), packet.seq))
    );
}
