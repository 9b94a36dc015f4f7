//! A local network that exists only for one test: hosts are network namespaces, the switch is a bridge in another.
//!
//! Everything is named after this process, so that dropping a [`Lan`] (also in a panic) removes exactly what it made, and
//! the next run can remove what a killed one left behind.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use nix::sched::{CloneFlags, setns};

/// Networks that share the machine now, or [`ALONE`]: tests that measure time have it alone. (No `RwLock`: a test may make two networks,
/// and its second one must not wait for a test that waits for its first one to go.)
static USERS: Mutex<usize> = Mutex::new(0);
static FEWER: Condvar = Condvar::new();
const ALONE: usize = usize::MAX;

/// Hosts have clocks that disagree by up to a million seconds: a program that compares them fails here.
const CLOCK_OFFSETS_S: [u32; 5] = [1_000, 999_983, 47_111, 333_333, 700_001];

/// One network's use of the machine.
struct Quiet {
    is_alone: bool,
}

impl Quiet {
    fn wait(is_alone: bool) -> Quiet {
        let is_busy = |users: &mut usize| *users == ALONE || (is_alone && *users > 0);
        let users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users = FEWER
            .wait_while(users, is_busy)
            .unwrap_or_else(PoisonError::into_inner);
        *users = if is_alone { ALONE } else { *users + 1 };
        Quiet { is_alone }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        *users = if self.is_alone { 0 } else { *users - 1 };
        FEWER.notify_all();
    }
}

/// One host: a namespace with the interface `lan0`.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The name of its network namespace.
    pub(crate) namespace: String,
    /// The name of its port on the switch.
    pub(crate) port: String,
    /// The name of the switch's namespace.
    pub(crate) switch: String,
    /// Its IPv4 address on `lan0`.
    pub(crate) ip: Ipv4Addr,
    /// How far its monotonic clock is ahead of the machine's, in seconds; its boot clock even more.
    pub(crate) clock_offset_s: u32,
}

/// A switch and its hosts. Dropping it removes them.
pub(crate) struct Lan {
    /// The hosts, in the order asked for.
    pub(crate) hosts: Vec<Host>,
    /// A folder for this test's files.
    pub(crate) dir: PathBuf,
    /// The namespace of the bridge `sw`.
    pub(crate) switch: String,
    _quiet: Quiet,
}

impl Lan {
    /// A network of `hosts` hosts, or nothing (said in one line) where this machine cannot make one.
    pub(crate) fn new(hosts: usize) -> Option<Lan> {
        require()?;
        Some(Lan::build(hosts, Quiet::wait(false)))
    }

    /// The same, while no other test of this binary uses the machine: for tests that measure time.
    pub(crate) fn alone(hosts: usize) -> Option<Lan> {
        require()?;
        Some(Lan::build(hosts, Quiet::wait(true)))
    }

    fn build(count: usize, quiet: Quiet) -> Lan {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "lr-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(&dir).unwrap();
        let mut lan = Lan {
            hosts: Vec::new(),
            dir,
            switch: format!("{name}-switch"),
            _quiet: quiet,
        };
        lan.make_switch();
        for index in 0..count {
            lan.plug_in(&name, index);
        }
        lan
    }

    fn make_switch(&self) {
        let switch = &self.switch;
        ip(&["netns", "add", switch]);
        no_address_detection(switch);
        // With snooping the bridge would prune groups nobody queries for: a plain switch floods.
        ip_inside(
            switch,
            &[
                "link",
                "add",
                "sw",
                "type",
                "bridge",
                "mcast_snooping",
                "0",
                "stp_state",
                "0",
            ],
        );
        ip_inside(switch, &["link", "set", "sw", "up"]);
    }

    fn plug_in(&mut self, name: &str, index: usize) {
        let last_byte = u8::try_from(index + 1).unwrap();
        let host = Host {
            namespace: format!("{name}-{index}"),
            port: format!("p{index}"),
            switch: self.switch.clone(),
            ip: Ipv4Addr::new(10, 77, 0, last_byte),
            clock_offset_s: CLOCK_OFFSETS_S[index % CLOCK_OFFSETS_S.len()],
        };
        // Registered before it is whole: whatever fails below is removed all the same.
        self.hosts.push(host.clone());
        let space = host.namespace.as_str();
        ip(&["netns", "add", space]);
        no_address_detection(space);
        ip_inside(space, &["link", "set", "lo", "up"]);
        host.plug_in();
    }

    /// From now on the switch sends a group only where somebody wants it (IGMP and MLD snooping): it is the querier, and asks so
    /// seldom that it may as well not. In which version, decides what hosts speak.
    pub(crate) fn snoop(&self, igmp_version: u8) {
        let (igmp, mld) = (igmp_version.to_string(), (igmp_version - 1).to_string());
        let bridge = ["link", "set", "sw", "type", "bridge"];
        let options = [
            ["mcast_igmp_version", &igmp],
            ["mcast_mld_version", &mld],
            ["mcast_query_interval", "360000"],
            ["mcast_startup_query_interval", "360000"],
            // As long as answers may take, it lets everything through.
            ["mcast_query_response_interval", "100"],
            ["mcast_snooping", "1"],
            ["mcast_querier", "1"],
        ];
        for option in options {
            ip_inside(&self.switch, &[&bridge[..], &option[..]].concat());
        }
        // Until then it floods, reports as well; and who hears another's report does not send its own.
        std::thread::sleep(std::time::Duration::from_millis(1_300));
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for space in self
            .hosts
            .iter()
            .map(|host| &host.namespace)
            .chain([&self.switch])
        {
            remove_namespace(space);
        }
        if std::env::var_os("LANRADIO_KEEP").is_some() {
            eprintln!("kept {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Host {
    /// Gives the host its interface `lan0`, with a cable to the switch.
    pub(crate) fn plug_in(&self) {
        let (space, switch) = (self.namespace.as_str(), self.switch.as_str());
        ip(&[
            "link", "add", "lan0", "netns", space, "type", "veth", "peer", "name", &self.port,
            "netns", switch,
        ]);
        ip_inside(
            space,
            &["addr", "add", &format!("{}/24", self.ip), "dev", "lan0"],
        );
        let ipv6 = format!("fd77::{}/64", self.ip.octets()[3]);
        ip_inside(space, &["addr", "add", &ipv6, "dev", "lan0", "nodad"]);
        ip_inside(space, &["link", "set", "lan0", "up"]);
        ip_inside(space, &["route", "add", "224.0.0.0/4", "dev", "lan0"]);
        ip_inside(switch, &["link", "set", &self.port, "master", "sw"]);
        ip_inside(switch, &["link", "set", &self.port, "up"]);
    }

    /// Removes the interface `lan0` as if its adapter was pulled out.
    pub(crate) fn pull_out(&self) {
        ip_inside(&self.namespace, &["link", "del", "lan0"]);
    }

    /// Gives the host another IPv4 address in place of its own.
    pub(crate) fn move_to(&mut self, address: Ipv4Addr) {
        let before = std::mem::replace(&mut self.ip, address);
        for (change, address) in [("del", before), ("add", address)] {
            let address = format!("{address}/24");
            ip_inside(&self.namespace, &["addr", change, &address, "dev", "lan0"]);
        }
        let route = ["route", "replace", "224.0.0.0/4", "dev", "lan0"];
        ip_inside(&self.namespace, &route);
    }

    /// From now on nothing that is sent to the group on these ports gets in here. What is sent to this host alone does.
    pub(crate) fn drop_group(&self, ports: &str) {
        self.nft(&format!(
            "table inet deaf {{
                chain input {{
                    type filter hook input priority -2
                    iifname \"lan0\" ip daddr 224.0.0.0/4 udp dport {{ {ports} }} drop
                }}
            }}"
        ));
    }

    /// Ends it.
    pub(crate) fn let_group_in(&self) {
        self.nft("delete table inet deaf");
    }

    /// From now on this host says only once that it joins a group; else it repeats that at some time in the ten seconds after.
    pub(crate) fn report_once(&self) {
        let script = "echo 1 > /proc/sys/net/ipv4/igmp_qrv";
        run(inside(&self.namespace, "sh").args(["-c", script]));
    }

    /// The switch forgets that this host wants the group.
    pub(crate) fn be_forgotten(&self, group: &str) {
        let command = ["mdb", "del", "dev", "sw", "port", &self.port, "grp", group];
        run(inside(&self.switch, "bridge").args(command));
    }

    /// Whether the switch knows that this host wants the group.
    pub(crate) fn is_known(&self, group: &str) -> bool {
        let listing = run(inside(&self.switch, "bridge").args(["mdb", "show", "dev", "sw"]));
        let text = String::from_utf8(listing.stdout).unwrap();
        let entry = format!("port {} grp {group} ", self.port);
        text.lines().any(|line| line.contains(&entry))
    }

    /// Pulls the cable: the carrier is gone at the host, addresses and memberships stay.
    pub(crate) fn cut_cable(&self) {
        ip_inside(&self.switch, &["link", "set", &self.port, "down"]);
    }

    /// Plugs the cable in again.
    pub(crate) fn mend_cable(&self) {
        ip_inside(&self.switch, &["link", "set", &self.port, "up"]);
    }

    /// From now on `per_mille` of the media packets (port 5004) vanish at random on their way in.
    pub(crate) fn start_loss(&self, per_mille: u32) {
        self.lose("udp dport 5004", per_mille);
    }

    /// The same for all that comes by UDP: media, reports and control.
    pub(crate) fn start_loss_of_all(&self, per_mille: u32) {
        self.lose("meta l4proto udp", per_mille);
    }

    fn lose(&self, what: &str, per_mille: u32) {
        self.nft(&format!(
            "table inet loss {{
                chain lottery {{
                    numgen random mod 1000 < {per_mille} counter drop
                }}
                chain input {{
                    type filter hook input priority 0
                    iifname \"lan0\" {what} jump lottery
                }}
            }}"
        ));
    }

    /// From now on nothing comes in by UDP that is for this host alone: whatever it asks for, it gets no answer.
    pub(crate) fn stop_answers(&self) {
        self.nft(&format!(
            "table ip unanswered {{
                chain input {{
                    type filter hook input priority -1
                    iifname \"lan0\" ip daddr {} meta l4proto udp drop
                }}
            }}",
            self.ip
        ));
    }

    /// From now on nothing that these hosts send gets in here. (Nothing gets out to them if they do the same.)
    pub(crate) fn part_from<'a>(&self, others: impl IntoIterator<Item = &'a Host>) {
        let addresses: Vec<_> = others.into_iter().map(|host| host.ip.to_string()).collect();
        self.nft(&format!(
            "table ip parted {{
                chain input {{
                    type filter hook input priority -1
                    iifname \"lan0\" ip saddr {{ {} }} drop
                }}
            }}",
            addresses.join(", ")
        ));
    }

    /// Ends it.
    pub(crate) fn join_again(&self) {
        self.nft("delete table ip parted");
    }

    /// Ends the loss and says how many packets the kernel dropped.
    pub(crate) fn stop_loss(&self) -> usize {
        // The way to the rule goes first and the rule with its counter outlives it: no drop is missed between the two.
        self.nft("flush chain inet loss input");
        let mut list = inside(&self.namespace, "nft");
        let listing = run(list.args(["list", "chain", "inet", "loss", "lottery"]));
        let text = String::from_utf8(listing.stdout).unwrap();
        let mut words = text
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        let count = words.nth(1).and_then(|word| word.parse().ok());
        count.unwrap_or_else(|| panic!("no packet count in {text}"))
    }

    /// Feeds `script` to `nft` on this host.
    pub(crate) fn nft(&self, script: &str) {
        let mut child = inside(&self.namespace, "nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success(), "nft refused: {script}");
    }

    /// Runs `make` inside this host's network; sockets made there stay there.
    pub(crate) fn enter<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> T {
        enter(&self.namespace, make)
    }

    /// A UDP socket of this host that sends multicast out of `lan0`.
    pub(crate) fn socket(&self) -> UdpSocket {
        let ip = self.ip;
        self.enter(move || {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            socket2::SockRef::from(&socket)
                .set_multicast_if_v4(&ip)
                .unwrap();
            socket
        })
    }

    /// A second member of the group on this host: hears exactly what passed this host's firewall.
    pub(crate) fn ear(&self, group: Ipv4Addr, port: u16) -> UdpSocket {
        use socket2::{Domain, Protocol, Socket, Type};
        let ip = self.ip;
        self.enter(move || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
            socket.set_reuse_address(true).unwrap();
            nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::RcvBufForce,
                &(16 << 20),
            )
            .unwrap();
            let address = std::net::SocketAddr::from((group, port));
            socket.bind(&address.into()).unwrap();
            socket.join_multicast_v4(&group, &ip).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.into()
        })
    }
}

/// Runs `make` in a thread that moved into the network namespace `space`.
pub(crate) fn enter<T: Send + 'static>(
    space: &str,
    make: impl FnOnce() -> T + Send + 'static,
) -> T {
    let path = Path::new("/run/netns").join(space);
    let inside = std::thread::spawn(move || {
        let file = fs::File::open(&path).unwrap();
        setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
        make()
    });
    inside.join().unwrap()
}

/// A command that will run in the network of namespace `space`. (`ip netns exec` also changes mounts, which it cannot in a chroot.)
pub(crate) fn inside(space: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{space}"))
        .args(["--", program]);
    command
}

/// Says why this machine cannot run LAN tests, once per test; fails instead where tests must run (`CI=true`).
pub(crate) fn require() -> Option<()> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| {
        let missing = find_missing();
        if missing.is_none() {
            remove_leftovers();
        }
        missing
    });
    let Some(missing) = missing else {
        return Some(());
    };
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(
        !in_ci,
        "LAN tests need {missing}, and CI=true forbids skipping them"
    );
    // Not `eprintln!`, which a test that passes swallows.
    let _ = writeln!(std::io::stderr(), "SKIPPED: LAN tests need {missing}");
    None
}

fn find_missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root (network and time namespaces)".into());
    }
    let has = |tool: &&str| {
        let mut folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin"].into_iter();
        folders.any(|folder| Path::new(folder).join(tool).exists())
    };
    let missing: Vec<_> = ["ip", "nft", "ffmpeg", "unshare", "nsenter"]
        .into_iter()
        .filter(|tool| !has(tool))
        .collect();
    (!missing.is_empty()).then(|| format!("these programs: {}", missing.join(", ")))
}

/// Removes the networks of test processes that are dead: killed ones cannot clean up after themselves.
fn remove_leftovers() {
    let Ok(spaces) = fs::read_dir("/run/netns") else {
        return;
    };
    for space in spaces.flatten() {
        let name = space.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix("lr-")
            .and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            remove_namespace(&name);
        }
    }
}

/// Ends what still runs in a namespace of ours, by pid, and removes it.
fn remove_namespace(space: &str) {
    let Ok(output) = Command::new("ip").args(["netns", "pids", space]).output() else {
        return;
    };
    for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        // A thread of this process may be inside for a moment; it is not a process of its own.
        if let Ok(pid) = pid.parse::<i32>()
            && pid != std::process::id().cast_signed()
        {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
    }
    let _ = Command::new("ip")
        .args(["netns", "del", space])
        .stderr(Stdio::null())
        .status();
}

/// Addresses are usable at once: there is nobody on these networks to collide with.
fn no_address_detection(space: &str) {
    let script = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
    run(inside(space, "sh").args(["-c", script]));
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

/// `ip` in the network of namespace `space`. (`ip -n` has the same trouble in a chroot as `ip netns exec`, see [`inside`].)
pub(crate) fn ip_inside(space: &str, arguments: &[&str]) {
    run(inside(space, "ip").args(arguments));
}

/// Runs a tool to its end; its complaint is the panic.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
