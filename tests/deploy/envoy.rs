//! Envoy's pods: the real Envoy takes the files that they make, becomes ready by their probe, follows their ring, and drains
//! by their hook. The commands are the manifest's own, but for folders and ports.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use ringside_e2e::process::{Process, Spec};
use ringside_e2e::{http, tools, wait};
use serde_json::Value;

use crate::manifests::{Manifests, container, pod, text, texts};
use crate::rendered::Rendered;
use crate::ring::ADMIN;

/// Runs a command of the manifest, with the admin port replaced and without the time that a drain takes.
fn run(command: &Value, admin_port: u16) -> Result<()> {
    let pod_port = ADMIN.rsplit(':').next().unwrap_or_default();
    let words: Vec<String> = texts(command)?
        .into_iter()
        .map(|word| word.replace(&format!("/{pod_port}"), &format!("/{admin_port}")).replace("sleep ", ": "))
        .collect();
    let (program, arguments) = words.split_first().context("no command")?;
    let output = Command::new(program).args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!said.contains("HTTP/") || said.contains(" 200 OK"), "{command}: {said}");
    Ok(())
}

#[tokio::test]
async fn envoy_becomes_ready_follows_the_ring_and_drains_as_the_manifest_says() -> Result<()> {
    let manifests = Manifests::build()?;
    let rendered = Rendered::start("deployment", &manifests)?;
    let (listener, admin, statistics) = (rendered.listener, rendered.admin, rendered.statistics);
    let envoy = container(manifests.get("Deployment", "ringside-envoy")?)?;
    let spec = Spec {
        name: "envoy".into(),
        program: tools::envoy()?,
        args: rendered.arguments("envoy")?,
        folder: rendered.scratch.path().into(),
    };
    let mut process = Process::start(spec)?;
    let _follow = rendered.follow()?;
    process.wait_ready(&format!("http://{admin}/ready")).await?;
    run(&envoy["readinessProbe"]["exec"]["command"], admin.port())?;
    let shows = async |line: &str| {
        wait::eventually(line, async || {
            let page = http::get_ok(&format!("http://{statistics}/metrics")).await?;
            ensure!(page.contains(line), "{page}");
            Ok(())
        })
        .await
    };
    shows("thanos_receive_hashring_nodes{name=\"default\"} 3").await?;

    // One more pod in the ring, and then what is none.
    let hashrings = std::fs::read_to_string(rendered.ring("hashrings.json"))?;
    let three = "\"ringside-2.ringside:19291\"";
    ensure!(hashrings.contains(three), "{hashrings}");
    let four = hashrings.replace(three, &format!("{three}, {}", three.replace("-2", "-3")));
    for (text, line) in [
        (four.as_str(), "thanos_receive_hashring_nodes{name=\"default\"} 4"),
        ("[]", "thanos_receive_config_last_reload_successful{} 0"),
        (hashrings.as_str(), "thanos_receive_hashring_nodes{name=\"default\"} 3"),
    ] {
        std::fs::write(rendered.ring("hashrings.json"), text)?;
        shows(line).await?;
    }

    // The filter itself answers, by the ring of the manifests, none of whose sidecars is there.
    let client = reqwest::Client::new();
    let write = || {
        let request = client.post(format!("http://{listener}/api/v1/receive")).body(vec![0]);
        let request =
            request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
        request.header("x-prometheus-remote-write-version", "0.1.0").send()
    };
    let answer = write().await?;
    let asked_to_close =
        |answer: &reqwest::Response| answer.headers().get("connection").is_some_and(|v| v == "close");
    ensure!(!asked_to_close(&answer), "Envoy drains before it was asked to");
    let said = answer.text().await?;
    ensure!(
        said.contains("quorum") && said.contains("ringside-0.ringside:19291"),
        "a write is answered: {said}"
    );

    run(&envoy["lifecycle"]["preStop"]["exec"]["command"], admin.port())?;
    wait::eventually("Envoy to ask a sender to connect again", async || {
        ensure!(asked_to_close(&write().await?), "it does not");
        Ok(())
    })
    .await?;
    rendered.scratch.passed();
    Ok(())
}

/// The hook outlasts the drain and the last write's timeout, since Envoy ends no write before it ends itself; and it
/// ends before the kubelet's patience does.
#[test]
fn the_drain_fits_into_the_grace_period() -> Result<()> {
    let manifests = Manifests::build()?;
    let deployment = manifests.get("Deployment", "ringside-envoy")?;
    let envoy = container(deployment)?;
    let arguments = texts(&envoy["args"])?;
    let position =
        arguments.iter().position(|argument| *argument == "--drain-time-s").context("no drain time")?;
    let drain: u64 = arguments.get(position + 1).context("no drain time")?.parse()?;
    let hook = text(&envoy["lifecycle"]["preStop"]["exec"]["command"][2])?;
    let sleep: u64 = hook.split("sleep ").nth(1).context("the hook does not wait")?.trim().parse()?;
    let grace = pod(deployment)["terminationGracePeriodSeconds"].as_u64().context("no grace period")?;
    let rendered = Rendered::start("deploy-drain", &manifests)?;
    let filter = plugin(&rendered.config("filter.yaml")?)?;
    let write_ms = filter["write_timeout_ms"].as_u64().context("no write timeout")?;
    ensure!(
        drain * 1_000 + write_ms <= sleep * 1_000,
        "a drain of {drain} s, a write of {write_ms} ms, {sleep} s"
    );
    ensure!(sleep + 10 <= grace, "hook {sleep} s, grace {grace} s");
    rendered.scratch.passed();
    Ok(())
}

/// The filter's own configuration.
fn plugin(filter: &Value) -> Result<Value> {
    let value = filter.pointer("/resources/0/typed_config/config/configuration/value");
    Ok(serde_json::from_str(text(value.context("the filter has no configuration")?)?)?)
}
