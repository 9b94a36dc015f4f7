//! Is what people see right: one live line on a terminal, cut to its width; plain lines elsewhere; colours only where asked?

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use unicode_width::UnicodeWidthStr;

use crate::support::{Finished, Process, Studio, named, tagged};

/// A title that is dangerous (escape sequences, C1 controls, line breaks) and long and wide.
const TITLE: &str = "Evil\u{1b}[31mRed\u{7}\r\nTwo\u{9b}2J\u{85}Three \u{97f3}\u{697d}\u{97f3}\u{697d}\u{97f3}\u{697d} and a very long tail \
                     that does not fit on any line of any terminal that a sane person has on a desk";

/// A file with that title, or with a harmless one where there is no ffmpeg to make it; what its shown title begins with.
fn nasty(studio: &Studio) -> &'static str {
    if tagged(
        studio,
        "nasty.flac",
        2_600,
        TITLE,
        "Mallory\u{1b}]0;owned\u{7}",
    ) {
        "Evil"
    } else {
        fs::rename(studio.path("nasty.flac.wav"), studio.path("nasty.flac")).unwrap();
        "nasty"
    }
}

/// A listener (on a terminal of `columns`, if any) that hears the nasty programme; what it and its sender printed.
fn watch(
    studio: &Studio,
    columns: Option<u16>,
    extra: &[&str],
) -> (Finished, Finished, &'static str) {
    let title = nasty(studio);
    let command = |line: &[&str]| -> Command {
        let mut command = studio.command(line);
        command.args(extra);
        command
    };
    let spawn = |command: Command| match columns {
        Some(columns) => Process::spawn_on_terminal(command, columns),
        None => Process::spawn(command),
    };
    let listener = spawn(command(&[
        "listen", "--output", "null", "--once", "--events", "-",
    ]));
    if !extra.contains(&"-q") {
        listener.wait_stderr("lo");
    }
    let sender = spawn(command(&["send", "nasty.flac", "--events", "-"]));
    (sender.finish().exits(0), listener.finish().exits(0), title)
}

/// `text` without escape sequences (CSI … final byte, or ESC and one character).
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
        } else if chars.next() == Some('[') {
            while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
        }
    }
    out
}

#[test]
fn live_line_is_cut_to_the_terminal() {
    for columns in [40, 100] {
        let studio = Studio::new();
        let (sender, listener, title) = watch(&studio, Some(columns), &[]);
        for (printed, words) in [
            (sender, ["leader", "sent"].as_slice()),
            (listener, &["leader", "buffer", "lost", "late", "concealed"]),
        ] {
            // A terminal makes \r\n of each line end.
            let rewritten = printed.stderr.replace("\r\n", "\n");
            let text = unescaped(&rewritten);
            let redrawn: Vec<_> = text.split('\r').skip(1).collect();
            assert!(
                redrawn.len() >= 2,
                "a line that is rewritten: {:?}",
                printed.stderr
            );
            if columns >= 100 {
                let whole = redrawn
                    .iter()
                    .any(|line| words.iter().all(|word| line.contains(word)));
                assert!(whole, "a live line with {words:?}: {redrawn:?}");
            }
            // Lines that are rewritten must fit; lines that stay may be wrapped by the terminal.
            for line in text.lines().filter(|line| line.contains('\r')) {
                for part in line.split('\r') {
                    assert!(
                        part.width() <= usize::from(columns),
                        "{} columns in {columns}: {part:?}",
                        part.width()
                    );
                }
            }
            assert!(text.contains(title), "the title is shown: {text:?}");
        }
    }
}

#[test]
fn text_from_tags_is_stripped_before_it_is_shown() {
    let studio = Studio::new();
    let (sender, listener, title) = watch(&studio, Some(200), &["--color", "never"]);
    for printed in [sender, listener] {
        for forbidden in ["\u{1b}", "\u{7}", "\u{9b}", "\u{85}"] {
            assert!(
                !printed.stderr.contains(forbidden),
                "{forbidden:?} in {:?}",
                printed.stderr
            );
        }
        assert!(printed.stderr.contains(title), "{:?}", printed.stderr);
        let track = named(&printed.events(), "track").remove(0);
        for key in ["title", "artist"] {
            let text = track[key].as_str().unwrap();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}

#[test]
fn without_a_terminal_lines_are_plain() {
    let studio = Studio::new();
    let (sender, listener, _) = watch(&studio, None, &[]);
    for printed in [sender, listener] {
        assert!(!printed.stderr.is_empty());
        assert!(
            !printed.stderr.contains(['\r', '\u{1b}']),
            "{:?}",
            printed.stderr
        );
        assert!(printed.stderr.ends_with('\n'), "{:?}", printed.stderr);
    }
}

#[test]
fn quiet_is_silent_on_a_terminal_and_elsewhere() {
    for columns in [None, Some(80)] {
        let studio = Studio::new();
        let (sender, listener, _) = watch(&studio, columns, &["-q"]);
        assert_eq!((sender.stderr.as_str(), listener.stderr.as_str()), ("", ""));
    }
}

#[test]
fn errors_are_told_even_when_quiet() {
    let studio = Studio::new();
    studio
        .run("send missing.wav -q")
        .exits(1)
        .says(&["missing.wav"]);
    studio
        .run("listen --output null --timeout 100ms -q")
        .exits(3);
}

#[test]
fn colours_follow_the_flag_the_variables_and_the_terminal() {
    // What is printed: an error, in a terminal or not, with a flag and a variable.
    let error = |on_terminal: bool, flags: &[&str], env: &[(&str, &str)]| {
        let studio = Studio::new();
        let mut command = studio.command(["send", "missing.wav"]);
        command.args(flags).envs(env.iter().copied());
        let process = if on_terminal {
            Process::spawn_on_terminal(command, 80)
        } else {
            Process::spawn(command)
        };
        process.finish().exits(1).stderr.contains('\u{1b}')
    };
    assert!(error(true, &[], &[]), "a terminal has colours");
    assert!(!error(false, &[], &[]), "a pipe has none");
    assert!(!error(true, &[], &[("NO_COLOR", "1")]), "NO_COLOR");
    assert!(!error(true, &["--color", "never"], &[]), "--color never");
    assert!(error(false, &["--color", "always"], &[]), "--color always");
    assert!(
        error(false, &["--color", "always"], &[("NO_COLOR", "1")]),
        "a flag beats NO_COLOR"
    );
    assert!(
        error(false, &[], &[("LANRADIO_COLOR", "always")]),
        "LANRADIO_COLOR"
    );
    assert!(
        !error(true, &["--color", "never"], &[("LANRADIO_COLOR", "always")]),
        "a flag beats its variable"
    );
}

#[test]
fn interface_is_printed_at_start() {
    let studio = Studio::new();
    studio.tone("a.wav", 100, 440.0);
    studio
        .run("send a.wav")
        .exits(0)
        .says(&["lo", &studio.group()]);
    studio
        .run("listen --output null --timeout 100ms")
        .exits(3)
        .says(&["lo", &studio.group()]);
}

#[test]
fn long_waits_and_long_programmes_are_told_about_in_plain_lines() {
    let studio = Studio::new();
    studio.tone("a.wav", 11_500, 440.0);
    let listener = studio.listener("listen --output null --once");
    let sender = studio.start("send a.wav");
    let alone = Studio::new();
    let waiting = alone.start("listen --output null");

    waiting.wait_stderr("waiting for a station on");
    let waited = waiting.age();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited),
        "where it waits is said after 1 s, not {waited:?}"
    );
    waiting.wait_stderr("firewall");
    assert!(
        waiting.age() > Duration::from_secs(9),
        "the hint comes after 10 s, not {:?}",
        waiting.age()
    );
    waiting.signal(Signal::SIGINT);
    waiting
        .finish()
        .exits(0)
        .says(&["firewall", "docker", "host", "wi-fi", "--interface"])
        .says_not(&["\r"]);

    let (sender, listener) = (sender.finish().exits(0), listener.finish().exits(0));
    let is_status = |line: &&str| {
        ["lost", "late", "concealed"]
            .iter()
            .all(|word| line.contains(word))
    };
    let count = listener.stderr.lines().filter(is_status).count();
    assert_eq!(
        count, 2,
        "a plain status line at first and every 10 s:\n{}",
        listener.stderr
    );
    drop(sender);
}
