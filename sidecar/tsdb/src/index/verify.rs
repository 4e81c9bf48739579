//! Checks an index as a whole: the series in their section against the list of all series, then every postings list
//! against the series that it names.
//!
//! That the symbols and the postings table are sorted and unique is checked when an index is opened. The lists are
//! compared without holding them: each id of a list must name a series with that label, and all lists of a name
//! together must be as long as the series with that name are many. So none is missing.

use std::collections::BTreeMap;

use super::SERIES_ALIGN;
use super::postings::{Entries, Postings};
use super::reader::{IndexReader, SeriesEntry};
use super::symbols::SymbolCache;
use crate::error::Error;
use crate::read_at::Cursor;

/// Postings lists begin at multiples of this.
const POSTINGS_ALIGN: u64 = 4;
const CHECKSUM_BYTES: u64 = 4;

/// Takes what is wrong.
pub(crate) type Faults<'a> = dyn FnMut(Error) + 'a;

/// Checks an index that could be opened. `each` gets every readable series, with its offset, in the file's order.
/// Returns whether all of them could be read.
pub(crate) fn verify(
    index: &IndexReader,
    faults: &mut Faults<'_>,
    each: &mut dyn FnMut(u64, &SeriesEntry, &mut Faults<'_>),
) -> bool {
    let names = series(index, faults, each);
    let whole = names.is_some();
    if let Err(error) = postings(index, names, faults) {
        faults(error);
    }
    whole
}

/// How many series have each name, by the name's position in the symbols.
type NameCounts = BTreeMap<u32, u64>;

/// Walks the section of the series; `None` if not all of them could be read.
fn series(
    index: &IndexReader,
    faults: &mut Faults<'_>,
    each: &mut dyn FnMut(u64, &SeriesEntry, &mut Faults<'_>),
) -> Option<NameCounts> {
    let (file, toc) = (index.file(), index.toc());
    let mut names = Some(NameCounts::new());
    let mut section = index.series_section();
    let mut all = AllSeries::new(index, faults);
    let mut previous: Vec<(u32, u32)> = Vec::new();
    loop {
        let at = section.at().next_multiple_of(SERIES_ALIGN);
        let id = u32::try_from(at / SERIES_ALIGN).ok().filter(|_| at < toc.series_end);
        let Some(id) = id else { break };
        all.expect(id, faults);
        match index.series_at(&mut section, id) {
            Ok(series) => {
                for what in labels(index, &previous, &series.labels) {
                    faults(file.corrupt(at, format!("series {id}: {what}")));
                }
                if let Some(names) = &mut names {
                    for (name, _) in &series.labels {
                        *names.entry(*name).or_default() += 1;
                    }
                }
                each(at, &series, faults);
                previous = series.labels;
            }
            Err(error) => {
                faults(error);
                names = None;
                // Without a length that can be, nothing tells where the next series begins.
                if section.at() < at + CHECKSUM_BYTES {
                    return None;
                }
            }
        }
    }
    all.end(faults);
    names
}

/// What is wrong with the labels of a series that comes after `previous`.
fn labels(index: &IndexReader, previous: &[(u32, u32)], labels: &[(u32, u32)]) -> Vec<String> {
    let mut wrong = Vec::new();
    if labels.is_empty() {
        wrong.push("it has no labels".to_owned());
    }
    for (name, value) in labels {
        for symbol in [name, value] {
            if *symbol >= index.symbol_count() {
                wrong.push(format!("there is no symbol {symbol}"));
            }
        }
    }
    // Symbols are sorted, so their positions sort as they do.
    if !labels.is_sorted_by(|(a, _), (b, _)| a < b) {
        wrong.push("its labels are not sorted by name, or a name is repeated".to_owned());
    }
    if !labels.is_empty() && labels <= previous {
        wrong.push("it does not sort after the series before".to_owned());
    }
    wrong
}

/// The list of all series beside the series that are there.
struct AllSeries<'f> {
    ids: Option<Postings<'f>>,
    index: &'f IndexReader,
}

impl<'f> AllSeries<'f> {
    fn new(index: &'f IndexReader, faults: &mut Faults<'_>) -> Self {
        let ids = index.all_postings().map_err(faults).ok();
        Self { ids, index }
    }

    /// The next id of the list must be this one. After one fault the list is not looked at any more.
    fn expect(&mut self, id: u32, faults: &mut Faults<'_>) {
        let Some(ids) = &mut self.ids else { return };
        let wrong = match ids.next() {
            Some(Ok(listed)) if listed == id => return,
            Some(Ok(listed)) => self.wrong(format!("the list of all series has {listed} where {id} is next")),
            Some(Err(error)) => error,
            None => self.wrong(format!("the list of all series lacks series {id}")),
        };
        self.ids = None;
        faults(wrong);
    }

    fn end(&mut self, faults: &mut Faults<'_>) {
        match self.ids.as_mut().and_then(Iterator::next) {
            Some(Ok(id)) => {
                faults(self.wrong(format!("the list of all series has {id}, which is not there")))
            }
            Some(Err(error)) => faults(error),
            None => {}
        }
    }

    fn wrong(&self, what: String) -> Error {
        self.index.file().corrupt(self.index.toc().postings, what)
    }
}

/// Walks the postings table and every list.
fn postings(index: &IndexReader, names: Option<NameCounts>, faults: &mut Faults<'_>) -> Result<(), Error> {
    let (file, toc) = (index.file(), index.toc());
    let mut symbols = SymbolCache::new(index);
    let mut section = index.series_section();
    // How many of the series with a name its lists have named, by the name's position.
    let mut listed = NameCounts::new();
    let mut end = Some(toc.postings);
    let mut table = index.table();
    while table.advance()? {
        if end.is_some_and(|end| table.list != end.next_multiple_of(POSTINGS_ALIGN)) {
            faults(file.corrupt(table.list, "a postings list does not begin where the one before ends"));
        }
        let list = match index.list(table.list) {
            Ok(list) => list,
            Err(error) => {
                end = None;
                faults(error);
                continue;
            }
        };
        end = Some(list.list_end());
        if table.name.is_empty() {
            continue;
        }
        let len = u64::from(list.list_len());
        match list_of(index, &mut symbols, &mut section, &table, list) {
            Ok(Some(name)) => *listed.entry(name).or_default() += len,
            Ok(None) => {}
            Err(error) => faults(error),
        }
    }
    if end.is_some_and(|end| toc.postings_end.saturating_sub(end) >= POSTINGS_ALIGN) {
        faults(file.corrupt(toc.postings_end, "the last postings list does not end where the table begins"));
    }
    for (name, series) in names.unwrap_or_default() {
        let listed = listed.get(&name).copied().unwrap_or(0);
        if listed != series {
            let name = String::from_utf8_lossy(&symbols.get(name)?).into_owned();
            let what = format!("{series} series have the label {name:?}, its postings list {listed}");
            faults(file.corrupt(toc.postings_table, what));
        }
    }
    Ok(())
}

/// Checks that every series of a list has the list's label. Returns the position of the name in the symbols.
fn list_of(
    index: &IndexReader,
    symbols: &mut SymbolCache<'_>,
    section: &mut Cursor<'_>,
    entry: &Entries<'_>,
    list: Postings<'_>,
) -> Result<Option<u32>, Error> {
    let mut label = None;
    for id in list {
        let id = id?;
        let series = index.series_at(section, id)?;
        if label.is_none() {
            // The first series tells the positions of name and value.
            for &(name, value) in &series.labels {
                if *symbols.get(name)? == *entry.name && *symbols.get(value)? == *entry.value {
                    label = Some((name, value));
                }
            }
        }
        if label.is_none_or(|label| !series.labels.contains(&label)) {
            let [name, value] = [&entry.name, &entry.value].map(|text| String::from_utf8_lossy(text));
            let what =
                format!("the postings of {name:?} = {value:?} have series {id}, which lacks the label");
            return Err(index.file().corrupt(entry.list, what));
        }
    }
    Ok(label.map(|(name, _)| name))
}
