//! `lanradio sdp`: asks who is on air, and writes the session description.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::console::{Console, title_of};
use super::error::AppError;
use super::session::{CommonConfig, Session};
use crate::io::sockets::{Join, MAX_DATAGRAM};
use crate::io::terminal::sanitize;
use crate::wire::control::{Heartbeat, Hello, Message, State};
use crate::wire::election::Standing;
use crate::wire::sdp::Description;

/// How long a station has to answer.
const PATIENCE: Duration = Duration::from_millis(300);
/// When the question is asked again, in case it was lost.
const AGAIN: Duration = Duration::from_millis(100);

/// The description of the station, or of the group if no station answers.
///
/// # Errors
/// If the interface or the sockets cannot be used.
pub fn run(config: &CommonConfig, console: &mut dyn Console) -> Result<String, AppError> {
    let mut session = Session::begin(config, Join::CONTROL, console)?;
    let answer = ask(&mut session, PATIENCE, console);
    let description = match &answer {
        Some((beat, from)) => Description {
            origin: u64::from(beat.station.0),
            address: from.ip(),
            group: session.group,
            ttl: u32::from(config.ttl),
            name: name_of(beat),
        },
        None => Description {
            origin: 0,
            address: source_of(&session),
            group: session.group,
            ttl: u32::from(config.ttl),
            name: "lanradio".into(),
        },
    };
    Ok(description.to_string())
}

/// Who is on air: the leader's heartbeat, and where it came from.
pub(super) fn ask(
    session: &mut Session,
    patience: Duration,
    console: &mut dyn Console,
) -> Option<(Heartbeat, SocketAddr)> {
    let hello = Message::Hello(Hello {
        node: session.node,
        name: session.name.clone(),
        founding: false,
        station: None,
        standing: Standing::default(),
        held_to: None,
    })
    .to_bytes();
    let begun = session.clock.now();
    let (mut again, end) = (Some(begun), begun + patience);
    let mut buffer = [0u8; MAX_DATAGRAM];
    while session.clock.now() < end && !session.signals.stop_asked() {
        if again.is_some_and(|at| session.clock.now() >= at) {
            again = (again == Some(begun)).then_some(begun + AGAIN);
            if let Err(error) = session.sockets.send_control(&hello) {
                console.warn(&format!("asking on {}: {error}", session.interface()));
            }
        }
        session
            .sockets
            .wait(&session.waiter, Some(again.map_or(end, |at| at.min(end))));
        while let Some(received) = session.sockets.receive(&mut buffer) {
            if let Ok(Message::Heartbeat(beat)) = Message::parse(&buffer[..received.len])
                && !matches!(beat.state, State::Over(_))
            {
                return Some((*beat, received.from));
            }
        }
    }
    None
}

fn name_of(beat: &Heartbeat) -> String {
    let playing = beat.tracks[0]
        .as_ref()
        .map(|track| title_of(&track.title, &track.artist));
    let name = playing.filter(|title| !title.is_empty()).map_or_else(
        || beat.name.clone(),
        |title| format!("{}: {title}", beat.name),
    );
    sanitize(&name)
}

fn source_of(session: &Session) -> IpAddr {
    session.sockets.local_addr().ip()
}
