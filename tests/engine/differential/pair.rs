//! The two receivers of one stream.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ringside_e2e::generator::{Answer, Sender};
use ringside_e2e::prometheus::{Server, ServerSetup};
use ringside_e2e::sidecar::{Setup, Sidecar};

use super::stream::{Restart, Write};
use crate::kinds::OUT_OF_ORDER_WINDOW_MS;

/// The only tenant.
pub(crate) const TENANT: &str = "team-a";

/// Both receivers, running.
pub(crate) struct Pair {
    pub(crate) ours: Sidecar,
    pub(crate) theirs: Server,
    pub(crate) their_data: PathBuf,
    to_ours: Sender,
    to_theirs: Sender,
}

/// What both said to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) ours: Answer,
    pub(crate) theirs: Answer,
}

/// The setup of every Prometheus here.
pub(crate) fn server_setup() -> ServerSetup {
    ServerSetup { out_of_order_window_ms: OUT_OF_ORDER_WINDOW_MS, flags: Vec::new() }
}

impl Pair {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let setup = Setup { flags: vec!["--tsdb.retention=0d".to_owned()], ..Setup::default() };
        let ours = Sidecar::start(folder, "ringside", &setup).await?;
        let their_data = folder.join("prometheus/data");
        let theirs = Server::start_with(&folder.join("prometheus"), &their_data, &server_setup()).await?;
        let to_ours = Sender::new(&ours.write_url(), Some(TENANT));
        let to_theirs = Sender::new(&theirs.write_url(), None);
        Ok(Self { ours, theirs, their_data, to_ours, to_theirs })
    }

    pub(crate) async fn send(&self, write: &Write) -> Answers {
        let body = write.encode();
        Answers { ours: self.to_ours.post(body.clone()).await, theirs: self.to_theirs.post(body).await }
    }

    pub(crate) async fn restart(&mut self, end: Restart) -> Result<()> {
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
        self.theirs.restart().await
    }
}
