//! What do `send` and `listen` share? Both are nodes of a station: they hold its frames, copy what they have not heard, answer
//! others, and take over when the leader is gone.
//!
//! The command's own thread owns all of this. HTTP has two threads of its own, one that answers and one that asks; they talk to
//! this one by channels and the waker.

mod copies;
mod reception;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::json;

use super::api;
use super::console::Console;
use super::error::AppError;
use super::events::term_json;
use super::session::Session;
use crate::io::http_client::{Fetched, Fetcher, Job};
use crate::io::http_server::{HttpError, HttpServer, Limits, Question};
use crate::io::random;
use crate::io::wait::Waker;
use crate::media::library::Library;
use crate::station::node::{Config, Event, Fetch, Node, Output, Repaired};
use crate::station::programme::MAX_PLAN_BYTES;
use crate::station::reception::{Heard, Reception};
use crate::time::Instant;
use crate::wire::media::MediaPacket;
use crate::wire::{FrameIndex, PlanDigest, StationId, TrackId};

/// Copies are made no faster than this: a third of a 100 Mbit/s network, whatever plays.
const COPY_BYTES_PER_SECOND: u32 = 4 << 20;
/// The most that one answer may have.
const MAX_ANSWER_BYTES: usize = api::PIECE_BYTES + (128 << 10);
/// How long one may take.
const PATIENCE: Duration = Duration::from_millis(900);
/// So many refusals in a row are told of: 1.5 s.
const TOLD_REFUSAL: u32 = 3;

/// What a leader says that is asked to leave.
pub const HANDING_OVER: &str = "handing over to another node, as soon as one has all of it; Ctrl-C again to leave now, \
     lanradio stop to end it for everybody";

/// What kind of member a command is.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// It has something to send.
    pub sends: bool,
    /// It takes over if it has to.
    pub standby: bool,
    /// Its place among heirs that are as good.
    pub priority: i16,
    /// Memory for encoded frames.
    pub cache_bytes: u64,
    /// Where the node API listens; none: any port of the station's interface.
    pub http: Option<SocketAddr>,
    /// How many nodes have to agree, if it founds the station; none: 1.
    pub quorum: Option<u16>,
    /// The station's buffer, if it founds one.
    pub buffer: Duration,
    /// Play the list for ever.
    pub looped: bool,
    /// The station and the first frame, if it founds one.
    pub found: (StationId, FrameIndex),
}

/// A node with what it holds, and its connections.
pub struct Member {
    /// The state machine.
    pub node: Node,
    /// The frames.
    pub library: Library,
    server: HttpServer,
    questions: Receiver<Question>,
    /// Where the user wants the node API to listen.
    http: Option<SocketAddr>,
    /// What servers before this one refused.
    refused_before: BTreeMap<&'static str, u64>,
    /// Whether what is sent to all reaches this node.
    reception: Reception,
    fetcher: Fetcher,
    fetched: Receiver<Fetched>,
    asked: BTreeMap<u64, Asked>,
    next_key: u64,
    /// What the last `replica` events said: held frames by track of the list, of which there are at most `MAX_TRACKS`.
    told: BTreeMap<TrackId, (u64, Option<u64>)>,
    /// That the cache is full was said.
    full_told: bool,
    /// How often in a row the leader did not take what is sent here, and that it was said.
    refusals: u32,
    refusal_told: bool,
    send_failing: bool,
    /// The quorum that the user asked for, until it is known whether the station has it.
    quorum: Option<u16>,
}

/// What is under way.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Plan(PlanDigest),
    Frames(TrackId),
    Submission,
}

/// What a node did, for its owner.
#[derive(Default)]
pub struct Done {
    /// What the owner tells in its own way.
    pub events: Vec<Event>,
    /// Media packets that this node sent.
    pub media: Vec<Vec<u8>>,
    /// Control messages that it sent to the group: its heartbeats, if it leads, and others.
    pub controls: Vec<Vec<u8>>,
    /// Media packets from its own copy, for the frames that the player misses.
    pub repairs: Vec<Vec<u8>>,
}

impl Member {
    /// Starts the node and its API.
    ///
    /// # Errors
    /// If the API's address cannot be had, or the system gives no threads or random numbers.
    pub fn start(
        config: &MemberConfig,
        session: &mut Session,
        console: &mut dyn Console,
    ) -> Result<Member, AppError> {
        let local = session.sockets.local_addr().ip();
        let waker = session.waiter.waker();
        let (server, questions) = open_api(config.http, local, 0, waker.clone())?;
        let (fetcher, fetched) = Fetcher::start(waker, COPY_BYTES_PER_SECOND)?;
        let at = server.local_addr();
        let http_port = port_for_others(&server, local);
        if http_port == 0 && config.standby {
            let any = match local {
                IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let remedy = SocketAddr::new(any, at.port());
            let text = format!(
                "others reach this node at {local}, not at {at}: while it leads, nobody can copy the programme, take over from it, add \
                 to it or stop it; with --http {remedy} they can"
            );
            session.warn(console, &text);
        }
        let node = Node::new(
            Config {
                node: session.node,
                name: session.name.clone(),
                station: config.found.0,
                sends: config.sends,
                standby: config.standby,
                priority: config.priority,
                quorum: config.quorum.unwrap_or(1),
                http_port,
                seed: random::node_id()?,
                buffer: config.buffer,
                looped: config.looped,
                first_frame: config.found.1,
            },
            session.clock.now(),
        );
        let now = session.clock.now();
        let mut reception = Reception::new(now, random::node_id()?, session.began_down);
        if let Some(every) = super::debug::renewal() {
            reception.set_renewal(every);
        }
        Ok(Member {
            node,
            library: Library::new(config.cache_bytes),
            server,
            questions,
            http: config.http,
            refused_before: BTreeMap::new(),
            reception,
            fetcher,
            fetched,
            asked: BTreeMap::new(),
            next_key: 0,
            told: BTreeMap::new(),
            full_told: false,
            refusals: 0,
            refusal_told: false,
            send_failing: false,
            quorum: config.quorum,
        })
    }

    /// A packet of another node was heard: the node thinks about it, and the frame is kept.
    pub fn hear_media(&mut self, packet: &MediaPacket<'_>, arrived: Instant, now: Instant) {
        if self.node.handle_media(packet, arrived, now) {
            self.reception.handle(Heard::Media, arrived);
        }
        if let Some((track, k)) = self.node.place(packet) {
            self.library.keep(track, k, packet.payload);
        }
    }

    /// A repair came: it is kept, too.
    pub fn hear_repair(
        &mut self,
        from: SocketAddr,
        packet: &MediaPacket<'_>,
        group: bool,
        now: Instant,
    ) -> Repaired {
        let repaired = self.node.handle_repair(from, packet, group, now);
        if repaired != Repaired::Refused
            && let Some((track, k)) = self.node.place(packet)
        {
            self.library.keep(track, k, packet.payload);
        }
        repaired
    }

    /// One turn: what came from other threads, then what is due. Call it after all sockets were read.
    pub fn turn(&mut self, session: &mut Session, console: &mut dyn Console) {
        while let Ok(fetched) = self.fetched.try_recv() {
            self.take(fetched, session, console);
        }
        while let Ok(question) = self.questions.try_recv() {
            let own = session.sockets.local_addr();
            let answer = api::answer(self, &question, own, session.clock.now());
            question.answer(answer);
        }
        self.attend_reception(session, console);
        self.node.handle_timeout(session.clock.now(), &self.library);
    }

    /// Does what the node decided.
    pub fn act(&mut self, session: &mut Session, console: &mut dyn Console) -> Done {
        let mut done = Done::default();
        while let Some(output) = self.node.poll_output() {
            let sent = match output {
                Output::Media(bytes) => {
                    let sent = session.sockets.send_media(&bytes);
                    done.media.push(bytes);
                    sent
                }
                Output::Rtcp(bytes) => session.sockets.send_rtcp(&bytes),
                Output::Control { to: None, bytes } => {
                    let sent = session.sockets.send_control(&bytes);
                    done.controls.push(bytes);
                    sent
                }
                Output::Control { to: Some(_), .. } if session.is_cut_off() => continue,
                Output::Control {
                    to: Some(to),
                    bytes,
                } => session.sockets.send_to(to, &bytes),
                Output::Repair(bytes) => {
                    done.repairs.push(bytes);
                    continue;
                }
                Output::Submit { to, bytes } => {
                    self.ask(
                        to,
                        "/programme".into(),
                        Some(bytes),
                        Asked::Submission,
                        1 << 10,
                    );
                    continue;
                }
                Output::Fetch(fetch) => {
                    self.fetch(fetch, session.clock.now());
                    continue;
                }
                Output::Event(event) => {
                    done.events.extend(tell_succession(event, session, console));
                    continue;
                }
            };
            match sent {
                Ok(()) => self.send_failing = false,
                Err(error) if !self.send_failing => {
                    self.send_failing = true;
                    let text = format!(
                        "sending on {}: {error}; it goes on when the network is back",
                        session.interface()
                    );
                    session.warn(console, &text);
                }
                Err(_) => {}
            }
        }
        done
    }

    fn fetch(&mut self, fetch: Fetch, now: Instant) {
        let (addr, path, asked, limit_bytes) = match fetch {
            Fetch::Plan { from, digest } => {
                let path = format!("/plan/{:06x}", digest.0);
                (from, path, Asked::Plan(digest), MAX_PLAN_BYTES)
            }
            Fetch::Frames { from, track, first } => {
                let path = format!("/tracks/{track}?from={first}&once");
                (from, path, Asked::Frames(track), MAX_ANSWER_BYTES)
            }
        };
        let is_asked = self.ask(addr, path, None, asked, limit_bytes);
        if let (false, Asked::Frames(_)) = (is_asked, asked) {
            self.node.handle_frames(false, now);
        }
    }

    fn ask(
        &mut self,
        addr: SocketAddr,
        path: String,
        body: Option<Vec<u8>>,
        asked: Asked,
        limit_bytes: usize,
    ) -> bool {
        self.next_key += 1;
        let key = self.next_key;
        let job = Job {
            key,
            addr,
            path,
            body,
            limit_bytes,
            patience: PATIENCE,
        };
        let is_asked = self.fetcher.submit(job);
        if is_asked {
            self.asked.insert(key, asked);
        }
        is_asked
    }

    /// Whether more frames fit. What was played long ago is dropped first; if that is not enough, what might be asked for again.
    pub fn make_room(&mut self) -> bool {
        let playing = self.node.programme().place(self.node.play_position());
        self.library.has_room(self.node.first_needed()) || self.library.has_room(playing)
    }

    /// Once a second: makes room, and says how far the copies are.
    pub fn look_after(&mut self, session: &mut Session, console: &mut dyn Console) {
        self.compare_quorum(session, console);
        self.make_room();
        self.forget_played();
        let programme = self.node.programme();
        let listed = programme.list().tracks();
        self.library.retain(|track| {
            listed.iter().any(|listed| listed.id == track)
                || programme
                    .tracks_from(FrameIndex(0))
                    .any(|entry| entry.track == track)
        });
        self.told
            .retain(|track, _| listed.iter().any(|listed| listed.id == *track));
        // Who is no standby keeps no copies worth a word.
        let stays = self.node.config().standby;
        let copied = (listed.iter()).filter(|track| stays && track.owner != session.node);
        let copied: Vec<_> = copied.map(|track| (track.id, track.frames)).collect();
        for (track, frames) in copied {
            self.tell_copied(track, frames, session, console);
        }
    }

    /// Says so if the station's quorum is not the one that the user asked for.
    fn compare_quorum(&mut self, session: &mut Session, console: &mut dyn Console) {
        if let (Some(asked), Some(rules)) = (self.quorum, self.node.station_quorum()) {
            self.quorum = None;
            if asked != rules {
                let text = format!(
                    "the station's quorum is {rules}, as its founder set it: --quorum {asked} has no effect here"
                );
                session.warn(console, &text);
            }
        }
    }

    /// What the node, its API and its copies refused since the start, by reason.
    pub fn rejected(&self) -> BTreeMap<&'static str, u64> {
        let mut all = self.node.rejected().clone();
        let now = self.server.refusals().into_iter();
        let before = self
            .refused_before
            .iter()
            .map(|(reason, count)| (*reason, *count));
        for (reason, count) in now.chain(before).filter(|(_, count)| *count > 0) {
            *all.entry(reason).or_default() += count;
        }
        all
    }

    /// Whether an address may change things: this machine, or one of a member.
    pub fn is_member(&self, from: IpAddr, own: IpAddr) -> bool {
        from.is_loopback()
            || from == own
            || self
                .node
                .roster()
                .peers()
                .any(|(_, peer)| peer.addr.ip() == from)
    }
}

/// The node API: where the user wants it, or at this node's own address.
fn open_api(
    http: Option<SocketAddr>,
    local: IpAddr,
    port: u16,
    waker: Waker,
) -> Result<(HttpServer, Receiver<Question>), HttpError> {
    let addr = http.unwrap_or(SocketAddr::new(local, port));
    HttpServer::start(addr, waker, Limits::default())
}

/// The port by which others find it at the address that they know this node by; 0 if they do not.
fn port_for_others(server: &HttpServer, local: IpAddr) -> u16 {
    let at = server.local_addr();
    let found = at.ip().is_unspecified() || at.ip() == local;
    if found { at.port() } else { 0 }
}

/// Tells of who leads and who covers; what is not about that is the owner's to tell.
fn tell_succession(
    event: Event,
    session: &mut Session,
    console: &mut dyn Console,
) -> Option<Event> {
    let events = &mut session.events;
    match event {
        Event::Covering { frame } => {
            events.write("covering", json!({ "frame": frame.0 }));
            console.detail(&format!(
                "the leader is silent; covering from frame {frame} on"
            ));
        }
        Event::CoverEnd { frame, sent } => {
            events.write("cover_end", json!({ "frame": frame.0, "sent": sent }));
            console.detail(&format!("covered {sent} frames, up to {frame}"));
        }
        Event::TookOver {
            term,
            frame,
            silence,
        } => {
            let silence_ms = silence.as_millis() as u64;
            let fields =
                json!({ "term": term_json(term), "frame": frame.0, "silence_ms": silence_ms });
            events.write("took_over", fields);
            console.note(&format!("this node leads now, from frame {frame} on"));
        }
        Event::Solo { frame } => {
            events.write("solo", json!({ "frame": frame.0 }));
            console.note("nobody else is heard; going on alone");
        }
        Event::SteppedDown { reason } => {
            events.write("stepped_down", json!({ "reason": reason }));
            console.note(&format!("this node does not lead any more: {reason}"));
        }
        Event::HandedOver { to, frame } => {
            let fields = json!({ "to": to.to_string(), "frame": frame.0 });
            events.write("handed_over", fields);
            console.note(&format!(
                "handed over at frame {frame}; the programme goes on (lanradio stop ends it for everybody)"
            ));
        }
        other => return Some(other),
    }
    None
}
