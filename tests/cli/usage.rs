//! Is everything that cannot mean anything refused with exit 2, before anything is sent, by a message that names it?

use std::thread;

use crate::pseudo_terminal::terminal_stdin;
use crate::support::{Process, Studio};

/// A command line that must be refused, and what the refusal must mention.
type Refusal = (&'static str, &'static [&'static str]);

const VALUES: &[Refusal] = &[
    ("send a.wav --bitrate 5", &["--bitrate"]),
    ("send a.wav --bitrate 511", &["--bitrate"]),
    ("send a.wav --bitrate loud", &["--bitrate"]),
    ("send a.wav --complexity 11", &["--complexity"]),
    ("send a.wav --complexity=-1", &["--complexity"]),
    ("send a.wav --buffer 39ms", &["--buffer", "40"]),
    ("send a.wav --buffer 5.1s", &["--buffer", "5"]),
    ("send a.wav --buffer 500", &["--buffer", "unit"]),
    ("send a.wav --buffer=-1s", &["--buffer"]),
    ("send a.wav --ttl 256", &["--ttl"]),
    ("send a.wav --color sometimes", &["--color", "always"]),
    ("listen --output null --buffer 39ms", &["--buffer"]),
    ("listen --output null --buffer 5001ms", &["--buffer"]),
    ("listen --output null --buffer 500", &["--buffer", "unit"]),
    ("listen --output null --buffer Auto", &["--buffer", "auto"]),
    (
        "listen --output null --buffer auto --min-buffer 39ms",
        &["--min-buffer", "40ms to 5s"],
    ),
    (
        "listen --output null --buffer auto --max-buffer 5001ms",
        &["--max-buffer", "40ms to 5s"],
    ),
    (
        "listen --output null --buffer auto --max-buffer auto",
        &["--max-buffer", "unit"],
    ),
    ("listen --output null --volume 201", &["--volume", "200"]),
    ("listen --output null --volume=-1", &["--volume"]),
    ("listen --output null --volume half", &["--volume"]),
    ("listen --output null --timeout 3", &["--timeout", "unit"]),
    ("listen --output null --timeout soon", &["--timeout"]),
    (
        "listen --output null --group 10.0.0.1",
        &["10.0.0.1", "multicast"],
    ),
    ("listen --output null --group ::1", &["multicast"]),
    (
        "listen --output null --group example",
        &["--group", "example"],
    ),
    (
        "listen --output null --group 239.1.1.1:5005",
        &["5005", "even"],
    ),
    (
        "listen --output null --group 239.1.1.1:1022",
        &["1022", "1024"],
    ),
    (
        "listen --output null --group 239.1.1.1:65534",
        &["65534", "65532"],
    ),
    ("listen --output null --group 239.1.1.1:0", &["--group"]),
    ("listen --output null --group 239.1.1.1:70000", &["--group"]),
    ("listen --output null --group [ff15::1]:5005", &["even"]),
    ("sdp --group 10.0.0.1", &["multicast"]),
    ("send a.wav --group 10.0.0.1", &["multicast"]),
];

const SHAPES: &[Refusal] = &[
    ("", &["usage"]),
    ("dance", &["dance"]),
    ("send", &["file"]),
    ("send - -", &["-"]),
    ("send a.wav --output null", &["--output"]),
    ("send a.wav --frobnicate", &["--frobnicate"]),
    ("listen extra --output null", &["extra"]),
    ("listen --output null --bitrate 64", &["--bitrate"]),
    ("listen --output=", &["--output", "default"]),
    (
        "send a.wav --buffer auto",
        &["--buffer auto", "for listen", "write a duration"],
    ),
    ("send a.wav --min-buffer 60ms", &["--min-buffer"]),
    (
        "listen --output null --min-buffer 60ms",
        &["--min-buffer needs --buffer auto"],
    ),
    (
        "listen --output null --max-buffer 2s --buffer 500ms",
        &["--max-buffer needs --buffer auto"],
    ),
    (
        "listen --output null --buffer auto --min-buffer 300ms --max-buffer 200ms",
        &["--min-buffer 300ms", "--max-buffer 200ms"],
    ),
    (
        "listen --output null --buffer auto --min-buffer 3s",
        &["--min-buffer 3s", "--max-buffer 2s", "give both"],
    ),
    ("devices extra", &["extra"]),
    ("listen --output file:", &["--output"]),
    (
        "listen --output - --events -",
        &["--output", "--events", "standard output"],
    ),
];

/// What DESIGN 5 promises for later: a flag that does nothing yet does not exist yet.
const DELAYS: &[Refusal] = &[
    (
        "listen --output null --delay 10",
        &["--delay", "'10'", "unit"],
    ),
    ("listen --output null --delay -10", &["--delay", "'-10'"]),
    (
        "listen --output null --delay 6s",
        &["--delay", "'6s'", "5s"],
    ),
    ("listen --output null --delay --10ms", &["--delay"]),
    (
        "listen --output null --buffer 100ms --delay -61ms",
        &["--delay", "40ms short of the buffer", "-60ms"],
    ),
    ("send a.wav --delay 10ms", &["--delay"]),
    ("listen --output null --listen", &["--listen"]),
];

fn all_are_refused(table: &[Refusal]) {
    let studio = Studio::new();
    studio.tone("a.wav", 100, 440.0);
    let mut wrong = Vec::new();
    for (line, texts) in table {
        let finished = studio.run(line);
        let stderr = finished.stderr.to_lowercase();
        let missing = texts
            .iter()
            .find(|text| !stderr.contains(&text.to_lowercase()));
        if finished.code() != Some(2) || missing.is_some() || !finished.stdout.is_empty() {
            wrong.push(format!(
                "`{line}`: exit {:?}, does not say {missing:?}, {} bytes on stdout:\n{}",
                finished.code(),
                finished.stdout.len(),
                finished.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn values_out_of_range_are_usage_errors_that_name_the_flag() {
    all_are_refused(VALUES);
}

#[test]
fn command_lines_without_a_meaning_are_usage_errors() {
    all_are_refused(SHAPES);
}

#[test]
fn delays_that_cannot_be_are_usage_errors() {
    all_are_refused(DELAYS);
}

#[test]
fn usage_errors_do_not_touch_the_files_they_name() {
    let studio = Studio::new();
    studio
        .run("listen --output file:out.wav --volume 201")
        .exits(2);
    studio
        .run("listen --output - --events - --timeout 1s")
        .exits(2);
    assert!(!studio.path("out.wav").exists());
    assert!(!studio.path("-").exists());
}

#[test]
fn sending_from_a_terminal_is_a_usage_error() {
    let studio = Studio::new();
    let (stdin, _keyboard) = terminal_stdin();
    let mut command = studio.command(["send", "-"]);
    command.stdin(stdin);
    Process::spawn(command)
        .finish()
        .exits(2)
        .says(&["terminal"]);
}

#[test]
fn limits_themselves_are_accepted() {
    let studio = Studio::new();
    let lines = [
        "listen --output null --timeout 50ms --buffer 40ms",
        "listen --output null --timeout 50ms --buffer 5s",
        "listen --output null --timeout 0.05s --buffer 1.5s",
        "listen --output null --timeout 50ms --buffer auto",
        "listen --output null --timeout 50ms --buffer auto --min-buffer 40ms --max-buffer 5s",
        "listen --output null --timeout 50ms --buffer auto --min-buffer 2s",
        "listen --output null --timeout 50ms --buffer auto --max-buffer 60ms",
        "listen --output null --timeout 50ms --delay 5s",
        "listen --output null --timeout 50ms --delay -460ms",
        "listen --output null --timeout 50ms --buffer 100ms --delay -60ms",
        "listen --output null --timeout 50ms --delay=-0.5ms",
        "listen --output null --timeout 50ms --volume 0",
        "listen --output null --timeout 50ms --volume 200 --ttl 255",
        "listen --output null --timeout 50ms --ttl 1",
        "listen --output null --timeout 50ms --group 239.255.1.2:1024",
        "listen --output null --timeout 50ms --group 239.255.1.2:65532",
        "listen --output null --timeout 50ms --group 239.255.1.2",
        "listen --output file:out.wav --timeout 50ms --events events.jsonl",
        "listen --output - --timeout 50ms --events events.jsonl",
    ];
    thread::scope(|scope| {
        for line in lines {
            let studio = &studio;
            scope.spawn(move || studio.run(line).exits(3));
        }
    });
}

#[test]
fn names_of_more_than_64_bytes_are_refused_and_64_are_fine() {
    let studio = Studio::new();
    let fits = "n".repeat(64);
    studio
        .run(&format!(
            "listen --output null --timeout 50ms --name {fits}"
        ))
        .exits(3);
    studio
        .run(&format!(
            "listen --output null --timeout 50ms --name {fits}n"
        ))
        .exits(2)
        .says(&["--name", "64"]);
}
