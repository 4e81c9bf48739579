//! One worker of Envoy on a core of its own, with the filter or without.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use ringside_e2e::envoy::Envoy;
use ringside_e2e::process::Process;
use ringside_e2e::receiver::Receiver;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{tools, wait};
use serde_json::{Value, json};

use super::{Cost, Flags, Path3, REPLICATION_FACTOR, TURN, WARM, What, hashrings};
use crate::cores;
use crate::load::Load;
use crate::sender::{self, Endpoint, Exchange};

/// How long parts may be under way after the last answer.
const STRAGGLERS: Duration = Duration::from_millis(20);

/// The least turns for a median.
const TURNS_MIN: usize = 20;
/// How often the load goes out again for want of them.
const ROUNDS_MAX: usize = 8;

/// One Envoy, and what its turns cost and brought.
struct Side {
    kind: What,
    envoy: Envoy,
    _receivers: Vec<Receiver>,
    turns: Vec<Turn>,
    exchanges: Vec<Exchange>,
}

impl Side {
    fn undisturbed(&self) -> usize {
        self.turns.iter().filter(|turn| !turn.is_disturbed).count()
    }
}

struct Turn {
    cpu: Duration,
    requests: usize,
    /// The host gave the core to somebody else meanwhile.
    is_disturbed: bool,
}

/// Envoys with the filter and without, in front of receivers that take everything: they get the load in turns, so that
/// whatever else the machine does meets all. The cost of each is that of its median turn among those in which the host left
/// the core to it, if there are enough of them.
pub(super) async fn in_turns(
    load: &Load,
    endpoints: usize,
    kinds: &[What],
    flags: &Flags,
    folder: &Path,
) -> Result<BTreeMap<What, Cost>> {
    let mut sides = Vec::new();
    for kind in kinds {
        let receivers = receivers(endpoints).await?;
        let clusters: Vec<String> = addresses(&receivers).iter().map(SocketAddr::to_string).collect();
        let edit = |bootstrap: &mut String| match kind {
            What::Plain => without_filter(bootstrap, clusters.get(..1).unwrap_or_default()),
            What::Mirror => without_filter(bootstrap, clusters.get(..REPLICATION_FACTOR).unwrap_or_default()),
            What::Beside => with_module(bootstrap, flags.beside.as_deref()),
            What::Wasm | What::Core | What::Path => Ok(()),
        };
        let folder = folder.join(format!("{kind:?}"));
        let envoy = start(&folder, &addresses(&receivers), &flags.render, edit).await?;
        sides.push(Side {
            kind: *kind,
            envoy,
            _receivers: receivers,
            turns: Vec::new(),
            exchanges: Vec::new(),
        });
    }
    let turns = (0..load.plan.scrapes).step_by(TURN).map(|from| from..load.plan.scrapes.min(from + TURN));
    let turns: Vec<_> = turns.collect();
    for turn in std::iter::repeat_n(&turns, ROUNDS_MAX).flatten() {
        if turn.start == 0 && sides.iter().all(|side| side.undisturbed() >= TURNS_MIN) {
            break;
        }
        for Side { envoy, turns, exchanges, .. } in &mut sides {
            let (before, stolen) = (envoy.process.thread_time()?, cores::stolen()?);
            let sent = sender::send(&endpoint(envoy)?, load, turn.clone())?;
            // The last answers of sidecars come after those to the client.
            tokio::time::sleep(STRAGGLERS).await;
            let (cpu, is_disturbed) = (envoy.process.thread_time()? - before, cores::stolen()? > stolen);
            if turn.start >= WARM && turn.len() == TURN {
                turns.push(Turn { cpu, requests: sent.len(), is_disturbed });
                exchanges.extend(sent);
            }
        }
    }
    let costs = sides.into_iter().map(|side| {
        let undisturbed = side.undisturbed();
        let Side { kind, mut turns, exchanges, .. } = side;
        let all = turns.len();
        turns.sort_unstable_by_key(|turn| turn.cpu);
        let cpu_of_all = turns.get(all / 2).context("no turns")?.cpu;
        turns.retain(|turn| !turn.is_disturbed || undisturbed < TURNS_MIN);
        let median = turns.get(turns.len() / 2).context("too few scrapes for a turn")?;
        let turns = (turns.len(), all);
        Ok((kind, Cost { turns, cpu_of_all, ..Cost::new(median.requests, median.cpu, &exchanges) }))
    });
    costs.collect()
}

/// Envoy with the filter and as many sidecars as there are replicas, all on the same core.
pub(super) async fn whole_path(load: &Load, further: &[String], folder: &Path) -> Result<Path3> {
    let mut sidecars = Vec::new();
    for number in 0..REPLICATION_FACTOR {
        let sidecar = Sidecar::start(folder, &format!("ringside-{number}"), &Setup::default()).await?;
        cores::give_system(sidecar.process.pid()?)?;
        sidecars.push(sidecar);
    }
    let addresses: Vec<_> = sidecars.iter().map(Sidecar::ring_address).collect();
    let envoy = start(&folder.join("envoy"), &addresses, further, |_| Ok(())).await?;
    let processes: Vec<_> =
        std::iter::once(&envoy.process).chain(sidecars.iter().map(|one| &one.process)).collect();
    let mut costs = measure(load, &envoy, &processes).await?.into_iter();
    let envoy = costs.next().context("no costs")?;
    let sidecars = Cost { cpu: costs.map(|cost| cost.cpu).sum(), ..envoy };
    Ok(Path3 { envoy, sidecars })
}

async fn receivers(count: usize) -> Result<Vec<Receiver>> {
    let receivers = futures::future::try_join_all((0..count).map(|_| Receiver::start())).await?;
    receivers.iter().for_each(Receiver::forget);
    Ok(receivers)
}

fn addresses(receivers: &[Receiver]) -> Vec<SocketAddr> {
    receivers.iter().map(Receiver::address).collect()
}

async fn start(
    folder: &Path,
    addresses: &[SocketAddr],
    further: &[String],
    edit: impl FnOnce(&mut String) -> Result<()>,
) -> Result<Envoy> {
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let flags = [&[format!("--replication-factor={REPLICATION_FACTOR}")], further].concat();
    let envoy = Envoy::start_edited_with_workers(folder, &hashrings(&addresses), &flags, 1, edit).await?;
    cores::give_system(envoy.process.pid()?)?;
    wait::eventually("Envoy to find all healthy", async || envoy.expect_all_healthy().await).await?;
    Ok(envoy)
}

/// Takes the filter out, and has the routes go to the first of these clusters of the ring, mirrored to the others.
fn without_filter(bootstrap: &mut String, clusters: &[String]) -> Result<()> {
    let (first, others) = clusters.split_first().context("no receivers")?;
    let mut root: Value = serde_saphyr::from_str(bootstrap)?;
    let manager =
        &mut root["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"].as_array_mut().context("no filters")?.retain(|one| one["name"] != "ringside");
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().context("no routes")?;
    for route in routes.iter_mut().filter(|route| !route["route"].is_null()) {
        route["route"]["cluster"] = first.as_str().into();
        let mirrors = others.iter().map(|cluster| json!({"cluster": cluster}));
        route["route"]["request_mirror_policies"] = mirrors.collect();
    }
    *bootstrap = root.to_string();
    Ok(())
}

/// Has Envoy load another module.
fn with_module(bootstrap: &mut String, module: Option<&Path>) -> Result<()> {
    let module = std::fs::canonicalize(module.context("no module")?)?;
    let usual = tools::wasm_module()?;
    *bootstrap = bootstrap.replace(&usual.display().to_string(), &module.display().to_string());
    Ok(())
}

fn endpoint(envoy: &Envoy) -> Result<Endpoint> {
    let url = envoy.write_url();
    let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    Ok(Endpoint { address: address.parse()?, path: "/api/v1/receive" })
}

/// Sends the load, and tells what each process had of it.
async fn measure(load: &Load, envoy: &Envoy, processes: &[&Process]) -> Result<Vec<Cost>> {
    let endpoint = endpoint(envoy)?;
    sender::send(&endpoint, load, 0..WARM)?;
    envoy.wait_idle().await?;
    let before = processes.iter().map(|one| one.cpu_time()).collect::<Result<Vec<_>>>()?;
    let exchanges = sender::send(&endpoint, load, WARM..load.plan.scrapes)?;
    envoy.wait_idle().await?;
    let cost = |(process, before): (&&Process, _)| {
        Ok(Cost::new(exchanges.len(), process.cpu_time()? - before, &exchanges))
    };
    processes.iter().zip(before).map(cost).collect()
}
