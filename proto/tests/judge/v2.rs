//! As `v1.rs`, for remote write 2.0, whose rules beyond the framing are judged from what prost reads.

use prost::Message;
use ringside_proto::WireFault;
use ringside_proto::prometheus_v2::{Request, TimeSeries};
use ringside_proto::remote_write_v2::{
    Contents, RequestError, SeriesError, SymbolTable, Symbols, TimeSeries as Walked, time_series,
};

/// Panics where the walkers and prost disagree on `body`.
pub(crate) fn judge(body: &[u8]) {
    let mut table = SymbolTable::default();
    let symbols = match (table.read(body), Request::decode(body)) {
        (Ok(symbols), Ok(request)) => {
            same_symbols(symbols, &request);
            let walked: Vec<_> = time_series(body).map(Result::unwrap).collect();
            assert_eq!(walked.len(), request.timeseries.len());
            for (walked, sent) in walked.iter().zip(&request.timeseries) {
                same_series(walked, symbols, sent);
            }
            return;
        }
        (Err(RequestError::Wire(error)), Ok(_)) => return assert_is_group(error.what),
        (Err(RequestError::FirstSymbol { bytes }), Ok(request)) => {
            return assert_eq!(request.symbols[0].len(), bytes);
        }
        (Err(RequestError::Wire(error)), Err(_)) => return assert!(error.offset <= body.len()),
        (Err(_), _) => return,
        // The walkers look neither into histograms nor for valid UTF-8.
        (Ok(symbols), Err(_)) => symbols,
    };
    for series in time_series(body) {
        let series = series.expect("the table was read past it");
        if let Err(SeriesError::Wire(error)) = series.check(symbols) {
            assert!(error.offset <= body.len());
        }
        series.labels(symbols).for_each(drop);
        series.histograms().for_each(drop);
        let _ = series.contents();
    }
}

/// Groups are the one thing that prost passes over and remote write never has.
fn assert_is_group(what: WireFault) {
    assert_eq!(what, WireFault::UnknownWireType);
}

fn same_symbols(symbols: Symbols<'_, '_>, request: &Request) {
    assert_eq!(symbols.len(), request.symbols.len());
    for (reference, sent) in (0..).zip(&request.symbols) {
        assert_eq!(symbols.get(reference), Some(sent.as_bytes()));
    }
    let mut copy = Vec::new();
    symbols.append_to(&mut copy);
    assert_eq!(Request::decode(&copy[..]).expect("the copy is a request").symbols, request.symbols);
}

fn same_series(walked: &Walked<'_>, symbols: Symbols<'_, '_>, sent: &TimeSeries) {
    let checked = walked.check(symbols);
    if let Err(SeriesError::Wire(error)) = checked {
        return assert_is_group(error.what);
    }
    assert_eq!(walked.label_refs().map(Result::unwrap).collect::<Vec<_>>(), sent.labels_refs);
    let samples = walked.samples().map(Result::unwrap);
    let samples: Vec<_> = samples.map(|s| (s.value.to_bits(), s.timestamp, s.start_timestamp)).collect();
    let expected = sent.samples.iter().map(|s| (s.value.to_bits(), s.timestamp, s.start_timestamp));
    assert_eq!(samples, expected.collect::<Vec<_>>());
    assert_eq!(walked.histograms().map(Result::unwrap).count(), sent.histograms.len());
    for (exemplar, sent) in walked.exemplars().map(Result::unwrap).zip(&sent.exemplars) {
        assert_eq!((exemplar.value.to_bits(), exemplar.timestamp), (sent.value.to_bits(), sent.timestamp));
        assert_eq!(exemplar.label_refs().map(Result::unwrap).collect::<Vec<_>>(), sent.labels_refs);
    }
    let metadata = walked.metadata().expect("checked").map(|m| (m.metric_type, m.help_ref, m.unit_ref));
    assert_eq!(metadata, sent.metadata.map(|m| (m.r#type, m.help_ref, m.unit_ref)));

    let contents = Contents {
        samples: sent.samples.len() as u64,
        histograms: sent.histograms.len() as u64,
        exemplars: sent.exemplars.len() as u64,
    };
    assert_eq!(walked.contents(), Ok(contents));
    let mut found = std::collections::BTreeSet::from([0]);
    let survey = walked.survey(|reference| {
        found.insert(reference);
    });
    assert_eq!(survey.map(|survey| survey.contents), Ok(contents));
    let texts = sent.metadata.iter().flat_map(|m| [m.help_ref, m.unit_ref]);
    let exemplars = sent.exemplars.iter().flat_map(|e| &e.labels_refs);
    let expected = sent.labels_refs.iter().chain(exemplars).copied().chain(texts).chain([0]);
    // Metadata that comes twice may refer to what is then overwritten.
    assert!(found.is_superset(&expected.collect()));
    let known = |reference: &u32| (*reference as usize) < symbols.len();
    let refs = || std::iter::once(&sent.labels_refs).chain(sent.exemplars.iter().map(|e| &e.labels_refs));
    let texts = sent.metadata.iter().flat_map(|m| [m.help_ref, m.unit_ref]);
    let is_in_range = refs().flatten().all(known) && texts.filter(|at| *at != 0).all(|at| known(&at));
    let is_paired = refs().all(|refs| refs.len() % 2 == 0);
    let is_one_kind = sent.samples.is_empty() != sent.histograms.is_empty();
    assert_eq!(checked.is_ok(), is_in_range && is_paired && is_one_kind, "{checked:?} of {sent:?}");
    if let Ok(checked) = checked {
        assert_eq!(checked, contents);
        assert_eq!(walked.labels(symbols).map(Result::unwrap).count() * 2, sent.labels_refs.len());
    }
}
