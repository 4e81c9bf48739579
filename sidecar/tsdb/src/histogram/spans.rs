//! Which buckets a histogram has: runs of bucket indices.

/// Bucket indices of valid histograms lie between this and its negative, so that the distance of any two fits a
/// span's offset. The finest schema uses indices up to 2^18.
pub const BUCKET_INDEX_MAX: i64 = 1 << 30;

/// A run of neighbouring buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first span: the index of its first bucket. Any other: how many buckets lie between it and the span
    /// before.
    pub offset: i32,
    /// How many buckets.
    pub length: u32,
}

/// The indices of all buckets, in order; spans without a bucket are gone.
pub(crate) fn indices(spans: &[Span]) -> impl Iterator<Item = i64> {
    let runs = spans.iter().scan(0i64, |end, span| {
        let start = *end + i64::from(span.offset);
        *end = start + i64::from(span.length);
        Some(start..*end)
    });
    runs.flatten()
}

/// Builds spans from ascending bucket indices.
#[derive(Debug, Default)]
pub(crate) struct SpanBuilder {
    spans: Vec<Span>,
    /// The index after the newest bucket.
    end: i64,
}

impl SpanBuilder {
    /// Adds a bucket behind all others. `None` if its distance fits no span.
    pub(crate) fn push(&mut self, index: i64) -> Option<()> {
        match self.spans.last_mut() {
            Some(last) if index == self.end => last.length = last.length.checked_add(1)?,
            _ => self.spans.push(Span { offset: i32::try_from(index - self.end).ok()?, length: 1 }),
        }
        self.end = index + 1;
        Some(())
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The spans.
    pub(crate) fn finish(self) -> Vec<Span> {
        self.spans
    }
}
