//! When is it over, and what is told?

use super::*;

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn off_air(world: &World) -> Option<(OffAirReason, Duration)> {
    let told = world.told.iter().zip(&world.told_at);
    let begin = Instant::from_micros(BEGIN_US);
    told.rev().find_map(|(output, at)| match output {
        Output::OffAir { reason } => Some((*reason, at.since(begin))),
        _ => None,
    })
}

#[test]
fn a_goodbye_ends_it_when_all_that_came_was_played() {
    for samples in [120, 480, 960, 2_880] {
        let mut world = World::new();
        let packets = Sender {
            samples,
            ..Sender::default()
        }
        .packets(2_010);
        world.hear(packets.clone());
        world.goodbye(7);
        assert_eq!(off_air(&world), None);
        world.run_to(9_000_000);
        assert_eq!(world.places(), whole(&packets), "{samples}");
        assert_eq!((world.made_up(), world.statistics().concealed), (0, 0));
        let (reason, after) = off_air(&world).unwrap();
        assert_eq!(reason, OffAirReason::Ended);
        assert!(after <= Duration::from_millis(2_540), "{after:?}");
        assert_eq!(world.appended % 960, 0, "the last block is whole");
    }
}

#[test]
fn a_goodbye_before_playing_began_lets_it_be_played_all_the_same() {
    let mut world = World::new();
    let packets = Sender::default().packets(100);
    world.hear(packets.clone());
    world.goodbye(7);
    world.run_to(2_000_000);
    assert_eq!((world.places(), world.made_up()), (whole(&packets), 0));
    assert_eq!(off_air(&world).unwrap().0, OffAirReason::Ended);
}

#[test]
fn goodbyes_that_are_not_the_senders_end_nothing() {
    let mut world = World::new();
    let packets = Sender::default().packets(4_000);
    for (k, sent) in packets.iter().enumerate() {
        world.run_to(sent.arrives_us);
        let _ = world.receive(sent);
        match k {
            50 => world.goodbye(8), // another source
            60 => world.foreign.handle_goodbyes(&[StationId(7)], OTHER),
            70 => world.goodbye(7), // forged: the sender goes on
            _ => {}
        }
    }
    world.run_to(4_400_000);
    assert_eq!((off_air(&world), world.made_up()), (None, 0));
}

#[test]
fn after_5_s_of_nothing_the_source_is_lost_and_no_silence_was_played_for_them() {
    let mut world = World::new();
    world.hear(Sender::default().packets(2_000));
    world.run_to(2_590_000);
    assert!(!world.foreign.stands_still());
    world.run_to(2_600_000);
    assert!(world.foreign.stands_still());
    world.run_to(20_000_000);
    let last_heard = Duration::from_micros(1_980_000);
    let (reason, after) = off_air(&world).unwrap();
    assert_eq!(
        (reason, after),
        (
            OffAirReason::SourceLost,
            last_heard + Duration::from_secs(5)
        )
    );
    assert_eq!(
        (world.statistics().received, world.statistics().concealed),
        (100, 6)
    );
    assert!(world.foreign.poll_timeout().is_none() && !world.foreign.is_on_air());
}

#[test]
fn after_the_end_the_next_stream_is_played_like_the_first() {
    let mut world = World::new();
    world.hear(Sender::default().packets(1_000));
    world.goodbye(7);
    world.run_to(3_000_000);
    let again = Sender {
        from_us: 3_000_000,
        source: 8,
        ..Sender::default()
    };
    world.hear(again.packets(1_000));
    world.run_to(4_300_000);
    let told = world.told.iter().map(|output| match output {
        Output::OnAir { source, .. } => format!("on {}", source.0),
        Output::TunedIn { frame } => format!("tuned {frame}"),
        Output::OffAir { .. } => "off".into(),
        other => format!("{other:?}"),
    });
    let expected = ["on 7", "tuned 0", "off", "on 8", "tuned 50"];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn the_listener_leaves_with_one_more_block() {
    let mut world = World::new();
    world.hear(Sender::default().packets(2_000));
    let played = world.played_at.len();
    world.foreign.handle_finish();
    world.drain();
    assert_eq!(world.played_at.len(), played + 1);
    assert_eq!(world.foreign.poll_timeout(), None);
    world.hear(
        Sender {
            from_us: 3_000_000,
            ..Sender::default()
        }
        .packets(1_000),
    );
    assert_eq!(world.played_at.len(), played + 1);
}
