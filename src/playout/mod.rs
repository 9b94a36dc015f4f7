//! When is which frame played, and what is played where one is missing? The listener as pure state machines.
//!
//! * [`store`]: "give me frames lo..hi from a holder", and the received frames as its first holder
//! * [`dial`]: which station, when several are heard
//! * [`timeline`]: what the station clock says, in local time
//! * [`adaptive`]: how long the buffer has to be, and how it gets there unheard
//! * [`player`]: one station's packets in, decisions out: each frame index is played or concealed exactly once, in order
//! * [`foreign`]: what other programs send, with nothing but its packets to go by
//! * [`fade`]: how loud a concealed block is
//! * [`servo`]: how fast a block is played, so that a device with a clock of its own stays with the station
//! * [`device_watch`]: when a sound device is opened, given up and let go
//! * [`statistics`]: the counters, and what exactly they count; [`histogram`]: those that are more than one number;
//!   [`recent`]: what of it happened in the last ten seconds
//! * `runs`, `tracks`, `terms`, `evidence`: the four small tables that the player decides from
//!
//! No clock, no decoder, no socket: the caller reads all sockets, says what time it is, and decodes what it is told to.

pub mod adaptive;
pub mod device_clock;
pub mod device_watch;
pub mod dial;
mod evidence;
pub mod fade;
pub mod foreign;
pub mod histogram;
pub mod player;
pub mod recent;
mod runs;
pub mod servo;
pub mod statistics;
pub mod store;
mod terms;
pub mod timeline;
mod tracks;

pub use fade::Concealment;
pub use player::{Config, OffAirReason, Output, Player, Rejection};
pub use statistics::Statistics;
pub use store::{Holder, ReceivedFrames};
pub use timeline::Timeline;
