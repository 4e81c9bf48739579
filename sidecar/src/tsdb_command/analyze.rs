//! `ringside tsdb analyze`: what the cardinality and the churn of a block are made of, as `promtool tsdb analyze`
//! shows it.
//!
//! A label's churn is how much of the block's time its series do not cover, in series.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use anyhow::Context;
use clap::Args;
use ringside_tsdb::Ulid;
use ringside_tsdb::block::{self, Block};
use ringside_tsdb::fs::RealFs;

use super::Directory;
use super::go_text::duration;

/// Flags of `ringside tsdb analyze`.
#[derive(Debug, Args)]
pub(crate) struct AnalyzeFlags {
    #[command(flatten)]
    directory: Directory,
    /// The block; the newest if none is named.
    #[arg(long, value_name = "ULID")]
    block: Option<Ulid>,
    /// How many items each list has.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Prints the lists of one block.
pub(super) fn run(flags: &AnalyzeFlags, out: &mut impl Write) -> anyhow::Result<()> {
    let dir = flags.directory.one_tenant()?;
    let (blocks, _) = block::read_all(&RealFs, &dir)?;
    let newest = || blocks.iter().max_by_key(|meta| meta.max_time).map(|meta| meta.ulid);
    let ulid = flags.block.or_else(newest).with_context(|| format!("{} has no block", dir.display()))?;
    let block = Block::open(&RealFs, &dir.join(ulid.to_string()))?;
    let pairs = pairs(&block)?;
    let meta = block.meta();
    writeln!(out, "Block ID: {}", meta.ulid)?;
    writeln!(out, "Duration: {}", duration(meta.max_time.saturating_sub(meta.min_time)))?;
    writeln!(out, "Series: {}", meta.stats.num_series)?;
    writeln!(out, "Label names: {}", block.index().label_names().count())?;
    writeln!(out, "Postings (unique label pairs): {}", pairs.len())?;
    writeln!(
        out,
        "Postings entries (total label pairs): {}",
        pairs.values().map(|pair| pair.series).sum::<u64>()
    )?;
    print_lists(&Names::of(&block, &pairs)?, &pairs, &block, flags.limit, out)
}

/// Name and value, by their positions in the symbols, which sort as the strings do.
type Label = (u32, u32);

/// What one label pair stands for.
#[derive(Debug, Default, Clone, Copy)]
struct Pair {
    series: u64,
    /// Milliseconds of the block's time that the series do not cover, together.
    uncovered_ms: u64,
}

/// Milliseconds of the block's time.
fn range_ms(block: &Block) -> u64 {
    let meta = block.meta();
    meta.max_time.abs_diff(meta.min_time).max(1)
}

/// Counts the series and the churn of every label pair.
fn pairs(block: &Block) -> anyhow::Result<HashMap<Label, Pair>> {
    let range = range_ms(block);
    let mut pairs = HashMap::<Label, Pair>::new();
    for id in block.index().all_postings()? {
        let series = block.index().series(id?)?;
        let covered = series.chunks.first().zip(series.chunks.last());
        let covered = covered.map_or(0, |(first, last)| last.maxt.abs_diff(first.mint));
        for label in series.labels {
            let pair = pairs.entry(label).or_default();
            pair.series += 1;
            pair.uncovered_ms += range.saturating_sub(covered);
        }
    }
    Ok(pairs)
}

/// The labels by name.
#[derive(Debug, Default)]
struct Names {
    churn: Vec<(u64, u32)>,
    value_bytes: Vec<(u64, u32)>,
    values: Vec<(u64, u32)>,
    /// The position of `__name__`.
    metric: Option<u32>,
}

impl Names {
    fn of(block: &Block, pairs: &HashMap<Label, Pair>) -> anyhow::Result<Self> {
        let mut by_name = BTreeMap::<u32, (u64, u64)>::new();
        for ((name, _), pair) in pairs {
            let (uncovered_ms, values) = by_name.entry(*name).or_default();
            *uncovered_ms += pair.uncovered_ms;
            *values += 1;
        }
        let mut names = Self::default();
        for (name, (uncovered_ms, values)) in by_name {
            let text = block.index().symbol(name)?;
            let mut bytes = 0;
            for value in block.index().label_values(&text) {
                bytes += value?.value.len() as u64;
            }
            names.churn.push((uncovered_ms / range_ms(block), name));
            names.value_bytes.push((bytes, name));
            names.values.push((values, name));
            if text == b"__name__" {
                names.metric = Some(name);
            }
        }
        Ok(names)
    }
}

fn print_lists(
    names: &Names,
    pairs: &HashMap<Label, Pair>,
    block: &Block,
    limit: usize,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let range = range_ms(block);
    let churn = pairs.iter().map(|(label, pair)| (pair.uncovered_ms / range, *label)).collect();
    let common = pairs.iter().map(|(label, pair)| (pair.series, *label)).collect();
    let text =
        |position: u32| anyhow::Ok(String::from_utf8_lossy(&block.index().symbol(position)?).into_owned());
    let label = |(name, value): Label| anyhow::Ok(format!("{}={}", text(name)?, text(value)?));
    let metrics = pairs.iter().filter(|((name, _), _)| Some(*name) == names.metric);
    let metrics = metrics.map(|((_, value), pair)| (pair.series, *value)).collect();

    print("Label pairs most involved in churning", churn, limit, label, out)?;
    print("Label names most involved in churning", names.churn.clone(), limit, text, out)?;
    print("Most common label pairs", common, limit, label, out)?;
    let title = "Label names with highest cumulative label value length";
    print(title, names.value_bytes.clone(), limit, text, out)?;
    print("Highest cardinality labels", names.values.clone(), limit, text, out)?;
    print("Highest cardinality metric names", metrics, limit, text, out)
}

/// Prints the largest counts, equal ones in the order of their texts.
fn print<K: Copy + Ord>(
    title: &str,
    mut list: Vec<(u64, K)>,
    limit: usize,
    text: impl Fn(K) -> anyhow::Result<String>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    list.sort_unstable_by_key(|&(count, key)| (Reverse(count), key));
    writeln!(out, "\n{title}:")?;
    for (count, key) in list.into_iter().take(limit) {
        writeln!(out, "{count} {}", text(key)?)?;
    }
    Ok(())
}
