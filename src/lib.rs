//! lanradio
pub mod time;
pub mod wire;
pub mod playout;
pub mod station;
pub mod media;
pub mod io;
pub mod app;
pub mod cli;
