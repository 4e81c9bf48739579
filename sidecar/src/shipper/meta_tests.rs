//! The JSON that goes to the bucket and stays beside it, byte for byte.

use std::time::Duration;

use super::*;

const BLOCK: &str = r#"{"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":0,"maxTime":7200000,
"stats":{"numSamples":1,"numFloatSamples":1,"numSeries":1,"numChunks":1},
"compaction":{"level":1,"sources":["01ARZ3NDEKTSV4RRFFQ69G5FAV"]},"version":1}"#;

#[test]
fn uploaded_meta_is_as_thanos_writes_it() {
    let block: Meta = serde_json::from_str(BLOCK).unwrap();
    let labels = [("receive_replica", "0"), ("tenant_id", "default-tenant")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let file = |path: &str, size_bytes| BlockFile { rel_path: path.to_owned(), size_bytes };
    let files = [file("chunks/000001", Some(3751)), file("index", Some(401)), file("meta.json", None)];
    let upload_time = SystemTime::UNIX_EPOCH + Duration::new(1_787_392_800, 123_456_789);
    let json = uploaded_meta(&block, &labels, &files, upload_time).unwrap();
    let expected = include_str!("testdata/meta.json");
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn record_is_as_thanos_writes_it_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Record::read(dir.path()).unwrap(), None);
    let mut record = Record::empty();
    record.uploaded.insert(Ulid::from_string("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap());
    record.write(dir.path()).unwrap();
    let json = std::fs::read_to_string(Record::path(dir.path())).unwrap();
    assert_eq!(json, "{\n\t\"version\": 1,\n\t\"uploaded\": [\n\t\t\"01ARZ3NDEKTSV4RRFFQ69G5FAV\"\n\t]\n}");
    assert_eq!(uploaded_blocks(dir.path()), record.uploaded);
    assert_eq!(Record::read(dir.path()).unwrap(), Some(record));
}

#[test]
fn a_record_that_cannot_be_trusted_names_no_block() {
    let dir = tempfile::tempdir().unwrap();
    for (json, readable) in [
        ("{\"version\":1,\"uploaded\":null}", true),
        ("{\"version\":1}", true),
        ("{\"version\":2,\"uploaded\":[]}", false),
        ("{\"version\":1,\"uploaded\":[\"x\"]}", false),
        ("{", false),
    ] {
        std::fs::write(Record::path(dir.path()), json).unwrap();
        assert_eq!(Record::read(dir.path()).is_ok(), readable, "{json}");
        assert!(uploaded_blocks(dir.path()).is_empty());
    }
}
