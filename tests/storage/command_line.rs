//! `ringside tsdb` beside promtool on the same directories: ours, promtool's and those of Prometheus 2.42 itself.
//! Topology: the command line, promtool, and in one test Prometheus as a remote-write receiver.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringside_e2e::generator::{Generator, Load};
use ringside_e2e::prometheus::Server;
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{oracle, tools};
use ringside_tsdb::Options;

use crate::{RANGE, Store, labels};

/// A multiple of the range.
const START: i64 = 1_700_006_400_000;

fn ringside(command: &str, dir: &Path, flags: &[&str]) -> Output {
    Command::new(tools::ringside().unwrap()).args(["tsdb", command]).arg(dir).args(flags).output().unwrap()
}

fn promtool(command: &str, dir: &Path, flags: &[&str]) -> Vec<String> {
    let output = Command::new(tools::promtool().unwrap())
        .args(["tsdb", command])
        .arg(dir)
        .args(flags)
        .output()
        .unwrap();
    lines(output)
}

/// The lines that a program printed.
fn lines(output: Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Every file below a directory.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

/// Both dumps agree line by line, nothing is wrong with the directory, and nothing in it was changed. promtool gets a
/// copy, since it writes.
fn expect_same_dump(scratch: &Scratch, dir: &Path) -> usize {
    let before = files(dir);
    let ours = lines(ringside("dump", dir, &[]));
    let verified = ringside("verify", dir, &[]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    assert!(before == files(dir), "the directory was changed");
    let copy = scratch.path().join("for-promtool");
    oracle::copy_tsdb(dir, &copy).unwrap();
    let theirs = promtool("dump", &copy, &[]);
    std::fs::remove_dir_all(copy).unwrap();
    let count = ours.len();
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
    count
}

/// Lists that both sort differently where counts are equal: the lines of each list, sorted.
fn lists(lines: &[String]) -> Vec<Vec<String>> {
    lines.split(String::is_empty).map(|list| sorted(list.to_vec())).collect()
}

#[test]
fn blocks_and_log_of_ours_read_as_promtool_reads_them() {
    let mut store = Store::new("command-line", Options::default());
    let mut odd = labels("odd", 0);
    odd.insert("path".to_owned(), "C:\\x \"q\"\n\u{2028}ü".to_owned());
    let specials = [f64::NAN, f64::INFINITY, -0.0, 5e-324, 1e6, 123_456_789.0, 0.1, -1e-7, f64::MAX];
    for (t, v) in (START..).step_by(600_000).zip(specials) {
        assert!(store.append(&[(&odd, t, v)])[0].is_ok());
    }
    store.fill(40, START + 5_400_000, START + 20_000_000, 15_000);
    assert_eq!(store.cut_all(), 2);
    let count = expect_same_dump(&store.scratch, &store.dir);
    assert_eq!(count, store.expected.sample_count());

    let selected = lines(ringside("dump", &store.dir, &["--match", r#"{i=~"1.", job="storage"}"#]));
    let theirs = promtool("dump", &store.dir, &["--match", r#"{i=~"1.", job="storage"}"#]);
    assert_eq!(sorted(selected), sorted(theirs));
    let (from, to) =
        (format!("--min-time={}", START + RANGE - 30_000), format!("--max-time={}", START + RANGE));
    let some = lines(ringside("dump", &store.dir, &["--match=load{i=\"7\"}", &from, &to]));
    assert_eq!(some.len(), 3, "{some:?}");
    let none = lines(ringside("dump", &store.dir, &["--match=load{i!~\".*\"}"]));
    assert_eq!(none, [""; 0]);

    let ours = lines(ringside("analyze", &store.dir, &["--limit=1000"]));
    assert_eq!(lists(&ours), lists(&promtool("analyze", &store.dir, &["--limit=1000"])));
    let cells = |lines: Vec<String>| -> Vec<Vec<String>> {
        lines
            .iter()
            .map(|line| {
                line.split("  ").filter(|cell| !cell.is_empty()).map(|cell| cell.trim().to_owned()).collect()
            })
            .collect()
    };
    assert_eq!(cells(lines(ringside("ls", &store.dir, &[]))), cells(promtool("list", &store.dir, &[])));
    store.scratch.passed();
}

#[test]
fn faults_of_all_tenants_are_named_and_the_exit_code_tells() {
    let mut store = Store::new("command-line-faults", Options::default());
    store.fill(10, START, START + 20_000_000, 60_000);
    assert_eq!(store.cut_all(), 2);
    store.tsdb.close().unwrap();
    // The scratch folder is now a data directory with this tenant.
    let data = store.scratch.path();
    assert!(ringside("verify", data, &[]).status.success());
    let block = store.dir.join(store.tsdb.blocks()[0].ulid.to_string());
    let flip = |path: &Path, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    flip(&block.join("chunks/000001"), 100);
    let segment = store.dir.join("wal/00000000");
    assert!(segment.is_file());
    std::fs::write(store.dir.join("wal/00000001"), b"").unwrap();
    flip(&segment, 5_000);
    std::fs::create_dir(store.dir.join("01ARZ3NDEKTSV4RRFFQ69G5FAX")).unwrap();
    let before = files(data);
    let output = ringside("verify", data, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(before == files(data), "the directory was changed");
    let text = String::from_utf8(output.stdout).unwrap();
    for fault in [
        "chunks/000001 is corrupt at byte ",
        "wal/00000000 is corrupt at byte ",
        "read ",
        "01ARZ3NDEKTSV4RRFFQ69G5FAX/meta.json: No such file",
    ] {
        assert!(text.contains(fault), "{fault}: {text}");
    }
    assert_eq!(text.matches(": ok, ").count(), 1, "the other block: {text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("3 faults"), "{text}");
    store.scratch.passed();
}

#[test]
fn blocks_of_promtool_are_read_and_ours_are_not_larger() {
    let mut store = Store::new("command-line-promtool", Options::default());
    store.fill(100, START, START + 20_000_000, 15_000);
    assert_eq!(store.cut_all(), 2);
    let mut text = String::new();
    for (labels, samples) in store.expected.series() {
        let name = &labels["__name__"];
        let pairs: Vec<_> =
            labels.iter().filter(|(n, _)| *n != "__name__").map(|(n, v)| format!("{n}=\"{v}\"")).collect();
        for (t, bits) in samples {
            let (v, t) = (f64::from_bits(*bits), *t as f64 / 1000.0);
            writeln!(text, "{name}{{{}}} {v} {t:.3}", pairs.join(",")).unwrap();
        }
    }
    let input = store.scratch.path().join("samples.om");
    std::fs::write(&input, format!("# TYPE load unknown\n{text}# EOF\n")).unwrap();
    let theirs = store.scratch.path().join("promtool");
    std::fs::create_dir_all(theirs.join("wal")).unwrap();
    let made = Command::new(tools::promtool().unwrap())
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&input, &theirs])
        .output();
    lines(made.unwrap());
    assert_eq!(expect_same_dump(&store.scratch, &theirs), store.expected.sample_count());

    let size = |block: &Path, name: &str| files(&block.join(name)).values().map(Vec::len).sum::<usize>();
    let index = |block: &Path| std::fs::metadata(block.join("index")).unwrap().len();
    let blocks = ringside_tsdb::block::read_all(&ringside_tsdb::fs::RealFs, &theirs).unwrap().0;
    assert_eq!(blocks.len(), 3);
    for (ours, block) in store.tsdb.blocks().iter().zip(&blocks) {
        assert_eq!(ours.stats.num_samples, block.stats.num_samples);
        let [ours, block] =
            [(&store.dir, ours), (&theirs, block)].map(|(dir, meta)| dir.join(meta.ulid.to_string()));
        println!("chunks {} and {}", size(&ours, "chunks"), size(&block, "chunks"));
        println!("index {} and {}", index(&ours), index(&block));
        assert!(size(&ours, "chunks") <= size(&block, "chunks"));
        assert!(index(&ours) <= index(&block));
    }
    store.scratch.passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_prometheus_is_read_as_promtool_reads_it() {
    let scratch = Scratch::new("command-line-prometheus").unwrap();
    let data = scratch.path().join("data");
    let mut server = Server::start(&scratch.path().join("server"), &data).await.unwrap();
    let generator = Generator::new(&server.write_url(), Load::new("nobody", "load", 50));
    generator.send_range(START, START + 5 * RANGE / 2, 15_000, 20).await.unwrap();
    server.process.kill9().unwrap();
    assert_eq!(generator.ledger().failures(), 0);
    let count = expect_same_dump(&scratch, &data);
    assert_eq!(count, 50 * (5 * RANGE / 2 / 15_000) as usize);
    // Head chunks and the log's end as a clean stop leaves them.
    server.restart().await.unwrap();
    server.process.terminate().await.unwrap();
    assert_eq!(expect_same_dump(&scratch, &data), count);
    scratch.passed();
}
