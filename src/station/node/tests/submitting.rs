//! What becomes of tracks that one node has and another is to play?

use super::*;
use crate::wire::election::Succession;

/// The heartbeat that `leader` sent last, as from a node whose API can be reached.
fn last_beat(leader: &Bench) -> Heartbeat {
    let (_, mut beat) = leader.beats().pop().unwrap();
    beat.succession.http_port = 8_080;
    beat
}

/// `joiner` hears `leader` and gets its plan.
fn joins(joiner: &mut Bench, leader: &Bench) {
    let beat = last_beat(leader);
    joiner.hear(&beat);
    let plan = leader.node.plan_bytes(beat.plan).unwrap();
    joiner
        .node
        .handle_plan(beat.plan, &plan, joiner.now)
        .unwrap();
    joiner.wake(joiner.now + Duration::from_millis(1));
}

fn submissions(bench: &Bench) -> Vec<Vec<u8>> {
    let submitted = bench.log.iter().filter_map(|(_, output)| match output {
        Output::Submit { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    submitted.collect()
}

/// `leader` hears that `joiner` is there.
fn meets(leader: &mut Bench, joiner: &Bench) {
    let config = joiner.node.config();
    let hello = Message::Hello(hello_of(
        config.node,
        Some(leader.node.config().station),
        Default::default(),
    ));
    let now = leader.now;
    leader.node.handle_control(addr(8), &hello, now, now);
}

fn leader() -> Bench {
    let config = Config {
        node: NodeId(1 << 32),
        station: StationId(7),
        ..config()
    };
    let mut leader = Bench::with_tracks(config, &[100]);
    leader.run_until(at_ms(100));
    leader
}

#[test]
fn a_sender_that_joins_stays_until_its_tracks_were_planned_and_played() {
    let mut leader = leader();
    let mut joiner = Bench::new(config(), at_ms(100));
    joiner.add(5);
    joiner.finish(5, 60);
    joiner.node.source_finished();
    joins(&mut joiner, &leader);
    assert!(!joiner.node.has_followed_to_own_end(), "not even known");
    let bytes = submissions(&joiner).pop().unwrap();
    let now = leader.now;
    let refused = leader.node.handle_submission(&bytes, now);
    assert_eq!(refused, Err(SubmissionError::Stranger), "no hello yet");
    meets(&mut leader, &joiner);
    // It can come twice.
    for _ in 0..2 {
        leader.node.handle_submission(&bytes, leader.now).unwrap();
    }
    leader.stock(5, 60);
    leader.run_until(at_ms(200));
    let before = submissions(&joiner).len();
    joins(&mut joiner, &leader);
    joiner.wake(joiner.now + Duration::from_secs(1));
    assert_eq!(submissions(&joiner).len(), before, "it is known");
    assert!(!joiner.node.has_followed_to_own_end(), "not played");
    leader.run_until(at_ms(3_150));
    joins(&mut joiner, &leader);
    assert!(!joiner.node.has_followed_to_own_end(), "not to its end");
    leader.run_until(at_ms(10_000));
    let sent = leader.media();
    assert_eq!((sent.len(), sent[100].track, sent[159].k), (160, 5, 59));
}

#[test]
fn a_leader_that_is_deposed_does_not_submit_what_it_has_played() {
    let mut bench = Bench::with_tracks(config(), &[30, 700, 100, 2_000]);
    bench.run_until(at_ms(15_000));
    assert_eq!(bench.node.programme().listed(track(0)), None, "forgotten");
    let mut beat = last_beat(&bench);
    let mine = beat.term;
    beat.term = Term {
        counter: 2,
        leader: NodeId(9 << 32),
    };
    beat.succession = Succession {
        over: Some(mine),
        http_port: 8_080,
        ..beat.succession
    };
    bench.hear(&beat);
    assert_eq!(bench.node.followed_term(), Some(beat.term));
    bench.wake(bench.now + Duration::from_millis(1));
    assert!(submissions(&bench).is_empty());
    assert!(!bench.node.has_followed_to_own_end());
}

/// A node from which others can copy.
fn reachable() -> Config {
    Config {
        http_port: 8_080,
        ..config()
    }
}

/// 700 ms pass, in which `joiner` hears `leader`.
fn go_on(leader: &mut Bench, joiner: &mut Bench) {
    for _ in 0..7 {
        leader.run_until(leader.now + Duration::from_millis(100));
        joiner.wake(joiner.now + Duration::from_millis(99));
        joins(joiner, leader);
    }
}

#[test]
fn a_sender_that_joins_and_is_asked_to_leave_does_so_when_its_tracks_are_safe() {
    let mut leader = leader();
    let mut joiner = Bench::new(reachable(), at_ms(100));
    joiner.add(5);
    joiner.grow(5, 30);
    joins(&mut joiner, &leader);
    joiner.node.handle_leave(joiner.now);
    go_on(&mut leader, &mut joiner);
    assert!(
        joiner.node.is_leaving() && !joiner.is_done(),
        "still encoded"
    );
    joiner.finish(5, 60);
    joiner.node.source_finished();
    go_on(&mut leader, &mut joiner);
    let bytes = submissions(&joiner).pop().unwrap();
    meets(&mut leader, &joiner);
    leader.node.handle_submission(&bytes, leader.now).unwrap();
    let music = joiner.node.unsafe_music(&joiner.shelf);
    assert!(!joiner.is_done() && music == Duration::from_millis(1_200));
    leader.stock(5, 60);
    go_on(&mut leader, &mut joiner);
    let safe = joiner.events().into_iter().find_map(|event| match event {
        Event::Safe { track, nodes, .. } => Some((track, nodes)),
        _ => None,
    });
    assert_eq!(safe, Some((track(5), 1)));
    assert!(joiner.is_done());
}

#[test]
fn a_sender_that_joins_and_is_asked_to_leave_twice_leaves_at_once() {
    let leader = leader();
    let mut joiner = Bench::new(reachable(), at_ms(100));
    joiner.add(5);
    joins(&mut joiner, &leader);
    joiner.node.handle_leave(joiner.now);
    assert!(joiner.node.is_leaving());
    joiner.node.handle_leave(joiner.now);
    joiner.wake(joiner.now + Duration::from_millis(1));
    assert!(joiner.is_done());
}

/// "I am here", of a node that follows the station of these tests.
fn hello(node: NodeId) -> Message {
    Message::Hello(hello_of(node, Some(StationId(7)), Default::default()))
}

fn submission(owner: NodeId, id: u8, frames: Option<u64>) -> Vec<u8> {
    let track = ListedTrack {
        id: track(id),
        owner,
        title: "theirs".into(),
        artist: String::new(),
        frames,
        digest: None,
    };
    let submission = Submission {
        owner,
        tracks: vec![track],
        open: frames.is_none(),
    };
    postcard::to_stdvec(&submission).unwrap()
}

#[test]
fn nobody_ends_the_track_of_another() {
    let (me, other, third) = (NodeId(1 << 32), NodeId(5 << 32), NodeId(6 << 32));
    let config = Config {
        node: me,
        station: StationId(7),
        ..config()
    };
    let mut leader = Bench::new(config, START);
    leader.add(0);
    leader.grow(0, 200);
    leader.run_until(at_ms(1_000));
    let now = leader.now;
    for node in [other, third] {
        leader.node.handle_control(addr(5), &hello(node), now, now);
    }
    let growing = submission(other, 5, None);
    leader.node.handle_submission(&growing, now).unwrap();
    for forged in [
        submission(third, 0, Some(1)),
        submission(me, 0, Some(1)),
        submission(third, 5, Some(1)),
        submission(me, 5, Some(1)),
    ] {
        let malformed = SubmissionError::Malformed(forged.len());
        assert_eq!(leader.node.handle_submission(&forged, now), Err(malformed));
    }
    assert_eq!(leader.node.rejected()["submission_malformed"], 4);
    leader.finish(0, 200);
    leader.node.source_finished();
    leader.stock(5, 60);
    let ended = submission(other, 5, Some(60));
    leader.node.handle_submission(&ended, now).unwrap();
    leader.run_until(at_ms(10_000));
    assert_eq!(leader.indices(), (0..260).collect::<Vec<_>>());
}

#[test]
fn a_track_is_not_shorter_than_what_was_sent_of_it() {
    let owner = NodeId(5 << 32);
    let mut leader = leader();
    let growing = submission(owner, 5, None);
    let now = leader.now;
    // Its owner is here as long as it says so.
    leader.node.handle_control(addr(5), &hello(owner), now, now);
    leader.node.handle_submission(&growing, now).unwrap();
    leader.stock(5, 600);
    for ms in (100..8_000).step_by(500) {
        let now = leader.now;
        leader.node.handle_control(addr(5), &hello(owner), now, now);
        leader.run_until(at_ms(ms));
    }
    let sent = leader.indices().len();
    assert!(sent > 300, "{sent}");
    let shorter = submission(owner, 5, Some(10));
    leader.node.handle_submission(&shorter, leader.now).unwrap();
    let next = submission(owner, 6, Some(60));
    leader.node.handle_submission(&next, leader.now).unwrap();
    leader.stock(6, 60);
    leader.run_until(at_ms(20_000));
    let indices = leader.indices();
    assert_eq!(indices, (0..indices.len() as u64).collect::<Vec<_>>());
    let media = leader.media();
    let of_next: Vec<_> = media.iter().filter(|sent| sent.track == 6).collect();
    assert!(of_next.iter().map(|sent| u64::from(sent.k)).eq(0..60));
    assert!(leader.is_done());
}

/// A sender with a file of 60 frames that hears a station whose API it cannot reach, until `leader` is over.
fn unheeded(leader: &mut Bench) -> Bench {
    let mut joiner = Bench::new(reachable(), at_ms(100));
    joiner.add(5);
    joiner.finish(5, 60);
    joiner.node.source_finished();
    while !matches!(leader.node.state(), Some(State::Over(_))) {
        let (_, beat) = leader.beats().pop().unwrap();
        joiner.hear(&beat);
        leader.run_until(leader.now + Duration::from_millis(100));
        joiner.run_until(leader.now);
    }
    assert!(joiner.node.followed_term().is_some() && joiner.media().is_empty());
    joiner
}

#[test]
fn a_sender_that_was_not_heeded_says_so_and_founds_a_station_when_that_one_is_over() {
    let config = Config {
        node: NodeId(1 << 32),
        station: StationId(7),
        ..config()
    };
    let mut leader = Bench::with_tracks(config, &[200]);
    leader.run_until(at_ms(100));
    let mut joiner = unheeded(&mut leader);
    joiner.hear(&leader.beats().pop().unwrap().1);
    assert!(joiner.node.is_founding());
    joiner.run_until(joiner.now + Duration::from_secs(10));
    assert_ne!(joiner.node.config().station, StationId(7));
    let sent: Vec<_> = joiner
        .media()
        .iter()
        .map(|sent| (sent.track, sent.k))
        .collect();
    assert_eq!(sent, (0..60).map(|k| (5, k)).collect::<Vec<_>>());
    let said: Vec<_> = (joiner.events().into_iter())
        .filter_map(|event| match event {
            Event::Warning(text) => Some(text),
            _ => None,
        })
        .collect();
    assert!(
        said.len() == 1 && said[0].contains("has no API"),
        "{said:?}"
    );
    assert!(joiner.is_done());
}

#[test]
fn a_sender_that_was_not_heeded_founds_nothing_when_the_programme_was_stopped() {
    let mut leader = leader();
    let mut joiner = unheeded(&mut leader);
    let (_, mut beat) = leader.beats().pop().unwrap();
    beat.state = State::Over(EndReason::Stopped);
    joiner.hear(&beat);
    assert!(!joiner.node.is_founding() && joiner.node.followed_term().is_none());
}

#[test]
fn a_leader_that_was_away_until_its_songs_had_been_played_does_not_play_them_again() {
    let mut bench = Bench::with_tracks(config(), &[200, 100]);
    bench.run_until(at_ms(1_000));
    let mut beat = last_beat(&bench);
    beat.term = Term {
        counter: 2,
        leader: NodeId(9 << 32),
    };
    beat.state = State::Over(EndReason::Ended);
    bench.hear(&beat);
    assert!(!bench.node.is_founding() && bench.node.term().is_none());
}
