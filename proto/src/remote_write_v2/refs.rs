//! References into the table of symbols, and the labels that they stand for. They come packed into one field, or one
//! by one, or both, as protobuf allows for repeated numbers.

use std::iter::FusedIterator;

use super::{LABEL_BYTES_MAX, SeriesError, Symbols};
use crate::labels::Label;
use crate::wire::{Cursor, WireError, len_tag, varint_tag};

/// `labels_refs` of a series or an exemplar, as senders have it.
pub(super) const PACKED: u32 = len_tag(1);
pub(super) const SINGLE: u32 = varint_tag(1);
const REFS: u32 = 1 << 1;

/// Iterates over references. It ends after the first error, and judges no field but theirs.
#[derive(Debug, Clone)]
pub struct RefIter<'a> {
    cursor: Cursor<'a>,
    /// What is left of the packed field that is being read.
    packed: Cursor<'a>,
}

impl<'a> RefIter<'a> {
    #[inline]
    pub(super) fn new(cursor: Cursor<'a>) -> Self {
        let mut packed = cursor;
        packed.stop();
        Self { cursor, packed }
    }

    /// Looks the references up, two by two.
    #[inline]
    pub fn labels<'t>(self, symbols: Symbols<'t, 'a>) -> LabelIter<'t, 'a> {
        LabelIter { refs: self, symbols, left: LABEL_BYTES_MAX }
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<u32>, WireError> {
        loop {
            // As protobuf has it, a number beyond 32 bits loses its upper ones.
            if !self.packed.is_empty() {
                return self.packed.varint().map(|reference| Some(reference as u32));
            }
            if self.cursor.is_empty() {
                return Ok(None);
            }
            let at = self.cursor;
            match self.cursor.tag()? {
                PACKED => self.packed = self.cursor.nested()?,
                SINGLE => return self.cursor.varint().map(|reference| Some(reference as u32)),
                tag => self.cursor.skip(&at, tag, REFS)?,
            }
        }
    }

    #[inline]
    fn stop(&mut self) {
        self.packed.stop();
        self.cursor.stop();
    }
}

impl Iterator for RefIter<'_> {
    type Item = Result<u32, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance();
        if item.is_err() {
            self.stop();
        }
        item.transpose()
    }
}

impl FusedIterator for RefIter<'_> {}

/// Skips a field of a message whose field 1 are references. `known` are its other fields.
#[inline]
pub(super) fn skip_beside_refs<'a>(
    cursor: &mut Cursor<'a>,
    at: &Cursor<'a>,
    tag: u32,
    known: u32,
) -> Result<(), WireError> {
    if tag == SINGLE { cursor.varint().map(drop) } else { cursor.skip_among_len(at, tag, known | REFS) }
}

/// Iterates over labels by their references. It ends after the first error, which may be that they are too long
/// together.
#[derive(Debug, Clone)]
pub struct LabelIter<'t, 'a> {
    refs: RefIter<'a>,
    symbols: Symbols<'t, 'a>,
    /// How many bytes the labels to come may have.
    left: usize,
}

impl<'a> LabelIter<'_, 'a> {
    #[inline]
    fn advance(&mut self) -> Result<Option<Label<'a>>, SeriesError> {
        let Some(name) = self.refs.advance()? else { return Ok(None) };
        let Some(value) = self.refs.advance()? else { return Err(SeriesError::OddRefs) };
        let label = Label { name: self.symbol(name)?, value: self.symbol(value)? };
        self.left = self.left.checked_sub(label.bytes()).ok_or(SeriesError::LabelBytes)?;
        Ok(Some(label))
    }

    #[inline]
    fn symbol(&self, reference: u32) -> Result<&'a [u8], SeriesError> {
        let symbols = self.symbols.len();
        self.symbols.get(reference).ok_or(SeriesError::RefRange { reference, symbols })
    }
}

impl<'a> Iterator for LabelIter<'_, 'a> {
    type Item = Result<Label<'a>, SeriesError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance();
        if item.is_err() {
            self.refs.stop();
        }
        item.transpose()
    }
}

impl FusedIterator for LabelIter<'_, '_> {}
