//! How does this node stay a member of its groups? By joining them again where that is needed, and by a reminder now and then.
//!
//! A switch with IGMP snooping sends a group only where somebody has reported that he wants it, and forgets a report after a few
//! minutes. Where a router asks (the *querier*), the kernel answers; where nobody asks, nobody reminds the switch. There is no
//! system call for that. But leaving a group and joining it at once makes Linux report it once more, without the leaving: IGMPv3
//! and MLDv2 say what has become of a membership a moment later, in one record ("to exclude nothing"). The older versions do
//! announce that one leaves, and some switches then cut off a whole port at once; they are in use only where a querier of theirs
//! asks, and there no reminder is needed. What other sockets have joined is not touched; if another program of this machine is a
//! member, the kernel sees no change and reports none.

use std::net::IpAddr;

use super::super::interface::{self, Interface};
use super::super::socket_setup as setup;
use super::{
    CONTROL, MEDIA, Port, RTCP, SocketConfig, SocketError, StationSockets, UNICAST, local_of,
    targets,
};

/// The receivers in the order in which they leave; they join the other way round. So media is away for the shortest time.
const LEAVING: [usize; 3] = [RTCP, CONTROL, MEDIA];

impl StationSockets {
    /// Looks the interface up anew by its name (it may have been made again, with another index or address) and joins the
    /// groups again. The unicast socket, and with it our address, stays if it still can.
    pub fn rejoin(&mut self) -> Result<(), SocketError> {
        let group = self.config.group.ip();
        let choice = interface::choose(group, Some(&self.config.interface.name))?;
        self.half_joined = true;
        for port in self.ports[..UNICAST].iter().flatten() {
            setup::leave(&port.socket, group, &self.config.interface);
        }
        let keep_address = choice.interface.addresses.contains(&self.local.ip());
        self.config.source = if keep_address {
            self.local.ip()
        } else {
            choice.source
        };
        self.config.interface = choice.interface;
        self.targets = targets(&self.config);
        // Hearing the others is worth something even if we cannot send yet (a new IPv6 address takes a second).
        let unicast = self.renew_unicast(keep_address);
        self.open_receivers().and(unicast)?;
        self.half_joined = false;
        Ok(())
    }

    fn renew_unicast(&mut self, keep: bool) -> Result<(), SocketError> {
        let SocketConfig {
            source,
            interface,
            ttl,
            ..
        } = &self.config;
        if let Some(port) = self.ports[UNICAST]
            .as_ref()
            .filter(|port| keep && !port.has_failed())
            && setup::send_on(&port.socket, *source, interface, *ttl).is_ok()
        {
            return Ok(());
        }
        let port = Port::new(setup::unicast(*source, interface, *ttl)?);
        self.local = local_of(&port.socket);
        self.ports[UNICAST] = Some(port);
        Ok(())
    }

    /// Reminds the switches of this node's membership, unless they are asked by a querier before whom one must not leave. Takes some
    /// microseconds in which nothing is received: call it between two packets.
    pub fn renew(&mut self) {
        let group = self.config.group.ip();
        let interface = &self.config.interface;
        if announces_leaving(group, interface) {
            return;
        }
        let receivers = || {
            LEAVING
                .iter()
                .filter_map(|&index| self.ports[index].as_ref())
        };
        for port in receivers() {
            setup::leave(&port.socket, group, interface);
        }
        let joined = receivers()
            .rev()
            .map(|port| setup::join(&port.socket, group, interface));
        let refused = joined.filter(Result::is_err).count();
        self.half_joined |= refused > 0;
    }
}

/// Whether others would be told that this node leaves `group`, if it did. Where that is not known it counts as so.
fn announces_leaving(group: IpAddr, interface: &Interface) -> bool {
    let table = match group {
        IpAddr::V4(_) => "/proc/thread-self/net/igmp",
        IpAddr::V6(_) => "/proc/thread-self/net/igmp6",
    };
    let text = std::fs::read_to_string(table).unwrap_or_default();
    match group {
        IpAddr::V4(_) => querier_of(&text, interface.index).is_none_or(|version| version != "V3"),
        IpAddr::V6(group) => {
            let name = format!("{:032x}", u128::from(group));
            flags_of(&text, interface.index, &name).is_none_or(|flags| flags & LAST_REPORTER != 0)
        }
    }
}

/// In a line of `igmp6`: this node has answered a querier, and would take leave of one that speaks MLDv1.
const LAST_REPORTER: u32 = 2;

/// The version of IGMP that is spoken on an interface: `V3`, unless an older querier was heard in the last minutes.
fn querier_of(igmp: &str, index: u32) -> Option<&str> {
    let mut lines = igmp.lines().filter(|line| !line.starts_with('\t'));
    let line = lines.find(|line| line.split_whitespace().next() == Some(&index.to_string()))?;
    line.split_whitespace().last()
}

/// The flags of a group, named as the kernel does, on an interface.
fn flags_of(igmp6: &str, index: u32, group: &str) -> Option<u32> {
    igmp6.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [at, _, name, _, flags, ..] if at == index.to_string() && name == group => {
                u32::from_str_radix(flags, 16).ok()
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGMP: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
2\tlan0      :     2      V2
\t\t\t\t4D4DFFEF     3 0:00000000\t\t1
\t\t\t\t010000E0     1 0:00000000\t\t0
13\tenp0s31f6u1:     2      V3
\t\t\t\t4D4DFFEF     3 0:00000000\t\t0
";
    const IGMP6: &str = "\
2    lan0            ff1500000000000000000000cc520001     3 00000006 0
2    lan0            ff020000000000000000000000000001     1 0000000C 0
3    wlan0           ff1500000000000000000000cc520001     3 00000004 0
";

    #[test]
    fn the_kernel_says_whether_an_old_querier_is_there() {
        let cases = [
            (1, Some("V3")),
            (2, Some("V2")),
            (13, Some("V3")),
            (3, None),
        ];
        for (index, version) in cases {
            assert_eq!(querier_of(IGMP, index), version, "{index}");
        }
        assert_eq!(querier_of("", 1), None);
    }

    #[test]
    fn the_kernel_says_whether_a_querier_was_answered() {
        let group = "ff1500000000000000000000cc520001";
        let cases = [(2, Some(6)), (3, Some(4)), (4, None)];
        for (index, flags) in cases {
            assert_eq!(flags_of(IGMP6, index, group), flags, "{index}");
        }
        assert_eq!(flags_of("2 lan0\n\n", 2, group), None);
    }
}
