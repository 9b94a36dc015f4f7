//! Where does chance come from? From the system, here only; the state machines get a seed and draw from that, so that a run
//! can be repeated.

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error(
    "drawing random bytes from the system: {0} (is getrandom(2) or /dev/urandom forbidden here?)"
)]
pub struct RandomError(#[from] getrandom::Error);

/// A new `NodeId`: drawn at every start, so that a restarted node is a different one.
pub fn node_id() -> Result<u64, RandomError> {
    draw().map(u64::from_be_bytes)
}

/// A new SSRC (RFC 3550, 8.1), which names a station for its whole life.
pub fn ssrc() -> Result<u32, RandomError> {
    draw().map(u32::from_be_bytes)
}

/// A new `TrackId`, 128 bits.
pub fn track_id() -> Result<[u8; 16], RandomError> {
    draw()
}

/// A seed for a generator of the pure layers.
pub fn seed() -> Result<u64, RandomError> {
    draw().map(u64::from_be_bytes)
}

#[expect(clippy::disallowed_methods, reason = "the one place that draws")]
fn draw<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(node_id().unwrap(), node_id().unwrap());
        assert_ne!(track_id().unwrap(), track_id().unwrap());
        assert_ne!(seed().unwrap(), seed().unwrap());
        // 32 bits may collide once in four thousand million, three in a row do not.
        let first = ssrc().unwrap();
        assert!((0..3).any(|_| ssrc().unwrap() != first));
    }
}
