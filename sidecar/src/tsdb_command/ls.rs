//! `ringside tsdb ls`: the blocks of each tenant, as `promtool tsdb list` shows them.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use ringside_tsdb::block::{self, Meta};
use ringside_tsdb::fs::RealFs;

use super::Directory;
use super::go_text::duration;
use crate::table::Table;

/// Flags of `ringside tsdb ls`.
#[derive(Debug, Args)]
pub(crate) struct LsFlags {
    #[command(flatten)]
    directory: Directory,
    /// Print times as dates and sizes with units.
    #[arg(short = 'r', long)]
    human_readable: bool,
}

/// Prints a table for each tenant.
pub(super) fn run(flags: &LsFlags, out: &mut impl Write) -> anyhow::Result<()> {
    for (tenant, path) in flags.directory.tenants()? {
        if let Some(tenant) = tenant {
            writeln!(out, "tenant {tenant}")?;
        }
        let (blocks, bad) = block::read_all(&RealFs, &path)?;
        let heading = [
            "BLOCK ULID",
            "MIN TIME",
            "MAX TIME",
            "DURATION",
            "NUM SAMPLES",
            "NUM CHUNKS",
            "NUM SERIES",
            "SIZE",
        ];
        let mut table = Table::new(&heading);
        for meta in &blocks {
            table.row(row(meta, size(&path.join(meta.ulid.to_string())), flags.human_readable));
        }
        write!(out, "{}", table.render())?;
        for error in bad {
            writeln!(out, "  not a block: {error}")?;
        }
    }
    Ok(())
}

fn row(meta: &Meta, bytes: u64, human_readable: bool) -> [String; 8] {
    let time = |ms: i64| if human_readable { date(ms) } else { ms.to_string() };
    [
        meta.ulid.to_string(),
        time(meta.min_time),
        time(meta.max_time),
        duration(meta.max_time.saturating_sub(meta.min_time)),
        meta.stats.num_samples.to_string(),
        meta.stats.num_chunks.to_string(),
        meta.stats.num_series.to_string(),
        if human_readable { in_units(bytes) } else { bytes.to_string() },
    ]
}

/// RFC 3339 in UTC; times that no such date has stay numbers.
fn date(ms: i64) -> String {
    const YEAR_10000_MS: u64 = 253_402_300_800_000;
    match u64::try_from(ms) {
        Ok(ms) if ms < YEAR_10000_MS => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
        }
        _ => ms.to_string(),
    }
}

fn in_units(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// Bytes of a block's files: chunks, index, tombstones, meta.json. What cannot be read counts nothing.
fn size(block: &Path) -> u64 {
    let file = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let chunks = std::fs::read_dir(block.join("chunks")).into_iter().flatten().flatten();
    let chunks: u64 = chunks.map(|entry| file(&entry.path())).sum();
    chunks + ["index", "tombstones", "meta.json"].map(|name| file(&block.join(name))).iter().sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_sizes() {
        assert_eq!(date(1_700_006_390_001), "2023-11-14T23:59:50Z");
        assert_eq!(date(-1), "-1");
        assert_eq!(date(i64::MAX), "9223372036854775807");
        let sizes = [0, 1023, 1024, 32_660, 5 << 30, u64::MAX].map(in_units);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "31.9 KiB", "5.0 GiB", "16777216.0 TiB"]);
    }
}
