//! What became of a request: which series are refused, why, and how much of them is missing.
//!
//! Owns which reason stands for a refusal of the storage. What a reason means for the answer is [`crate::error`]'s.

use ringside_proto::REFUSED_LISTED_MAX;
use ringside_proto::labels::label_fields;
use ringside_proto::remote_write_v2::Contents;
use ringside_proto::ringside::{Reason, RefusedSeries};
use ringside_tsdb::{LabelLimit, Refusal, display_series};

use crate::error::severity;

/// Longest message that one refusal puts into the answer, in bytes: labels can be as large as a body.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024;

/// What became of a request whose accepted part is durable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Refused series with the worst reason of each, in the order of the body; the first
    /// [`REFUSED_LISTED_MAX`] of them.
    pub(crate) refused: Vec<RefusedSeries>,
    /// How many series were refused.
    pub(crate) refused_count: u64,
    /// What of the request is not stored.
    pub(crate) missing: Contents,
    /// The worst reason among them.
    pub(crate) worst: Option<Reason>,
    /// The first refusal, for people.
    pub(crate) first: Option<String>,
    last: Option<u32>,
}

impl Outcome {
    /// Notes that `missing` of the series at `index` is refused.
    pub(super) fn refuse(
        &mut self,
        index: u32,
        reason: Reason,
        missing: Contents,
        message: impl FnOnce() -> String,
    ) {
        if self.first.is_none() {
            let mut message = format!("series {index}: {}", message());
            truncate(&mut message, MESSAGE_BYTES_MAX);
            self.first = Some(message);
        }
        if self.worst.is_none_or(|worst| severity(reason) > severity(worst)) {
            self.worst = Some(reason);
        }
        let again = self.last.replace(index) == Some(index);
        self.refused_count += u64::from(!again);
        if !again && self.refused.len() < REFUSED_LISTED_MAX {
            let refused = RefusedSeries { index, reason: reason.into(), ..RefusedSeries::default() };
            self.refused.push(refused);
        }
        self.miss(index, missing);
        let Some(refused) = self.refused.last_mut().filter(|refused| refused.index == index) else { return };
        if severity(reason) > severity(refused.reason()) {
            refused.set_reason(reason);
        }
    }

    /// Notes that `missing` of the series at `index` is not stored, for which it is not refused by itself.
    pub(super) fn miss(&mut self, index: u32, missing: Contents) {
        self.missing += missing;
        let Some(refused) = self.refused.last_mut().filter(|refused| refused.index == index) else { return };
        let add = |sum: &mut u32, more: u64| *sum = sum.saturating_add(more.try_into().unwrap_or(u32::MAX));
        add(&mut refused.samples_missing, missing.samples);
        add(&mut refused.histograms_missing, missing.histograms);
        add(&mut refused.exemplars_missing, missing.exemplars);
    }
}

/// The refusal of something of the series with these labels, for people.
pub(super) fn explain(refusal: &Refusal, labels: &[u8]) -> String {
    let Refusal::LabelLimit { limit, .. } = refusal else {
        return format!("{refusal} in {}", display_series(labels));
    };
    let fields = label_fields(labels).map_while(Result::ok);
    let offender = match limit {
        LabelLimit::NameBytes => fields.max_by_key(|label| label.name.len()),
        LabelLimit::ValueBytes => fields.max_by_key(|label| label.value.len()),
        _ => None,
    };
    let offender = offender.map(|label| format!(": {}", String::from_utf8_lossy(label.name)));
    format!("{refusal}{} in {}", offender.unwrap_or_default(), display_series(labels))
}

pub(super) fn reason_of(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::OutOfOrder { .. } | Refusal::OutOfOrderExemplar { .. } => Reason::OutOfOrder,
        Refusal::DuplicateTimestamp { .. } => Reason::DuplicateTimestamp,
        Refusal::OutOfBounds { .. } | Refusal::TooFarInFuture { .. } => Reason::OutOfBounds,
        Refusal::TooOld { .. } => Reason::TooOld,
        Refusal::SeriesLimit { .. } => Reason::Limit,
        // Labels that are invalid or too large, and whatever the storage may come to refuse.
        _ => Reason::Invalid,
    }
}

pub(super) fn truncate(message: &mut String, bytes_max: usize) {
    if message.len() > bytes_max {
        message.truncate(message.floor_char_boundary(bytes_max));
        message.push('…');
    }
}
