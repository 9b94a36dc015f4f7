//! Title and artist of a WAV: symphonia 0.6 reads its LIST INFO chunk and then loses it, so we read it ourselves.
//!
//! Only of files, since a pipe cannot be read twice; nothing here fails: a WAV without a readable chunk has no tags.

use std::io::{Read, Seek, SeekFrom};

use super::tags::{Tags, clean};

/// Chunks looked at before giving up; there are rarely more than five.
const MAX_CHUNKS: usize = 64;
/// The longest INFO list that is read, in bytes.
const MAX_LIST_BYTES: u32 = 64 * 1024;

/// The tags in the INFO list of a RIFF WAVE file; the file's position is lost.
pub(super) fn read(file: &mut (impl Read + Seek)) -> Tags {
    find_list(file).map(|list| parse(&list)).unwrap_or_default()
}

/// The content of the list, after the word INFO.
fn find_list(file: &mut (impl Read + Seek)) -> Option<Vec<u8>> {
    let mut form = [0; 12];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut form).ok()?;
    if !form.starts_with(b"RIFF") || &form[8..] != b"WAVE" {
        return None;
    }
    for _ in 0..MAX_CHUNKS {
        let mut header = [0; 8];
        file.read_exact(&mut header).ok()?;
        let (name, length) = header.split_at(4);
        let length = u32::from_le_bytes(length.try_into().ok()?);
        if name == b"LIST" && (4..=MAX_LIST_BYTES).contains(&length) {
            let mut list = vec![0; length as usize];
            file.read_exact(&mut list).ok()?;
            if list.starts_with(b"INFO") {
                return Some(list.split_off(4));
            }
            file.seek(SeekFrom::Current(i64::from(length % 2))).ok()?;
        } else {
            // Chunks begin at even places.
            let skip = i64::from(length) + i64::from(length % 2);
            file.seek(SeekFrom::Current(skip)).ok()?;
        }
    }
    None
}

fn parse(mut list: &[u8]) -> Tags {
    let mut tags = Tags::default();
    while let Some((header, rest)) = list.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let Some(bytes) = rest.get(..length) else {
            break;
        };
        // UTF-8 by habit of today; older programs wrote Latin-1, whose letters are shown as unknown ones.
        let text = || clean(&String::from_utf8_lossy(bytes));
        match &header[..4] {
            b"INAM" => tags.title = text(),
            b"IART" => tags.artist = text(),
            _ => {}
        }
        list = rest.get(length + length % 2..).unwrap_or_default();
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn chunk(name: &[u8; 4], bytes: &[u8]) -> Vec<u8> {
        let mut out = name.to_vec();
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(2), 0);
        out
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        [b"RIFF\0\0\0\0WAVE".to_vec(), chunks.concat()].concat()
    }

    #[test]
    fn title_and_artist_are_found_before_and_after_the_sound() {
        let list = [
            b"INFO".to_vec(),
            chunk(b"INAM", b"Air\x1b\0"),
            chunk(b"IART", b"Bach\0"),
        ];
        let list = chunk(b"LIST", &list.concat());
        let sound = chunk(b"data", &[0; 4801]);
        let expected = Tags {
            title: Some("Air".into()),
            artist: Some("Bach".into()),
        };
        let other = chunk(b"LIST", b"adtlx");
        for order in [[&list, &sound, &other], [&sound, &other, &list]] {
            let bytes = file(&order.map(Vec::clone));
            assert_eq!(read(&mut Cursor::new(&bytes)), expected);
        }
    }

    #[test]
    fn damaged_lists_give_no_tags() {
        let long = chunk(
            b"LIST",
            &[b"INFO".to_vec(), b"INAM\xFF\xFF\xFF\xFFx".to_vec()].concat(),
        );
        let endless = vec![chunk(b"junk", b""); 1000];
        for bytes in [
            file(&[long]),
            file(&endless),
            file(&[]),
            b"RIFF".to_vec(),
            vec![],
        ] {
            assert_eq!(read(&mut Cursor::new(bytes)), Tags::default());
        }
    }
}
