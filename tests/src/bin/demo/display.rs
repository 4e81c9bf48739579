//! What the demo prints while it runs: a few aligned lines.

use std::time::Instant;

/// One look at everything.
pub(crate) struct Row {
    /// Requests of the generator that were answered 2xx, and all others.
    pub(crate) requests: (usize, usize),
    /// Samples of the generator that were acknowledged.
    pub(crate) samples: usize,
    /// Samples that the agent delivered, and that it gave up.
    pub(crate) agent: (f64, f64),
    /// Series and samples of each sidecar by its own count; none while it is down.
    pub(crate) sidecars: Vec<Option<(f64, f64)>>,
    /// Complete blocks in the bucket.
    pub(crate) blocks: usize,
}

/// Prints lines with the time since the start in front.
pub(crate) struct Display {
    start: Instant,
}

impl Display {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Something that happened.
    pub(crate) fn event(&self, text: &str) {
        println!("{}  {text}", self.time());
    }

    /// The two lines above the rows.
    pub(crate) fn header(&self, sidecars: &[&str]) {
        let mut above = format!("{:5}  {:^31}  {:^16}", "", "generator", "agent");
        let mut below = format!(
            "{:5}  {:>9} {:>8} {:>12}  {:>9} {:>6}",
            "time", "acked", "failed", "samples", "samples", "failed"
        );
        for name in sidecars {
            above += &format!(" | {name:^17}");
            below += &format!(" | {:>6} {:>10}", "series", "samples");
        }
        println!("\n{above} | bucket\n{below} | blocks");
    }

    /// One row.
    pub(crate) fn row(&self, row: &Row) {
        let mut line = format!(
            "{}  {:>9} {:>8} {:>12}  {:>9} {:>6}",
            self.time(),
            grouped(row.requests.0 as f64),
            grouped(row.requests.1 as f64),
            grouped(row.samples as f64),
            grouped(row.agent.0),
            grouped(row.agent.1),
        );
        for sidecar in &row.sidecars {
            line += &match sidecar {
                Some((series, samples)) => format!(" | {:>6} {:>10}", grouped(*series), grouped(*samples)),
                None => format!(" | {:^17}", "down"),
            };
        }
        println!("{line} | {:>6}", row.blocks);
    }

    fn time(&self) -> String {
        let seconds = self.start.elapsed().as_secs();
        format!("{:02}:{:02}", seconds / 60, seconds % 60)
    }
}

/// A count with a comma after each three digits.
pub(crate) fn grouped(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_grouped() {
        let cases = [(0.0, "0"), (999.0, "999"), (1000.0, "1,000"), (1234567.0, "1,234,567")];
        for (count, text) in cases {
            assert_eq!(super::grouped(count), text);
        }
    }
}
