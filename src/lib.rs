//! # lanradio: the map of the house
//!
//! `lanradio send song.wav` decodes a music file, encodes 20 ms Opus frames and multicasts them as RTP;
//! `lanradio listen` on other machines plays them, in step with each other.
//!
//! ## Rooms: imports go down only (`tests/architecture` holds it)
//!
//! | layer | what lives there |
//! |---|---|
//! | [`cli`] | flags, help, the status line, exit codes |
//! | [`app`] | the commands: the only place where layers meet and threads start |
//! | [`io`] | the operating system: clock, sockets, interfaces, files, terminal, signals |
//! | [`media`] | CPU only: decode a file, resample, Opus, tracks |
//! | [`station`] | pure state machines of the node: founding, programme, pacing, heartbeats, covers, elections, hand-over |
//! | [`playout`] | pure state machine of the listener: frames, timeline, decisions, counters |
//! | [`wire`] | bytes ↔ values: RTP, RTCP, SDP, control messages, sequence arithmetic |
//! | [`time`] | an `Instant` without `now()`, below them all |
//!
//! ## A frame's way
//!
//! `media::source` reads a file → `media::track_encoder` makes packets, on the encoder's thread, ahead of time →
//! `media::library` keeps them → `station::node` says which one falls due (`station::pacing`) under which index
//! (`station::programme`) → `wire::media` makes it a datagram → the network → `wire::media` reads it →
//! `playout::dial` finds its station → `playout::player` decides when it is played, or that it is concealed →
//! `media::opus` decodes it → `app::output` writes it.
//!
//! A packet of another program goes from `wire::foreign` through the dial to `playout::foreign`, and to the output by
//! `app::foreign`: it has timestamps, but no index, no plan and no station clock.
//!
//! ## Clocks
//!
//! * The local clock counts while the machine sleeps (`CLOCK_BOOTTIME`); only `io::clock` reads it, as [`time::Instant`].
//! * The station clock is microseconds since the founding: `station::clock` maps it at the leader, `playout::timeline`
//!   estimates that map at a listener.
//! * A frame has an index (its place in the programme) and a slot (its place on the station clock: 20 ms each); they
//!   differ by the frames that the station was idle. RTP's sequence number is made from the one and its timestamp from the other.
//!
//! ## The law of the run loop
//!
//! The pure layers know no socket, thread, clock, file or random source. `handle_*` takes input and the time, `poll_output`
//! gives what is to be done, `poll_timeout` says when to come back. Whoever drives them drains *all* sockets first, then
//! lets deadlines act: a node that was asleep must not act on what it has not read yet.

pub mod app;
pub mod cli;
pub mod io;
pub mod media;
pub mod playout;
pub mod station;
pub mod time;
pub mod wire;
