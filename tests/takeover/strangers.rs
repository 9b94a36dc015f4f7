//! Who may end a programme, or add to it? This machine and members of the station, and nobody else on the network.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::net::Host;
use crate::scene::{OBSERVER, SENDER, Scene};
use crate::song::Song;
use crate::stalls::now_ns;

const API: u16 = 8_080;

/// What the sender answers to `POST path` from `host`: the first line.
fn post(host: &Host, to: SocketAddr, path: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: lanradio\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    );
    host.enter(move || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3)).unwrap();
        let patience = Some(Duration::from_secs(3));
        stream.set_read_timeout(patience).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    })
}

#[test]
fn stranger_changes_nothing_and_member_does() {
    let http = format!("0.0.0.0:{API}");
    let Some(mut scene) = Scene::with(&Song::of(20), &["--http", &http], &[1], 0) else {
        return;
    };
    let api = SocketAddr::new(scene.ip_of(SENDER), API);
    scene.sleep_until_s(2.0);
    let refused_ns = now_ns();
    for path in ["/stop", "/programme"] {
        let answer = post(&scene.lan.hosts[OBSERVER], api, path);
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
    }
    scene.sleep_until_s(4.0);
    let last_ns = scene.frames().last().unwrap().at_ns;
    assert!(last_ns - refused_ns > 1_500_000_000, "the song goes on");
    for node in &scene.nodes {
        assert!(node.events_named("off_air").is_empty());
    }
    // The same words from a member: the programme is over.
    let answer = post(&scene.lan.hosts[1], api, "/programme");
    assert!(answer.starts_with("HTTP/1.1 400"), "no programme: {answer}");
    let answer = post(&scene.lan.hosts[1], api, "/stop");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    scene.end(&[]);
    for host in [SENDER, 1] {
        assert_eq!(scene.off_air(host), "stopped", "host {host}");
    }
}
