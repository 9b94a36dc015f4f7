//! How does a leader learn how the others fare? Each of them tells it now and then, by unicast.
//!
//! Every 5 s, with jitter, so that they do not all speak at once; more seldom in a large audience, so that all of them together
//! send no more than about 20 reports a second. Soon after a node begins to follow, and after the leader has changed, so that
//! whoever asks a new leader who suffers is told; twice, as one may be lost, and the first one comes before there is much to tell.
//! A report is never answered, nor sent again: the next one says more.

use std::net::SocketAddr;
use std::time::Duration;

use super::Node;
use super::doubting::Doubt;
use super::roles::Role;
use crate::time::Instant;
use crate::wire::NodeId;
use crate::wire::control::Message;
use crate::wire::report::{NodeReport, Report};

/// How often a node reports, if there are no more than 100.
pub const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How soon a leader gets the first one, if there are no more than 20; and then the second.
const SOON: Duration = Duration::from_secs(1);
/// How many reports come soon.
const SOON_REPORTS: u8 = 2;
/// The share of [`SOON`] after which the first one comes, in thousandths: not before the hello with which the node joins.
const FIRST: std::ops::RangeInclusive<u64> = 100..=1_000;
/// The share of the interval after which each next one comes, in thousandths.
const JITTER: std::ops::RangeInclusive<u64> = 800..=1_200;

/// What is told, to whom, and when.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    /// How this node fares, as its owner says; nothing is told before that.
    pub(super) report: Option<Report>,
    /// The leader that is told; none while there is none.
    to: Option<NodeId>,
    /// So many of the next reports come soon.
    soon: u8,
    /// When the last one was sent; before the first, when the leader was first heard.
    since: Instant,
    /// How much of the interval passes before the next one, in thousandths. (Not when that is: as more nodes are heard,
    /// the interval grows.)
    share: u32,
}

impl Node {
    /// Tells the leader how this node fares, if it is time; answers when it is next.
    pub(super) fn keep_reporting(&mut self) -> Option<Instant> {
        let Role::Following(following) = &self.role else {
            self.reporting.to = None;
            return None;
        };
        // A leader of which only packets were heard says soon where it is.
        let (addr, leader) = (following.addr?, following.term.leader);
        if self.reporting.to != Some(leader) {
            (self.reporting.to, self.reporting.soon) = (Some(leader), SOON_REPORTS);
            self.draw_report(FIRST);
        }
        let report = self.reporting.report?;
        if self.latest >= self.report_at() {
            let report = NodeReport {
                station: self.config.station,
                node: self.config.node,
                report,
            };
            self.send_control(Some(addr), &Message::Report(Box::new(report)));
            self.reporting.soon = self.reporting.soon.saturating_sub(1);
            self.draw_report(JITTER);
        }
        Some(self.report_at())
    }

    fn draw_report(&mut self, share: std::ops::RangeInclusive<u64>) {
        self.reporting.since = self.latest;
        self.reporting.share = self.random.within(share) as u32;
    }

    fn report_at(&self) -> Instant {
        let least = if self.reporting.soon > 0 {
            SOON
        } else {
            REPORT_EVERY
        };
        self.reporting.since + self.roster.turn(least) * self.reporting.share / 1_000
    }

    /// A node tells how it fares; only a leader wants to know.
    pub(super) fn hear_report(&mut self, from: SocketAddr, told: &NodeReport) {
        if !matches!(self.role, Role::Leading { .. }) || told.station != self.config.station {
            return;
        }
        let known = (self.roster).handle_report(told.node, told.report, from, self.latest);
        if !known {
            self.refuse(Doubt::Reporter, Some(from));
        }
    }
}
