//! What a histogram chunk says about counter resets: once for the chunk, before its first histogram.

use crate::histogram::CounterResetHint;

/// A counter reset before a chunk; the values are Prometheus' on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CounterResetHeader {
    /// Nothing is known: who reads must compare.
    #[default]
    Unknown = 0,
    /// There was none.
    NotReset = 0b0100_0000,
    /// There was one.
    Reset = 0b1000_0000,
    /// A chunk of gauge histograms.
    Gauge = 0b1100_0000,
}

impl CounterResetHeader {
    /// Reads the flags of a chunk.
    pub(super) fn of(flags: u8) -> Self {
        match flags >> 6 {
            0 => Self::Unknown,
            1 => Self::NotReset,
            2 => Self::Reset,
            _ => Self::Gauge,
        }
    }

    /// The header of a chunk that was meant to have this one and begins with such a histogram. What a histogram
    /// says of itself goes first.
    pub(super) fn with(self, hint: CounterResetHint) -> Self {
        match (hint, self) {
            (CounterResetHint::Gauge, _) => Self::Gauge,
            (CounterResetHint::Reset, _) => Self::Reset,
            (_, Self::Gauge) => Self::Unknown,
            (_, header) => header,
        }
    }

    /// The hint of the histogram at position `at`. A counter chunk goes on without a reset; whether one came before
    /// is left open, since the chunk before may be gone, or another may have come between.
    pub(super) fn hint(self, at: u16) -> CounterResetHint {
        match (self, at) {
            (Self::Gauge, _) => CounterResetHint::Gauge,
            (_, 0) => CounterResetHint::Unknown,
            _ => CounterResetHint::NotReset,
        }
    }
}
