//! How do others read what this node knows, and tell it what to do? By HTTP/1.1, on a thread of its own.
//!
//! This file knows nothing of stations: each request becomes a [`Question`] to the thread that owns the node, which is woken and
//! answers; so nothing is shared and nothing is locked. Whatever a client does stays here: the number of connections, the
//! sizes and the times are limited, one request is served per connection, and a client that does not read is dropped. A track
//! that still grows is sent in pieces as they come, each asked for when the one before it has gone out, so that a slow client
//! makes nobody hold more than one piece.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next as Handler};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_io_timeout::TimeoutStream;

pub use super::http_question::{Answer, Question, What};
use super::thread;
use super::wait::Waker;
use crate::media::ogg_export::OggOpus;
use crate::wire::block::Block;
use crate::wire::{PlanDigest, TrackId};

/// What a server puts up with. Everything else is refused by name.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time: every heir copies on one, and some people look.
    pub connections: usize,
    /// Of these, from one address: it cannot take them all.
    pub connections_per_address: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// For how long a head may take to arrive.
    pub head: Duration,
    /// For how long a client may read nothing, or a growing track may not grow.
    pub idle: Duration,
    /// For how long the node may take to answer.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 32,
            connections_per_address: 16,
            head_bytes: 16 << 10, // hyper takes no less than 8 KiB
            body_bytes: 1 << 20,
            head: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            answer: Duration::from_secs(2),
        }
    }
}

/// Questions that wait at a time.
const MAX_QUESTIONS: usize = 64;
/// How soon a growing track is asked for again.
const GROW: Duration = Duration::from_millis(50);

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be had.
    #[error("opening the node API on {addr}: {source} (see --http)")]
    Bind {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The event loop cannot be had.
    #[error("setting up the node API: {0}")]
    Runtime(std::io::Error),
    /// No thread.
    #[error(transparent)]
    Thread(#[from] thread::ThreadError),
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct HttpServer {
    addr: SocketAddr,
    refusals: Arc<Refusals>,
    _stop: oneshot::Sender<Infallible>,
}

/// What was refused before the node was asked.
#[derive(Debug, Default)]
struct Refusals {
    bodies: AtomicU64,
    connections: AtomicU64,
}

#[derive(Clone)]
struct Shared {
    refusals: Arc<Refusals>,
    questions: Sender<Question>,
    waker: Waker,
    limits: Limits,
}

impl HttpServer {
    /// Listens on `addr` (port 0: any). Questions come by the receiver, and `waker` says when.
    ///
    /// # Errors
    /// If the address cannot be had, or the system gives no thread.
    pub fn start(
        addr: SocketAddr,
        waker: Waker,
        limits: Limits,
    ) -> Result<(HttpServer, Receiver<Question>), HttpError> {
        let bind = |source| HttpError::Bind { addr, source };
        let listener = std::net::TcpListener::bind(addr).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let local = listener.local_addr().map_err(bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(HttpError::Runtime)?;
        let (questions, receiver) = bounded(MAX_QUESTIONS);
        let (stop, stopped) = oneshot::channel();
        let refusals = Arc::new(Refusals::default());
        let shared = Shared {
            refusals: Arc::clone(&refusals),
            questions,
            waker,
            limits,
        };
        thread::spawn("http", move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok((
            HttpServer {
                addr: local,
                refusals,
                _stop: stop,
            },
            receiver,
        ))
    }

    /// What was refused before the node was asked, by reason.
    pub fn refusals(&self) -> [(&'static str, u64); 2] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("http_body", read(&self.refusals.bodies)),
            ("http_connections", read(&self.refusals.connections)),
        ]
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn serve(listener: std::net::TcpListener, shared: Shared) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let limits = shared.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut addresses: HashMap<IpAddr, Arc<Semaphore>> = HashMap::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            // No descriptors left, most likely; some connection will end.
            tokio::time::sleep(GROW).await;
            continue;
        };
        // One too many is closed at once: waiting in a queue would look like a node that is gone.
        addresses.retain(|_, held| held.available_permits() < limits.connections_per_address);
        let own = addresses
            .entry(from.ip())
            .or_insert_with(|| Arc::new(Semaphore::new(limits.connections_per_address)));
        let held = (
            Arc::clone(own).try_acquire_owned(),
            Arc::clone(&places).try_acquire_owned(),
        );
        let (Ok(own), Ok(place)) = held else {
            shared.refusals.connections.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let router = router(shared.clone(), from);
        tokio::spawn(async move {
            handle(stream, router, limits).await;
            drop((own, place));
        });
    }
}

async fn handle(stream: TcpStream, router: Router, limits: Limits) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.idle));
    let stream = Box::pin(stream);
    let service = TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off is nobody's fault.
    if let Err(error) = connection.await {
        tracing::trace!(%error, "an HTTP connection ended early");
    }
}

#[derive(Clone)]
struct Client {
    shared: Shared,
    from: SocketAddr,
}

fn router(shared: Shared, from: SocketAddr) -> Router {
    Router::new()
        .route(
            "/status",
            get(|State(client): State<Client>| async move { client.content(What::Status).await }),
        )
        .route(
            "/stop",
            post(|State(client): State<Client>| async move { client.content(What::Stop).await }),
        )
        .route(
            "/programme",
            get(
                |State(client): State<Client>| async move { client.content(What::Programme).await },
            )
            .post(append),
        )
        .route("/plan/{digest}", get(plan))
        .route("/tracks/{id}", get(track))
        .fallback(|| async {
            refused(
                404,
                "no such path; see GET /status, /programme, /tracks/{id} and /tracks/{id}.opus",
            )
        })
        .method_not_allowed_fallback(|| async {
            refused(
                405,
                "not with this method: GET reads, POST /programme and POST /stop change",
            )
        })
        .layer(middleware::from_fn(refuse_pages))
        .with_state(Client { shared, from })
}

/// Pages of any web site can post to this machine: browsers say so, and what they post is refused.
async fn refuse_pages(request: Request, next: Handler) -> Response {
    let is_page = request.headers().contains_key(header::ORIGIN);
    if is_page && request.method() == Method::POST {
        return refused(
            403,
            "no web page changes a station; use lanradio, or a program of your own",
        );
    }
    next.run(request).await
}

async fn append(State(client): State<Client>, body: Body) -> Response {
    let limits = client.shared.limits;
    let read = axum::body::to_bytes(body, limits.body_bytes);
    match tokio::time::timeout(limits.idle, read).await {
        Ok(Ok(bytes)) => client.content(What::Append(bytes.to_vec())).await,
        said => {
            let bodies = &client.shared.refusals.bodies;
            bodies.fetch_add(1, Ordering::Relaxed);
            match said {
                Err(_) => refused(408, "the body did not come in time"),
                _ => refused(
                    413,
                    &format!("a body of more than {} bytes", limits.body_bytes),
                ),
            }
        }
    }
}

async fn plan(State(client): State<Client>, Path(digest): Path<String>) -> Response {
    match u32::from_str_radix(&digest, 16) {
        Ok(digest) if digest < 1 << 24 => client.content(What::Plan(PlanDigest(digest))).await,
        _ => refused(404, "a plan is named by six hexadecimal digits"),
    }
}

#[derive(serde::Deserialize)]
struct Piece {
    #[serde(default)]
    from: u64,
    /// Only what is there now.
    once: Option<String>,
}

async fn track(
    State(client): State<Client>,
    Path(name): Path<String>,
    Query(piece): Query<Piece>,
) -> Response {
    let (id, file) = match name.strip_suffix(".opus") {
        Some(id) => (id, true),
        None => (&*name, false),
    };
    let Some(track) = track_id(id) else {
        return refused(404, "a track is named by 32 hexadecimal digits");
    };
    if file {
        return client.file(track).await;
    }
    client.frames(track, piece.from, piece.once.is_some()).await
}

fn track_id(text: &str) -> Option<TrackId> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then(|| TrackId(number.to_be_bytes()))
}

fn refused(status: u16, why: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::json!({ "error": why }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn content(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

const BLOCKS: &str = "application/octet-stream";

impl Client {
    /// Asks the node.
    async fn ask(&self, what: What) -> Answer {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            what,
            from: self.from,
            answer,
        };
        match self.shared.questions.try_send(question) {
            Ok(()) => self.shared.waker.wake(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                return Answer::Refused(503, "too many requests at a time; try again".into());
            }
        }
        let answered = tokio::time::timeout(self.shared.limits.answer, answered).await;
        match answered {
            Ok(Ok(answer)) => answer,
            _ => Answer::Refused(503, "the node does not answer; try again".into()),
        }
    }

    async fn content(&self, what: What) -> Response {
        match self.ask(what).await {
            Answer::Content { kind, bytes } => content(kind, bytes),
            Answer::Frames { bytes, .. } => content(BLOCKS, bytes),
            Answer::File { .. } => refused(500, "a file where there is none"),
            Answer::Refused(status, why) => refused(status, &why),
        }
    }

    /// A track as a file. It is put together here: an hour of music would keep the node from its deadlines.
    async fn file(self, track: TrackId) -> Response {
        let (title, artist, frames) = match self.ask(What::File(track)).await {
            Answer::File {
                title,
                artist,
                frames,
            } => (title, artist, frames),
            Answer::Refused(status, why) => return refused(status, &why),
            _ => return refused(500, "no file where there should be one"),
        };
        let begun = (self, OggOpus::new(&title, &artist, frames));
        let pieces =
            futures_util::stream::try_unfold(begun, move |(client, mut file)| async move {
                if file.is_complete() {
                    return Ok(None);
                }
                let from = file.written();
                let Answer::Frames { bytes, .. } = client.ask(What::Frames { track, from }).await
                else {
                    return Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
                };
                let mut rest = bytes.as_slice();
                while let Ok((block, after)) = Block::parse(rest) {
                    block.packets.iter().for_each(|packet| file.push(packet));
                    rest = after;
                }
                if file.written() == from {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
                }
                Ok(Some((Bytes::from(file.take()), (client, file))))
            });
        content("audio/ogg", Body::from_stream(pieces))
    }

    /// Frames as they are there, or as they come.
    async fn frames(self, track: TrackId, from: u64, once: bool) -> Response {
        let (first, next, complete) = match self.ask(What::Frames { track, from }).await {
            Answer::Frames {
                bytes,
                next,
                complete,
            } => (bytes, next, complete),
            Answer::Refused(status, why) => return refused(status, &why),
            Answer::Content { kind, bytes } => return content(kind, bytes),
            Answer::File { .. } => return refused(500, "a file where frames were asked for"),
        };
        if once || complete {
            return content(BLOCKS, first);
        }
        let begun = Next::Piece(self, first, next);
        let pieces = futures_util::stream::unfold(begun, move |state| async move {
            match state {
                Next::Piece(client, piece, next) => {
                    Some((Ok(Bytes::from(piece)), client.next_piece(track, next).await))
                }
                // Broken off, not ended: half a track must not look like a whole one.
                Next::Stalled => Some((Err(std::io::ErrorKind::TimedOut), Next::Complete)),
                Next::Complete => None,
            }
        });
        let pieces = futures_util::TryStreamExt::map_err(pieces, std::io::Error::from);
        content(BLOCKS, Body::from_stream(pieces))
    }

    /// The next piece of a growing track, as soon as there is one.
    async fn next_piece(self, track: TrackId, from: u64) -> Next {
        let mut waited = Duration::ZERO;
        loop {
            match self.ask(What::Frames { track, from }).await {
                Answer::Frames { bytes, next, .. } if !bytes.is_empty() => {
                    return Next::Piece(self, bytes, next);
                }
                Answer::Frames {
                    complete: false, ..
                } if waited < self.shared.limits.idle => {
                    tokio::time::sleep(GROW).await;
                    waited += GROW;
                }
                Answer::Frames { complete: true, .. } => return Next::Complete,
                _ => return Next::Stalled,
            }
        }
    }
}

/// What comes after a piece of a growing track.
enum Next {
    /// Another one, and the frame after it.
    Piece(Client, Vec<u8>, u64),
    /// Nothing: it is all there.
    Complete,
    /// Nothing, though there should be more.
    Stalled,
}

#[cfg(test)]
#[path = "http_server_tests.rs"]
mod tests;
