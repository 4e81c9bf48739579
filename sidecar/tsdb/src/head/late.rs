//! Samples out of order as the head keeps them: which series have some, and those whose range is sealed.
//!
//! A range is sealed when its block begins to be cut. What comes for it afterwards, within the window, is *late*: it
//! stands apart until it gets a block of its own. With a window of at most half a range nothing is ever late.

use std::collections::{BTreeSet, HashMap};

use super::Head;
use super::ooo::OutOfOrder;
use crate::record::ValuesEncoder;
use crate::sample::Value;

/// Samples out of order of a head.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Slots of series with samples out of order that are not late.
    pub(super) slots: BTreeSet<u32>,
    /// Late samples by slot.
    late: HashMap<u32, OutOfOrder>,
}

/// Late samples that get a block: slot and samples in order of time.
pub(crate) type LateSamples = Vec<(u32, Vec<(i64, Value)>)>;

impl Late {
    /// The late sample of a series at `t`.
    pub(super) fn get(&self, slot: u32, t: i64) -> Option<Value> {
        self.late.get(&slot)?.get(t)
    }

    /// True if a series has late samples, and so must stay.
    pub(super) fn holds(&self, slot: u32) -> bool {
        self.late.contains_key(&slot)
    }

    /// True if there are late samples.
    pub(super) fn is_any(&self) -> bool {
        !self.late.is_empty()
    }
}

impl Head {
    /// Keeps a sample out of order whose time is not known yet.
    pub(super) fn push_out_of_order(&mut self, slot: u32, t: i64, value: Value) {
        if t < self.sealed {
            self.late.late.entry(slot).or_default().insert(t, value, self.range);
            return;
        }
        if let Some(series) = self.series.get_mut(slot as usize) {
            series.push_out_of_order(t, value, self.range);
            self.late.slots.insert(slot);
            self.mint = self.mint.min(t);
            self.maxt = self.maxt.max(t);
        }
    }

    /// From now on samples before `maxt` are late. Returns the records of all samples out of order from `maxt` on, and
    /// of all late ones: what a new write-behind log must begin with so that the older ones can go once everything
    /// before `maxt` is in a block.
    pub(crate) fn seal(&mut self, maxt: i64) -> Vec<Vec<u8>> {
        self.sealed = self.sealed.max(maxt);
        let mut records = ValuesEncoder::default();
        for &slot in &self.late.slots {
            let Some(series) = self.series.get(slot as usize) else { continue };
            for (t, value) in series.out_of_order().iter().filter(|(t, _)| *t >= maxt) {
                records.push(series.reference, *t, value);
            }
        }
        for (&slot, late) in &self.late.late {
            let Some(series) = self.series.get(slot as usize) else { continue };
            for (t, value) in late.before(i64::MAX) {
                records.push(series.reference, t, &value);
            }
        }
        records.to_records()
    }

    /// True if the head has samples out of order, late or not.
    pub(crate) fn has_out_of_order(&self) -> bool {
        !self.late.slots.is_empty() || self.late.is_any()
    }

    /// The late samples of a series, in order of time.
    pub(crate) fn late_of(&self, slot: u32) -> Vec<(i64, Value)> {
        self.late.late.get(&slot).map_or_else(Vec::new, |late| late.before(i64::MAX))
    }

    /// True if there are late samples, which need a block of their own.
    pub(crate) fn has_late(&self) -> bool {
        self.late.is_any()
    }

    /// Takes the late samples out, by slot. They are to be given back if they do not get their block.
    pub(crate) fn take_late(&mut self) -> LateSamples {
        let taken = std::mem::take(&mut self.late.late);
        let mut late: Vec<_> =
            taken.into_iter().map(|(slot, samples)| (slot, samples.before(i64::MAX))).collect();
        late.sort_unstable_by_key(|(slot, _)| *slot);
        late
    }

    /// Takes back what [`Self::take_late`] gave.
    pub(crate) fn give_back_late(&mut self, late: LateSamples) {
        for (slot, samples) in late {
            let kept = self.late.late.entry(slot).or_default();
            for (t, value) in samples {
                if kept.get(t).is_none() {
                    kept.insert(t, value, self.range);
                }
            }
        }
    }

    /// Forgets slots whose samples out of order are in a block.
    pub(super) fn forget_out_of_order(&mut self) {
        let series = &self.series;
        self.late
            .slots
            .retain(|&slot| series.get(slot as usize).is_some_and(|series| series.has_out_of_order()));
    }
}
