//! Whose packets are played when several lead (PROTOCOL, RECEIVE).

use super::super::*;
use super::harness::*;
use crate::wire::control::Heartbeat;
use crate::wire::ids::PlanDigest;
use crate::wire::media::Flags;

/// Frames 0..10 of the leader of term 2 were heard on time.
fn following() -> Listener {
    let mut listener = Listener::new();
    listener.hears(&Heartbeat {
        term: term(2),
        ..beat(0)
    });
    (0..10).for_each(|n| listener.on_time(packet(n).term(2)));
    listener
}

fn of(counter: u32, next: u64) -> Heartbeat {
    Heartbeat {
        term: term(counter),
        plan: PlanDigest(counter),
        ..beat(next)
    }
}

#[test]
fn a_lower_term_is_dropped_in_packets_and_in_heartbeats() {
    let mut listener = following();
    assert_eq!(
        listener.receive(packet(10).term(1), due(10)),
        Err(Rejection::StaleTerm)
    );
    assert_eq!(
        listener
            .player
            .handle_heartbeat(&of(1, 10), due(10), due(10)),
        Err(Rejection::StaleTerm)
    );
    assert_eq!(listener.rejected("stale_term"), 2);
    assert_eq!(listener.player.term(), Some(term(2)));
}

#[test]
fn an_older_heartbeat_of_the_same_term_says_nothing() {
    let mut listener = following();
    let older = Heartbeat {
        number: 0,
        buffer_ms: 999,
        ..of(2, 0)
    };
    assert_eq!(
        listener.player.handle_heartbeat(&older, due(10), due(10)),
        Ok(())
    );
    assert_eq!(listener.player.buffer(), BUFFER);
}

#[test]
fn a_higher_term_is_adopted_at_once_when_the_leader_has_been_silent() {
    let mut listener = following();
    // 9 was the last; 50 ms later the next is 10 ms overdue by more than the rule asks.
    let heard = due(9) + Duration::from_micros(50_001);
    assert_eq!(listener.receive(packet(10).term(3).plan(3), heard), Ok(()));
    assert_eq!(
        listener.receive(packet(11).term(2), heard),
        Err(Rejection::StaleTerm)
    );
    assert_eq!(
        listener.player.term(),
        None,
        "a media packet names its leader by half only"
    );
    assert_eq!(
        listener.player.handle_heartbeat(
            &Heartbeat {
                number: 1,
                ..of(3, 11)
            },
            heard,
            heard
        ),
        Ok(())
    );
    listener.run_until(play(10));
    assert_eq!(listener.stretches(), [(0, 11, true)]);
    let leaders: Vec<_> = listener
        .words()
        .into_iter()
        .filter(|word| matches!(word, Output::Leader { .. }))
        .collect();
    assert_eq!(leaders, [leader(2, "first"), leader(3, "silence")]);
}

#[test]
fn while_the_leader_is_heard_a_higher_term_waits_200_ms_and_loses_nothing_by_it() {
    let mut listener = following();
    // Both send; the rival has another plan from frame 15 on (frames before that were the followed leader's first).
    for n in 10..30 {
        listener.on_time_unless_stale(packet(n).term(2));
        let _ = listener.receive(packet(n).term(3).plan(3), due(n));
        let adopted = listener.receive(packet(n).term(2), due(n)) == Err(Rejection::StaleTerm);
        assert_eq!(adopted, n >= 20, "at frame {n}");
    }
    listener.run_until(play(29));
    assert_eq!(listener.stretches(), [(0, 30, true)]);
}

impl Listener {
    fn on_time_unless_stale(&mut self, packet: Packet) {
        self.run_until(packet.due() - Duration::from_micros(1));
        let _ = self.receive(packet, packet.due());
    }
}

#[test]
fn covers_of_another_leader_never_depose_a_live_one() {
    let mut listener = following();
    for n in 10..60 {
        listener.on_time(packet(n).term(2));
        assert_eq!(
            listener.receive(packet(n + 1).term(3).plan(3).flags(Flags::COVER), due(n)),
            Ok(())
        );
        assert_eq!(listener.player.statistics().rejected_total(), 0);
    }
    assert_eq!(listener.player.term(), Some(term(2)));
}

#[test]
fn covers_of_the_followed_leader_are_ordinary_packets() {
    let mut listener = following();
    (10..20).for_each(|n| listener.on_time(packet(n).term(2).flags(Flags::COVER)));
    listener.run_until(play(19));
    assert_eq!(listener.stretches(), [(0, 20, true)]);
}

#[test]
fn a_new_leader_with_another_plan_replaces_what_was_planned_and_not_played() {
    for (plan, replaced) in [(1, false), (3, true)] {
        let mut listener = following();
        let held = |listener: &Listener, n| {
            listener
                .player
                .frames()
                .info(FrameIndex(n))
                .map(|info| info.term.counter)
        };
        let heard = due(9) + Duration::from_millis(60);
        assert_eq!(
            listener.receive(packet(8).term(3).plan(plan), heard),
            Ok(())
        );
        assert_eq!(held(&listener, 7), Some(2));
        assert_eq!(held(&listener, 8), Some(if replaced { 3 } else { 2 }));
        assert_eq!(held(&listener, 9), (!replaced).then_some(2));
    }
}

#[test]
fn solo_packets_count_when_nobody_leads_and_raise_no_term() {
    let mut listener = following();
    let solo = packet(10).term(9).flags(Flags::SOLO);
    assert_eq!(
        listener.receive(solo, due(10)),
        Err(Rejection::Solo(FrameIndex(10)))
    );
    let later = due(9) + Duration::from_micros(200_001);
    assert_eq!(
        listener.receive(packet(20).term(9).flags(Flags::SOLO), later),
        Ok(())
    );
    assert_eq!(listener.receive(packet(21).term(2), later + FRAME), Ok(()));
    assert_eq!(listener.player.term(), Some(term(2)));
}

#[test]
fn a_takeover_by_covers_and_a_claim_is_inaudible() {
    let mut listener = following();
    (10..13).for_each(|n| {
        let cover = packet(n).term(2).flags(Flags::COVER);
        listener.run_until(cover.due() + FRAME);
        assert_eq!(listener.receive(cover, cover.due() + FRAME * 2), Ok(()));
    });
    listener.run_until(due(15));
    (13..16).for_each(|n| assert_eq!(listener.receive(packet(n).term(3).plan(1), due(15)), Ok(())));
    (16..30).for_each(|n| listener.on_time(packet(n).term(3)));
    listener.run_until(play(29));
    assert_eq!(listener.stretches(), [(0, 30, true)]);
    assert_eq!(listener.player.statistics().rejected_total(), 0);
}
