//! What the storage takes, so what these tests send. All tests read it here.

/// The out-of-order window, milliseconds; none: late samples are refused.
pub(crate) const OUT_OF_ORDER_WINDOW_MS: i64 = 10 * 60 * 1000;

/// Whether native histograms are stored.
pub(crate) const HISTOGRAMS: bool = true;

/// Whether exemplars are kept.
pub(crate) const EXEMPLARS: bool = true;
