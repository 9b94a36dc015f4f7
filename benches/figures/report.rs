//! How is a figure written down? One line of a Markdown table: median, spread, goal, what others need, how it was made.
//!
//! Tests that measure write theirs in the same way (`tests/takeover`, `tests/sim`).

use std::fs::OpenOptions;
use std::io::Write;

/// What a figure's median should be.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "not all that measure need both")]
pub(crate) enum Goal {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

/// One figure.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What was measured, for people.
    pub(crate) what: String,
    /// The unit of values and goal.
    pub(crate) unit: &'static str,
    /// One value for each run.
    pub(crate) values: Vec<f64>,
    /// None for what is measured for comparison.
    pub(crate) goal: Option<Goal>,
    /// What others need (measured once, on another day), or a remark.
    pub(crate) note: String,
    /// The command that makes it.
    pub(crate) made_by: String,
}

impl Figure {
    /// Prints the row, and appends it to the file named by FIGURES_OUT.
    pub(crate) fn write(&self) -> Result<(), String> {
        let row = self.row();
        println!("{row}");
        let Ok(path) = std::env::var("FIGURES_OUT") else {
            return Ok(());
        };
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{row}"))
            .map_err(|error| format!("writing {path}: {error}"))
    }

    fn row(&self) -> String {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let (what, unit, note) = (&self.what, self.unit, &self.note);
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return format!("| {what} | not measured | | {note} | `{}` |", self.made_by);
        };
        let median = sorted[sorted.len() / 2];
        let verdict = |met: bool| if met { "met" } else { "**missed**" };
        let goal = match self.goal {
            Some(Goal::AtMost(0.0)) => format!("none: {}", verdict(median == 0.0)),
            Some(Goal::AtMost(goal)) => format!("≤ {goal} {unit}: {}", verdict(median <= goal)),
            Some(Goal::AtLeast(goal)) => format!("≥ {goal} {unit}: {}", verdict(median >= goal)),
            None => "–".into(),
        };
        let unit = if unit.is_empty() {
            unit.to_owned()
        } else {
            format!(" {unit}")
        };
        let number = |value: f64| match unit.as_str() {
            " %" => format!("{value:.2}"),
            " MiB" => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        };
        let spread = match sorted.len() {
            1 => String::new(),
            runs => format!(" ({} to {} of {runs})", number(*least), number(*most)),
        };
        format!(
            "| {what} | **{}{unit}**{spread} | {goal} | {note} | `{}` |",
            number(median),
            self.made_by,
        )
    }
}
