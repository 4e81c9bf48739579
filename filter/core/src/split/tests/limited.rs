//! Bodies of a tenant with limits: what is beyond one is in no part, and the indexes of the others are still the client's.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use ringside_proto::Protocol;
use ringside_proto::limits::ContentLimits;

use super::{MAX, body, body_v2, decode, incoming, many, ring, series};
use crate::split::{BodyError, Incoming, Splitter};

#[test]
fn a_series_beyond_a_limit_is_in_no_part() {
    let long = "x".repeat(11);
    let v1 = body(vec![
        series(&[("a", "1")], 1),
        series(&[("a", &long)], 1),
        series(&[("a", "2"), ("b", "2"), ("c", "3")], 1),
        series(&[("a", "3"), ("b", "3")], 1),
    ]);
    let symbols = ["", "a", "1", &long, "b", "c", "2", "3"];
    let v2 = body_v2(&symbols, &[&[1, 2], &[1, 3], &[1, 6, 4, 6, 5, 7], &[1, 7, 4, 7]]);
    let limits =
        ContentLimits { labels_per_series: Some(2), label_value_bytes: Some(10), ..ContentLimits::default() };
    for (protocol, body) in [(Protocol::V1, v1), (Protocol::V2, v2)] {
        let incoming = Incoming { limits, counts_samples: true, ..incoming("t", protocol, MAX) };
        let split = Splitter::default().plan(&ring(5), &incoming, body.clone()).unwrap();
        let refused = split.refused.unwrap();
        assert_eq!((refused.series, refused.first), (2, 1));
        assert_eq!(refused.message, "series 1: a label value of 11 bytes, more than 10");
        assert_eq!(split.samples, Some(2));
        let mut indexes: Vec<_> = { split.layout.sets().iter() }
            .flat_map(|set| (0..set.len.unwrap()).map(|place| split.layout.client_index(set, place)))
            .collect();
        indexes.sort_unstable();
        assert_eq!(indexes, [0, 3], "the indexes are still the client's");
        let none = ContentLimits { label_name_bytes: Some(0), ..limits };
        let plan = Splitter::default().plan(&ring(5), &Incoming { limits: none, ..incoming }, body).unwrap();
        assert!(plan.parts.is_empty() && plan.refused.is_some_and(|refused| refused.series == 4));
    }
}

#[test]
fn in_front_of_those_that_do_not_judge_a_body_is_judged_here_on_any_ring() {
    let limits = ContentLimits { labels_per_series: Some(1), ..ContentLimits::default() };
    let incoming = Incoming { limits, looks_inside: true, ..incoming("default-tenant", Protocol::V1, MAX) };
    let sent = vec![series(&[("a", "1")], 1), series(&[("a", "1"), ("b", "1")], 1), series(&[("b", "1")], 1)];
    for endpoints in [3, 4] {
        let plan = Splitter::default().plan(&ring(endpoints), &incoming, body(sent.clone())).unwrap();
        assert_eq!(plan.refused.unwrap().first, 1);
        let copies: usize = plan.parts.iter().map(|part| decode(&part.body).timeseries.len()).sum();
        assert_eq!(copies, 6);
    }
    let series_only = ContentLimits { series_per_request: Some(2), ..ContentLimits::default() };
    let incoming = Incoming { limits: series_only, ..incoming };
    let refused = Splitter::default().plan(&ring(3), &incoming, body(sent.clone()));
    assert_eq!(refused.unwrap_err(), BodyError::TooManySeries { max: 2 });
    let few = Splitter::default().plan(&ring(3), &incoming, body(sent[..2].to_vec())).unwrap();
    assert_eq!(few.parts.len(), 3);
}

#[test]
fn a_request_with_more_series_than_its_tenant_may_send_is_refused() {
    let limits = ContentLimits { series_per_request: Some(3), ..ContentLimits::default() };
    let incoming = Incoming { limits, ..incoming("t", Protocol::V1, MAX) };
    assert!(Splitter::default().plan(&ring(5), &incoming, body(many(3))).is_ok());
    let error = Splitter::default().plan(&ring(5), &incoming, body(many(4))).unwrap_err();
    assert_eq!(error, BodyError::TooManySeries { max: 3 });
    // With as many sidecars as replicas they are the ones to count.
    assert!(Splitter::default().plan(&ring(3), &incoming, body(many(4))).is_ok());
}
