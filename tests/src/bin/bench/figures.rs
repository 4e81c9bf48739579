//! What is measured, in which unit, and which way is better.

use std::collections::BTreeMap;

/// One measured quantity; a row of a table, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    SamplesPerCpuSecond,
    RequestP50,
    RequestP99,
    PeakPerSeries,
    SettledPerSeries,
    PerChurnedSeries,
    WalPerSample,
    FilesPerSample,
    HalfLoadP99,
    CutP99,
    CutSeconds,
    CutGrowth,
    BlockPerSample,
    RestartSeconds,
    RestartPeak,
    SameWalSeconds,
    SameWalPeak,
}

/// How a number is written.
enum Form {
    /// Thousands.
    Kilo,
    /// Whole.
    Whole,
    /// With two digits after the point.
    Fine,
}

use Figure::{
    BlockPerSample, CutGrowth, CutP99, CutSeconds, FilesPerSample, HalfLoadP99, PeakPerSeries,
    PerChurnedSeries, RequestP50, RequestP99, RestartPeak, RestartSeconds, SameWalPeak, SameWalSeconds,
    SamplesPerCpuSecond, SettledPerSeries, WalPerSample,
};

impl Figure {
    /// What the row is called, with its unit.
    pub(crate) fn label(self) -> &'static str {
        match self {
            SamplesPerCpuSecond => "samples per CPU-second",
            RequestP50 => "request, p50, ms",
            RequestP99 => "request, p99, ms",
            PeakPerSeries => "peak resident memory per active series, bytes",
            SettledPerSeries => "settled resident memory per active series, bytes",
            PerChurnedSeries => "memory growth per churned-out series, bytes",
            WalPerSample => "WAL per sample, bytes",
            FilesPerSample => "all files per sample, bytes",
            HalfLoadP99 => "request at half load, p99, ms",
            CutP99 => "the same while a block is cut, p99, ms",
            CutSeconds => "cut of a 2 h block, s",
            CutGrowth => "memory growth during the cut, %",
            BlockPerSample => "block per sample, bytes",
            RestartSeconds => "restart after SIGKILL, s",
            RestartPeak => "restart, peak resident memory, MB",
            SameWalSeconds => "start on Ringside's WAL, s",
            SameWalPeak => "start on Ringside's WAL, peak resident memory, MB",
        }
    }

    /// The value as text.
    pub(crate) fn show(self, value: f64) -> String {
        let form = match self {
            SamplesPerCpuSecond => Form::Kilo,
            PeakPerSeries | SettledPerSeries | PerChurnedSeries | RestartPeak | SameWalPeak => Form::Whole,
            RequestP50 | RequestP99 | WalPerSample | FilesPerSample | HalfLoadP99 | CutP99 | CutSeconds
            | CutGrowth | BlockPerSample | RestartSeconds | SameWalSeconds => Form::Fine,
        };
        match form {
            Form::Kilo => format!("{:.0} k", value / 1000.0),
            Form::Whole => format!("{value:.0}"),
            Form::Fine => format!("{value:.2}"),
        }
    }

    /// How many times better `ours` is than `theirs`; nothing where a ratio says nothing.
    pub(crate) fn advantage(self, ours: f64, theirs: f64) -> Option<f64> {
        match self {
            SamplesPerCpuSecond => Some(ours / theirs),
            CutGrowth => None,
            _ => Some(theirs / ours),
        }
        .filter(|ratio| ratio.is_finite())
    }
}

/// What was measured of one system in one scenario.
pub(crate) type Figures = BTreeMap<Figure, f64>;
