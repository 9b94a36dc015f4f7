//! What does a node answer to a request? (The paths are in `io::http_server`.)

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::fares::report_json;
use super::member::Member;
use crate::io::http_server::{Answer, Question, What};
use crate::io::terminal::sanitize;
use crate::station::Frames;
use crate::station::node::SubmissionError;
use crate::time::Instant;
use crate::wire::control::EndReason;
use crate::wire::ids::FRAME_MICROS;
use crate::wire::report::Report;
use crate::wire::{NodeId, TrackId};

/// Bytes of frames in one answer: 16 s at 128 kbit/s.
pub const PIECE_BYTES: usize = 256 << 10;
const JSON: &str = "application/json";

/// Answers one question.
pub fn answer(member: &mut Member, question: &Question, own: SocketAddr, now: Instant) -> Answer {
    let may_change = member.is_member(question.from.ip(), own.ip());
    match &question.what {
        What::Status => status(member, own, now),
        What::Programme => content(programme(member)),
        What::Plan(digest) => match member.node.plan_bytes(*digest) {
            Some(bytes) => Answer::Content {
                kind: "application/octet-stream",
                bytes,
            },
            None => Answer::Refused(404, format!("plan {:06x} is not held here", digest.0)),
        },
        What::Frames { track, from } => frames(member, *track, *from),
        What::File(track) => file(member, *track),
        What::Stop | What::Append(_) if !may_change => Answer::Refused(
            403,
            "only this machine and members of the station change things; run lanradio there".into(),
        ),
        What::Stop => {
            if member.node.handle_stop(EndReason::Stopped, now) {
                content(json!({ "stopped": true }))
            } else {
                Answer::Refused(
                    409,
                    "this node does not lead; ask the leader (see lanradio status)".into(),
                )
            }
        }
        What::Append(bytes) => match member.node.handle_submission(bytes, now) {
            Ok(()) => content(json!({ "accepted": true })),
            Err(error @ SubmissionError::Malformed(_)) => Answer::Refused(400, error.to_string()),
            Err(error) => Answer::Refused(409, error.to_string()),
        },
    }
}

fn content(value: Value) -> Answer {
    Answer::Content {
        kind: JSON,
        bytes: value.to_string().into_bytes(),
    }
}

fn frames(member: &Member, track: TrackId, from: u64) -> Answer {
    let library = &member.library;
    let listed = member.node.programme().listed(track);
    if listed.is_none() && library.end(track) == 0 {
        return Answer::Refused(404, format!("track {track} is not in this programme"));
    }
    let (bytes, next) = library.blocks(track, from, PIECE_BYTES);
    let length = listed.and_then(|listed| listed.frames);
    Answer::Frames {
        bytes,
        next,
        complete: length.is_some_and(|length| next >= length),
    }
}

fn file(member: &Member, track: TrackId) -> Answer {
    let Some(listed) = member.node.programme().listed(track) else {
        return Answer::Refused(404, format!("track {track} is not in this programme"));
    };
    let held = member.library.held_from(track, 0);
    let Some(frames) = listed.frames.filter(|frames| held >= *frames) else {
        return Answer::Refused(
            409,
            format!("only the first {held} frames of track {track} are here"),
        );
    };
    Answer::File {
        title: listed.title.clone(),
        artist: listed.artist.clone(),
        frames,
    }
}

/// `GET /programme`.
fn programme(member: &Member) -> Value {
    let programme = member.node.programme();
    let played = member.node.play_position();
    let entries = programme.tracks_from(played).map(|entry| {
        json!({
            "track": entry.track.to_string(), "title": entry.title, "artist": entry.artist,
            "first_frame": entry.first.0, "frames": entry.frames,
        })
    });
    let waiting = programme.list().waiting().iter().map(|track| {
        json!({
            "track": track.id.to_string(), "title": track.title, "artist": track.artist,
            "first_frame": null, "frames": track.frames,
        })
    });
    json!({
        "version": programme.version(), "looped": programme.list().is_looped(),
        "tracks": entries.chain(waiting).collect::<Vec<_>>(),
    })
}

/// `GET /status`: as DESIGN 5 has it for `status --json`, and how each node fares.
fn status(member: &Member, own: SocketAddr, now: Instant) -> Answer {
    let node = &member.node;
    let station = (
        node.followed_term(),
        node.station_quorum(),
        node.station_buffer(),
    );
    let (Some(term), Some(quorum), Some(buffer)) = station else {
        return Answer::Refused(404, "this node hears no station".into());
    };
    let position = node.play_position();
    let programme = node.programme();
    let playing = programme.track_at(position).map(|entry| {
        let position = entry.from + position.since(entry.first);
        let duration = entry.frames.map(|frames| frames * FRAME_MICROS / 1_000);
        json!({
            "title": sanitize(&entry.title), "artist": sanitize(&entry.artist),
            "position_ms": position * FRAME_MICROS / 1_000, "duration_ms": duration,
        })
    });
    let planned = programme
        .tracks_from(position)
        .skip(usize::from(playing.is_some()));
    let planned = planned.map(|entry| (&entry.title, &entry.artist, entry.frames));
    let waiting = programme.list().waiting().iter();
    let waiting = waiting.map(|track| (&track.title, &track.artist, track.frames));
    let queue = planned.chain(waiting).map(|(title, artist, frames)| {
        let duration = frames.map(|frames| frames * FRAME_MICROS / 1_000);
        json!({ "title": sanitize(title), "artist": sanitize(artist), "duration_ms": duration })
    });
    let me = node.config();
    let heirs = node.roster().heirs();
    let role = |id: NodeId, standby: bool| match (id == term.leader, standby) {
        (true, _) => "leader",
        (_, true) => "standby",
        (_, false) => "listener",
    };
    let rank = |id: NodeId| heirs.iter().position(|heir| *heir == id);
    let describe = |(id, name, addr): (NodeId, &str, SocketAddr),
                    standby,
                    report: Option<(Report, f64)>| {
        let (report, age_s) = report.unzip();
        let mut value = json!({
            "id": id.to_string(), "name": sanitize(name), "addr": addr.to_string(), "role": role(id, standby), "rank": rank(id),
        });
        if let (Some(value), Value::Object(fares)) =
            (value.as_object_mut(), report_json(report.as_ref(), age_s))
        {
            value.extend(fares);
        }
        value
    };
    let own = describe(
        (me.node, &me.name, own),
        me.standby,
        Some((node.report(), 0.0)),
    );
    let leads = node.term().is_some();
    let others = node.roster().peers().filter(|(_, peer)| !peer.fell_silent);
    let others = others.map(|(id, peer)| {
        // Reports are for the leader: what another one heard when it led is old.
        let report = peer.report.filter(|_| leads);
        let report = report.map(|(report, at)| (report, now.since(at).as_secs_f64()));
        describe((id, &peer.name, peer.addr), peer.standing.standby, report)
    });
    content(json!({
        "station": me.station.to_string(), "name": node.leader_name(),
        "term": super::events::term_json(term), "leader": term.leader.to_string(), "quorum": quorum,
        "buffer_ms": buffer.as_millis() as u64, "playing": playing, "queue": queue.collect::<Vec<_>>(),
        "nodes": std::iter::once(own).chain(others).collect::<Vec<_>>(),
    }))
}
