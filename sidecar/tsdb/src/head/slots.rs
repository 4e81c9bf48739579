//! The head's series by slot: a vector in pages, so that growing moves nothing, and with slots to fill again.
//!
//! Owns no labels and no index: which series is in which slot is the head's to know.

use super::Series;

/// Series of a page.
const PAGE: usize = 1024;

/// Series by slot. A vacant slot holds a series with reference 0.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pages: Vec<Vec<Series>>,
    len: usize,
    vacant: Vec<u32>,
}

impl Slots {
    /// Number of slots, vacant ones included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The series in a slot.
    #[inline]
    pub(crate) fn get(&self, slot: usize) -> Option<&Series> {
        self.pages.get(slot / PAGE)?.get(slot % PAGE)
    }

    /// The series in a slot, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Series> {
        self.pages.get_mut(slot / PAGE)?.get_mut(slot % PAGE)
    }

    /// Puts a series into a vacant slot or a new one.
    pub(crate) fn insert(&mut self, series: Series) -> u32 {
        if let Some(slot) = self.vacant.pop()
            && let Some(vacant) = self.get_mut(slot as usize)
        {
            *vacant = series;
            return slot;
        }
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(series);
        }
        self.len += 1;
        (self.len - 1) as u32
    }

    /// Takes a series out and leaves its slot vacant. Pages at the end that hold none are given back.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Series> {
        let series = std::mem::take(self.get_mut(slot as usize)?);
        self.vacant.push(slot);
        Some(series)
    }

    /// Gives back the pages at the end whose slots are all vacant.
    pub(crate) fn shrink(&mut self) {
        let before = self.len;
        while self.pages.last().is_some_and(|page| page.iter().all(|series| series.reference == 0)) {
            self.len -= self.pages.pop().map_or(0, |page| page.len());
        }
        if self.len < before {
            let len = self.len;
            self.vacant.retain(|&slot| (slot as usize) < len);
            self.vacant.shrink_to_fit();
        }
    }

    /// The slots `from..to`, as far as they exist.
    pub(crate) fn range(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, &Series)> {
        (from..to.min(self.len)).filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// All slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Series> {
        self.pages.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(reference: u64) -> Series {
        Series::new(reference, reference, std::sync::Arc::from([]))
    }

    #[test]
    fn vacant_slots_are_filled_first_and_empty_pages_given_back() {
        let mut slots = Slots::default();
        for i in 0..PAGE as u64 + 10 {
            assert_eq!(u64::from(slots.insert(series(i + 1))), i);
        }
        assert_eq!(slots.remove(3).map(|s| s.reference), Some(4));
        assert_eq!(slots.insert(series(9_999)), 3);
        assert_eq!(slots.get(3).map(|s| s.reference), Some(9_999));
        for slot in PAGE as u32..PAGE as u32 + 10 {
            slots.remove(slot);
        }
        slots.shrink();
        assert_eq!((slots.len(), slots.vacant.len()), (PAGE, 0));
        assert_eq!(slots.insert(series(1)), PAGE as u32);
        assert_eq!(slots.range(PAGE - 1, 9_999).count(), 2);
    }
}
