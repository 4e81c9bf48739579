//! What becomes of a request, judged before its body is read.
//!
//! Owns the order of the questions: is it a write, whose is it, what may that tenant send and
//! to which ring, and has it sent too much already. Each of them is answered elsewhere (`request`, `tenant`, `limits`, `rate`).

use std::rc::Rc;

use ringside_proto::Protocol;
use ringside_proto::remote_write_v2::Contents;

use crate::config::Config;
use crate::limits::{self, Limits};
use crate::rate::SharedData;
use crate::reply::Response;
use crate::request::{Head, Judgement, judge, judge_length};
use crate::tenant::{self, Lookup, Place, TenantId};

/// What becomes of a request, judged from its headers.
#[derive(Debug)]
pub enum Admission {
    /// Not a write.
    Pass,
    Refuse {
        response: Response,
        /// Whose it is, where that was found out.
        tenant: Option<TenantId>,
    },
    /// Its body is to be read, and comes back with this.
    Read(Admitted),
}

/// A request whose headers are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub tenant: TenantId,
    pub protocol: Protocol,
    pub limits: Limits,
    /// The hashring that metadata names, in place of the tenant's own.
    pub hashring: Option<Rc<str>>,
}

impl Admitted {
    /// The largest body that is taken, in bytes.
    pub(crate) fn body_bytes_max(&self, config: &Config) -> usize {
        let own = self.limits.body_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        own.map_or(config.body_bytes_max, |own| own.min(config.body_bytes_max))
    }
}

/// Judges a request from its headers, and finds out its tenant and the limits of that.
pub(crate) fn admit(
    config: &Config,
    head: &Head<'_>,
    lookup: impl Fn(Lookup<'_>) -> Option<Vec<u8>>,
    shared: &impl SharedData,
    now_ms: impl FnOnce() -> u64,
) -> Admission {
    let (protocol, declared) = match judge(head, config.body_bytes_max) {
        Judgement::Pass => return Admission::Pass,
        Judgement::Refuse(response) => return Admission::Refuse { response, tenant: None },
        Judgement::Read { protocol, declared } => (protocol, declared),
    };
    let refuse = |tenant: Option<&TenantId>, response| Admission::Refuse {
        response: unwritten(protocol, response),
        tenant: tenant.cloned(),
    };
    let tenant = match tenant::choose(&config.tenant_header, &config.default_tenant, &lookup) {
        Ok(tenant) => tenant,
        Err(error) => {
            let status = if error.is_the_operators() { 503 } else { 400 };
            return refuse(None, Response::refusal(status, error.to_string()));
        }
    };
    let limits = match limits::choose(config.limits_of(&tenant), &lookup) {
        Ok(limits) => limits,
        // A fault of the operator, not of the client: its data is worth keeping until it is mended.
        Err(error) => return refuse(Some(&tenant), Response::refusal(503, error.to_string())),
    };
    let named = Place::ALL.into_iter().find_map(|place| lookup(Lookup::Metadata(place, "hashring")));
    let hashring = named.map(|name| String::from_utf8_lossy(&name).into());
    let admitted = Admitted { tenant, protocol, limits, hashring };
    let refusal = declared.and_then(|bytes| judge_length(bytes, admitted.body_bytes_max(config)));
    if let Some(refusal) = refusal {
        return refuse(Some(&admitted.tenant), refusal);
    }
    if let Some(rate) = limits.rate
        && let Err(seconds) = rate.admit(shared, &admitted.tenant, now_ms())
    {
        return refuse(Some(&admitted.tenant), Response::over_rate(rate, seconds));
    }
    Admission::Read(admitted)
}

/// The filter's own answer to a request of which nothing is sent on.
pub(crate) fn unwritten(protocol: Protocol, response: Response) -> Response {
    response.with_written(protocol, Contents::default())
}

#[cfg(test)]
mod tests;
