//! Walks label fields: those of a time series, or a run of them that was cut
//! out of one. Names and values stay bytes; whether they are valid UTF-8,
//! unique or sorted is for the reader to judge.

use prost::encoding::{encode_varint, encoded_len_varint};

use crate::wire::{Cursor, WireError, len_tag};

/// `TimeSeries.labels` and `Exemplar.labels`.
pub(crate) const LABELS: u32 = len_tag(1);
const NAME: u32 = len_tag(1);
const VALUE: u32 = len_tag(2);
const LABEL_KNOWN: u32 = 1 << 1 | 1 << 2;

/// One label, as it stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    /// The name; empty where the sender left it out.
    pub name: &'a [u8],
    /// The value; empty where the sender left it out.
    pub value: &'a [u8],
}

impl<'a> Label<'a> {
    /// How many bytes name and value have.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.name.len() + self.value.len()
    }

    /// Reads the body of a label field. As protobuf has it, the last of a repeated field counts.
    #[inline]
    pub(crate) fn parse(mut cursor: Cursor<'a>) -> Result<Self, WireError> {
        // Nearly every label is a name and then a value, both shorter than 128 bytes, and nothing else.
        let start = cursor;
        if let Some(name) = cursor.take_short(NAME)
            && let Some(value) = cursor.take_short(VALUE)
            && cursor.is_empty()
        {
            return Ok(Label { name, value });
        }
        Self::parse_any(start)
    }

    /// Appends the label as a field of a `TimeSeries` of remote write 1.0, in its shortest form.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let len = |part: &[u8]| 1 + encoded_len_varint(part.len() as u64) + part.len();
        out.push(LABELS as u8);
        encode_varint((len(self.name) + len(self.value)) as u64, out);
        for (tag, part) in [(NAME, self.name), (VALUE, self.value)] {
            out.push(tag as u8);
            encode_varint(part.len() as u64, out);
            out.extend_from_slice(part);
        }
    }

    fn parse_any(mut cursor: Cursor<'a>) -> Result<Self, WireError> {
        let mut label = Label { name: &[], value: &[] };
        while !cursor.is_empty() {
            let at = cursor;
            match cursor.tag()? {
                NAME => label.name = cursor.bytes()?,
                VALUE => label.value = cursor.bytes()?,
                tag => cursor.skip(&at, tag, LABEL_KNOWN)?,
            }
        }
        Ok(label)
    }
}

/// Iterates over the labels among the fields of a message. It ends after the first error.
#[derive(Debug, Clone)]
pub struct LabelIter<'a> {
    cursor: Cursor<'a>,
    /// Field numbers with a fixed wire type in the message around the labels.
    known: u32,
}

impl<'a> LabelIter<'a> {
    #[inline]
    pub(crate) fn new(cursor: Cursor<'a>, known: u32) -> Self {
        Self { cursor, known }
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<Label<'a>>, WireError> {
        if self.cursor.take_short_tag(LABELS) {
            return Label::parse(self.cursor.nested()?).map(Some);
        }
        while !self.cursor.is_empty() {
            let at = self.cursor;
            match self.cursor.tag()? {
                LABELS => return Label::parse(self.cursor.nested()?).map(Some),
                tag => self.cursor.skip_among_len(&at, tag, self.known)?,
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for LabelIter<'a> {
    type Item = Result<Label<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance();
        if item.is_err() {
            self.cursor.stop();
        }
        item.transpose()
    }
}

impl std::iter::FusedIterator for LabelIter<'_> {}

/// Walks a run of label fields, tags included, such as
/// [`TimeSeries::label_bytes`](crate::remote_write::TimeSeries::label_bytes) gives.
/// Offsets of errors count from the start of the run.
#[inline]
pub fn label_fields(bytes: &[u8]) -> LabelIter<'_> {
    LabelIter::new(Cursor::new(bytes, 0), 1 << 1)
}
