//! Topology: load → one sidecar with two tenants; it is killed, a file of one tenant is damaged, and it starts again.
//!
//! What a torn write left is cut off. Damage that would lose acknowledged samples refuses that tenant, naming file
//! and offset, and nobody else. Damage to what can be made anew, or done without, is reported.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Contents;
use ringside_e2e::generator::{Answer, Generator, Load, Sender};
use ringside_e2e::oracle;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::sidecar::{Setup, Sidecar};
use ringside_e2e::{wait, wire};

/// Its files get damaged.
const VICTIM: &str = "victim";
/// It is never to notice.
const BYSTANDER: &str = "bystander";

/// A sidecar, killed, whose tenants have a block, a checkpoint, several segments and a head.
struct Grown {
    scratch: Scratch,
    sidecar: Sidecar,
    /// What each tenant holds.
    contents: Contents,
    /// The first time that nothing was sent for.
    next: i64,
}

impl Grown {
    async fn new(name: &str) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let setup = Setup { flags: vec!["--tsdb.retention=0d".to_owned()], ..Setup::default() };
        let mut sidecar = Sidecar::start(scratch.path(), "ringside", &setup).await?;
        let generators =
            [VICTIM, BYSTANDER].map(|t| Generator::new(&sidecar.write_url(), Load::new(t, "load", 30)));
        let start = clock::aligned(8 * HOUR, 2 * HOUR)?;
        // Each life begins a segment.
        for life in 0..7 {
            for generator in &generators {
                let from = start + life * 50 * MINUTE;
                generator.send_range(from, from + 50 * MINUTE, MINUTE, 5).await?;
            }
            if life == 4 {
                expect_grown(&sidecar).await?;
            }
            sidecar.process.kill9()?;
            sidecar.restart().await?;
        }
        expect_grown(&sidecar).await?;
        sidecar.process.kill9()?;
        for generator in &generators {
            generator.ledger().expect_no_failure()?;
        }
        let contents = generators[0].ledger().everything_acknowledged().clone();
        Ok(Self { scratch, sidecar, contents, next: start + 7 * 50 * MINUTE })
    }

    fn dir(&self) -> PathBuf {
        self.sidecar.tenant_dir(VICTIM)
    }

    /// Segments of the victim's log, oldest first.
    fn segments(&self) -> Result<Vec<PathBuf>> {
        files(&self.dir().join("wal"), |name| name.len() == 8)
    }

    /// Both tenants hold all that was acknowledged, and take more.
    async fn expect_whole(&self) -> Result<()> {
        for tenant in [VICTIM, BYSTANDER] {
            self.expect_goes_on(tenant, &self.contents).await?;
        }
        Ok(())
    }

    async fn expect_goes_on(&self, tenant: &str, held: &Contents) -> Result<()> {
        let more = Generator::new(&self.sidecar.write_url(), Load::new(tenant, "load", 30));
        more.send(&[self.next]).await?;
        more.ledger().expect_no_failure().with_context(|| tenant.to_owned())?;
        let mut all = held.clone();
        all.merge(more.ledger().everything_acknowledged())?;
        self.sidecar.expect_exactly(tenant, &all).await
    }

    /// The victim is refused with a reason that has the file and the offset; the bystander goes on.
    async fn expect_refused(&self, file: &Path, offsets: std::ops::RangeInclusive<u64>) -> Result<()> {
        self.expect_goes_on(BYSTANDER, &self.contents).await?;
        let mut request = Vec::new();
        let (labels, _) = self.contents.series().next().context("no series")?;
        wire::series(&mut request, labels, &[(self.next, 1.0)]);
        let answer = Sender::new(&self.sidecar.write_url(), Some(VICTIM)).post(wire::snappy(&request)).await;
        let Answer::Status { code: 503, message } = &answer else { anyhow::bail!("{answer:?}") };
        // File names have numbers, too.
        let said = message.split_once(&file.display().to_string());
        let (_, said) = said.with_context(|| format!("no {} in {message}", file.display()))?;
        let numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok());
        ensure!(numbers.into_iter().any(|n| offsets.contains(&n)), "no offset in {offsets:?}: {message}");
        ensure!(self.log()?.contains("cannot be opened"), "the log does not say so");
        let opening = self.sidecar.metrics().await?.sum("ringside_tenants", &["failed"]);
        ensure!(opening == 1.0, "{opening} tenants failed");
        Ok(())
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.sidecar.process.log())?)
    }
}

async fn expect_grown(sidecar: &Sidecar) -> Result<()> {
    wait::eventually("a block and a checkpoint of each tenant", async || {
        for tenant in [VICTIM, BYSTANDER] {
            let dir = sidecar.tenant_dir(tenant);
            ensure!(!files(&dir, oracle::is_block)?.is_empty(), "{tenant} has no block");
            ensure!(!checkpoints(&dir)?.is_empty(), "{tenant} has no checkpoint");
        }
        Ok(())
    })
    .await
}

fn checkpoints(dir: &Path) -> Result<Vec<PathBuf>> {
    files(&dir.join("wal"), |name| name.starts_with("checkpoint.") && !name.ends_with(".tmp"))
}

/// Entries of a folder, in the order of their names.
fn files(dir: &Path, keep: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if keep(&entry.file_name().to_string_lossy()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Flips a bit in the middle of a file; returns where.
fn flip(path: &Path) -> Result<u64> {
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.iter().rposition(|byte| *byte != 0).context("nothing in it")? / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes)?;
    Ok(middle as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_write_is_cut_off() -> Result<()> {
    let mut grown = Grown::new("torn").await?;
    let newest = grown.segments()?.pop().context("no segment")?;
    let length = std::fs::metadata(&newest)?.len();
    ensure!(length == 0, "the newest segment has {length} bytes, though nothing was sent to it");
    std::fs::remove_file(&newest)?;
    // As if the machine had stopped in the last write of the life before.
    let torn = grown.segments()?.pop().context("one segment only")?;
    let length = std::fs::metadata(&torn)?.len();
    std::fs::OpenOptions::new().write(true).open(&torn)?.set_len(length - 9)?;
    grown.sidecar.restart().await?;
    let metrics = grown.sidecar.metrics().await?;
    ensure!(metrics.sum("ringside_tsdb_wal_torn_bytes", &[VICTIM]) > 0.0, "no torn bytes reported");
    ensure!(metrics.sum("ringside_tsdb_wal_torn_bytes", &[BYSTANDER]) == 0.0, "torn bytes of the other");
    grown.expect_goes_on(BYSTANDER, &grown.contents).await?;
    // The torn record was one request: 30 series with five samples each.
    let held = grown.sidecar.dump(VICTIM)?;
    held.expect_at_most("after the repair", &grown.contents)?;
    let missing = grown.contents.sample_count() - held.sample_count();
    ensure!(missing == 150, "{missing} samples were cut off");
    grown.expect_goes_on(VICTIM, &held).await?;
    grown.scratch.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_refuses_its_tenant_alone() -> Result<()> {
    let mut grown = Grown::new("segment").await?;
    let segments = grown.segments()?;
    let with_data = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.len() > 1000);
    let older = segments.iter().find(with_data).context("no segment with data")?;
    ensure!(Some(older) != segments.last(), "one segment only");
    let whole = std::fs::read(older)?;
    let at = flip(older)?;
    grown.sidecar.restart().await?;
    // The offset is that of the damaged record, somewhere before the damaged byte.
    grown.expect_refused(older, at.saturating_sub(32_768)..=at).await?;
    // Mended, it is opened by one of the retries, without a restart.
    std::fs::write(older, whole)?;
    let held = grown.contents.clone();
    wait::eventually("the next attempt to open it", async || {
        let opened = grown.sidecar.metrics().await?.sum("ringside_tenants", &["failed"]);
        ensure!(opened == 0.0, "{opened} tenants failed");
        Ok(())
    })
    .await?;
    grown.expect_goes_on(VICTIM, &held).await?;
    grown.scratch.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_front_of_acknowledged_writes_refuses_its_tenant_alone() -> Result<()> {
    let mut grown = Grown::new("middle").await?;
    let empty = grown.segments()?.pop().context("no segment")?;
    std::fs::remove_file(&empty)?;
    // The newest segment now: its end could be torn, its middle cannot.
    let newest = grown.segments()?.pop().context("one segment only")?;
    let at = flip(&newest)?;
    grown.sidecar.restart().await?;
    grown.expect_refused(&newest, at.saturating_sub(32_768)..=at).await?;
    ensure!(grown.log()?.contains("acknowledged records follow"), "the log does not say why");
    grown.scratch.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_refuses_its_tenant_alone() -> Result<()> {
    let mut grown = Grown::new("checkpoint").await?;
    let checkpoint = checkpoints(&grown.dir())?.pop().context("no checkpoint")?;
    let segment = files(&checkpoint, |_| true)?.swap_remove(0);
    let at = flip(&segment)?;
    grown.sidecar.restart().await?;
    grown.expect_refused(&segment, at.saturating_sub(32_768)..=at).await?;
    grown.scratch.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_cannot_be_read_is_left_alone_and_reported() -> Result<()> {
    let mut grown = Grown::new("meta").await?;
    let block = files(&grown.dir(), oracle::is_block)?.swap_remove(0);
    let meta = block.join("meta.json");
    let whole = std::fs::read(&meta)?;
    std::fs::write(&meta, &whole[..whole.len() / 2])?;
    grown.sidecar.restart().await?;
    let metrics = grown.sidecar.metrics().await?;
    ensure!(metrics.sum("ringside_tsdb_bad_blocks", &[VICTIM]) == 1.0, "no bad block reported");
    ensure!(grown.log()?.contains(&meta.display().to_string()), "the log does not name it");
    ensure!(files(&block, |_| true)?.len() >= 3, "something of the block is gone");
    // Mended, it is there again.
    std::fs::write(&meta, &whole)?;
    grown.expect_whole().await?;
    grown.scratch.passed();
    Ok(())
}
