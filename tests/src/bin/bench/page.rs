//! The results as tables: each scenario's on the terminal as it ends, and all of them as the committed page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::figures::{Figure, Figures};
use crate::scenario::Scenario;
use crate::sender::CONNECTIONS;
use crate::system::Kind;

/// What one scenario gave, by system.
pub(crate) struct Outcome {
    pub(crate) scenario: &'static Scenario,
    pub(crate) systems: BTreeMap<Kind, Figures>,
    /// Of one core, the largest that the generator used beside any system.
    pub(crate) generator_share: f64,
    /// Decoded and compressed bytes of a series with its sample.
    pub(crate) series_bytes: (usize, usize),
}

impl Outcome {
    /// The scenario's table, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![vec![String::new()]];
        let peers: Vec<_> = self.systems.keys().filter(|kind| **kind != Kind::Ringside).collect();
        let ours = self.systems.get(&Kind::Ringside);
        rows[0].extend(self.systems.keys().map(|kind| kind.name().to_owned()));
        if ours.is_some() {
            rows[0].extend(peers.iter().map(|kind| format!("× {}", kind.name())));
        }
        let figures: std::collections::BTreeSet<Figure> =
            self.systems.values().flat_map(|figures| figures.keys().copied()).collect();
        for figure in figures {
            let mut row = vec![figure.label().to_owned()];
            let value = |kind| self.systems.get(kind).and_then(|figures| figures.get(&figure).copied());
            row.extend(self.systems.keys().map(|kind| shown(value(kind).map(|value| figure.show(value)))));
            if ours.is_some() {
                row.extend(peers.iter().map(|peer| {
                    let ratio = value(&Kind::Ringside).zip(value(peer));
                    let ratio = ratio.and_then(|(ours, theirs)| figure.advantage(ours, theirs));
                    shown(ratio.map(|ratio| format!("{ratio:.2}")))
                }));
            }
            rows.push(row);
        }
        align(&rows)
    }

    /// The title line and the table.
    pub(crate) fn section(&self) -> String {
        format!("({}) {}\n\n{}", self.scenario.name, self.scenario.title, self.table())
    }
}

fn shown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "n/a".to_owned())
}

/// A Markdown table that is also readable as it is.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text.push('|');
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = if column == 0 {
                write!(text, " {cell:<width$} |")
            } else {
                write!(text, " {cell:>width$} |")
            };
        }
        text.push('\n');
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(*width);
                text.push_str(&if column == 0 {
                    format!("| {dashes} ")
                } else {
                    format!("| {}: ", &dashes[1..])
                });
            }
            text.push_str("|\n");
        }
    }
    text
}

/// The whole page.
pub(crate) fn page(facts: &[String], outcomes: &[Outcome]) -> String {
    let facts: String = facts.iter().map(|fact| format!("- {fact}\n")).collect();
    let share = outcomes.iter().map(|outcome| outcome.generator_share).fold(0.0, f64::max);
    let (decoded, compressed) = outcomes.first().map_or((0, 0), |outcome| outcome.series_bytes);
    let sections: String = outcomes.iter().map(|outcome| format!("\n## {}", outcome.section())).collect();
    format!(
        "# Storage benchmark

Written by `make bench`, which builds what it needs and runs everything below in one go.

{facts}
## How

- One system at a time, on a core of its own (`taskset`); the generator has the other core. Flags are the defaults,
  but for `ringside sidecar --wal.sync=group` (every answer waits for an `fdatasync`; the others answer without one)
  and `prometheus --web.enable-remote-write-receiver`.
- The load is made and compressed before anything is measured, and every system gets the same bytes: remote write 1.0
  in requests of 2,000 series with one sample each, ten labels, {decoded} bytes a series, {compressed} compressed;
  {CONNECTIONS} requests under way over HTTP/1.1. The generator used at most {:.0} % of its core.
- CPU time is the process's own, in the program and in the kernel, from the first measured request until the system is
  idle again. A steady state begins when its first scrapes are settled.
- Memory is resident memory of the whole process, program and idle cost included, divided by the active series. It is
  settled when the system is idle; Go returns memory later than that. The growth per churned-out series counts also
  what the samples of the active series took meanwhile.
- At half load a request's time counts from when it was to be sent. The cut is the time from the first byte of the
  block to the truncated log. VictoriaMetrics has no blocks and no log.
- A column with × says how many times better Ringside is: more samples per CPU-second, or less of anything else.
{sections}",
        share * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_every_figure_and_the_ratios_to_the_peers() {
        let figures = |cpu, wal: Option<f64>| {
            let wal = wal.map(|value| (Figure::WalPerSample, value));
            std::iter::once((Figure::SamplesPerCpuSecond, cpu)).chain(wal).collect()
        };
        let outcome = Outcome {
            scenario: &crate::scenario::ALL[0],
            systems: BTreeMap::from([
                (Kind::Ringside, figures(2e6, Some(8.0))),
                (Kind::Prometheus, figures(1e5, Some(10.0))),
                (Kind::VictoriaMetrics, figures(5e5, None)),
            ]),
            generator_share: 0.1,
            series_bytes: (290, 30),
        };
        let table: Vec<String> = outcome.table().lines().map(|line| line.replace(' ', "")).collect();
        assert_eq!(table[0], "||Ringside|Prometheus|VictoriaMetrics|×Prometheus|×VictoriaMetrics|");
        assert_eq!(table[2], "|samplesperCPU-second|2000k|100k|500k|20.00|4.00|");
        assert_eq!(table[3], "|WALpersample,bytes|8.00|10.00|n/a|1.25|n/a|");
        assert_eq!(table.len(), 4);
    }
}
