//! Whatever comes by HTTP: submissions to a leader, plans and blocks of frames to an heir. Taken or refused; what is taken is
//! played, covered and led on with, and the lists and the memory stay bounded.
#![no_main]

mod station;

use lanradio::media::library::Library;
use lanradio::station::playlist::MAX_TRACKS;
use lanradio::wire::block::Block;
use libfuzzer_sys::fuzz_target;
use station::{Bytes, Part, World};

/// Memory for copies, in bytes: a few blocks.
const BUDGET: u64 = 100_000;

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes(input);
    match bytes.byte().unwrap_or_default() % 3 {
        0 => submission(bytes.0),
        1 => plan(bytes.0),
        _ => blocks(bytes.0),
    }
});

fn submission(bytes: &[u8]) {
    let mut world = World::new(Part::Leader);
    for _ in 0..2 {
        let before = world.subject.rejected().values().sum::<u64>();
        let taken = world.subject.handle_submission(bytes, world.now);
        let after = world.subject.rejected().values().sum::<u64>();
        assert_eq!(taken.is_err(), after > before, "refused and not counted");
        for _ in 0..10 {
            world.advance(20);
        }
    }
    assert!(world.subject.programme().list().tracks().len() <= MAX_TRACKS);
    // The lists of others are played to their ends, too, as far as anything of them comes.
    world.stand_still(40_000);
    for _ in 0..10 {
        world.advance(20);
    }
}

fn plan(bytes: &[u8]) {
    let mut world = World::new(Part::Heir);
    world.plan(bytes);
    for _ in 0..5 {
        world.advance(20);
    }
    world.plan(bytes);
    world.kill_partner();
    for _ in 0..50 {
        world.advance(20);
    }
}

fn blocks(bytes: &[u8]) {
    let mut library = Library::new(BUDGET);
    let mut rest = bytes;
    let mut last = None;
    while let Ok((block, after)) = Block::parse(rest) {
        for (k, packet) in (block.first..).zip(&block.packets) {
            library.keep(block.track, k, packet);
        }
        last = Some((block.track, block.first));
        rest = after;
    }
    let Some((track, first)) = last else { return };
    let (copied, next) = library.blocks(track, first, 1 << 20);
    assert!(next >= first && copied.len() <= 2 << 20);
    let mut rest = copied.as_slice();
    while !rest.is_empty() {
        rest = Block::parse(rest).expect("our own block").1;
    }
    let _ = library.verify(track, next, [0; 32]);
}
