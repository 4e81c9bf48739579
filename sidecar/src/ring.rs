//! `--receive.hashrings-file`: read once, checked and reported.
//!
//! The filter places series, not the sidecar, so a bad file costs no write: it is logged and shows in the metrics,
//! and the sidecar goes on.

use std::path::Path;

use ringside_hashring::Hashrings;

use crate::metrics::{HashringName, Metrics};

/// The least that every ring must satisfy; how many replicas there are is the filter's setting.
const REPLICATION_FACTOR_MIN: usize = 1;

/// Reads the file and sets its metrics.
pub(crate) fn report(path: &Path, metrics: &Metrics) {
    let file = path.display();
    let hashrings = std::fs::read(path)
        .map_err(|e| e.to_string())
        .and_then(|json| Hashrings::parse(&json, REPLICATION_FACTOR_MIN).map_err(|e| e.to_string()));
    let hashrings = match hashrings {
        Ok(hashrings) => hashrings,
        Err(reason) => {
            metrics.hashrings_file_errors.inc();
            return tracing::error!(%file, reason, "--receive.hashrings-file is of no use");
        }
    };
    for named in hashrings.rings() {
        let nodes = named.ring().endpoints().len() as i64;
        let name = named.name().to_owned();
        tracing::info!(%file, hashring = name, nodes, "hashring");
        metrics.hashring_nodes.get_or_create(&HashringName { name }).set(nodes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_file_shows_its_rings_and_a_bad_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hashrings.json");
        let (metrics, _) = Metrics::new();
        report(&path, &metrics);
        std::fs::write(&path, b"[{").unwrap();
        report(&path, &metrics);
        assert_eq!(metrics.hashrings_file_errors.get(), 2);
        std::fs::write(&path, br#"[{"hashring":"a","endpoints":["s0:19291","s1:19291","s2:19291"]}]"#)
            .unwrap();
        report(&path, &metrics);
        assert_eq!(metrics.hashrings_file_errors.get(), 2);
        let nodes = metrics.hashring_nodes.get_or_create_owned(&HashringName { name: "a".to_owned() });
        assert_eq!(nodes.get(), 3);
    }
}
