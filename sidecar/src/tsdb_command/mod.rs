//! `ringside tsdb`: looks into data directories, changes nothing in them.
//!
//! Formats are the storage's; here are the command line, which directories are meant, and what is printed. A
//! directory is one tenant's, or a data directory with one directory per tenant.

mod analyze;
mod dump;
mod go_text;
mod histogram_text;
mod ls;
mod selector;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ringside_tsdb::Ulid;

use crate::tenant_id::TenantId;

/// What to do with a data directory.
#[derive(Debug, Subcommand)]
pub(crate) enum TsdbCommand {
    /// List the blocks.
    Ls(ls::LsFlags),
    /// Show what a block's cardinality and churn are made of.
    Analyze(analyze::AnalyzeFlags),
    /// Check every block and log to the last byte; exit code 1 if anything is wrong.
    Verify(verify::VerifyFlags),
    /// Print samples, one a line.
    Dump(dump::DumpFlags),
}

/// Which directories are meant.
#[derive(Debug, Args)]
struct Directory {
    /// The directory of one tenant, or a data directory with tenants.
    #[arg(default_value = "./data", value_name = "DIR")]
    path: PathBuf,
    /// Only this tenant of a data directory.
    #[arg(long, value_name = "ID", value_parser = TenantId::parse)]
    tenant: Option<TenantId>,
}

/// Runs a command; what it has to say goes to standard output.
pub(crate) fn run(command: TsdbCommand) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let outcome = match command {
        TsdbCommand::Ls(flags) => ls::run(&flags, &mut out),
        TsdbCommand::Analyze(flags) => analyze::run(&flags, &mut out),
        TsdbCommand::Verify(flags) => verify::run(&flags, &mut out),
        TsdbCommand::Dump(flags) => dump::run(&flags, &mut out),
    };
    match std::io::Write::flush(&mut out).map_err(anyhow::Error::from).and(outcome) {
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        outcome => outcome,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

impl Directory {
    /// The tenants' directories; the only one without a name if the directory itself is a tenant's.
    fn tenants(&self) -> anyhow::Result<Vec<(Option<TenantId>, PathBuf)>> {
        let names = names(&self.path).with_context(|| format!("cannot list {}", self.path.display()))?;
        if self.tenant.is_none() && is_tenant(&self.path) {
            return Ok(vec![(None, self.path.clone())]);
        }
        let tenants = names.iter().filter_map(|name| TenantId::parse(name).ok());
        let wanted = tenants.filter(|tenant| self.tenant.as_ref().is_none_or(|wanted| wanted == tenant));
        let tenants: Vec<_> = wanted
            .map(|tenant| (self.path.join(tenant.as_str()), tenant))
            .filter(|(path, _)| is_tenant(path))
            .map(|(path, tenant)| (Some(tenant), path))
            .collect();
        match &self.tenant {
            Some(tenant) if tenants.is_empty() => bail!("{} has no tenant {tenant}", self.path.display()),
            None if tenants.is_empty() => bail!("{} has neither blocks nor a log", self.path.display()),
            _ => Ok(tenants),
        }
    }

    /// The directory of the one tenant that is meant.
    fn one_tenant(&self) -> anyhow::Result<PathBuf> {
        let mut tenants = self.tenants()?;
        match (tenants.pop(), tenants.len()) {
            (Some((_, path)), 0) => Ok(path),
            (_, more) => bail!("{} has {} tenants: name one with --tenant", self.path.display(), more + 1),
        }
    }
}

/// True if a directory has a block or a log in it. A tenant may itself be named `wal`, or like a block.
fn is_tenant(path: &Path) -> bool {
    let names = names(path).unwrap_or_default();
    names.iter().any(|name| match name.as_str() {
        "wal" => !is_tenant(&path.join(name)),
        name => is_block(name) && !path.join(name).join("wal").is_dir(),
    })
}

fn is_block(name: &str) -> bool {
    name.len() == 26 && Ulid::from_string(name).is_ok()
}

/// The names of the directories in a directory, sorted.
fn names(path: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().is_dir()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &Path, tenant: Option<&str>) -> Directory {
        Directory { path: path.to_owned(), tenant: tenant.map(|id| TenantId::parse(id).unwrap()) }
    }

    fn found(path: &Path, tenant: Option<&str>) -> Vec<String> {
        let tenants = directory(path, tenant).tenants().unwrap();
        tenants.into_iter().map(|(id, _)| id.map_or("itself".to_owned(), |id| id.to_string())).collect()
    }

    #[test]
    fn one_tenant_or_many() {
        const BLOCK: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| std::fs::create_dir_all(dir.path().join(path)).unwrap();
        for path in ["data/acme/wal", "data/lost+found/wal", "data/empty"] {
            make(path);
        }
        make(&format!("data/team/{BLOCK}/chunks"));
        let data = dir.path().join("data");
        assert_eq!(found(&data, None), ["acme", "team"]);
        assert_eq!(found(&data, Some("team")), ["team"]);
        assert_eq!(found(&data.join("acme"), None), ["itself"]);
        assert_eq!(found(&data.join("team"), None), ["itself"]);
        let error = |path: &Path, tenant| directory(path, tenant).one_tenant().unwrap_err().to_string();
        assert!(error(&data, None).ends_with("has 2 tenants: name one with --tenant"));
        assert!(error(&data, Some("other")).ends_with("has no tenant other"));
        assert!(error(&data.join("empty"), None).ends_with("has neither blocks nor a log"));
        // Tenants may bear the names of what is in a tenant.
        make("odd/wal/wal");
        make(&format!("odd/{BLOCK}/wal"));
        assert_eq!(found(&dir.path().join("odd"), None), [BLOCK, "wal"]);
    }
}
