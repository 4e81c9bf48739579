//! Files as a container has them mounted.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// A directory as the kubelet keeps it for a ConfigMap or a Secret: the files are symlinks through `..data`, which is replaced.
pub struct ConfigMap {
    mount: PathBuf,
    version: std::cell::Cell<u32>,
}

impl ConfigMap {
    /// Makes the directory, with these files.
    pub fn new(mount: PathBuf, files: &[(&str, String)]) -> Result<Self> {
        std::fs::create_dir_all(&mount)?;
        let map = Self { mount, version: 0.into() };
        map.swap(files)?;
        for (name, _) in files {
            std::os::unix::fs::symlink(Path::new("..data").join(name), map.mount.join(name))?;
        }
        Ok(map)
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// Replaces all files at once.
    pub fn swap(&self, files: &[(&str, String)]) -> Result<()> {
        let version = self.version.replace(self.version.get() + 1);
        let folder = format!("..{version}");
        std::fs::create_dir(self.mount.join(&folder))?;
        for (name, text) in files {
            std::fs::write(self.mount.join(&folder).join(name), text)?;
        }
        let link = self.mount.join("..data_tmp");
        std::os::unix::fs::symlink(&folder, &link)?;
        // No crash is to be outlived here, so no directory is synced.
        #[expect(clippy::disallowed_methods, reason = "the kubelet's own way")]
        std::fs::rename(&link, self.mount.join("..data"))?;
        if version > 0 {
            std::fs::remove_dir_all(self.mount.join(format!("..{}", version - 1)))?;
        }
        Ok(())
    }
}
