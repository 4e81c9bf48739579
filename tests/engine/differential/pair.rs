//! The two receivers of one stream.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ringside_e2e::clock::HOUR;
use ringside_e2e::generator::{Answer, Sender};
use ringside_e2e::oracle;
use ringside_e2e::prometheus::{Server, ServerSetup};
use ringside_e2e::sidecar::{Setup, Sidecar};
use serde_json::{Value, json};

use super::stream::{Restart, Write};
use super::version_2;
use crate::kinds::OUT_OF_ORDER_WINDOW_MS;

/// The only tenant.
pub(crate) const TENANT: &str = "team-a";

/// Both receivers, running.
pub(crate) struct Pair {
    pub(crate) ours: Sidecar,
    pub(crate) theirs: Server,
    pub(crate) their_data: PathBuf,
    to_ours: Sender,
    to_ours_version_2: Sender,
    to_theirs: Sender,
}

/// What both said to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) ours: Answer,
    pub(crate) theirs: Answer,
}

/// The setup of every Prometheus that takes late samples.
pub(crate) fn server_setup() -> ServerSetup {
    server_with(OUT_OF_ORDER_WINDOW_MS)
}

/// The setup of a Prometheus with this out-of-order window.
pub(super) fn server_with(out_of_order_window_ms: i64) -> ServerSetup {
    ServerSetup { out_of_order_window_ms, flags: Vec::new() }
}

impl Pair {
    pub(crate) async fn start(folder: &Path, window_ms: i64) -> Result<Self> {
        let window = format!("--tsdb.out-of-order.time-window={window_ms}ms");
        let flags = ["--tsdb.retention=0d", "--tsdb.max-exemplars=100000", &window].map(str::to_owned);
        let setup = Setup { flags: flags.into(), ..Setup::default() };
        let ours = Sidecar::start(folder, "ringside", &setup).await?;
        let their_data = folder.join("prometheus/data");
        let theirs =
            Server::start_with(&folder.join("prometheus"), &their_data, &server_with(window_ms)).await?;
        let to_ours = Sender::new(&ours.write_url(), Some(TENANT));
        let to_ours_version_2 =
            to_ours.clone().with_header("content-type", version_2::CONTENT_TYPE.as_bytes());
        let to_theirs = Sender::new(&theirs.write_url(), None);
        Ok(Self { ours, theirs, their_data, to_ours, to_ours_version_2, to_theirs })
    }

    pub(crate) async fn send(&self, write: &Write) -> Answers {
        let body = write.encode();
        let ours = match write.is_version_2 {
            true => self.to_ours_version_2.post(version_2::encode(write)).await,
            false => self.to_ours.post(body.clone()).await,
        };
        Answers { ours, theirs: self.to_theirs.post(body).await }
    }

    pub(crate) async fn restart(&mut self, end: Restart, newest: i64) -> Result<()> {
        match end {
            Restart::Kill => {
                self.ours.process.kill9()?;
                self.theirs.process.kill9()?;
            }
            Restart::Terminate => {
                self.ours.process.terminate().await?;
                self.theirs.process.terminate().await?;
            }
        }
        self.ours.restart().await?;
        mend_late_blocks(&self.their_data, newest)?;
        self.theirs.restart().await
    }
}

/// Prometheus 2.42 forgets of blocks of late samples, once it has merged two of them, that they are late. At its next
/// start it takes them for the end of what blocks have, and loses what its log has before that. This reminds a stopped
/// one: nothing in order is in a block as long as it is newer than half a range before the newest sample.
pub(crate) fn mend_late_blocks(data: &Path, newest: i64) -> Result<()> {
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        let path = entry.path().join("meta.json");
        if !oracle::is_block(&entry.file_name().to_string_lossy()) || !path.is_file() {
            continue;
        }
        let mut meta: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        if meta["maxTime"].as_i64().is_some_and(|end| end > newest - HOUR) {
            meta["compaction"]["hints"] = json!(["from-out-of-order"]);
            std::fs::write(&path, meta.to_string())?;
        }
    }
    Ok(())
}
