//! `make demo`: the whole path on one machine, shown while it works. A Prometheus agent and a generator
//! write through Envoy to three sidecars, which ship blocks to an S3 server; one sidecar is killed and
//! restarted under load; in the end Prometheus' own tools tell whether everything is where it should be.
//!
//! It leaves data in `.demo/` and nothing running, also when it is interrupted. It ends with an error if
//! any check fails.

mod display;
mod run;
mod verify;

use std::fs::{File, TryLockError};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use ringside_e2e::tools;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match demo() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nthe demo failed: {error:#}\nthe logs are .demo/*/*.log");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn demo() -> Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let _lock = only_one()?;
    let folder = tools::root().join(".demo");
    let code = tokio::select! {
        finished = run::run(&folder) => {
            finished?;
            return Ok(ExitCode::SUCCESS);
        }
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    // With the future, everything that it started was dropped, and so killed.
    println!("\ninterrupted; everything is stopped");
    Ok(ExitCode::from(code))
}

/// Two demos in one checkout would remove each other's data.
fn only_one() -> Result<File> {
    let path = tools::root().join("target/demo.lock");
    let lock = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another demo runs in this checkout"),
        Err(TryLockError::Error(error)) => Err(error).context("lock target/demo.lock"),
    }
}
