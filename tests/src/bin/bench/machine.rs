//! What was run where: the lines of the results page that figures mean nothing without.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ringside_e2e::tools;

/// The facts about storage and its peers, each a line.
pub(crate) fn facts(folder: &Path) -> Result<Vec<String>> {
    let mut facts = common(folder)?;
    facts.extend([
        format!("Ringside: {}", revision(&["sidecar", "proto", "Cargo.lock"])?),
        format!("Prometheus: Debian's {}", pinned("prometheus")?),
        format!("VictoriaMetrics: Debian's {}", pinned("victoria-metrics")?),
    ]);
    Ok(facts)
}

/// The facts about the filter and what is around it, each a line.
pub(crate) fn filter_facts(folder: &Path) -> Result<Vec<String>> {
    let mut facts = common(folder)?;
    facts.extend([
        format!("Ringside: {}", revision(&["filter", "sidecar", "proto", "Cargo.lock"])?),
        format!("Envoy: {}", pinned("envoy")?),
    ]);
    Ok(facts)
}

fn common(folder: &Path) -> Result<Vec<String>> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let field = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let model = field(&cpus, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field(&std::fs::read_to_string("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let kib: f64 = memory.trim_end_matches("kB").trim().parse().unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let sync = fdatasync_time(folder)?;
    Ok(vec![
        format!("Date: {}", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?),
        format!("Machine: {cores} cores of {model}, {:.0} GB of memory, Linux {}", kib / 1e6, kernel.trim()),
        format!("Disk: an `fdatasync` of 4 kB takes {:.2} ms (median)", sync.as_secs_f64() * 1000.0),
    ])
}

/// The commit, and whether what was built from these folders is more than that.
fn revision(built: &[&str]) -> Result<String> {
    let root = tools::root().display().to_string();
    let commit = output("git", &["-C", &root, "rev-parse", "--short", "HEAD"])?;
    let changes = output("git", &[&["-C", &root, "status", "--porcelain", "--"], built].concat())?;
    Ok(if changes.is_empty() { format!("commit {commit}") } else { format!("commit {commit} with changes") })
}

/// The version of a tool in the lock file.
fn pinned(tool: &str) -> Result<String> {
    let lock = std::fs::read_to_string(tools::root().join("scripts/tools.lock"))?;
    let row = lock.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|fields| fields.first() == Some(&tool) && fields.len() == 4);
    Ok(row.with_context(|| format!("{tool} is not in tools.lock"))?[3].to_owned())
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The median of some, each after a small write that makes the file longer.
fn fdatasync_time(folder: &Path) -> Result<Duration> {
    const TIMES: usize = 101;
    let mut file = File::create(folder.join("fdatasync"))?;
    let mut took = Vec::new();
    for _ in 0..TIMES {
        file.write_all(&[0; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(took[TIMES / 2])
}
