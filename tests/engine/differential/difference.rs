//! The intended differences between a sidecar and Prometheus 2.42, all of them. Anything else is an error.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail, ensure};
use ringside_e2e::contents::{Contents, Labels};
use ringside_e2e::generator::Answer;
use ringside_e2e::wire::{Counts, Histogram};

use super::pair::Answers;
use super::stream::{Case, Exemplar, Sample, Write};

/// What Prometheus 2.42 says with status 500 though the sender is at fault.
const OF_THE_SENDER: [&str; 2] = ["invalid sample", "too old sample"];

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
    /// A histogram that comes late is taken within the window, as any sample. Prometheus 2.42 takes late floats alone.
    LateHistogram,
    /// Of several samples in one series of one request, those that cannot be stored are refused by name.
    /// Prometheus judges all of them before it stores any, answers 204 and drops them; of histograms also such as it
    /// could store.
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
    /// Late histograms, which Prometheus does not have.
    only_ours: BTreeSet<(Labels, i64)>,
    accepted: HashMap<(Labels, i64), Sample>,
    /// Trace identifiers of accepted exemplars.
    exemplars: Vec<String>,
}

impl Differences {
    /// How the requests were answered, and how often each difference was met.
    pub(super) fn summary(&self) -> String {
        let Self { counts, taken, refused, .. } = self;
        format!("{taken} requests taken and {refused} refused by both, otherwise {counts:?}")
    }

    /// An error unless both answered alike or with an intended difference.
    pub(super) fn judge(&mut self, write: &Write, answers: &Answers) -> Result<()> {
        ensure!(answers.ours.code() != Some(500), "{:?}", answers.ours);
        let (ours, theirs) = (takes(&answers.ours)?, takes(&answers.theirs)?);
        if write.case == Case::Scrape {
            ensure!(ours && theirs, "an ordinary scrape is refused: {answers:?}");
        }
        if !self.is_intended(write, ours, theirs) {
            bail!("ours: {:?}\ntheirs: {:?}", answers.ours, answers.theirs);
        }
        for series in &write.series {
            self.exemplars.extend(series.exemplar.iter().filter(|_| ours).map(Exemplar::trace_id_text));
            let mut newest = i64::MIN;
            for sample in &series.samples {
                let key = (series.label_set(), sample.timestamp());
                if write.case == Case::SeveralUnordered && sample.is_histogram() {
                    self.only_ours.insert(key.clone());
                }
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
            (_, true, false) if is_one_histogram(write) => Difference::LateHistogram,
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
            Difference::LateHistogram => self.only_ours.extend(samples),
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
    pub(super) fn is_shared(&self, labels: &Labels, timestamp: i64) -> bool {
        let key = (labels.clone(), timestamp);
        ![&self.ambiguous, &self.only_ours, &self.only_theirs].iter().any(|apart| apart.contains(&key))
    }

    /// True for a histogram without observations, stale markers among them.
    pub(super) fn is_empty_histogram(&self, labels: &Labels, timestamp: i64) -> bool {
        let Some(Sample::Histogram(sent)) = self.accepted.get(&(labels.clone(), timestamp)) else {
            return false;
        };
        matches!(sent.counts, Counts::Int { count: 0, .. } | Counts::Float { count: 0.0, .. })
    }

    /// True if this text names an exemplar that was accepted.
    pub(super) fn has_exemplar(&self, text: &str) -> bool {
        self.exemplars.iter().any(|trace_id| text.contains(trace_id))
    }

    /// An error unless these are the histograms that were accepted, as a dump shows them.
    pub(super) fn expect_histograms(&self, dumped: &super::compare::Answers) -> Result<()> {
        let mut expected = 0;
        for (key, sample) in &self.accepted {
            let Sample::Histogram(sent) = sample else { continue };
            expected += 1;
            let found = dumped.get(&key.0).and_then(|samples| samples.get(&key.1));
            ensure!(
                found.is_some_and(|found| shows(found, sent).unwrap_or(false)),
                "{key:?}: {found:?} instead of {sent:?}"
            );
        }
        let found: usize = dumped.values().map(|samples| samples.len()).sum();
        ensure!(found == expected, "{found} histograms instead of {expected}");
        Ok(())
    }

    /// The floats that ours must hold exactly.
    pub(super) fn expected(&self) -> Result<Contents> {
        let mut expected = Contents::default();
        for ((labels, timestamp), sample) in &self.accepted {
            if let Sample::Float(_, value) = sample
                && !self.only_theirs.contains(&(labels.clone(), *timestamp))
            {
                expected.add(labels, *timestamp, *value)?;
            }
        }
        Ok(expected)
    }
}

fn is_one_histogram(write: &Write) -> bool {
    matches!(&write.series[..], [series] if matches!(&series.samples[..], [Sample::Histogram(_)]))
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

/// True if a dump's text begins with count and sum of this histogram. A stale marker has no count.
fn shows(text: &str, sent: &Histogram) -> Option<bool> {
    let (count, rest) = text.strip_prefix("{count:")?.split_once(", sum:")?;
    let sum: f64 = rest.split([',', '}']).next()?.parse().ok()?;
    let count: f64 = count.parse().ok()?;
    let is_count = match &sent.counts {
        Counts::Int { count: sent, .. } => count == *sent as f64,
        Counts::Float { count: sent, .. } => count == *sent,
    };
    Some(is_count && (sum == sent.sum || sum.is_nan() && sent.sum.is_nan()))
}

/// True for 2xx, false for a refusal; an error for an answer that no request of a stream deserves.
fn takes(answer: &Answer) -> Result<bool> {
    match answer {
        Answer::Status { code: 200..=299, .. } => Ok(true),
        Answer::Status { code: 400 | 409, .. } => Ok(false),
        // Prometheus 2.42 answers so to a label set that is empty or has a name twice, and to what is beyond the window.
        Answer::Status { code: 500, message } if OF_THE_SENDER.iter().any(|m| message.contains(m)) => {
            Ok(false)
        }
        other => bail!("no answer to expect: {other:?}"),
    }
}
