//! One write: from its dispatch to the last answer of a sidecar, which is later than the answer to the client.
//!
//! Owns which parts are outstanding and whether the client still waits. It gives the verdict once.

use std::rc::Rc;

use ringside_proto::Protocol;
use ringside_proto::remote_write_v2::Contents;

use crate::answer::Answer;
use crate::backlog::Backlog;
use crate::events::{Counter, Effect, RequestId};
use crate::quorum::Outcome;
use crate::rate::Rate;
use crate::reply::Response;
use crate::tally::Tally;
use crate::tenant::TenantId;

/// A write under way.
pub(crate) struct Write {
    protocol: Protocol,
    parts: Vec<SentPart>,
    /// `None` once the verdict is given.
    tally: Option<Tally>,
    client_waits: bool,
    /// How many series the request has, where somebody counted them.
    series: Option<u64>,
    charge: Option<Charge>,
}

/// What a tenant owes for a write, until it is charged.
pub(crate) struct Charge {
    tenant: TenantId,
    rate: Rate,
    /// What the request holds, once somebody has counted it.
    samples: Option<u64>,
    /// Whether a sidecar stored some of it.
    is_stored: bool,
}

impl Charge {
    pub(crate) fn new(tenant: TenantId, rate: Rate, samples: Option<u64>) -> Self {
        Self { tenant, rate, samples, is_stored: false }
    }
}

/// One part of a write.
pub(crate) struct SentPart {
    pub(crate) address: Rc<str>,
    /// The length of its body, in bytes.
    pub(crate) bytes: usize,
    is_outstanding: bool,
    /// It is outstanding and the verdict is given.
    pub(crate) is_late: bool,
}

impl SentPart {
    pub(crate) fn new(address: Rc<str>, bytes: usize) -> Self {
        Self { address, bytes, is_outstanding: true, is_late: false }
    }
}

impl Write {
    /// A write without parts as yet.
    pub(crate) fn new(protocol: Protocol, tally: Tally, series: Option<u64>, charge: Option<Charge>) -> Self {
        Self { protocol, parts: Vec::new(), tally: Some(tally), client_waits: true, series, charge }
    }

    /// Adds the next part.
    pub(crate) fn push(&mut self, part: SentPart) {
        self.parts.push(part);
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Ends a part. `None` if it is not outstanding.
    pub(crate) fn end(&mut self, part: u16) -> Option<&SentPart> {
        let part = self.parts.get_mut(usize::from(part))?;
        std::mem::take(&mut part.is_outstanding).then_some(part)
    }

    /// Whether the client waits for a verdict.
    pub(crate) fn is_awaited(&self) -> bool {
        self.client_waits
    }

    /// What is kept of it in memory up to the verdict, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.tally.as_ref().map_or(0, Tally::bytes)
    }

    pub(crate) fn has_verdict(&self) -> bool {
        self.tally.is_none()
    }

    /// Tells the backlog of the parts that have become late by the verdict.
    pub(crate) fn owe(&mut self, backlog: &mut Backlog) {
        for part in self.parts.iter_mut().filter(|part| part.is_outstanding && !part.is_late) {
            part.is_late = true;
            backlog.owe(&part.address, part.bytes);
        }
    }

    /// Whether the last part has ended.
    pub(crate) fn is_over(&self) -> bool {
        !self.parts.iter().any(|part| part.is_outstanding)
    }

    /// Whether a sidecar may speak of this index of its part. After the verdict nobody asks.
    pub(crate) fn holds(&self, part: u16, index: u32) -> bool {
        self.tally.as_ref().is_none_or(|tally| tally.layout().holds(part, index))
    }

    /// Takes a sidecar's word for how many series the request has, where nobody else has counted them.
    pub(crate) fn hear_of_series(&mut self, said: Option<&[u8]>) {
        let said = said.and_then(|said| std::str::from_utf8(said).ok()?.parse().ok());
        self.series = self.series.or(said);
    }

    /// Counts the answer to a part that has just ended.
    pub(crate) fn count(&mut self, request: RequestId, part: u16, answer: Answer, effects: &mut Vec<Effect>) {
        let success = answer.rest == Outcome::Stored && answer.refused.is_empty();
        effects.push(Effect::Count(Counter::Forward { success }));
        if let Some(charge) = &mut self.charge {
            let said = answer.contents.map(|said| said.samples.saturating_add(said.histograms));
            charge.samples = charge.samples.max(said);
            charge.is_stored |= answer.rest == Outcome::Stored || said.is_some();
        }
        let Some(tally) = &mut self.tally else {
            self.charge(effects);
            effects.push(Effect::Count(Counter::LateWrite { success }));
            if answer.rest == Outcome::Unavailable {
                effects.push(Effect::Count(Counter::LateWriteGivenUp));
            }
            return;
        };
        tally.count(part, answer);
        self.decide(request, effects);
    }

    /// Gives the verdict without waiting any longer: whoever has not answered counts as unavailable. The parts
    /// that are outstanding stay so.
    pub(crate) fn expire(&mut self, request: RequestId, message: &str, effects: &mut Vec<Effect>) {
        let Some(tally) = &mut self.tally else { return };
        for part in 0..self.parts.len() as u16 {
            tally.count(part, Answer::whole(Outcome::Unavailable, message));
        }
        self.decide(request, effects);
    }

    /// Forgets the client. Says whether it still waited.
    pub(crate) fn leave(&mut self) -> bool {
        std::mem::take(&mut self.client_waits)
    }

    /// Gives the verdict if it is fixed, and with it up all that only a verdict needs. In remote write 2.0 the counts of
    /// what is written belong to it, and are waited for as long as a verdict is.
    pub(crate) fn decide(&mut self, request: RequestId, effects: &mut Vec<Effect>) {
        let Some(verdict) = self.tally.as_ref().and_then(Tally::verdict) else { return };
        let written = match self.protocol {
            Protocol::V1 => Some(Contents::default()),
            Protocol::V2 => self.tally.as_ref().and_then(Tally::written),
        };
        let Some(written) = written else { return };
        let Some(tally) = self.tally.take() else { return };
        if verdict == Outcome::Unavailable {
            // The client comes again with all of it, and is charged then.
            self.charge = None;
        }
        self.charge(effects);
        effects.push(Effect::Count(Counter::Replication { success: verdict == Outcome::Stored }));
        if self.leave() {
            let address = |part: u16| self.parts.get(usize::from(part)).map(|part| &*part.address);
            let response = Response::verdict(self.protocol, verdict, &tally, address);
            let response = response.with_written(self.protocol, written);
            effects.push(Effect::Respond { request, response, series: self.series });
        }
    }

    /// Whether something is stored that the tenant was not charged for, because nobody has said how much it is.
    pub(crate) fn is_uncharged(&self) -> bool {
        self.charge.as_ref().is_some_and(|charge| charge.is_stored)
    }

    /// Charges the tenant after the verdict, as soon as it is known what for.
    fn charge(&mut self, effects: &mut Vec<Effect>) {
        if let Some(Charge { tenant, rate, samples: Some(samples), .. }) =
            self.charge.take_if(|charge| charge.samples.is_some())
        {
            effects.push(Effect::Charge { tenant, rate, samples });
        }
    }
}
