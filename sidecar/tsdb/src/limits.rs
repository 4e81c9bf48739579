//! How many series a tenant and the process may hold, and how large labels may be. Known series are never refused.
//!
//! Owns the bounds and the count of the process; the head asks before it creates a series.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bounds of one tenant; 0 stands for none. What the head holds already is kept when a bound is lowered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Series in the head.
    pub series_max: u64,
    /// Labels of a new series.
    pub labels_per_series_max: u64,
    /// Bytes of a label name of a new series.
    pub label_name_bytes_max: u64,
    /// Bytes of a label value of a new series.
    pub label_value_bytes_max: u64,
}

/// The series of all tenants of a process together, shared by their storages.
#[derive(Debug, Default)]
pub struct SeriesBudget {
    used: AtomicU64,
    /// 0 for none.
    max: AtomicU64,
    closed: AtomicBool,
}

impl SeriesBudget {
    /// Series that the heads hold.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The bound; 0 for none.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// Sets the bound; 0 for none.
    pub fn set_max(&self, series: u64) {
        self.max.store(series, Ordering::Relaxed);
    }

    /// Refuses every new series until [`Self::open`], whatever the bound.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Ends what [`Self::close`] began.
    pub fn open(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }

    /// True between [`Self::close`] and [`Self::open`].
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether the bound leaves room for one more series. Two tenants that ask at once may both be let in.
    pub(crate) fn admits_one(&self) -> bool {
        self.max() == 0 || self.used() < self.max()
    }

    pub(crate) fn add(&self, series: u64) {
        self.used.fetch_add(series, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, series: u64) {
        self.used.fetch_sub(series, Ordering::Relaxed);
    }
}

/// Whose bound on the number of series is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeriesLimit {
    /// The tenant's: so many series.
    Tenant(u64),
    /// The process': so many series in all its tenants.
    Process(u64),
    /// The process is short of memory.
    Memory,
}

impl std::fmt::Display for SeriesLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(max) => write!(f, "the tenant has its {max} series"),
            Self::Process(max) => write!(f, "all tenants together have their {max} series"),
            Self::Memory => f.write_str("memory is short"),
        }
    }
}

/// Which bound on labels a series breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelLimit {
    /// The number of labels.
    Count,
    /// The bytes of a name.
    NameBytes,
    /// The bytes of a value.
    ValueBytes,
}

impl std::fmt::Display for LabelLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Count => "labels",
            Self::NameBytes => "bytes in a label name",
            Self::ValueBytes => "bytes in a label value",
        })
    }
}
