//! What do all commands need before they begin? A clock, a way to be woken and stopped, events, and the station's sockets.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::console::Console;
use super::error::AppError;
use super::events::Events;
use crate::io::clock::Clock;
use crate::io::interface;
use crate::io::interface_watch::InterfaceWatch;
use crate::io::signals::{self, Signals};
use crate::io::sockets::{Join, SocketConfig, StationSockets};
use crate::io::wait::Waiter;
use crate::io::{host, random};
use crate::station::reception::Link;
use crate::time::Instant;
use crate::wire::NodeId;

/// Below this a takeover may be heard.
const SAFE_BUFFER: Duration = Duration::from_millis(100);

/// What users can set on every command.
#[derive(Clone, Debug)]
pub struct CommonConfig {
    /// Multicast group and media port.
    pub group: SocketAddr,
    /// Interface by name or address; none: by route.
    pub interface: Option<String>,
    /// How many routers a packet may cross.
    pub ttl: u8,
    /// This node's name; none: the host's.
    pub name: Option<String>,
    /// Where events go.
    pub events: Option<PathBuf>,
    /// Where the node API listens; none: any port of the station's interface.
    pub http: Option<SocketAddr>,
    /// How many nodes have to agree for one to lead, if this one founds the station; none: 1.
    pub quorum: Option<u16>,
}

/// A command that has begun.
pub struct Session {
    /// The only clock.
    pub clock: Clock,
    /// When the process started.
    pub started: Instant,
    /// Sleeps until a packet, a deadline or a signal.
    pub waiter: Waiter,
    /// Ctrl-C and its kin.
    pub signals: Signals,
    /// The event file.
    pub events: Events,
    /// The station's sockets.
    pub sockets: StationSockets,
    /// Says when to look at the interface.
    watch: InterfaceWatch,
    /// How the interface was when it was looked at last.
    link: Link,
    /// The interface was switched off at the start, and that was said.
    pub began_down: bool,
    /// This process.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The group.
    pub group: SocketAddr,
}

/// The groups were joined on another interface of the same name, or packets come from another address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The interface is another one.
    pub remade: bool,
    /// The address, and the one before.
    pub address: Option<(IpAddr, IpAddr)>,
}

impl Session {
    /// Opens everything, and says which interface is used.
    ///
    /// # Errors
    /// If the interface, the sockets or the event file cannot be used.
    pub fn begin(
        config: &CommonConfig,
        join: Join,
        console: &mut dyn Console,
    ) -> Result<Session, AppError> {
        let clock = Clock::new();
        let started = clock.now();
        let waiter = Waiter::new().map_err(|source| AppError::Os {
            action: "setting up the event loop",
            source,
        })?;
        let signals = signals::install(&waiter.waker())?;
        let events = Events::open(config.events.as_deref(), clock)?;
        let choice = interface::choose(config.group.ip(), config.interface.as_deref())?;
        let mut socket_config = SocketConfig::new(config.group, &choice, u32::from(config.ttl));
        socket_config.join = join;
        let sockets = StationSockets::open(&socket_config)?;
        let name = config
            .name
            .as_deref()
            .map_or_else(host::name, host::node_name);
        console.note(&format!(
            "group {} on {} ({})",
            config.group, choice.interface.name, choice.source
        ));
        console.detail(&format!(
            "receive buffers: {} KiB",
            sockets.receive_buffer_bytes() / 1024
        ));
        let mut session = Session {
            clock,
            started,
            waiter,
            signals,
            events,
            sockets,
            watch: InterfaceWatch::new(clock.now()),
            link: Link::There,
            began_down: choice.down,
            node: NodeId(random::node_id()?),
            name,
            group: config.group,
        };
        if choice.down {
            let interface = &choice.interface.name;
            session.warn(
                console,
                &format!("{interface} is down; nothing is heard until it is up (cable, Wi-Fi?)"),
            );
        }
        Ok(session)
    }

    /// Tells people and scripts.
    pub fn warn(&mut self, console: &mut dyn Console, text: &str) {
        console.warn(text);
        self.events.warning(text);
    }

    /// Warns of a buffer that is too short for what this program is made for. Answers whether it did.
    pub fn judge_buffer(&mut self, buffer: Option<Duration>, console: &mut dyn Console) -> bool {
        let is_short = buffer.is_some_and(|buffer| buffer < SAFE_BUFFER);
        if is_short {
            self.warn(console, "a buffer below 100ms: a takeover may be heard");
        }
        is_short
    }

    /// The same of a buffer that has become as short as that by itself.
    pub fn judge_adapted_buffer(&mut self, buffer: Duration, console: &mut dyn Console) -> bool {
        let is_short = buffer < SAFE_BUFFER;
        if is_short {
            let text = format!(
                "the buffer is {} ms now: below 100ms a takeover may be heard (--min-buffer 100ms keeps it longer)",
                buffer.as_millis()
            );
            self.warn(console, &text);
        }
        is_short
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.sockets.interface().name
    }

    /// Waits for a datagram, news of the interface, a waker or `until`.
    pub fn wait(&mut self, until: Instant) {
        let until = self.watch.poll_timeout().map_or(until, |at| until.min(at));
        let own = self.sockets.poll_fds().count();
        let fds = self.sockets.poll_fds().chain(self.watch.poll_fd());
        let ready = self.waiter.wait(fds, Some(until), &self.clock);
        self.sockets.mark_ready(ready);
        if ready.is_readable(own) {
            self.watch.handle_ready(self.clock.now());
        }
    }

    /// How the interface is, if it is time to look. One that was made anew or has another address is used as it is now.
    pub fn poll_link(&mut self, console: &mut dyn Console) -> Option<(Link, Option<Moved>)> {
        let now = self.clock.now();
        if !self.watch.is_time(now) {
            return None;
        }
        let list = interface::list().map_err(|error| console.detail(&error.to_string()));
        let list = list.ok()?;
        let known = self.sockets.interface();
        let Some(found) = list.iter().find(|one| one.name == known.name) else {
            self.link = Link::Gone;
            return Some((Link::Gone, None));
        };
        let link = found.link(self.group.ip());
        self.link = link;
        let own = self.sockets.local_addr().ip();
        let is_same = found.index == known.index && found.addresses.contains(&own);
        let is_usable = link != Link::NoAddress;
        let joins = is_usable && (!is_same || self.sockets.needs_rejoin());
        let moved = joins.then(|| self.rejoin(console)).flatten();
        Some((link, moved))
    }

    /// Whether nothing can be sent, because the cable is out or the interface is off or gone. Who sends to a single node then makes the
    /// kernel ask for that node's hardware address in vain, once a second, and wait for the answer when the cable is back.
    pub fn is_cut_off(&self) -> bool {
        matches!(self.link, Link::NoCarrier | Link::SwitchedOff | Link::Gone)
    }

    /// Joins the groups again; whether that was on another interface or from another address than before.
    pub fn rejoin(&mut self, console: &mut dyn Console) -> Option<Moved> {
        let state = |sockets: &StationSockets| (sockets.interface().index, sockets.local_addr());
        let (index, before) = state(&self.sockets);
        if let Err(error) = self.sockets.rejoin() {
            console.detail(&error.to_string());
        }
        let (index_now, now) = state(&self.sockets);
        let moved = Moved {
            remade: index != index_now,
            address: (before.ip() != now.ip()).then_some((now.ip(), before.ip())),
        };
        (moved.remade || moved.address.is_some()).then_some(moved)
    }

    /// To be called about once a second: looks after sockets that failed, and reports trouble with the event file.
    pub fn look_after(&mut self, console: &mut dyn Console) {
        if self.sockets.needs_rejoin() {
            self.watch.look_again(self.clock.now());
        }
        if let Some(error) = self.events.take_trouble() {
            console.warn(&error.to_string());
        }
    }
}
