//! What is done with a body: decompressed, held against the tenant's limits, appended.

use std::sync::Arc;

use axum::body::Bytes;
use ringside_proto::Protocol;
use ringside_proto::limits::ContentLimits;
use ringside_proto::ringside::Reason;
use ringside_tsdb::{Position, Tsdb};

use crate::append::{self, Outcome, Totals};
use crate::cardinality::Cardinalities;
use crate::error::WriteError;
use crate::limits::{Limits, RequestLimit, Reservation, TenantLimits};
use crate::snappy::{BufferPool, Decoded};
use crate::tenant_id::TenantId;

/// Longest metric name that an answer repeats, in characters.
const ECHO_CHARS_MAX: usize = 200;

/// One request at work, with what it holds.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) protocol: Protocol,
    pub(super) tenant: TenantId,
    pub(super) limits: Arc<Limits>,
    pub(super) tenant_limits: TenantLimits,
    /// What the filter handed on.
    pub(super) handed: ContentLimits,
    pub(super) cardinalities: Arc<Cardinalities>,
    pub(super) buffers: BufferPool,
    /// The body's bytes, given back when it is durable.
    pub(super) reservation: Option<Reservation>,
}

impl Job {
    pub(super) fn decompress(&self, body: &Bytes) -> Result<Decoded, WriteError> {
        Ok(self.buffers.decompress(body)?)
    }

    /// What a decompressed body holds, where it may be stored.
    pub(super) fn check(&self, decoded: &Decoded) -> Result<Totals, WriteError> {
        let totals = append::check(decoded, self.protocol)?;
        self.judge(totals)?;
        Ok(totals)
    }

    /// Holds a well-formed body against the tenant's limits; those that are left refuse single series.
    fn judge(&self, totals: Totals) -> Result<ContentLimits, WriteError> {
        let Totals { series, contents, .. } = totals;
        let (series, samples) = (u64::from(series), contents.samples.saturating_add(contents.histograms));
        for (limit, got, max) in [
            (RequestLimit::Series, series, self.tenant_limits.series_max),
            (RequestLimit::Series, series, self.handed.series_per_request.unwrap_or(0)),
            (RequestLimit::Samples, samples, self.tenant_limits.samples_max),
        ] {
            self.limits.check(&self.tenant, limit, got, max)?;
        }
        Ok(self.handed)
    }

    /// Checks and appends a decompressed body; see [`append::append`].
    pub(super) fn append(&self, decoded: &Decoded, tsdb: &Tsdb) -> Result<(Totals, Outcome), WriteError> {
        let (totals, outcome) = append::append(decoded, self.protocol, tsdb, |totals| self.judge(totals))?;
        Ok((totals, self.explained(outcome, tsdb)))
    }

    /// The same on the async runtime, but for what [`explained`](Self::explained) adds; see [`append::append_now`].
    pub(super) fn append_now(
        &self,
        decoded: &Decoded,
        tsdb: &Tsdb,
    ) -> Result<Option<(Totals, Outcome, Position)>, WriteError> {
        append::append_now(decoded, self.protocol, tsdb, |totals| self.judge(totals))
    }

    /// Adds to the first refusal what only the storage knows. May block.
    pub(super) fn explained(&self, mut outcome: Outcome, tsdb: &Tsdb) -> Outcome {
        if outcome.worst == Some(Reason::Limit) {
            let hint = self.where_series_are(tsdb);
            outcome.first.get_or_insert_default().push_str(&hint);
        }
        outcome
    }

    /// For whoever has too many series: how many, and the metric that has most of them.
    fn where_series_are(&self, tsdb: &Tsdb) -> String {
        let series = tsdb.stats().series;
        let mut text = format!("; tenant {} has {series} series", self.tenant);
        if let Some(largest) = self.cardinalities.largest_metric(&self.tenant, tsdb) {
            let name: String = largest.name.chars().take(ECHO_CHARS_MAX).collect();
            text.push_str(&format!(", most of them ({}) of metric {name}", largest.value));
        }
        text
    }
}
