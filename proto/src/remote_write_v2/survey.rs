//! What a series takes along when it is taken out of its request: how much it holds, and which symbols it refers to.

use super::{
    Contents, EXEMPLAR_KNOWN, EXEMPLARS, METADATA, METADATA_HELP, METADATA_UNIT, SERIES_KNOWN, TimeSeries,
    refs,
};
use crate::wire::{Cursor, WireError};

/// A field of the protocol's drafts that names no symbol.
const CREATED_TIMESTAMP: u32 = 6;

/// What one walk over a series finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// How much it holds.
    pub contents: Contents,
    /// Whether it has fields that are not known here, which may refer to any symbol.
    pub has_unknown_fields: bool,
}

impl TimeSeries<'_> {
    /// Walks the series once and hands out every reference in it, in no order and as often as it is there: of labels,
    /// of exemplars' labels, of metadata. 0 may be handed out though nothing refers to it.
    ///
    /// # Errors
    /// The first fault of the framing or of a reference; what is inside a sample is not looked at.
    #[inline]
    pub fn survey(&self, mut refers_to: impl FnMut(u32)) -> Result<Survey, WireError> {
        let mut cursor = self.cursor();
        let mut survey = Survey::default();
        while !cursor.is_empty() {
            let at = cursor;
            let tag = cursor.tag()?;
            survey.contents.count(tag);
            match tag {
                refs::PACKED => {
                    let mut packed = cursor.nested()?;
                    while !packed.is_empty() {
                        refers_to(packed.varint()? as u32);
                    }
                }
                refs::SINGLE => refers_to(cursor.varint()? as u32),
                EXEMPLARS => survey.has_unknown_fields |= exemplar(cursor.nested()?, &mut refers_to)?,
                METADATA => survey.has_unknown_fields |= metadata(cursor.nested()?, &mut refers_to)?,
                tag => {
                    let number = tag >> 3;
                    survey.has_unknown_fields |= number > CREATED_TIMESTAMP;
                    refs::skip_beside_refs(&mut cursor, &at, tag, SERIES_KNOWN)?;
                }
            }
        }
        Ok(survey)
    }
}

/// Hands out the references of an exemplar. Whether it has unknown fields.
fn exemplar(mut cursor: Cursor<'_>, refers_to: &mut impl FnMut(u32)) -> Result<bool, WireError> {
    let mut has_unknown_fields = false;
    while !cursor.is_empty() {
        let at = cursor;
        match cursor.tag()? {
            refs::PACKED => {
                let mut packed = cursor.nested()?;
                while !packed.is_empty() {
                    refers_to(packed.varint()? as u32);
                }
            }
            refs::SINGLE => refers_to(cursor.varint()? as u32),
            tag => {
                has_unknown_fields |= tag >> 3 > EXEMPLAR_KNOWN.ilog2();
                cursor.skip(&at, tag, 1 << 1)?;
            }
        }
    }
    Ok(has_unknown_fields)
}

/// Hands out the references of metadata. Whether it has unknown fields.
fn metadata(mut cursor: Cursor<'_>, refers_to: &mut impl FnMut(u32)) -> Result<bool, WireError> {
    let mut has_unknown_fields = false;
    while !cursor.is_empty() {
        let at = cursor;
        match cursor.tag()? {
            METADATA_HELP | METADATA_UNIT => refers_to(cursor.varint()? as u32),
            tag => {
                // All but the type: field 2 is reserved.
                has_unknown_fields |= tag >> 3 != 1;
                cursor.skip(&at, tag, 1 << 3 | 1 << 4)?;
            }
        }
    }
    Ok(has_unknown_fields)
}
