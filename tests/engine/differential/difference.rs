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
    /// A late sample with another value than the one that is stored is refused by name, whichever way the first came.
    /// Prometheus 2.42 compares with the newest alone: it stores a second value beside the first, or drops it and
    /// answers 204, and a query finds either.
    SecondValue,
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
    /// Times for which Prometheus may answer with a second value; ours must have the first.
    ambiguous: BTreeSet<(Labels, i64)>,
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
            (_, false, true) if self.is_second_value(write) => Difference::SecondValue,
            (Case::SeveralUnordered, false, true) => Difference::DroppedSilently,
            (Case::TooManyLabels, false, true) => Difference::TooManyLabels,
            (Case::Future, false, true) => Difference::Future,
            _ => return false,
        };
        *self.counts.entry(difference).or_default() += 1;
        let samples = keys(write);
        match difference {
            Difference::TooManyLabels | Difference::Future => self.only_theirs.extend(samples),
            Difference::SecondValue => self.ambiguous.extend(samples),
            Difference::OlderRepetition | Difference::DroppedSilently => {}
        }
        true
    }

    /// True if all of it was accepted before, bit for bit.
    fn are_repetitions(&self, write: &Write) -> bool {
        let samples = write.series.iter().flat_map(|series| &series.samples);
        keys(write)
            .zip(samples)
            .all(|(key, sample)| self.accepted.get(&key).is_some_and(|before| before.same(sample)))
    }

    /// True if it is one sample, and another value was accepted for its time before.
    fn is_second_value(&self, write: &Write) -> bool {
        let mut keys = keys(write);
        let first = keys.next().is_some_and(|key| self.accepted.contains_key(&key));
        first && keys.next().is_none() && !self.are_repetitions(write)
    }

    /// True if both must show the same for this series and time.
    pub(super) fn is_unambiguous(&self, labels: &Labels, timestamp: i64) -> bool {
        !self.ambiguous.contains(&(labels.clone(), timestamp))
    }

    /// What ours must hold exactly, given what theirs holds; an error where an intended difference is not there.
    pub(super) fn expected(&self, theirs: &Contents) -> Result<Contents> {
        let mut expected = theirs.filter(|labels, t| {
            self.is_unambiguous(labels, t) && !self.only_theirs.contains(&(labels.clone(), t))
        });
        let without = self.only_theirs.len() + self.ambiguous_floats().count();
        ensure!(
            expected.sample_count() + without == theirs.sample_count(),
            "Prometheus holds {} samples, {} without intended differences, of which there are {without}",
            theirs.sample_count(),
            expected.sample_count()
        );
        for (labels, timestamp, value) in self.ambiguous_floats() {
            expected.add(labels, timestamp, value)?;
        }
        Ok(expected)
    }

    /// The first values of ambiguous times, as far as promtool shows them.
    fn ambiguous_floats(&self) -> impl Iterator<Item = (&Labels, i64, f64)> {
        self.ambiguous.iter().filter_map(|key| match self.accepted.get(key)? {
            Sample::Float(timestamp, value) => Some((&key.0, *timestamp, *value)),
            Sample::Histogram(_) => None,
        })
    }
}

fn keys(write: &Write) -> impl Iterator<Item = (Labels, i64)> {
    write
        .series
        .iter()
        .flat_map(|series| series.samples.iter().map(|sample| (series.label_set(), sample.timestamp())))
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
