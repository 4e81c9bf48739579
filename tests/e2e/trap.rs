//! Topology: clients → Envoy with the filter in a build that traps on a header → three receivers in this process, RF=3,
//! that answer when they are told to.
//!
//! A trap costs the requests in flight in its worker, and nothing else: each of them gets an error that is worth a
//! retry, never a success without a quorum; Envoy loads the module anew, and all its workers take writes again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::Sender;
use ringside_e2e::receiver::{Receiver, Reply};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{tools, wait, wire};

/// Connections, so that each of Envoy's two workers has some.
const CLIENTS: usize = 16;
/// Longer than anybody waits, so that writes are in flight.
const SILENT: Duration = Duration::from_secs(60);
const TRAP: &str = "x-ringside-trap";

struct Stage {
    scratch: Scratch,
    envoy: Envoy,
    receivers: Vec<Receiver>,
}

impl Stage {
    async fn start(name: &str, module: std::path::PathBuf) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let receivers = vec![Receiver::start().await?, Receiver::start().await?, Receiver::start().await?];
        let hashrings = Receiver::hashrings(&receivers);
        let normal = tools::wasm_module()?.display().to_string();
        let flags = ["--write-timeout=10s".to_owned()];
        let envoy = Envoy::start_edited(&scratch.path().join("envoy"), &hashrings, &flags, |text| {
            ensure!(text.contains(&normal), "no module in the bootstrap");
            *text = text.replace(&normal, &module.display().to_string());
            Ok(())
        })
        .await?;
        wait::eventually("Envoy to find the receivers healthy", async || envoy.expect_all_healthy().await)
            .await?;
        Ok(Self { scratch, envoy, receivers })
    }

    /// A client with a connection of its own.
    fn client(&self) -> Sender {
        Sender::new(&self.envoy.write_url(), None)
    }

    /// The bodies that reached a quorum of receivers.
    async fn stored(&self) -> Result<BTreeSet<Vec<u8>>> {
        self.envoy.wait_idle().await?;
        let parts: Vec<Vec<u8>> =
            self.receivers.iter().flat_map(Receiver::take_parts).map(|part| part.body.to_vec()).collect();
        let copies = |body: &Vec<u8>| parts.iter().filter(|part| *part == body).count();
        Ok(parts.iter().filter(|body| copies(body) >= 2).cloned().collect())
    }

    async fn vms(&self) -> Result<f64> {
        Ok(self.envoy.metrics().await?.sum("envoy_wasm_envoy_wasm_runtime_v8_created", &[]))
    }
}

fn body(number: usize) -> Result<Vec<u8>> {
    let labels =
        Labels::from([("__name__".to_owned(), "trap".to_owned()), ("number".to_owned(), number.to_string())]);
    let mut request = Vec::new();
    wire::series(&mut request, &labels, &[(clock::aligned(HOUR, MINUTE)?, 1.0)]);
    Ok(wire::snappy(&request))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_costs_the_requests_in_flight() -> Result<()> {
    let stage = Stage::start("trap", tools::trapping_wasm_module()?).await?;
    let (mut trapped, mut spared) = (0, 0);
    for round in 0..3 {
        let vms = stage.vms().await?;
        stage.receivers.iter().for_each(|one| one.answer(Reply { delay: SILENT, ..Reply::default() }));
        let clients: Vec<Sender> = (0..CLIENTS).map(|_| stage.client()).collect();
        let bodies = (0..CLIENTS).map(|number| body(round * CLIENTS + number)).collect::<Result<Vec<_>>>()?;
        let writes = clients.iter().zip(&bodies).map(|(client, body)| client.post(body.clone()));
        let trap = async {
            wait::eventually("the writes to be in flight", async || {
                ensure!(stage.receivers.iter().any(|one| one.parts() >= CLIENTS), "not all of them");
                Ok(())
            })
            .await?;
            let answer = stage.client().with_header(TRAP, b"1").post(body(9999)?).await;
            stage.receivers.iter().for_each(|one| one.answer(Reply::default()));
            Ok::<_, anyhow::Error>(answer)
        };
        let (answers, answer) = tokio::join!(futures::future::join_all(writes), trap);
        let answer = answer?;
        ensure!(answer.asks_for_retry(), "the request that traps: {answer:?}");

        let stored = stage.stored().await?;
        for (answer, body) in answers.iter().zip(&bodies) {
            let is_stored = answer.code() == Some(200);
            ensure!(is_stored || answer.asks_for_retry(), "in flight: {answer:?}");
            ensure!(!is_stored || stored.contains(body), "200 without a quorum");
            *if is_stored { &mut spared } else { &mut trapped } += 1;
        }
        wait::eventually("all workers to take writes again", async || {
            for number in 0..CLIENTS {
                let answer = stage.client().post(body(1000 + number)?).await;
                ensure!(answer.code() == Some(200), "{answer:?}");
            }
            Ok(())
        })
        .await?;
        stage.stored().await?;
        ensure!(stage.vms().await? > vms, "no VM was made in place of the one that trapped");
    }
    eprintln!(
        "of the writes in flight, {trapped} were lost with their worker, and {spared} went on in the other"
    );
    ensure!(trapped > 0, "no write was in flight where the trap was");
    ensure!(spared > 0, "the writes of the other worker were lost too");
    wait::eventually("what was under way in the modules that are gone to be forgotten", async || {
        let metrics = stage.envoy.metrics().await?;
        for gauge in [
            "ringside_writes_in_flight",
            "ringside_in_flight_bytes",
            "ringside_late_write_bytes",
            "ringside_arriving_bytes",
        ] {
            let level = metrics.sum(gauge, &[]);
            ensure!(level == 0.0, "{gauge} is {level}");
        }
        Ok(())
    })
    .await?;
    stage.scratch.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_module_that_is_shipped_knows_no_such_header() -> Result<()> {
    let stage = Stage::start("no-trap", tools::wasm_module()?).await?;
    let vms = stage.vms().await?;
    let answer = stage.client().with_header(TRAP, b"1").post(body(0)?).await;
    ensure!(answer.code() == Some(200), "{answer:?}");
    ensure!(stage.vms().await? == vms, "a VM was made anew");
    stage.scratch.passed();
    Ok(())
}
