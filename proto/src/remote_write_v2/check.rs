//! What a series owes its receiver beyond its framing: references that lead somewhere, and samples of one kind.
//!
//! It owns neither the rules for label names nor those for the order of samples, which are the storage's.

use super::{Contents, LABEL_BYTES_MAX, Symbols, TimeSeries};
use crate::wire::WireError;

/// Why a series is unusable. All but [`Wire`](Self::Wire) leave the other series of the request as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// The framing is at fault, and with it the request.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A name without a value.
    #[error("the label references are odd in number")]
    OddRefs,
    /// A reference beyond the table.
    #[error("reference {reference} is beyond the {symbols} symbols of the request")]
    RefRange {
        /// The reference.
        reference: u32,
        /// How many symbols there are.
        symbols: usize,
    },
    /// Labels that are too long together.
    #[error("the labels have more than {LABEL_BYTES_MAX} bytes")]
    LabelBytes,
    /// Samples of two kinds.
    #[error("the series has both samples and histograms")]
    TwoKinds,
    /// Nothing to store.
    #[error("the series has neither a sample nor a histogram")]
    NoSamples,
}

impl TimeSeries<'_> {
    /// Reads the whole series. After a success none of its iterators fails on it, but for labels that are too long. A
    /// fault of the framing goes before any other.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, symbols: Symbols<'_, '_>) -> Result<Contents, SeriesError> {
        let contents = self.contents()?;
        self.label_refs().try_for_each(|reference| reference.map(drop))?;
        self.samples().try_for_each(|sample| sample.map(drop))?;
        self.exemplars().try_for_each(|exemplar| exemplar?.label_refs().try_for_each(|at| at.map(drop)))?;
        let metadata = self.metadata()?.unwrap_or_default();

        let in_range = |reference: u32| {
            let symbols = symbols.len();
            let is_known = (reference as usize) < symbols;
            if is_known { Ok(()) } else { Err(SeriesError::RefRange { reference, symbols }) }
        };
        let paired = |mut refs: super::RefIter<'_>| {
            let count = refs.try_fold(0usize, |count, at| in_range(at?).map(|()| count + 1))?;
            if count % 2 == 0 { Ok(()) } else { Err(SeriesError::OddRefs) }
        };
        paired(self.label_refs())?;
        for exemplar in self.exemplars() {
            paired(exemplar?.label_refs())?;
        }
        for reference in [metadata.help_ref, metadata.unit_ref] {
            // 0 is "none", also where there is no table.
            if reference != 0 {
                in_range(reference)?;
            }
        }
        match (contents.samples, contents.histograms) {
            (0, 0) => Err(SeriesError::NoSamples),
            (0, _) | (_, 0) => Ok(contents),
            _ => Err(SeriesError::TwoKinds),
        }
    }
}
