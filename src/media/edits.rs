//! Which part of an MP4's track is meant to be heard? Its edit list says, and symphonia 0.6 reads that and passes everything on.
//!
//! What comes before is the encoder's run-up: 1,024 samples or more of AAC, a gap in an album that has none, and 128 ms at
//! 8 kHz. Read from files only, since a pipe cannot be read twice; nothing here fails: without a readable list a track is
//! heard as it is stored.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::meta::{RawValue, Tag};

/// Boxes looked at on one level; a film with chapters has about ten.
const MAX_BOXES: usize = 256;
/// The longest box that is read as a whole, in bytes; the ones that matter here have less than a hundred.
const MAX_BOX_BYTES: u64 = 4096;

/// What is to be heard of a track, in samples at its rate or in its timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The track; `None` if it is of the only one.
    pub(super) track_id: Option<u32>,
    /// Dropped at the start.
    pub(super) skip: u64,
    /// Heard after that; `None` for all.
    pub(super) keep: Option<u64>,
    /// How many of these make a second; `None` for samples.
    pub(super) per_second: Option<u32>,
}

impl Edit {
    /// The same in samples at `rate`.
    pub(super) fn at_rate(self, rate: u32) -> Edit {
        let Some(per_second) = self.per_second else {
            return self;
        };
        let convert = |count: u64| {
            let scaled = u128::from(count) * u128::from(rate);
            u64::try_from(scaled / u128::from(per_second.max(1))).unwrap_or(u64::MAX)
        };
        Edit {
            skip: convert(self.skip),
            keep: self.keep.map(convert),
            per_second: None,
            ..self
        }
    }
}

/// What is still to be dropped, and then to be heard, of a track that is being decoded, in samples at its rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) skip: u64,
    pub(super) keep: u64,
}

impl Window {
    /// All of it.
    pub(super) const ALL: Window = Window {
        skip: 0,
        keep: u64::MAX,
    };

    /// Which of the next `samples` are heard.
    pub(super) fn cut(&mut self, samples: usize) -> std::ops::Range<usize> {
        let within = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).min(samples);
        let first = within(self.skip);
        let heard = within(self.keep).min(samples - first);
        self.skip -= first as u64;
        if self.keep != u64::MAX {
            self.keep -= heard as u64;
        }
        first..first + heard
    }
}

/// A box: its name, and where its content begins and ends.
#[derive(Clone, Copy, Debug)]
struct Atom {
    name: [u8; 4],
    from: u64,
    to: u64,
}

/// The edits of all tracks of an MP4 file that have one; the file's position is lost.
pub(super) fn read(file: &mut (impl Read + Seek)) -> Vec<Edit> {
    let Ok(end) = file.seek(SeekFrom::End(0)) else {
        return Vec::new();
    };
    let all = Atom {
        name: *b"file",
        from: 0,
        to: end,
    };
    let level = atoms(file, all);
    if level.first().is_none_or(|first| &first.name != b"ftyp") {
        return Vec::new();
    }
    let Some(movie) = level.into_iter().find(|atom| &atom.name == b"moov") else {
        return Vec::new();
    };
    let level = atoms(file, movie);
    // A film in fragments does not know how long it will be.
    let fragmented = level.iter().any(|atom| &atom.name == b"mvex");
    let per_second = find(&level, b"mvhd").and_then(|header| timescale(file, header));
    let tracks = level.iter().filter(|atom| &atom.name == b"trak");
    tracks
        .filter_map(|&track| edit_of(file, track, per_second.filter(|_| !fragmented)))
        .collect()
}

/// The edit of one track; `movie_per_second` is the unit of how long it is heard.
fn edit_of(
    file: &mut (impl Read + Seek),
    track: Atom,
    movie_per_second: Option<u32>,
) -> Option<Edit> {
    let level = atoms(file, track);
    let header = content(file, find(&level, b"tkhd")?)?;
    let id_at = if header.first() == Some(&1) { 20 } else { 12 };
    let track_id = Some(u32_at(&header, id_at)?);
    let media = atoms(file, find(&level, b"mdia")?);
    let per_second = timescale(file, find(&media, b"mdhd")?)?;
    let edits = atoms(file, find(&level, b"edts")?);
    let list = content(file, find(&edits, b"elst")?)?;
    let parts: Vec<(u64, i64)> = parts(&list)
        // An empty edit delays the track against the picture; nobody sees one here.
        .filter(|&(_, start)| start >= 0)
        .collect();
    let &[(duration, start), ref more @ ..] = parts.as_slice() else {
        return None;
    };
    // A cut-up film is heard as it is stored, from its first part on.
    let movie_per_second =
        movie_per_second.filter(|&unit| unit > 0 && more.is_empty() && duration > 0);
    let keep = movie_per_second.map(|unit| {
        // Rounded to the movie's unit, often 1 ms, so one more of them: the exact end is in the durations of the packets.
        let kept = (u128::from(duration) + 1) * u128::from(per_second) / u128::from(unit);
        u64::try_from(kept).unwrap_or(u64::MAX)
    });
    Some(Edit {
        track_id,
        skip: start.unsigned_abs(),
        keep,
        per_second: Some(per_second),
    })
}

/// Duration (0 for unknown) and start of each entry of an edit list.
fn parts(list: &[u8]) -> impl Iterator<Item = (u64, i64)> {
    let wide = list.first() == Some(&1);
    let count = u32_at(list, 4).unwrap_or(0) as usize;
    let entries = list.get(8..).unwrap_or_default();
    let entries = entries.chunks_exact(if wide { 20 } else { 12 }).take(count);
    entries.filter_map(move |entry| match wide {
        true => Some((known(u64_at(entry, 0)?, u64::MAX), u64_at(entry, 8)? as i64)),
        false => Some((
            known(u32_at(entry, 0)?.into(), u32::MAX.into()),
            i64::from(u32_at(entry, 4)? as i32),
        )),
    })
}

/// A duration, all of whose bits are set if it is unknown (ISO 14496-12, 8.3.2).
fn known(duration: u64, all_ones: u64) -> u64 {
    if duration == all_ones { 0 } else { duration }
}

/// The timescale in a `mvhd` or `mdhd`.
fn timescale(file: &mut (impl Read + Seek), header: Atom) -> Option<u32> {
    let header = content(file, header)?;
    u32_at(&header, if header.first() == Some(&1) { 20 } else { 12 })
}

fn find(level: &[Atom], name: &[u8; 4]) -> Option<Atom> {
    level.iter().find(|atom| &atom.name == name).copied()
}

/// The boxes inside of one.
fn atoms(file: &mut (impl Read + Seek), parent: Atom) -> Vec<Atom> {
    let mut found = Vec::new();
    let mut at = parent.from;
    while found.len() < MAX_BOXES {
        let Some(atom) = atom_at(file, at, parent.to) else {
            break;
        };
        at = atom.to;
        found.push(atom);
    }
    found
}

fn atom_at(file: &mut (impl Read + Seek), at: u64, end: u64) -> Option<Atom> {
    let mut header = [0; 16];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut header[..8]).ok()?;
    let (from, length) = match u32_at(&header, 0)? {
        // To the end of what it is in.
        0 => (at + 8, end.checked_sub(at)?),
        1 => {
            file.read_exact(&mut header[8..]).ok()?;
            (at + 16, u64_at(&header, 8)?)
        }
        length => (at + 8, u64::from(length)),
    };
    let to = at.checked_add(length)?;
    (from <= to && to <= end).then_some(Atom {
        name: [header[4], header[5], header[6], header[7]],
        from,
        to,
    })
}

fn content(file: &mut (impl Read + Seek), atom: Atom) -> Option<Vec<u8>> {
    let length = atom.to - atom.from;
    let mut bytes = vec![0; usize::try_from(length.min(MAX_BOX_BYTES)).ok()?];
    file.seek(SeekFrom::Start(atom.from)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let (word, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u32::from_be_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let (word, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u64::from_be_bytes(*word))
}

/// The edit in iTunes's own tag, which is exact: `00000000 DELAY PADDING SAMPLES …`, in hex.
pub(super) fn of_tag(tag: &Tag) -> Option<Edit> {
    let RawValue::String(text) = &tag.raw.value else {
        return None;
    };
    let named = tag.raw.key.ends_with("iTunSMPB");
    let mut fields = text.split_whitespace().skip(1);
    let mut number = || u64::from_str_radix(fields.next()?, 16).ok();
    let (skip, _padding, samples) = (number()?, number()?, number()?);
    (named && samples > 0).then_some(Edit {
        track_id: None,
        skip,
        keep: Some(samples),
        per_second: None,
    })
}

#[cfg(test)]
#[path = "edits_tests.rs"]
mod tests;
