//! How does a file become packets, and packets sound? CPU work only: no sockets, no threads, no clock.
//!
//! [`source`] decodes a file or pipe to 48 kHz stereo, [`track_encoder`] turns that into Opus packets, [`library`] keeps
//! them, with those that were copied from others ([`track`], [`copied_track`]), [`opus`] holds the encoder and the decoder with the settings every node shares. Files
//! are read only through `Source::open` or a reader that the caller hands in. [`apart`] measures in a recording how far two
//! players are from each other.

pub mod apart;
pub mod copied_track;
pub mod device_rate;
pub mod downmix;
pub mod library;
pub mod ogg_export;
pub mod opus;
pub mod resample;
pub mod source;
pub mod source_error;
pub mod tags;
pub mod track;
pub mod track_encoder;

mod aac;
mod container;
mod decoder;
mod edits;
mod format_hints;
mod guard;
mod riff_info;

/// The sample rate of everything behind a `Source`, in Hz.
pub const SAMPLE_RATE: u32 = 48_000;
