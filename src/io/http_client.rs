//! How does a node copy from another, or tell it something? By HTTP/1.1, one request after the other, on a thread of its own.
//!
//! Answers have a limit in bytes and in time, and are read no faster than a rate: what plays now goes first. An answer that
//! comes too late is still told, so that whoever asked knows that nothing is under way any more.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::thread;
use super::wait::Waker;

/// Requests that wait.
const MAX_JOBS: usize = 16;
/// How long a node may take to take a connection.
const CONNECT: Duration = Duration::from_millis(500);
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The longest text of a refusal that is passed on, in bytes.
const MAX_REFUSAL_BYTES: u64 = 1_024;

/// One request.
#[derive(Clone, Debug)]
pub struct Job {
    /// Comes back with the answer.
    pub key: u64,
    /// Whom to ask.
    pub addr: SocketAddr,
    /// Path and query.
    pub path: String,
    /// None: GET; else POST with this body.
    pub body: Option<Vec<u8>>,
    /// More bytes than this are an error.
    pub limit_bytes: usize,
    /// How long it may take in all.
    pub patience: Duration,
}

/// Its answer.
#[derive(Debug)]
pub struct Fetched {
    /// That of the job.
    pub key: u64,
    /// The body, or why there is none.
    pub result: Result<Vec<u8>, FetchError>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody is there, or it took too long.
    #[error("asking {addr} for {path}: {why}")]
    Failed {
        /// Who was asked.
        addr: SocketAddr,
        /// What for.
        path: String,
        /// What happened.
        why: String,
    },
    /// The node said no.
    #[error("{addr} refuses {path}: {why} (HTTP {status})")]
    Refused {
        /// Who was asked.
        addr: SocketAddr,
        /// What for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        why: String,
    },
    /// More than was asked for.
    #[error("{addr} sends more than {limit_bytes} bytes for {path}")]
    TooLong {
        /// Who was asked.
        addr: SocketAddr,
        /// What for.
        path: String,
        /// What is taken at most.
        limit_bytes: usize,
    },
}

/// A thread that asks; it ends when this is dropped.
#[derive(Debug)]
pub struct Fetcher {
    jobs: Sender<Job>,
}

impl Fetcher {
    /// Starts it. Answers come by the receiver, and `waker` says when; no more than `bytes_per_second` are read.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        waker: Waker,
        bytes_per_second: u32,
    ) -> Result<(Fetcher, Receiver<Fetched>), thread::ThreadError> {
        let (jobs, waiting) = bounded::<Job>(MAX_JOBS);
        let (answers, receiver) = bounded(MAX_JOBS * 2);
        thread::spawn("fetch", move || {
            while let Ok(job) = waiting.recv() {
                let result = fetch(&job, bytes_per_second);
                if answers
                    .send(Fetched {
                        key: job.key,
                        result,
                    })
                    .is_err()
                {
                    return;
                }
                waker.wake();
            }
        })?;
        Ok((Fetcher { jobs }, receiver))
    }

    /// Asks. `false` if too many requests wait.
    pub fn submit(&self, job: Job) -> bool {
        match self.jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

/// Asks once, and waits for the answer.
///
/// # Errors
/// Says who did not answer what, and why.
pub fn fetch(job: &Job, bytes_per_second: u32) -> Result<Vec<u8>, FetchError> {
    let failed = |why: String| FetchError::Failed {
        addr: job.addr,
        path: job.path.clone(),
        why,
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(job.patience))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let url = format!("http://{}{}", job.addr, job.path);
    let response = match &job.body {
        None => agent.get(&url).header("connection", "close").call(),
        Some(body) => agent.post(&url).header("connection", "close").send(body),
    };
    let mut response = response.map_err(|error| failed(error.to_string()))?;
    let status = response.status().as_u16();
    if status != 200 {
        let mut said = String::new();
        let reader = response.body_mut().as_reader();
        let _partial = reader.take(MAX_REFUSAL_BYTES).read_to_string(&mut said);
        let told: Option<serde_json::Value> = serde_json::from_str(&said).ok();
        let why = told.and_then(|told| Some(told.get("error")?.as_str()?.to_owned()));
        return Err(FetchError::Refused {
            addr: job.addr,
            path: job.path.clone(),
            status,
            why: why.unwrap_or_else(|| "no reason given".into()),
        });
    }
    let mut reader = response.body_mut().as_reader();
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = reader
            .read(&mut chunk)
            .map_err(|error| failed(error.to_string()))?;
        if read == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&chunk[..read]);
        if bytes.len() > job.limit_bytes {
            return Err(FetchError::TooLong {
                addr: job.addr,
                path: job.path.clone(),
                limit_bytes: job.limit_bytes,
            });
        }
        pause(read, bytes_per_second);
    }
}

/// As long as so many bytes may take.
fn pause(bytes: usize, bytes_per_second: u32) {
    let micros = bytes as u64 * 1_000_000 / u64::from(bytes_per_second.max(1));
    // Nothing comes by a channel that nobody sends to: this is a wait that ends by its time.
    let never = crossbeam_channel::never::<()>();
    let _timed_out = never.recv_timeout(Duration::from_micros(micros));
}
