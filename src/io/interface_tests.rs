//! Which interface is chosen, on machines of every kind?

use super::*;

fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
    let addresses = addresses
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    let name = name.to_owned();
    Interface {
        name,
        index,
        addresses,
        up: true,
        running: true,
        multicast: true,
        ..Interface::default()
    }
}

fn lo() -> Interface {
    Interface {
        loopback: true,
        multicast: false,
        ..interface(1, "lo", &["127.0.0.1", "::1"])
    }
}

fn tun() -> Interface {
    Interface {
        point_to_point: true,
        ..interface(9, "tun0", &["10.8.0.2"])
    }
}

fn eth(index: u32) -> Interface {
    interface(
        index,
        &format!("eth{index}"),
        &[
            &format!("192.0.2.{index}"),
            "fe80::2",
            &format!("fd00::{index}"),
        ],
    )
}

fn down(interface: Interface) -> Interface {
    Interface {
        up: false,
        ..interface
    }
}

/// What it shows, interfaces, route, group, wanted, "name source" or part of the error.
type Case = (
    &'static str,
    Vec<Interface>,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const V4: &str = "239.255.77.77";
const V6: &str = "ff15::cc52:1";

#[test]
fn interface_follows_the_rule() {
    let docker = || interface(5, "docker0", &["172.17.0.1"]);
    let mute = || Interface {
        multicast: false,
        ..eth(4)
    };
    let cases: Vec<Case> = vec![
        (
            "route wins over others",
            vec![lo(), eth(2), eth(3)],
            "192.0.2.3",
            V4,
            "",
            "eth3 192.0.2.3",
        ),
        (
            "no route, only one",
            vec![lo(), eth(2)],
            "",
            V4,
            "",
            "eth2 192.0.2.2",
        ),
        (
            "no route, several",
            vec![lo(), eth(2), eth(3)],
            "",
            V4,
            "",
            "several network interfaces",
        ),
        (
            "no route, none",
            vec![lo(), docker(), tun()],
            "",
            V4,
            "",
            "lo 127.0.0.1",
        ),
        (
            "route into a tunnel",
            vec![lo(), tun(), eth(2)],
            "10.8.0.2",
            V4,
            "",
            "eth2 192.0.2.2",
        ),
        (
            "route into docker, two left",
            vec![docker(), eth(2), eth(3)],
            "172.17.0.1",
            V4,
            "",
            "several",
        ),
        (
            "route into docker, none left",
            vec![lo(), docker()],
            "172.17.0.1",
            V4,
            "",
            "lo 127.0.0.1",
        ),
        (
            "route to lo",
            vec![lo(), eth(2), eth(3)],
            "127.0.0.1",
            V4,
            "",
            "lo 127.0.0.1",
        ),
        (
            "route from nowhere",
            vec![lo(), eth(2)],
            "203.0.113.9",
            V4,
            "",
            "eth2 192.0.2.2",
        ),
        (
            "mute one is no candidate",
            vec![lo(), eth(2), mute()],
            "",
            V4,
            "",
            "eth2 192.0.2.2",
        ),
        (
            "one that is down is none",
            vec![lo(), eth(2), down(eth(3))],
            "",
            V4,
            "",
            "eth2 192.0.2.2",
        ),
        (
            "one without IPv4 is none",
            vec![lo(), interface(2, "a", &["fd00::1"])],
            "",
            V4,
            "",
            "lo 127.0.0.1",
        ),
        (
            "by name",
            vec![lo(), eth(2), eth(3)],
            "192.0.2.2",
            V4,
            "eth3",
            "eth3 192.0.2.3",
        ),
        (
            "by name, virtual",
            vec![lo(), docker()],
            "",
            V4,
            "docker0",
            "docker0 172.17.0.1",
        ),
        (
            "by name, down",
            vec![lo(), down(eth(2))],
            "",
            V4,
            "eth2",
            "eth2 192.0.2.2 down",
        ),
        (
            "by address",
            vec![lo(), eth(2), eth(3)],
            "",
            V4,
            "192.0.2.3",
            "eth3 192.0.2.3",
        ),
        (
            "by address of the other family",
            vec![lo(), eth(2)],
            "",
            V4,
            "fd00::2",
            "eth2 192.0.2.2",
        ),
        (
            "by name, no IPv4",
            vec![lo(), interface(2, "a", &["fd00::1"])],
            "",
            V4,
            "a",
            "a has no IPv4 address",
        ),
        (
            "unknown name",
            vec![lo(), eth(2)],
            "",
            V4,
            "wlan0",
            "`wlan0`; there are: lo (127.0.0.1, ::1), eth2",
        ),
        (
            "unknown address",
            vec![lo()],
            "",
            V4,
            "192.0.2.99",
            "`192.0.2.99`; there are: lo",
        ),
        (
            "IPv6 by route",
            vec![lo(), eth(2), eth(3)],
            "fd00::3",
            V6,
            "",
            "eth3 fd00::3",
        ),
        (
            "IPv6 by link-local route",
            vec![lo(), eth(2), eth(3)],
            "fe80::2%3",
            V6,
            "",
            "eth3 fe80::2",
        ),
        (
            "IPv6 prefers a routable source",
            vec![lo(), eth(2)],
            "",
            V6,
            "",
            "eth2 fd00::2",
        ),
        (
            "IPv6 by link-local address",
            vec![eth(2), eth(3)],
            "",
            V6,
            "fe80::2%eth3",
            "eth3 fe80::2",
        ),
        (
            "IPv6 on lo",
            vec![lo(), eth(2)],
            "",
            V6,
            "lo",
            "carries IPv4 groups only",
        ),
        (
            "IPv6, nothing but lo",
            vec![lo()],
            "",
            V6,
            "",
            "carries IPv4 groups only",
        ),
        (
            "IPv6 on an IPv4 interface",
            vec![docker()],
            "",
            V6,
            "docker0",
            "docker0 has no IPv6 address",
        ),
        ("nothing at all", vec![], "", V4, "", "there are: none"),
    ];
    for (fact, interfaces, route, group, wanted, expected) in cases {
        let route = (!route.is_empty()).then(|| {
            let (source, scope) = route.split_once('%').unwrap_or((route, "0"));
            Route {
                source: source.parse().unwrap(),
                scope: scope.parse().unwrap(),
            }
        });
        let wanted = (!wanted.is_empty()).then_some(wanted);
        match decide(&interfaces, route, group.parse().unwrap(), wanted) {
            Ok(choice) => {
                let state = if choice.down { " down" } else { "" };
                assert_eq!(
                    format!("{} {}{state}", choice.interface.name, choice.source),
                    expected,
                    "{fact}"
                );
            }
            Err(error) => assert!(error.to_string().contains(expected), "{fact}: {error}"),
        }
    }
}

#[test]
fn every_virtual_prefix_is_passed_over() {
    for name in ["docker0", "br-12ab", "veth77", "virbr0", "tailscale0"] {
        let virtual_one = interface(5, name, &["172.17.0.1"]);
        let route = Some(Route {
            source: virtual_one.addresses[0],
            scope: 0,
        });
        let choice = decide(&[virtual_one, eth(2)], route, V4.parse().unwrap(), None).unwrap();
        assert_eq!(choice.interface.name, "eth2", "{name}");
    }
}

#[test]
fn loopback_is_listed_and_can_be_chosen() {
    let choice = choose(V4.parse().unwrap(), Some("127.0.0.1")).unwrap();
    assert!(choice.interface.loopback && choice.interface.index > 0 && !choice.down);
    assert_eq!(
        list()
            .unwrap()
            .iter()
            .filter(|interface| interface.loopback)
            .count(),
        1
    );
}

#[test]
fn what_is_missing_of_an_interface_is_named() {
    let v4 = V4.parse().unwrap();
    let unplugged = Interface {
        running: false,
        ..eth(2)
    };
    let cases = [
        (eth(2), Link::There),
        (unplugged.clone(), Link::NoCarrier),
        (down(unplugged), Link::SwitchedOff),
        (interface(2, "eth2", &["fe80::2"]), Link::NoAddress),
        (lo(), Link::There),
    ];
    for (interface, link) in cases {
        assert_eq!(interface.link(v4), link, "{interface}");
    }
}
