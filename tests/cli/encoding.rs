//! Is what goes on air what the codec makes of the file at the settings that were asked for, byte for byte?

use opus::{Application, Bitrate, Channels, Encoder};

use crate::network::Witness;
use crate::sound::{frames_of, wav};
use crate::support::Studio;

/// Music enough for a codec: two voices that glide, other ones left and right.
fn piece() -> Vec<i16> {
    let voice = |t: f64, hz: f64| (std::f64::consts::TAU * (hz * t + 40.0 * t * t)).sin();
    (0..48_000)
        .flat_map(|n| {
            let t = f64::from(n) / 48_000.0;
            [
                voice(t, 330.0) + voice(t, 2_000.0),
                voice(t, 500.0) + voice(t, 4_700.0),
            ]
        })
        .map(|value| (value * 8_000.0) as i16)
        .collect()
}

/// The packets of bare libopus: 20 ms, audio, no prediction between frames, no in-band FEC; padded until all came out.
fn bare_packets(samples: &[i16], kbps: i32, complexity: i32) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(48_000, Channels::Stereo, Application::Audio).unwrap();
    encoder.set_bitrate(Bitrate::Bits(kbps * 1_000)).unwrap();
    encoder.set_complexity(complexity).unwrap();
    encoder.set_prediction_disabled(true).unwrap();
    let mut padded: Vec<f32> = samples
        .iter()
        .map(|&sample| f32::from(sample) / 32_768.0)
        .collect();
    padded.resize(frames_of(samples.len() / 2) * 1_920, 0.0);
    let packet = |block: &[f32]| encoder.encode_vec_float(block, 4_000).unwrap();
    padded.chunks_exact(1_920).map(packet).collect()
}

#[test]
fn packets_are_those_of_the_codec_at_the_settings_asked_for() {
    let piece = piece();
    for (flags, variables, kbps, complexity) in [
        ("", vec![], 128, 10),
        ("--bitrate 64 --complexity 3", vec![], 64, 3),
        (
            "",
            vec![("LANRADIO_BITRATE", "192"), ("LANRADIO_COMPLEXITY", "0")],
            192,
            0,
        ),
    ] {
        let studio = Studio::new();
        std::fs::write(studio.path("a.wav"), wav(48_000, &piece, &[])).unwrap();
        let witness = Witness::of(&studio);
        studio
            .start_with(&variables, &format!("send {flags} a.wav"))
            .finish()
            .exits(0);
        // 12 bytes of RTP and 20 of its header element come before the payload.
        let heard: Vec<_> = witness
            .heard()
            .into_iter()
            .map(|(_, datagram)| datagram[32..].to_vec())
            .collect();
        let bare = bare_packets(&piece, kbps, complexity);
        assert_eq!(heard.len(), bare.len());
        let wrong = heard
            .iter()
            .zip(&bare)
            .filter(|(heard, bare)| heard != bare)
            .count();
        assert_eq!(
            wrong,
            0,
            "of {} packets at {kbps} kbit/s, complexity {complexity}",
            bare.len()
        );
    }
}
