//! The intended differences between a sidecar and Prometheus 2.42, all of them. Anything else is an error.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail, ensure};
use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::generator::Answer;

use super::pair::Answers;
use super::stream::{Case, Sample, Write};

/// One kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// A sample that is stored already is taken again, also when it is not the series' newest: a sender that
    /// repeats a request after a lost answer is not told that its data are bad. Prometheus takes back the newest
    /// alone.
    OlderRepetition,
    /// Of several samples in one series of one request, those that cannot be stored are refused by name.
    /// Prometheus judges all of them before it stores any, answers 204 and drops them.
    DroppedSilently,
    /// More labels than any series needs: refused. Prometheus 2.42 knows no bound.
    TooManyLabels,
    /// A sample more than ten minutes ahead of the clock would put the head's window where nobody else can
    /// write: refused. Prometheus 2.42 knows no bound.
    Future,
}

/// What was met so far, and what the stores may therefore differ in.
#[derive(Default)]
pub(super) struct Differences {
    counts: BTreeMap<Difference, usize>,
    taken: usize,
    refused: usize,
    only_theirs: BTreeSet<(Labels, i64)>,
    accepted: HashMap<(Labels, i64), Sample>,
}

impl Differences {
    /// How the requests were answered, and how often each difference was met.
    pub(super) fn summary(&self) -> String {
        let Self { counts, taken, refused, .. } = self;
        format!("{taken} requests taken and {refused} refused by both, otherwise {counts:?}")
    }

    /// An error unless both answered alike or with an intended difference.
    pub(super) fn judge(&mut self, write: &Write, answers: &Answers) -> Result<()> {
        let (ours, theirs) = (takes(&answers.ours)?, takes(&answers.theirs)?);
        if write.case == Case::Scrape {
            ensure!(ours && theirs, "an ordinary scrape is refused: {answers:?}");
        }
        if !self.is_intended(write, ours, theirs) {
            bail!("ours: {:?}\ntheirs: {:?}", answers.ours, answers.theirs);
        }
        for series in &write.series {
            let mut newest = i64::MIN;
            for sample in &series.samples {
                let key = (series.label_set(), sample.timestamp());
                // Of unordered samples, those are taken that are newer than what stands before them.
                if ours || (theirs && sample.timestamp() > newest) {
                    self.accepted.entry(key).or_insert_with(|| sample.clone());
                }
                newest = newest.max(sample.timestamp());
            }
        }
        Ok(())
    }

    fn is_intended(&mut self, write: &Write, ours: bool, theirs: bool) -> bool {
        let difference = match (write.case, ours, theirs) {
            (_, true, true) => return increment(&mut self.taken),
            (_, false, false) => return increment(&mut self.refused),
            (_, true, false) if self.are_repetitions(write) => Difference::OlderRepetition,
            (Case::SeveralUnordered, false, true) => Difference::DroppedSilently,
            (Case::TooManyLabels, false, true) => Difference::TooManyLabels,
            (Case::Future, false, true) => Difference::Future,
            _ => return false,
        };
        *self.counts.entry(difference).or_default() += 1;
        if matches!(difference, Difference::TooManyLabels | Difference::Future) {
            let all = write.series.iter().flat_map(|series| {
                series.samples.iter().map(|sample| (series.label_set(), sample.timestamp()))
            });
            self.only_theirs.extend(all);
        }
        true
    }

    /// True if all of it was accepted before, bit for bit.
    fn are_repetitions(&self, write: &Write) -> bool {
        write.series.iter().all(|series| {
            let labels = series.label_set();
            series.samples.iter().all(|sample| {
                self.accepted
                    .get(&(labels.clone(), sample.timestamp()))
                    .is_some_and(|before| before.same(sample))
            })
        })
    }

    /// What of their contents ours must equal; an error where an intended difference is not there.
    pub(super) fn expected(&self, theirs: &Contents) -> Result<Contents> {
        let without = theirs.filter(|labels, t| !self.only_theirs.contains(&(labels.clone(), t)));
        let missing = without.sample_count() + self.only_theirs.len() - theirs.sample_count();
        ensure!(missing == 0, "{missing} samples that only Prometheus takes are not there");
        Ok(without)
    }
}

fn increment(count: &mut usize) -> bool {
    *count += 1;
    true
}

/// True for 2xx, false for a refusal; an error for an answer that no request of a stream deserves.
fn takes(answer: &Answer) -> Result<bool> {
    match answer {
        Answer::Status { code: 200..=299, .. } => Ok(true),
        Answer::Status { code: 400 | 409, .. } => Ok(false),
        // Prometheus 2.42 answers so to a label set that is empty or has a name twice.
        Answer::Status { code: 500, message } if message.contains("invalid sample") => Ok(false),
        other => bail!("no answer to expect: {other:?}"),
    }
}
