//! When was each frame due? What the packets on the cable say, whoever sent them.
//!
//! A leader sends frame n when it is due, or a little later, never before. So the grid of a leader is moved by its earliest
//! packet. A leader that takes over goes on with the grid of the one before; how far it is beside, is measured, and that must not
//! add up.

use std::net::IpAddr;

use crate::capture::Frame;
use crate::lines::Line;
use crate::reference;

pub(crate) const FRAME_NS: i64 = 20_000_000;

/// The time in which one node was on the air.
#[derive(Debug)]
pub(crate) struct Reign {
    pub(crate) leader: IpAddr,
    pub(crate) first_frame: i64,
    grid: Line,
}

/// All reigns in order.
pub(crate) struct Grid {
    pub(crate) reigns: Vec<Reign>,
}

/// Fewer frames say too little.
const ENOUGH: usize = 100;

impl Grid {
    /// From all packets since the first frame of the station, in order of arrival.
    pub(crate) fn of(frames: &[Frame]) -> Grid {
        assert!(frames[0].marker, "the first packet is the first frame");
        let indexes = reference::offsets(frames);
        let mut reigns = Vec::new();
        let mut packets = frames.iter().zip(&indexes).peekable();
        while let Some((first, index)) = packets.peek().copied() {
            let term = |frame: &Frame| (frame.term_counter, frame.leader, frame.from.ip());
            let mut points = Vec::new();
            // Covers carry the term of the one whom they cover, and are late on purpose.
            while let Some((frame, index)) =
                packets.next_if(|(frame, _)| term(frame) == term(first))
            {
                points.push((*index as f64, frame.at_ns));
            }
            if points.len() >= ENOUGH {
                reigns.push(Reign {
                    leader: first.from.ip(),
                    first_frame: *index,
                    grid: Line::under_at(&points, FRAME_NS as f64),
                });
            }
        }
        Grid { reigns }
    }

    /// When frame `index` was due by the one who was on the air then.
    pub(crate) fn due_ns(&self, index: f64) -> i64 {
        let reign = self
            .reigns
            .iter()
            .rfind(|reign| reign.first_frame as f64 <= index);
        reign.unwrap_or(&self.reigns[0]).grid.at_ns(index)
    }

    /// When frame `index` was due by the first leader.
    pub(crate) fn founded_due_ns(&self, index: f64) -> i64 {
        self.reigns[0].grid.at_ns(index)
    }

    /// How far each leader's grid is behind the first one's, in microseconds.
    pub(crate) fn drifts_us(&self) -> Vec<f64> {
        let first = &self.reigns[0].grid;
        let drift = |reign: &Reign| (reign.grid.at_ns(0.0) - first.at_ns(0.0)) as f64 / 1e3;
        self.reigns.iter().map(drift).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u16, at_ns: i64, host: u8, term_counter: u32) -> Frame {
        Frame {
            at_ns,
            from: ([10, 77, 0, host], 5_000).into(),
            marker: seq == 65_500,
            seq,
            ts: 0,
            ssrc: 1,
            term_counter,
            leader: 1,
            plan_digest: [0; 3],
            flags: 0,
            n_high: 0,
            opus: Vec::new(),
        }
    }

    #[test]
    fn grid_of_the_second_leader_is_known_and_covers_do_not_move_it() {
        let mut frames = Vec::new();
        for n in 0..500_i64 {
            let seq = 65_500_u16.wrapping_add(n as u16);
            let late_ns = 80_000 + n % 13 * 10_000;
            let at_ns = 1_000_000_000 + n * FRAME_NS + late_ns;
            frames.push(match n {
                0..200 => frame(seq, at_ns, 1, 1),
                // Covers of the second host, still in the first one's term.
                200..210 => frame(seq, at_ns + 45_000_000, 2, 1),
                _ => frame(seq, at_ns + 250_000, 2, 2),
            });
        }
        let grid = Grid::of(&frames);
        assert_eq!(grid.reigns.len(), 2);
        assert_eq!(grid.reigns[1].first_frame, 210);
        let drifts = grid.drifts_us();
        assert!(
            drifts[0].abs() < 1.0 && (drifts[1] - 250.0).abs() < 1.0,
            "{drifts:?}"
        );
        assert_eq!(grid.due_ns(5.0), 1_100_080_000);
        assert_eq!(grid.due_ns(400.0), 9_000_330_000);
        assert_eq!(grid.founded_due_ns(400.0), 9_000_080_000);
    }
}
