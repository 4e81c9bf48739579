//! Envoy's files as its pods make them: by the arguments of the manifest's own containers, with the pod's folders and
//! addresses in places of this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ringside_e2e::process::{Process, Spec};
use ringside_e2e::{ports, scratch::Scratch, tools};
use serde_json::Value;

use crate::manifests::{Manifests, container_named, texts};
use crate::ring::{ADMIN, LISTEN, MODULE, STATISTICS};

/// Where the pod has the ring and the limits, and where Envoy's files.
pub(crate) const RING: &str = "/etc/ringside/ring";
pub(crate) const CONFIG: &str = "/etc/envoy";

/// The folders of a pod of Envoy's.
pub(crate) struct Rendered {
    pub(crate) scratch: Scratch,
    pub(crate) listener: SocketAddr,
    pub(crate) statistics: SocketAddr,
    pub(crate) admin: SocketAddr,
    deployment: Value,
}

impl Rendered {
    /// Makes the files, as the pod does before Envoy starts.
    pub(crate) fn start(name: &str, manifests: &Manifests) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        scratch.folder("config")?;
        let ring = scratch.folder("ring")?;
        for (map, key) in [("ringside-hashrings", "hashrings.json"), ("ringside-limits", "limits.yaml")] {
            std::fs::write(ring.join(key), manifests.config(map, key)?)?;
        }
        let deployment = manifests.get("Deployment", "ringside-envoy")?.clone();
        let (listener, statistics, admin) = (ports::reserve()?, ports::reserve()?, ports::reserve()?);
        let this = Self { scratch, listener, statistics, admin, deployment };
        let output = Command::new(tools::ringside()?).args(this.arguments("render")?).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(this)
    }

    /// Follows the ring and the limits, as the pod does beside Envoy.
    pub(crate) fn follow(&self) -> Result<Process> {
        Process::start(Spec {
            name: "follow".into(),
            program: tools::ringside()?,
            args: self.arguments("follow")?,
            folder: self.scratch.path().into(),
        })
    }

    /// The arguments of a container, with what is here in place of what is in the pod.
    pub(crate) fn arguments(&self, container: &str) -> Result<Vec<String>> {
        let module = tools::wasm_module()?.display().to_string();
        let container = container_named(&self.deployment, container)?;
        let here = |argument: &str| {
            argument
                .replace(MODULE, &module)
                .replace(RING, &self.scratch.path().join("ring").display().to_string())
                .replace(CONFIG, &self.scratch.path().join("config").display().to_string())
                .replace(LISTEN, &self.listener.to_string())
                .replace(STATISTICS, &self.statistics.to_string())
                .replace(ADMIN, &self.admin.to_string())
        };
        Ok(texts(&container["args"])?.into_iter().map(here).collect())
    }

    pub(crate) fn ring(&self, file: &str) -> PathBuf {
        self.scratch.path().join("ring").join(file)
    }

    /// A file of Envoy's.
    pub(crate) fn config(&self, file: &str) -> Result<Value> {
        let path = self.scratch.path().join("config").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_saphyr::from_str(&text)?)
    }
}
