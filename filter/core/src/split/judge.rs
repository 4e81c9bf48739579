//! Judges the series of a split request by the limits of its tenant, and by the one that the filter has for itself.

use ringside_proto::labels::Label;
use ringside_proto::limits::ContentLimits;

use super::BodyError;
use crate::tally::RefusedHere;

/// The most series of a split request, so that what is kept for each of them stays small beside the body. Real series
/// reach it in no body of an allowed size.
pub(super) const SERIES_MAX: usize = 1 << 20;

pub(super) struct Judge<'a> {
    limits: &'a ContentLimits,
    judges_labels: bool,
    series_max: usize,
}

impl<'a> Judge<'a> {
    pub(super) fn new(limits: &'a ContentLimits) -> Self {
        let own = limits.series_per_request.and_then(|max| usize::try_from(max).ok());
        let series_max = own.map_or(SERIES_MAX, |own| own.min(SERIES_MAX));
        Self { limits, judges_labels: limits.judges_labels(), series_max }
    }

    /// Whether there may be one more series than so many.
    #[inline]
    pub(super) fn one_more(&self, series: usize) -> Result<(), BodyError> {
        let max = self.series_max;
        if series < max { Ok(()) } else { Err(BodyError::TooManySeries { max }) }
    }

    /// Whether the series at an index is beyond a limit. Notes it then.
    #[inline]
    pub(super) fn refuses<'l, I: Iterator<Item = Label<'l>>>(
        &self,
        labels: impl FnOnce() -> I,
        index: usize,
        refused: &mut Option<RefusedHere>,
    ) -> bool {
        if !self.judges_labels {
            return false;
        }
        let Some(fault) = self.limits.fault(labels()) else { return false };
        let refused = refused.get_or_insert_with(|| RefusedHere {
            series: 0,
            first: index as u32,
            message: format!("series {index}: {fault}"),
        });
        refused.series += 1;
        true
    }
}
