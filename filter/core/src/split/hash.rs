//! The hash of a series as it lies in a body of either version: the same labels give the same hash, in whatever order
//! and encoding they arrive.
//!
//! Labels that no sidecar takes are hashed all the same, somehow: whichever sidecars get the series, they refuse it.

use std::cell::Cell;

use ringside_hashring::SeriesHasher;
use ringside_proto::labels::Label;
use ringside_proto::remote_write_v2::{SeriesError, Symbols};
use ringside_proto::{LABELS_MAX, WireError, remote_write, remote_write_v2};

/// The hash of a series of remote write 1.0, with its labels in order of name.
#[inline]
pub(super) fn hash<'a>(
    hasher: &mut SeriesHasher,
    series: &remote_write::TimeSeries<'a>,
    unsorted: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<u64, WireError> {
    hash_labels(hasher, || series.labels(), unsorted)
}

/// The hash of a series of remote write 2.0, and how many bytes its labels stand for. References that lead nowhere and
/// labels that are too long end it.
#[inline]
pub(super) fn hash_v2<'a>(
    hasher: &mut SeriesHasher,
    series: &remote_write_v2::TimeSeries<'a>,
    symbols: Symbols<'_, 'a>,
    unsorted: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<(u64, usize), WireError> {
    // Of the last pass over the labels, which is the only one that goes to their end.
    let bytes = Cell::new(0);
    let labels = || {
        bytes.set(0);
        series.labels(symbols).map_while(|label| match label {
            Ok(label) => {
                bytes.set(bytes.get() + label.bytes());
                Some(Ok(label))
            }
            Err(SeriesError::Wire(error)) => Some(Err(error)),
            Err(_) => None,
        })
    };
    let hash = hash_labels(hasher, labels, unsorted)?;
    Ok((hash, bytes.get()))
}

#[inline]
fn hash_labels<'a, I: Iterator<Item = Result<Label<'a>, WireError>>>(
    hasher: &mut SeriesHasher,
    labels: impl Fn() -> I,
    unsorted: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<u64, WireError> {
    let mut last: &[u8] = &[];
    for label in labels() {
        let label = label?;
        if label.name < last {
            hasher.finish_series(); // Forgets what was fed so far.
            return sorted_hash(hasher, labels, unsorted);
        }
        hasher.label(label.name, label.value);
        last = label.name;
    }
    Ok(hasher.finish_series())
}

/// As [`hash_labels`], for labels that arrived in another order. Equal names keep their order. More labels than a
/// sidecar takes are not collected.
fn sorted_hash<'a, I: Iterator<Item = Result<Label<'a>, WireError>>>(
    hasher: &mut SeriesHasher,
    labels: impl Fn() -> I,
    unsorted: &mut Vec<(&'a [u8], &'a [u8])>,
) -> Result<u64, WireError> {
    unsorted.clear();
    for label in labels() {
        let label = label?;
        if unsorted.len() == LABELS_MAX {
            return unsorted_hash(hasher, labels());
        }
        unsorted.push((label.name, label.value));
    }
    unsorted.sort_by_key(|(name, _)| *name);
    for (name, value) in unsorted {
        hasher.label(name, value);
    }
    Ok(hasher.finish_series())
}

fn unsorted_hash<'a>(
    hasher: &mut SeriesHasher,
    labels: impl Iterator<Item = Result<Label<'a>, WireError>>,
) -> Result<u64, WireError> {
    for label in labels {
        let label = label?;
        hasher.label(label.name, label.value);
    }
    Ok(hasher.finish_series())
}
