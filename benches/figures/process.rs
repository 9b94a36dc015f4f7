//! What did a process use? Its CPU clock counts nanoseconds and includes threads that have ended; `/proc/PID/stat` counts
//! ticks of 10 ms, too coarse for 0.8 % of a core, and `/proc/PID/schedstat` only the first thread.

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// A running process that is killed when it goes out of scope.
pub(crate) struct Process {
    what: String,
    child: Child,
}

impl Process {
    /// Starts `command`, which has no business with our standard input and output.
    pub(crate) fn start(command: &mut Command) -> Result<Process, String> {
        let what = format!("{:?}", command.get_program());
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("starting {what}: {error}"))?;
        Ok(Process { what, child })
    }

    /// CPU time used so far by all threads, also after the process has ended (until it is waited for).
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let clock = ClockId::pid_cpu_clock_id(self.pid()).and_then(clock_gettime);
        clock
            .map(Duration::from)
            .map_err(|error| format!("reading the CPU clock of {}: {error}", self.what))
    }

    /// Per cent of a core over the next `span`.
    pub(crate) fn cpu_percent(&self, span: Duration) -> Result<f64, String> {
        let (began, used) = (Instant::now(), self.cpu()?);
        sleep(span);
        let (wall, used) = (began.elapsed(), self.cpu()? - used);
        Ok(100.0 * used.as_secs_f64() / wall.as_secs_f64())
    }

    /// The most memory that the process ever had resident, in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status =
            fs::read_to_string(&path).map_err(|error| format!("reading {path}: {error}"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.parse::<f64>().ok())
            .map(|kib| kib / 1024.0)
            .ok_or(format!("{path} has no VmHWM: {} has ended", self.what))
    }

    /// Waits until the process ends by itself; its CPU time.
    pub(crate) fn cpu_at_end(mut self, limit: Duration) -> Result<Duration, String> {
        let deadline = Instant::now() + limit;
        // WNOWAIT leaves a zombie, whose clock can still be read.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        while matches!(
            waitid(Id::Pid(self.pid()), flags),
            Ok(WaitStatus::StillAlive)
        ) {
            if Instant::now() > deadline {
                return Err(format!("{} did not end in {limit:?}", self.what));
            }
            sleep(Duration::from_millis(20));
        }
        let cpu = self.cpu()?;
        let status = self.reap()?;
        if !status.success() {
            return Err(format!("{} failed: {status}", self.what));
        }
        Ok(cpu)
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        kill(self.pid(), Signal::SIGTERM)
            .map_err(|error| format!("stopping {}: {error}", self.what))?;
        for _ in 0..150 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(format!("{} did not heed SIGTERM for 3 s", self.what))
    }

    fn reap(&mut self) -> Result<ExitStatus, String> {
        self.child
            .wait()
            .map_err(|error| format!("waiting for {}: {error}", self.what))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
