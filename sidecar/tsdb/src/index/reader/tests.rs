//! What the index of a cut block gives back, and that damage of any byte is an error.

use super::*;
use crate::block::testing::cut_block;
use crate::fs::RealFs;

fn ids(postings: Postings<'_>) -> Vec<u32> {
    postings.map(Result::unwrap).collect()
}

fn text(index: &IndexReader, series: &SeriesEntry) -> Vec<String> {
    let symbol = |position| String::from_utf8(index.symbol(position).unwrap()).unwrap();
    series.labels.iter().map(|&(name, value)| format!("{}={}", symbol(name), symbol(value))).collect()
}

#[test]
fn series_postings_names_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let block = cut_block(dir.path(), 101);
    let index = IndexReader::open(&RealFs, &block.join("index")).unwrap();

    let names: Vec<_> = index.label_names().collect();
    assert_eq!(names, [(b"__name__".as_slice(), 2), (b"i", 101), (b"job", 1)]);
    let mut expected: Vec<_> = (0..101).map(|i| i.to_string().into_bytes()).collect();
    expected.sort();
    let values: Vec<_> = index.label_values(b"i").map(|value| value.unwrap().value).collect();
    assert_eq!(values, expected);
    assert_eq!(index.label_values(b"nothing").count(), 0);

    let all = ids(index.all_postings().unwrap());
    assert_eq!(all.len(), 101);
    let ups = index.postings(b"__name__", b"up").unwrap();
    assert_eq!(ups.list_len(), 51);
    for id in ids(ups) {
        let series = index.series(id).unwrap();
        let labels = text(&index, &series);
        assert_eq!((labels[0].as_str(), labels[2].as_str()), ("__name__=up", "job=x"));
        assert_eq!((series.chunks[0].mint, series.chunks.last().unwrap().maxt), (0, 119 * 60_000));
    }
    for value in index.label_values(b"i") {
        let value = value.unwrap();
        let id = ids(value.postings().unwrap());
        assert_eq!(id, ids(index.postings(b"i", &value.value).unwrap()), "{value:?}");
        let label = format!("i={}", String::from_utf8(value.value).unwrap());
        assert!(text(&index, &index.series(id[0]).unwrap()).contains(&label));
    }
    for (name, value) in [("i", "no"), ("i", ""), ("i", "\u{10ffff}"), ("", ""), ("job", "w"), ("zone", "x")]
    {
        assert_eq!(ids(index.postings(name.as_bytes(), value.as_bytes()).unwrap()), [0; 0], "{name}={value}");
    }
    assert!(index.symbol(index.symbol_count()).is_err());
    for id in [0, all[0] - 1, all[100] + 1000, u32::MAX] {
        assert!(index.series(id).is_err(), "series {id}");
    }
}

/// Opens, and reads everything.
fn read_all(path: &Path) -> Result<(), Error> {
    let index = IndexReader::open(&RealFs, path)?;
    for id in index.all_postings()? {
        for (name, value) in index.series(id?)?.labels {
            index.symbol(name)?;
            index.symbol(value)?;
        }
    }
    for (name, _) in index.label_names() {
        for value in index.label_values(name) {
            value?.postings()?.try_for_each(|id| id.map(drop))?;
        }
    }
    Ok(())
}

#[test]
fn other_versions_and_short_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = cut_block(dir.path(), 2).join("index");
    let good = std::fs::read(&path).unwrap();
    read_all(&path).unwrap();
    for len in 0..good.len() {
        std::fs::write(&path, &good[..len]).unwrap();
        assert!(matches!(read_all(&path), Err(Error::Corrupt { .. })), "cut to {len} bytes");
    }
    for (version, expected) in [(1, "an index of version 1"), (3, "at byte 4: version 3 is unknown")] {
        let mut other = good.clone();
        other[4] = version;
        std::fs::write(&path, other).unwrap();
        let error = read_all(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
