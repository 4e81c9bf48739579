//! A tenant's directory opened for reading alone: its blocks and what its log holds beyond them, merged by series.
//!
//! Changes nothing on disk, so it reads directories of a stopped Prometheus as well as copies of ours. A directory
//! in use may lose a file in between, which is an error then.

use std::path::Path;
use std::sync::Arc;

use crate::block::{self, Block, Meta, Series, SeriesIter};
use crate::chunk::Chunk;
use crate::chunkenc::{ChunkError, ChunkIter};
use crate::error::Error;
use crate::fs::Fs;
use crate::head::{Before, Head, Replay, encode};
use crate::index::{Postings, Symbol};
use crate::limits::SeriesBudget;
use crate::sample::Value;
use crate::wal::Log;
use crate::{Options, layout, wal};

/// A tenant's directory, open for reading.
#[derive(Debug)]
pub struct TsdbReadOnly {
    blocks: Vec<Block>,
    bad_blocks: Vec<Error>,
    head: Head,
}

impl TsdbReadOnly {
    /// Opens the blocks and replays the log. Directories that look like blocks but have no readable description are
    /// passed over, as at every start; a block that has one and is damaged is an error.
    pub fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let (metas, bad_blocks) = block::read_all(fs, dir)?;
        let open = |meta: &Meta| Block::open(fs, &dir.join(meta.ulid.to_string()));
        let blocks = metas.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let in_order = metas.iter().filter(|meta| meta.is_in_order());
        let min_valid = in_order.map(|meta| meta.max_time).max().unwrap_or(i64::MIN);
        let Options { block_range_ms, out_of_order_window_ms, .. } = Options::default();
        let budget = Arc::new(SeriesBudget::default());
        let mut head = Head::new(block_range_ms, min_valid, out_of_order_window_ms, budget);
        head.begin_replay();
        let mut replay = Replay::default();
        let wbl = metas.iter().filter_map(|meta| meta.wbl_first()).max().unwrap_or(0);
        wal::replay_read_only(fs, &dir.join(layout::WBL), Log::Wbl(wbl), &mut |payload| {
            replay.out_of_order(payload, block_range_ms)
        })?;
        wal::replay_read_only(fs, &dir.join(layout::WAL), Log::Wal, &mut |payload| {
            replay.record(&mut head, payload)
        })?;
        replay.done(&mut head);
        Ok(Self { blocks, bad_blocks, head })
    }

    /// The blocks, oldest first.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Why directories that look like blocks were passed over.
    pub fn bad_blocks(&self) -> &[Error] {
        &self.bad_blocks
    }

    /// The series of blocks and head in the order of their labels. With a label, those of the blocks that have it
    /// and all of the head. A block that has no time in `[mint, maxt]` is left out.
    pub fn series(
        &self,
        (mint, maxt): (i64, i64),
        label: Option<(&[u8], &[u8])>,
    ) -> Result<MergedSeries<'_>, Error> {
        let mut sources =
            vec![Source { next: None, of: Of::Head(&self.head, sorted(&self.head).into_iter()) }];
        for block in &self.blocks {
            if block.meta().min_time > maxt || block.meta().max_time <= mint {
                continue;
            }
            let postings = match label {
                Some((name, value)) => block.index().postings(name, value)?,
                None => block.index().all_postings()?,
            };
            sources.push(Source { next: None, of: Of::Block(block, Box::new(block.series_of(postings))) });
        }
        for source in &mut sources {
            source.advance()?;
        }
        Ok(MergedSeries { sources })
    }
}

/// The slots of a head's series by their labels.
fn sorted(head: &Head) -> Vec<usize> {
    let slots = head.slots();
    let taken = slots.range(0, slots.len()).filter(|(_, series)| series.reference != 0);
    let mut order: Vec<_> = taken.map(|(slot, _)| slot).collect();
    order.sort_by(|a, b| {
        let labels = |slot: &usize| slots.get(*slot).into_iter().flat_map(|series| head.labels(series));
        labels(a).cmp(labels(b))
    });
    order
}

/// One block, or the head.
#[derive(Debug)]
struct Source<'d> {
    next: Option<(Labels, Part<'d>)>,
    of: Of<'d>,
}

type Labels = Vec<(Symbol, Symbol)>;

#[derive(Debug)]
enum Of<'d> {
    Block(&'d Block, Box<SeriesIter<'d, Postings<'d>>>),
    Head(&'d Head, std::vec::IntoIter<usize>),
}

impl Source<'_> {
    fn advance(&mut self) -> Result<(), Error> {
        self.next = match &mut self.of {
            Of::Block(block, series) => series.next().transpose()?.map(|mut series| {
                let labels = std::mem::take(&mut series.labels);
                (labels, Part::Block(block, series))
            }),
            Of::Head(head, slots) => {
                slots.next().and_then(|slot| Some((slot, head.slots().get(slot)?))).map(|(slot, series)| {
                    let labels = head.labels(series).map(|(name, value)| (name.into(), value.into()));
                    let Before { mut chunks, out_of_order, .. } = series.before(i64::MAX);
                    let range = Options::default().block_range_ms;
                    chunks.extend(encode(out_of_order, range));
                    chunks.extend(encode(head.late_of(slot as u32), range));
                    (labels.collect(), Part::Head(chunks))
                })
            }
        };
        Ok(())
    }
}

/// Iterates over the series of all sources; each label set comes once. Ends after the first error.
#[derive(Debug)]
pub struct MergedSeries<'d> {
    sources: Vec<Source<'d>>,
}

impl<'d> MergedSeries<'d> {
    fn merge(&mut self) -> Result<Option<SeriesData<'d>>, Error> {
        let first =
            self.sources.iter().filter_map(|source| source.next.as_ref()).map(|(labels, _)| labels).min();
        let Some(labels) = first.cloned() else { return Ok(None) };
        let mut parts = Vec::new();
        for source in &mut self.sources {
            if let Some((_, part)) = source.next.take_if(|(next, _)| *next == labels) {
                parts.push(part);
                source.advance()?;
            }
        }
        Ok(Some(SeriesData { labels, parts }))
    }
}

impl<'d> Iterator for MergedSeries<'d> {
    type Item = Result<SeriesData<'d>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let series = self.merge();
        if series.is_err() {
            self.sources.clear();
        }
        series.transpose()
    }
}

/// One series with its chunks from every block and the head.
#[derive(Debug)]
pub struct SeriesData<'d> {
    /// Names and values, sorted by name.
    pub labels: Vec<(Symbol, Symbol)>,
    parts: Vec<Part<'d>>,
}

#[derive(Debug)]
enum Part<'d> {
    Block(&'d Block, Series),
    Head(Vec<Chunk>),
}

/// A chunk by its times, and where it is: the part and the position in it.
type Place = (i64, i64, usize, usize);

impl SeriesData<'_> {
    /// Calls `each` for every sample in `[mint, maxt]` in order of time, once where sources overlap; deleted ones
    /// are left out. No more is decoded at once than the chunks that overlap each other.
    pub fn samples<E: From<Error>>(
        &self,
        (mint, maxt): (i64, i64),
        each: &mut impl FnMut(i64, &Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut places: Vec<Place> = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            let times: Vec<_> = match part {
                Part::Block(_, series) => {
                    series.chunks.iter().map(|chunk| (chunk.mint, chunk.maxt)).collect()
                }
                Part::Head(chunks) => chunks.iter().map(|chunk| (chunk.mint, chunk.maxt)).collect(),
            };
            let times = times.into_iter().enumerate();
            places.extend(times.map(|(position, (mint, maxt))| (mint, maxt, number, position)));
        }
        places.retain(|&(from, to, ..)| from <= maxt && to >= mint);
        places.sort_unstable();
        let mut samples = Vec::new();
        let mut end = i64::MIN;
        for place in places {
            if place.0 > end {
                flush(&mut samples, (mint, maxt), each)?;
            }
            end = end.max(place.1);
            self.decode(place, &mut samples)?;
        }
        flush(&mut samples, (mint, maxt), each)
    }

    fn decode(&self, (_, _, part, position): Place, samples: &mut Vec<(i64, Value)>) -> Result<(), Error> {
        match self.parts.get(part) {
            Some(Part::Block(block, series)) => {
                let Some(chunk) = series.chunks.get(position) else { return Ok(()) };
                let deleted = block.tombstones().of(series.id);
                let bytes = block.chunk(chunk)?;
                let from = samples.len();
                decode(bytes.samples(), samples).map_err(|what| block.corrupt_chunk(chunk, what))?;
                if !deleted.is_empty() {
                    let kept = |t: i64| !deleted.iter().any(|interval| interval.covers(t));
                    let tail = samples.split_off(from);
                    samples.extend(tail.into_iter().filter(|(t, _)| kept(*t)));
                }
            }
            Some(Part::Head(chunks)) => {
                let Some(chunk) = chunks.get(position) else { return Ok(()) };
                decode(ChunkIter::new(chunk.encoding, &chunk.data), samples).map_err(|_| Error::Broken)?;
            }
            None => {}
        }
        Ok(())
    }
}

fn decode(chunk: ChunkIter<'_>, samples: &mut Vec<(i64, Value)>) -> Result<(), ChunkError> {
    for sample in chunk {
        samples.push(sample?);
    }
    Ok(())
}

/// Hands out what was decoded, by time, and each time once.
fn flush<E>(
    samples: &mut Vec<(i64, Value)>,
    (mint, maxt): (i64, i64),
    each: &mut impl FnMut(i64, &Value) -> Result<(), E>,
) -> Result<(), E> {
    samples.sort_by_key(|(t, _)| *t);
    samples.dedup_by_key(|(t, _)| *t);
    for (t, value) in samples.iter().filter(|(t, _)| (mint..=maxt).contains(t)) {
        each(*t, value)?;
    }
    samples.clear();
    Ok(())
}
