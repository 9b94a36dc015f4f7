//! What the network drops: who asks whom for it, and who answers what?
//!
//! A listener that misses a frame asks for it after a short wait, since packets overtake each other, and asks again until the
//! frame is to be played (`asking`). Whoever is asked answers within a budget, and once for all that miss the same frame
//! (`answering`). Both are pure: what is missing, who can be asked, what is on air and what time it is are arguments. The node
//! connects them with what it knows (`node::repairing`).
//!
//! The models are RFC 4585 (NACKs), RFC 6298 (when to ask again) and PGM, RFC 3208 (one answer for many).

mod answering;
mod asking;

pub use answering::{Answer, Answerer, Requester};
pub use asking::{Asker, REORDER_WAIT};
