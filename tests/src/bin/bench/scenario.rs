//! The scenarios, and what is done with one system in each of them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ringside_e2e::clock::{self, BLOCK_RANGE};
use ringside_e2e::{oracle, process};

use crate::cut;
use crate::figures::{Figure, Figures};
use crate::load::{Churn, Load, Plan};
use crate::sender::{self, Exchange};
use crate::system::{Kind, Restart, System, size_of};

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    series: usize,
    interval_ms: i64,
    /// Scrapes before the measurement; it begins when they are settled.
    warm: usize,
    /// Scrapes that are measured.
    measured: usize,
    /// Scrapes that a cut needs after them.
    after: usize,
    churn_share: Option<u64>,
    /// Whether the system is killed in the end and started again.
    restart: bool,
}

const SCRAPE: i64 = 15_000;

/// All of them, in order.
pub(crate) const ALL: [Scenario; 5] = [
    Scenario {
        name: "a",
        title: "100 k new series × 20 samples, 15 s apart",
        series: 100_000,
        interval_ms: SCRAPE,
        warm: 0,
        measured: 20,
        after: 0,
        churn_share: None,
        restart: false,
    },
    Scenario {
        name: "b1",
        title: "20 k series in steady state, 15 s apart",
        series: 20_000,
        interval_ms: SCRAPE,
        warm: 20,
        measured: 280,
        after: 0,
        churn_share: None,
        restart: true,
    },
    Scenario {
        name: "b2",
        title: "200 k series in steady state, 60 s apart, then the cut of a 2 h block under writes",
        series: 200_000,
        interval_ms: 60_000,
        warm: 5,
        measured: 115,
        after: 130,
        churn_share: None,
        restart: false,
    },
    Scenario {
        name: "c",
        title: "1 M new series × 4 samples, 15 s apart",
        series: 1_000_000,
        interval_ms: SCRAPE,
        warm: 0,
        measured: 4,
        after: 0,
        churn_share: None,
        restart: true,
    },
    Scenario {
        name: "d",
        title: "100 k active series, 5 % of them replaced per minute, 15 s apart",
        series: 100_000,
        interval_ms: SCRAPE,
        warm: 20,
        measured: 80,
        after: 0,
        churn_share: Some(20),
        restart: false,
    },
];

impl Scenario {
    /// Its load, ending now; where a block is to be cut, beginning where a block does.
    pub(crate) fn prepare(&self) -> Result<Load> {
        let scrapes = self.warm + self.measured + self.after;
        let span = i64::try_from(scrapes)? * self.interval_ms;
        let align = if self.after > 0 { BLOCK_RANGE } else { self.interval_ms };
        Load::prepare(Plan {
            series: self.series,
            scrapes,
            interval_ms: self.interval_ms,
            start: clock::aligned(span, align)?,
            churn: self.churn_share.map(|share| Churn { share, from: self.warm }),
        })
    }

    /// Runs it with one system in `folder`, which is empty. The last value is the share of its core that the
    /// generator used while it measured.
    pub(crate) async fn run(&self, load: &Load, kind: Kind, folder: &Path) -> Result<(Figures, f64)> {
        let (mut system, _) = System::start(kind, folder).await?;
        let mut figures = Figures::new();
        let share = self.measure(&system, load, &mut figures)?;
        if self.after > 0 {
            let rate = load.places() as f64 * self.measured as f64 / share.wall.as_secs_f64();
            cut::measure(&system, load, self.warm + self.measured, rate / 2.0, &mut figures).await?;
        }
        if self.restart {
            let restart = system.restart().await?;
            note(&mut figures, Figure::RestartSeconds, Figure::RestartPeak, &restart);
            if kind == Kind::Ringside {
                note(&mut figures, Figure::SameWalSeconds, Figure::SameWalPeak, &restart);
            }
        }
        Ok((figures, share.cpu.as_secs_f64() / share.wall.as_secs_f64()))
    }

    /// True if the restart is measured.
    pub(crate) fn restarts(&self) -> bool {
        self.restart
    }

    fn measure(&self, system: &System, load: &Load, figures: &mut Figures) -> Result<Spent> {
        let (endpoint, process) = (system.endpoint(), &system.process);
        if self.warm > 0 {
            sender::send(&endpoint, load, 0..self.warm)?;
            system.settle()?;
        }
        let end = self.warm + self.measured;
        let rss_before = process.rss_bytes()? as f64;
        process.reset_peak_rss()?;
        let (cpu, own_cpu, begin) = (process.cpu_time()?, process::cpu_time("self")?, Instant::now());
        let exchanges = sender::send(&endpoint, load, self.warm..end).with_context(|| process.log_tail())?;
        let spent = Spent { wall: begin.elapsed(), cpu: process::cpu_time("self")? - own_cpu };
        system.settle()?;
        let cpu = process.cpu_time()? - cpu;
        let settled = process.rss_bytes()? as f64;

        let active = self.series as f64;
        figures.insert(Figure::SamplesPerCpuSecond, load.plan.samples(self.measured) / cpu.as_secs_f64());
        figures.insert(Figure::RequestP50, quantile_ms(&exchanges, 0.50));
        figures.insert(Figure::RequestP99, quantile_ms(&exchanges, 0.99));
        figures.insert(Figure::PeakPerSeries, process.peak_rss_bytes()? as f64 / active);
        figures.insert(Figure::SettledPerSeries, settled / active);
        if self.churn_share.is_some() {
            figures.insert(Figure::PerChurnedSeries, (settled - rss_before) / load.plan.churned() as f64);
        }
        let sent = load.plan.samples(end);
        if system.kind != Kind::VictoriaMetrics {
            figures.insert(Figure::WalPerSample, size_of(&system.data().join("wal"))? as f64 / sent);
        }
        figures.insert(Figure::FilesPerSample, size_of(&system.data())? as f64 / sent);
        Ok(spent)
    }
}

/// Starts Prometheus in `folder` on what the sidecar in `ringside`, which has ended, has left there.
pub(crate) async fn prometheus_on_our_wal(ringside: &Path, folder: &Path) -> Result<Figures> {
    oracle::copy_tree(&ringside.join("data/default-tenant"), &System::data_in(folder))?;
    let (_system, restart) = System::start(Kind::Prometheus, folder).await?;
    let mut figures = Figures::new();
    note(&mut figures, Figure::SameWalSeconds, Figure::SameWalPeak, &restart);
    Ok(figures)
}

/// What the generator spent on the measured part.
struct Spent {
    wall: Duration,
    cpu: Duration,
}

fn note(figures: &mut Figures, seconds: Figure, peak: Figure, restart: &Restart) {
    figures.insert(seconds, restart.took.as_secs_f64());
    figures.insert(peak, restart.peak as f64 / 1e6);
}

/// A quantile of the time that requests took, milliseconds.
pub(crate) fn quantile_ms(exchanges: &[Exchange], q: f64) -> f64 {
    let mut took: Vec<_> = exchanges.iter().map(|exchange| exchange.took).collect();
    took.sort_unstable();
    let rank = (took.len() as f64 * q).ceil() as usize;
    took.get(rank.saturating_sub(1)).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_smallest_value_that_enough_requests_kept() {
        let start = Instant::now();
        let exchange = |ms| Exchange { start, took: Duration::from_millis(ms) };
        let all: Vec<_> = (1..=200).rev().map(exchange).collect();
        assert_eq!(quantile_ms(&all, 0.50), 100.0);
        assert_eq!(quantile_ms(&all, 0.99), 198.0);
        assert_eq!(quantile_ms(&all[..1], 0.99), 200.0);
    }
}
