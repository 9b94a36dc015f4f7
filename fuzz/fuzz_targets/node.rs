//! A real node on a hostile network: a leader, an heir or a listener that waits, with a partner that is honest and may die, and
//! somebody who sends whatever he likes in the station's name. It never panics, what it puts out and remembers is bounded, and as
//! long as it leads it sends.
#![no_main]

mod station;

use libfuzzer_sys::fuzz_target;
use station::{Bytes, Part, World};

fuzz_target!(|input: &[u8]| {
    let mut bytes = Bytes(input);
    let part = match bytes.byte().unwrap_or_default() % 3 {
        0 => Part::Leader,
        1 => Part::Heir,
        _ => Part::Waiting,
    };
    let mut world = World::new(part);
    while world.step(&mut bytes) {}
});
