//! How is a figure written down? One line of a Markdown table: median, spread, goal, what others need, how it was made.

use std::fs::OpenOptions;
use std::io::Write;

/// One figure.
pub(crate) struct Figure {
    /// What was measured, for people.
    pub(crate) what: &'static str,
    /// The unit of values and goal.
    pub(crate) unit: &'static str,
    /// One value for each run.
    pub(crate) values: Vec<f64>,
    /// At most this is the goal; none for what is measured for comparison.
    pub(crate) goal: Option<f64>,
    /// What others need (measured once, on another day), or a remark.
    pub(crate) note: &'static str,
    /// The scene that makes it.
    pub(crate) scene: &'static str,
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
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return format!("| {} | not measured | | {} | |", self.what, self.note);
        };
        let median = sorted[sorted.len() / 2];
        let unit = self.unit;
        let goal = match self.goal {
            Some(goal) if median <= goal => format!("≤ {goal} {unit}: met"),
            Some(goal) => format!("≤ {goal} {unit}: **missed**"),
            None => "–".into(),
        };
        let number = |value: f64| match unit {
            "ms" => format!("{value:.0}"),
            "MiB" => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        };
        format!(
            "| {} | **{} {unit}** ({} to {}) | {goal} | {} | `cargo bench --bench figures -- {}` |",
            self.what,
            number(median),
            number(*least),
            number(*most),
            self.note,
            self.scene,
        )
    }
}
