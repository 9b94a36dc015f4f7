//! Does `--help` teach by example first, and does every flag say its variable?

use crate::support::Studio;

const COMMANDS: [&str; 4] = ["", "send", "listen", "sdp"];

/// Stdout of `line`, which must succeed and be silent on stderr.
fn text(studio: &Studio, line: &str) -> String {
    let finished = studio.run(line).exits(0);
    assert_eq!(finished.stderr, "", "{line}: help goes to stdout");
    String::from_utf8(finished.stdout).unwrap()
}

#[test]
fn two_examples_come_before_the_options() {
    let studio = Studio::new();
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let help = text(&studio, &format!("{command} {flag}"));
            let options = help
                .find("Options:")
                .unwrap_or_else(|| panic!("no options in `{command} {flag}`:\n{help}"));
            let example = format!("lanradio {command}");
            let examples = help[..options]
                .lines()
                .filter(|line| line.contains(example.trim_end()))
                .filter(|line| !line.to_lowercase().contains("usage:"))
                .count();
            assert!(
                examples >= 2,
                "`{command} {flag}` has {examples} examples before the options:\n{help}"
            );
        }
    }
}

#[test]
fn short_help_is_shorter_than_the_long_one() {
    let studio = Studio::new();
    for command in ["send", "listen"] {
        let short = text(&studio, &format!("{command} -h"));
        let long = text(&studio, &format!("{command} --help"));
        let lines = |text: &str| text.lines().count();
        assert!(
            lines(&short) < lines(&long),
            "{command}: -h has {} lines, --help {}",
            lines(&short),
            lines(&long)
        );
    }
}

#[test]
fn every_flag_in_the_long_help_names_its_variable() {
    let studio = Studio::new();
    for command in ["send", "listen", "sdp"] {
        let help = text(&studio, &format!("{command} --help"));
        let mut flags = 0;
        for line in help.lines() {
            let line = line.trim_start();
            if !line.starts_with('-') {
                continue;
            }
            let Some(flag) = line.split_whitespace().find(|word| word.starts_with("--")) else {
                continue;
            };
            let flag = flag.trim_end_matches("...").trim_end_matches(',');
            if flag == "--help" || flag == "--version" || flag == "--" {
                continue;
            }
            flags += 1;
            let variable = format!("LANRADIO_{}", flag[2..].replace('-', "_").to_uppercase());
            assert!(
                help.contains(&variable),
                "`{command} --help` does not name {variable}:\n{help}"
            );
        }
        assert!(flags >= 6, "{command}: {flags} flags in the help:\n{help}");
    }
}

#[test]
fn every_flag_of_the_contract_is_in_the_help() {
    let studio = Studio::new();
    let common = [
        "--group",
        "--interface",
        "--ttl",
        "--name",
        "--events",
        "--color",
        "--verbose",
        "--quiet",
    ];
    let own: [(&str, &[&str]); 3] = [
        ("send", &["--loop", "--bitrate", "--complexity", "--buffer"]),
        (
            "listen",
            &[
                "--output",
                "--volume",
                "--once",
                "--timeout",
                "--buffer",
                "--min-buffer",
                "--max-buffer",
            ],
        ),
        ("sdp", &[]),
    ];
    for (command, flags) in own {
        let help = text(&studio, &format!("{command} --help"));
        for flag in flags.iter().chain(&common) {
            assert!(help.contains(flag), "`{command} --help` lacks {flag}");
        }
    }
}

#[test]
fn defaults_are_told() {
    let studio = Studio::new();
    let send = text(&studio, "send --help");
    for default in ["128", "10", "500ms", "239.255.77.77:5004"] {
        assert!(
            send.contains(default),
            "`send --help` does not tell {default}"
        );
    }
    let listen = text(&studio, "listen --help");
    for default in ["100", "500ms", "60ms", "2s", "239.255.77.77:5004"] {
        assert!(
            listen.contains(default),
            "`listen --help` does not tell {default}"
        );
    }
}

#[test]
fn version_is_the_package_version() {
    let studio = Studio::new();
    for flag in ["--version", "-V"] {
        assert_eq!(
            text(&studio, flag).trim(),
            concat!("lanradio ", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn help_needs_no_terminal_and_survives_a_closed_pipe() {
    let studio = Studio::new();
    let (process, pipe) =
        crate::support::Process::spawn_unread(studio.command(["listen", "--help"]));
    drop(pipe);
    process
        .finish()
        .exits(0)
        .says_not(&["panic", "broken pipe"]);
}
