//! `ringside hashring check`: what a hashrings.json says, each node's exact
//! share, and what is allowed but risky. What cannot serve is an error.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use ringside_hashring::{Hashrings, NamedRing, NodeShare, Tenants, shares, write_quorum};
use ringside_proto::tenant;

use super::render::upstreams;
use super::{parse, read, title};
use crate::table::{Table, percent};

/// A node with this many times its even share carries others' load, mostly that of a zone alone.
const UNEVEN: f64 = 1.25;

/// A ring is small with less than one in so many of the file's nodes.
const FEW_NODES: usize = 3;

/// Flags of `ringside hashring check`.
#[derive(Debug, Args)]
pub(crate) struct CheckFlags {
    /// The hashrings.json.
    file: PathBuf,
    /// How many sidecars hold each series.
    #[arg(long, default_value_t = 3)]
    replication_factor: usize,
    /// The port of the sidecars, as `render` takes it, for endpoints whose own is another.
    #[arg(long, value_name = "PORT")]
    upstream_port: Option<u16>,
}

/// Judges the file and describes it.
pub(super) fn run(flags: &CheckFlags) -> anyhow::Result<String> {
    let rings = parse(&flags.file, &read(&flags.file)?, flags.replication_factor)?;
    // What cannot be rendered cannot serve.
    upstreams(&rings, flags.upstream_port)?;
    let mut out = format!(
        "{}: replication factor {}, {} of them must acknowledge a write\n",
        flags.file.display(),
        flags.replication_factor,
        write_quorum(flags.replication_factor)
    );
    for (index, ring) in rings.rings().iter().enumerate() {
        out.push_str(&describe(index, ring));
    }
    let warnings = warnings(&rings);
    if !warnings.is_empty() {
        out.push('\n');
    }
    for warning in warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    Ok(out)
}

fn describe(index: usize, named: &NamedRing) -> String {
    let ring = named.ring();
    let tenants = match named.tenants() {
        Tenants::All => "the default: every other tenant".to_owned(),
        Tenants::Exact(tenants) => format!("tenants {}", tenants.join(", ")),
        Tenants::Glob(patterns) => {
            let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.as_str()).collect();
            format!("tenants like {}", patterns.join(", "))
        }
    };
    let form = if ring.replica_sets().len() == 1 { "; bodies go out unchanged" } else { "" };
    let zoned = ring.endpoints().iter().any(|endpoint| !endpoint.az.is_empty());
    let zone = if zoned { &["zone"][..] } else { &[] };
    let mut table = Table::new(&[&["node"], zone, &["primaries", "replicas"]].concat());
    for (endpoint, share) in ring.endpoints().iter().zip(shares(ring)) {
        let mut row = vec![endpoint.address.clone()];
        row.extend(zoned.then(|| endpoint.az.clone()));
        row.extend([percent(share.primaries), percent(share.replicas)]);
        table.row(row);
    }
    let nodes = ring.endpoints().len();
    format!("\n{}, {nodes} nodes, {tenants}{form}\n{}", title(index, named.name()), table.render())
}

fn warnings(rings: &Hashrings) -> Vec<String> {
    let all = rings.rings().iter().flat_map(|named| named.ring().endpoints());
    let nodes = all.map(|endpoint| endpoint.address.as_str()).collect::<BTreeSet<_>>().len();
    let mut warnings = Vec::new();
    for (index, named) in rings.rings().iter().enumerate() {
        let title = title(index, named.name());
        let risks = [
            carried_by_few(named, nodes),
            uneven(named),
            few_copies(named),
            never_used(rings, index),
            hidden(rings, index),
        ];
        warnings.extend(risks.into_iter().flatten().map(|risk| format!("{title}: {risk}")));
        warnings.extend(tenants_without_effect(rings, named).map(|risk| format!("{title}: {risk}")));
    }
    warnings
}

/// One node for all series of a tenant, or few of many nodes for tenants that may grow beyond them.
fn carried_by_few(named: &NamedRing, nodes: usize) -> Option<String> {
    let own = named.ring().endpoints().len();
    match named.tenants() {
        _ if own == 1 => Some("one node alone carries it".to_owned()),
        _ if own * FEW_NODES >= nodes => None,
        Tenants::All => {
            Some(format!("{own} of {nodes} nodes carry every tenant that has no ring of its own"))
        }
        Tenants::Exact(tenants) if tenants.len() == 1 => {
            Some(format!("{own} of {nodes} nodes carry all of tenant {:?}", tenants.concat()))
        }
        Tenants::Exact(tenants) => {
            Some(format!("{own} of {nodes} nodes carry all of {} tenants", tenants.len()))
        }
        Tenants::Glob(_) => Some(format!("{own} of {nodes} nodes carry every tenant that matches")),
    }
}

/// A node that carries clearly more than its even share: its zone has fewer nodes than the others.
fn uneven(named: &NamedRing) -> Option<String> {
    let shares = shares(named.ring());
    let even = 1.0 / shares.len() as f64;
    let load = |share: &NodeShare| share.replicas;
    let most = shares.iter().enumerate().max_by(|a, b| load(a.1).total_cmp(&load(b.1)));
    let (index, share) = most.filter(|(_, share)| load(share) > UNEVEN * even)?;
    let endpoint = named.ring().endpoints().get(index)?;
    Some(format!(
        "{} of zone {:?} carries {} of all copies, where {} would be even: its zone has too few nodes",
        endpoint.address,
        endpoint.az,
        percent(load(share)),
        percent(even)
    ))
}

/// With a quorum of one, an acknowledged write may be on one node only.
fn few_copies(named: &NamedRing) -> Option<String> {
    let copies = named.ring().replication_factor();
    (write_quorum(copies) == 1)
        .then(|| format!("with {copies} copies a write is acknowledged by one node, and may be lost with it"))
}

/// Metadata that names a ring means the first of this name.
fn hidden(rings: &Hashrings, index: usize) -> Option<String> {
    let (before, rest) = rings.rings().split_at_checked(index)?;
    let name = rest.first()?.name();
    let is_hidden = !name.is_empty() && before.iter().any(|ring| ring.name() == name);
    is_hidden.then(|| format!("another ring before it is named {name:?} too"))
}

/// Behind a default ring no other ring is ever reached.
fn never_used(rings: &Hashrings, index: usize) -> Option<String> {
    let default = rings.rings().iter().position(|ring| *ring.tenants() == Tenants::All)?;
    (index > default).then(|| {
        let name = rings.rings().get(default).map_or("", NamedRing::name);
        format!("never used, because {} before it takes every tenant", title(default, name))
    })
}

/// Tenants that another ring takes first, or that no request can have.
fn tenants_without_effect<'a>(
    rings: &'a Hashrings,
    named: &'a NamedRing,
) -> impl Iterator<Item = String> + 'a {
    let listed: &[String] = match named.tenants() {
        Tenants::Exact(tenants) => tenants,
        _ => &[],
    };
    listed.iter().filter_map(move |tenant| {
        if let Err(error) = tenant::validate(tenant) {
            return Some(format!("no request can be of tenant {tenant:?}: {error}"));
        }
        let taken = rings.named_for_tenant(tenant)?;
        let by_pattern = !std::ptr::eq(taken, named) && matches!(taken.tenants(), Tenants::Glob(_));
        by_pattern.then(|| format!("tenant {tenant:?} matches a pattern of an earlier ring, which takes it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, replication_factor: usize) -> anyhow::Result<String> {
        check_at(json, replication_factor, None)
    }

    fn check_at(json: &str, replication_factor: usize, upstream_port: Option<u16>) -> anyhow::Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hashrings.json");
        std::fs::write(&file, json).unwrap();
        run(&CheckFlags { file, replication_factor, upstream_port })
    }

    #[test]
    fn ports_that_become_one_are_refused() {
        let ring = r#"[{"endpoints": ["a:1", "a:2", "b:1"]}]"#;
        assert!(check(ring, 3).is_ok());
        let error = check_at(ring, 3, Some(19291)).unwrap_err().to_string();
        assert!(error.contains("are one sidecar, at port 19291"), "{error}");
    }

    #[test]
    fn shows_rings_nodes_and_shares() {
        let text = check(
            r#"[{"hashring": "team", "tenants": ["a"], "endpoints": ["x:1", "y:1", "z:1"]},
                {"endpoints": ["p:1", "q:1", "r:1", "s:1"]}]"#,
            3,
        )
        .unwrap();
        for part in [
            "replication factor 3, 2 of them must acknowledge a write",
            "hashring \"team\", 3 nodes, tenants a; bodies go out unchanged\n",
            "hashring #1, 4 nodes, the default: every other tenant\n",
            "33.3 %",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("warning"), "{text}");
    }

    #[test]
    fn refuses_with_the_file_and_the_reason() {
        let error = format!("{:#}", check(r#"[{"hashring": "prod", "endpoints": ["a:1"]}]"#, 3).unwrap_err());
        assert!(
            error.contains("hashrings.json is refused: hashring \"prod\" (#0): the default ring"),
            "{error}"
        );
    }

    #[test]
    fn refuses_what_render_refuses() {
        for (endpoints, reason) in
            [(r#""a", "b:1", "c:1""#, "\"a\" has no port"), (r#""a:1", "A:1", "c:1""#, "are one sidecar")]
        {
            let error = check(&format!(r#"[{{"endpoints": [{endpoints}]}}]"#), 3).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }

    #[test]
    fn warns_of_what_is_risky() {
        let ten: Vec<String> = (0..10).map(|n| format!("\"n{n}:1\"")).collect();
        let ten = ten.join(", ");
        for (json, replication_factor, warning) in [
            (r#"[{"tenants": ["a"], "endpoints": ["x:1"]}]"#.to_owned(), 1, "one node alone carries it"),
            (
                format!(r#"[{{"tenants": ["a"], "endpoints": [{ten}]}}, {{"endpoints": ["x:1", "y:1", "z:1"]}}]"#),
                3,
                "3 of 13 nodes carry every tenant",
            ),
            (
                format!(r#"[{{"tenants": ["a"], "endpoints": ["x:1", "y:1", "z:1"]}}, {{"endpoints": [{ten}]}}]"#),
                3,
                "hashring #0: 3 of 13 nodes carry all of tenant \"a\"",
            ),
            (
                format!(
                    r#"[{{"tenants": ["t*"], "tenant_matcher_type": "glob", "endpoints": ["x:1", "y:1", "z:1"]}},
                        {{"endpoints": [{ten}]}}]"#
                ),
                3,
                "3 of 13 nodes carry every tenant that matches",
            ),
            (
                r#"[{"endpoints": [{"address": "a:1", "az": "1"}, {"address": "b:1", "az": "2"},
                    {"address": "c:1", "az": "2"}, {"address": "d:1", "az": "3"}, {"address": "e:1", "az": "3"}]}]"#
                    .to_owned(),
                3,
                "a:1 of zone \"1\" carries 33.3 % of all copies, where 20.0 % would be even",
            ),
            (r#"[{"endpoints": ["x:1", "y:1", "z:1"]}]"#.to_owned(), 2, "may be lost with it"),
            (
                format!(r#"[{{"hashring": "all", "endpoints": [{ten}]}}, {{"tenants": ["a"], "endpoints": [{ten}]}}]"#),
                3,
                "hashring #1: never used, because hashring \"all\" before it takes every tenant",
            ),
            (
                format!(
                    r#"[{{"tenants": ["t*"], "tenant_matcher_type": "glob", "endpoints": [{ten}]}},
                        {{"tenants": ["team"], "endpoints": [{ten}]}}]"#
                ),
                3,
                "tenant \"team\" matches a pattern of an earlier ring",
            ),
            (
                format!(
                    r#"[{{"hashring": "x", "tenants": ["a"], "endpoints": [{ten}]}},
                        {{"hashring": "x", "endpoints": [{ten}]}}]"#
                ),
                3,
                "another ring before it is named \"x\" too",
            ),
            (format!(r#"[{{"tenants": ["a/b"], "endpoints": [{ten}]}}]"#), 3, "no request can be of tenant \"a/b\""),
        ] {
            let text = check(&json, replication_factor).unwrap();
            assert!(text.contains("warning: ") && text.contains(warning), "{warning}: {text}");
        }
    }
}
