//! What time is it here? The only place that reads a clock.
//!
//! The clock must count suspend (PROTOCOL, constants): with `CLOCK_MONOTONIC` on Linux a laptop would wake up with a lease
//! that ended hours ago. That is `CLOCK_BOOTTIME` on Linux and Android; on macOS `CLOCK_MONOTONIC` counts sleep. Wall time
//! is never calculated with, except to age the kernel's receive stamps, which come in it.

use std::time::Duration;

use nix::time::ClockId;

use crate::time::Instant;

/// A stamp older than this is a wall clock that was set, not a packet that waited.
const MAX_STAMP_AGE: Duration = Duration::from_secs(1);

/// The local clock. Copies read the same clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    id: ClockId,
}

/// When a datagram arrived, and how we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// From the kernel's stamp; otherwise it is the moment of reading.
    pub(crate) stamped: bool,
}

impl Clock {
    /// The clock that counts suspend, or the monotonic one on a kernel that has no such clock.
    pub fn new() -> Clock {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let preferred = ClockId::CLOCK_BOOTTIME;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let preferred = ClockId::CLOCK_MONOTONIC;
        let id = match read(preferred) {
            Some(_) => preferred,
            None => ClockId::CLOCK_MONOTONIC,
        };
        Clock { id }
    }

    /// Now, to the microsecond. Costs no system call where the kernel maps its clock (vDSO).
    pub fn now(&self) -> Instant {
        let since_boot = read(self.id).unwrap_or_default();
        Instant::from_micros(since_boot.as_micros() as u64)
    }

    /// Wall time for people and logs: RFC 3339, UTC, microseconds.
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the clock itself; for display only"
    )]
    pub fn wall_rfc3339(&self) -> String {
        humantime::format_rfc3339_micros(std::time::SystemTime::now()).to_string()
    }

    /// Puts a kernel receive stamp (wall time since 1970) on this clock.
    pub(crate) fn arrival(&self, stamp: Option<Duration>) -> Arrival {
        let wall = stamp.and_then(|_| read(ClockId::CLOCK_REALTIME));
        arrival(self.now(), wall, stamp)
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

/// `now − (wall − stamp)`; `now` if the age is negative or above [`MAX_STAMP_AGE`]: then the wall clock was set meanwhile.
fn arrival(now: Instant, wall: Option<Duration>, stamp: Option<Duration>) -> Arrival {
    let age = wall
        .zip(stamp)
        .and_then(|(wall, stamp)| wall.checked_sub(stamp));
    match age {
        Some(age) if age <= MAX_STAMP_AGE => Arrival {
            at: now - age,
            stamped: true,
        },
        _ => Arrival {
            at: now,
            stamped: false,
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock itself")]
fn read(id: ClockId) -> Option<Duration> {
    nix::time::clock_gettime(id).ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_does_not_go_back() {
        let clock = Clock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(first > Instant::from_micros(0));
    }

    #[test]
    fn wall_time_has_microseconds_and_zone() {
        let text = Clock::new().wall_rfc3339();
        assert_eq!(text.len(), "2026-01-01T00:00:00.000000Z".len());
        assert!(text.ends_with('Z'));
    }

    #[test]
    fn stamp_is_used_only_when_its_age_is_credible() {
        let now = Instant::from_micros(50_000_000);
        let wall = Duration::from_secs(1_000);
        let cases = [
            (
                Some(wall),
                Some(wall - Duration::from_millis(3)),
                now - Duration::from_millis(3),
                true,
            ),
            (Some(wall), Some(wall), now, true),
            (
                Some(wall),
                Some(wall - Duration::from_secs(1)),
                now - Duration::from_secs(1),
                true,
            ),
            (
                Some(wall),
                Some(wall - Duration::from_micros(1_000_001)),
                now,
                false,
            ),
            (
                Some(wall),
                Some(wall + Duration::from_micros(1)),
                now,
                false,
            ),
            (Some(wall), None, now, false),
            (None, Some(wall), now, false),
        ];
        for (wall, stamp, at, stamped) in cases {
            assert_eq!(
                arrival(now, wall, stamp),
                Arrival { at, stamped },
                "{wall:?} {stamp:?}"
            );
        }
    }
}
