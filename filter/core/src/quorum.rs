//! What the replicas of one series, taken together, make of it: stored, refused for good, or worth a retry;
//! and how much of that is certain while some of them have not answered yet.
//!
//! Owns the rule for one series, as counts of replica outcomes. It knows nothing of requests, parts or
//! series identity (see `tally`).
//!
//! Invariant: every result is a function of the multiset of outcomes alone, so the order in which replies
//! arrive cannot change a verdict.

use ringside_hashring::write_quorum;
use ringside_proto::Protocol;

/// What became of a series: on one replica, or, once enough replicas have spoken, altogether.
///
/// Ordered from the best to the worst answer for a client: a request gets the worst outcome of its series,
/// so that whatever a retry could still save is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Durably stored.
    Stored,
    /// Refused for good: it conflicts with what is stored (409; to remote write 2.0, which knows no other refusal, 400).
    Conflict,
    /// Refused for good: too large (413).
    TooLarge,
    /// Refused for good: invalid (400).
    Invalid,
    /// Refused for good: a message that the receivers do not know (415). Its sender may know another.
    Unsupported,
    /// Over a limit of its tenant; a later retry may succeed (429).
    Limited,
    /// No answer, or one that a retry may better (503).
    Unavailable,
}

impl Outcome {
    /// All outcomes, best first.
    pub const ALL: [Self; 7] = [
        Self::Stored,
        Self::Conflict,
        Self::TooLarge,
        Self::Invalid,
        Self::Unsupported,
        Self::Limited,
        Self::Unavailable,
    ];

    /// The HTTP status that tells a client of this outcome.
    pub fn status(self, protocol: Protocol) -> u16 {
        match self {
            Self::Stored => protocol.success(),
            Self::Conflict if protocol == Protocol::V1 => 409,
            Self::TooLarge => 413,
            Self::Conflict | Self::Invalid => 400,
            Self::Unsupported => 415,
            Self::Limited => 429,
            Self::Unavailable => 503,
        }
    }

    /// Its name in an access log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether sending the same series again may end better.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Limited | Self::Unavailable)
    }
}

/// How many replicas of one series report each outcome, and how many have yet to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    pub stored: u16,
    pub conflict: u16,
    pub too_large: u16,
    pub invalid: u16,
    pub unsupported: u16,
    pub limited: u16,
    pub unavailable: u16,
    pub pending: u16,
}

impl Counts {
    /// Counts one more replica: its outcome, or `None` for one that has not answered.
    pub fn add(&mut self, outcome: Option<Outcome>) {
        *self.slot(outcome) += 1;
    }

    /// Takes back one replica that was counted as `from` and counts it as `to`.
    pub fn change(&mut self, from: Outcome, to: Outcome) {
        *self.slot(Some(from)) -= 1;
        *self.slot(Some(to)) += 1;
    }

    fn slot(&mut self, outcome: Option<Outcome>) -> &mut u16 {
        match outcome {
            Some(Outcome::Stored) => &mut self.stored,
            Some(Outcome::Conflict) => &mut self.conflict,
            Some(Outcome::TooLarge) => &mut self.too_large,
            Some(Outcome::Invalid) => &mut self.invalid,
            Some(Outcome::Unsupported) => &mut self.unsupported,
            Some(Outcome::Limited) => &mut self.limited,
            Some(Outcome::Unavailable) => &mut self.unavailable,
            None => &mut self.pending,
        }
    }

    fn permanent(&self) -> u16 {
        self.conflict + self.too_large + self.invalid + self.unsupported
    }

    /// What replicas that refuse a series for good make of it together, if those that have not answered are `pending`
    /// more for each cause but conflict.
    fn refusal(&self, blocking: u16, pending: u16) -> Outcome {
        let agreed = |said: u16| said + pending >= blocking;
        if agreed(self.unsupported) {
            Outcome::Unsupported
        } else if agreed(self.invalid) {
            Outcome::Invalid
        } else if agreed(self.too_large) {
            Outcome::TooLarge
        } else {
            Outcome::Conflict
        }
    }
}

/// The best and the worst outcome that a series can still have. Equal ends mean that its fate is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub best: Outcome,
    pub worst: Outcome,
}

impl Bounds {
    /// The bounds of the worst of several series: the identity of [`Bounds::join`].
    pub const NONE: Self = Self { best: Outcome::Stored, worst: Outcome::Stored };

    /// The bounds of the worse of two series. Each pending reply may still treat the two differently, so
    /// the ends are independent of each other.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { best: self.best.max(other.best), worst: self.worst.max(other.worst) }
    }

    /// The outcome, if nothing can change it any more.
    pub fn fixed(self) -> Option<Outcome> {
        (self.best == self.worst).then_some(self.best)
    }
}

/// The write quorum of a ring.
///
/// A series is stored when `quorum` replicas stored it. It is refused for good when so many replicas refuse
/// it for good (`blocking`) that the rest cannot make a quorum; its status is 415, 400 or 413 when that many say
/// so, else 409. In every other case a retry may help: 429 when `blocking` replicas say so, else 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    replicas: u16,
    quorum: u16,
    blocking: u16,
}

impl Rule {
    /// The rule for a replication factor (at least 1).
    pub fn new(replication_factor: usize) -> Self {
        let replicas = u16::try_from(replication_factor).unwrap_or(u16::MAX).max(1);
        let quorum =
            u16::try_from(write_quorum(usize::from(replicas))).unwrap_or(replicas).clamp(1, replicas);
        Self { replicas, quorum, blocking: replicas - quorum + 1 }
    }

    /// How many replicas a series has.
    pub fn replicas(self) -> u16 {
        self.replicas
    }

    /// How many replicas have to store a series.
    pub fn quorum(self) -> u16 {
        self.quorum
    }

    /// The best and worst outcome over every way in which the pending replicas may still answer.
    pub fn bounds(self, counts: &Counts) -> Bounds {
        Bounds { best: self.best(counts), worst: self.worst(counts) }
    }

    fn best(self, counts: &Counts) -> Outcome {
        let Self { quorum, blocking, .. } = self;
        let pending = counts.pending;
        if counts.stored + pending >= quorum {
            Outcome::Stored
        } else if counts.permanent() + pending >= blocking {
            // The pending replicas may all say 409, which leaves the other causes to those that said so.
            counts.refusal(blocking, 0)
        } else if counts.limited + pending >= blocking {
            Outcome::Limited
        } else {
            Outcome::Unavailable
        }
    }

    fn worst(self, counts: &Counts) -> Outcome {
        let Self { quorum, blocking, .. } = self;
        let pending = counts.pending;
        if counts.stored >= quorum {
            Outcome::Stored
        } else if counts.permanent() >= blocking {
            counts.refusal(blocking, pending)
        } else if counts.limited >= blocking {
            Outcome::Limited
        } else {
            // Neither fixed yet: were the pending replicas all unavailable, this is what they would leave.
            Outcome::Unavailable
        }
    }
}

#[cfg(test)]
mod tests;
