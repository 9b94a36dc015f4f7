use super::*;
use std::io::Cursor;

use symphonia::core::meta::RawTag;

fn atom(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32 + 8).to_be_bytes();
    [&length[..], name, content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A film of 1/1000 s with one track of 1/44100 s, and these entries (duration, start, rate) in its list.
fn film(entries: &[u32], more: &[u8]) -> Vec<u8> {
    let list = [&[0, entries.len() as u32 / 3], entries].concat();
    film_with(&words(&list), more)
}

/// The same with one entry, whose duration and start are of 64 bits.
fn wide_film(duration: u64, start: u64) -> Vec<u8> {
    let list = [
        words(&[0x0100_0000, 1]),
        duration.to_be_bytes().to_vec(),
        start.to_be_bytes().to_vec(),
        words(&[0x1_0000]),
    ];
    film_with(&list.concat(), &[])
}

fn film_with(list: &[u8], more: &[u8]) -> Vec<u8> {
    let track = [
        atom(b"tkhd", &words(&[7, 0, 0, 42, 0, 0])),
        atom(b"edts", &atom(b"elst", list)),
        atom(b"mdia", &atom(b"mdhd", &words(&[0, 0, 0, 44_100, 0]))),
    ];
    let movie = [
        atom(b"mvhd", &words(&[0, 0, 0, 1_000, 0])),
        atom(b"trak", &track.concat()),
        more.to_vec(),
    ];
    [
        atom(b"ftyp", b"M4A isom"),
        atom(b"mdat", &[0x55; 5_000]),
        atom(b"moov", &movie.concat()),
    ]
    .concat()
}

fn edits(bytes: Vec<u8>) -> Vec<Edit> {
    read(&mut Cursor::new(bytes))
}

#[test]
fn run_up_is_skipped_and_the_end_is_known_to_a_unit_of_the_film() {
    let expected = Edit {
        track_id: Some(42),
        skip: 1_024,
        keep: Some(44_100 * 2_001 / 1_000),
        per_second: Some(44_100),
    };
    assert_eq!(edits(film(&[2_000, 1_024, 0x1_0000], &[])), [expected]);
    // An empty edit comes first: the picture begins earlier than the sound.
    let late = [500, u32::MAX, 0x1_0000, 2_000, 1_024, 0x1_0000];
    assert_eq!(edits(film(&late, &[])), [expected]);
}

#[test]
fn film_in_fragments_or_in_pieces_has_no_known_end() {
    let fragments = edits(film(&[2_000, 1_024, 0x1_0000], &atom(b"mvex", &[])));
    assert_eq!((fragments[0].skip, fragments[0].keep), (1_024, None));
    let pieces = edits(film(&[500, 1_024, 0x1_0000, 500, 99_000, 0x1_0000], &[]));
    assert_eq!((pieces[0].skip, pieces[0].keep), (1_024, None));
    for unknown in [
        film(&[0, 1_024, 0x1_0000], &[]),
        film(&[u32::MAX, 1_024, 0x1_0000], &[]),
        wide_film(0, 1_024),
        wide_film(u64::MAX, 1_024),
    ] {
        let unknown = edits(unknown);
        assert_eq!((unknown[0].skip, unknown[0].keep), (1_024, None));
    }
}

#[test]
fn longest_length_and_latest_start_do_not_overflow() {
    let longest = edits(wide_film(u64::MAX - 1, i64::MAX as u64));
    let edit = longest[0].at_rate(768_000);
    assert_eq!((edit.skip, edit.keep), (u64::MAX, Some(u64::MAX)));
}

#[test]
fn wide_lists_and_lengths_are_read_too() {
    let expected = edits(film(&[2_000, 1_024, 0x1_0000], &[]));
    assert_eq!(edits(wide_film(2_000, 1_024)), expected);
    let mut wide = words(&[1]);
    wide.extend(b"moov");
    wide.extend(words(&[0, 20, 0]));
    let all = Atom {
        name: *b"file",
        from: 0,
        to: 20,
    };
    let found = atoms(&mut Cursor::new(wide), all);
    assert_eq!((found.len(), found[0].from, found[0].to), (1, 16, 20));
}

#[test]
fn units_become_samples() {
    let edit = Edit {
        track_id: None,
        skip: 600,
        keep: Some(1_200),
        per_second: Some(600),
    };
    let edit = edit.at_rate(48_000);
    assert_eq!((edit.skip, edit.keep), (48_000, Some(96_000)));
    assert_eq!(edit.at_rate(44_100), edit);
}

#[test]
fn damaged_files_and_other_formats_have_no_edits() {
    let mut seed = 5u32;
    let mut die = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    for whole in [
        film(&[2_000, 1_024, 0x1_0000], &[]),
        wide_film(2_000, 1_024),
    ] {
        for length in 0..whole.len() {
            assert!(edits(whole[..length].to_vec()).len() <= 1);
        }
        for _ in 0..2_000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                let at = bytes.len() - 1 - usize::from(die()) % 200;
                // Extreme values are where sums overflow.
                let value = [die(), 0, 0xFF][usize::from(die()) % 3];
                let count = [1, 8][usize::from(die()) % 2];
                bytes[at..]
                    .iter_mut()
                    .take(count)
                    .for_each(|byte| *byte = value);
            }
            for edit in edits(bytes) {
                let _ = edit.at_rate(44_100);
            }
        }
    }
    assert!(edits(b"RIFF\x24\0\0\0WAVEfmt ".to_vec()).is_empty());
    assert!(edits(vec![0; 100_000]).is_empty());
    assert!(edits(vec![]).is_empty());
}

#[test]
fn itunes_says_it_in_a_tag() {
    let key = "com.apple.iTunes:iTunSMPB";
    let text = " 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000";
    let edit = of_tag(&Tag::new(RawTag::new(key, text)));
    let edit = edit.expect("an edit");
    assert_eq!((edit.skip, edit.keep), (2_112, Some(4_141_558)));
    for (key, text) in [
        (key, "00000000 0840"),
        (key, ""),
        ("comment", text),
        (key, "0 x y z"),
    ] {
        assert_eq!(of_tag(&Tag::new(RawTag::new(key, text))), None, "{text:?}");
    }
}

#[test]
fn window_drops_then_passes_then_drops() {
    let mut window = Window { skip: 5, keep: 6 };
    let cuts = [3, 4, 1, 4, 9].map(|samples| window.cut(samples));
    assert_eq!(cuts, [3..3, 2..4, 0..1, 0..3, 0..0]);
    let mut window = Window::ALL;
    assert_eq!([window.cut(7), window.cut(0)], [0..7, 0..0]);
}
