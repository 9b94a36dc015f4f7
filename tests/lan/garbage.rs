//! An enemy on the network: what does it send, and how much of it?

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Datagrams that no station sends, some of them close to what one does.
pub(crate) fn garbage(genuine: &[u8], number: u32) -> Vec<u8> {
    let mut dice = number.wrapping_mul(2_654_435_761);
    let mut random = move || {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        dice
    };
    let mut bytes = genuine.to_vec();
    match number % 10 {
        0 => bytes = (0..random() % 1_400).map(|_| random() as u8).collect(),
        1 => bytes.truncate(random() as usize % 33),
        2 => bytes[14..16].copy_from_slice(&(random() as u16 | 0x100).to_be_bytes()),
        3 => bytes[0] = bytes[0] & 0x3f | (random() as u8 & 0x40),
        // Another source with a packet that is right in every other way.
        4 => bytes[8..12].copy_from_slice(&random().to_be_bytes()),
        5 => bytes[1] = random() as u8,
        6 => bytes[16] = random() as u8,
        7 => bytes[0] |= 0x2f,
        8 => bytes.clear(),
        // A control message: the version byte, then anything.
        _ => {
            bytes = [1, (random() % 10) as u8]
                .into_iter()
                .chain((0..random() % 60).map(|_| random() as u8))
                .collect()
        }
    }
    // Bytes at random must not hit the station's own source: that would be another attack.
    if bytes.get(8..12) == Some(&genuine[8..12])
        && bytes.first() == genuine.first()
        && bytes.get(14..17) == Some(&genuine[14..17])
    {
        bytes[8] ^= 0xff;
    }
    bytes
}

/// 20,000 datagrams a second for `seconds`, ten at a time to each of `targets` in turn. Says how many were sent.
pub(crate) fn flood(
    socket: &UdpSocket,
    targets: &[SocketAddr],
    seconds: f64,
    mut datagram: impl FnMut(u32) -> Vec<u8>,
) -> u32 {
    let started = Instant::now();
    let mut sent = 0;
    for tick in 1..=(seconds * 100.0) as u64 {
        for _ in 0..200 {
            let target = targets[(sent / 10) as usize % targets.len()];
            // A port that nobody serves answers with an ICMP error: that is the next send's failure, not ours.
            let _ = socket.send_to(&datagram(sent), target);
            sent += 1;
        }
        let next = started + Duration::from_millis(10 * tick);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    sent
}
