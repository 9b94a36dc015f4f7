//! After a takeover the station is as open as before: who comes late hears it, and what is sent to it is played.

use std::sync::Arc;

use crate::process::Node;
use crate::scene::{LISTENERS, SENDER, SPARE, Scene};
use crate::song::Song;
use crate::stalls::now_ns;
use crate::wire::{Expected, Trouble, Wire};
use crate::{reference, wav};

const SECOND: i64 = 1_000_000_000;

/// A station that lost its sender 3 s after it began, with one host more.
struct Orphan {
    scene: Scene,
    other: Arc<Song>,
    killed_ns: i64,
}

impl Orphan {
    fn new() -> Option<Orphan> {
        let mut scene = Scene::with(&Song::of(10), &[], &LISTENERS, 1)?;
        scene.sleep_until_s(3.0);
        let killed_ns = scene.kill(SENDER);
        // Reaped, and gone: its place is free for another.
        scene.nodes[SENDER].wait(5);
        let other = Song::other(4);
        Some(Orphan {
            scene,
            other,
            killed_ns,
        })
    }

    fn after_kill_s(&self) -> f64 {
        (now_ns() - self.killed_ns) as f64 / 1e9
    }

    /// Sends another song from `host`.
    fn append(&self, host: usize, name: &str) -> Node {
        let path = self.other.save(&self.scene.lan, "other");
        self.scene.lan.start(host, name, &["send", &path])
    }

    /// Both songs were sent, one right after the other, by one host from the takeover on; and heard by the four.
    fn assert_both_songs(&self) -> Wire {
        let wire = self.scene.wire();
        let mut expected = Expected {
            troubles: vec![Trouble::loss(self.killed_ns)],
            one_sender_from_ns: Some(self.killed_ns + SECOND),
            ..self.scene.expected()
        };
        let more = self.other.payloads.iter().map(Vec::as_slice);
        expected.payloads.extend(more);
        wire.assert(&expected);
        self.scene.assert_heard(&LISTENERS, &wire);
        wire
    }
}

#[test]
fn late_listener_hears_an_orphaned_song_and_the_old_sender_joins_without_taking_over() {
    let Some(mut orphan) = Orphan::new() else {
        return;
    };
    let lan = &orphan.scene.lan;
    orphan.scene.sleep_until_s(4.0);
    let mut late = lan.listen(SPARE, "late", &["--once"]);
    orphan.scene.sleep_until_s(5.0);
    let mut again = orphan.append(SENDER, "S-again");
    println!(
        "the sender is back {:.1} s after its death",
        orphan.after_kill_s()
    );
    orphan.scene.end(&[SENDER]);
    again.wait_for_code(10, 0);
    late.wait_for_code(10, 0);
    let wire = orphan.assert_both_songs();
    let [tuned_in] = &late.events_named("tuned_in")[..] else {
        panic!("tuned in once")
    };
    let first = tuned_in["frame"].as_u64().unwrap() as usize;
    println!("late listener: from frame {first}, {} ms", tuned_in["ms"]);
    // It may begin as far back as the others, who are a buffer behind the cable.
    assert!((175..300).contains(&first), "started at 200: {first}");
    let heard = wav::read_blocks(&orphan.scene.lan.wav("late"));
    reference::assert_same(&heard, &wire.blocks()[first..], "late");
    let claims = again.events_named("took_over").into_iter();
    let claims: Vec<_> = claims
        .map(|claim| (orphan.scene.event_ns(SENDER, &claim), claim))
        .collect();
    Scene::assert_no_claims(&claims);
}

#[test]
fn song_sent_3_s_after_the_kill_follows_without_a_gap() {
    let Some(mut orphan) = Orphan::new() else {
        return;
    };
    orphan.scene.sleep_until_s(6.0);
    let mut another = orphan.append(SPARE, "another");
    println!("appended {:.1} s after the kill", orphan.after_kill_s());
    orphan.scene.end(&[SENDER]);
    another.wait_for_code(10, 0);
    orphan.assert_both_songs();
    let said = another.stderr();
    println!("send says: {said}");
    assert!(said.contains("song"), "what plays is not named: {said}");
}
