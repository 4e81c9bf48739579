//! The ring, the pods that it names, and the files that are made of it for Envoy are one thing said three times: here they
//! are held against each other.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use ringside_e2e::tools;
use serde_json::{Value, json};

use crate::images::instructions;
use crate::manifests::{Manifests, container, container_named, items, name_of, path, port, text, texts};
use crate::rendered::{CONFIG, RING, Rendered};

/// Where Envoy listens inside its pod, and where its admin page is.
pub(crate) const LISTEN: &str = "0.0.0.0:19291";
pub(crate) const ADMIN: &str = "127.0.0.1:9901";
/// Where its statistics are scraped.
pub(crate) const STATISTICS: &str = "0.0.0.0:9902";
/// Where the image has the module.
pub(crate) const MODULE: &str = "/etc/ringside/plugin.wasm";

/// The addresses of all rings, in their order.
fn ring_addresses(manifests: &Manifests) -> Result<Vec<String>> {
    let hashrings: Value = serde_json::from_str(manifests.config("ringside-hashrings", "hashrings.json")?)?;
    let endpoints = items(&hashrings).iter().flat_map(|ring| items(&ring["endpoints"]));
    endpoints.map(|endpoint| Ok(text(endpoint).or(text(&endpoint["address"]))?.to_owned())).collect()
}

#[test]
fn the_ring_names_every_pod_by_its_dns_name_and_write_port() -> Result<()> {
    let manifests = Manifests::build()?;
    let sidecars = manifests.get("StatefulSet", "ringside")?;
    let service = manifests.get("Service", text(&sidecars["spec"]["serviceName"])?)?;
    let write_port = port(&service["spec"]["ports"], "remote-write")?;
    let replicas = sidecars["spec"]["replicas"].as_u64().context("no replicas")?;
    let pods: Vec<String> = (0..replicas)
        .map(|ordinal| format!("{}-{ordinal}.{}:{write_port}", name_of(sidecars), name_of(service)))
        .collect();
    let ring = ring_addresses(&manifests)?;
    ensure!(ring == pods, "the ring has {ring:?}, the pods are {pods:?}");
    Ok(())
}

#[test]
fn the_program_takes_the_ring() -> Result<()> {
    let checked = Command::new(tools::ringside()?)
        .args(["hashring", "check"])
        .arg(path("kubernetes/hashrings.json"))
        .output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    Ok(())
}

/// Envoy's files are made twice, by the same rules: before it starts, and while it runs.
#[test]
fn what_follows_the_ring_is_what_made_the_files() -> Result<()> {
    let manifests = Manifests::build()?;
    let envoy = manifests.get("Deployment", "ringside-envoy")?;
    let arguments = |name: &str| texts(&container_named(envoy, name)?["args"]);
    let (first, mut following) = (arguments("render")?, arguments("follow")?);
    following.retain(|argument| *argument != "--watch");
    ensure!(first == following, "{first:?} and {following:?}");
    for name in ["render", "follow"] {
        let mounts = items(&container_named(envoy, name)?["volumeMounts"]);
        for (path, is_read_only) in [(RING, true), (CONFIG, false)] {
            let mount = mounts.iter().find(|mount| mount["mountPath"] == path);
            let mount = mount.with_context(|| format!("{name} has no {path}"))?;
            ensure!((mount["readOnly"] == true) == is_read_only, "{name}: {mount}");
        }
    }
    Ok(())
}

#[test]
fn every_address_of_the_ring_is_a_cluster_of_that_name() -> Result<()> {
    let manifests = Manifests::build()?;
    let rendered = Rendered::start("deploy-clusters", &manifests)?;
    let clusters = rendered.config("clusters.yaml")?;
    for address in ring_addresses(&manifests)? {
        let cluster = cluster(&clusters, &address)?;
        let (host, port) = address.rsplit_once(':').context("no port")?;
        let expected = json!({"address": host, "port_value": port.parse::<u16>()?});
        let endpoint =
            cluster.pointer("/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address");
        ensure!(endpoint == Some(&expected), "{address}: {endpoint:?}");
        ensure!(cluster["type"] == "STRICT_DNS", "{address}: pods change their IP, {}", cluster["type"]);
    }
    rendered.scratch.passed();
    Ok(())
}

#[test]
fn envoy_listens_where_the_pod_says() -> Result<()> {
    let manifests = Manifests::build()?;
    let rendered = Rendered::start("deploy-listeners", &manifests)?;
    let bootstrap = rendered.config("envoy.yaml")?;
    let envoy = container(manifests.get("Deployment", "ringside-envoy")?)?;
    let addresses: Vec<String> = items(&bootstrap["static_resources"]["listeners"])
        .iter()
        .chain([&bootstrap["admin"]])
        .map(|listener| socket_address(&listener["address"]["socket_address"]))
        .collect::<Result<_>>()?;
    let expected = [rendered.listener, rendered.statistics, rendered.admin].map(|one| one.to_string());
    ensure!(addresses == expected, "{addresses:?}");
    for (argument, port_name) in [(LISTEN, "remote-write"), (STATISTICS, "metrics")] {
        ensure!(argument == format!("0.0.0.0:{}", port(&envoy["ports"], port_name)?), "{}", envoy["ports"]);
    }

    // The hooks speak to the admin page, which nobody outside of the pod reaches.
    let (host, admin_port) = ADMIN.split_once(':').context("no port")?;
    for hook in [&envoy["readinessProbe"], &envoy["lifecycle"]["preStop"]] {
        ensure!(hook.to_string().contains(&format!("/dev/tcp/{host}/{admin_port}")), "{hook}");
    }

    let copied = instructions("envoy")?;
    ensure!(copied.iter().any(|line| line.starts_with("COPY ") && line.ends_with(MODULE)), "{copied:?}");
    rendered.scratch.passed();
    Ok(())
}

fn socket_address(address: &Value) -> Result<String> {
    Ok(format!("{}:{}", text(&address["address"])?, address["port_value"]))
}

/// For how long a cluster's DNS may answer with a pod's old address, by the default of CoreDNS.
const DNS_CACHE_S: f64 = 30.0;
/// How often Envoy resolves the name of a sidecar, unless its cluster says otherwise.
const ENVOY_RESOLVES_S: f64 = 5.0;

/// An update may take the next sidecar only when Envoy has surely found the last one again.
#[test]
fn updates_wait_until_envoy_has_found_the_pod_again() -> Result<()> {
    let manifests = Manifests::build()?;
    let sidecars = manifests.get("StatefulSet", "ringside")?;
    let wait_s = sidecars["spec"]["minReadySeconds"].as_f64().context("no wait")?;
    let rendered = Rendered::start("deploy-checks", &manifests)?;
    let clusters = rendered.config("clusters.yaml")?;
    for address in ring_addresses(&manifests)? {
        let cluster = cluster(&clusters, &address)?;
        ensure!(cluster["dns_refresh_rate"].is_null(), "{address}: Envoy's own rate is assumed");
        let check = &cluster["health_checks"][0];
        ensure!(check["healthy_threshold"] == 1, "{address} comes back after {}", check["healthy_threshold"]);
        let checked_s = seconds(&check["unhealthy_interval"])? + seconds(&check["timeout"])?;
        let found_s = DNS_CACHE_S + ENVOY_RESOLVES_S + checked_s;
        ensure!(wait_s >= found_s, "{address} may be found after {found_s} s only");
    }
    rendered.scratch.passed();
    Ok(())
}

/// The cluster of a ring's address.
fn cluster<'a>(clusters: &'a Value, address: &str) -> Result<&'a Value> {
    let clusters = items(&clusters["resources"]);
    let named = clusters.iter().find(|cluster| cluster["name"] == *address);
    named.with_context(|| format!("no cluster is named {address}"))
}

fn seconds(duration: &Value) -> Result<f64> {
    let number = text(duration)?.strip_suffix('s').with_context(|| format!("{duration} is no duration"))?;
    Ok(number.parse()?)
}
