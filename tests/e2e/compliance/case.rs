//! What a case of the compliance suite is: the request that it sends, what the suite asks of the answer, and the answer
//! that is given here. How it is sent is the business of the module above.

use anyhow::{Result, bail, ensure};
use ringside_e2e::wire;
use ringside_e2e::wire_v2::{self, Data, Pairs, Request};

use super::series::{Series, Written, add};

/// How series become a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// One case. It is sent twice where `is_repeated`; of the two answers the suite is strict about the first.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The suite's function.
    pub(super) function: &'static str,
    /// The subtest in it; empty where the suite gives none a name.
    pub(super) subtest: String,
    pub(super) series: Vec<Series>,
    pub(super) version: Version,
    pub(super) is_repeated: bool,
    /// Another content type than the version's.
    pub(super) content_type: Option<&'static str>,
    pub(super) content_encoding: &'static str,
    /// What the first byte of the compressed body is overwritten with.
    pub(super) first_byte: Option<u8>,
    pub(super) asked: Asked,
    pub(super) given: Given,
}

/// What the suite asks of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) success: bool,
    /// Exactly as much of a success, at most as much of a refusal.
    pub(super) written: Written,
    /// The one status that will do.
    pub(super) status: Option<u16>,
}

/// The answer that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// What follows from the fate of each series, with counts to a sender of 2.0.
    Verdict,
    /// A refusal before any series is looked at, with counts, which are 0, or without.
    Refusal { status: u16, is_counted: bool },
}

impl Case {
    /// Series of 2.0, sent once. The suite asks for success where all is written, and bounds what is written by what is
    /// sent; where it does not, the case says so.
    pub(super) fn once(function: &'static str, subtest: impl Into<String>, series: Vec<Series>) -> Self {
        let mut written = [0; 3];
        series.iter().for_each(|one| add(&mut written, one.sent()));
        let success = series.iter().all(|one| one.is_whole(0));
        Self {
            function,
            subtest: subtest.into(),
            series,
            version: Version::V2,
            is_repeated: false,
            content_type: None,
            content_encoding: "snappy",
            first_byte: None,
            asked: Asked { success, written, status: None },
            given: Given::Verdict,
        }
    }

    /// The same, sent twice.
    pub(super) fn twice(function: &'static str, subtest: impl Into<String>, series: Vec<Series>) -> Self {
        Self { is_repeated: true, ..Self::once(function, subtest, series) }
    }

    /// How often it is sent.
    pub(super) fn sendings(&self) -> usize {
        if self.is_repeated { 2 } else { 1 }
    }

    /// The status and the counts that are given to the sending of this number, counted from 0.
    pub(super) fn answer(&self, sending: usize) -> (u16, Option<Written>) {
        match (self.given, self.version) {
            (Given::Refusal { status, is_counted }, _) => (status, is_counted.then_some([0; 3])),
            (Given::Verdict, Version::V1) => (200, None),
            (Given::Verdict, Version::V2) => {
                let (mut written, mut status) = ([0; 3], 204);
                for series in &self.series {
                    add(&mut written, series.written(sending));
                    if !series.is_whole(sending) {
                        status = 400;
                    }
                }
                (status, Some(written))
            }
        }
    }

    /// The compressed body of this moment.
    pub(super) fn body(&self, now: i64, random: &mut fastrand::Rng) -> Vec<u8> {
        let series = self.series.iter().map(|series| series.at_moment(now, random));
        let plain = match self.version {
            Version::V1 => encode_v1(series),
            Version::V2 => {
                let mut request = Request::default();
                series.for_each(|(labels, data)| request.series(&labels, &data));
                request.encode()
            }
        };
        let mut body = wire::snappy(&plain);
        if let (Some(byte), Some(first)) = (self.first_byte, body.first_mut()) {
            assert_ne!(*first, byte, "the body is whole as it is");
            *first = byte;
        }
        body
    }

    pub(super) fn content_type(&self) -> &'static str {
        let own = match self.version {
            Version::V1 => "application/x-protobuf",
            Version::V2 => wire_v2::CONTENT_TYPE,
        };
        self.content_type.unwrap_or(own)
    }
}

fn encode_v1(series: impl Iterator<Item = (Pairs, Data)>) -> Vec<u8> {
    let mut request = Vec::new();
    for (labels, data) in series {
        let mut body = Vec::new();
        labels.iter().for_each(|(name, value)| wire::label(&mut body, name.as_bytes(), value.as_bytes()));
        data.samples.iter().for_each(|(at, value)| wire::sample(&mut body, *at, *value));
        wire::bytes_field(&mut request, 1, &body);
    }
    request
}

impl Asked {
    /// The suite's own judgement of an answer, in which a header that is absent counts as 0.
    pub(super) fn judge(&self, is_strict: bool, status: u16, written: Written) -> Result<()> {
        if let Some(only) = self.status {
            ensure!(status == only, "the suite takes {only} only");
        }
        match status {
            200..=299 => {
                ensure!(self.success, "the suite wants no success");
                ensure!(written == self.written, "the suite wants {:?} written", self.written);
                ensure!(!is_strict || status == 204, "the suite wants 204");
            }
            // Also of what it wants a success of: a refusal of it says that it is not to be sent again.
            400..=499 => {
                ensure!(self.status.is_some() || status == 400, "the suite takes no refusal but 400");
                let is_less = written.iter().zip(self.written).all(|(found, most)| *found <= most);
                ensure!(is_less, "the suite wants {:?} written at most", self.written);
            }
            _ => bail!("the suite takes neither a retry nor a redirection"),
        }
        Ok(())
    }
}
