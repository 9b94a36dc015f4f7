//! How does one get an MPEG Layer I file, which nobody's encoder writes any more? By writing its numbers directly: no filter
//! bank, just subbands with dice in them, other ones left and right. Any decoder must make the same sound of them.

use crate::decoded::compare;
use crate::ffmpeg::Folder;
use crate::music::Dice;
use crate::table::{Kind, TABLE};

/// 384 kbit/s at 48 kHz: 384 samples in 384 bytes.
const FRAME_BYTES: usize = 384;
const SUBBANDS: usize = 10;
const BITS_OF_SAMPLE: usize = 10;

/// Bits, the most significant first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(&mut self, value: usize, count: usize) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().unwrap();
            *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            self.used += 1;
        }
    }
}

/// One frame: header, allocation, scale factors, samples (ISO 11172-3, 2.4.1.5).
fn frame(dice: &mut Dice) -> Vec<u8> {
    let mut bits = Bits::default();
    // Sync, MPEG 1, Layer I, no checksum; 384 kbit/s, 48 kHz; stereo.
    bits.put(0xFFFF, 16);
    bits.put(0b1100_0100, 8);
    bits.put(0, 8);
    for subband in 0..32 {
        let allocation = if subband < SUBBANDS {
            BITS_OF_SAMPLE - 1
        } else {
            0
        };
        bits.put(allocation, 4);
        bits.put(allocation, 4);
    }
    for subband in 0..SUBBANDS {
        // Each step is a third of a factor of two: quieter the higher, and not the same in any two frames.
        bits.put(9 + 2 * subband + dice.below(6), 6);
        bits.put(9 + 2 * subband + dice.below(6), 6);
    }
    for _ in 0..12 {
        for _ in 0..2 * SUBBANDS {
            // All ones would look like a sync word.
            bits.put(dice.below((1 << BITS_OF_SAMPLE) - 1), BITS_OF_SAMPLE);
        }
    }
    bits.bytes.resize(FRAME_BYTES, 0);
    bits.bytes
}

/// A whole file.
pub(crate) fn file(frames: usize) -> Vec<u8> {
    let mut dice = Dice(0x1a9e_41ab_cdef_0123);
    (0..frames).flat_map(|_| frame(&mut dice)).collect()
}

#[test]
fn mpeg_layer_1_is_heard_in_full_and_as_ffmpeg_hears_it() {
    let Some(folder) = Folder::with_ffmpeg() else {
        return;
    };
    let kind = Kind {
        name: "layer1.mp1",
        knows_its_length: false,
        ..TABLE[0]
    };
    let kind = Kind {
        snr_db: 70.0,
        ..kind
    };
    let path = folder.path(kind.name);
    std::fs::write(&path, file(300)).unwrap();
    match compare(&path, &kind, 300 * 384) {
        Ok(line) => println!("{}: {line}", kind.name),
        Err(why) => panic!("{}: {why}", kind.name),
    }
}
