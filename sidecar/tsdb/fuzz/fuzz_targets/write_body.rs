//! `make fuzz ONLY=write_body`: bodies of remote write, checked and stored as the sidecar does it. The first byte says of
//! which version. What is well-formed is stored or refused by name, to the last sample, and a retry changes nothing.

#![no_main]

#[expect(dead_code, reason = "the target may block")]
#[path = "../../../src/append/mod.rs"]
mod append;
#[path = "../../../src/histograms.rs"]
mod histograms;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use ringside_proto::Protocol;
use ringside_proto::limits::ContentLimits;
use ringside_tsdb::fs::faults::FaultFs;
use ringside_tsdb::{Options, Tsdb, judge};

/// What of the sidecar's errors the appending knows.
mod error {
    use ringside_proto::WireError;
    use ringside_proto::remote_write_v2::RequestError;
    use ringside_proto::ringside::Reason;

    #[derive(Debug, thiserror::Error)]
    pub(crate) enum WriteError {
        #[error(transparent)]
        Protobuf(#[from] WireError),
        #[error(transparent)]
        Request(#[from] RequestError),
        #[error(transparent)]
        Tsdb(#[from] ringside_tsdb::Error),
    }

    pub(crate) fn severity(reason: Reason) -> u8 {
        reason as u8
    }
}

/// Bodies that one storage takes; then comes an empty one.
const BODIES_MAX: u32 = 500;

thread_local! {
    static STORAGE: RefCell<Option<(u32, Tsdb)>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(init: judge::write_seeds("write_body"), |bytes: &[u8]| {
    let Some((version, body)) = bytes.split_first() else { return };
    let protocol = if version % 2 == 0 { Protocol::V1 } else { Protocol::V2 };
    STORAGE.with_borrow_mut(|storage| {
        let (bodies, tsdb) = storage.get_or_insert_with(|| (0, open()));
        write(body, protocol, tsdb);
        *bodies += 1;
        if *bodies == BODIES_MAX {
            *storage = None;
        }
    });
});

fn open() -> Tsdb {
    let options = Options { fs: Arc::new(FaultFs::default()), exemplars_max: 10, ..Options::default() };
    Tsdb::open(Path::new("/tenant"), options).expect("memory holds an empty tenant")
}

fn write(body: &[u8], protocol: Protocol, tsdb: &Tsdb) {
    let Ok(totals) = append::check(body, protocol) else { return };
    let before = tsdb.stats().counters;
    let store = || append::append(body, protocol, tsdb, |_| Ok(ContentLimits::default()));
    let (again, outcome) = store().expect("what was checked is stored or refused by name");
    assert_eq!(again, totals);
    let after = tsdb.stats().counters;
    assert!(outcome.refused_count <= u64::from(totals.series));
    let stored = (after.samples_appended - before.samples_appended) + (after.duplicates - before.duplicates);
    let (sent, missing) = (totals.contents, outcome.missing);
    assert_eq!(stored + missing.samples + missing.histograms, sent.samples + sent.histograms, "{outcome:?}");
    assert!(store().is_ok_and(|(_, again)| again.missing.samples <= missing.samples));
    let retried = tsdb.stats().counters;
    assert_eq!(retried.samples_appended, after.samples_appended, "a retry stores nothing anew");
}
