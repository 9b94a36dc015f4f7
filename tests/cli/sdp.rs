//! Does `lanradio sdp` describe the station (or, without one, the group) in a form that standard players accept?

use std::time::Duration;

use crate::support::{Studio, tagged};

/// The lines of an SDP text, which must all end in CR LF.
#[track_caller]
fn lines(stdout: &[u8]) -> Vec<String> {
    let text = String::from_utf8(stdout.to_vec()).unwrap();
    assert!(text.ends_with("\r\n"), "{text:?}");
    let lines: Vec<String> = text
        .trim_end_matches("\r\n")
        .split("\r\n")
        .map(str::to_owned)
        .collect();
    for line in &lines {
        assert!(!line.contains(['\r', '\n']), "{line:?}");
        let (letter, value) = line.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
        assert!(letter.len() == 1 && !value.is_empty(), "{line:?}");
    }
    lines
}

/// What every SDP of ours must and must not say.
#[track_caller]
fn check(lines: &[String], studio: &Studio) {
    assert_eq!(lines[0], "v=0");
    let order: String = lines.iter().map(|line| &line[..1]).collect();
    for (earlier, later) in [
        ("v", "o"),
        ("o", "s"),
        ("s", "t"),
        ("t", "m"),
        ("m", "a=rtpmap"),
    ] {
        let at = |prefix: &str| lines.iter().position(|line| line.starts_with(prefix));
        assert!(
            at(earlier).is_some() && at(earlier) < at(later),
            "{earlier} before {later}: {order}"
        );
    }
    let has = |line: &str| lines.iter().any(|other| other == line);
    assert!(
        has(&format!("m=audio {} RTP/AVP 96", studio.port)),
        "{lines:?}"
    );
    assert!(has("a=rtpmap:96 opus/48000/2"), "{lines:?}");
    let connection = lines.iter().find(|line| line.starts_with("c=")).unwrap();
    assert!(
        connection.starts_with(&format!("c=IN IP4 {}", studio.ip)),
        "{connection}"
    );
    for line in lines {
        assert!(
            !line.contains("source-filter") && !line.starts_with("a=ssrc"),
            "{line}"
        );
    }
}

#[test]
fn without_a_station_the_group_is_described_soon() {
    let studio = Studio::new();
    let finished = studio.run("sdp").exits(0);
    check(&lines(&finished.stdout), &studio);
    assert!(
        finished.took >= Duration::from_millis(250),
        "it has asked: {:?}",
        finished.took
    );
    assert!(
        finished.took < Duration::from_secs(3),
        "{:?}",
        finished.took
    );
}

#[test]
fn ttl_is_in_the_connection_line() {
    let studio = Studio::new();
    let finished = studio.run("sdp --ttl 3").exits(0);
    let all = lines(&finished.stdout);
    let connection = all.iter().find(|line| line.starts_with("c=")).unwrap();
    assert!(
        connection.starts_with(&format!("c=IN IP4 {}/3", studio.ip)),
        "{connection}"
    );
}

#[test]
fn station_on_air_is_described_by_its_name_or_title() {
    let studio = Studio::new();
    let title = "Quiet\r\nm=video 9 RTP/AVP 33\u{1b}[2J Night";
    if !tagged(&studio, "a.flac", 6_000, title, "The Owls") {
        return;
    }
    let sender = studio.start("send a.flac --name attic --events -");
    sender.wait_event("on_air");
    sender.wait_event("track");
    let finished = studio.run("sdp").exits(0);
    let lines = lines(&finished.stdout);
    check(&lines, &studio);
    let session = lines.iter().find(|line| line.starts_with("s=")).unwrap();
    assert!(
        session.contains("attic") || session.contains("Quiet"),
        "{lines:?}"
    );
    assert!(!session.contains(char::is_control), "{session:?}");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("m=")).count(),
        1,
        "{lines:?}"
    );
}
