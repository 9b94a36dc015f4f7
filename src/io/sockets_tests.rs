//! Real datagrams on the loopback interface, on a group and port drawn at random.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::io::{interface, random};

/// Nothing on loopback takes that long; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);

fn config() -> SocketConfig {
    let random = random::seed().unwrap().to_be_bytes();
    let port = 20_000 + u16::from_be_bytes([random[2], random[3]]) % 10_000 / 4 * 4;
    let group = SocketAddr::from(([239, 255, random[0], random[1]], port));
    SocketConfig::new(
        group,
        &interface::choose(group.ip(), Some("lo")).unwrap(),
        1,
    )
}

fn open(config: &SocketConfig) -> StationSockets {
    StationSockets::open(config).unwrap()
}

/// The next datagram, waiting for it.
fn next(sockets: &mut StationSockets, buffer: &mut [u8]) -> Received {
    let (waiter, clock) = (Waiter::new().unwrap(), Clock::new());
    let until = clock.now() + PATIENCE;
    loop {
        if let Some(received) = sockets.receive(buffer) {
            return received;
        }
        assert!(clock.now() < until, "nothing came");
        sockets.wait(&waiter, Some(until));
    }
}

/// What is there now, and nothing more.
fn drain(sockets: &mut StationSockets) -> Vec<(Channel, usize)> {
    let mut buffer = [0; MAX_DATAGRAM];
    sockets.wait(&Waiter::new().unwrap(), Some(Instant::default()));
    std::iter::from_fn(|| sockets.receive(&mut buffer))
        .map(|received| (received.channel, received.len))
        .collect()
}

#[test]
fn each_channel_reaches_every_node_and_unicast_only_one() {
    let config = config();
    let (sender, mut first, mut second) = (open(&config), open(&config), open(&config));
    let mut buffer = [0; MAX_DATAGRAM];
    sender.send_media(b"media").unwrap();
    sender.send_control(b"control!").unwrap();
    for node in [&mut first, &mut second] {
        for _ in 0..2 {
            let received = next(node, &mut buffer);
            let expected = if received.channel == Channel::Media {
                &b"media"[..]
            } else {
                &b"control!"[..]
            };
            assert_eq!(
                (&buffer[..received.len], received.from),
                (expected, sender.local_addr())
            );
            assert!(!received.truncated);
        }
    }
    sender.send_to(first.local_addr(), b"you").unwrap();
    assert_eq!(next(&mut first, &mut buffer).channel, Channel::Unicast);
    assert_eq!(drain(&mut second), []);
}

#[test]
fn own_multicast_comes_back_from_the_own_address() {
    let mut node = open(&config());
    node.send_media(b"x").unwrap();
    let received = next(&mut node, &mut [0; MAX_DATAGRAM]);
    assert_eq!(
        (received.channel, received.from),
        (Channel::Media, node.local_addr())
    );
    assert_eq!(node.local_addr().ip(), Ipv4Addr::LOCALHOST);
}

#[test]
fn rtcp_goes_beside_the_media_port() {
    let config = config();
    let node = open(&config);
    let mut beside = config.clone();
    beside.group.set_port(config.group.port() + 1);
    let mut listener = open(&beside);
    node.send_rtcp(b"sr").unwrap();
    assert_eq!(next(&mut listener, &mut [0; MAX_DATAGRAM]).len, 2);
}

/// Linux stamps at the time of reading what came before stamping was on, and switches it on, for the first socket of the
/// machine that asks, a moment after that socket asked: hence a few tries.
#[test]
fn arrival_lies_between_send_and_the_moment_after_it() {
    let (mut node, clock) = (open(&config()), Clock::new());
    let tries: Vec<String> = (0..20)
        .map_while(|_| {
            let before = clock.now();
            node.send_media(b"x").unwrap();
            let sent = clock.now();
            // The kernel has it by now, whenever we read it.
            let later = clock.now() + Duration::from_millis(20);
            Waiter::new().unwrap().wait([], Some(later), &clock);
            let received = next(&mut node, &mut [0; MAX_DATAGRAM]);
            // Clocks are read to the microsecond, and the wall clock may be slewed meanwhile.
            let slack = Duration::from_micros(200);
            let arrived = received.arrived;
            let exact = arrived + slack >= before && arrived <= sent + slack;
            (!exact).then(|| format!("{before} {arrived} {sent}"))
        })
        .collect();
    assert!(tries.len() < 20, "{tries:#?}");
}

#[test]
fn long_datagram_is_flagged() {
    let mut node = open(&config());
    let mut buffer = [0; 4_000];
    node.send_media(&[1; MAX_DATAGRAM]).unwrap();
    node.send_media(&[1; MAX_DATAGRAM + 1]).unwrap();
    let (whole, cut) = (next(&mut node, &mut buffer), next(&mut node, &mut buffer));
    assert_eq!((whole.len, whole.truncated), (MAX_DATAGRAM, false));
    assert_eq!((cut.len, cut.truncated), (MAX_DATAGRAM, true));
}

#[test]
fn empty_datagram_is_one() {
    let mut node = open(&config());
    node.send_media(b"").unwrap();
    assert_eq!(next(&mut node, &mut [0; MAX_DATAGRAM]).len, 0);
}

#[test]
fn media_flood_does_not_starve_control() {
    // On a busy machine the kernel may hand over what was sent a moment later: then this says nothing about the order.
    let all_at_once = |_| {
        let mut node = open(&config());
        (0..200).for_each(|_| node.send_media(b"media").unwrap());
        (0..3).for_each(|_| node.send_control(b"control").unwrap());
        Some(drain(&mut node)).filter(|order| order.len() == 203)
    };
    let order = (0..50).find_map(all_at_once);
    let order = order.expect("nothing is lost on the way");
    let last_control = order
        .iter()
        .rposition(|(channel, _)| *channel == Channel::Control);
    assert!(last_control.unwrap() < 6, "{:?}", &order[..20]);
}

#[test]
fn endless_flood_ends_the_drain() {
    let config = config();
    let (sender, mut node) = (open(&config), open(&config));
    let mut buffer = [0; MAX_DATAGRAM];
    sender.send_media(b"x").unwrap();
    node.wait(&Waiter::new().unwrap(), Some(Clock::new().now() + PATIENCE));
    let mut count = 0;
    while node.receive(&mut buffer).is_some() {
        // Each datagram read is followed by two more.
        sender.send_media(b"x").unwrap();
        sender.send_media(b"x").unwrap();
        count += 1;
        assert!(count < 100, "the drain does not end");
    }
}

#[test]
fn nothing_is_read_that_the_wait_did_not_report() {
    let mut node = open(&config());
    node.send_media(b"x").unwrap();
    assert_eq!(node.receive(&mut [0; MAX_DATAGRAM]), None);
}

#[test]
fn other_groups_on_the_port_do_not_leak_in() {
    let config = config();
    let mut other = config.clone();
    other
        .group
        .set_ip(Ipv4Addr::from_bits(u32::from_be_bytes([239, 254, 1, 2])).into());
    let (mut node, foreign) = (open(&config), open(&other));
    foreign.send_media(b"foreign").unwrap();
    node.send_media(b"own").unwrap();
    assert_eq!(next(&mut node, &mut [0; MAX_DATAGRAM]).len, 3);
    assert_eq!(drain(&mut node), []);
}

#[test]
fn rejoined_groups_are_heard_and_the_address_stays() {
    let mut node = open(&config());
    let address = node.local_addr();
    node.rejoin().unwrap();
    node.rejoin().unwrap();
    node.send_media(b"x").unwrap();
    assert_eq!(
        next(&mut node, &mut [0; MAX_DATAGRAM]).channel,
        Channel::Media
    );
    assert_eq!(node.local_addr(), address);
}

#[test]
fn renewed_groups_are_heard_and_what_had_come_is_not_lost() {
    let mut node = open(&config());
    node.send_media(b"before").unwrap();
    node.renew();
    node.send_media(b"after").unwrap();
    node.send_control(b"control").unwrap();
    let mut heard = [(); 3].map(|()| next(&mut node, &mut [0; MAX_DATAGRAM]).len);
    heard.sort_unstable();
    assert_eq!(heard, [5, 6, 7]);
    assert!(!node.needs_rejoin());
}

#[test]
fn rejoin_reopens_what_had_failed() {
    let mut node = open(&config());
    for port in node.ports.iter_mut().flatten() {
        port.failures = MAX_FAILURES;
    }
    assert!(node.needs_rejoin() && node.poll_fds().count() == 0);
    node.rejoin().unwrap();
    node.send_control(b"x").unwrap();
    assert_eq!(
        next(&mut node, &mut [0; MAX_DATAGRAM]).channel,
        Channel::Control
    );
    assert!(!node.needs_rejoin());
}

#[test]
fn rejoin_without_the_interface_is_an_error_and_can_be_repeated() {
    let mut node = open(&config());
    let lo = std::mem::replace(&mut node.config.interface.name, "gone0".to_owned());
    let error = node.rejoin().unwrap_err().to_string();
    assert!(
        error.contains("gone0") && error.contains("lo (127.0.0.1"),
        "{error}"
    );
    node.config.interface.name = lo;
    node.rejoin().unwrap();
    assert!(!node.needs_rejoin());
}

#[test]
fn send_to_a_closed_port_harms_nobody() {
    let config = config();
    let (node, gone) = (open(&config), open(&config).local_addr());
    (0..5).for_each(|_| node.send_to(gone, b"x").unwrap());
    node.send_media(b"x").unwrap();
}

#[test]
fn port_that_is_not_shared_is_named() {
    let config = config();
    let holder = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    holder.bind(&SockAddr::from(config.group)).unwrap();
    let error = StationSockets::open(&config).unwrap_err().to_string();
    let group = config.group;
    assert!(error.starts_with("address in use: "), "{error}");
    assert!(error.contains(&format!(
        "another program holds {group} without sharing; stop it or choose --group"
    )));
}

#[test]
fn receive_buffer_is_told() {
    let bytes = open(&config()).receive_buffer_bytes();
    assert!(
        (64 << 10..=setup::RECEIVE_BUFFER_BYTES).contains(&bytes),
        "{bytes}"
    );
}
