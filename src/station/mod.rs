//! The node as a pure state machine: what is on air, when, and who says so.
//!
//! * [`clock`]: the station clock as an affine map of the local one
//! * [`programme`]: which track's frame plays at which index, in which run
//! * [`source`]: the tracks in play order, how far each has been encoded, and the loop
//! * [`pacing`]: which frames fall due now
//! * [`node`]: the sender's node: founding, leading, the end
//!
//! Nothing here knows a socket, thread, clock, file or random source: `now` is an argument, actions are return values.

pub mod clock;
pub mod node;
pub mod pacing;
pub mod programme;
pub mod source;

pub use node::{Config, Event, Frames, Node, Output};
