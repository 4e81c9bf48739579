//! Topology: generator → Envoy with the filter → three sidecars, RF=3, one of them stopped by SIGSTOP:
//! its sockets accept, and no answer comes before SIGCONT.
//!
//! The client's answer does not wait for the slow one, whose write is stored all the same. The filter would
//! wait for a sidecar longer than the sender waits for the filter, so an answer that waited would be none.
//!
//! And: Envoy with the filter → three receivers in this process, one of which never answers; and three or five that take
//! so long that their client leaves.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::cluster::{Cluster, Layout};
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Generator, Load, Sender, series};
use ringside_e2e::http::Metrics;
use ringside_e2e::receiver::{Receiver, Reply};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{wait, wire};

const TENANT: &str = "team-a";
const SLOW: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sidecar_delays_nobody_and_misses_nothing() -> Result<()> {
    let scratch = Scratch::new("slow-replica")?;
    let layout = Layout { write_timeout: Duration::from_secs(60), ..Layout::default() };
    let cluster = Cluster::start(scratch.path(), &layout).await?;
    let generator = Generator::new(&cluster.envoy.write_url(), Load::new(TENANT, "load", 400));
    let start = clock::aligned(HOUR, MINUTE)?;
    generator.send(&[start]).await?;
    let warm = generator.ledger().everything_acknowledged().clone();
    for sidecar in &cluster.sidecars {
        sidecar.expect_exactly(TENANT, &warm).await?;
    }

    cluster.sidecars[SLOW].process.stop()?;
    // The signal is there at once; its threads go on until one of them has got to see it.
    wait::eventually("the slow sidecar to stand still", async || {
        ensure!(cluster.sidecars[SLOW].process.is_stopped()?, "it runs");
        Ok(())
    })
    .await?;
    generator.send(&[start + MINUTE]).await?;
    let resume = tokio::time::sleep(Duration::from_secs(5));
    generator.ledger().expect_no_failure()?;
    ensure!(cluster.sidecars[SLOW].process.is_stopped()?, "the slow sidecar ran before the answer");
    let acknowledged = generator.ledger().everything_acknowledged().clone();
    ensure!(acknowledged.sample_count() == 800, "{} samples", acknowledged.sample_count());
    for (index, sidecar) in cluster.sidecars.iter().enumerate() {
        let expected = if index == SLOW { &warm } else { &acknowledged };
        sidecar.expect_exactly(TENANT, expected).await?;
    }

    resume.await;
    let late = |metrics: &Metrics| metrics.sum("ringside_late_writes_total", &[r#"result="success""#]);
    let before = late(&cluster.envoy.metrics().await?);
    cluster.sidecars[SLOW].process.cont()?;
    cluster.sidecars[SLOW].expect_exactly(TENANT, &acknowledged).await?;
    wait::eventually("the filter's account of the late write", async || {
        let now = late(&cluster.envoy.metrics().await?);
        ensure!(now > before, "{before} late writes before, {now} now");
        Ok(())
    })
    .await?;
    scratch.passed();
    Ok(())
}

/// What is held for a sidecar that does not answer is bounded; what goes beyond is not sent to it, and the others decide.
#[tokio::test(flavor = "multi_thread")]
async fn late_writes_are_bounded() -> Result<()> {
    let scratch = Scratch::new("late-writes")?;
    let receivers = Receiver::start_many(3).await?;
    let rings = Receiver::hashrings(&receivers);
    // A late write may take three times as long: until all ten are sent, none is given up.
    let flags = ["--write-timeout=10s", "--late-write-bytes-max=1048576"].map(str::to_owned);
    // The bound is a worker's, and a client may come to another on a new connection.
    let envoy = Envoy::start_with_workers(&scratch.path().join("envoy"), &rings, &flags, 1).await?;
    wait::eventually("healthy receivers", async || envoy.expect_all_healthy().await).await?;
    receivers[SLOW].answer(Reply { delay: Duration::from_secs(60), ..Reply::default() });

    // What does not compress: 200 KiB. The length goes first.
    let mut body = vec![0x80, 0x80, 0x0d];
    body.resize(200 << 10, 0x80);
    let sender = Sender::new(&envoy.write_url(), Some(TENANT));
    for _ in 0..10 {
        let answer = sender.post(body.clone()).await;
        ensure!(answer.code() == Some(200), "{answer:?}");
    }
    wait::eventually("the filter's account of what it did not send", async || {
        let held_back = envoy.metrics().await?.sum("ringside_parts_held_back_total", &[]);
        ensure!(held_back == 5.0, "{held_back} of ten parts are held back");
        Ok(())
    })
    .await?;
    wait::eventually("the late writes to be given up", async || {
        let metrics = envoy.metrics().await?;
        let given_up = metrics.sum("ringside_late_writes_given_up_total", &[]);
        let bytes = metrics.sum("ringside_late_write_bytes", &[]);
        ensure!((given_up, bytes) == (5.0, 0.0), "{given_up} are given up, {bytes} bytes are late");
        Ok(())
    })
    .await?;

    receivers[SLOW].answer(Reply::default());
    receivers[SLOW].take_parts();
    ensure!(sender.post(body).await.code() == Some(200));
    wait::eventually("a part for the one that is back", async || {
        ensure!(receivers[SLOW].parts() == 1, "{} parts", receivers[SLOW].parts());
        Ok(())
    })
    .await?;
    scratch.passed();
    Ok(())
}

/// A write outlives its client: what a client does not wait for is stored all the same, and nothing is kept of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_nothing_with_it() -> Result<()> {
    for number in [3, 5] {
        let scratch = Scratch::new(&format!("client-gone-{number}"))?;
        let receivers = Receiver::start_many(number).await?;
        let rings = Receiver::hashrings(&receivers);
        let flags = ["--write-timeout=60s".to_owned()];
        let envoy = Envoy::start(&scratch.path().join("envoy"), &rings, &flags).await?;
        wait::eventually("healthy receivers", async || envoy.expect_all_healthy().await).await?;
        for receiver in &receivers {
            receiver.answer(Reply { delay: Duration::from_secs(120), ..Reply::default() });
        }
        let now = clock::aligned(HOUR, MINUTE)?;
        let mut request = Vec::new();
        // So many that each of five receivers has some.
        for labels in series("gone", 100) {
            wire::series(&mut request, &labels, &[(now, 1.0)]);
        }
        let body = wire::snappy(&request);
        let sender = Sender::new(&envoy.write_url(), Some(TENANT));
        let client = tokio::spawn({
            let (sender, body) = (sender.clone(), body.clone());
            async move { sender.post(body).await }
        });
        wait::eventually("a part for each receiver", async || {
            let parts: Vec<_> = receivers.iter().map(Receiver::parts).collect();
            ensure!(parts.iter().all(|number| *number == 1), "{parts:?}");
            Ok(())
        })
        .await?;
        let mut sent = 0;
        for receiver in &receivers {
            sent += receiver.take_parts().iter().map(|part| part.body.len()).sum::<usize>();
        }
        expect_under_way(&envoy, [0.0, 1.0, sent as f64]).await?;

        // Its connection is closed with it.
        client.abort();
        expect_under_way(&envoy, [1.0, 1.0, sent as f64]).await?;
        let answered: Vec<_> = receivers.iter().map(Receiver::answered).collect();
        ensure!(answered.iter().all(|number| *number == 0), "answers before any was due: {answered:?}");

        receivers.iter().for_each(|receiver| receiver.answer(Reply::default()));
        expect_under_way(&envoy, [1.0, 0.0, 0.0]).await?;
        let answered: Vec<_> = receivers.iter().map(Receiver::answered).collect();
        ensure!(answered.iter().all(|number| *number == 1), "each answers once: {answered:?}");
        let metrics = envoy.metrics().await?;
        let success = |name| metrics.sum(name, &[r#"result="success""#]);
        let forwarded = success("thanos_receive_forward_requests_total");
        ensure!(forwarded == number as f64, "{forwarded} answers reached the filter");
        ensure!(success("thanos_receive_replications_total") == 1.0, "the write has no quorum");
        ensure!(metrics.sum("ringside_late_writes_given_up_total", &[]) == 0.0, "a part is given up");

        let answer = sender.post(body).await;
        ensure!(answer.code() == Some(200), "{answer:?}");
        expect_under_way(&envoy, [1.0, 0.0, 0.0]).await?;
        scratch.passed();
    }
    Ok(())
}

/// Waits until so many clients have left, so many writes are under way, and so many bytes.
async fn expect_under_way(envoy: &Envoy, expected: [f64; 3]) -> Result<()> {
    wait::eventually("what is under way", async || {
        let metrics = envoy.metrics().await?;
        let found = ["ringside_clients_gone_total", "ringside_writes_in_flight", "ringside_in_flight_bytes"]
            .map(|name| metrics.sum(name, &[]));
        ensure!(found == expected, "{found:?} clients gone, writes and bytes under way, not {expected:?}");
        Ok(())
    })
    .await
}
