//! Does every flag have a variable, and does flag beat variable beat default?

use std::time::Duration;

use crate::sound::strength;
use crate::support::Studio;

#[test]
fn bad_value_in_a_variable_is_a_usage_error_that_names_it() {
    let studio = Studio::new();
    studio.tone("a.wav", 100, 440.0);
    for (variable, value, line) in [
        ("LANRADIO_BITRATE", "5", "send a.wav"),
        ("LANRADIO_COMPLEXITY", "11", "send a.wav"),
        ("LANRADIO_LOOP", "maybe", "send a.wav"),
        ("LANRADIO_BUFFER", "500", "send a.wav"),
        ("LANRADIO_BUFFER", "6s", "listen --output null"),
        ("LANRADIO_BUFFER", "auto", "send a.wav"),
        ("LANRADIO_MIN_BUFFER", "39ms", "listen --output null"),
        ("LANRADIO_MIN_BUFFER", "60ms", "listen --output null"),
        ("LANRADIO_MAX_BUFFER", "2", "listen --output null"),
        ("LANRADIO_GROUP", "10.0.0.1", "sdp"),
        ("LANRADIO_GROUP", "239.1.1.1:5005", "listen --output null"),
        ("LANRADIO_TTL", "256", "listen --output null"),
        ("LANRADIO_OUTPUT", "file:", "listen"),
        ("LANRADIO_VOLUME", "201", "listen --output null"),
        ("LANRADIO_TIMEOUT", "3", "listen --output null"),
        ("LANRADIO_ONCE", "maybe", "listen --output null"),
        ("LANRADIO_COLOR", "sometimes", "listen --output null"),
    ] {
        let finished = studio
            .start_with(&[(variable, value)], line)
            .finish()
            .exits(2);
        let flag = variable["LANRADIO_".len()..]
            .to_lowercase()
            .replace('_', "-");
        let flag = format!("--{flag}");
        assert!(
            finished.stderr.contains(variable) || finished.stderr.contains(&flag),
            "{variable}={value}: {}",
            finished.stderr
        );
    }
}

#[test]
fn variables_whose_flags_fail_with_1_do_too() {
    let studio = Studio::new();
    for (variable, value) in [
        ("LANRADIO_INTERFACE", "nosuch0"),
        ("LANRADIO_EVENTS", "nowhere/events.jsonl"),
        ("LANRADIO_OUTPUT", "file:nowhere/out.wav"),
    ] {
        studio
            .start_with(
                &[("LANRADIO_OUTPUT", "null"), (variable, value)],
                "listen --timeout 5s",
            )
            .finish()
            .exits(1)
            .says(&[value.rsplit(':').next().unwrap().split('/').next().unwrap()]);
    }
}

#[test]
fn flag_beats_the_variable_of_its_opposite() {
    let studio = Studio::new();
    let quiet = studio
        .start_with(
            &[("LANRADIO_VERBOSE", "true")],
            "listen --output null --timeout 50ms -q",
        )
        .finish()
        .exits(3);
    let verbose = studio
        .start_with(
            &[("LANRADIO_QUIET", "true")],
            "listen --output null --timeout 50ms -v",
        )
        .finish()
        .exits(3);
    assert!(quiet.stderr.len() < verbose.stderr.len());
}

#[test]
fn timeout_comes_from_the_variable_unless_the_flag_is_given() {
    let studio = Studio::new();
    let env = [("LANRADIO_TIMEOUT", "100ms"), ("LANRADIO_OUTPUT", "null")];
    let by_variable = studio.start_with(&env, "listen").finish().exits(3);
    let by_flag = studio
        .start_with(&env, "listen --timeout 1200ms")
        .finish()
        .exits(3);
    assert!(
        by_variable.took < Duration::from_millis(1200),
        "{:?}",
        by_variable.took
    );
    assert!(
        by_flag.took >= Duration::from_millis(1200),
        "{:?}",
        by_flag.took
    );
}

#[test]
fn flag_beats_variable_beats_default_in_a_real_run() {
    let studio = Studio::new();
    studio.tone("a.wav", 2_400, 440.0);
    let by_variable = studio.start_with(
        &[
            ("LANRADIO_OUTPUT", "file:variable.wav"),
            ("LANRADIO_EVENTS", "-"),
            ("LANRADIO_VOLUME", "0"),
            ("LANRADIO_BUFFER", "700ms"),
            ("LANRADIO_ONCE", "true"),
        ],
        "listen",
    );
    let by_flag = studio.start_with(
        &[
            ("LANRADIO_OUTPUT", "file:never.wav"),
            ("LANRADIO_EVENTS", "never.jsonl"),
            ("LANRADIO_VOLUME", "0"),
            ("LANRADIO_BUFFER", "39ms"),
            ("LANRADIO_GROUP", "239.255.0.1:9000"),
        ],
        &format!(
            "listen --output file:flag.wav --events - --volume 100 --buffer 300ms --once --group {}",
            studio.group()
        ),
    );
    by_variable.wait_stderr("lo");
    by_flag.wait_stderr("lo");
    let sender = studio
        .start_with(
            &[("LANRADIO_BUFFER", "400ms"), ("LANRADIO_QUIET", "true")],
            "send a.wav",
        )
        .finish()
        .exits(0);
    assert_eq!(sender.stderr, "", "quiet by its variable");
    let (by_variable, by_flag) = (by_variable.finish().exits(0), by_flag.finish().exits(0));

    assert!(!studio.path("never.wav").exists() && !studio.path("never.jsonl").exists());
    assert!(strength(&studio.recording("flag.wav"), 440.0) > 10_000.0);
    assert!(
        studio
            .recording("variable.wav")
            .iter()
            .all(|&sample| sample == 0)
    );
    assert_eq!(
        studio.recording("variable.wav").len(),
        studio.recording("flag.wav").len()
    );
    for (finished, buffer) in [(by_variable, 700.0), (by_flag, 300.0)] {
        let stats = crate::support::named(&finished.events(), "stats");
        assert!(!stats.is_empty());
        for line in stats {
            assert_eq!(line["buffer_ms"].as_f64(), Some(buffer), "{line}");
        }
    }
}

#[test]
fn buffer_of_the_station_is_the_listeners_default() {
    let studio = Studio::new();
    studio.tone("a.wav", 2_000, 440.0);
    let listener = studio.listener("listen --output null --once --events -");
    studio
        .start_with(&[("LANRADIO_BUFFER", "250ms")], "send a.wav")
        .finish()
        .exits(0);
    let stats = crate::support::named(&listener.finish().exits(0).events(), "stats");
    assert_eq!(stats.last().unwrap()["buffer_ms"].as_f64(), Some(250.0));
}

#[test]
fn buffer_that_adapts_has_its_limits_from_variables_and_a_typed_one_beats_them() {
    let studio = Studio::new();
    studio.tone("a.wav", 2_000, 440.0);
    let limits = [
        ("LANRADIO_BUFFER", "auto"),
        ("LANRADIO_MIN_BUFFER", "300ms"),
        ("LANRADIO_MAX_BUFFER", "400ms"),
    ];
    let listen = "listen --output null --once --events -";
    // The station's buffer is 500 ms.
    let listeners = [
        (limits.as_slice(), listen.to_string(), 400.0),
        (&limits, format!("{listen} --buffer 250ms"), 250.0),
        (&limits, format!("{listen} --max-buffer 350ms"), 350.0),
        (&limits[..1], format!("{listen} --min-buffer 1s"), 1_000.0),
        (&limits[..1], listen.to_string(), 500.0),
    ]
    .map(|(env, line, buffer)| (studio.start_with(env, &line), buffer));
    for (listener, _) in &listeners {
        listener.wait_stderr("lo");
    }
    studio.run("send a.wav").exits(0);
    for (listener, buffer) in listeners {
        let stats = crate::support::named(&listener.finish().exits(0).events(), "stats");
        assert_eq!(stats.last().unwrap()["buffer_ms"].as_f64(), Some(buffer));
    }
}
