//! What happened, in words that do not depend on random ids: transcripts are compared with those of the last good run.

use lanradio::station::node::Event;
use lanradio::wire::ids::ShortTerm;
use lanradio::wire::{NodeId, Term};

use crate::world::World;

impl World {
    pub(crate) fn say(&mut self, text: &str) {
        self.transcript.push(format!(
            "{:>9.3} {text}",
            (self.now_us - 1_000_000) as f64 / 1e6
        ));
    }

    /// The number of the host whose node this is.
    pub(crate) fn host_of(&self, node: NodeId) -> Option<usize> {
        self.names.get(&node.short()).copied()
    }

    pub(crate) fn term_text(&self, term: ShortTerm) -> String {
        let host = self.names.get(&term.leader);
        host.map_or("?".into(), |host| format!("{}.{host}", term.counter))
    }

    fn term(&self, term: &Term) -> String {
        self.term_text(term.short())
    }

    /// An event as a line; none for what says nothing new.
    pub(crate) fn describe(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::OnAir { term, .. } => format!("is on air in term {}", self.term(term)),
            Event::Leader { term, reason } => format!("term {} ({reason})", self.term(term)),
            Event::Track {
                title, first_frame, ..
            } => format!("plays {title} from frame {first_frame}"),
            Event::Busy { .. } => "cannot take part".into(),
            Event::Idle => "is idle".into(),
            Event::OffAir { reason } => format!("off air: {reason:?}"),
            Event::Warning(text) if text.starts_with("another station") => {
                "hears another station".into()
            }
            Event::Warning(text) if text.contains(" of track ") => "misses a frame".into(),
            Event::Warning(text) => format!("warns: {text}"),
            Event::Safe { title, nodes, .. } => format!("{title} is safe on {nodes}"),
            Event::Joined { name, title, .. } => format!("joins {name}, which plays {title:?}"),
            Event::Covering { frame } => format!("covers from frame {frame}"),
            Event::CoverEnd { frame, sent } => {
                format!("covered {sent} frames, the last is {frame}")
            }
            Event::TookOver { frame, silence, .. } => {
                format!(
                    "takes over with frame {frame} after {} ms",
                    silence.as_millis()
                )
            }
            Event::Solo { frame } => format!("goes on alone from frame {frame}"),
            Event::SteppedDown { reason } => format!("steps down: {reason}"),
            Event::HandedOver { to, frame } => {
                let to = self
                    .host_of(*to)
                    .map_or("?".into(), |host| host.to_string());
                format!("hands over to {to} from frame {frame}")
            }
            Event::Done => "is done".into(),
        })
    }

    /// The whole transcript, for messages and files.
    pub(crate) fn told(&self) -> String {
        self.transcript.join("\n") + "\n"
    }
}
