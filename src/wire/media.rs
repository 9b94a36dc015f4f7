//! What does a media packet carry, and is this datagram one?
//!
//! Plain RTP (RFC 3550) with one Opus frame (RFC 7587) and one header element (RFC 8285, one-byte form) that places the
//! packet in station, term and programme. Standard players skip the element. The layout of the 15 bytes is PROTOCOL's "Header
//! element": counter u32 · leader u32 · plan digest u24 · flags u8 · index>>16 u24, all big-endian.

use rtp_types::{RtpPacket, RtpPacketBuilder, RtpParseError};
use thiserror::Error;

use super::ids::{
    FrameIndex, Numbering, PlanDigest, RtpTimestamp, Seq, ShortTerm, Slot, StationId,
};

/// The dynamic payload type of our SDP (RFC 3551 section 3).
pub const PAYLOAD_TYPE: u8 = 96;
/// The largest Opus frame (RFC 6716 section 3.4, requirement R2).
pub const MAX_PAYLOAD_BYTES: usize = 1275;
/// RTP header, extension header, element: what comes before the payload.
pub const HEADER_BYTES: usize = 12 + 4 + 16;
/// The largest packet that we send.
pub const MAX_PACKET_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES;

const ONE_BYTE_PROFILE: u16 = 0xBEDE;
const ELEMENT_ID: u8 = 1;
const ELEMENT_BYTES: usize = 15;

/// The flag byte of the header element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// Sent by a standby in place of the leader.
    pub const COVER: Flags = Flags(1);
    /// Sent by a node that hears nobody else.
    pub const SOLO: Flags = Flags(2);
    /// Digital silence.
    pub const SILENCE: Flags = Flags(4);
    /// The track ends with this frame; decoders start afresh with the next one.
    pub const LAST_OF_TRACK: Flags = Flags(8);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// The header element: where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The leader's period in office (of the covered leader, on a cover).
    pub term: ShortTerm,
    /// The plan that the sender of this packet follows.
    pub plan: PlanDigest,
    /// See [`Flags`].
    pub flags: Flags,
    /// The upper 24 of the 40 bits of the frame index; the lower ones are in the sequence number.
    pub index_high: u32,
}

impl Element {
    fn to_bytes(self) -> [u8; 1 + ELEMENT_BYTES] {
        let mut bytes = [0; 1 + ELEMENT_BYTES];
        bytes[0] = ELEMENT_ID << 4 | (ELEMENT_BYTES as u8 - 1);
        bytes[1..5].copy_from_slice(&self.term.counter.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.term.leader.to_be_bytes());
        bytes[9..12].copy_from_slice(&self.plan.0.to_be_bytes()[1..]);
        bytes[12] = self.flags.0;
        bytes[13..16].copy_from_slice(&self.index_high.to_be_bytes()[1..]);
        bytes
    }

    fn from_bytes(bytes: &[u8; ELEMENT_BYTES]) -> Element {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Element {
            term: ShortTerm {
                counter: word(0),
                leader: word(4),
            },
            plan: PlanDigest(word(7) & 0x00ff_ffff),
            flags: Flags(bytes[11]),
            index_high: word(11) & 0x00ff_ffff,
        }
    }
}

/// One media packet, its payload still where the datagram lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPacket<'a> {
    /// Whose it is.
    pub station: StationId,
    /// RTP sequence number.
    pub seq: Seq,
    /// RTP timestamp.
    pub timestamp: RtpTimestamp,
    /// Set on the first frame of a run.
    pub marker: bool,
    /// Our header element.
    pub element: Element,
    /// One Opus packet of 20 ms.
    pub payload: &'a [u8],
}

/// Why a datagram on the media port is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MediaError {
    /// Shorter than its header or its padding says.
    #[error("RTP packet of {bytes} bytes is cut short")]
    Truncated {
        /// Size of the datagram.
        bytes: usize,
    },
    /// Not RTP version 2.
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    /// Padding of no length, which RFC 3550 section 5.1 forbids.
    #[error("RTP padding of {0} bytes")]
    Padding(u8),
    /// Another codec, or another program's number for it.
    #[error("RTP payload type {0} instead of {PAYLOAD_TYPE}")]
    PayloadType(u8),
    /// RTP without our header element: another program's stream.
    #[error("RTP of source {0:08x} without a lanradio header element")]
    Foreign(u32),
    /// An extension whose elements run over its end.
    #[error("RTP header extension of {0} bytes with elements beyond its end")]
    Extension(usize),
    /// No payload, or more than an Opus frame can have.
    #[error("payload of {0} bytes instead of 1 to {MAX_PAYLOAD_BYTES}")]
    Payload(usize),
}

impl MediaError {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            MediaError::Truncated { .. } => "truncated",
            MediaError::Version(_) => "version",
            MediaError::Padding(_) => "padding",
            MediaError::PayloadType(_) => "payload_type",
            MediaError::Foreign(_) => "foreign",
            MediaError::Extension(_) => "extension",
            MediaError::Payload(_) => "payload",
        }
    }
}

impl<'a> MediaPacket<'a> {
    /// Reads a datagram of the media port.
    ///
    /// # Errors
    /// Says why it is not a media packet of ours; never panics.
    pub fn parse(datagram: &'a [u8]) -> Result<MediaPacket<'a>, MediaError> {
        let (rtp, payload) = parse_rtp(datagram)?;
        let element = match rtp.extension() {
            Some((ONE_BYTE_PROFILE, bytes)) => find_element(bytes)?,
            _ => None,
        };
        let Some(element) = element else {
            return Err(MediaError::Foreign(rtp.ssrc()));
        };
        if rtp.payload_type() != PAYLOAD_TYPE {
            return Err(MediaError::PayloadType(rtp.payload_type()));
        }
        if payload.is_empty() || payload.len() > MAX_PAYLOAD_BYTES {
            return Err(MediaError::Payload(payload.len()));
        }
        Ok(MediaPacket {
            station: StationId(rtp.ssrc()),
            seq: Seq(rtp.sequence_number()),
            timestamp: RtpTimestamp(rtp.timestamp()),
            marker: rtp.marker_bit(),
            element,
            payload,
        })
    }

    /// The packet as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        self.write(&mut bytes);
        bytes
    }

    /// Appends the packet to `out`. A payload beyond [`MAX_PAYLOAD_BYTES`] is our own bug.
    pub fn write(&self, out: &mut Vec<u8>) {
        debug_assert!(!self.payload.is_empty() && self.payload.len() <= MAX_PAYLOAD_BYTES);
        let element = self.element.to_bytes();
        RtpPacketBuilder::<&[u8], &[u8]>::new()
            .payload_type(PAYLOAD_TYPE)
            .sequence_number(self.seq.0)
            .timestamp(self.timestamp.0)
            .ssrc(self.station.0)
            .marker_bit(self.marker)
            .extension(ONE_BYTE_PROFILE, element.as_slice())
            .payload(self.payload)
            .write_into_vec_unchecked(out);
    }

    /// The packet of frame `index` in `slot`.
    pub fn place(
        numbering: &Numbering,
        index: FrameIndex,
        slot: Slot,
        marker: bool,
        (term, plan, flags): (ShortTerm, PlanDigest, Flags),
        payload: &'a [u8],
    ) -> MediaPacket<'a> {
        MediaPacket {
            station: numbering.station(),
            seq: numbering.seq(index),
            timestamp: numbering.timestamp(slot),
            marker,
            element: Element {
                term,
                plan,
                flags,
                index_high: (index.0 >> 16) as u32,
            },
            payload,
        }
    }
}

/// Any program's RTP packet, and its payload where the datagram lies.
pub(super) fn parse_rtp(datagram: &[u8]) -> Result<(RtpPacket<'_>, &[u8]), MediaError> {
    let rtp = RtpPacket::parse(datagram).map_err(|error| match error {
        RtpParseError::UnsupportedVersion(version) => MediaError::Version(version),
        RtpParseError::Truncated { .. } => MediaError::Truncated {
            bytes: datagram.len(),
        },
        RtpParseError::PaddingInvalid(padding) => MediaError::Padding(padding),
    })?;
    let start = rtp.payload_offset();
    let payload = &datagram[start..start + rtp.payload_len()];
    Ok((rtp, payload))
}

/// Walks the elements of a one-byte header extension (RFC 8285 section 4.2) to ours.
fn find_element(bytes: &[u8]) -> Result<Option<Element>, MediaError> {
    let mut rest = bytes;
    while let [head, tail @ ..] = rest {
        let (id, length) = (head >> 4, usize::from(head & 0x0f) + 1);
        match id {
            0 => rest = tail, // padding
            15 => break,      // reserved: stop here (RFC 8285 section 4.2)
            _ => {
                let Some((data, after)) = tail.split_at_checked(length) else {
                    return Err(MediaError::Extension(bytes.len()));
                };
                if id == ELEMENT_ID
                    && let Ok(data) = data.try_into()
                {
                    return Ok(Some(Element::from_bytes(data)));
                }
                rest = after;
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(payload: &[u8]) -> MediaPacket<'_> {
        MediaPacket {
            station: StationId(0x0102_0304),
            seq: Seq(0x1122),
            timestamp: RtpTimestamp(0x5566_7788),
            marker: true,
            element: Element {
                term: ShortTerm {
                    counter: 1,
                    leader: 0xa1a2_a3a4,
                },
                plan: PlanDigest(0xb1_b2b3),
                flags: Flags::LAST_OF_TRACK,
                index_high: 0xc1_c2c3,
            },
            payload,
        }
    }

    fn bytes_of(packet: &MediaPacket<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        packet.write(&mut out);
        out
    }

    #[test]
    fn bytes_are_those_of_the_protocol_page() {
        #[rustfmt::skip]
        let expected = [
            0x90, 0xe0, 0x11, 0x22, 0x55, 0x66, 0x77, 0x88, 1, 2, 3, 4,
            0xbe, 0xde, 0, 4,
            0x1e, 0, 0, 0, 1, 0xa1, 0xa2, 0xa3, 0xa4, 0xb1, 0xb2, 0xb3, 8, 0xc1, 0xc2, 0xc3,
            0xfc, 0xff,
        ];
        assert_eq!(bytes_of(&packet(&[0xfc, 0xff])), expected);
        assert_eq!(MediaPacket::parse(&expected), Ok(packet(&[0xfc, 0xff])));
    }

    #[test]
    fn every_way_to_be_wrong_has_its_own_reason() {
        let good = bytes_of(&packet(&[1, 2, 3]));
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        let plain_rtp = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2];
        let oversized = bytes_of(&packet(&[7; MAX_PAYLOAD_BYTES]));
        let table: &[(&str, Vec<u8>, MediaError)] = &[
            ("empty", vec![], MediaError::Truncated { bytes: 0 }),
            (
                "header cut",
                good[..11].to_vec(),
                MediaError::Truncated { bytes: 11 },
            ),
            (
                "extension cut",
                good[..20].to_vec(),
                MediaError::Truncated { bytes: 20 },
            ),
            (
                "absurd extension length",
                with(14, 0xff),
                MediaError::Truncated { bytes: good.len() },
            ),
            ("version 1", with(0, 0x50), MediaError::Version(1)),
            (
                "padding of 200",
                [with(0, 0xb0), vec![200]].concat(),
                MediaError::Truncated {
                    bytes: good.len() + 1,
                },
            ),
            (
                "padding of 0",
                [with(0, 0xb0), vec![0]].concat(),
                MediaError::Padding(0),
            ),
            ("payload type 97", with(1, 97), MediaError::PayloadType(97)),
            ("no extension", plain_rtp.to_vec(), MediaError::Foreign(9)),
            (
                "another profile",
                with(12, 0x10),
                MediaError::Foreign(0x0102_0304),
            ),
            (
                "another element",
                with(16, 0x2e),
                MediaError::Foreign(0x0102_0304),
            ),
            (
                "element of 16 bytes in 15",
                with(16, 0x1f),
                MediaError::Extension(16),
            ),
            (
                "no payload",
                good[..HEADER_BYTES].to_vec(),
                MediaError::Payload(0),
            ),
            (
                "too much",
                [oversized, vec![0]].concat(),
                MediaError::Payload(MAX_PAYLOAD_BYTES + 1),
            ),
        ];
        for (name, bytes, error) in table {
            assert_eq!(MediaPacket::parse(bytes), Err(*error), "{name}");
        }
    }

    #[test]
    fn other_elements_and_padding_before_ours_are_skipped() {
        let ours = bytes_of(&packet(&[1, 2, 3]));
        let mut bytes = ours[..14].to_vec();
        bytes.extend([0, 5, 0x20, 0xaa, 0, 0]);
        bytes.extend(&ours[16..]);
        assert_eq!(MediaPacket::parse(&bytes), Ok(packet(&[1, 2, 3])));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            numbers in any::<(u32, u16, u32, bool, u32, u32, u8)>(),
            plan in 0u32..1 << 24,
            index_high in 0u32..1 << 24,
            payload in prop::collection::vec(any::<u8>(), 1..=MAX_PAYLOAD_BYTES),
        ) {
            let (ssrc, seq, timestamp, marker, counter, leader, flags) = numbers;
            let packet = MediaPacket {
                station: StationId(ssrc), seq: Seq(seq), timestamp: RtpTimestamp(timestamp), marker,
                element: Element {
                    term: ShortTerm { counter, leader }, plan: PlanDigest(plan), flags: Flags(flags), index_high,
                },
                payload: &payload,
            };
            let bytes = bytes_of(&packet);
            prop_assert_eq!(bytes.len(), HEADER_BYTES + payload.len());
            prop_assert_eq!(MediaPacket::parse(&bytes), Ok(packet));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = MediaPacket::parse(&bytes);
        }
    }
}
