//! When a histogram chunk is full: by its bytes, since histograms differ much in size.

/// Chunks aim at this many bytes; one of twice as many takes no further sample if it has [`SAMPLES_MIN`].
const CHUNK_BYTES: usize = 1024;
/// A chunk has at least so many samples, unless its range ends.
const SAMPLES_MIN: u16 = 10;

/// Where an open chunk is to end. Times are milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistogramChunkEnd {
    mint: i64,
    /// A chunk never crosses the end of its range.
    range_end: i64,
    /// The chunk ends before this time.
    next_at: i64,
    predicted: bool,
}

impl HistogramChunkEnd {
    /// For a chunk that begins at `mint`, in a range that ends at `range_end`.
    pub(crate) fn new(mint: i64, range_end: i64) -> Self {
        Self { mint, range_end, next_at: range_end, predicted: false }
    }

    /// True if a sample at `t` must begin a new chunk; `maxt`, `count` and `bytes` are of the chunk as it is. To be
    /// asked before every sample but the first.
    pub(crate) fn is_due(&mut self, t: i64, maxt: i64, count: u16, bytes: usize) -> bool {
        if !self.predicted && bytes >= CHUNK_BYTES / 4 {
            let fill = CHUNK_BYTES as f64 / bytes as f64;
            self.next_at = predict_end(self.mint, maxt, self.next_at, fill);
            self.predicted = true;
        }
        (t >= self.next_at || bytes >= 2 * CHUNK_BYTES) && (count >= SAMPLES_MIN || t >= self.range_end)
    }
}

/// Spreads what is left of a range over chunks of about equal length, given that a chunk as long as the present one
/// is to become `fill` times as full.
pub(crate) fn predict_end(mint: i64, maxt: i64, next_at: i64, fill: f64) -> i64 {
    let left = next_at.saturating_sub(mint);
    let n = left as f64 / (maxt.saturating_sub(mint).saturating_add(1) as f64 * fill);
    if n <= 1.0 { next_at } else { mint.saturating_add((left as f64 / n.floor()) as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: i64 = 7_200_000;

    /// Where chunks of histograms of so many bytes each begin.
    fn cuts(bytes: usize, step: i64) -> Vec<i64> {
        let (mut end, mut count) = (HistogramChunkEnd::new(0, RANGE), 1);
        let mut cuts = vec![0];
        for t in (step..2 * RANGE).step_by(step as usize) {
            if end.is_due(t, t - step, count, bytes * usize::from(count)) {
                end = HistogramChunkEnd::new(t, t / RANGE * RANGE + RANGE);
                count = 0;
                cuts.push(t);
            }
            count += 1;
        }
        cuts
    }

    #[test]
    fn a_quarter_predicts_equal_chunks() {
        let cuts = cuts(20, 15_000);
        // 13 samples have 260 bytes, so 51 make a chunk: ten of 48 fill the range.
        let expected: Vec<_> = (0..20).map(|chunk| chunk * RANGE / 10).collect();
        assert_eq!(cuts, expected);
    }

    #[test]
    fn large_histograms_come_in_tens() {
        let cuts = cuts(5_000, 15_000);
        assert!(cuts.windows(2).all(|pair| pair[1] - pair[0] == 150_000));
    }

    #[test]
    fn a_range_ends_a_chunk_of_any_size() {
        let mut end = HistogramChunkEnd::new(0, RANGE);
        assert!(!end.is_due(RANGE - 1, 0, 1, 100_000));
        assert!(end.is_due(RANGE, 0, 1, 10));
    }
}
