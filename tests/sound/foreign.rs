//! A device plays the stream of another program as a file records it: without a gap, and without an underrun at its end.

use std::thread;
use std::time::{Duration, Instant};

use lanradio::media::opus::{Encoder, EncoderConfig, FRAME_VALUES, MAX_PACKET_BYTES};

use crate::network::heckle;
use crate::playing::{HERTZ, assert_faultless, faults};
use crate::server::Server;
use crate::sound::tone;
use crate::support::{Studio, named};
use crate::{has_sound_server, start};

const SECONDS: usize = 8;

/// Sends the tone in real time, as packets of 20 ms of source 9, and says goodbye.
fn send(studio: &Studio) {
    let samples: Vec<f32> = tone(SECONDS * 1_000, HERTZ)
        .iter()
        .map(|sample| f32::from(*sample) / 32_768.0)
        .collect();
    let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
    let mut payload = [0; MAX_PACKET_BYTES];
    let began = Instant::now();
    for (number, frame) in samples.chunks_exact(FRAME_VALUES).enumerate() {
        let number = number as u32;
        let length = encoder.encode(frame, &mut payload).unwrap();
        let mut packet = vec![0x80, 96];
        packet.extend((number as u16).to_be_bytes());
        packet.extend((number * 960).to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(&payload[..length]);
        let due = began + Duration::from_millis(20) * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        heckle(studio, studio.port, &packet);
    }
    heckle(studio, studio.port + 1, &[0x81, 203, 0, 1, 0, 0, 0, 9]);
}

#[test]
fn device_plays_a_stream_of_another_program_as_a_file_records_it() {
    if has_sound_server() {
        assert_faultless(faults_of_a_recording);
    }
}

/// Plays a stream of another program: what is wrong with what the device recorded of it.
fn faults_of_a_recording() -> Vec<String> {
    let (studio, server) = (Studio::new(), Server::start());
    let listener = start(&studio, &server, 1_000, "listen --once --events -");
    let other = start(&studio, &server, 7, "listen --once --output file:sent.wav");
    listener.wait_stderr("lo");
    other.wait_stderr("lo");
    let recorder = server.record("lr");
    send(&studio);
    let events = listener.finish().exits(0).events();
    other.finish().exits(0);
    let mut faults = faults(&recorder.stop(), &studio.recording("sent.wav"), 40.0);
    let last = named(&events, "stats").pop().unwrap();
    for (counter, right) in [
        ("underruns", 0),
        ("concealed", 0),
        ("received", SECONDS * 50),
    ] {
        if last[counter] != right {
            faults.push(format!("{counter}: {}", last[counter]));
        }
    }
    faults
}
