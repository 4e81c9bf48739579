//! `ringside hashring`: judges a hashrings.json, shows what a change of it moves, and writes Envoy's files from it, once
//! or whenever it changes.
//!
//! Placement itself is `ringside_hashring`'s; here are the command line and
//! what it prints.

mod bootstrap;
mod check;
mod edge;
mod kept;
mod limits;
mod render;
mod shift;
mod watch;

use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use ringside_hashring::Hashrings;

/// What to do with a hashrings.json.
#[derive(Debug, Subcommand)]
pub(crate) enum HashringCommand {
    /// Judge a hashrings.json: refuse what cannot serve, show each node's share, warn of what is risky.
    Check(check::CheckFlags),
    /// Show what a change of the ring moves, and each node's share before and after.
    Move(shift::MoveFlags),
    /// Write Envoy's bootstrap: listener, filter, and a cluster for each sidecar. With --watch, keep the latter two up to
    /// date.
    Render(Box<render::RenderFlags>),
}

/// Runs a command; what it has to say goes to standard output.
pub(crate) fn run(command: HashringCommand) -> anyhow::Result<()> {
    match command {
        HashringCommand::Check(flags) => print!("{}", check::run(&flags)?),
        HashringCommand::Move(flags) => print!("{}", shift::run(&flags)?),
        HashringCommand::Render(flags) if flags.watch => watch::run(&flags)?,
        HashringCommand::Render(flags) => print!("{}", render::run(&flags)?),
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn parse(file: &Path, json: &str, replication_factor: usize) -> anyhow::Result<Hashrings> {
    Hashrings::parse(json.as_bytes(), replication_factor)
        .with_context(|| format!("{} is refused", file.display()))
}

/// A ring as the reader knows it: by name, else by its place in the file.
fn title(index: usize, name: &str) -> String {
    if name.is_empty() { format!("hashring #{index}") } else { format!("hashring {name:?}") }
}
