//! Is this datagram Opus of another program, and how long does it sound?
//!
//! Plain RTP (RFC 3550) with Opus (RFC 7587) as ffmpeg, GStreamer and others send it: any dynamic payload type, marker or not,
//! contributing sources, extensions and padding skipped. A payload type says nothing by itself without a session description,
//! so the payload must be a whole Opus packet, and `playout` asks for several that follow each other.

use thiserror::Error;

use super::StationId;
use super::ids::{RtpTimestamp, Seq};
use super::media::{MediaError, parse_rtp};
use super::opus::{self, FramingError};

/// Payload types that a session may give any meaning (RFC 3551 section 3).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// One packet of a foreign stream, its payload still where the datagram lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignPacket<'a> {
    /// Whose it is (its SSRC).
    pub source: StationId,
    /// RTP sequence number.
    pub seq: Seq,
    /// RTP timestamp of its first sample.
    pub timestamp: RtpTimestamp,
    /// How long it sounds, in samples at 48 kHz: 120 to 5,760.
    pub samples: u32,
    /// One whole Opus packet.
    pub payload: &'a [u8],
}

/// Why a datagram is no Opus stream of another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ForeignError {
    /// Not even RTP.
    #[error(transparent)]
    Rtp(#[from] MediaError),
    /// A payload type that stands for another codec.
    #[error("RTP payload type {0} instead of 96 to 127")]
    PayloadType(u8),
    /// The payload is no Opus packet.
    #[error("RTP of source {0}: {1}")]
    Opus(StationId, FramingError),
}

impl ForeignError {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            ForeignError::Rtp(error) => error.reason(),
            ForeignError::PayloadType(_) => "foreign_payload_type",
            ForeignError::Opus(..) => "foreign_opus",
        }
    }
}

impl<'a> ForeignPacket<'a> {
    /// Reads a datagram of the media port that has no header element of ours.
    ///
    /// # Errors
    /// Says why it is not Opus in RTP; never panics.
    pub fn parse(datagram: &'a [u8]) -> Result<ForeignPacket<'a>, ForeignError> {
        let (rtp, payload) = parse_rtp(datagram)?;
        if !DYNAMIC.contains(&rtp.payload_type()) {
            return Err(ForeignError::PayloadType(rtp.payload_type()));
        }
        let source = StationId(rtp.ssrc());
        let samples = opus::samples(payload).map_err(|error| ForeignError::Opus(source, error))?;
        Ok(ForeignPacket {
            source,
            seq: Seq(rtp.sequence_number()),
            timestamp: RtpTimestamp(rtp.timestamp()),
            samples,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As ffmpeg sends it: version 2, marker, payload type 97.
    const FFMPEG: [u8; 15] = [
        0x80, 0xe1, 0x11, 0x22, 0x55, 0x66, 0x77, 0x88, 1, 2, 3, 4, 0xfc, 7, 7,
    ];

    #[test]
    fn ffmpegs_packet_is_read() {
        let expected = ForeignPacket {
            source: StationId(0x0102_0304),
            seq: Seq(0x1122),
            timestamp: RtpTimestamp(0x5566_7788),
            samples: 960,
            payload: &[0xfc, 7, 7],
        };
        assert_eq!(ForeignPacket::parse(&FFMPEG), Ok(expected));
    }

    #[test]
    fn contributing_sources_extension_and_padding_are_skipped_and_all_dynamic_types_accepted() {
        for payload_type in 96..=127 {
            #[rustfmt::skip]
            let bytes = [
                0xb2, payload_type, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9,
                1, 1, 1, 1, 2, 2, 2, 2,
                0x12, 0x34, 0, 1, 5, 5, 5, 5,
                0xf9, 7, 7, 0, 0, 3,
            ];
            let packet = ForeignPacket::parse(&bytes).unwrap();
            assert_eq!((packet.payload, packet.samples), (&[0xf9, 7, 7][..], 1_920));
        }
    }

    #[test]
    fn every_way_to_be_wrong_has_its_own_reason() {
        let with = |at: usize, value: u8| {
            let mut bytes = FFMPEG.to_vec();
            bytes[at] = value;
            bytes
        };
        let opus = |error| ForeignError::Opus(StationId(0x0102_0304), error);
        let table: &[(&str, Vec<u8>, ForeignError)] = &[
            (
                "cut",
                FFMPEG[..11].to_vec(),
                ForeignError::Rtp(MediaError::Truncated { bytes: 11 }),
            ),
            (
                "version 0",
                with(0, 0),
                ForeignError::Rtp(MediaError::Version(0)),
            ),
            (
                "padding of 0",
                [with(0, 0xa0), vec![0]].concat(),
                ForeignError::Rtp(MediaError::Padding(0)),
            ),
            ("G.711", with(1, 0x80), ForeignError::PayloadType(0)),
            ("type 95", with(1, 95), ForeignError::PayloadType(95)),
            (
                "no payload",
                FFMPEG[..12].to_vec(),
                opus(FramingError::Empty),
            ),
            (
                "140 ms",
                with(12, 0xff),
                opus(FramingError::Duration {
                    frames: 7,
                    samples: 960,
                }),
            ),
        ];
        for (name, bytes, error) in table {
            assert_eq!(ForeignPacket::parse(bytes), Err(*error), "{name}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_what_is_read_lies_in_the_datagram(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(packet) = ForeignPacket::parse(&bytes) {
                prop_assert!((120..=opus::MAX_SAMPLES).contains(&packet.samples));
                prop_assert!(bytes.windows(packet.payload.len()).any(|window| window == packet.payload));
            }
        }
    }
}
