//! `ringside tsdb dump`: the samples of blocks and log together, one a line, as `promtool tsdb dump` prints them.
//!
//! ```text
//! {__name__="up", job="x"} 1 1700000000000
//! ```

use std::io::Write;
use std::path::Path;

use clap::Args;
use ringside_tsdb::fs::RealFs;
use ringside_tsdb::index::Symbol;
use ringside_tsdb::{TsdbReadOnly, Value};

use super::Directory;
use super::go_text::{float, quote};
use super::histogram_text::histogram;
use super::selector::Selector;

/// Flags of `ringside tsdb dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpFlags {
    #[command(flatten)]
    directory: Directory,
    /// The oldest time that is printed, milliseconds.
    #[arg(long, default_value_t = i64::MIN, hide_default_value = true, allow_negative_numbers = true, value_name = "MS")]
    min_time: i64,
    /// The newest time that is printed, milliseconds.
    #[arg(long, default_value_t = i64::MAX, hide_default_value = true, allow_negative_numbers = true, value_name = "MS")]
    max_time: i64,
    /// Only series that this selects, such as 'up{job="x", path=~"/api/.*"}'.
    #[arg(long = "match", value_name = "SELECTOR", value_parser = parse_selector)]
    selector: Option<Selector>,
}

fn parse_selector(text: &str) -> Result<Selector, String> {
    Selector::parse(text).map_err(|e| format!("{e:#}"))
}

/// Prints the samples of one tenant.
pub(super) fn run(flags: &DumpFlags, out: &mut impl Write) -> anyhow::Result<()> {
    dump(&flags.directory.one_tenant()?, flags, out)
}

fn dump(dir: &Path, flags: &DumpFlags, out: &mut impl Write) -> anyhow::Result<()> {
    let tsdb = TsdbReadOnly::open(&RealFs, dir)?;
    for error in tsdb.bad_blocks() {
        eprintln!("ringside: passed over: {error}");
    }
    let times = (flags.min_time, flags.max_time);
    let label = flags.selector.as_ref().and_then(Selector::required_label);
    for series in tsdb.series(times, label)? {
        let series = series?;
        let labels = series.labels.iter().map(|(name, value)| (&**name, &**value));
        if flags.selector.as_ref().is_some_and(|selector| !selector.matches(labels)) {
            continue;
        }
        let labels = text(&series.labels);
        series.samples(times, &mut |t, value| -> anyhow::Result<()> {
            let value = match value {
                Value::Float(v) => float(*v),
                Value::Histogram(h) => histogram(h, u64::to_string, i64::to_string),
                Value::FloatHistogram(h) => histogram(h, |v| float(*v), |v| float(*v)),
            };
            Ok(writeln!(out, "{labels} {value} {t}")?)
        })?;
    }
    Ok(())
}

fn text(labels: &[(Symbol, Symbol)]) -> String {
    let labels =
        labels.iter().map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), quote(value)));
    format!("{{{}}}", labels.collect::<Vec<_>>().join(", "))
}
