//! Which AAC is it? AAC-LC of one or two channels is what symphonia 0.6 decodes; its relatives are recognised, and named, here.
//!
//! HE-AAC needs the care: it is AAC-LC of half the rate with a sketch of the treble (SBR) beside it, and a decoder that
//! overlooks the sketch plays it, dull, as if nothing were wrong. Its configuration may announce it openly, or after what an
//! old decoder reads, or not at all: in a stream without configuration (ADTS), and in an MP4 or Matroska file that was made of
//! one, only the frames themselves show it.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;

const OBJECT_MAIN: u32 = 1;
const OBJECT_LC: u32 = 2;
const OBJECT_SSR: u32 = 3;
const OBJECT_LTP: u32 = 4;
const OBJECT_SBR: u32 = 5;
const OBJECT_LD: u32 = 23;
const OBJECT_PS: u32 = 29;
const OBJECT_ELD: u32 = 39;
const OBJECT_USAC: u32 = 42;

/// Frames of a track that are looked at, and how many there must be to judge by.
const JUDGED_FRAMES: std::ops::RangeInclusive<usize> = 4..=16;

/// The kind's name, unless it is one that can be decoded.
pub(super) fn unsupported(params: &AudioCodecParameters) -> Option<String> {
    let Some(config) = params.extra_data.as_deref().and_then(Config::read) else {
        let channels = params.channels.as_ref().map_or(0, Channels::count);
        return (channels > 2).then(|| with_channels(channels));
    };
    let name = match config {
        Config { ps: true, .. } => "HE-AAC v2",
        Config { sbr: true, .. } => "HE-AAC",
        Config { object, .. } if object != OBJECT_LC => match object {
            OBJECT_MAIN => "AAC Main",
            OBJECT_SSR => "AAC SSR",
            OBJECT_LTP => "AAC LTP",
            OBJECT_LD => "AAC-LD",
            OBJECT_ELD => "AAC-ELD",
            OBJECT_USAC => "xHE-AAC",
            _ => return None,
        },
        Config { channels: 3.., .. } => return Some(with_channels(config.channels)),
        _ => return None,
    };
    Some(name.to_owned())
}

fn with_channels(count: usize) -> String {
    format!("AAC with {count} channels")
}

/// An AudioSpecificConfig (ISO 14496-3, 1.6.2.1), as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Config {
    object: u32,
    /// 0 if the stream itself says.
    channels: usize,
    sbr: bool,
    ps: bool,
}

impl Config {
    fn read(bytes: &[u8]) -> Option<Config> {
        let mut bits = Bits { bytes, at: 0 };
        let mut object = bits.object()?;
        bits.rate()?;
        let channels = match bits.take(4)? {
            7 | 12 | 14 => 8,
            11 => 7,
            count => count as usize,
        };
        let ps = object == OBJECT_PS;
        let sbr = ps || object == OBJECT_SBR;
        if sbr {
            bits.rate()?;
            object = bits.object()?;
        }
        let mut config = Config {
            object,
            channels,
            sbr,
            ps,
        };
        if object == OBJECT_LC && !sbr {
            // Nothing announced openly: it may still follow.
            let _ = config.read_extension(&mut bits);
        }
        Some(config)
    }

    /// What an old decoder does not read: 1.6.6.2, backward compatible signalling.
    fn read_extension(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        bits.take(1)?;
        if bits.take(1)? == 1 {
            bits.take(14)?;
        }
        bits.take(1)?;
        if bits.take(11)? == 0x2B7 && bits.object()? == OBJECT_SBR {
            self.sbr = bits.take(1)? == 1;
            bits.rate()?;
            self.ps = self.sbr && bits.take(11)? == 0x548 && bits.take(1)? == 1;
        }
        Some(())
    }
}

/// Bits from the most significant on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let value = bits_at(self.bytes, self.at, count)?;
        self.at += count;
        Some(value)
    }

    fn object(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object => Some(object),
        }
    }

    fn rate(&mut self) -> Option<()> {
        if self.take(4)? == 15 {
            self.take(24)?;
        }
        Some(())
    }
}

fn bits_at(bytes: &[u8], at: usize, count: usize) -> Option<u32> {
    let mut value = 0;
    for at in at..at + count {
        let byte = u32::from(*bytes.get(at / 8)?);
        value = value << 1 | byte >> (7 - at % 8) & 1;
    }
    Some(value)
}

/// Looks at a track's first frames: those of HE-AAC end in a sketch of the treble. A frame without one looks so by accident once
/// in fifty times, so three quarters of them must.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirstFrames {
    looked_at: usize,
    sketches: usize,
}

impl FirstFrames {
    /// Looks at the next one; whether more are needed. A plain track is known after a few, so that a pipe need not wait.
    pub(super) fn look(&mut self, payload: &[u8]) -> bool {
        self.looked_at += 1;
        self.sketches += usize::from(ends_in_sketch(payload));
        let most = *JUDGED_FRAMES.end();
        let left = most.saturating_sub(self.looked_at);
        left > 0 && 4 * (self.sketches + left) >= 3 * most
    }

    /// Whether it is HE-AAC, by what was seen so far.
    pub(super) fn are_he_aac(self) -> bool {
        self.looked_at >= *JUDGED_FRAMES.start() && 4 * self.sketches >= 3 * self.looked_at
    }
}

/// Whether the last element before the end mark is a fill element with SBR data (ISO 14496-3, 4.4.2.7).
fn ends_in_sketch(payload: &[u8]) -> bool {
    const END: u32 = 0b111;
    const FILL: u32 = 0b110;
    let Some(last) = payload.iter().rposition(|byte| *byte != 0) else {
        return false;
    };
    // The end mark's last bit is the last one that is set.
    let bits = 8 * (last + 1) - payload[last].trailing_zeros() as usize;
    let Some(end) = bits.checked_sub(3) else {
        return false;
    };
    if bits_at(payload, end, 3) != Some(END) {
        return false;
    }
    let is_sketch = |count: usize| {
        let escape = if count < 15 { 0 } else { 8 };
        let start = end.checked_sub(8 * count + escape + 7)?;
        let told = match bits_at(payload, start + 3, 4)? {
            15 => 14 + bits_at(payload, start + 7, 8)? as usize,
            count => count as usize,
        };
        let kind = bits_at(payload, end - 8 * count, 4)?;
        (bits_at(payload, start, 3)? == FILL && told == count && matches!(kind, 0xD | 0xE))
            .then_some(())
    };
    (1..=269).any(|count| is_sketch(count).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(config: &[u8]) -> Option<String> {
        let mut params = AudioCodecParameters::new();
        params.with_extra_data(config.into());
        unsupported(&params)
    }

    #[test]
    fn configurations_have_names() {
        let table: &[(&[u8], Option<&str>)] = &[
            // AAC-LC at 44.1 kHz: stereo, mono, and with the announcement that nothing follows.
            (&[0x12, 0x10], None),
            (&[0x12, 0x08], None),
            (&[0x12, 0x10, 0x56, 0xE5, 0x00], None),
            (&[0x12, 0x30], Some("AAC with 6 channels")),
            (&[0x12, 0x38], Some("AAC with 8 channels")),
            // 24 to 48 kHz, openly and hidden; with parametric stereo.
            (&[0x2B, 0x11, 0x88, 0x00], Some("HE-AAC")),
            (&[0x13, 0x10, 0x56, 0xE5, 0x98], Some("HE-AAC")),
            (&[0xEB, 0x09, 0x88, 0x00], Some("HE-AAC v2")),
            (
                &[0x13, 0x08, 0x56, 0xE5, 0x9D, 0x48, 0x80],
                Some("HE-AAC v2"),
            ),
            (&[0x0A, 0x10], Some("AAC Main")),
            (&[0x22, 0x10], Some("AAC LTP")),
            (&[0xF8, 0xE8, 0x50, 0x00], Some("AAC-ELD")),
            (&[0xF9, 0x46, 0x40, 0x00], Some("xHE-AAC")),
            (&[], None),
            (&[0x12], None),
        ];
        for (config, name) in table {
            assert_eq!(named(config).as_deref(), *name, "{config:02x?}");
        }
    }

    #[test]
    fn stream_without_configuration_is_judged_by_its_channels() {
        let mut params = AudioCodecParameters::new();
        assert_eq!(unsupported(&params), None);
        params.with_channels(Channels::Discrete(2));
        assert_eq!(unsupported(&params), None);
        params.with_channels(Channels::Discrete(6));
        assert_eq!(unsupported(&params).as_deref(), Some("AAC with 6 channels"));
    }

    /// Frames with dice in them, and a fill element of `kind` and `count` bytes at the end of each.
    fn frames(kind: u32, count: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut seed = 9u32;
        (0..20).map(move |_| {
            let mut bits: Vec<bool> = Vec::new();
            let mut put = |value: u32, count: usize| {
                bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            };
            for _ in 0..61 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                put(seed >> 7, 13);
            }
            put(0b110, 3);
            match count {
                0..15 => put(count as u32, 4),
                _ => put(15 << 8 | (count as u32 - 14), 12),
            }
            put(kind, 4);
            put(5, 4);
            (1..count).for_each(|i| put(i as u32, 8));
            put(0b111, 3);
            let payload = bits.chunks(8).map(|bits| {
                let byte = bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
                byte << (8 - bits.len())
            });
            payload.collect()
        })
    }

    /// How many frames were looked at, and the verdict.
    fn judged(frames: impl Iterator<Item = Vec<u8>>) -> (usize, bool) {
        let mut first = FirstFrames::default();
        for frame in frames {
            if !first.look(&frame) {
                break;
            }
        }
        (first.looked_at, first.are_he_aac())
    }

    #[test]
    fn sketch_of_the_treble_is_seen_in_the_frames() {
        for count in [1, 14, 15, 40, 269] {
            for kind in [0xD, 0xE] {
                let he_aac = || frames(kind, count);
                assert_eq!(judged(he_aac()), (16, true), "{kind:x}, {count} bytes");
                assert_eq!(judged(he_aac().take(4)), (4, true), "just enough");
                assert_eq!(judged(he_aac().take(3)), (3, false), "too few to judge");
            }
            let (looked_at, is_he_aac) = judged(frames(0, count));
            assert!(!is_he_aac && looked_at <= 8, "{count} bytes of padding");
        }
        assert_eq!(judged(std::iter::repeat_n(vec![], 20)), (5, false));
        assert_eq!(judged(std::iter::repeat_n(vec![0xFF; 99], 20)), (5, false));
    }

    /// A track that begins with silence begins with one and the same frame, over and over.
    #[test]
    fn silence_is_no_sketch() {
        let silences: [&[u8]; 5] = [
            &[0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C],
            &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80],
            &[
                0x21, 0x11, 0x45, 0x00, 0x14, 0x50, 0x01, 0x46, 0xF1, 0x81, 0x0A, 0x5A, 0x5A, 0x5A,
                0x5A, 0x5E,
            ],
            &[0x01, 0x18, 0x20, 0x07],
            &[0x00, 0xC8, 0x00, 0x80, 0x23, 0x80],
        ];
        for silence in silences {
            assert!(!ends_in_sketch(silence), "{silence:02x?}");
        }
    }
}
