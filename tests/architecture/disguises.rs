//! Do the checks see what they are for? For each rule, sources that break it in every disguise, and some that keep it.

use super::*;

fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.into(),
        text: text.into(),
    }
}

#[test]
fn upward_imports_are_found_in_every_disguise() {
    for (path, bad) in [
        ("wire/rtp.rs", "use crate::station::Node;"),
        ("wire/mod.rs", "use super::station;"),
        ("wire/rtp.rs", "use super::super::io::clock;"),
        (
            "playout/mod.rs",
            "use crate::{time::Instant, wire::{Seq, Term}, media};",
        ),
        ("station/node.rs", "fn f() { crate::app::run() }"),
        ("media/mod.rs", "use crate::io::{self, clock};"),
        ("io/mod.rs", "use crate::*;"),
        ("io/mod.rs", "pub(crate) use lanradio::cli as c;"),
        ("app/mod.rs", "type X = Vec<crate::cli::Args>;"),
        ("time.rs", "use crate::wire::Seq;"),
        ("main.rs", "use lanradio::io::clock;"),
        ("lib.rs", "pub use crate::wire::Seq;"),
    ] {
        assert!(
            !upward_imports(&source(path, bad)).is_empty(),
            "{path}: {bad}"
        );
    }
    for (path, good) in [
        (
            "wire/rtp.rs",
            "use super::Seq; use crate::time::Instant; use super::super::wire::x;",
        ),
        ("cli/mod.rs", "use crate::{app, io::{self}, wire::*, time};"),
        (
            "station/node.rs",
            "// crate::app\nconst A: &str = \"crate::io\"; /* crate::cli /* crate::app */ */",
        ),
        (
            "station/node.rs",
            "#[cfg(test)]\nmod tests { use crate::app::run; fn f() {} }",
        ),
        (
            "wire/mod.rs",
            "const R: &str = r#\"\" crate::app \"#; fn f<'a>(x: &'a str) -> char { '\"' }",
        ),
        (
            "main.rs",
            "use lanradio::{cli, app}; fn main() { lanradio::cli::run() }",
        ),
        ("lib.rs", "pub mod app; pub mod cli;"),
    ] {
        assert_eq!(
            upward_imports(&source(path, good)),
            [""; 0],
            "{path}: {good}"
        );
    }
}

#[test]
fn impure_names_are_found_in_every_disguise() {
    for bad in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "use std::time;",
        "use std::time::*;",
        "use std::{collections::BTreeMap, fs::File};",
        "fn f() { std::thread::sleep(d) }",
        "use std::thread as t;",
        "use std::net::UdpSocket as U;",
        "use std::net::{IpAddr, TcpStream};",
        "use std::sync::{Arc, Mutex};",
        "fn f(m: &parking_lot::Mutex<u8>) {}",
        "use getrandom::fill;",
        "fn f() { nix::unistd::getpid(); }",
        "use socket2::Socket;",
        "use signal_hook::flag;",
        "fn f() { std::env::var(\"X\"); }",
        "use std::hash::RandomState;",
    ] {
        for layer in PURE {
            let path = format!("{layer}/mod.rs");
            assert!(
                !impure_names(&source(&path, bad)).is_empty(),
                "{path}: {bad}"
            );
        }
        assert_eq!(impure_names(&source("io/mod.rs", bad)), [""; 0], "{bad}");
    }
    for good in [
        "use std::time::Duration; use crate::time::Instant;",
        "use std::net::{IpAddr, SocketAddr, Ipv4Addr};",
        "use std::sync::Arc; use std::io;",
        "use std::collections::{BTreeMap, VecDeque}; use std::fmt::{self, Display};",
        "// std::thread, Mutex\nconst HELP: &str = \"std::fs\";",
        "#[cfg(test)] mod tests { use std::time::Instant; }",
    ] {
        assert_eq!(impure_names(&source("wire/x.rs", good)), [""; 0], "{good}");
    }
}

#[test]
fn role_changes_are_found_outside_of_become() {
    for bad in [
        "impl N { fn handle(&mut self) { self.role = Role::Standby; } }",
        "impl N { fn become_leader(&mut self) {} fn f(&mut self) { if x { self.role = r } } }",
        "impl N { fn f(&mut self) { let old = mem::replace(&mut self.role, Role::Idle); } }",
    ] {
        assert_eq!(
            role_changes(&source("station/node.rs", bad)).len(),
            1,
            "{bad}"
        );
    }
    for good in [
        "impl N { fn become_leader(&mut self) { log(); self.role = Role::Leading { n }; } }",
        "impl N { fn f(&self) -> bool { self.role == Role::Idle } }",
        "impl N { fn become_x(&mut self) { let old = mem::replace(&mut self.role, Role::X); } }",
        "#[cfg(test)] mod tests { fn f(&mut self) { self.role = x; } }",
    ] {
        assert_eq!(
            role_changes(&source("station/node.rs", good)),
            [""; 0],
            "{good}"
        );
    }
}

#[test]
fn lines_are_counted_without_test_modules() {
    let code =
        "//! A file.\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n    // a comment\n}\n";
    assert_eq!(lines_without_tests(code), 3);
    assert_eq!(lines_without_tests("//! A file.\nfn f() {\n}\n"), 3);
    let between = "fn f() {}\n#[cfg(test)]\nmod tests {\n}\nfn g() {}\n";
    assert_eq!(lines_without_tests(between), 2);
}
