//! The node as a pure state machine: what is on air, when, and who says so.
//!
//! * [`clock`]: the station clock as an affine map of the local one
//! * [`programme`]: which track's frame plays at which index, in which run
//! * [`playlist`]: the tracks in play order, who encodes each, and the loop
//! * [`pacing`]: which frames fall due now
//! * [`grid`]: when the leader's next frame should arrive
//! * [`seen`]: which frames were on air lately
//! * [`roster`]: who is here, and who takes over
//! * [`reception`]: does what is sent to all still reach this node?
//! * [`random`]: a seeded generator, for random waits
//! * [`repair`]: what was lost on the way, asked for and answered
//! * [`node`]: one node: founding, following, covering, claiming, leading, the end
//!
//! Nothing here knows a socket, thread, clock, file or random source: `now` is an argument, actions are return values.

pub mod clock;
pub mod grid;
pub mod node;
pub mod pacing;
pub mod playlist;
pub mod programme;
pub mod random;
pub mod reception;
pub mod repair;
pub mod roster;
pub mod seen;

pub use node::{Config, Event, Frames, Node, Output};
