//! Leaving on purpose: the leader hands over to the frame, `stop` ends it for all, `status` tells who is who.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::net::Lan;
use crate::process::LANRADIO;
use crate::process::on;
use crate::scene::{HEIRS, LISTENERS, PLAIN, SENDER, Scene};
use crate::song::Song;
use crate::stalls::{self, now_ns};
use crate::wire::Expected;

const SECOND: i64 = 1_000_000_000;

#[test]
fn leader_that_is_asked_to_leave_hands_over_to_the_frame() {
    let Some(mut scene) = Scene::start(&Song::of(10)) else {
        return;
    };
    scene.sleep_until_s(4.0);
    let asked_ns = now_ns();
    scene.nodes[SENDER].signal(Signal::SIGINT);
    scene.nodes[SENDER].wait_for_code(5, 0);
    println!("left after {:.0} ms", (now_ns() - asked_ns) as f64 / 1e6);
    scene.end(&[SENDER]);
    let wire = scene.wire();
    wire.assert(&Expected {
        one_sender_from_ns: Some(asked_ns + SECOND),
        ..scene.expected()
    });
    let [event] = &scene.nodes[SENDER].events_named("handed_over")[..] else {
        panic!("handed_over once")
    };
    let turn = event["frame"].as_i64().expect("a frame");
    let successor = wire.frames.last().unwrap().from;
    println!("{event}: {successor} from frame {turn} on");
    assert!(HEIRS.contains(&scene.host_of(successor.ip())));
    // The leader's short id in each packet is the high half of its id.
    let to = event["to"].as_str().expect("a node id");
    let short = format!("{:08x}", wire.frames.last().unwrap().leader);
    assert!(to.len() == 16 && to.starts_with(&short), "{to}, {short}");
    for (frame, index) in wire.frames.iter().zip(&wire.indexes) {
        let right = (frame.from == successor) == (*index >= turn);
        let said = format!("frame {index} by {}", frame.from);
        // Whoever covers for one that stood still is neither of the two, or not yet.
        let is_excused = || stalls::excuse(&said, frame.at_ns, frame.at_ns);
        assert!(right || is_excused(), "{said}");
    }
    scene.assert_heard(&LISTENERS, &wire);
    // None, unless the machine stood still: then the judge of the wire has said so.
    let repeats = wire.repeats().len() as u64;
    for host in LISTENERS {
        let duplicate = scene.nodes[host].last_stat("duplicate");
        assert!(duplicate <= repeats, "{duplicate} twice at host {host}");
    }
    let said = scene.nodes[SENDER].stderr();
    assert!(said.contains("lanradio stop"), "how to end it: {said}");
}

#[test]
fn status_and_stop_give_up_after_a_second_without_a_station() {
    let Some(lan) = Lan::new(1) else { return };
    stalls::watch();
    for command in ["status", "stop"] {
        let (began, began_ns) = (Instant::now(), now_ns());
        let mut node = lan.start(0, command, &[command]);
        node.wait_for_code(5, 3);
        let took = began.elapsed();
        println!("{command}: {took:?}");
        let said = format!("{command}: {took:?}");
        assert!(took >= Duration::from_millis(950), "{said}");
        assert!(
            took < Duration::from_millis(2_500) || stalls::excuse(&said, began_ns, now_ns()),
            "{said}"
        );
        assert!(
            node.stdout().is_empty(),
            "{command}: data without a station"
        );
    }
}

/// `lanradio status --json` at one of the listeners.
fn status(scene: &Scene) -> Value {
    let mut ask = on(&scene.lan.hosts[PLAIN[0]], LANRADIO);
    let output = crate::net::run(ask.args(["status", "--json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The fields of DESIGN 5, with values that can be; returns the leader and the roles in order of addresses.
fn read_status(scene: &Scene, status: &Value) -> (usize, Vec<String>) {
    let text = |value: &Value| {
        let text = value.as_str();
        text.unwrap_or_else(|| panic!("no text: {value}"))
            .to_owned()
    };
    assert!(
        status["station"].is_string() && status["name"].is_string(),
        "{status}"
    );
    let leader = text(&status["leader"]);
    assert_eq!(leader.len(), 16, "{leader}");
    assert!(status["term"]["counter"].is_u64(), "{status}");
    assert_eq!(status["term"]["leader"], status["leader"]);
    assert_eq!(status["quorum"], 1);
    assert_eq!(status["buffer_ms"], 500);
    let playing = &status["playing"];
    // The file has no tags: it goes by its name, and by no artist.
    assert_eq!(playing["title"], "song", "{playing}");
    assert!(playing.get("artist").is_some(), "{playing}");
    let of = |field: &str| {
        playing[field]
            .as_f64()
            .unwrap_or_else(|| panic!("{playing}"))
    };
    let duration_ms = scene.song.payloads.len() as f64 * 20.0;
    assert!((of("duration_ms") - duration_ms).abs() <= 20.0, "{playing}");
    assert!(
        (0.0..=duration_ms).contains(&of("position_ms")),
        "{playing}"
    );
    assert_eq!(status["queue"].as_array().expect("a queue").len(), 0);
    let nodes = status["nodes"].as_array().expect("nodes");
    let mut roles = Vec::new();
    let mut leads = None;
    for node in nodes {
        let address = text(&node["addr"]);
        let ip = address
            .rsplit_once(':')
            .map_or(address.as_str(), |(ip, _)| ip);
        let host = scene.host_of(ip.parse().unwrap());
        if text(&node["id"]) == leader {
            leads = Some(host);
            assert_eq!(node["role"], "leader");
        }
        assert!(node["name"].is_string(), "{node}");
        assert!(node.as_object().unwrap().contains_key("rank"), "{node}");
        for field in ["received", "lost", "concealed", "buffer_ms"] {
            let there = node[field].is_number() || node[field].is_null();
            assert!(there && node.get(field).is_some(), "{field} in {node}");
        }
        let percent = node["replica_percent"].as_f64().unwrap_or(0.0);
        assert!((0.0..=100.0).contains(&percent), "{node}");
        // Whoever sends has made all of it; whoever leads later has copied it.
        assert!(percent == 100.0 || node["role"] != "leader", "{node}");
        roles.push((host, text(&node["role"])));
    }
    roles.sort();
    let hosts: Vec<_> = roles.iter().map(|(host, _)| *host).collect();
    println!("roles: {roles:?}");
    assert!(hosts.is_sorted_by(|a, b| a < b), "each node once");
    let roles = roles.into_iter().map(|(_, role)| role).collect();
    (leads.expect("the leader is among the nodes"), roles)
}

#[test]
fn status_knows_who_leads_before_and_after_a_takeover_and_stop_ends_it_for_all() {
    let Some(mut scene) = Scene::start(&Song::of(30)) else {
        return;
    };
    // By then every node has said hello to the leader.
    scene.sleep_until_s(3.0);
    let (leader, roles) = read_status(&scene, &status(&scene));
    assert_eq!(leader, SENDER);
    assert_eq!(
        roles,
        ["leader", "standby", "standby", "listener", "listener"]
    );
    scene.kill(SENDER);
    scene.sleep_until_s(6.0);
    let (leader, roles) = read_status(&scene, &status(&scene));
    assert_eq!(leader, scene.on_air_now());
    let of_role = |role: &str| roles.iter().filter(|other| *other == role).count();
    assert_eq!(
        (of_role("leader"), of_role("listener")),
        (1, 2),
        "{roles:?}"
    );

    let stopped_ns = now_ns();
    let mut stop = scene.lan.start(PLAIN[0], "stop", &["stop"]);
    stop.wait_for_code(5, 0);
    for host in LISTENERS {
        scene.nodes[host].wait_for_code(5, 0);
        assert_eq!(scene.off_air(host), "stopped", "host {host}");
        let (at_ns, _) = scene.events_after(host, "off_air", stopped_ns)[0];
        println!(
            "host {host} off air after {:.0} ms",
            (at_ns - stopped_ns) as f64 / 1e6
        );
    }
    let last_ns = scene.frames().last().unwrap().at_ns;
    assert!(last_ns - stopped_ns < 2 * SECOND, "frames after the stop");
}

#[test]
fn stop_ends_the_command_of_the_sender_too() {
    let Some(mut scene) = Scene::start(&Song::of(30)) else {
        return;
    };
    scene.sleep_until_s(2.0);
    let mut stop = scene.lan.start(PLAIN[1], "stop", &["stop"]);
    stop.wait_for_code(5, 0);
    scene.end(&[]);
    for host in 0..scene.nodes.len() {
        assert_eq!(scene.off_air(host), "stopped", "host {host}");
    }
}
