//! How does a track become a file that every player takes? An Ogg Opus file (RFC 7845): two headers, then the packets as they are.

use ogg::writing::{PacketWriteEndInfo, PacketWriter};

/// Samples of encoder look-ahead that a player skips at the start (RFC 7845 section 4.2). Ours is flushed at the end of a track.
const PRE_SKIP: u16 = 312;
const CHANNELS: u8 = 2;
const SAMPLE_RATE: u32 = 48_000;
/// Samples in one frame.
const FRAME: u64 = 960;
/// Frames on one page: a second.
const PAGE_FRAMES: u64 = 50;
/// Names the one logical stream of the file.
const SERIAL: u32 = 1;

/// A file that grows packet by packet; what is ready is taken out on the way, so that nobody holds all of it.
pub struct OggOpus {
    writer: PacketWriter<'static, Vec<u8>>,
    /// Packets so far, and in all.
    written: u64,
    frames: u64,
}

impl OggOpus {
    /// The beginning of a file of so many frames, with title and artist as comments.
    pub fn new(title: &str, artist: &str, frames: u64) -> OggOpus {
        let mut writer = PacketWriter::new(Vec::new());
        // Writing to memory cannot fail, here and below.
        let _ = writer.write_packet(head(), SERIAL, PacketWriteEndInfo::EndPage, 0);
        let _ = writer.write_packet(tags(title, artist), SERIAL, PacketWriteEndInfo::EndPage, 0);
        OggOpus {
            writer,
            written: 0,
            frames,
        }
    }

    /// How many packets it has.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether it has all of them.
    pub fn is_complete(&self) -> bool {
        self.written >= self.frames
    }

    /// Appends the next packet.
    pub fn push(&mut self, packet: &[u8]) {
        self.written += 1;
        let info = if self.written >= self.frames {
            PacketWriteEndInfo::EndStream
        } else if self.written.is_multiple_of(PAGE_FRAMES) {
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        let position = self.written * FRAME;
        let _ = (self.writer).write_packet(packet.to_vec(), SERIAL, info, position);
    }

    /// What is ready since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }
}

/// RFC 7845 section 5.1.
fn head() -> Vec<u8> {
    let mut head = b"OpusHead".to_vec();
    head.extend([1, CHANNELS]);
    head.extend(PRE_SKIP.to_le_bytes());
    head.extend(SAMPLE_RATE.to_le_bytes());
    head.extend(0i16.to_le_bytes()); // output gain
    head.push(0); // channel mapping family
    head
}

/// RFC 7845 section 5.2.
fn tags(title: &str, artist: &str) -> Vec<u8> {
    let mut tags = b"OpusTags".to_vec();
    let mut put = |text: &str| {
        tags.extend((text.len() as u32).to_le_bytes());
        tags.extend(text.as_bytes());
    };
    put(concat!("lanradio ", env!("CARGO_PKG_VERSION")));
    let comments: Vec<String> = [("TITLE", title), ("ARTIST", artist)]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("{name}={text}"))
        .collect();
    tags.extend((comments.len() as u32).to_le_bytes());
    for comment in comments {
        tags.extend((comment.len() as u32).to_le_bytes());
        tags.extend(comment.as_bytes());
    }
    tags
}
