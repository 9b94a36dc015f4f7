//! How does a track become a file that every player takes? An Ogg Opus file (RFC 7845): two headers, then the packets as they are.

use ogg::writing::{PacketWriteEndInfo, PacketWriter};

/// Samples of encoder look-ahead that a player skips at the start (RFC 7845 section 4.2). Ours is flushed at the end of a track.
const PRE_SKIP: u16 = 312;
const CHANNELS: u8 = 2;
const SAMPLE_RATE: u32 = 48_000;
/// Samples in one frame.
const FRAME: u64 = 960;
/// Frames on one page: a second.
const PAGE_FRAMES: usize = 50;
/// Names the one logical stream of the file.
const SERIAL: u32 = 1;

/// The file, with title and artist as comments.
pub fn file<'a>(title: &str, artist: &str, packets: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PacketWriter::new(&mut out);
    // Writing to memory cannot fail.
    let _ = writer.write_packet(head(), SERIAL, PacketWriteEndInfo::EndPage, 0);
    let _ = writer.write_packet(tags(title, artist), SERIAL, PacketWriteEndInfo::EndPage, 0);
    let mut packets = packets.enumerate().peekable();
    while let Some((n, packet)) = packets.next() {
        let position = (n as u64 + 1) * FRAME;
        let info = match packets.peek() {
            None => PacketWriteEndInfo::EndStream,
            Some(_) if (n + 1) % PAGE_FRAMES == 0 => PacketWriteEndInfo::EndPage,
            Some(_) => PacketWriteEndInfo::NormalPacket,
        };
        let _ = writer.write_packet(packet.to_vec(), SERIAL, info, position);
    }
    drop(writer);
    out
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
