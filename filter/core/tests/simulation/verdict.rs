//! The status that a client has to get for what came back: a plain model, which shares nothing with what it judges.
//!
//! Whatever can become of a series is named by the status that remote write 1.0 has for it. What single replies say is
//! `witness`' to know.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ringside_proto::Protocol;
use ringside_proto::ringside::Reason;

use crate::sidecar::Answer;

/// All that can become of a series, the worst first.
const WORST_FIRST: [u16; 7] = [503, 429, 415, 400, 413, 409, 200];

/// What the reply of a sidecar says of a series; `None` is one that no list of refusals names.
pub(crate) fn said(protocol: Protocol, answer: Option<&Answer>, series: Option<u32>) -> u16 {
    let Some(answer) = answer else { return 503 };
    if answer.is_list {
        return match series.and_then(|series| answer.refused.get(&series)) {
            None => 200,
            Some(Reason::Invalid) => 400,
            Some(Reason::Limit) => 429,
            Some(Reason::Unavailable | Reason::Unspecified) => 503,
            Some(_) => 409,
        };
    }
    match answer.status {
        200..=299 if protocol == Protocol::V2 && answer.written.is_none() => 415,
        200..=299 => 200,
        400 | 422 => 400,
        409 | 413 | 415 | 429 => answer.status,
        _ => 503,
    }
}

/// What becomes of a series of which its replicas say this.
pub(crate) fn of_series(said: &[u16], quorum: usize) -> u16 {
    let count = |these: &[u16]| said.iter().filter(|status| these.contains(status)).count();
    // Whether so many say one of these that the rest is no quorum.
    let is_settled_by = |these: &[u16]| said.len() - count(these) < quorum;
    if count(&[200]) >= quorum {
        200
    } else if is_settled_by(&[415, 400, 413, 409]) {
        [415, 400, 413].into_iter().find(|status| is_settled_by(&[*status])).unwrap_or(409)
    } else if is_settled_by(&[429]) {
        429
    } else {
        503
    }
}

/// What becomes of a request whose series end like this.
pub(crate) fn worst(series: impl IntoIterator<Item = u16>) -> u16 {
    let place = |status: &u16| WORST_FIRST.iter().position(|other| other == status);
    series.into_iter().min_by_key(place).unwrap_or(200)
}

/// The status by which a client is told.
pub(crate) fn status(protocol: Protocol, verdict: u16) -> u16 {
    match verdict {
        200 => protocol.success(),
        409 if protocol == Protocol::V2 => 400,
        other => other,
    }
}

/// The best and the worst that can become of a series, whatever so many more replicas will say.
pub(crate) fn ends(said: &[u16], missing: usize, quorum: usize) -> (u16, u16) {
    type Known = BTreeMap<(Vec<u16>, usize, usize), (u16, u16)>;
    thread_local!(static KNOWN: RefCell<Known> = RefCell::default());
    if missing == 0 {
        let only = of_series(said, quorum);
        return (only, only);
    }
    let mut said = said.to_vec();
    said.sort_unstable();
    let key = (said, missing, quorum);
    if let Some(ends) = KNOWN.with_borrow(|known| known.get(&key).copied()) {
        return ends;
    }
    let ends: Vec<_> =
        WORST_FIRST.map(|next| ends(&[&key.0[..], &[next]].concat(), missing - 1, quorum)).into();
    let best = WORST_FIRST.into_iter().rev().find(|status| ends.iter().any(|(best, _)| best == status));
    let ends = (best.expect("an end"), worst(ends.iter().map(|(_, worst)| *worst)));
    KNOWN.with_borrow_mut(|known| known.insert(key, ends));
    ends
}
