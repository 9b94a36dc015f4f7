//! The only place where the layers meet and threads start: one module for each command, and what they share.
//!
//! * [`member`]: what both are: a node of the station, its frames, its connections; [`api`] answers requests
//! * [`send`]: node + sockets on one thread, [`encoder`] on another; with `--listen` it has a player, too (`monitor`)
//! * [`listen`]: node + sockets + player + decoder (`voice`) on one thread (`foreign` for the streams of other programs), [`output`] on another,
//!   or a [`speaker`] with its supervisor (`device_feed` is its way to the device)
//! * [`control`] asks a station's leader for `status` and `stop`; [`fares`] says in words how a node fares, [`figures`] what explains
//!   it
//! * [`describe`] answers `sdp`, [`devices`] lists what there is
//! * [`session`], [`events`], [`console`], [`error`]: what every command has

pub mod api;
pub mod console;
pub mod control;
mod debug;
pub mod describe;
mod device_feed;
pub mod devices;
pub mod encoder;
pub mod error;
pub mod events;
pub mod fares;
pub mod figures;
mod foreign;
pub mod listen;
pub mod member;
mod monitor;
pub mod output;
pub mod send;
pub mod session;
pub mod speaker;
mod voice;
mod waiting;
