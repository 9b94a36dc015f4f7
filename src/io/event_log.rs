//! Where do events go? Into a file, one line per write(2), so that several nodes can append to one file and a reader never
//! sees half a line.
//!
//! The log is never worth the sound: a write that fails (full disk, a FIFO whose reader sleeps) is reported once, and the
//! next lines are tried again, silently.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::Written;

/// An open event log.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    out: File,
    state: State,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Working,
    /// An error was reported; `half_line` if the file now ends in the middle of one.
    Failing {
        half_line: bool,
    },
    Closed,
}

/// The event log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// At the start.
    #[error("opening the event log {}: {source}{}", path.display(), remedy(path, source))]
    Open {
        /// As the user gave it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Later; said once.
    #[error("writing the event log {}: {source}; events are lost until there is room again", path.display())]
    Write {
        /// As the user gave it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl EventLog {
    /// Opens `path` for appending, creating it; `-` is stdout.
    ///
    /// # Errors
    /// If it cannot be opened for appending.
    pub fn open(path: &Path) -> Result<EventLog, EventLogError> {
        let opened = if path == Path::new("-") {
            io::stdout().as_fd().try_clone_to_owned().map(File::from)
        } else {
            // Non-blocking matters for a FIFO only: neither opening nor writing may wait for its reader.
            let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
            File::options()
                .append(true)
                .create(true)
                .custom_flags(flags.bits())
                .open(path)
        };
        let out = opened.map_err(|source| EventLogError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(EventLog::to(path, out))
    }

    fn to(path: &Path, out: File) -> EventLog {
        EventLog {
            path: path.to_owned(),
            out,
            state: State::Working,
            line: Vec::new(),
        }
    }

    /// Appends `line` (without its line end) in one write. Each later failure after the first is [`Written::Lost`];
    /// [`Written::Closed`] when stdout's reader left.
    pub fn write_line(&mut self, line: &str) -> Result<Written, EventLogError> {
        let half_line = match self.state {
            State::Closed => return Ok(Written::Closed),
            State::Working => false,
            State::Failing { half_line } => half_line,
        };
        self.line.clear();
        if half_line {
            self.line.push(b'\n');
        }
        self.line.extend_from_slice(line.as_bytes());
        self.line.push(b'\n');
        match write_once(&mut self.out, &self.line) {
            Ok(count) if count == self.line.len() => {
                if half_line {
                    self.state = State::Failing { half_line: false };
                }
                Ok(Written::Done)
            }
            Ok(count) => self.fail(count > 0, io::Error::from(ErrorKind::StorageFull)),
            Err(error) if error.kind() == ErrorKind::BrokenPipe && self.path == Path::new("-") => {
                self.state = State::Closed;
                Ok(Written::Closed)
            }
            Err(error) => self.fail(half_line, error),
        }
    }

    fn fail(&mut self, half_line: bool, source: io::Error) -> Result<Written, EventLogError> {
        let first = self.state == State::Working;
        self.state = State::Failing { half_line };
        if first {
            Err(EventLogError::Write {
                path: self.path.clone(),
                source,
            })
        } else {
            Ok(Written::Lost)
        }
    }
}

/// What the user can do about a log that cannot be opened.
fn remedy(path: &Path, source: &io::Error) -> String {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    match folder {
        Some(folder) => format!(
            " (the folder {} does not exist: create it first)",
            folder.display()
        ),
        None if source.raw_os_error() == Some(Errno::ENXIO as i32) => {
            " (nobody reads this FIFO: start its reader first)".into()
        }
        None => " (see --events)".into(),
    }
}

fn write_once(out: &mut File, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match out.write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::super::wav::tests::Folder;
    use super::*;

    #[test]
    fn lines_are_appended_to_what_is_there() {
        let folder = Folder::new();
        let path = folder.path("events.jsonl");
        std::fs::write(&path, "old\n").unwrap();
        for text in ["one", "two"] {
            let mut log = EventLog::open(&path).unwrap();
            assert_eq!(log.write_line(text).unwrap(), Written::Done);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\none\ntwo\n");
    }

    #[test]
    fn full_disk_is_reported_once() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            return;
        };
        let mut log = EventLog::to(Path::new("/dev/full"), full);
        let error = log.write_line("x").unwrap_err().to_string();
        assert!(
            error.starts_with("writing the event log /dev/full: "),
            "{error}"
        );
        assert_eq!(log.write_line("x").unwrap(), Written::Lost);
    }

    #[test]
    fn line_after_a_half_one_starts_on_its_own() {
        let folder = Folder::new();
        let path = folder.path("events");
        let mut log = EventLog::open(&path).unwrap();
        std::fs::write(&path, "{\"half").unwrap();
        log.state = State::Failing { half_line: true };
        log.write_line("{}").unwrap();
        log.write_line("{}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"half\n{}\n{}\n");
    }

    #[test]
    fn closed_stdout_is_closed_and_stays_so() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut log = EventLog::to(Path::new("-"), OwnedFd::from(writer).into());
        assert_eq!(log.write_line("x").unwrap(), Written::Closed);
        assert_eq!(log.write_line("x").unwrap(), Written::Closed);
    }

    #[test]
    fn missing_folder_is_named() {
        let folder = std::env::temp_dir().join(format!("lr-no-folder-{}", std::process::id()));
        let path = folder.join("events");
        let error = EventLog::open(&path).unwrap_err().to_string();
        let named = error.contains(&*path.to_string_lossy());
        assert!(named && error.contains("create it first"), "{error}");
    }
}
