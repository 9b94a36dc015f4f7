//! What is on air when the source is slow, late, asleep or endless?

use super::*;
use crate::station::programme::KEPT_FRAMES;

#[test]
fn the_newest_frame_is_held_back_until_it_is_known_not_to_be_the_last() {
    let mut bench = Bench::new(config(), START);
    bench.add(0);
    bench.grow(0, 61);
    bench.run_until(at_ms(695));
    assert_eq!(bench.indices().len(), 35);
    bench.finish(0, 61);
    bench.node.source_finished();
    bench.run_until(at_ms(1_200));
    let sent = bench.media();
    assert_eq!(
        (sent.len(), sent[60].last_of_track, has_idled(&bench)),
        (61, true, 0)
    );
    assert_eq!(sent.iter().filter(|sent| sent.last_of_track).count(), 1);
}

#[test]
fn a_starving_source_ends_the_run_a_horizon_ahead_and_a_new_one_goes_on_with_the_next_index() {
    let mut bench = Bench::new(config(), START);
    bench.add(0);
    bench.grow(0, 61);
    bench.run_until(at_ms(1_200));
    assert_eq!(
        (bench.indices().len(), has_idled(&bench), bench.node.state()),
        (60, 1, Some(State::Idle))
    );
    let (_, beat) = bench.beats().pop().unwrap();
    assert_eq!((beat.state, beat.next), (State::Idle, FrameIndex(60)));
    for (_, beat) in bench.beats() {
        let named = beat.run.unwrap().end;
        let expected = (beat.next.0 >= 36).then_some(FrameIndex(60));
        assert_eq!(named, expected, "frame 60 is a horizon after the 35th");
    }
    bench.grow(0, 110);
    bench.run_until(at_ms(3_000));
    assert_eq!(bench.indices().len(), 60, "49 more are no cushion");
    bench.grow(0, 111);
    bench.run_until(at_ms(3_100));
    bench.finish(0, 111);
    bench.node.source_finished();
    bench.run_until(at_ms(10_000));
    let sent = bench.media();
    assert_eq!(bench.indices(), (0..111).collect::<Vec<_>>());
    let starts: Vec<_> = sent
        .iter()
        .filter(|sent| sent.marker)
        .map(|sent| (sent.index.0, sent.slot.0))
        .collect();
    assert_eq!(starts, [(0, 0), (60, 150)]);
    assert!(sent[110].last_of_track && sent[110].slot == Slot(200));
    assert!(bench.is_done());
    assert_eq!((bench.node.skipped(), has_idled(&bench)), (0, 1));
}

#[test]
fn a_held_back_frame_plays_when_the_end_comes_while_idle() {
    let mut bench = Bench::new(config(), START);
    bench.add(0);
    bench.grow(0, 61);
    bench.run_until(at_ms(5_000));
    bench.finish(0, 61);
    bench.node.source_finished();
    bench.run_until(at_ms(10_000));
    let sent = bench.media();
    assert_eq!(
        (sent.len(), sent[60].marker, sent[60].last_of_track),
        (61, true, true)
    );
    assert!(bench.is_done());
}

#[test]
fn a_source_that_ends_while_idle_ends_the_programme() {
    let mut bench = Bench::new(config(), START);
    bench.add(0);
    bench.finish(0, 30);
    bench.add(1);
    bench.run_until(at_ms(5_000));
    assert_eq!(
        (bench.indices().len(), bench.node.state()),
        (30, Some(State::Idle))
    );
    bench.finish(1, 0);
    bench.node.source_finished();
    bench.run_until(at_ms(10_000));
    assert_eq!(bench.indices().len(), 30);
    assert!(bench.is_done());
    assert!(bench.events().contains(&Event::OffAir {
        reason: EndReason::Ended
    }));
}

#[test]
fn a_source_that_slept_as_well_plays_on_from_where_it_was() {
    let mut bench = Bench::new(config(), START);
    bench.add(0);
    bench.grow(0, 200);
    bench.run_until(at_ms(980));
    bench.add(1);
    bench.finish(0, 300);
    bench.grow(1, 2);
    bench.wake(at_ms(60_000));
    bench.finish(1, 10);
    bench.node.source_finished();
    bench.run_until(at_ms(100_000));
    assert_eq!(bench.indices(), (0..310).collect::<Vec<_>>());
    assert_eq!((bench.node.skipped(), has_idled(&bench)), (0, 0));
    let starts = bench.media().iter().filter(|sent| sent.marker).count();
    assert_eq!(starts, 2, "what slept goes on with a new run");
}

#[test]
fn what_a_leader_with_heirs_slept_through_before_a_track_that_is_missing_comes_no_faster_than_it_plays()
 {
    let mut bench = Bench::with_tracks(config(), &[2_000]);
    bench.run_until(at_ms(1_000));
    let hello = hello_of(
        NodeId(9 << 32),
        Some(STATION),
        crate::wire::election::Standing {
            standby: true,
            ..Default::default()
        },
    );
    let now = bench.now;
    (bench.node).handle_control(addr(4), &Message::Hello(hello), now, now);
    // The next track is in the list, and nothing of it is here.
    bench.add(1);
    bench.run_until(at_ms(1_100));
    let before = bench.media().len();
    bench.wake(at_ms(41_100));
    bench.run_until(at_ms(41_150));
    let burst = bench.media().len() - before;
    assert!(
        burst <= 2 * CUSHION_FRAMES as usize,
        "{burst} frames at once"
    );
    bench.run_until(at_ms(90_000));
    assert_eq!(bench.indices(), (0..2_000).collect::<Vec<_>>());
}

#[test]
fn a_loop_has_no_seam_and_bounded_memory() {
    for tracks in [&[1][..], &[7, 0, 3], &[600]] {
        let lap: u64 = tracks.iter().sum();
        let mut bench = Bench::with_tracks(
            Config {
                looped: true,
                ..config()
            },
            tracks,
        );
        let mut n = 0;
        for second in 1..=1_000 * lap / 50 + 1 {
            bench.run_until(at_ms(1_000 * second - 1));
            for sent in bench.media() {
                assert_eq!((sent.index.0, sent.slot.0), (n, n));
                let k = n % lap;
                assert_eq!(
                    (u64::from(sent.k), sent.track),
                    if k < tracks[0] {
                        (k, 0)
                    } else {
                        (k - tracks[0], 2)
                    }
                );
                assert_eq!(sent.last_of_track, k + 1 == tracks[0] || k + 1 == lap);
                n += 1;
            }
            bench.log.clear();
            let (runs, entries) = bench.node.programme().size();
            assert!(
                runs == 1 && entries as u64 <= KEPT_FRAMES + 53,
                "{runs} runs, {entries} entries"
            );
            let planned = bench.node.programme().planned_end().unwrap();
            assert!(
                planned.since(bench.node.next()) >= CUSHION_FRAMES,
                "announced a horizon before it is needed"
            );
        }
        assert!(n >= 1_000 * lap);
    }
}

#[test]
fn a_loop_goes_on_on_its_timeline_after_ten_hours_of_sleep() {
    let mut bench = Bench::with_tracks(
        Config {
            looped: true,
            ..config()
        },
        &[3],
    );
    bench.run_until(at_ms(980));
    bench.wake(at_ms(36_000_000));
    let sent = bench.media();
    let last = sent.last().unwrap();
    assert_eq!(
        (last.index.0, last.slot.0, last.k),
        (1_800_000, 1_800_000, 0)
    );
    assert_eq!(
        (sent.len(), bench.node.state()),
        (50 + 25, Some(State::Playing))
    );
    assert!(bench.node.programme().size().1 as u64 <= KEPT_FRAMES + 53);
}
