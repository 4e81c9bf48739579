//! What is really in a data directory, in the judgement of `promtool tsdb dump`: WAL, head chunks and
//! blocks together. It always reads a copy, so a running sidecar is neither disturbed nor waited for.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::contents::{Contents, Labels};
use crate::tools;

/// Dumps a copy of `tenant_dir`, a TSDB that may be in use. `copy` must not exist; it is removed again.
pub fn dump_copy(tenant_dir: &Path, copy: &Path) -> Result<Contents> {
    copy_tsdb(tenant_dir, copy)?;
    let dumped = dump(copy)?;
    std::fs::remove_dir_all(copy).with_context(|| format!("remove {}", copy.display()))?;
    Ok(dumped)
}

/// Copies a TSDB that may be in use: WAL and head first, then the blocks. A block that is cut in between
/// is then both in the copied WAL and a block, which every reader merges; in the other order its samples
/// could be missed. A file that vanishes on the way (a checkpoint, a removed block) starts it over.
pub fn copy_tsdb(from: &Path, to: &Path) -> Result<()> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let copied = copy_once(from, to);
        match &copied {
            Err(error) if vanished(error) => std::fs::remove_dir_all(to)?,
            _ => return copied,
        }
    }
    bail!("{} never held still for a copy", from.display())
}

fn vanished(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::NotFound)
    })
}

fn copy_once(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        bail!("{} is no directory", from.display());
    }
    std::fs::create_dir_all(to.join("wal")).with_context(|| format!("create {}", to.display()))?;
    for log in ["wal", "wbl", "chunks_head"] {
        if from.join(log).is_dir() {
            copy_tree(&from.join(log), &to.join(log))?;
        }
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if is_block(&entry.file_name().to_string_lossy()) {
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// True for a ULID, the name of a finished block's directory.
pub fn is_block(name: &str) -> bool {
    name.len() == 26 && name.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// Copies a folder with all that is in it.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Dumps a TSDB that nobody uses. promtool insists on a `wal/` in it and writes a `chunks_head/` there.
pub fn dump(dir: &Path) -> Result<Contents> {
    let mut contents = Contents::default();
    dump_each(dir, i64::MIN, |labels, timestamp, value| {
        if contents.has(labels, timestamp, value) {
            bail!("{labels:?} has its sample at {timestamp} twice");
        }
        contents.add(labels, timestamp, value)
    })?;
    Ok(contents)
}

/// Who reads a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// `promtool tsdb dump` of 2.42, which passes over native histograms.
    Promtool,
    /// `ringside tsdb dump`, which shows samples of all kinds.
    Ringside,
}

/// The same for what need not be held in memory: shows each sample from `mint` on, series by series.
pub fn dump_each(
    dir: &Path,
    mint: i64,
    mut visit: impl FnMut(&Labels, i64, f64) -> Result<()>,
) -> Result<()> {
    dump_text(Reader::Promtool, dir, mint, |labels, timestamp, value| {
        visit(labels, timestamp, value.parse()?)
    })
}

/// The same with values as they are printed: floats, and histograms in braces.
pub fn dump_text(
    reader: Reader,
    dir: &Path,
    mint: i64,
    visit: impl FnMut(&Labels, i64, &str) -> Result<()>,
) -> Result<()> {
    let program = match reader {
        Reader::Promtool => tools::promtool()?,
        Reader::Ringside => tools::ringside()?,
    };
    let mut child = Command::new(program)
        .args(["tsdb", "dump", &format!("--min-time={mint}")])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut errors = stderr.context("no stderr")?;
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let read = read_lines(BufReader::new(stdout.context("no stdout")?), visit);
    let status = child.wait()?;
    let complaints = complaints.join().ok().context("the reader of stderr is gone")??;
    // A reader that gave up closes the pipe, of which the program then complains.
    read?;
    if !status.success() {
        bail!("{reader:?}, dump of {}: {status}\n{complaints}", dir.display());
    }
    Ok(())
}

/// Lines of `{name="value", …} value timestamp`; a newline inside a label value is printed escaped.
fn read_lines(
    mut reader: impl BufRead,
    mut visit: impl FnMut(&Labels, i64, &str) -> Result<()>,
) -> Result<()> {
    let (mut line, mut series, mut labels) = (String::new(), String::new(), Labels::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let text = line.trim_end_matches('\n');
        let rest = match text.strip_prefix(series.as_str()) {
            Some(rest) if !series.is_empty() => rest,
            _ => {
                let (read, rest) = parse_labels(text).with_context(|| format!("odd labels in {text:?}"))?;
                labels = read;
                text[..text.len() - rest.len()].clone_into(&mut series);
                rest
            }
        };
        let sample = rest.strip_prefix(' ').and_then(|rest| rest.rsplit_once(' '));
        let (value, timestamp) = sample.with_context(|| format!("odd line {text:?}"))?;
        visit(&labels, timestamp.parse()?, value)?;
    }
}

/// Reads `{a="b", c="d"}`, and returns what follows; values are quoted as Go's `strconv.Quote` does it.
fn parse_labels(text: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    let mut rest = text.strip_prefix('{').context("no brace")?;
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"").context("no quoted value")?;
        let (value, after) = unquote(quoted)?;
        if labels.insert(name.to_owned(), value).is_some() {
            bail!("{name} occurs twice");
        }
        rest = after.strip_prefix(", ").unwrap_or(after);
    }
}

/// Decodes up to the closing quote; returns the value and what follows the quote.
fn unquote(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().context("no closing quote")? {
            '"' => return Ok((value, chars.as_str())),
            '\\' => value.push(unescape(&mut chars)?),
            plain => value.push(plain),
        }
    }
}

fn unescape(chars: &mut std::str::Chars<'_>) -> Result<char> {
    let digits = match chars.next().context("a lone backslash")? {
        'a' => return Ok('\x07'),
        'b' => return Ok('\x08'),
        'f' => return Ok('\x0c'),
        'n' => return Ok('\n'),
        'r' => return Ok('\r'),
        't' => return Ok('\t'),
        'v' => return Ok('\x0b'),
        same @ ('\\' | '"') => return Ok(same),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        other => bail!("escape \\{other}"),
    };
    let hex: String = chars.by_ref().take(digits).collect();
    let code = u32::from_str_radix(&hex, 16)?;
    // \x80 and above stand for single bytes of what is no UTF-8; nothing of ours may hold that.
    if digits == 2 && code >= 0x80 {
        bail!("the label value is not UTF-8");
    }
    char::from_u32(code).context("no code point")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_promtool_are_read_back() {
        let text = concat!(
            "{__name__=\"up\", path=\"C:\\\\x \\\"q\\\" }, a=\\n\\u2028ü\"} 1e+06 1000\n",
            "{__name__=\"up\", path=\"C:\\\\x \\\"q\\\" }, a=\\n\\u2028ü\"} NaN 2000\n",
            "{__name__=\"up\"} +Inf -5\n",
            "{__name__=\"up\"} {count:3, sum:1.5, (0.5,1]:3} -4\n",
        );
        let mut contents = Contents::default();
        let mut histograms = Vec::new();
        let visit = |labels: &Labels, t, value: &str| match value.parse() {
            Ok(value) => contents.add(labels, t, value),
            Err(_) => {
                histograms.push((t, value.to_owned()));
                Ok(())
            }
        };
        read_lines(text.as_bytes(), visit).unwrap();
        assert_eq!(histograms, [(-4, "{count:3, sum:1.5, (0.5,1]:3}".to_owned())]);
        let odd = Labels::from([
            ("__name__".to_owned(), "up".to_owned()),
            ("path".to_owned(), "C:\\x \"q\" }, a=\n\u{2028}ü".to_owned()),
        ]);
        let plain = Labels::from([("__name__".to_owned(), "up".to_owned())]);
        assert!(contents.has(&odd, 1000, 1e6));
        assert!(contents.has(&odd, 2000, f64::NAN));
        assert!(contents.has(&plain, -5, f64::INFINITY));
        assert_eq!(contents.sample_count(), 3);
    }

    #[test]
    fn damaged_output_is_an_error() {
        for text in ["{a=\"b\"} 1\n", "{a=\"b} 1 2\n", "{a=\"b\", a=\"c\"} 1 2\n", "{a=\"\\xff\"} 1 2\n"] {
            assert!(read_lines(text.as_bytes(), |_, _, _| Ok(())).is_err(), "{text}");
        }
    }
}
