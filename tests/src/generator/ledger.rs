//! What a generator sent and what was answered: the truth that stores are held to.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::{Answer, value};
use crate::contents::{Contents, Labels};

/// The record of one load.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    sent: Contents,
    acknowledged: Contents,
    answers: BTreeMap<String, usize>,
    first_bad: Option<Answer>,
    first_refusal: Option<Answer>,
}

impl Ledger {
    pub(super) fn sent(&mut self, first: usize, series: &[Labels], timestamps: &[i64]) -> Result<()> {
        add(&mut self.sent, first, series, timestamps)
    }

    pub(super) fn acknowledged(&mut self, first: usize, series: &[Labels], timestamps: &[i64]) -> Result<()> {
        add(&mut self.acknowledged, first, series, timestamps)
    }

    pub(super) fn answered(&mut self, answer: &Answer) {
        let kind = answer.code().map_or_else(|| "broken".to_owned(), |code| code.to_string());
        *self.answers.entry(kind).or_default() += 1;
        if self.first_bad.is_none() && answer.code().is_none_or(|code| code / 100 != 2) {
            self.first_bad = Some(answer.clone());
        }
        if self.first_refusal.is_none() && answer.code().is_some_and(|code| code / 100 == 4) {
            self.first_refusal = Some(answer.clone());
        }
    }

    /// Every sample that was put on the way, whatever came of it. Nothing else may be in a store.
    pub fn everything_sent(&self) -> &Contents {
        &self.sent
    }

    /// Every sample in a request that was answered 2xx.
    pub fn everything_acknowledged(&self) -> &Contents {
        &self.acknowledged
    }

    /// Answers by status code, `broken` for none.
    pub fn answers(&self) -> &BTreeMap<String, usize> {
        &self.answers
    }

    /// The number of 2xx answers.
    pub fn successes(&self) -> usize {
        self.answers.iter().filter(|(kind, _)| kind.starts_with('2')).map(|(_, count)| count).sum()
    }

    /// The number of all other answers, and of requests without one.
    pub fn failures(&self) -> usize {
        self.answers.values().sum::<usize>() - self.successes()
    }

    /// An error unless every request was answered 2xx, with the first answer that was not.
    pub fn expect_no_failure(&self) -> Result<()> {
        match &self.first_bad {
            None => Ok(()),
            Some(bad) => bail!("not only 2xx: {:?}; the first bad one: {bad:?}", self.answers),
        }
    }

    /// An error if any request was answered 4xx, as none of a generator's deserves, or if anything sent
    /// is still without its 2xx.
    pub fn expect_no_refusal(&self) -> Result<()> {
        if let Some(refusal) = &self.first_refusal {
            bail!("refused: {:?}; the first: {refusal:?}", self.answers);
        }
        self.acknowledged.expect_equal("the acknowledged part", &self.sent)
    }
}

fn add(contents: &mut Contents, first: usize, series: &[Labels], timestamps: &[i64]) -> Result<()> {
    for (index, labels) in (first..).zip(series) {
        for timestamp in timestamps {
            contents.add(labels, *timestamp, value(index, *timestamp))?;
        }
    }
    Ok(())
}
