//! What is the track called? Title and artist from the file's tags, made safe to show.

use symphonia::core::formats::FormatReader;
use symphonia::core::meta::{MetadataRevision, StandardTag, Tag};

use super::edits::Edit;

/// The most bytes of one tag that are kept: a line on a screen, and a part of a 1,200-byte datagram.
pub const MAX_TAG_BYTES: usize = 128;

/// What a file says about itself: no control characters, each at most [`MAX_TAG_BYTES`] long, never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// The track's title.
    pub title: Option<String>,
    /// The track's artist; the album's, if only that is named.
    pub artist: Option<String>,
}

/// A text as it may be shown or sent: control characters (and the marks that turn the direction of writing) removed,
/// cut to [`MAX_TAG_BYTES`] at a character's boundary; `None` if nothing is left.
pub fn clean(text: &str) -> Option<String> {
    let mut kept = String::new();
    for c in text.trim().chars() {
        if c.is_control()
            || matches!(c, '\u{200E}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        {
            continue;
        }
        if kept.len() + c.len_utf8() > MAX_TAG_BYTES {
            break;
        }
        kept.push(c);
    }
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// Collects the tags that the reader has met so far. A later revision (ID3v2) wins over an earlier one (ID3v1). One of them may
/// say which part of the sound is to be heard.
pub(super) fn read(format: &mut dyn FormatReader, track_id: u32) -> (Tags, Option<Edit>) {
    let (mut tags, mut edit) = (Tags::default(), None);
    let mut album_artist = None;
    let mut log = format.metadata();
    loop {
        let last = log.is_latest();
        if let Some(revision) = log.current() {
            for tag in tags_of(revision, track_id) {
                edit = super::edits::of_tag(tag).or(edit);
                match &tag.std {
                    Some(StandardTag::TrackTitle(text)) => replace(&mut tags.title, text),
                    Some(StandardTag::Artist(text)) => replace(&mut tags.artist, text),
                    Some(StandardTag::AlbumArtist(text)) => replace(&mut album_artist, text),
                    _ => {}
                }
            }
        }
        if last {
            break;
        }
        log.pop();
    }
    tags.artist = tags.artist.or(album_artist);
    (tags, edit)
}

fn tags_of(revision: &MetadataRevision, track_id: u32) -> impl Iterator<Item = &Tag> {
    let of_track = revision
        .per_track
        .iter()
        .filter(move |per_track| per_track.track_id == u64::from(track_id))
        .flat_map(|per_track| &per_track.metadata.tags);
    revision.media.tags.iter().chain(of_track)
}

fn replace(slot: &mut Option<String>, text: &str) {
    if let Some(text) = clean(text) {
        *slot = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_stripped_and_length_is_limited_at_a_character() {
        let cases: &[(&str, Option<&str>)] = &[
            ("plain", Some("plain")),
            ("  spaced\t", Some("spaced")),
            ("a\x1b[2Jb\r\nc\0", Some("a[2Jbc")),
            ("\u{202E}evil", Some("evil")),
            ("\x07\x07", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(clean(text).as_deref(), *expected, "{text:?}");
        }
        let long = "ä".repeat(100);
        assert_eq!(clean(&long).map(|t| t.len()), Some(128));
        assert_eq!(clean(&format!("x{long}")).map(|t| t.len()), Some(127));
    }
}
