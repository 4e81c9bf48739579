//! Topology: one seeded stream → Prometheus 2.42; its directory → a sidecar, as two tenants; more load → both.
//!
//! A directory that Prometheus wrote opens as a tenant's, and so does one as Thanos Receive keeps it per tenant: with
//! blocks, a checkpoint, several WAL segments, head chunks, and an out-of-order log where one is
//! written. It goes on taking writes, its head is cut into blocks, and everything is
//! there, in promtool's judgement and in PromQL's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::generator::{Generator, Load, Sender};
use ringside_e2e::oracle;
use ringside_e2e::prometheus::Server;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::wait;

use crate::differential::compare::{
    Answers, answers, dumped_histograms, expect_same_answers, forget_histograms,
};
use crate::differential::pair::{mend_late_blocks, server_setup};
use crate::differential::stream::{Case, Op, Sample, Stream};
use crate::kinds::OUT_OF_ORDER_WINDOW_MS;

const SEED: u64 = 1_000;
/// Writes between two kills; each begins a WAL segment.
const WRITES_PER_LIFE: usize = 120;
/// As Prometheus has it, and as Receive has it.
const TENANTS: [&str; 2] = ["prometheus", "receive"];

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_prometheus_goes_on_in_a_sidecar() -> Result<()> {
    let scratch = Scratch::new("foreign")?;
    let theirs = scratch.folder("prometheus")?.join("data");
    let ambiguous = write_by_prometheus(&scratch.folder("prometheus")?, &theirs).await?;
    let is_sure = |labels: &Labels, t: i64| !ambiguous.contains(&(labels.clone(), t));
    let written = oracle::dump_copy(&theirs, &scratch.path().join("copy"))?.filter(is_sure);
    let histograms = dumped_histograms(&theirs)?;

    let data = scratch.folder("ringside/data")?;
    for tenant in TENANTS {
        oracle::copy_tree(&theirs, &data.join(tenant))?;
    }
    leave_traces_of_receive(&data.join("receive"))?;
    let opened_by_prometheus =
        Server::start_with(&scratch.folder("theirs")?, &theirs, &server_setup()).await?;
    let surely = |mut answers: Answers| {
        for (labels, samples) in &mut answers {
            samples.retain(|t, _| is_sure(labels, *t));
        }
        forget_histograms(&mut answers);
        answers
    };
    let expected = surely(answers(&opened_by_prometheus).await?);
    drop(opened_by_prometheus);

    let setup = Setup { flags: vec!["--tsdb.retention=0d".to_owned()], ..Setup::default() };
    let sidecar = Sidecar::start(scratch.path(), "ringside", &setup).await?;
    for tenant in TENANTS {
        let generator = Generator::new(&sidecar.write_url(), Load::new(tenant, "load", 20));
        let blocks = blocks(&sidecar.tenant_dir(tenant))?;
        let next = written.iter().map(|(_, t, _)| t).max().context("nothing was written")? + 1;
        generator.send_range(next, next + 5 * HOUR, MINUTE, 5).await?;
        wait::eventually("blocks of the foreign head", async || {
            let now = self::blocks(&sidecar.tenant_dir(tenant))?;
            ensure!(now >= blocks + 2, "{now} blocks, {blocks} of Prometheus");
            Ok(())
        })
        .await?;
        let ledger = generator.ledger().clone();
        ledger.expect_no_failure()?;
        let mut all = written.clone();
        all.merge(ledger.everything_acknowledged())?;
        wait::eventually("all of it in promtool's dump", async || {
            sidecar.dump(tenant)?.expect_at_least(tenant, &all)
        })
        .await?;

        let copy = scratch.path().join(format!("opened-{tenant}"));
        oracle::copy_tsdb(&sidecar.tenant_dir(tenant), &copy)?;
        let mut found = dumped_histograms(&copy)?;
        for (labels, samples) in &mut found {
            // Checkpoints of Prometheus 2.42 leave histograms out that its head chunks still have; a dump shows no head
            // chunks, and the sidecar took them over.
            samples.retain(|t, _| histograms.get(labels).is_some_and(|known| known.contains_key(t)));
        }
        expect_same_answers(&found, &histograms).with_context(|| format!("histograms of {tenant}"))?;
        let folder = scratch.folder(&format!("reader-{tenant}"))?;
        let reader = Server::start_with(&folder, &copy, &server_setup()).await?;
        let found = surely(answers(&reader).await?);
        expect_same_answers(&found, &expected).with_context(|| tenant)?;
        reader.expect_no_corruption().await?;
    }
    scratch.passed();
    Ok(())
}

/// Has Prometheus write the stream, with kills, until it has cut a block and written a checkpoint; then it ends cleanly.
/// Returns where it was sent two values for one time: Prometheus stores a late one beside the other, and finds either.
async fn write_by_prometheus(folder: &Path, data: &Path) -> Result<BTreeSet<(Labels, i64)>> {
    let mut server = Server::start_with(folder, data, &server_setup()).await?;
    let sender = Sender::new(&server.write_url(), None);
    let writes = Stream::new(SEED)?.filter_map(|op| match op {
        Op::Write(write) if write.case != Case::Future => Some(write),
        _ => None,
    });
    let mut newest = i64::MIN;
    let (mut sent, mut ambiguous) = (BTreeMap::new(), BTreeSet::new());
    for (number, write) in (1..).zip(writes) {
        for series in &write.series {
            for sample in &series.samples {
                let key = (series.label_set(), sample.timestamp());
                if !sent.entry(key.clone()).or_insert_with(|| sample.clone()).same(sample) {
                    ambiguous.insert(key);
                }
            }
        }
        let samples = write.series.iter().flat_map(|series| &series.samples);
        newest = samples.map(Sample::timestamp).chain([newest]).max().unwrap_or(newest);
        let answer = sender.post(write.encode()).await;
        let taken = answer.code() == Some(204);
        ensure!(taken || answer.code().is_some() && write.case != Case::Scrape, "{write:?}: {answer:?}");
        if number % WRITES_PER_LIFE == 0 {
            server.process.kill9()?;
            mend_late_blocks(data, newest)?;
            server.restart().await?;
        }
    }
    wait::eventually("what a long-lived directory has", async || expect_grown(data)).await?;
    server.process.terminate().await?;
    mend_late_blocks(data, newest)?;
    Ok(ambiguous)
}

/// An error unless everything is there that this test is about.
fn expect_grown(data: &Path) -> Result<()> {
    let logs = names(&data.join("wal"))?;
    ensure!(logs.iter().any(|name| name.starts_with("checkpoint.") && !name.ends_with(".tmp")), "{logs:?}");
    ensure!(logs.iter().filter(|name| name.len() == 8).count() > 1, "{logs:?}");
    ensure!(!names(&data.join("chunks_head"))?.is_empty(), "no head chunks");
    ensure!(blocks(data)? > 0, "no block");
    ensure!(OUT_OF_ORDER_WINDOW_MS == 0 || !names(&data.join("wbl"))?.is_empty(), "no out-of-order log");
    Ok(())
}

/// The files that Receive and its shipper leave beside Prometheus' own.
fn leave_traces_of_receive(dir: &Path) -> Result<()> {
    let uploaded: Vec<_> = names(dir)?.into_iter().filter(|name| oracle::is_block(name)).collect();
    let record = serde_json::json!({"version": 1, "uploaded": uploaded}).to_string();
    std::fs::write(dir.join("thanos.shipper.json"), record)?;
    std::fs::create_dir_all(dir.join("thanos/upload"))?;
    std::fs::write(dir.join("lock"), "")?;
    Ok(())
}

fn blocks(dir: &Path) -> Result<usize> {
    Ok(names(dir)?.iter().filter(|name| oracle::is_block(name)).count())
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
