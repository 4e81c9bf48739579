//! Records of what series measure: type, unit and help.

use super::{KEPT_BYTES_MAX, METADATA};
use crate::encoding::{Decoder, Truncated, put_string, put_uvarint};

const UNIT: &[u8] = b"UNIT";
const HELP: &[u8] = b"HELP";

/// A series' metadata. The strings are as they were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MetadataEntry<'a> {
    /// The series' reference.
    pub(crate) reference: u64,
    /// 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.
    pub(crate) kind: u8,
    /// The unit.
    pub(crate) unit: &'a [u8],
    /// The help text.
    pub(crate) help: &'a [u8],
}

/// Iterates over a record of metadata.
#[derive(Debug)]
pub(crate) struct MetadataRecords<'a> {
    body: Decoder<'a>,
}

impl<'a> MetadataRecords<'a> {
    pub(super) fn new(body: Decoder<'a>) -> Self {
        Self { body }
    }

    /// Fields that no reader knows are passed over.
    fn entry(&mut self) -> Result<MetadataEntry<'a>, Truncated> {
        let body = &mut self.body;
        let (reference, kind) = (body.uvarint()?, body.byte()?);
        let mut entry = MetadataEntry { reference, kind, ..MetadataEntry::default() };
        for _ in 0..body.uvarint()? {
            match (body.string()?, body.string()?) {
                (UNIT, unit) => entry.unit = unit,
                (HELP, help) => entry.help = help,
                _ => {}
            }
        }
        Ok(entry)
    }
}

impl<'a> Iterator for MetadataRecords<'a> {
    type Item = Result<MetadataEntry<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.body.is_empty()).then(|| self.entry())
    }
}

/// Builds one record of metadata; empty until the first.
#[derive(Debug, Default)]
pub(crate) struct MetadataEncoder {
    bytes: Vec<u8>,
}

impl MetadataEncoder {
    /// Adds a series' metadata.
    pub(crate) fn push(&mut self, entry: MetadataEntry<'_>) {
        if self.bytes.is_empty() {
            self.bytes.push(METADATA);
        }
        put_uvarint(&mut self.bytes, entry.reference);
        self.bytes.push(entry.kind);
        put_uvarint(&mut self.bytes, 2);
        for (name, value) in [(UNIT, entry.unit), (HELP, entry.help)] {
            put_string(&mut self.bytes, name);
            put_string(&mut self.bytes, value);
        }
    }

    /// The payload; empty when nothing was added.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts anew and keeps the memory that a usual request needs.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}
