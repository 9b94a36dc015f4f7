//! Does the group still reach this node?
//!
//! Multicast dies without an error: a switch forgets who listens, an access point drops what is for everybody, a firewall lets one
//! port pass. So what is heard is held against what should be. A leader's frames come 50 times a second and its heartbeats ten
//! times: a second without either is no bad luck. Then the leader (and the heirs, if it does not answer) is asked by unicast. If
//! somebody answers, the station lives and this node is *deaf*: it joins the groups again, says what to look at, asks on, and lets
//! others take over. If nobody does, the leader is gone or this node is cut off: that is not deafness, and the rules for a silent
//! leader are right.
//!
//! Run loop: [`Reception::handle`] for all that was read, [`Reception::set_expected`] and [`Reception::set_link`], then
//! [`Reception::handle_timeout`], then every [`Reception::poll_output`].

mod calling;
mod interface;
mod judging;
mod link;
mod remedies;
mod silence;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::random::Random;
use crate::time::Instant;
use calling::Calling;
pub use interface::{Ear, Expected, Heard, Output, Told};
use judging::Finding;
use link::Cable;
pub use link::{Link, TELL_AFTER};
pub use remedies::{ALONE_AFTER, ASK_EVERY};
use silence::Silence;

/// What should come many times a second and has not come for this long does not come any more: 50 frames, or ten heartbeats.
pub const QUIET: Duration = Duration::from_secs(1);
/// Frames that came within this time still come. Longer than most bursts of loss on Wi-Fi.
const FRAMES_FRESH: Duration = Duration::from_millis(200);
/// Heartbeats that came within this time still come: five of them.
const BEATS_FRESH: Duration = Duration::from_millis(500);
/// For how long all must be heard again for a node to be no longer deaf; twice as long each time it was deaf again soon after.
const HEALED_AFTER: Duration = Duration::from_millis(500);
/// The longest that this gets.
const HEALED_AT_MOST: Duration = Duration::from_secs(30);
/// Whoever was not deaf for this long heals as fast as the first time.
const WELL_FOR: Duration = Duration::from_secs(60);
/// For how long frames are fetched after all is heard again: longer than the longest buffer.
const FETCH_ON: Duration = Duration::from_secs(10);
/// Who was not asked for this long stood still: run loops come by at least once a second.
const AWAY: Duration = Duration::from_millis(1_500);

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What is expected is heard, as far as is known.
    Well,
    /// Nothing is heard: does the station live?
    Asking { since: Instant },
    /// Nobody has answered.
    Alone,
    /// The station lives, and this does not get through.
    Deaf {
        ear: Ear,
        /// Since when all of it is heard again.
        heard_since: Option<Instant>,
    },
}

/// Watches over what one node hears.
#[derive(Debug)]
pub struct Reception {
    random: Random,
    latest: Instant,
    expected: Expected,
    media: Silence,
    beats: Silence,
    /// Whatever others say to all on the control port, heartbeats too.
    control: Silence,
    /// What was said to this node alone: when the leader answered, and all else.
    answered_at: Option<Instant>,
    words: Silence,
    calling: Calling,
    cable: Cable,
    state: State,
    /// What people were told that does not get through, and since when.
    told: Option<(Ear, Instant)>,
    /// When the groups are joined again, and how long after that the next time.
    rejoin: Option<(Instant, Duration)>,
    /// When it was last asked, and how often since the last sign of life.
    asked_at: Option<Instant>,
    asked_in_vain: u32,
    /// How much later than it is due the next question is asked.
    spread: Duration,
    /// When it is asked next who is on air.
    seek_at: Instant,
    healed_after: Duration,
    healed_at: Option<Instant>,
    /// Frames are fetched until then, though all is heard.
    fetch_until: Option<Instant>,
    /// How often the membership is renewed, if not as often as is good.
    renewal: Option<Duration>,
    renew_at: Instant,
    /// When it is looked for a moment to do that.
    look_at: Instant,
    attended_at: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Reception {
    /// Nothing is expected yet. `seed` is for random waits; `is_down`: the interface is switched off, and people know it.
    pub fn new(now: Instant, seed: u64, is_down: bool) -> Reception {
        let mut random = Random::new(seed);
        let renew_at = now + random.wait_ms(remedies::RENEW_MS);
        Reception {
            random,
            latest: now,
            expected: Expected::default(),
            media: Silence::since(now, FRAMES_FRESH),
            beats: Silence::since(now, BEATS_FRESH),
            control: Silence::since(now, QUIET),
            answered_at: None,
            words: Silence::since(now, BEATS_FRESH),
            calling: Calling::default(),
            cable: Cable::new(now, is_down),
            state: State::Well,
            told: None,
            rejoin: None,
            asked_at: None,
            asked_in_vain: 0,
            spread: Duration::ZERO,
            seek_at: now,
            healed_after: HEALED_AFTER,
            healed_at: None,
            fetch_until: None,
            renewal: None,
            renew_at,
            look_at: renew_at,
            attended_at: None,
            outputs: VecDeque::new(),
        }
    }

    /// The membership is to be renewed this often, for a test.
    pub fn set_renewal(&mut self, every: Duration) {
        self.renewal = Some(every);
        self.put_off_renewal();
    }

    /// Something was heard, at this time, from somebody else. What the node does not believe, and what is of other stations, is
    /// not for it.
    pub fn handle(&mut self, heard: Heard, at: Instant) {
        match heard {
            Heard::Media => self.media.end(at),
            Heard::Beat => self.beats.end(at),
            Heard::Hello => {}
            Heard::Answer => self.answered_at = self.answered_at.max(Some(at)),
            Heard::Word => self.words.end(at),
            Heard::Greeting => self.count_answer(),
        }
        if matches!(heard, Heard::Beat | Heard::Hello) {
            self.control.end(at);
        }
        if matches!(heard, Heard::Beat | Heard::Answer) {
            self.asked_in_vain = 0;
        }
    }

    /// What should be heard from now on.
    pub fn set_expected(&mut self, expected: Expected, now: Instant) {
        let before = std::mem::replace(&mut self.expected, expected);
        let is_another = before.station != expected.station;
        if is_another {
            self.answered_at = None;
        }
        if expected.seeks && !before.seeks {
            self.put_off_seeking(now);
        }
        if is_another || expected.media && !before.media {
            self.media.begin(now);
        }
        if is_another || expected.beats && !before.beats {
            self.beats.begin(now);
        }
        if is_another || expected.hellos.is_some() && before.hellos.is_none() {
            self.control.begin(now);
            self.words = Silence::since(now, BEATS_FRESH);
        }
    }

    /// The interface is like this now.
    pub fn set_link(&mut self, link: Link, now: Instant) {
        self.latest = self.latest.max(now);
        if !self.cable.set(link, self.latest, &mut self.outputs) {
            return;
        }
        // Whatever was found before is found anew.
        (self.state, self.told, self.rejoin) = (State::Well, None, None);
        self.begin_anew();
        if link == Link::There {
            // The switch at the other end may be another one, or has forgotten.
            self.join_again();
            self.ask();
        }
    }

    /// The groups were joined on an interface that was made anew, or this node sends from another address: its own now and before.
    pub fn handle_moved(
        &mut self,
        is_remade: bool,
        address: Option<(IpAddr, IpAddr)>,
        now: Instant,
    ) {
        self.latest = self.latest.max(now);
        let remade = (is_remade && !self.cable.is_told()).then_some(Told::Remade);
        let address = address.map(|(now, before)| Told::Address { now, before });
        let told = remade.into_iter().chain(address);
        self.outputs.extend(told.map(Output::Tell));
        self.begin_anew();
        self.put_off_renewal();
    }

    /// Does what is due. Call it after all sockets were read.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.latest = self.latest.max(now);
        self.notice_absence();
        self.cable.handle_timeout(self.latest, &mut self.outputs);
        if self.cable.is_there() {
            self.go_on_calling();
            self.judge();
            self.go_on_asking();
            self.go_on_joining();
            self.go_on_seeking();
        }
        if self.is_deaf() {
            self.fetch_until = Some(self.latest + FETCH_ON);
        }
        self.keep_membership();
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back, if nothing is heard before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let renewal = Some(self.look_at);
        let cable = self.cable.poll_timeout();
        let mut next = cable.into_iter().chain(renewal).min();
        if self.cable.is_there() {
            let joins = self.rejoin.map(|(at, _)| at);
            let seeks = self.expected.seeks.then_some(self.seek_at);
            let more = [self.judge_at(), self.ask_at(), self.call_at(), joins, seeks];
            next = next.into_iter().chain(more.into_iter().flatten()).min();
        }
        next
    }

    /// Whether the station's frames do not reach this node, though the station lives.
    pub fn is_deaf(&self) -> bool {
        let State::Deaf { ear, .. } = self.state else {
            return false;
        };
        matches!(ear, Ear::Media | Ear::Group)
    }

    /// Whether frames should be fetched by other ways: this node is deaf, or was until a moment ago.
    pub fn fetches(&self) -> bool {
        let lately = self.fetch_until.is_some_and(|until| self.latest < until);
        self.is_deaf() || lately
    }

    /// This node stood still, and heard nothing meanwhile: that says nothing, and whoever forwards its packets may have forgotten
    /// it.
    fn notice_absence(&mut self) {
        let now = self.latest;
        let before = self.attended_at.replace(now);
        if before.is_none_or(|at| now.since(at) <= AWAY) {
            return;
        }
        let came = [&self.media, &self.beats, &self.control];
        if came.into_iter().any(|one| one.was_heard(now, QUIET)) {
            return; // what was sent meanwhile has waited in the sockets
        }
        self.begin_anew();
        if self.cable.is_there() {
            self.join_again();
            self.ask();
        }
    }

    fn begin_anew(&mut self) {
        let now = self.latest;
        for silence in [
            &mut self.media,
            &mut self.beats,
            &mut self.control,
            &mut self.words,
        ] {
            silence.begin(now);
        }
        if !matches!(self.state, State::Deaf { .. }) {
            (self.state, self.rejoin) = (State::Well, None);
        }
    }

    /// Holds what is heard against what should be.
    fn judge(&mut self) {
        let finding = self.find();
        match self.state {
            State::Well => match finding {
                Finding::Heard | Finding::Unclear => {}
                Finding::Deaf(ear) => self.become_deaf(ear),
                Finding::Nothing => self.become_asking(),
            },
            State::Asking { since } => match finding {
                Finding::Heard => self.become_well(),
                Finding::Unclear => {}
                Finding::Deaf(ear) => self.become_deaf(ear),
                Finding::Nothing if self.latest >= since + self.alone_after() => {
                    self.become_alone()
                }
                Finding::Nothing => {}
            },
            State::Alone => match finding {
                Finding::Heard => self.become_well(),
                Finding::Deaf(ear) => self.become_deaf(ear),
                Finding::Unclear | Finding::Nothing => {}
            },
            State::Deaf { ear, .. } => match finding {
                Finding::Heard | Finding::Unclear => self.heal(ear),
                Finding::Deaf(ear) => self.become_deaf(ear),
                Finding::Nothing => self.become_alone(),
            },
        }
    }

    /// It was deaf, and is not found to be so now.
    fn heal(&mut self, ear: Ear) {
        let now = self.latest;
        let Expected {
            media,
            beats,
            hellos,
            ..
        } = self.expected;
        // It does not lead any more: what was sent to all is still that.
        let ear = match ear {
            Ear::Hellos if beats => Ear::Group,
            ear => ear,
        };
        let is_expected = match ear {
            Ear::Media => media,
            Ear::Control => media && beats,
            Ear::Group => beats,
            Ear::Hellos => hellos.is_some(),
        };
        if !is_expected {
            // Nothing shows whether it would be heard.
            self.told = None;
            return self.become_well();
        }
        let State::Deaf {
            ear: found,
            heard_since,
        } = &mut self.state
        else {
            return;
        };
        *found = ear;
        let all_comes = (!media || self.media.comes(now))
            && (!beats || self.beats.comes(now))
            && hellos.is_none_or(|every| self.control.was_heard(now, every));
        if !all_comes {
            *heard_since = None;
        } else if now >= *heard_since.get_or_insert(now) + self.healed_after {
            self.become_well();
        }
    }

    fn become_well(&mut self) {
        let now = self.latest;
        if let Some((_, since)) = self.told.take() {
            let after = now.since(since);
            self.outputs.push_back(Output::Tell(Told::Again { after }));
            self.healed_at = Some(now);
        }
        (self.state, self.rejoin) = (State::Well, None);
    }

    fn become_asking(&mut self) {
        self.state = State::Asking { since: self.latest };
        self.draw_spread();
    }

    fn become_alone(&mut self) {
        self.state = State::Alone;
        if self.rejoin.is_none() {
            self.begin_joining();
        }
    }

    fn become_deaf(&mut self, ear: Ear) {
        let now = self.latest;
        self.state = State::Deaf {
            ear,
            heard_since: None,
        };
        if self.rejoin.is_none() {
            self.begin_joining();
        }
        match self.told.replace((ear, now)) {
            Some((told, since)) => {
                self.told = Some((ear, since));
                if told == ear {
                    return;
                }
            }
            None => {
                let again = self.healed_at.is_some_and(|at| now.since(at) < WELL_FOR);
                self.healed_after = match again {
                    true => (self.healed_after * 2).min(HEALED_AT_MOST),
                    false => HEALED_AFTER,
                };
            }
        }
        self.outputs.push_back(Output::Tell(Told::Deaf(ear)));
    }
}
