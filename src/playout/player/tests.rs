//! What the player does, in virtual time, by one fact each.

mod adapting;
mod counting;
mod endings;
mod forged;
mod harness;
mod joining;
mod leaders;
mod leading;
mod repairs;
mod windows;
