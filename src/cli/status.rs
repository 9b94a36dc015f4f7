//! What does a person see on standard error? One live line on a terminal, cut to its width; elsewhere a plain line every 10 s.

use std::io::Write;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::args::Color;
use crate::app::console::{Console, Kind, Status};
use crate::io::terminal;

/// Status calls (one a second) between two plain lines.
const PLAIN_EVERY: u32 = 10;
/// Columns that a title keeps, however narrow the terminal.
const TITLE_COLUMNS: usize = 12;
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

/// The status in at most `columns`: a long title gives way first, so that the figures stay visible.
fn shown(status: &Status<'_>, columns: usize) -> String {
    let title = if status.title.is_empty() {
        "on air"
    } else {
        status.title
    };
    let figures = terminal::sanitize(&figures(status));
    let room = columns.saturating_sub(figures.width()).max(TITLE_COLUMNS);
    let title = terminal::cut(&terminal::sanitize(title), room);
    terminal::cut(&format!("{title}{figures}"), columns)
}

/// All of the status but the title.
fn figures(status: &Status<'_>) -> String {
    let length = status
        .length
        .map(|length| format!("/{}", clock(length)))
        .unwrap_or_default();
    let leader = match status.leader {
        "" => String::new(),
        name => format!("  leader {name}"),
    };
    let place = format!("  {}{length}{leader}", clock(status.position));
    match &status.kind {
        Kind::Send {
            sent,
            ahead,
            encoded,
        } => {
            let encoder = if *encoded {
                "encoded".into()
            } else {
                format!("encoded {} ahead", clock(*ahead))
            };
            format!("{place}  sent {sent}  {encoder}")
        }
        Kind::Listen {
            held,
            buffer,
            adapts,
            statistics,
        } => format!(
            "{place}  buffer {}{}/{} ms  lost {}  late {}  concealed {}",
            if *adapts { "auto " } else { "" },
            held.as_millis(),
            buffer.as_millis(),
            statistics.lost,
            statistics.late,
            statistics.concealed
        ),
    }
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

    #[test]
    fn long_title_gives_way_to_the_figures() {
        let status = |title| Status {
            title,
            position: Duration::from_secs(5),
            length: Some(Duration::from_secs(65)),
            leader: "bar",
            kind: Kind::Send {
                sent: 250,
                ahead: Duration::ZERO,
                encoded: true,
            },
        };
        let figures = "  0:05/1:05  leader bar  sent 250  encoded";
        let long = "a title that is longer than what is left of the line";
        assert_eq!(shown(&status("Song"), 80), format!("Song{figures}"));
        assert_eq!(
            shown(&status(long), 60),
            format!("a title that is l…{figures}")
        );
        assert_eq!(shown(&status(long), 30), "a title tha…  0:05/1:05  lead…");
        assert_eq!(shown(&status(long), usize::MAX), format!("{long}{figures}"));
    }

    #[test]
    fn size_of_the_buffer_is_shown_and_whether_it_adapts() {
        let statistics = crate::playout::Statistics::default();
        for (adapts, buffer) in [
            (false, "buffer 160/180 ms"),
            (true, "buffer auto 160/180 ms"),
        ] {
            let status = Status {
                title: "Song",
                position: Duration::from_secs(5),
                length: None,
                leader: "",
                kind: Kind::Listen {
                    held: Duration::from_micros(160_500),
                    buffer: Duration::from_micros(180_999),
                    adapts,
                    statistics: &statistics,
                },
            };
            let expected = format!("Song  0:05  {buffer}  lost 0  late 0  concealed 0");
            assert_eq!(shown(&status, 80), expected);
        }
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
