//! What the fuzz targets call: the pure core of lanradio, from its own files, and what keeps copies of a song.
//!
//! The targets `use lanradio::…` as they would of the whole library. But that is an HTTP server, decoders, a sound device and a command
//! line as well: more than half of what there would be to compile, and never called. That the core compiles like this also shows that
//! it needs nothing of them.

#[path = "../src/playout/mod.rs"]
pub mod playout;
#[path = "../src/station/mod.rs"]
pub mod station;
#[path = "../src/time.rs"]
pub mod time;
#[path = "../src/wire/mod.rs"]
pub mod wire;

/// Of `media`, what needs no codec.
#[path = "../src/media"]
pub mod media {
    pub mod copied_track;
    pub mod library;
    pub mod track;
}
