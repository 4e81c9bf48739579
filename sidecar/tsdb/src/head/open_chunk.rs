//! The chunk of a series that still grows, and when it is full.
//!
//! A chunk holds one kind of sample and never crosses the end of a range, so that blocks copy chunks as they are.
//! Owns no bytes: those are [`crate::chunkenc`]'s.

use crate::chunk::Chunk;
use crate::chunkenc::Encoding;
use crate::chunkenc::histogram::{Appended, HistogramAppender, HistogramChunkEnd, Number, predict_end};
use crate::chunkenc::xor::{SAMPLE_BYTES_MAX, XorAppender};
use crate::histogram::{Bucket, Count, NativeHistogram};
use crate::sample::Value;

/// Chunks of floats aim at this many samples; none holds more than twice as many.
const SAMPLES_PER_CHUNK: u16 = 120;
/// A chunk of floats with more bytes takes no further sample.
const CHUNK_BYTES_MAX: usize = 1024 - SAMPLE_BYTES_MAX;

/// A chunk that still grows; empty until the first sample. Times are milliseconds.
#[derive(Debug, Default)]
pub(super) struct OpenChunk {
    samples: Samples,
    mint: i64,
    /// A chunk of floats ends before this time.
    next_at: i64,
}

#[derive(Debug)]
enum Samples {
    Float(XorAppender),
    Histogram(Box<Histograms<u64, i64>>),
    FloatHistogram(Box<Histograms<f64, f64>>),
}

impl Default for Samples {
    fn default() -> Self {
        Self::Float(XorAppender::default())
    }
}

#[derive(Debug)]
struct Histograms<C: Number, B: Number> {
    chunk: HistogramAppender<C, B>,
    end: HistogramChunkEnd,
}

/// One of the two kinds of histograms among [`Samples`].
trait Kind: Sized {
    const ENCODING: Encoding;
    fn of(samples: &mut Samples) -> Option<&mut Self>;
    fn into_samples(self) -> Samples;
}

impl Kind for Histograms<u64, i64> {
    const ENCODING: Encoding = Encoding::Histogram;

    fn of(samples: &mut Samples) -> Option<&mut Self> {
        match samples {
            Samples::Histogram(histograms) => Some(histograms),
            _ => None,
        }
    }

    fn into_samples(self) -> Samples {
        Samples::Histogram(Box::new(self))
    }
}

impl Kind for Histograms<f64, f64> {
    const ENCODING: Encoding = Encoding::FloatHistogram;

    fn of(samples: &mut Samples) -> Option<&mut Self> {
        match samples {
            Samples::FloatHistogram(histograms) => Some(histograms),
            _ => None,
        }
    }

    fn into_samples(self) -> Samples {
        Samples::FloatHistogram(Box::new(self))
    }
}

/// The end of the aligned range that holds `t`: `(t / range) * range + range`, truncating as Go does.
pub(crate) fn range_end(t: i64, range: i64) -> i64 {
    (t / range).saturating_mul(range).saturating_add(range)
}

impl OpenChunk {
    /// The newest time; `None` without samples.
    #[inline]
    pub(super) fn newest(&self) -> Option<i64> {
        match &self.samples {
            Samples::Float(xor) => (xor.count() > 0).then(|| xor.last().0),
            Samples::Histogram(open) => Some(open.chunk.last_t()),
            Samples::FloatHistogram(open) => Some(open.chunk.last_t()),
        }
    }

    /// Reads where the next sample will go.
    #[inline]
    pub(super) fn look(&self) -> u64 {
        match &self.samples {
            Samples::Float(xor) => xor.look(),
            Samples::Histogram(_) | Samples::FloatHistogram(_) => 0,
        }
    }

    /// The newest time, where the samples are floats.
    #[inline]
    pub(super) fn newest_float(&self) -> Option<i64> {
        match &self.samples {
            Samples::Float(xor) if xor.count() > 0 => Some(xor.last().0),
            _ => None,
        }
    }

    /// The kind of the samples; `None` without samples.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        match &self.samples {
            Samples::Float(xor) => (xor.count() > 0).then_some(Encoding::Xor),
            Samples::Histogram(_) => Some(Encoding::Histogram),
            Samples::FloatHistogram(_) => Some(Encoding::FloatHistogram),
        }
    }

    /// The oldest time; `None` without samples.
    pub(super) fn mint(&self) -> Option<i64> {
        self.newest().map(|_| self.mint)
    }

    /// The newest value.
    pub(super) fn last(&self) -> Option<Value> {
        match &self.samples {
            Samples::Float(xor) => (xor.count() > 0).then(|| Value::Float(f64::from_bits(xor.last().1))),
            Samples::Histogram(open) => open.chunk.last().map(Value::Histogram),
            Samples::FloatHistogram(open) => open.chunk.last().map(Value::FloatHistogram),
        }
    }

    /// Adds a sample newer than all before. Returns the chunk that it ended.
    pub(super) fn push(&mut self, t: i64, value: &Value, range: i64) -> Option<Chunk> {
        match value {
            Value::Float(v) => self.push_float(t, *v, range),
            Value::Histogram(h) => self.push_histogram(t, h, range),
            Value::FloatHistogram(h) => self.push_histogram(t, h, range),
        }
    }

    /// Adds a float newer than all before. Returns the chunk that it ended.
    #[inline]
    pub(super) fn push_float(&mut self, t: i64, v: f64, range: i64) -> Option<Chunk> {
        let mut ended = None;
        let mut count = match &self.samples {
            Samples::Float(xor) => xor.count(),
            _ => {
                ended = self.close();
                0
            }
        };
        let Samples::Float(xor) = &mut self.samples else { return ended };
        if count > 0 {
            if count == SAMPLES_PER_CHUNK / 4 {
                self.next_at = predict_end(self.mint, xor.last().0, self.next_at, 4.0);
            }
            if xor.len() > CHUNK_BYTES_MAX || t >= self.next_at || count >= 2 * SAMPLES_PER_CHUNK {
                let maxt = xor.last().0;
                ended = Some(Chunk { mint: self.mint, maxt, encoding: Encoding::Xor, data: xor.finish() });
                count = 0;
            }
        }
        if count == 0 {
            self.mint = t;
            self.next_at = range_end(t, range);
        }
        xor.append(t, v);
        ended
    }

    /// Adds a histogram newer than all before. Returns the chunk that it ended.
    fn push_histogram<C, B>(&mut self, t: i64, h: &NativeHistogram<C, B>, range: i64) -> Option<Chunk>
    where
        C: Number + Count,
        B: Number + Bucket,
        Histograms<C, B>: Kind,
    {
        let end = HistogramChunkEnd::new(t, range_end(t, range));
        let mint = std::mem::replace(&mut self.mint, t);
        let Some(open) = Histograms::<C, B>::of(&mut self.samples) else {
            self.mint = mint;
            let ended = self.close();
            self.mint = t;
            let mut open = Histograms { chunk: HistogramAppender::default(), end };
            // An empty chunk takes any histogram.
            let _ = open.chunk.append(t, h);
            self.samples = open.into_samples();
            return ended;
        };
        let (maxt, count, bytes) = (open.chunk.last_t(), open.chunk.count(), open.chunk.bytes().len());
        let header = match open.end.is_due(t, maxt, count, bytes) {
            true => open.chunk.header_before(h),
            false => match open.chunk.append(t, h) {
                Appended::NewChunk(header) => header,
                Appended::Stored => {
                    self.mint = mint;
                    return None;
                }
            },
        };
        let data = open.chunk.finish(header);
        open.end = end;
        let _ = open.chunk.append(t, h);
        Some(Chunk { mint, maxt, encoding: Histograms::<C, B>::ENCODING, data })
    }

    /// A copy of the chunk as it is.
    pub(super) fn copy(&self) -> Option<Chunk> {
        let maxt = self.newest()?;
        let (encoding, data) = match &self.samples {
            Samples::Float(xor) => (Encoding::Xor, xor.copy()),
            Samples::Histogram(open) => (Encoding::Histogram, open.chunk.bytes().into()),
            Samples::FloatHistogram(open) => (Encoding::FloatHistogram, open.chunk.bytes().into()),
        };
        Some(Chunk { mint: self.mint, maxt, encoding, data })
    }

    /// Ends the chunk, and leaves an empty one.
    pub(super) fn close(&mut self) -> Option<Chunk> {
        let maxt = self.newest()?;
        let (encoding, data) = match std::mem::take(&mut self.samples) {
            Samples::Float(mut xor) => (Encoding::Xor, xor.finish()),
            Samples::Histogram(mut open) => (Encoding::Histogram, open.chunk.finish(Default::default())),
            Samples::FloatHistogram(mut open) => {
                (Encoding::FloatHistogram, open.chunk.finish(Default::default()))
            }
        };
        Some(Chunk { mint: self.mint, maxt, encoding, data })
    }
}

/// Encodes samples in order of time into chunks as a series would have them.
pub(crate) fn encode(samples: impl IntoIterator<Item = (i64, Value)>, range: i64) -> Vec<Chunk> {
    let mut open = OpenChunk::default();
    let mut chunks: Vec<_> =
        samples.into_iter().filter_map(|(t, value)| open.push(t, &value, range)).collect();
    chunks.extend(open.close());
    chunks
}
