//! Topology: generators of two tenants → Envoy with the filter → five sidecars, RF=3.
//!
//! Every series is on exactly the three sidecars that the ring names, and on no other.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::contents::Contents;
use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::scratch::Scratch;

#[tokio::test(flavor = "multi_thread")]
async fn every_series_is_where_the_ring_says() -> Result<()> {
    let scratch = Scratch::new("placement")?;
    let cluster = Cluster::start(scratch.path(), &Layout { sidecars: 5, ..Layout::default() }).await?;
    let start = clock::aligned(HOUR, MINUTE)?;
    let mut sets = BTreeSet::new();
    for tenant in ["team-a", "team-b"] {
        let generator = Generator::new(&cluster.envoy.write_url(), Load::new(tenant, "load", 600));
        cluster.write_settled(&generator, start, start + 10 * MINUTE, MINUTE, 2).await?;
        let ledger = generator.ledger().clone();
        ledger.expect_no_failure()?;
        let acknowledged = ledger.everything_acknowledged();
        for (index, sidecar) in cluster.sidecars.iter().enumerate() {
            let mut placed = Contents::default();
            for (labels, timestamp, value) in acknowledged.iter() {
                let owners = cluster.owners(tenant, labels)?;
                if owners.contains(&index) {
                    placed.add(labels, timestamp, value)?;
                }
                sets.insert(BTreeSet::from_iter(owners));
            }
            sidecar.expect_exactly(tenant, &placed).await?;
        }
    }
    // All ten ways to choose three of five occur, so the test has seen more than one replica set.
    ensure!(sets.len() == 10 && sets.iter().all(|set| set.len() == 3), "replica sets: {sets:?}");
    scratch.passed();
    Ok(())
}
