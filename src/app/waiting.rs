//! What is a listener told that hears nothing?

use std::time::Duration;

use super::session::Session;
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// What to say while nothing is heard: where we wait after 1 s, what may be wrong after 10 s.
pub(super) struct Waiting {
    since: Instant,
    told: u32,
}

impl Waiting {
    pub(super) fn new(since: Instant) -> Waiting {
        Waiting { since, told: 0 }
    }

    pub(super) fn line(&mut self, now: Instant, session: &Session, foreign: u64) -> Option<String> {
        let waited = now.since(self.since);
        if self.told == 0 && waited >= SECOND {
            self.told = 1;
            return Some(format!(
                "waiting for a station on {} ({})",
                session.group,
                session.interface()
            ));
        }
        if self.told == 1 && waited >= SECOND * 10 {
            self.told = 2;
            if foreign > 0 {
                return Some(format!(
                    "no station is heard, but {foreign} RTP packets of another program on this group that lanradio cannot play: it \
                     plays Opus (of payload types 96 to 127)"
                ));
            }
            let hint = "still nothing heard. Is the sender on the same network and group? A firewall may drop UDP, Docker needs the \
                        host network, guest Wi-Fi keeps its guests apart, and --interface chooses another network";
            return Some(hint.into());
        }
        None
    }
}
