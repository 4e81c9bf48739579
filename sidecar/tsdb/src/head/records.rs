//! The records of one request, for both logs, in the order in which Prometheus writes them.

use crate::record::{ExemplarsEncoder, MetadataEncoder, SeriesEncoder, ValuesEncoder};

/// What a request logs.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) series: SeriesEncoder,
    pub(super) metadata: MetadataEncoder,
    pub(super) samples: ValuesEncoder,
    pub(super) exemplars: ExemplarsEncoder,
    pub(super) out_of_order: ValuesEncoder,
}

impl Records {
    /// The payloads for the write-ahead log; empty ones hold nothing.
    pub(super) fn wal(&self) -> impl Iterator<Item = &[u8]> {
        let before = [self.series.bytes(), self.metadata.bytes()];
        before.into_iter().chain(self.samples.payloads()).chain([self.exemplars.bytes()])
    }

    /// The payloads for the write-behind log; empty ones hold nothing.
    pub(super) fn wbl(&self) -> impl Iterator<Item = &[u8]> {
        self.out_of_order.payloads().into_iter()
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(super) fn clear(&mut self) {
        self.series.clear();
        self.metadata.clear();
        self.samples.clear();
        self.exemplars.clear();
        self.out_of_order.clear();
    }
}
