//! lanradio
pub mod app;
pub mod cli;
pub mod io;
pub mod media;
pub mod playout;
pub mod station;
pub mod time;
pub mod wire;
