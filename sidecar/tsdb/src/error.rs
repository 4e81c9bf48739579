//! What can go wrong with a tenant's storage, and why a single series is refused.
//!
//! [`Error`] is ours: the request is not acknowledged and may be retried. [`Refusal`] is the sender's: a retry of
//! the same sample cannot succeed. Which status each becomes is the sidecar's to say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits::{LabelLimit, SeriesLimit};

/// A failure of the storage itself.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted, for example `write`.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file is not what its format demands, at a place where repair would lose acknowledged data.
    #[error("{} is corrupt at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// A file holds data of a kind that this version cannot keep; opening it would lose that data.
    #[error("{} holds {what}, which this version cannot read; it is left untouched", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The kind of data.
        what: &'static str,
    },
    /// A write or fsync of the WAL failed before, so nothing is acknowledged until the tenant is opened again.
    #[error("the write-ahead log failed and the tenant takes no writes until it is reopened: {0}")]
    Poisoned(#[source] Arc<Error>),
    /// An operation panicked and left memory in an unknown state.
    #[error("an earlier operation panicked; the tenant must be reopened")]
    Broken,
    /// The storage was closed.
    #[error("the storage is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |e| Error::Io { action, path: path.to_owned(), source: Arc::new(e) }
    }

    /// True if a file or directory is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl ToString) -> Error {
        Error::Corrupt { path: path.to_owned(), offset, what: what.to_string() }
    }
}

/// Why one series or one sample was not taken. Times are milliseconds since the epoch. Cheap to make, since a
/// misbehaving sender can cause one per sample; the series it concerns is the caller's to add, by
/// [`crate::display_series`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The label set cannot name a series.
    #[error("invalid labels: {reason}")]
    InvalidLabels {
        /// What is wrong.
        reason: &'static str,
    },
    /// The labels are larger than the tenant's bounds.
    #[error("the series has {got} {limit}, more than {max}")]
    LabelLimit {
        /// Which bound.
        limit: LabelLimit,
        /// What the series has.
        got: u64,
        /// What it may have.
        max: u64,
    },
    /// A new series, and no more fit. A retry may succeed once others are gone; known series are still taken.
    #[error("no new series: {limit}")]
    SeriesLimit {
        /// Which bound.
        limit: SeriesLimit,
    },
    /// The series has a newer sample.
    #[error("out of order sample: got {t_ms}, the newest is at {last_ms}")]
    OutOfOrder {
        /// The refused sample's time.
        t_ms: i64,
        /// The newest sample's time.
        last_ms: i64,
    },
    /// The series has another value at this time.
    #[error("duplicate sample for timestamp: another value is stored at {t_ms}")]
    DuplicateTimestamp {
        /// The time of both samples.
        t_ms: i64,
    },
    /// Older than the head accepts.
    #[error("out of bounds: {t_ms} is older than the oldest accepted time {bound_ms}")]
    OutOfBounds {
        /// The refused sample's time.
        t_ms: i64,
        /// The oldest time still accepted.
        bound_ms: i64,
    },
    /// Not the newest of its series, and older than the window for samples out of order.
    #[error("too old sample: {t_ms} is older than the oldest accepted time {bound_ms}")]
    TooOld {
        /// The refused sample's time.
        t_ms: i64,
        /// The oldest time still accepted.
        bound_ms: i64,
    },
    /// The series has a newer exemplar, and this one is older than the window for samples out of order.
    #[error("out of order exemplar: got {t_ms}, the newest is at {last_ms}")]
    OutOfOrderExemplar {
        /// The refused exemplar's time.
        t_ms: i64,
        /// The newest exemplar's time.
        last_ms: i64,
    },
    /// The labels of an exemplar are too long.
    #[error("an exemplar's labels have more than {max} characters")]
    ExemplarLabels {
        /// What it may have.
        max: u64,
    },
    /// Further ahead of this machine's clock than allowed.
    #[error("too far in the future: {t_ms} is past the newest accepted time {bound_ms}")]
    TooFarInFuture {
        /// The refused sample's time.
        t_ms: i64,
        /// The newest time accepted now.
        bound_ms: i64,
    },
}
