//! What tenants' series are made of, remembered for a while: counting walks the whole head.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringside_tsdb::{Cardinality, Count, Tsdb};

use crate::tenant_id::TenantId;

/// How long a count is good for.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// Counts of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Cardinalities {
    tenants: Mutex<HashMap<TenantId, Arc<Remembered>>>,
}

/// Counts of one tenant. The locks are held while it is counted.
#[derive(Debug, Default)]
struct Remembered {
    lists: Mutex<Option<Lists>>,
    largest_metric: Mutex<Option<(Instant, Option<Count>)>>,
}

#[derive(Debug)]
struct Lists {
    at: Instant,
    limit: usize,
    counts: Arc<Cardinality>,
}

impl Cardinalities {
    /// The `limit` largest of each kind, or somewhat more, not older than half a minute. May take a while.
    pub(crate) fn of(
        &self,
        tenant: &TenantId,
        tsdb: &Tsdb,
        limit: usize,
    ) -> Result<Arc<Cardinality>, ringside_tsdb::Error> {
        let remembered = self.remembered(tenant);
        let mut lists = remembered.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lists.as_ref().filter(|lists| lists.limit >= limit && lists.at.elapsed() < GOOD_FOR);
        if let Some(known) = known {
            return Ok(Arc::clone(&known.counts));
        }
        let counts = Arc::new(tsdb.cardinality(limit)?);
        *lists = Some(Lists { at: Instant::now(), limit, counts: Arc::clone(&counts) });
        Ok(counts)
    }

    /// The metric with the most series, as far as it is known without waiting for another count.
    pub(crate) fn largest_metric(&self, tenant: &TenantId, tsdb: &Tsdb) -> Option<Count> {
        let remembered = self.remembered(tenant);
        let mut largest = remembered.largest_metric.try_lock().ok()?;
        match &*largest {
            Some((at, count)) if at.elapsed() < GOOD_FOR => count.clone(),
            _ => {
                let count = tsdb.largest_metric();
                *largest = Some((Instant::now(), count.clone()));
                count
            }
        }
    }

    fn remembered(&self, tenant: &TenantId) -> Arc<Remembered> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        match tenants.get(tenant) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(tenants.entry(tenant.clone()).or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use ringside_proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
    use ringside_tsdb::Options;

    use super::*;

    fn append(tsdb: &Tsdb, name: &str) {
        let labels = vec![Label { name: "__name__".to_owned(), value: name.to_owned() }];
        let samples = vec![Sample { value: 1.0, timestamp: 1 }];
        let series = TimeSeries { labels, samples, ..TimeSeries::default() };
        let body = WriteRequest { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
        assert!(crate::append::store(&body, tsdb).unwrap().refused.is_empty());
    }

    #[test]
    fn counts_are_remembered_unless_more_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let tsdb = Tsdb::open(dir.path(), Options::default()).unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        let cardinalities = Cardinalities::default();
        append(&tsdb, "a");
        assert_eq!(cardinalities.of(&tenant, &tsdb, 10).unwrap().series, 1);
        assert_eq!(cardinalities.largest_metric(&tenant, &tsdb).unwrap().name, "a");
        append(&tsdb, "b");
        assert_eq!(cardinalities.of(&tenant, &tsdb, 5).unwrap().series, 1);
        assert_eq!(cardinalities.of(&tenant, &tsdb, 11).unwrap().series, 2);
        let other = TenantId::parse("other").unwrap();
        assert_eq!(cardinalities.of(&other, &tsdb, 1).unwrap().series, 2);
    }
}
