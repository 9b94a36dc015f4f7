//! What does a person see on standard error? One live line on a terminal, cut to its width; elsewhere a plain line every 10 s.

use std::io::Write;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::args::Color;
use crate::app::console::{Audience, Console, Kind, Status};
use crate::app::figures::of_ms;
use crate::io::terminal;
use crate::playout::Statistics;

/// Status calls (one a second) between two plain lines.
const PLAIN_EVERY: u32 = 10;
/// Columns that a title keeps while there are figures that can give way.
const TITLE_COLUMNS: usize = 12;
/// Columns that it keeps however narrow the terminal.
const LEAST_TITLE_COLUMNS: usize = 8;
const NOTE: Style = AnsiColor::Cyan.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();

/// Standard error as the commands use it.
pub struct StderrConsole {
    out: AutoStream<std::io::Stderr>,
    terminal: bool,
    quiet: bool,
    verbose: bool,
    /// Columns of the live line that is on the screen.
    live: usize,
    calls: u32,
}

impl StderrConsole {
    /// Decides what is shown and how.
    pub fn new(color: Color, quiet: bool, verbose: bool) -> StderrConsole {
        let choice = match color {
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
            Color::Auto => AutoStream::choice(&std::io::stderr()),
        };
        let out = AutoStream::new(std::io::stderr(), choice);
        StderrConsole {
            out,
            terminal: terminal::stderr_is_terminal(),
            quiet,
            verbose,
            live: 0,
            calls: 0,
        }
    }

    /// A line of its own, after the live line is out of the way. Nobody can be told that standard error is gone.
    fn line(&mut self, style: Style, label: &str, text: &str) {
        self.clear();
        let text = terminal::sanitize(text);
        let _ = writeln!(self.out, "{style}{label}{style:#}{text}");
    }

    fn clear(&mut self) {
        let columns = std::mem::take(&mut self.live);
        if columns > 0 {
            // Blanks, not an escape sequence: they work on every terminal, with and without colour.
            let _ = write!(std::io::stderr(), "\r{:columns$}\r", "");
        }
    }
}

impl Console for StderrConsole {
    fn note(&mut self, text: &str) {
        if !self.quiet {
            self.line(NOTE, "lanradio: ", text);
        }
    }

    fn detail(&mut self, text: &str) {
        if self.verbose && !self.quiet {
            self.line(Style::new(), "lanradio: ", text);
        }
    }

    fn warn(&mut self, text: &str) {
        self.line(WARNING, "lanradio: warning: ", text);
    }

    fn status(&mut self, status: &Status<'_>) {
        if self.quiet {
            return;
        }
        let text = |columns| shown(status, columns);
        if self.terminal {
            // The last column stays free: some terminals wrap when it is written.
            let columns = terminal::stderr_columns().unwrap_or(80).saturating_sub(1);
            let line = text(columns);
            self.clear();
            let _ = write!(std::io::stderr(), "\r{line}");
            self.live = columns.min(line.width());
        } else if self.calls.is_multiple_of(PLAIN_EVERY) {
            let _ = writeln!(self.out, "{}", text(usize::MAX));
        }
        self.calls += 1;
    }

    fn finish(&mut self) {
        if std::mem::take(&mut self.live) > 0 {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// The status in at most `columns`: a long title gives way first, then what of the figures is worth less, so that the others
/// stay visible.
fn shown(status: &Status<'_>, columns: usize) -> String {
    let title = if status.title.is_empty() {
        "on air"
    } else {
        status.title
    };
    let mut figures = String::new();
    for detail in DETAILS {
        figures = terminal::sanitize(&all_figures(status, detail));
        if figures.width().saturating_add(TITLE_COLUMNS) <= columns {
            break;
        }
    }
    let room = columns.saturating_sub(figures.width());
    let room = room.max(LEAST_TITLE_COLUMNS);
    let title = terminal::cut(&terminal::sanitize(title), room);
    terminal::cut(&format!("{title}{figures}"), columns)
}

/// How much of the figures is shown.
#[derive(Clone, Copy)]
struct Detail {
    /// Columns of the leader's name.
    leader: usize,
    /// The length of the track is told.
    length: bool,
    /// So much of what explains the losses.
    why: Why,
}

/// What explains the losses, where there are any.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Why {
    Nothing,
    /// By which ways frames were repaired.
    Ways,
    /// And how long that takes, and how many were lost in a row.
    All,
}

/// From all to the least.
const DETAILS: [Detail; 6] = [
    detail(usize::MAX, true, Why::All),
    detail(6, true, Why::All),
    detail(6, true, Why::Ways),
    detail(6, true, Why::Nothing),
    detail(6, false, Why::Nothing),
    detail(0, false, Why::Nothing),
];

const fn detail(leader: usize, length: bool, why: Why) -> Detail {
    Detail {
        leader,
        length,
        why,
    }
}

/// All of the status but the title.
fn all_figures(status: &Status<'_>, detail: Detail) -> String {
    let length = status.length.filter(|_| detail.length);
    let length = length.map_or_else(String::new, |length| format!("/{}", clock(length)));
    let leader = match terminal::cut(status.leader, detail.leader) {
        name if name.is_empty() => String::new(),
        name => format!("  leader {name}"),
    };
    let place = format!("  {}{length}{leader}", clock(status.position));
    let audience = status.audience.as_ref();
    match &status.kind {
        Kind::Send {
            sent,
            ahead,
            encoded,
            sync_us,
        } => {
            let encoder = if *encoded {
                "encoded".into()
            } else {
                format!("encoded {} ahead", clock(*ahead))
            };
            let audience = audience.map_or_else(String::new, listeners);
            let sync = in_step(*sync_us);
            format!("{place}  sent {sent}  {encoder}{audience}{sync}")
        }
        Kind::Listen {
            held,
            buffer,
            adapts,
            sync_us,
            statistics,
        } => {
            // A listener that leads tells of the others only what is worth the columns.
            let audience = audience
                .filter(|audience| audience.suffering > 0)
                .map_or_else(String::new, listeners);
            format!(
                "{place}  buffer {}{}/{} ms  {}{audience}{}",
                if *adapts { "auto " } else { "" },
                held.as_millis(),
                buffer.as_millis(),
                losses(statistics, detail.why),
                in_step(*sync_us)
            )
        }
    }
}

/// How far from its time what is heard leaves the device; nothing where that is not known.
fn in_step(sync_us: Option<f64>) -> String {
    sync_us.map_or_else(String::new, |us| format!("  sync {us:+.0} us"))
}

/// What was lost, what of it was not heard as a hole, and why it is so.
fn losses(statistics: &Statistics, why: Why) -> String {
    let repaired = match statistics.repaired {
        0 => String::new(),
        count => format!(" repaired {count}{}", repairs(statistics, why)),
    };
    let burst = match statistics.loss_bursts.longest() {
        frames if frames > 0 && why >= Why::All => format!(" longest burst {frames}"),
        _ => String::new(),
    };
    format!(
        "lost {} late {}{repaired} concealed {}{burst}",
        statistics.lost, statistics.late, statistics.concealed
    )
}

/// By which ways, and in how long 99 of 100.
fn repairs(statistics: &Statistics, why: Why) -> String {
    let ways = [
        (statistics.repaired_by_replica, "copy"),
        (statistics.repaired_by_unicast, "unicast"),
        (statistics.repaired_by_multicast, "multicast"),
    ];
    let ways = ways.into_iter().filter(|(count, _)| *count > 0);
    let mut parts: Vec<_> = ways.map(|(count, way)| format!("{count} {way}")).collect();
    if let Some(latency) = (statistics.repair_latency.quantile(0.99)).filter(|_| why >= Why::All) {
        parts.push(format!("p99 {}", of_ms(latency.as_secs_f64() * 1e3)));
    }
    if parts.is_empty() || why < Why::Ways {
        return String::new();
    }
    format!(" ({})", parts.join(", "))
}

/// How many listen, and who suffers.
fn listeners(audience: &Audience) -> String {
    let listening = audience.listening;
    let suffers = match audience.suffering {
        0 => String::new(),
        1 => format!(", {} has holes", audience.worst),
        count => format!(", {count} have holes, {} most", audience.worst),
    };
    format!("  {listening} listening{suffers}")
}

/// Minutes and seconds, with hours if there are any.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::store::Via;

    #[test]
    fn long_title_gives_way_to_the_figures() {
        let status = |title| Status {
            title,
            position: Duration::from_secs(5),
            length: Some(Duration::from_secs(65)),
            leader: "bar",
            audience: None,
            kind: Kind::Send {
                sent: 250,
                ahead: Duration::ZERO,
                encoded: true,
                sync_us: None,
            },
        };
        let figures = "  0:05/1:05  leader bar  sent 250  encoded";
        let long = "a title that is longer than what is left of the line";
        assert_eq!(shown(&status("Song"), 80), format!("Song{figures}"));
        assert_eq!(
            shown(&status(long), 60),
            format!("a title that is l…{figures}")
        );
        assert_eq!(shown(&status(long), 30), "a title…  0:05  sent 250  enc…");
        assert_eq!(shown(&status(long), usize::MAX), format!("{long}{figures}"));
    }

    fn listening<'a>(
        leader: &'a str,
        statistics: &'a Statistics,
        audience: Option<Audience>,
    ) -> Status<'a> {
        Status {
            title: "a title that is longer than what is left of the line",
            position: Duration::from_secs(5),
            length: Some(Duration::from_secs(65)),
            leader,
            audience,
            kind: Kind::Listen {
                held: Duration::from_millis(480),
                buffer: Duration::from_millis(500),
                adapts: false,
                sync_us: None,
                statistics,
            },
        }
    }

    #[test]
    fn of_the_figures_the_leader_and_the_length_give_way_before_what_was_lost() {
        let statistics = Statistics {
            lost: 3,
            late: 1,
            repaired: 120,
            concealed: 4,
            ..Statistics::default()
        };
        let lost = "  buffer 480/500 ms  lost 3 late 1 repaired 120 concealed 4";
        // From so many columns on, a title of 12 columns (at last of 8) and this fit.
        let table = [
            (102, "  0:05/1:05  leader living room"),
            (97, "  0:05/1:05  leader livin…"),
            (92, "  0:05  leader livin…"),
            (73, "  0:05"),
        ];
        for columns in 73..130 {
            let line = shown(&listening("living room", &statistics, None), columns);
            let (_, place) = table.iter().find(|(from, _)| columns >= *from).unwrap();
            let title = terminal::cut(
                "a title that is longer than what is left of the line",
                columns - place.width() - lost.width(),
            );
            assert!(title.width() >= if columns < 77 { 8 } else { TITLE_COLUMNS });
            assert_eq!(line, format!("{title}{place}{lost}"), "{columns}");
        }
        let narrow = shown(&listening("living room", &statistics, None), 60);
        assert!(
            narrow.starts_with("a title…  0:05  buffer 480/500 ms  lost 3"),
            "{narrow}"
        );
    }

    #[test]
    fn what_was_repaired_is_told_as_soon_as_there_is_something() {
        let table = [
            (0, "lost 0 late 0 concealed 0"),
            (1, "lost 0 late 0 repaired 1 concealed 0"),
        ];
        for (repaired, words) in table {
            let statistics = Statistics {
                repaired,
                ..Statistics::default()
            };
            let line = shown(&listening("bar", &statistics, None), usize::MAX);
            assert!(
                line.ends_with(&format!("  buffer 480/500 ms  {words}")),
                "{line}"
            );
        }
    }

    #[test]
    fn trouble_is_explained_where_there_is_room_for_it() {
        let mut statistics = Statistics {
            concealed: 1,
            ..Statistics::default()
        };
        for (count, via) in [(3, Via::Replica), (9, Via::Unicast)] {
            (0..count).for_each(|_| statistics.count_received(via));
        }
        for came in [true, false, false, false, false, false, true] {
            statistics.loss_bursts.handle_frame(came);
        }
        statistics.repair_latency.record(Duration::from_millis(34));
        let ways = " (3 copy, 9 unicast)";
        let all = " (3 copy, 9 unicast, p99 34 ms)";
        // From so many columns on, a title of 12 columns, the place and this fit.
        let table = [
            (
                148,
                "  0:05/1:05  leader living room",
                all,
                " longest burst 5",
            ),
            (143, "  0:05/1:05  leader livin…", all, " longest burst 5"),
            (116, "  0:05/1:05  leader livin…", ways, ""),
            (96, "  0:05/1:05  leader livin…", "", ""),
            (91, "  0:05  leader livin…", "", ""),
            (76, "  0:05", "", ""),
        ];
        for columns in (76..160).chain([usize::MAX]) {
            let line = shown(&listening("living room", &statistics, None), columns);
            let (_, place, ways, burst) = table.iter().find(|(from, ..)| columns >= *from).unwrap();
            let figures = format!(
                "{place}  buffer 480/500 ms  lost 0 late 0 repaired 12{ways} concealed 1{burst}"
            );
            assert!(line.ends_with(&figures), "{columns}: {line}");
        }
    }

    #[test]
    fn a_leader_tells_who_suffers() {
        let audience = |suffering, worst: &str| {
            let worst = worst.to_owned();
            Some(Audience {
                listening: 14,
                suffering,
                worst,
            })
        };
        let statistics = Statistics::default();
        let table = [
            (None, "", ""),
            (audience(0, ""), "  14 listening", ""),
            (
                audience(1, "bar"),
                "  14 listening, bar has holes",
                "  14 listening, bar has holes",
            ),
            (
                audience(2, "hall"),
                "  14 listening, 2 have holes, hall most",
                "  14 listening, 2 have holes, hall most",
            ),
        ];
        for (audience, of_sender, of_listener) in table {
            let listens = listening("bar", &statistics, audience.clone());
            let line = shown(&listens, usize::MAX);
            assert!(
                line.ends_with(&format!("concealed 0{of_listener}")),
                "{line}"
            );
            let sends = Status {
                kind: Kind::Send {
                    sent: 250,
                    ahead: Duration::ZERO,
                    encoded: true,
                    sync_us: None,
                },
                ..listens
            };
            let line = shown(&sends, usize::MAX);
            assert!(
                line.ends_with(&format!("sent 250  encoded{of_sender}")),
                "{line}"
            );
        }
    }

    #[test]
    fn who_plays_here_tells_how_well_that_is_in_step_whether_it_listens_or_sends() {
        let statistics = Statistics::default();
        let table = [
            (None, ""),
            (Some(-41.6), "  sync -42 us"),
            (Some(1_234.0), "  sync +1234 us"),
        ];
        for (sync_us, words) in table {
            let kinds = [
                (
                    Kind::Send {
                        sent: 250,
                        ahead: Duration::ZERO,
                        encoded: true,
                        sync_us,
                    },
                    "sent 250  encoded",
                ),
                (
                    Kind::Listen {
                        held: Duration::ZERO,
                        buffer: Duration::ZERO,
                        adapts: false,
                        sync_us,
                        statistics: &statistics,
                    },
                    "concealed 0",
                ),
            ];
            for (kind, before) in kinds {
                let status = Status {
                    kind,
                    ..listening("bar", &statistics, None)
                };
                let line = shown(&status, usize::MAX);
                assert!(line.ends_with(&format!("{before}{words}")), "{line}");
            }
        }
    }

    #[test]
    fn size_of_the_buffer_is_shown_and_whether_it_adapts() {
        let statistics = Statistics::default();
        for (adapts, buffer) in [
            (false, "buffer 160/180 ms"),
            (true, "buffer auto 160/180 ms"),
        ] {
            let status = Status {
                title: "Song",
                position: Duration::from_secs(5),
                length: None,
                leader: "",
                audience: None,
                kind: Kind::Listen {
                    held: Duration::from_micros(160_500),
                    buffer: Duration::from_micros(180_999),
                    adapts,
                    sync_us: None,
                    statistics: &statistics,
                },
            };
            let expected = format!("Song  0:05  {buffer}  lost 0 late 0 concealed 0");
            assert_eq!(shown(&status, 80), expected);
        }
        // The usual terminal shows all that was lost.
        let statistics = Statistics {
            repaired: 120,
            ..Statistics::default()
        };
        let mut status = listening("living room", &statistics, None);
        if let Kind::Listen { adapts, .. } = &mut status.kind {
            *adapts = true;
        }
        let line = shown(&status, 79);
        assert!(
            line.ends_with("ms  lost 0 late 0 repaired 120 concealed 0"),
            "{line}"
        );
    }

    #[test]
    fn time_is_shown_as_on_a_player() {
        let table = [
            (0, "0:00"),
            (65, "1:05"),
            (3599, "59:59"),
            (3600, "1:00:00"),
            (36_061, "10:01:01"),
        ];
        for (seconds, text) in table {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
    }
}
