//! Does the station say who loses what, and is it the truth? The kernel drops packets on the way into one host.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::music;
use crate::net::{self, Lan};
use crate::process::{LANRADIO, on};

/// A listener's lately is ten seconds, and it reports every 5 s, give or take a fifth, what it counted in the second before.
const TOLD: Duration = Duration::from_secs(18);

fn status(lan: &Lan, flag: &str) -> String {
    let mut ask = on(&lan.hosts[0], LANRADIO);
    ask.arg("status").arg(flag);
    String::from_utf8(net::run(&mut ask).stdout).unwrap()
}

fn node<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut nodes = status["nodes"].as_array().unwrap().iter();
    let found = nodes.find(|node| node["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {status:#}"))
}

#[test]
fn a_listener_that_loses_a_tenth_is_named_with_what_it_loses_and_the_others_are_not() {
    let Some(lan) = Lan::new(3) else { return };
    music::piece(48_000, 2, 40.0).save(&lan.dir.join("song.wav"), &[]);
    let listen =
        |host: usize, name: &str| lan.listen(host, name, &["--name", name, "--no-standby"]);
    let mut listeners = [listen(1, "attic"), listen(2, "cellar")];
    let _sender = lan.start(
        0,
        "sender",
        &["send", "--name", "studio", &lan.path("song.wav")],
    );
    for listener in &mut listeners {
        listener.await_event("tuned_in", 1, 10);
    }
    lan.hosts[1].start_loss(100);
    let begun = Instant::now();
    while begun.elapsed() < TOLD {
        std::thread::sleep(Duration::from_millis(500));
    }
    let told: Value = serde_json::from_str(&status(&lan, "--json")).unwrap();
    let text = status(&lan, "-v");
    let dropped = lan.hosts[1].stop_loss();
    println!("{dropped} packets dropped\n{text}");
    // Of ten seconds, 50 packets are lost, give or take four times the root of it.
    let attic = node(&told, "attic");
    let percent = attic["loss_percent"].as_f64().unwrap();
    assert!((4.5..=16.0).contains(&percent), "{attic:#}");
    let count = |field: &str| attic[field].as_u64().unwrap();
    // What was fetched when it tuned in counts as repaired, too: a buffer of 25 frames and its pre-roll.
    const FETCHED: u64 = 40;
    let dropped = dropped as u64;
    let all = count("repaired") + count("concealed");
    assert!(
        (30..=dropped + FETCHED).contains(&all),
        "{all} of {dropped}"
    );
    assert!((2..=8).contains(&count("longest_burst")), "{attic:#}");
    let bursts = attic["loss_bursts"].as_object().unwrap();
    assert!(bursts["1"].as_u64().unwrap() >= 20, "{attic:#}");
    let heard = attic["concealed_percent"].as_f64().unwrap() > 0.0;
    assert_eq!(attic["suffers"], heard, "{attic:#}");
    let half_ms = attic["repair_ms_p50"].as_f64().unwrap();
    assert!(half_ms > 0.0 && half_ms < 100.0, "{attic:#}");
    // Where this machine stands still, a frame may come so late that it was asked for.
    let cellar = node(&told, "cellar");
    let percent = cellar["loss_percent"].as_f64().unwrap();
    assert!(percent < 2.0, "{cellar:#}");
    assert_eq!(cellar["suffers"], false, "{cellar:#}");
    let line = |name: &str| {
        let mut lines = text.lines();
        lines.find(|line| line.contains(name)).unwrap().to_owned()
    };
    assert!(line("attic").contains("loses "), "{text}");
    assert_eq!(line("attic").starts_with("! "), heard, "{text}");
    assert!(!line("cellar").starts_with('!'), "{text}");
    // Below it stands how it was repaired, and how much it loses in a row.
    let mut below = text.lines().skip_while(|line| !line.contains("attic"));
    for (label, word) in [
        ("repaired ", "by unicast"),
        ("repaired in ", "half of them"),
        ("lost in a row ", " × 1, "),
    ] {
        let line = below.find(|line| line.trim_start().starts_with(label));
        assert!(line.is_some_and(|line| line.contains(word)), "{text}");
    }
    // The same in its own words.
    let said = listeners[0].stderr();
    let live = said.lines().rfind(|line| line.contains(" concealed "));
    println!("{live:?}");
    let live = live.unwrap();
    assert!(
        live.contains(" unicast, p99 ") && live.contains(" longest burst "),
        "{live}"
    );
    let stats = listeners[0].events_named("stats").pop().unwrap();
    let bursts = stats["loss_bursts"].as_object().unwrap();
    let single = bursts["1"].as_u64().unwrap();
    assert!(single >= 20, "{stats}");
    let lost = stats["concealed"].as_u64().unwrap() + stats["repaired"].as_u64().unwrap();
    // What was dropped since the last event (a second) and waits in the buffer (half of one): of 75 frames 8, give or take four times
    // the root of it.
    let range = dropped.saturating_sub(20)..=dropped + FETCHED;
    assert!(range.contains(&lost), "{lost} of {dropped}");
}
