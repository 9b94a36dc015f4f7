//! Does the protocol hold, whatever the network and the machines do? The production [`lanradio::station::Node`] and the
//! production player, N of each, on a virtual network under virtual time.
//!
//! * `world`: hosts and clocks; a seed makes a run, byte for byte; `network` and `errands`: what is between them
//! * `faults`: what happens to machines and wires
//! * `host`: one machine: a node, a player, the frames that it holds
//! * `watch`: what is noted of a host for the invariants; `teller`: what it tells its node of itself
//! * `checks`: PROTOCOL's invariants, looked at on every packet and every wake: is what is said right? `liveness`: does one lead?
//!   `hearing`: what came of it? `holders`: is what is repaired what was on air?
//! * `ears`: what a host does with what it hears
//! * `telling`: the transcript: what happened, in words that do not depend on random ids
//! * `directed`: runs that aim at one invariant: crash after crash, a hundred takeovers
//! * `adapting`: how long a buffer that adapts becomes
//! * `forged`: somebody sends in the station's name
//! * `scenarios`: named runs, with their transcripts in `transcripts/`; `agreement`: those with a quorum
//! * `repair`: what the network drops, and what of it is heard: a table
//! * `seeds`: random runs by the thousand
//! * `reporting`: does the leader know who suffers? `traffic`: what all that costs on the network
//! * `flaws`: deliberately broken nodes, each caught by an invariant

#![allow(
    clippy::unwrap_used,
    reason = "tests: a failed unwrap is a failed test"
)]
mod adapting;
mod agreement;
mod checks;
mod directed;
mod ears;
mod errands;
mod faults;
#[cfg(debug_assertions)]
mod flaws;
mod forged;
mod hearing;
mod holders;
mod host;
mod liveness;
mod network;
mod repair;
#[path = "../../benches/figures/report.rs"]
mod report;
mod reporting;
mod scenarios;
mod seeds;
mod syncing;
mod teller;
mod telling;
mod traffic;
mod watch;
mod world;
