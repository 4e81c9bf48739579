//! The StatefulSet's container, as the real program sees it: its flags exist, its ports are the declared ones, and
//! started with the very arguments of the manifest it becomes ready by the very probes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ringside_e2e::process::{Process, Spec};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{http, ports, tools};

use crate::manifests::{Manifests, container, file, items, name_of, port, text, texts};

/// The flags with the ports that they open, by the names that the manifest has for the ports.
const PORT_FLAGS: [(&str, &str); 3] =
    [("--grpc-address", "grpc"), ("--http-address", "http"), ("--remote-write.address", "remote-write")];

/// The flags of the container, by name.
fn flags(manifests: &Manifests) -> Result<BTreeMap<&str, &str>> {
    let arguments = texts(&container(manifests.get("StatefulSet", "ringside")?)?["args"])?;
    let (command, flags) = arguments.split_first().context("no arguments")?;
    ensure!(*command == "sidecar", "{command}");
    flags.iter().map(|flag| flag.split_once('=').with_context(|| format!("{flag} has no value"))).collect()
}

#[test]
fn every_flag_is_one_of_the_program() -> Result<()> {
    let manifests = Manifests::build()?;
    let help = Command::new(tools::ringside()?).args(["sidecar", "--help"]).output()?;
    ensure!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
    let help = String::from_utf8(help.stdout)?;
    let known: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches([',', '.']))
        .collect();
    for flag in flags(&manifests)?.keys() {
        ensure!(known.contains(flag), "{flag} is no flag of ringside sidecar");
    }
    Ok(())
}

#[test]
fn ports_are_declared_as_they_are_opened() -> Result<()> {
    let manifests = Manifests::build()?;
    let declared = &container(manifests.get("StatefulSet", "ringside")?)?["ports"];
    ensure!(items(declared).len() == PORT_FLAGS.len(), "{declared}");
    let flags = flags(&manifests)?;
    for (flag, name) in PORT_FLAGS {
        let opened: SocketAddr = flags.get(flag).with_context(|| format!("no {flag}"))?.parse()?;
        ensure!(opened.port() == port(declared, name)?, "{flag}={opened}, declared is {declared}");
        ensure!(opened.ip().is_unspecified(), "{flag}={opened} is not reached from outside of the pod");
    }
    Ok(())
}

/// Blocks of two sidecars with the same labels would be one to Thanos.
#[test]
fn the_replica_label_is_the_name_of_the_pod() -> Result<()> {
    let manifests = Manifests::build()?;
    let container = container(manifests.get("StatefulSet", "ringside")?)?;
    ensure!(flags(&manifests)?.get("--label") == Some(&r#"replica="$(POD_NAME)""#));
    let variable = items(&container["env"]).iter().find(|variable| name_of(variable) == "POD_NAME");
    let source = &variable.context("POD_NAME is not set")?["valueFrom"]["fieldRef"]["fieldPath"];
    ensure!(source == "metadata.name", "{source}");
    Ok(())
}

#[tokio::test]
async fn the_program_starts_as_the_manifest_says() -> Result<()> {
    let manifests = Manifests::build()?;
    let container = container(manifests.get("StatefulSet", "ringside")?)?;
    let scratch = Scratch::new("statefulset")?;
    let mut opened = BTreeMap::new();
    let mut args = vec!["sidecar".to_owned()];
    for (flag, value) in flags(&manifests)? {
        let value = match PORT_FLAGS.iter().find(|(port_flag, _)| *port_flag == flag) {
            Some(&(_, name)) => opened.entry(name).or_insert(ports::reserve()?).to_string(),
            None if flag == "--objstore.config-file" || flag == "--receive.hashrings-file" => {
                let name = value.rsplit('/').next().unwrap_or_default();
                let copy = scratch.path().join(name);
                std::fs::write(&copy, file(&format!("kubernetes/{name}"))?)?;
                copy.display().to_string()
            }
            None if flag == "--tsdb.path" => scratch.folder("data")?.display().to_string(),
            None => value.replace("$(POD_NAME)", "ringside-0"),
        };
        args.push(format!("{flag}={value}"));
    }
    let spec =
        Spec { name: "ringside-0".into(), program: tools::ringside()?, args, folder: scratch.path().into() };
    let mut process = Process::start(spec)?;
    for probe in ["livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        let address =
            opened.get(text(&get["port"])?).with_context(|| format!("{probe} names no port of ours"))?;
        process.wait_ready(&format!("http://{address}{}", text(&get["path"])?)).await?;
    }
    let metrics = http::Metrics::scrape(&format!("http://{}/metrics", opened["http"])).await?;
    let replicas = manifests.get("StatefulSet", "ringside")?["spec"]["replicas"].as_f64();
    let nodes = metrics.sum("thanos_receive_hashring_nodes", &[]);
    ensure!(Some(nodes) == replicas, "the sidecar sees {nodes} nodes in the ring");
    process.terminate().await?;
    scratch.passed();
    Ok(())
}
