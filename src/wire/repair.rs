//! How does a node ask for frames that it missed, and how do they come?
//!
//! A NACK names frames by the first one and a bitmap of those after it, as RFC 4585 section 6.2.1 does; the answer is the frame's
//! RTP packet as it was (or would have been) on the media port, so that whoever gets it needs nothing else to place it. Both travel
//! on the control port: on the media port, repeats would make standard players stutter. A NACK always is for one node;
//! an answer is for the one that asked, or for the group if several did.

use serde::{Deserialize, Serialize};

use super::ids::{FrameIndex, NodeId, StationId};
use super::media::MAX_PACKET_BYTES;

/// Frames that one NACK can name.
pub const MAX_NACKED: u64 = 1 + u64::BITS as u64;
/// The largest datagram with a repair: version, variant, the packet's length, and the packet. It is larger than other
/// messages may be, but not than the media packets, which pass wherever it does.
pub const MAX_REPAIR_BYTES: usize = 1 + 1 + 2 + MAX_PACKET_BYTES;

/// "I have missed these frames."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// Of which station.
    pub station: StationId,
    /// Who asks.
    pub node: NodeId,
    /// The first missing frame.
    pub first: FrameIndex,
    /// Bit k: frame `first + 1 + k` is missing, too.
    pub bitmap: u64,
}

impl Nack {
    /// As few NACKs as name all of these frames, which are in order.
    pub fn of(station: StationId, node: NodeId, frames: &[FrameIndex]) -> Vec<Nack> {
        let mut nacks: Vec<Nack> = Vec::new();
        for &index in frames {
            match nacks.last_mut() {
                Some(nack) if index > nack.first && index.since(nack.first) < MAX_NACKED => {
                    nack.bitmap |= 1 << (index.since(nack.first) - 1);
                }
                Some(nack) if index == nack.first => {}
                _ => nacks.push(Nack {
                    station,
                    node,
                    first: index,
                    bitmap: 0,
                }),
            }
        }
        nacks
    }

    /// The frames that it names, in order.
    pub fn frames(self) -> impl Iterator<Item = FrameIndex> {
        let more = (0..u64::from(u64::BITS)).filter(move |k| self.bitmap >> k & 1 == 1);
        std::iter::once(self.first).chain(more.map(move |k| self.first.plus(1 + k)))
    }
}

/// "Here is one."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The frame's RTP packet (see [`super::media::MediaPacket`]).
    pub packet: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::control::{ControlError, MAX_BYTES, Message};

    fn nacks(frames: &[u64]) -> Vec<Nack> {
        let frames: Vec<_> = frames.iter().copied().map(FrameIndex).collect();
        Nack::of(StationId(7), NodeId(9), &frames)
    }

    #[test]
    fn a_nack_names_a_frame_and_the_sixty_four_after_it() {
        let table: [(&[u64], usize); 6] = [
            (&[], 0),
            (&[5], 1),
            (&[5, 5, 6], 1),
            (&[5, 69], 1),
            (&[5, 70], 2),
            (&[0, 64, 65, 66, 129, 130], 3),
        ];
        for (frames, count) in table {
            assert_eq!(nacks(frames).len(), count, "{frames:?}");
        }
        assert_eq!(nacks(&[5, 69])[0].bitmap, 1 << 63);
    }

    proptest! {
        #[test]
        fn all_frames_are_named_once_and_no_others(frames in prop::collection::btree_set(0u64..2_000, 0..300)) {
            let frames: Vec<u64> = frames.into_iter().collect();
            let named = nacks(&frames).into_iter().flat_map(Nack::frames);
            prop_assert_eq!(named.map(|index| index.0).collect::<Vec<_>>(), frames);
        }
    }

    #[test]
    fn a_repair_may_be_as_large_as_a_media_packet_and_nothing_else_may() {
        let repair = |bytes| {
            Message::Repair(Repair {
                packet: vec![7; bytes],
            })
        };
        let largest = repair(MAX_PACKET_BYTES).to_bytes();
        assert_eq!(largest.len(), MAX_REPAIR_BYTES);
        assert_eq!(Message::parse(&largest), Ok(repair(MAX_PACKET_BYTES)));
        let beyond = repair(MAX_PACKET_BYTES + 1).to_bytes();
        let too_long = ControlError::TooLong(MAX_REPAIR_BYTES + 1);
        assert_eq!(Message::parse(&beyond), Err(too_long));
        let nack = Message::Nack(nacks(&[1])[0]).to_bytes();
        let padded = [nack, vec![0; MAX_BYTES]].concat();
        let too_long = ControlError::TooLong(padded.len());
        assert_eq!(Message::parse(&padded), Err(too_long));
    }
}
