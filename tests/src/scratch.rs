//! A folder for one run: removed when the run passed, kept and named when it did not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::tools;

/// The folder. Every process of the run writes its log and data below it.
pub struct Scratch {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Scratch {
    /// A new empty folder under `target/e2e/`, named after the test.
    pub fn new(name: &str) -> Result<Self> {
        let parent = tools::root().join("target/e2e");
        std::fs::create_dir_all(&parent).with_context(|| format!("create {}", parent.display()))?;
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&parent)?;
        let path = folder.path().to_owned();
        Ok(Self { folder: Some(folder), path })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder below it, created.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// Says that the run passed: nothing of it is kept.
    pub fn passed(mut self) {
        drop(self.folder.take());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            eprintln!("kept for inspection: {}", folder.keep().display());
        }
    }
}
