use super::*;

/// Two voices, different left and right, never periodic in a frame.
fn music(frames: usize) -> Vec<f32> {
    let tau = std::f32::consts::TAU;
    (0..frames * FRAME_SAMPLES)
        .flat_map(|i| {
            let t = i as f32 / 48_000.0;
            let beat = 0.6 + 0.4 * (tau * 1.7 * t).sin();
            let left = 0.3 * (tau * 261.6 * t).sin() + 0.2 * (tau * 1046.5 * t).sin();
            let right = 0.3 * (tau * 329.6 * t).sin() + 0.1 * (tau * 3520.3 * t).sin();
            [beat * left, beat * right]
        })
        .collect()
}

fn encoded(samples: &[f32], config: EncoderConfig) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(config).expect("encoder");
    let mut packet = [0; 4000];
    samples
        .chunks_exact(FRAME_VALUES)
        .map(|frame| {
            let length = encoder.encode(frame, &mut packet).expect("packet");
            packet[..length].to_vec()
        })
        .collect()
}

fn decoded(packets: &[Vec<u8>]) -> Vec<f32> {
    let mut decoder = Decoder::new().expect("decoder");
    let mut out = [0.0; FRAME_VALUES];
    packets
        .iter()
        .flat_map(|packet| {
            decoder.decode(packet, &mut out).expect("frame");
            out
        })
        .collect()
}

#[test]
fn decoded_sound_is_the_encoded_one_312_samples_later() {
    let samples = music(100);
    let out = decoded(&encoded(&samples, EncoderConfig::default()));
    for side in 0..2 {
        let (mut signal, mut noise) = (0.0f64, 0.0f64);
        for i in 4800..90_000 {
            let ideal = f64::from(samples[2 * i + side]);
            let got = f64::from(out[2 * (i + LOOKAHEAD) + side]);
            signal += ideal * ideal;
            noise += (got - ideal) * (got - ideal);
        }
        let snr = 10.0 * (signal / noise).log10();
        assert!(snr > 20.0, "side {side}: {snr:.1} dB");
    }
}

#[test]
fn fourth_packet_after_a_hole_is_exact() {
    let packets = encoded(&music(60), EncoderConfig::default());
    let whole = decoded(&packets);
    for hole in [10, 23, 37] {
        let mut decoder = Decoder::new().expect("decoder");
        let mut out = [0.0; FRAME_VALUES];
        for (n, packet) in packets.iter().enumerate() {
            match n == hole {
                true => decoder.conceal(&mut out).expect("concealment"),
                false => decoder.decode(packet, &mut out).expect("frame"),
            }
            if n < hole || n >= hole + 4 {
                let ideal = &whole[n * FRAME_VALUES..][..FRAME_VALUES];
                let same = out
                    .iter()
                    .zip(ideal)
                    .all(|(a, b)| sample_to_i16(*a) == sample_to_i16(*b));
                assert!(same, "frame {n} after a hole at {hole}");
            }
        }
    }
}

#[test]
fn eight_frames_of_pre_roll_make_a_late_join_exact() {
    let packets = encoded(&music(60), EncoderConfig::default());
    let whole = decoded(&packets);
    let joined = decoded(&packets[20..]);
    let (late, ideal) = (&joined[8 * FRAME_VALUES..], &whole[28 * FRAME_VALUES..]);
    assert!(
        late.iter()
            .zip(ideal)
            .all(|(a, b)| sample_to_i16(*a) == sample_to_i16(*b))
    );
}

#[test]
fn packets_of_every_bitrate_have_one_frame_and_at_most_1275_bytes() {
    let mut samples = music(20);
    // Noise is the hardest thing to encode.
    let mut seed = 1u32;
    for value in &mut samples[10 * FRAME_VALUES..] {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (seed >> 8) as f32 / 8_388_608.0 - 1.0;
    }
    for bitrate_kbps in [6, 32, 128, 510] {
        for complexity in [0, 10] {
            let config = EncoderConfig {
                bitrate_kbps,
                complexity,
            };
            for packet in encoded(&samples, config) {
                assert!((1..=MAX_PACKET_BYTES).contains(&packet.len()));
                assert_eq!(
                    libopus::packet::get_nb_samples(&packet, 48_000).ok(),
                    Some(960)
                );
                assert_eq!(libopus::packet::get_nb_frames(&packet).ok(), Some(1));
            }
        }
    }
}

#[test]
fn encoding_is_the_same_every_time() {
    let samples = music(30);
    let config = EncoderConfig::default();
    assert_eq!(encoded(&samples, config), encoded(&samples, config));
}

#[test]
fn config_outside_the_limits_is_refused_with_the_limits() {
    let encoder = |bitrate_kbps, complexity| {
        Encoder::new(EncoderConfig {
            bitrate_kbps,
            complexity,
        })
    };
    assert!(matches!(encoder(5, 10), Err(OpusError::Bitrate(5))));
    assert!(matches!(encoder(511, 10), Err(OpusError::Bitrate(511))));
    assert!(matches!(
        encoder(u32::MAX, 10),
        Err(OpusError::Bitrate(u32::MAX))
    ));
    assert!(matches!(encoder(128, 11), Err(OpusError::Complexity(11))));
    assert!(encoder(6, 0).is_ok() && encoder(510, 10).is_ok());
}

#[test]
fn packets_that_are_not_one_frame_are_refused_and_do_not_disturb() {
    let packets = encoded(&music(12), EncoderConfig::default());
    let whole = decoded(&packets);
    let mut decoder = Decoder::new().expect("decoder");
    let mut out = [0.0; FRAME_VALUES];
    for (n, packet) in packets.iter().enumerate() {
        assert!(matches!(
            decoder.decode(&[], &mut out),
            Err(OpusError::Empty)
        ));
        // Code 1: two frames of 20 ms.
        let double = [packet[0] & 0xFC | 1, 0, 0];
        let refused = decoder.decode(&double, &mut out);
        assert!(
            matches!(refused, Err(OpusError::PacketDuration(1920))),
            "{refused:?}"
        );
        // Configuration 30: 10 ms.
        let short = [30 << 3, 0, 0];
        let refused = decoder.decode(&short, &mut out);
        assert!(
            matches!(refused, Err(OpusError::PacketDuration(480))),
            "{refused:?}"
        );
        decoder.decode(packet, &mut out).expect("frame");
        assert_eq!(out[..], whole[n * FRAME_VALUES..][..FRAME_VALUES]);
    }
}

#[test]
fn random_packets_never_panic() {
    let mut decoder = Decoder::new().expect("decoder");
    let mut out = [0.0; FRAME_VALUES];
    let mut seed = 7u32;
    for round in 0..2_000 {
        let bytes: Vec<u8> = (0..round % 300)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            })
            .collect();
        let _ = decoder.decode(&bytes, &mut out);
    }
    decoder.conceal(&mut out).expect("concealment");
}

#[test]
fn reset_decoder_is_as_new() {
    let packets = encoded(&music(10), EncoderConfig::default());
    let mut decoder = Decoder::new().expect("decoder");
    let (mut first, mut again) = ([0.0; FRAME_VALUES], [0.0; FRAME_VALUES]);
    decoder.decode(&packets[0], &mut first).expect("frame");
    decoder.decode(&packets[1], &mut again).expect("frame");
    decoder.reset();
    decoder.decode(&packets[0], &mut again).expect("frame");
    assert_eq!(first, again);
}

#[test]
fn samples_are_rounded_half_to_even_and_clamped() {
    let table: &[(f32, i16)] = &[
        (0.0, 0),
        (0.5, 16_384),
        (-1.0, -32_768),
        (1.0, 32_767),
        (7.5, 32_767),
        (-7.5, -32_768),
        (f32::INFINITY, 32_767),
        (f32::NEG_INFINITY, -32_768),
        (f32::NAN, 0),
        (0.5 / 32_768.0, 0),
        (1.5 / 32_768.0, 2),
        (2.5 / 32_768.0, 2),
        (-0.5 / 32_768.0, 0),
        (-1.5 / 32_768.0, -2),
    ];
    for &(value, expected) in table {
        assert_eq!(sample_to_i16(value), expected, "{value}");
    }
}

#[test]
fn integer_samples_are_those_of_libopus_itself() {
    let packets = encoded(&music(50), EncoderConfig::default());
    let floats = decoded(&packets);
    let mut decoder = libopus::Decoder::new(48_000, libopus::Channels::Stereo).expect("decoder");
    let mut integers = [0i16; FRAME_VALUES];
    for (packet, frame) in packets.iter().zip(floats.chunks_exact(FRAME_VALUES)) {
        decoder.decode(packet, &mut integers, false).expect("frame");
        assert!(
            frame
                .iter()
                .zip(integers)
                .all(|(f, i)| sample_to_i16(*f) == i)
        );
    }
}
