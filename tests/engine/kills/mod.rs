//! Topology: four senders → one sidecar, which is killed with SIGKILL again and again, at a random moment of its
//! work or while it starts, replays, cuts a block or writes a checkpoint.
//!
//! Data time runs so fast that a block is due every second or so. Every acknowledged sample is in the directory,
//! whenever it is looked at, nothing is there twice, and nothing that was not sent; promtool is the judge.
//! `RINGSIDE_KILLS=1000` kills more often than an ordinary run, which prints how often it hit what.

mod load;
mod moment;
mod store;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};

use load::Load;
use moment::Moment;
use store::Store;

const TENANT: &str = "team-a";
/// Kills of an ordinary run.
const KILLS: usize = 25;
/// Kills between two looks at the directory.
const KILLS_PER_LOOK: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_an_acknowledged_sample() -> Result<()> {
    let kills = std::env::var("RINGSIDE_KILLS").ok().map_or(Ok(KILLS), |text| text.parse())?;
    let seed = std::env::var("RINGSIDE_SEED").ok().map_or(Ok(0), |text| text.parse())?;
    let scratch = Scratch::new("kills")?;
    run(&scratch, kills, seed)
        .await
        .with_context(|| format!("RINGSIDE_KILLS={kills} RINGSIDE_SEED={seed}"))?;
    scratch.passed();
    Ok(())
}

async fn run(scratch: &Scratch, kills: usize, seed: u64) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    // Blocks are kept for ever: each is looked at once more in the end.
    let setup = Setup { flags: vec!["--tsdb.retention=0d".to_owned()], ..Setup::default() };
    let mut sidecar = Sidecar::start(scratch.path(), "ringside", &setup).await?;
    let load = Load::start(&sidecar.write_url(), TENANT);
    let mut store = Store::new(&sidecar.tenant_dir(TENANT), &scratch.path().join("copy"));
    let mut moments = moment::Tally::default();
    for kill in 1..=kills {
        let moment = Moment::choose(&mut rng);
        moments.count(moment.reach(&mut rng, &mut sidecar, TENANT).await?);
        sidecar.process.kill9()?;
        if kill % KILLS_PER_LOOK == 0 {
            let truth = load.truth()?;
            let samples = store.look(&truth).with_context(|| format!("after kill {kill}"))?;
            println!("kill {kill}: {samples} samples looked at, {} blocks", store.blocks()?);
        }
        sidecar.process.restart()?;
    }
    sidecar.wait_ready().await?;
    let truth = load.stop().await?;
    sidecar.process.kill9()?;
    let samples = store.look_at_all(&truth).context("in the end")?;
    let log = std::fs::read_to_string(sidecar.process.log())?;
    ensure!(!log.contains("panicked"), "the sidecar panicked; see its log");
    println!("{kills} kills ({moments}), {samples} samples, {} blocks, none missing", store.blocks()?);
    Ok(())
}
