//! What the player does.
