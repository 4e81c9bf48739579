//! Topology: generator → Envoy with the filter, which follows files → five sidecars, RF=3, of which rings name some.
//!
//! The files change as a ConfigMap does: its directory is a symlink that is replaced. The ring and the limits change
//! under load, and no request fails; a ring that cannot serve changes nothing but a statistic and the log.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::config_map::ConfigMap;
use ringside_e2e::contents::copies;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Generator, Load, Sender, series};
use ringside_e2e::http;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{tools, wait, wire};
use serde_json::json;

const TENANT: &str = "team-a";
/// A tenant that a limit is set for.
const LIMITED: &str = "limited";

struct Stage {
    sidecars: Vec<Sidecar>,
    addresses: Vec<String>,
}

impl Stage {
    async fn start(folder: &Path) -> Result<Self> {
        let setup = Setup::default();
        let names: Vec<String> = (0..5).map(|number| format!("ringside-{number}")).collect();
        let starts = names.iter().map(|name| Sidecar::start(folder, name, &setup));
        let sidecars = futures::future::try_join_all(starts).await?;
        let addresses = sidecars.iter().map(|one| one.ring_address().to_string()).collect();
        Ok(Self { sidecars, addresses })
    }

    /// A ring of these sidecars.
    fn ring(&self, of: std::ops::Range<usize>) -> String {
        json!([{"hashring": "default", "endpoints": self.addresses[of]}]).to_string()
    }

    /// Whatever was acknowledged is on two sidecars at least, and nothing else is on any.
    fn judge(&self, generator: &Generator) -> Result<()> {
        let ledger = generator.ledger();
        ledger.expect_no_failure()?;
        let stores = self.sidecars.iter().map(|sidecar| sidecar.dump(TENANT)).collect::<Result<Vec<_>>>()?;
        for (sidecar, stored) in self.sidecars.iter().zip(&stores) {
            stored.expect_at_most(sidecar.name(), ledger.everything_sent())?;
        }
        let counted = copies(ledger.everything_acknowledged(), &stores);
        ensure!(counted.keys().all(|copies| *copies >= 2), "copies → samples: {counted:?}");
        Ok(())
    }
}

/// Waits until the filter has a ring of so many nodes, and has answered some requests since.
async fn in_force(envoy: &Envoy, nodes: f64, generator: &Generator) -> Result<()> {
    wait::eventually("the ring to be in force", async || {
        let shown = envoy.metrics().await?.sum("thanos_receive_hashring_nodes", &["name=\"default\""]);
        ensure!(shown == nodes, "{shown} nodes, not {nodes}");
        Ok(())
    })
    .await?;
    some_requests(generator).await
}

async fn some_requests(generator: &Generator) -> Result<()> {
    let before = generator.ledger().successes();
    wait::eventually("some requests", async || {
        generator.ledger().expect_no_failure()?;
        let now = generator.ledger().successes();
        ensure!(now >= before + 40, "{before}, then {now} successes");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn rings_and_limits_change_under_load() -> Result<()> {
    let scratch = Scratch::new("reconfiguration")?;
    let stage = Stage::start(scratch.path()).await?;
    let files = |hashrings: &str, limits: &str| {
        [("hashrings.json", hashrings.to_owned()), ("limits.yaml", limits.to_owned())]
    };
    let map = ConfigMap::new(scratch.path().join("map"), &files(&stage.ring(0..3), ""))?;
    let flags = [
        format!("--hashrings={}", map.path("hashrings.json").display()),
        format!("--limits={}", map.path("limits.yaml").display()),
    ];
    let folder = scratch.path().join("envoy");
    let envoy = Envoy::start_following(&folder, &flags).await?;
    wait::eventually("healthy sidecars", async || envoy.expect_all_healthy().await).await?;
    let generator = Generator::new(&envoy.write_url(), Load::new(TENANT, "load", 400));
    // Minutes of load, within the hour up to now.
    let load = generator.start(clock::aligned(HOUR, MINUTE)?, 100, Duration::from_millis(5));
    some_requests(&generator).await?;

    map.swap(&files(&stage.ring(0..5), ""))?;
    in_force(&envoy, 5.0, &generator).await?;

    for bad in [stage.ring(0..1), stage.ring(0..2), "[{".to_owned()] {
        let errors = async || {
            anyhow::Ok(envoy.metrics().await?.sum("thanos_receive_hashrings_file_errors_total", &[]))
        };
        let before = errors().await?;
        map.swap(&files(&bad, ""))?;
        wait::eventually("the refusal to be told", async || {
            ensure!(errors().await? == before + 1.0, "{before} errors, then {}", errors().await?);
            Ok(())
        })
        .await?;
        let metrics = envoy.metrics().await?;
        ensure!(metrics.sum("thanos_receive_config_last_reload_successful", &[]) == 0.0);
        in_force(&envoy, 5.0, &generator).await?;
    }
    let log = std::fs::read_to_string(envoy.process.log())?;
    let told = log.lines().filter(|line| line.contains("the last good one stays")).count();
    ensure!(told == 3 && log.contains("hashrings.json is refused"), "{told} lines of Envoy");

    expect_limit(&envoy, 200).await?;
    map.swap(&files(&stage.ring(0..5), &format!("tenants: {{{LIMITED}: {{series_per_request: 1}}}}")))?;
    wait::eventually("the limit", async || expect_limit(&envoy, 413).await).await?;
    let metrics = envoy.metrics().await?;
    ensure!(metrics.sum("thanos_receive_config_last_reload_successful", &[]) == 1.0);
    map.swap(&files(&stage.ring(0..5), ""))?;
    wait::eventually("no limit", async || expect_limit(&envoy, 200).await).await?;

    // Two of the three sidecars that some series had leave at once.
    map.swap(&files(&stage.ring(2..5), ""))?;
    in_force(&envoy, 3.0, &generator).await?;
    // Not before a body that was arriving has had its minute, and its parts their time.
    wait::eventually_within(2 * wait::PATIENCE, "the clusters of those that left to go", async || {
        let page = http::get_ok(&format!("http://{}/clusters", envoy.admin())).await?;
        let is_there = |address: &String| page.contains(&format!("{address}::"));
        ensure!(stage.addresses[2..].iter().all(is_there), "a cluster of the ring is gone");
        ensure!(!stage.addresses[..2].iter().any(is_there), "they are still there");
        Ok(())
    })
    .await?;
    some_requests(&generator).await?;
    load.stop().await?;

    let changes = envoy.metrics().await?.sum("thanos_receive_hashrings_file_changes_total", &[]);
    ensure!(changes == 3.0, "{changes} changes");
    envoy.wait_idle().await?;
    stage.judge(&generator)?;
    scratch.passed();
    Ok(())
}

/// What becomes of two series of the limited tenant.
async fn expect_limit(envoy: &Envoy, status: u16) -> Result<()> {
    let mut request = Vec::new();
    for labels in series("limited", 2) {
        wire::series(&mut request, &labels, &[(clock::aligned(HOUR, MINUTE)?, 1.0)]);
    }
    let answer = Sender::new(&envoy.write_url(), Some(LIMITED)).post(wire::snappy(&request)).await;
    ensure!(answer.code() == Some(status), "{answer:?}");
    Ok(())
}

/// The files of the discovery, rendered for a ConfigMap that Envoy mounts.
fn discovery(
    folder: &Path,
    mount: &Path,
    hashrings: &str,
    limits: &str,
) -> Result<[(&'static str, String); 2]> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("hashrings.json"), hashrings)?;
    std::fs::write(folder.join("limits.yaml"), limits)?;
    let output = Command::new(tools::ringside()?)
        .args([
            "hashring",
            "render",
            "--hashrings=hashrings.json",
            "--limits=limits.yaml",
            "--listen=127.0.0.1:1",
            "--output=envoy.yaml",
        ])
        .arg(format!("--wasm={}", tools::wasm_module()?.display()))
        .args(["--discovery=.".to_owned(), format!("--discovery-path={}", mount.display())])
        .current_dir(folder)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).context(name.to_owned());
    Ok([("clusters.yaml", read("clusters.yaml")?), ("filter.yaml", read("filter.yaml")?)])
}

/// Without anybody who follows: clusters and filter change in one instant, and the ring may be in force before the
/// clusters of its new sidecars are.
#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_of_rendered_files_changes_under_load() -> Result<()> {
    let scratch = Scratch::new("config-map")?;
    let stage = Stage::start(scratch.path()).await?;
    let (rendered, mount) = (scratch.path().join("rendered"), scratch.path().join("map"));
    let map = ConfigMap::new(mount.clone(), &discovery(&rendered, &mount, &stage.ring(0..3), "")?)?;
    let flags =
        [format!("--discovery={}", rendered.display()), format!("--discovery-path={}", mount.display())];
    let envoy = Envoy::start(&scratch.path().join("envoy"), &stage.ring(0..3), &flags).await?;
    wait::eventually("healthy sidecars", async || envoy.expect_all_healthy().await).await?;
    let generator = Generator::new(&envoy.write_url(), Load::new(TENANT, "load", 400));
    let load = generator.start(clock::aligned(HOUR, MINUTE)?, 1_000, Duration::from_millis(5));
    some_requests(&generator).await?;
    map.swap(&discovery(&rendered, &mount, &stage.ring(0..5), "")?)?;
    in_force(&envoy, 5.0, &generator).await?;

    // Nobody refused it before Envoy has it, so the filter does.
    let [clusters, filter] = discovery(&rendered, &mount, &stage.ring(0..5), "")?;
    let bad = (filter.0, filter.1.replace("\"replication_factor\": 3", "\"replication_factor\": 9"));
    map.swap(&[clusters, bad])?;
    wait::eventually("the refusal to be told", async || {
        let metrics = envoy.metrics().await?;
        let errors = metrics.sum("thanos_receive_hashrings_file_errors_total", &[]);
        ensure!(errors == 1.0, "{errors} errors");
        ensure!(metrics.sum("thanos_receive_config_last_reload_successful", &[]) == 0.0);
        Ok(())
    })
    .await?;
    in_force(&envoy, 5.0, &generator).await?;
    let log = std::fs::read_to_string(envoy.process.log())?;
    ensure!(log.contains("configuration refused"), "Envoy's log says nothing");

    // Two of the three sidecars that some series had leave, and a tenant gets a limit, at once.
    let limits = format!("tenants: {{{LIMITED}: {{series_per_request: 1}}}}");
    map.swap(&discovery(&rendered, &mount, &stage.ring(2..5), &limits)?)?;
    in_force(&envoy, 3.0, &generator).await?;
    wait::eventually("the limit", async || expect_limit(&envoy, 413).await).await?;
    load.stop().await?;
    let waited = envoy.metrics().await?.sum("ringside_parts_waited_for_cluster_total", &[]);
    eprintln!("{waited} parts waited for their cluster");
    envoy.wait_idle().await?;
    stage.judge(&generator)?;
    scratch.passed();
    Ok(())
}
