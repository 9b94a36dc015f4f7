//! Does the program keep the contract of its command line: exit codes, texts, variables, events, files?
//!
//! Black-box tests: each one drives the real binary, on the loopback interface only, in a group and on a port of its own
//! ([`support::Studio`]). What is on the wire and what the sound is worth are proven elsewhere (tests/lan); here it is what a
//! user types and what a script reads.

// Helpers outside of #[test] functions, and threads and clocks of the tests' own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests: a failed unwrap is a failed test, and deadlines need a clock"
)]

mod disk;
mod encoding;
mod environment;
mod events;
mod failures;
mod foreign;
mod forged;
mod help;
mod joining;
mod members;
mod network;
mod playing;
mod pseudo_terminal;
mod remedies;
mod sdp;
mod sound;
mod station;
mod stopping;
mod suffering;
mod support;
mod terminal;
mod usage;
