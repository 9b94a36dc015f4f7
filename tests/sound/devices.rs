//! Which device is meant, and what is said if that is not clear.

use std::fs;

use crate::server::{Server, wait_until};
use crate::support::{Studio, named};
use crate::{has_sound_server, start};

#[test]
fn list_marks_the_default_device_and_the_interface_that_is_used() {
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start());
    let finished = start(&studio, &server, 1, "devices").finish().exits(0);
    let text = String::from_utf8(finished.stdout).unwrap();
    let (outputs, networks) = text.split_once("\n\n").unwrap();
    assert!(
        outputs.lines().any(|line| line.starts_with("* default ")),
        "{text}"
    );
    // LANRADIO_INTERFACE is lo here.
    assert!(
        networks.lines().any(|line| line.starts_with("* lo ")),
        "{text}"
    );
}

#[test]
fn name_of_several_devices_is_refused_with_the_list_and_of_none_is_waited_for() {
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start());
    // Two more devices on the same server, whose names begin alike.
    let pcm = |name: &str| {
        let hint = format!("hint {{ show on description \"Speakers {name}\" }}");
        format!(
            "pcm.{name} {{ type pulse server \"{}\" {hint} }}\n",
            server.address()
        )
    };
    let config = server.config();
    let text = fs::read_to_string(&config).unwrap() + &pcm("kitchen_left") + &pcm("kitchen_right");
    fs::write(&config, text).unwrap();
    start(&studio, &server, 1, "listen --output kitchen --timeout 2s")
        .finish()
        .exits(1)
        .says(&["kitchen_left", "kitchen_right", "several"]);
    studio.tone("tone.wav", 3_000, 440.0);
    let named_one = start(
        &studio,
        &server,
        1,
        "listen --output KITCHEN_L --once --events -",
    );
    let missing = start(
        &studio,
        &server,
        1,
        "listen --output attic --once --events -",
    );
    named_one.wait_stderr("lo");
    // Said at once, not when the first programme begins.
    missing.wait_stderr("no sound: ");
    start(&studio, &server, 1, "send tone.wav")
        .finish()
        .exits(0);
    let events = named_one.finish().exits(0).events();
    let device = &named(&events, "device")[0];
    assert_eq!(
        (&device["state"], &device["name"]),
        (&"opened".into(), &"kitchen_left".into())
    );
    let missing = missing
        .finish()
        .exits(0)
        .says(&["attic", "kitchen_left", "no sound: "])
        .says(&["(another one: --output, lanradio devices)"]);
    let told = named(&missing.events(), "device");
    assert!(told.len() == 1 && told[0]["state"] == "waiting", "{told:?}");
}

#[test]
fn another_default_device_is_followed() {
    if !has_sound_server() {
        return;
    }
    let (studio, server) = (Studio::new(), Server::start());
    server.control("load-module module-null-sink sink_name=other norewinds=1 rate=48000 channels=2 format=float32le");
    studio.tone("tone.wav", 8_000, 440.0);
    let listener = start(&studio, &server, 1, "listen --once --events -");
    listener.wait_stderr("lo");
    let sender = start(&studio, &server, 1, "send tone.wav");
    listener.wait_event("device");
    server.control("set-default-sink other");
    let recorder = server.record("other");
    wait_until("two seconds are recorded", || recorder.frames() > 96_000);
    let [left, _] = recorder.stop();
    let peak = left.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    assert!(peak > 0.4, "the other device is silent: {peak}");
    sender.finish().exits(0);
    listener.finish().exits(0);
}
