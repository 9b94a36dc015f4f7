//! What does a leader say of listeners that suffer? Here they are made up: this machine loses nothing.

use std::net::UdpSocket;
use std::time::Duration;

use lanradio::wire::control::{Hello, Message};
use lanradio::wire::report::{Bursts, Lately, NodeReport, Report, Totals};
use lanradio::wire::{NodeId, StationId};
use serde_json::Value;

use crate::members::{node, status, status_when};
use crate::station::api;
use crate::support::{Process, Studio, named};

/// A listener that only says that it is there, and how it fares.
struct Made<'a> {
    studio: &'a Studio,
    socket: UdpSocket,
    id: NodeId,
    station: StationId,
    name: &'static str,
}

impl Made<'_> {
    fn new<'a>(studio: &'a Studio, station: &Value, id: u64, name: &'static str) -> Made<'a> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket
            .set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST)
            .unwrap();
        let station = u32::from_str_radix(station.as_str().unwrap(), 16).unwrap();
        Made {
            studio,
            socket: socket.into(),
            id: NodeId(id),
            station: StationId(station),
            name,
        }
    }

    fn says(&self, message: &Message) {
        let control = (self.studio.ip, self.studio.port + 2);
        self.socket.send_to(&message.to_bytes(), control).unwrap();
    }

    fn greets(&self) {
        self.says(&Message::Hello(Hello {
            node: self.id,
            name: self.name.into(),
            founding: false,
            station: Some(self.station),
            standing: Default::default(),
            held_to: None,
        }));
    }

    fn reports(&self, missed: u32, concealed: u32) {
        let lately = Lately {
            frames: 500,
            missed,
            concealed,
            ..Lately::default()
        };
        self.says(&Message::Report(Box::new(NodeReport {
            station: self.station,
            node: self.id,
            report: Report {
                listens: true,
                totals: Totals {
                    repaired_by_unicast: u64::from(missed - concealed),
                    ..Totals::default()
                },
                lately,
                longest_burst: 2,
                bursts: Bursts([u64::from(missed), 1, 0, 0, 0, 0, 0]),
                ..Report::default()
            },
        })));
    }
}

#[test]
fn a_leader_says_who_suffers_in_its_status_and_on_its_live_line() {
    let studio = Studio::new();
    studio.tone("one.wav", 20_000, 440.0);
    let line = format!(
        "send one.wav --name kitchen --events - --http {}",
        api(&studio)
    );
    let sender = Process::spawn_on_terminal(studio.command(line.split(' ')), 110);
    sender.wait_event("track");
    let station = status(&studio)["station"].clone();
    let attic = Made::new(&studio, &station, 7 << 32, "attic");
    let cellar = Made::new(&studio, &station, 8 << 32, "cellar");
    // Whoever is not known yet is not believed.
    attic.reports(500, 500);
    let alone = |status: &Value| status["nodes"].as_array().unwrap().len() == 1;
    status_when(&studio, alone);
    for (made, missed, concealed) in [(&attic, 60, 1), (&cellar, 24, 0)] {
        made.greets();
        // They come in by one socket, in order.
        made.reports(missed, concealed);
    }
    let told = status_when(&studio, |status| {
        let nodes = status["nodes"].as_array().unwrap();
        nodes.len() == 3 && nodes.iter().all(|node| !node["report_age_s"].is_null())
    });
    for (name, words, suffers, loss) in [
        ("attic", "loses 12 %, 0.2 % not repaired", true, 12.0),
        ("cellar", "loses 4.8 %, all repaired", false, 4.8),
    ] {
        let node = node(&told, name);
        assert_eq!(
            (&node["fares"], &node["suffers"], &node["loss_percent"]),
            (&words.into(), &suffers.into(), &loss.into()),
            "{node}"
        );
        assert_eq!(node["loss_bursts"]["2"], 1, "{node}");
    }
    let table = studio.run("status").exits(0);
    let table = String::from_utf8(table.stdout).unwrap();
    let lines: Vec<_> = table.lines().collect();
    let at = lines.iter().position(|line| line.contains("rank")).unwrap();
    assert_eq!(lines[at - 1], "2 listen, 1 of them with holes (marked !)");
    assert!(lines[at + 1].starts_with("! attic "), "{table}");
    assert!(
        lines[at + 1].ends_with("loses 12 %, 0.2 % not repaired"),
        "{table}"
    );
    let cellar_line = lines.iter().find(|line| line.contains("cellar")).unwrap();
    assert!(
        cellar_line.ends_with("loses 4.8 %, all repaired"),
        "{table}"
    );
    // What explains it stands below the one that suffers, and for the asking below the other one, too.
    let of_attic = [
        "    repaired       59 by unicast",
        "    lost in a row  60 × 1, 1 × 2, longest 2 (40 ms)",
    ];
    let of_cellar = [
        "    repaired       24 by unicast",
        "    lost in a row  24 × 1, 1 × 2, longest 2 (40 ms)",
    ];
    assert_eq!(lines[at + 2..at + 4], of_attic);
    assert!(!table.contains(of_cellar[0]), "{table}");
    let long = studio.run("status -v").exits(0);
    let long = String::from_utf8(long.stdout).unwrap();
    for both in [of_attic, of_cellar] {
        assert!(long.contains(&both.join("\n")), "{long}");
    }
    sender.wait_stderr("2 listening, attic has holes");
    // All is well again.
    attic.greets();
    attic.reports(0, 0);
    let good = |status: &Value| node(status, "attic")["suffers"] == false;
    status_when(&studio, good);
    std::thread::sleep(Duration::from_millis(1_500));
    let said = sender.stderr();
    let last = said.rsplit('\r').find(|line| line.contains("sent "));
    assert!(
        last.unwrap().trim_end().ends_with("  2 listening"),
        "{last:?}"
    );
    let events = sender.events();
    let last = named(&events, "stats").pop().unwrap();
    assert_eq!(last["rejected_by"]["report_stranger"], 1, "{last}");
}

#[test]
fn who_has_just_come_listens_or_has_not_reported_yet() {
    let studio = Studio::new();
    studio.tone("one.wav", 20_000, 440.0);
    let line = format!("send one.wav --events - --http {}", api(&studio));
    let sender = studio.start(&line);
    sender.wait_event("track");
    let names = ["attic", "cellar", "kitchen", "stable"];
    let listeners = names
        .map(|name| studio.listener(&format!("listen --output null --no-standby --name {name}")));
    status_when(&studio, |status| {
        let nodes = status["nodes"].as_array().unwrap();
        let new = (nodes.iter()).filter(|node| names.iter().any(|name| node["name"] == *name));
        let reported: Vec<_> = new.filter(|node| !node["report_age_s"].is_null()).collect();
        for node in &reported {
            let what = (&node["listens"], &node["buffer_ms"]);
            assert_eq!(what, (&true.into(), &500.into()), "{node}");
        }
        reported.len() == names.len()
    });
    drop(listeners);
}
