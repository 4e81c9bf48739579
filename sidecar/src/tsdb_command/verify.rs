//! `ringside tsdb verify`: every block and log of every tenant, to the last byte.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use clap::Args;
use ringside_tsdb::fs::RealFs;
use ringside_tsdb::{Error, block, verify_wal};

use super::{Directory, is_block, names};

/// Logs that a tenant may have.
const LOGS: [&str; 2] = ["wal", "wbl"];

/// Flags of `ringside tsdb verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    #[command(flatten)]
    directory: Directory,
}

/// Prints a line for everything that was checked and one for each fault; an error if there is any.
pub(super) fn run(flags: &VerifyFlags, out: &mut impl Write) -> anyhow::Result<()> {
    let mut faults = 0;
    for (_, path) in flags.directory.tenants()? {
        faults += tenant(&path, out)?;
    }
    if faults > 0 {
        bail!("{}", counted(faults));
    }
    Ok(())
}

fn counted(faults: u64) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}

/// Checks one tenant's directory; returns the number of faults.
fn tenant(dir: &Path, out: &mut impl Write) -> anyhow::Result<u64> {
    let mut faults = 0;
    for name in names(dir)?.iter().filter(|name| is_block(name)) {
        let path = dir.join(name);
        faults += checked(&path, out, |fault| {
            let found = block::verify(&RealFs, &path, fault);
            format!(
                ", {} series, {} chunks, {} samples",
                found.num_series, found.num_chunks, found.num_samples
            )
        })?;
    }
    for path in LOGS.map(|log| dir.join(log)).iter().filter(|path| path.is_dir()) {
        faults += checked(path, out, |fault| {
            let summary = verify_wal(&RealFs, path, fault);
            let torn = summary.torn.map(|error| format!("; the next start cuts off a torn end: {error}"));
            format!(
                ", {} segments, {} records, {} samples{}",
                summary.segments,
                summary.records,
                summary.samples,
                torn.unwrap_or_default()
            )
        })?;
    }
    Ok(faults)
}

/// Runs a check, and prints its faults and what it says at its end.
fn checked(
    path: &Path,
    out: &mut impl Write,
    check: impl FnOnce(&mut dyn FnMut(Error)) -> String,
) -> anyhow::Result<u64> {
    let (mut faults, mut written) = (0, Ok(()));
    let said = check(&mut |fault| {
        faults += 1;
        if written.is_ok() {
            written = writeln!(out, "{fault}");
        }
    });
    written?;
    let verdict = if faults == 0 { "ok".to_owned() } else { counted(faults) };
    writeln!(out, "{}: {verdict}{said}", path.display())?;
    Ok(faults)
}
