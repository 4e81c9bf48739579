//! The data directory: one process at a time, one directory per tenant.
//!
//! Owns the lock (on the directory itself: a file for it could bear a tenant's name) and the rule which entries are
//! tenants. What is inside a tenant's directory is the storage's.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::tenant_id::TenantId;

/// A locked data directory. The lock goes with it, also when the process is killed.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory where it is missing and locks it. A directory that another process holds is refused.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        let failed = |action| move |source| Error::DataDir { action, path: path.to_owned(), source };
        ringside_tsdb::fs::create_dir_durable(path).map_err(failed("create"))?;
        let lock = File::open(path).map_err(failed("open"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
        }
    }

    /// The directory of one tenant.
    pub(crate) fn tenant(&self, tenant: &TenantId) -> PathBuf {
        self.path.join(tenant.as_str())
    }

    /// The tenants that have a directory, in order. `lost+found` and names that no tenant can have are skipped.
    pub(crate) fn tenants(&self) -> Result<Vec<TenantId>, Error> {
        let failed = |source| Error::DataDir { action: "list", path: self.path.clone(), source };
        let mut tenants = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.path().is_dir() {
                continue;
            }
            let name = entry.file_name();
            match name.to_str().map(TenantId::parse) {
                Some(Ok(tenant)) => tenants.push(tenant),
                _ if name == "lost+found" => {}
                _ => tracing::warn!(directory = ?name, "not a tenant's name, skipped"),
            }
        }
        tenants.sort();
        Ok(tenants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = DataDir::lock(&path).unwrap();
        let refused = DataDir::lock(&path).unwrap_err();
        assert!(refused.to_string().contains("held by another process"), "{refused}");
        drop(held);
        DataDir::lock(&path).unwrap();
    }

    #[test]
    fn tenants_are_directories_with_a_tenants_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["lost+found", "team b", "team-b", "acme"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let names: Vec<_> = data.tenants().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["acme", "team-b"]);
    }
}
