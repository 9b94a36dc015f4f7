//! How does a test give a process a terminal?

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sched::{CloneFlags, unshare};

/// A terminal of `columns` columns; what is written to its slave side is read at its master side.
pub(crate) fn terminal(columns: u16) -> OpenptyResult {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    openpty(Some(&size), None).unwrap_or_else(|_| terminal_of_our_own(size))
}

/// The same in a chroot, which has no `/dev/pts`: a thread mounts one that only it sees; what it opened outlives it.
fn terminal_of_our_own(size: Winsize) -> OpenptyResult {
    let open = move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let keep_to_us = |path| mount(None::<&str>, path, None::<&str>, private, None::<&str>);
        keep_to_us("/").or_else(|_| keep_to_us("/dev"))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        let options = "newinstance,ptmxmode=0666,mode=0620";
        mount(
            Some("devpts"),
            "/dev/pts",
            Some("devpts"),
            flags,
            Some(options),
        )?;
        openpty(Some(&size), None)
    };
    thread::spawn(open)
        .join()
        .unwrap()
        .expect("a terminal needs /dev/pts, or root to mount one")
}

/// A terminal as a stdin, with its other end, which must be kept as long as the process runs.
pub(crate) fn terminal_stdin() -> (Stdio, OwnedFd) {
    let OpenptyResult { master, slave } = terminal(80);
    (Stdio::from(slave), master)
}
