//! Which symbols each replica set of a request of remote write 2.0 refers to, so that a part carries no others.
//!
//! It keeps one bit for each symbol and set. Where that would be much, or where a series has fields that are not known
//! here, every part carries all symbols.

use ringside_proto::WireError;
use ringside_proto::remote_write_v2::{Contents, Symbols, TimeSeries};

/// The most that is kept, in words of 64 symbols: half a MiB.
const WORDS_MAX: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Wanted {
    /// Words of one set.
    words: usize,
    /// Set after set.
    bits: Vec<u64>,
    /// Every part is to have every symbol.
    all: bool,
    /// Those of the part that is being built.
    part: Vec<u64>,
}

impl Wanted {
    pub(super) fn start(&mut self, symbols: usize) {
        self.words = symbols.div_ceil(64);
        self.bits.clear();
        self.all = false;
    }

    /// Notes what a series of a group refers to; how much it holds.
    pub(super) fn note(&mut self, series: &TimeSeries<'_>, group: u32) -> Result<Contents, WireError> {
        let from = group as usize * self.words;
        let to = from + self.words;
        if !self.all && self.bits.len() < to {
            self.all = to > WORDS_MAX;
            if !self.all {
                self.bits.resize(to, 0);
            }
        }
        let bits = self.bits.get_mut(from..to).filter(|_| !self.all).unwrap_or_default();
        let survey = series.survey(|reference| {
            if let Some(word) = bits.get_mut(reference as usize / 64) {
                *word |= 1 << (reference % 64);
            }
        })?;
        self.all |= survey.has_unknown_fields;
        Ok(survey.contents)
    }

    /// Appends the symbols that a part with these groups needs.
    pub(super) fn append_to(
        &mut self,
        groups: impl Iterator<Item = u32>,
        symbols: Symbols<'_, '_>,
        out: &mut Vec<u8>,
    ) {
        if self.all {
            return symbols.append_to(out);
        }
        self.part.clear();
        self.part.resize(self.words, 0);
        for group in groups {
            let bits = self.bits.get(group as usize * self.words..).unwrap_or_default();
            self.part.iter_mut().zip(bits).for_each(|(part, bits)| *part |= bits);
        }
        let wanted = |at: usize| self.part.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1);
        symbols.append_wanted_to(wanted, out);
    }
}
