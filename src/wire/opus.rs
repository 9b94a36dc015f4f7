//! How long does an Opus packet sound, and is it whole?
//!
//! Read from the packet's own framing (RFC 6716 section 3), without a decoder: the player of foreign streams must know where a
//! packet ends before it decodes it, and random bytes must not become noise. The requirements R1 to R7 of section 3.4 are held.

use thiserror::Error;

/// The longest packet, 120 ms, in samples at 48 kHz (RFC 6716 section 3.4, R5).
pub const MAX_SAMPLES: u32 = 5_760;
/// The shortest frame, 2.5 ms: every duration is a multiple of it.
pub const GRAIN_SAMPLES: u32 = 120;
/// The largest frame in bytes (R2).
const MAX_FRAME_BYTES: usize = 1_275;

/// Why bytes are no Opus packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// Not even the first byte (R1).
    #[error("Opus packet of 0 bytes")]
    Empty,
    /// A frame longer than a frame can be (R2).
    #[error("Opus frame of {0} bytes: at most {MAX_FRAME_BYTES}")]
    FrameTooLong(usize),
    /// Frames of equal size that do not divide what there is (R3, R6).
    #[error("{frames} equal Opus frames in {bytes} bytes")]
    Uneven {
        /// Frames.
        frames: usize,
        /// Bytes that they should share.
        bytes: usize,
    },
    /// A length or a frame runs over the end (R4, R6, R7).
    #[error("Opus packet of {0} bytes is cut short")]
    CutShort(usize),
    /// No frame at all, or more than 120 ms (R5).
    #[error("{frames} Opus frames of {samples} samples: from one frame to 120 ms is allowed")]
    Duration {
        /// Frames.
        frames: u32,
        /// Samples of each.
        samples: u32,
    },
}

/// How long `packet` sounds, in samples at 48 kHz: 120 to [`MAX_SAMPLES`].
///
/// # Errors
/// Says what contradicts RFC 6716 section 3.
pub fn samples(packet: &[u8]) -> Result<u32, FramingError> {
    let [toc, body @ ..] = packet else {
        return Err(FramingError::Empty);
    };
    let frame = frame_samples(*toc);
    match toc & 3 {
        0 => check_frame(body.len()).map(|()| frame),
        1 => check_equal(body, 2).map(|()| 2 * frame),
        2 => {
            let rest = check_lengths(body, 1, packet.len())?;
            check_frame(rest).map(|()| 2 * frame)
        }
        _ => check_many(body, frame, packet.len()),
    }
}

/// The samples of one frame (section 3.1, table 2).
fn frame_samples(toc: u8) -> u32 {
    let config = usize::from(toc >> 3);
    match config {
        0..12 => [480, 960, 1_920, 2_880][config % 4],
        12..16 => [480, 960][config % 2],
        _ => [120, 240, 480, 960][config % 4],
    }
}

fn check_frame(bytes: usize) -> Result<(), FramingError> {
    if bytes > MAX_FRAME_BYTES {
        return Err(FramingError::FrameTooLong(bytes));
    }
    Ok(())
}

fn check_equal(body: &[u8], frames: usize) -> Result<(), FramingError> {
    if !body.len().is_multiple_of(frames) {
        let bytes = body.len();
        return Err(FramingError::Uneven { frames, bytes });
    }
    check_frame(body.len() / frames)
}

/// Code 3: a count byte, maybe padding, then frames of equal or told lengths (section 3.2.5).
fn check_many(body: &[u8], frame: u32, whole: usize) -> Result<u32, FramingError> {
    let cut_short = FramingError::CutShort(whole);
    let (head, mut rest) = body.split_first().ok_or(cut_short)?;
    let (frames, has_padding, has_lengths) = (head & 0x3f, head & 0x40 != 0, head & 0x80 != 0);
    let samples = u32::from(frames) * frame;
    if !(1..=MAX_SAMPLES).contains(&samples) {
        return Err(FramingError::Duration {
            frames: frames.into(),
            samples: frame,
        });
    }
    if has_padding {
        rest = strip_padding(rest).ok_or(cut_short)?;
    }
    if has_lengths {
        let last = check_lengths(rest, usize::from(frames) - 1, whole)?;
        check_frame(last)?;
    } else {
        check_equal(rest, frames.into())?;
    }
    Ok(samples)
}

/// The bytes between the padding's length and the padding. A 255 stands for 254 and another byte of length.
fn strip_padding(mut rest: &[u8]) -> Option<&[u8]> {
    let mut padding = 0;
    loop {
        let (&count, tail) = rest.split_first()?;
        rest = tail;
        padding += usize::from(count.min(254));
        if count < 255 {
            return rest.get(..rest.len().checked_sub(padding)?);
        }
    }
}

/// Reads `count` lengths (section 3.2.1), each with its frame behind all of them or right behind it (code 2), and says how
/// many bytes are left for the last frame, which has no length.
fn check_lengths(body: &[u8], count: usize, whole: usize) -> Result<usize, FramingError> {
    let cut_short = FramingError::CutShort(whole);
    let (mut rest, mut told) = (body, 0);
    for _ in 0..count {
        let (length, tail) = match rest {
            [first, tail @ ..] if *first < 252 => (usize::from(*first), tail),
            [first, second, tail @ ..] => (usize::from(*second) * 4 + usize::from(*first), tail),
            _ => return Err(cut_short),
        };
        check_frame(length)?;
        told += length;
        rest = tail;
    }
    rest.len().checked_sub(told).ok_or(cut_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(toc: u8, body: &[u8]) -> Vec<u8> {
        [&[toc], body].concat()
    }

    #[test]
    fn every_configuration_has_its_duration() {
        let tenths_of_ms = [
            [100, 200, 400, 600].repeat(3),
            [100, 200].repeat(2),
            [25, 50, 100, 200].repeat(4),
        ]
        .concat();
        for (config, tenths) in tenths_of_ms.into_iter().enumerate() {
            for stereo in [0, 4] {
                let toc = (config as u8) << 3 | stereo;
                assert_eq!(samples(&[toc, 1, 2]), Ok(tenths * 48 / 10), "{config}");
            }
        }
    }

    #[test]
    fn codes_0_to_3_count_their_frames() {
        // Configuration 31: CELT, 20 ms.
        let table: &[(&str, Vec<u8>, u32)] = &[
            ("one frame", with(0xf8, &[7; 100]), 960),
            ("one frame of no bytes (DTX)", vec![0xf8], 960),
            ("two equal ones", with(0xf9, &[7; 100]), 1_920),
            ("two different ones", with(0xfa, &[2, 7, 7, 9]), 1_920),
            (
                "a length of two bytes",
                with(0xfa, &[&[252, 0][..], &[7; 253]].concat()),
                1_920,
            ),
            ("three equal ones", with(0xfb, &[3, 7, 7, 7]), 2_880),
            (
                "three with lengths",
                with(0xfb, &[0x83, 1, 2, 7, 8, 8, 9, 9, 9]),
                2_880,
            ),
            (
                "padding of three",
                with(0xfb, &[0x43, 3, 7, 8, 9, 0, 0, 0]),
                2_880,
            ),
            (
                "padding of 255",
                with(0xfb, &[&[0x41, 255, 1, 7][..], &[0; 255]].concat()),
                960,
            ),
            ("48 frames of 2.5 ms", with(0xe3, &[48]), MAX_SAMPLES),
            ("two of 60 ms", with(0x19, &[7; 10]), MAX_SAMPLES),
        ];
        for (name, packet, expected) in table {
            assert_eq!(samples(packet), Ok(*expected), "{name}");
        }
    }

    #[test]
    fn every_way_to_be_malformed_has_its_own_reason() {
        let cut = FramingError::CutShort;
        let table: &[(&str, Vec<u8>, FramingError)] = &[
            ("nothing", vec![], FramingError::Empty),
            (
                "too long",
                with(0xf8, &[7; 1_276]),
                FramingError::FrameTooLong(1_276),
            ),
            (
                "odd",
                with(0xf9, &[7; 3]),
                FramingError::Uneven {
                    frames: 2,
                    bytes: 3,
                },
            ),
            ("no length", vec![0xfa], cut(1)),
            ("half a length", with(0xfa, &[252]), cut(2)),
            ("beyond the end", with(0xfa, &[3, 7, 7]), cut(4)),
            ("no count", vec![0xfb], cut(1)),
            (
                "no frames",
                with(0xfb, &[0, 1]),
                FramingError::Duration {
                    frames: 0,
                    samples: 960,
                },
            ),
            (
                "140 ms",
                with(0xfb, &[7; 8]),
                FramingError::Duration {
                    frames: 7,
                    samples: 960,
                },
            ),
            (
                "uneven",
                with(0xfb, &[3, 7, 7]),
                FramingError::Uneven {
                    frames: 3,
                    bytes: 2,
                },
            ),
            ("all padding", with(0xfb, &[0x41, 9, 7]), cut(4)),
            ("padding without end", with(0xfb, &[0x41, 255, 255]), cut(4)),
            ("lengths cut", with(0xfb, &[0x83, 1, 7]), cut(4)),
        ];
        for (name, packet, error) in table {
            assert_eq!(samples(packet), Err(*error), "{name}");
        }
    }

    proptest! {
        /// libopus is the judge: it accepts the same packets, and they have as many frames.
        #[test]
        fn libopus_agrees(toc: u8, count: u8, body in prop::collection::vec(any::<u8>(), 0..300)) {
            for packet in [with(toc, &body), with(toc | 3, &[&[count][..], &body].concat())] {
                let theirs = ::opus::packet::parse(&packet).ok().map(|parsed| {
                    let frame = ::opus::packet::get_samples_per_frame(&packet, 48_000).unwrap();
                    (parsed.frames.len() * frame) as u32
                });
                prop_assert_eq!(samples(&packet).ok(), theirs, "{:?}", packet);
            }
        }
    }
}
