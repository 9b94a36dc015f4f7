//! When did a node say something, on the clock of the captured packets?

use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::net::Host;
use crate::process::SUSPENDED_S;

/// When an event of a node on `host` was written, on the real-time clock, as the stamps of captured packets.
pub(crate) fn event_ns(host: &Host, event: &Value) -> i64 {
    let read = |clock| {
        let time = clock_gettime(clock).unwrap();
        time.tv_sec() * 1_000_000_000 + time.tv_nsec()
    };
    let real_minus_boot_ns = read(ClockId::CLOCK_REALTIME) - read(ClockId::CLOCK_BOOTTIME);
    // The host's boot clock is ahead of the machine's.
    let ahead_s = i64::from(host.clock_offset_s + SUSPENDED_S);
    event["t_us"].as_i64().unwrap() * 1_000 - ahead_s * 1_000_000_000 + real_minus_boot_ns
}
