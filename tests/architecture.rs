//! Is the house still built as its plan says (DESIGN 6, STYLE)?
//!
//! Imports go down only, the pure layers know no clock, socket, thread, file, lock or random source, files open with their
//! question and stay readable, and only `become_*` changes a role. The compiler checks none of this, and reviewers forget it;
//! so the sources are read here, as tokens: comments, strings and test modules do not count. Each rule has a snippet below
//! that breaks it, so that a checker that sees nothing cannot pass for one that finds nothing.

// Helpers outside of #[test] functions.
#![allow(
    clippy::unwrap_used,
    reason = "tests: a failed unwrap is a failed test"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the top to the bottom; each may use those after it. `time` is below all, `main` above all.
const LAYERS: [&str; 8] = [
    "cli", "app", "io", "media", "station", "playout", "wire", "time",
];

/// The layers that get time, randomness and bytes as arguments only.
const PURE: [&str; 4] = ["station", "playout", "wire", "time"];

/// What pure layers must not name, as the beginning of a path.
const IMPURE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::ToSocketAddrs",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "std::os",
    "getrandom",
    "nix",
    "socket2",
    "signal_hook",
    "crossbeam_channel",
    "symphonia",
    "clap",
    "tokio",
];

/// The same, wherever the name comes from.
const IMPURE_NAMES: &[&str] = &[
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "Mutex",
    "RandomState",
];

/// Lines of a file without its test module (STYLE 13).
const MAX_LINES: usize = 500;

// ---- the rules on the sources -------------------------------------------------------------------------------------------

#[test]
fn imports_go_down_only() {
    report("imports that go up", upward_imports);
}

#[test]
fn pure_layers_know_no_clock_socket_thread_file_lock_or_random_source() {
    report("impure names in pure layers", impure_names);
}

#[test]
fn files_open_with_their_question() {
    report("files without a `//!` first line", |file| {
        let opens = file.text.starts_with("//!");
        let says = file.text.lines().next().is_some_and(|line| line.len() > 8);
        if opens && says {
            Vec::new()
        } else {
            vec!["does not open with `//!` and what it is for".into()]
        }
    });
}

#[test]
fn files_stay_under_500_lines_without_their_tests() {
    report("files that are too long", |file| {
        let lines = lines_without_tests(&file.text);
        if lines < MAX_LINES {
            Vec::new()
        } else {
            vec![format!(
                "{lines} lines without tests, {MAX_LINES} is the limit"
            )]
        }
    });
}

#[test]
fn only_become_functions_assign_a_role() {
    report("roles changed outside of become_*", role_changes);
}

#[test]
fn the_house_has_the_layers_of_its_plan() {
    let files = sources();
    for layer in LAYERS {
        assert!(
            files.iter().any(|file| file.layer() == layer),
            "no sources of layer {layer}"
        );
    }
    for file in &files {
        let layer = file.layer();
        assert!(
            LAYERS.contains(&layer) || ["lib", "main"].contains(&layer),
            "{}: not a layer of DESIGN 6",
            file.path.display()
        );
    }
}

/// Runs `check` over all sources and fails with the list of what it finds.
fn report(what: &str, check: impl Fn(&Source) -> Vec<String>) {
    let mut found = Vec::new();
    for file in sources() {
        for fault in check(&file) {
            found.push(format!("  {}: {fault}", file.path.display()));
        }
    }
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// A source file, its path relative to `src`.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The first component of its module path; `lib` and `main` for the roots.
    fn layer(&self) -> &str {
        let first = self.path.components().next().unwrap().as_os_str();
        first.to_str().unwrap().trim_end_matches(".rs")
    }

    /// How many modules it is below the crate: 1 for `src/io/mod.rs`, 2 for `src/io/clock.rs`.
    fn depth(&self) -> usize {
        let components = self.path.components().count();
        let root = ["mod.rs", "lib.rs", "main.rs"]
            .iter()
            .any(|name| self.path.ends_with(name));
        components - usize::from(root)
    }
}

/// All sources but files that are test modules as a whole.
fn sources() -> Vec<Source> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    assert!(
        paths.len() >= LAYERS.len(),
        "no sources in {}",
        root.display()
    );
    paths
        .into_iter()
        .filter(|path| {
            // Test modules in files of their own: tests.rs, tests/…, thing_tests.rs.
            !path
                .iter()
                .filter_map(OsStr::to_str)
                .any(|name| name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs"))
        })
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(&root).unwrap().to_owned(),
        })
        .collect()
}

// ---- the checkers ---------------------------------------------------------------------------------------------------------

fn upward_imports(file: &Source) -> Vec<String> {
    let Some(own) = LAYERS.iter().position(|layer| *layer == file.layer()) else {
        // main.rs speaks to the two top layers only; lib.rs only declares modules.
        let allowed: &[&str] = match file.layer() {
            "main" => &["cli", "app"],
            _ => &[],
        };
        return layers_used(file)
            .into_iter()
            .filter(|(used, _)| !allowed.contains(&used.as_str()))
            .map(|(used, line)| format!("line {line}: uses {used}"))
            .collect();
    };
    layers_used(file)
        .into_iter()
        .filter(|(used, _)| LAYERS.iter().position(|layer| layer == used) < Some(own))
        .map(|(used, line)| format!("line {line}: {} uses {used}", LAYERS[own]))
        .collect()
}

/// Each layer that the file names by `crate::`, `lanradio::` or enough `super::`, and where.
fn layers_used(file: &Source) -> BTreeMap<String, usize> {
    let mut used = BTreeMap::new();
    for (path, line) in paths(&file.text) {
        let segments: Vec<&str> = path.split("::").collect();
        let supers = segments.iter().take_while(|s| **s == "super").count();
        let name = match segments[0] {
            "crate" | "lanradio" => segments.get(1),
            "super" if supers >= file.depth() => segments.get(supers),
            _ => None,
        };
        match name {
            Some(&"*") => {
                // A glob of the root would hide what is used: it counts as the top layer.
                used.insert(LAYERS[0].to_owned(), line);
            }
            Some(name) if LAYERS.contains(name) => {
                used.entry((*name).to_owned()).or_insert(line);
            }
            _ => {}
        }
    }
    used
}

fn impure_names(file: &Source) -> Vec<String> {
    if !PURE.contains(&file.layer()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (path, line) in paths(&file.text) {
        let banned = IMPURE.iter().find(|banned| {
            path == **banned
                || path.starts_with(&format!("{banned}::"))
                // A parent module or a glob of it would let the banned name in by another way.
                || (path.contains("::") || path == "std")
                    && (banned.starts_with(&format!("{path}::")) && !is_plain_module(&path)
                        || path.strip_suffix("::*").is_some_and(|parent| banned.starts_with(&format!("{parent}::"))))
        });
        let named = path
            .split("::")
            .find(|segment| IMPURE_NAMES.contains(segment));
        if let Some(name) = banned.copied().or(named) {
            found.push(format!("line {line}: {path} ({name})"));
        }
    }
    found
}

/// Whole modules that may be imported although something in them is banned: the use of it is found by its own path.
fn is_plain_module(path: &str) -> bool {
    path == "std::io" || path == "std::sync"
}

/// `self.role = …` (or of a `…_role` field, or through `&mut self.role`) in a function that is not called `become_…`.
fn role_changes(file: &Source) -> Vec<String> {
    let tokens = without_tests(tokens(&file.text));
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let (mut found, mut depth) = (Vec::new(), 0usize);
    let mut functions: Vec<(String, usize)> = Vec::new();
    let mut pending: Option<String> = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "fn" => pending = Some(word(at + 1).to_owned()),
            ";" => pending = None,
            "{" => {
                depth += 1;
                if let Some(name) = pending.take() {
                    functions.push((name, depth));
                }
            }
            "}" => {
                if functions.last().is_some_and(|(_, level)| *level == depth) {
                    functions.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "self"
                if word(at + 1) == "."
                    && (word(at + 2) == "role" || word(at + 2).ends_with("_role")) =>
            {
                let assigned = word(at + 3) == "=" && word(at + 4) != "=";
                let borrowed = at >= 2 && word(at - 1) == "mut" && word(at - 2) == "&";
                let replaced =
                    borrowed && at >= 4 && ["replace", "take", "swap"].contains(&word(at - 4));
                let name = functions.last().map_or("", |(name, _)| name.as_str());
                if (assigned || replaced) && !name.starts_with("become_") {
                    found.push(format!(
                        "line {}: fn {name} sets self.{}",
                        token.line,
                        word(at + 2)
                    ));
                }
            }
            _ => {}
        }
    }
    found
}

/// Lines before and after the test modules at the end of a file.
fn lines_without_tests(text: &str) -> usize {
    let all = tokens(text);
    let total = text.lines().count();
    let kept: std::collections::BTreeSet<usize> = without_tests(all.clone())
        .iter()
        .map(|token| token.line)
        .collect();
    // A line is a test's if it lies between the first and the last token of a stretch that was removed.
    let (mut tests, mut start) = (0, None);
    for token in &all {
        match (kept.contains(&token.line), start) {
            (false, None) => start = Some(token.line),
            (true, Some(from)) => {
                tests += token.line - from;
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        tests += total + 1 - from;
    }
    total - tests
}

// ---- reading Rust, as far as needed ------------------------------------------------------------------------------------

/// A word or one character of punctuation (`::` is one token), and its line.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

/// The tokens of `text` without comments; literals of text become `""`.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let start = at;
        let c = chars[at];
        let next = chars.get(at + 1).copied().unwrap_or('\0');
        let mut word = None;
        if c == '/' && next == '/' {
            at = find(&chars, at, |rest| rest[0] == '\n');
        } else if c == '/' && next == '*' {
            at = skip_block_comment(&chars, at);
        } else if let Some(end) = raw_string(&chars, at) {
            at = end;
            word = Some("\"\"".to_owned());
        } else if c == '"' {
            at = skip_quoted(&chars, at);
            word = Some("\"\"".to_owned());
        } else if c == '\'' {
            // A character, unless it is a lifetime: 'a without a closing quote.
            at = if next == '\\' || chars.get(at + 2) == Some(&'\'') {
                skip_quoted(&chars, at)
            } else {
                at + 1
            };
        } else if c.is_alphanumeric() || c == '_' {
            at = find(&chars, at, |rest| {
                !rest[0].is_alphanumeric() && rest[0] != '_'
            });
            word = Some(chars[start..at].iter().collect());
        } else if c == ':' && next == ':' {
            at += 2;
            word = Some("::".to_owned());
        } else {
            at += 1;
            word = (!c.is_whitespace()).then(|| c.to_string());
        }
        if let Some(text) = word {
            tokens.push(Token { text, line });
        }
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The first place from `at` where `stop` holds, or the end.
fn find(chars: &[char], mut at: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    while at < chars.len() && !stop(&chars[at..]) {
        at += 1;
    }
    at
}

fn skip_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of the quoted text that starts at `at`.
fn skip_quoted(chars: &[char], at: usize) -> usize {
    let quote = chars[at];
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

/// The end of a raw string (`r"…"`, `r#"…"#`, with `b` or `c` before) that starts at `at`.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|at| chars[at]);
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let r = match chars[at] {
        'b' | 'c' => at + 1,
        _ => at,
    };
    if chars.get(r) != Some(&'r') {
        return None;
    }
    let hashes = chars[r + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(r + 1 + hashes) != Some(&'"') {
        return None;
    }
    let end = find(chars, r + 2 + hashes, |rest| {
        rest[0] == '"' && rest[1..].len() >= hashes && rest[1..=hashes].iter().all(|c| *c == '#')
    });
    Some((end + 1 + hashes).min(chars.len()))
}

/// The tokens without items under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens[at..].iter().map(|token| token.text.as_str());
        if !here.take(attribute.len()).eq(attribute) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends with its first `;` outside of brackets, or with the bracket that closes its body.
        let mut depth = 0;
        at += attribute.len();
        while at < tokens.len() {
            match tokens[at].text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let text = &tokens[at].text;
            at += 1;
            if depth == 0 && (text == ";" || text == "}") {
                break;
            }
        }
    }
    kept
}

/// All paths of the file, test modules aside: those in `use` trees with their groups resolved, and those in the code.
fn paths(text: &str) -> Vec<(String, usize)> {
    let tokens = without_tests(tokens(text));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = use_tree(&tokens, at + 1, "", &mut found);
        } else if is_word(&tokens[at]) {
            let line = tokens[at].line;
            let mut path = tokens[at].text.clone();
            at += 1;
            while at + 1 < tokens.len() && tokens[at].text == "::" && is_word(&tokens[at + 1]) {
                path = format!("{path}::{}", tokens[at + 1].text);
                at += 2;
            }
            found.push((path, line));
        } else {
            at += 1;
        }
    }
    found
}

fn is_word(token: &Token) -> bool {
    token
        .text
        .starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads one tree of a `use` from `at`, with the path `prefix` before it; the place after it.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &str,
    found: &mut Vec<(String, usize)>,
) -> usize {
    let mut path = prefix.to_owned();
    while at < tokens.len() {
        let line = tokens[at].line;
        match tokens[at].text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at].text != "}" {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "as" => at += 2,
            word if word == "*" || is_word(&tokens[at]) => {
                path = match (path.as_str(), word) {
                    ("", _) => word.to_owned(),
                    (_, "self") => path,
                    _ => format!("{path}::{word}"),
                };
                at += 1;
                let ends = tokens.get(at).is_none_or(|token| token.text != "::");
                if ends {
                    found.push((path.clone(), line));
                }
            }
            _ => return at,
        }
    }
    at
}

// ---- the checkers checked -------------------------------------------------------------------------------------------------

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
