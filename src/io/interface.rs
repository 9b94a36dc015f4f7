//! Which network interface carries the station? Machines with Docker, a VPN and two networks are common, and multicast on
//! the wrong one is silence without an error; so the rule is written down (DESIGN 5, `--interface`) and its result printed.
//!
//! [`decide`] is the rule, a pure function of what there is; [`choose`] asks the kernel and calls it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nix::net::if_::{InterfaceFlags, if_nametoindex};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::station::reception::Link;

/// Interfaces that lead to containers, virtual machines or a VPN rather than to the neighbours.
const VIRTUAL_PREFIXES: [&str; 5] = ["docker", "br-", "veth", "virbr", "tailscale"];

/// A network interface as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`.
    pub name: String,
    /// The kernel's number of it, which changes when it is removed and made again.
    pub index: u32,
    /// IPv4 and IPv6, in the kernel's order.
    pub addresses: Vec<IpAddr>,
    /// Switched on. (A cable that is out does not switch it off.)
    pub up: bool,
    /// A cable is in it, or an access point there.
    pub running: bool,
    /// Can send to groups, says its driver.
    pub multicast: bool,
    /// `lo`.
    pub loopback: bool,
    /// A tunnel or dial-up line with one machine at the other end.
    pub point_to_point: bool,
}

/// The interface to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The interface.
    pub interface: Interface,
    /// The address of it that our packets come from.
    pub source: IpAddr,
    /// It was named by the user although it is switched off: warn, but start, as it may come up.
    pub down: bool,
}

/// The address that the kernel would send from, if it has a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Local address.
    pub source: IpAddr,
    /// Interface index that belongs to it (IPv6 link-local addresses), else 0.
    pub scope: u32,
}

/// No interface could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The kernel does not tell.
    #[error("listing the network interfaces: {0}")]
    List(#[source] io::Error),
    /// Neither a name nor an address of this machine.
    #[error("no network interface has the name or address `{wanted}`; there are: {available}")]
    Unknown {
        /// What the user asked for.
        wanted: String,
        /// What there is.
        available: List,
    },
    /// More than one would do, and the kernel's route goes to none of them.
    #[error(
        "several network interfaces could carry {group}: {candidates}; choose one with --interface"
    )]
    Several {
        /// The group.
        group: IpAddr,
        /// Those that would do.
        candidates: List,
    },
    /// Linux has no IPv6 multicast on `lo`.
    #[error(
        "{name} is the loopback interface and carries IPv4 groups only, but {group} is IPv6; choose another \
         --interface or an IPv4 --group"
    )]
    LoopbackIpv6 {
        /// The interface.
        name: String,
        /// The group.
        group: IpAddr,
    },
    /// It has no address of the group's family.
    #[error(
        "interface {name} has no {family} address, which the group {group} needs; give it one, or choose another \
         --interface or --group"
    )]
    NoAddress {
        /// The interface.
        name: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The group.
        group: IpAddr,
    },
}

/// Interfaces as a line of text: `eth0 (192.0.2.2), lo (127.0.0.1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List(Vec<Interface>);

impl Interface {
    /// The address to send from to `group`: of its family, and not link-local if there is another.
    pub fn source_for(&self, group: IpAddr) -> Option<IpAddr> {
        let mut candidates = self
            .addresses
            .iter()
            .filter(|address| address.is_ipv4() == group.is_ipv4());
        let first = candidates.clone().next();
        candidates
            .find(|address| !is_link_local(address))
            .or(first)
            .copied()
    }

    /// How it is, for `group`.
    pub fn link(&self, group: IpAddr) -> Link {
        match self {
            _ if !self.up => Link::SwitchedOff,
            _ if !self.running => Link::NoCarrier,
            _ if self.source_for(group).is_none() => Link::NoAddress,
            _ => Link::There,
        }
    }

    /// Why it is not used for `group` unless it is asked for; `None`: it would do.
    pub fn why_skipped(&self, group: IpAddr) -> Option<&'static str> {
        let reasons = [
            (self.loopback, "reaches this machine only"),
            (
                self.point_to_point,
                "point-to-point (a VPN or dial-up line)",
            ),
            (self.is_virtual(), "leads to containers or virtual machines"),
            (!self.up, "down"),
            (!self.multicast, "cannot send to groups"),
            (
                self.source_for(group).is_none(),
                "has no address of the group's family",
            ),
        ];
        let first = reasons.into_iter().find(|(applies, _)| *applies);
        first.map(|(_, reason)| reason)
    }

    /// True if it would do for `group` without being asked for.
    fn is_suitable(&self, group: IpAddr) -> bool {
        self.why_skipped(group).is_none()
    }

    fn is_excluded(&self) -> bool {
        self.point_to_point || self.is_virtual()
    }

    fn is_virtual(&self) -> bool {
        VIRTUAL_PREFIXES
            .iter()
            .any(|prefix| self.name.starts_with(prefix))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(IpAddr::to_string).collect();
        let addresses = if addresses.is_empty() {
            "no address".to_owned()
        } else {
            addresses.join(", ")
        };
        write!(
            f,
            "{} ({addresses}{})",
            self.name,
            if self.up { "" } else { ", down" }
        )
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(Interface::to_string).collect();
        f.write_str(&if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        })
    }
}

/// All interfaces of this machine (of this network namespace), by index.
pub fn list() -> Result<Vec<Interface>, InterfaceError> {
    let entries = nix::ifaddrs::getifaddrs().map_err(|errno| InterfaceError::List(errno.into()))?;
    let mut interfaces: Vec<Interface> = Vec::new();
    for entry in entries {
        // Linux gives an address with a label as `eth0:label`; it is on eth0.
        let name = entry
            .interface_name
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        let known = interfaces
            .iter()
            .position(|interface| interface.name == name);
        let at = known.unwrap_or_else(|| {
            interfaces.push(described(name, entry.flags));
            interfaces.len() - 1
        });
        interfaces[at]
            .addresses
            .extend(entry.address.as_ref().and_then(ip_address));
    }
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// The interface for `group`: the `wanted` one (name or address), else by the rule.
pub fn choose(group: IpAddr, wanted: Option<&str>) -> Result<Choice, InterfaceError> {
    let route = if wanted.is_none() {
        kernel_route(group)
    } else {
        None
    };
    decide(&list()?, route, group, wanted)
}

/// The rule of DESIGN 5: what was asked for; else the kernel's route, unless it is point-to-point or virtual; else the only
/// other one that can multicast; several is an error, none is `lo`.
pub fn decide(
    interfaces: &[Interface],
    route: Option<Route>,
    group: IpAddr,
    wanted: Option<&str>,
) -> Result<Choice, InterfaceError> {
    if let Some(wanted) = wanted {
        return named(interfaces, group, wanted);
    }
    if let Some((interface, source)) = route.and_then(|route| routed(interfaces, route)) {
        return checked(interface, Some(source), group);
    }
    let suitable: Vec<&Interface> = interfaces
        .iter()
        .filter(|interface| interface.is_suitable(group))
        .collect();
    match suitable[..] {
        [only] => checked(only, None, group),
        [] => match interfaces.iter().find(|interface| interface.loopback) {
            Some(loopback) => checked(loopback, None, group),
            None => Err(InterfaceError::Unknown {
                wanted: "lo".to_owned(),
                available: List(interfaces.to_vec()),
            }),
        },
        _ => Err(InterfaceError::Several {
            group,
            candidates: List(suitable.into_iter().cloned().collect()),
        }),
    }
}

fn named(interfaces: &[Interface], group: IpAddr, wanted: &str) -> Result<Choice, InterfaceError> {
    if let Some(interface) = interfaces.iter().find(|interface| interface.name == wanted) {
        return checked(interface, None, group);
    }
    // `fe80::1%eth0` is how link-local addresses are written.
    let (text, zone) = wanted
        .split_once('%')
        .map_or((wanted, None), |(text, zone)| (text, Some(zone)));
    let address: Option<IpAddr> = text.parse().ok();
    let owner = interfaces.iter().find(|interface| {
        let in_zone =
            zone.is_none_or(|zone| zone == interface.name || zone == interface.index.to_string());
        in_zone && address.is_some_and(|address| interface.addresses.contains(&address))
    });
    let unknown = || InterfaceError::Unknown {
        wanted: wanted.to_owned(),
        available: List(interfaces.to_vec()),
    };
    let source = address.filter(|address| address.is_ipv4() == group.is_ipv4());
    checked(owner.ok_or_else(unknown)?, source, group)
}

/// The interface of the kernel's route, unless it is one that we do not use unasked.
fn routed(interfaces: &[Interface], route: Route) -> Option<(&Interface, IpAddr)> {
    let has_source = |interface: &&Interface| {
        let in_scope = route.scope == 0 || route.scope == interface.index;
        in_scope && interface.addresses.contains(&route.source)
    };
    let interface = interfaces.iter().find(has_source)?;
    (!interface.is_excluded()).then_some((interface, route.source))
}

fn checked(
    interface: &Interface,
    source: Option<IpAddr>,
    group: IpAddr,
) -> Result<Choice, InterfaceError> {
    if interface.loopback && group.is_ipv6() {
        return Err(InterfaceError::LoopbackIpv6 {
            name: interface.name.clone(),
            group,
        });
    }
    let family = if group.is_ipv4() { "IPv4" } else { "IPv6" };
    let no_address = || InterfaceError::NoAddress {
        name: interface.name.clone(),
        family,
        group,
    };
    let source = source
        .or_else(|| interface.source_for(group))
        .ok_or_else(no_address)?;
    Ok(Choice {
        interface: interface.clone(),
        source,
        down: !interface.up,
    })
}

/// Asks for the route by connecting a UDP socket, which sends nothing.
fn kernel_route(group: IpAddr) -> Option<Route> {
    let group = SocketAddr::new(group, 9);
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP)).ok()?;
    socket.connect(&SockAddr::from(group)).ok()?;
    match socket.local_addr().ok()?.as_socket()? {
        SocketAddr::V4(local) => Some(Route {
            source: IpAddr::V4(*local.ip()),
            scope: 0,
        }),
        SocketAddr::V6(local) => Some(Route {
            source: IpAddr::V6(*local.ip()),
            scope: local.scope_id(),
        }),
    }
}

fn described(name: String, flags: InterfaceFlags) -> Interface {
    Interface {
        index: if_nametoindex(name.as_str()).unwrap_or(0),
        addresses: Vec::new(),
        up: flags.contains(InterfaceFlags::IFF_UP),
        running: flags.contains(InterfaceFlags::IFF_RUNNING),
        multicast: flags.contains(InterfaceFlags::IFF_MULTICAST),
        loopback: flags.contains(InterfaceFlags::IFF_LOOPBACK),
        point_to_point: flags.contains(InterfaceFlags::IFF_POINTOPOINT),
        name,
    }
}

fn ip_address(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => is_link_local_v6(v6),
    }
}

/// `fe80::/10`.
pub(crate) fn is_link_local_v6(address: &Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
#[path = "interface_tests.rs"]
mod tests;
