//! How much text the references of a request may stand for. A reference of one byte can name a symbol of many MiB, so
//! that a small body could ask for hours of hashing and copying: both sides bound it, by the same numbers.

use super::{RequestError, Symbols, TimeSeries};

/// Most bytes that the names and values of the labels of one series, or of one exemplar, have together.
pub const LABEL_BYTES_MAX: usize = 1 << 20;

/// Most bytes of label names and values that the series of one request stand for together: four times the largest body.
pub const EXPANDED_BYTES_MAX: usize = 128 << 20;

/// The sum over the series of one request.
#[derive(Debug, Clone, Default)]
pub struct Expansion {
    bytes: usize,
}

impl Expansion {
    /// Adds a series whose labels stand for so many bytes.
    ///
    /// # Errors
    /// The request is beyond [`EXPANDED_BYTES_MAX`].
    #[inline]
    pub fn add(&mut self, label_bytes: usize) -> Result<(), RequestError> {
        self.bytes = self.bytes.saturating_add(label_bytes);
        if self.bytes <= EXPANDED_BYTES_MAX { Ok(()) } else { Err(RequestError::Expanded) }
    }
}

impl TimeSeries<'_> {
    /// How many bytes of names and values its labels stand for, up to the first label that has a fault or goes beyond
    /// [`LABEL_BYTES_MAX`].
    pub fn label_bytes(&self, symbols: Symbols<'_, '_>) -> usize {
        self.labels(symbols).map_while(Result::ok).map(|label| label.bytes()).sum()
    }
}
