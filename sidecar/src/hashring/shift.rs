//! `ringside hashring move`: what a change of the ring moves, counted on
//! synthetic series. The series are the same for the same seed, so that a
//! result can be repeated.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ringside_hashring::{Hashring, Movement, SeriesHasher};
use ringside_proto::tenant;

use super::{parse, read};
use crate::table::{Table, percent};

/// Flags of `ringside hashring move`.
#[derive(Debug, Args)]
pub(crate) struct MoveFlags {
    /// The hashrings.json that is in use.
    old: PathBuf,
    /// The hashrings.json that is to come.
    new: PathBuf,
    /// How many series to place.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    series: u64,
    /// How many sidecars hold each series.
    #[arg(long, default_value_t = 3)]
    replication_factor: usize,
    /// The tenant whose rings are compared.
    #[arg(long, default_value = "default-tenant")]
    tenant: String,
    /// Another seed gives other series.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Counts and describes the movement.
pub(super) fn run(flags: &MoveFlags) -> anyhow::Result<String> {
    tenant::validate(&flags.tenant)?;
    let ring = |file: &PathBuf| -> anyhow::Result<Hashring> {
        let rings = parse(file, &read(file)?, flags.replication_factor)?;
        let ring = rings.for_tenant(&flags.tenant);
        ring.cloned().with_context(|| format!("{} has no ring for tenant {:?}", file.display(), flags.tenant))
    };
    let (old, new) = (ring(&flags.old)?, ring(&flags.new)?);
    let movement = Movement::count(&old, &new, series(&flags.tenant, flags.seed, flags.series));
    Ok(describe(flags, &old, &movement))
}

fn describe(flags: &MoveFlags, old: &Hashring, movement: &Movement) -> String {
    let series = movement.series as f64;
    let part = |count: u64, whole: f64| percent(count as f64 / whole);
    let old_copies = series * old.replication_factor() as f64;
    let new_copies = movement.replicas as f64;
    let mut table = Table::new(&["node", "primaries", "now", "then", "replicas", "now", "then"]);
    for node in &movement.nodes {
        table.row([
            node.address.clone(),
            node.new_primaries.to_string(),
            part(node.old_primaries, series),
            part(node.new_primaries, series),
            node.new_replicas.to_string(),
            part(node.old_replicas, old_copies),
            part(node.new_replicas, new_copies),
        ]);
    }
    format!(
        "{} series of tenant {}, {} copies each\n\
         primaries moved: {} ({})\n\
         replicas moved:  {} of {} ({})\n\n{}",
        movement.series,
        flags.tenant,
        flags.replication_factor,
        movement.primaries_moved,
        part(movement.primaries_moved, series),
        movement.replicas_moved,
        movement.replicas,
        part(movement.replicas_moved, new_copies),
        table.render()
    )
}

/// The hashes of synthetic series that look like those of a cluster: some metrics of many pods.
fn series(tenant: &str, seed: u64, count: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    let mut hasher = SeriesHasher::new(tenant);
    (0..count).map(move |number| {
        let random = splitmix(&mut state);
        let labels = [
            ("__name__", format!("metric_{:03}_total", random % 500)),
            (
                "instance",
                format!("10.{}.{}.{}:8080", random >> 16 & 0xff, random >> 24 & 0xff, random >> 32 & 0xff),
            ),
            ("job", format!("job-{}", random >> 40 & 0x3f)),
            ("pod", format!("pod-{:08x}", random >> 32)),
            // No two series are the same.
            ("series", number.to_string()),
        ];
        for (name, value) in &labels {
            hasher.label(name.as_bytes(), value.as_bytes());
        }
        hasher.finish_series()
    })
}

/// The next of a sequence of well mixed numbers (SplitMix64).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_hashring::Endpoint;

    fn ring(nodes: usize) -> Hashring {
        let endpoint = |n| Endpoint { address: format!("ringside-{n}.ringside:19291"), az: String::new() };
        Hashring::ketama((0..nodes).map(endpoint).collect(), 3).unwrap()
    }

    fn flags(old: PathBuf, new: PathBuf) -> MoveFlags {
        let tenant = "default-tenant".to_owned();
        MoveFlags { old, new, series: 20_000, replication_factor: 3, tenant, seed: 1 }
    }

    #[test]
    fn from_three_to_five_nodes() {
        let movement = Movement::count(&ring(3), &ring(5), series("default-tenant", 1, 100_000));
        let moved = movement.primaries_moved as f64 / movement.series as f64;
        assert!((0.38..0.42).contains(&moved), "about 2/5 of the primaries move, not {moved}");
        for node in &movement.nodes {
            let primaries = node.new_primaries as f64 / movement.series as f64;
            let replicas = node.new_replicas as f64 / movement.replicas as f64;
            assert!((0.18..0.22).contains(&primaries), "within 10 % of even: {node:?}");
            assert!((0.18..0.22).contains(&replicas), "within 10 % of even: {node:?}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_series_again() {
        let hashes = |seed| series("t", seed, 100).collect::<Vec<_>>();
        assert_eq!(hashes(7), hashes(7));
        assert_ne!(hashes(7), hashes(8));
    }

    #[test]
    fn says_what_moves_and_whose_share_becomes_what() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, json: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, json).unwrap();
            file
        };
        let old = write("old", r#"[{"endpoints": ["a:1", "b:1", "c:1"]}]"#);
        let new = write("new", r#"[{"endpoints": ["a:1", "b:1", "c:1", "d:1", "e:1"]}]"#);
        let text = run(&flags(old.clone(), new)).unwrap();
        for line in
            ["20000 series of tenant default-tenant", "primaries moved:", "replicas moved:", "  a:1", "  e:1"]
        {
            assert!(text.contains(line), "{text}");
        }

        let none = write("none", r#"[{"tenants": ["x"], "endpoints": ["a:1", "b:1", "c:1"]}]"#);
        let error = format!("{:#}", run(&flags(old.clone(), none)).unwrap_err());
        assert!(error.contains(r#"no ring for tenant "default-tenant""#), "{error}");
        let broken = write("broken", r#"[{"endpoints": ["a:1", "b:1"]}]"#);
        let error = format!("{:#}", run(&flags(old, broken)).unwrap_err());
        assert!(error.contains("broken is refused: hashring #0: it has 2 endpoints"), "{error}");
    }
}
