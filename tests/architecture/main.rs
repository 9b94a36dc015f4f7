//! Is the house still built as its plan says (DESIGN 6, STYLE)?
//!
//! Imports go down only, the pure layers know no clock, socket, thread, file, lock or random source, files open with their
//! question and stay readable, and only `become_*` changes a role. The compiler checks none of this, and reviewers forget it;
//! so the sources are read here, as tokens: comments, strings and test modules do not count. `disguises` has
//! snippets that break each rule, so that a checker that sees nothing cannot pass for one that finds nothing.

// Helpers outside of #[test] functions.
#![allow(
    clippy::unwrap_used,
    reason = "tests: a failed unwrap is a failed test"
)]

mod disguises;
mod tokens;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use tokens::{paths, tokens, without_tests};

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
