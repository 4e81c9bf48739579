//! The configurations of all worlds, each built once: a ring takes longer to build than a world to end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringside_filter_core::Config;

use crate::world::{LATE_WRITE_TIMEOUT_MS, WRITE_TIMEOUT_MS};

#[derive(Clone, Default)]
pub(crate) struct Configs(Rc<RefCell<BTreeMap<[u64; 3], Config>>>);

impl Configs {
    /// A ring of `size` sidecars from the number `first` on, which are their addresses.
    pub(crate) fn get(&self, first: u64, size: u64, replicas: u64) -> Config {
        let build = || {
            let endpoints: Vec<_> = (first..first + size).map(|sidecar| format!("\"{sidecar}\"")).collect();
            let json = format!(
                r#"{{"hashrings":[{{"endpoints":[{}]}}],"replication_factor":{replicas},
                    "write_timeout_ms":{WRITE_TIMEOUT_MS},"late_write_timeout_ms":{LATE_WRITE_TIMEOUT_MS}}}"#,
                endpoints.join(",")
            );
            Config::parse(json.as_bytes()).expect("a configuration")
        };
        self.0.borrow_mut().entry([first, size, replicas]).or_insert_with(build).clone()
    }
}
