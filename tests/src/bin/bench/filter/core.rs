//! The filter's core, native, in this process: every part is answered as soon as it is made.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringside_filter_core::admission::Admitted;
use ringside_filter_core::limits::Limits;
use ringside_filter_core::{Config, Effect, Event, Fanouts, Reply, RequestId, TenantId};
use ringside_proto::Protocol;
use rustix::time::{ClockId, clock_gettime};

use super::{Cost, REPLICATION_FACTOR, WARM, hashrings};
use crate::load::Load;

/// `repeats`: whether the filter has seen the series before, as it has in all but a sender's first scrape. Else every request
/// is of a tenant of its own.
pub(super) fn measure(load: &Load, endpoints: usize, repeats: bool) -> Result<Cost> {
    let addresses: Vec<String> = (0..endpoints).map(|number| format!("sidecar-{number}:19291")).collect();
    let config =
        format!(r#"{{"hashrings": {}, "replication_factor": {REPLICATION_FACTOR}}}"#, hashrings(&addresses));
    let mut fanouts = Fanouts::new(Config::parse(config.as_bytes())?);
    let (mut cpu, mut number) = (cpu_time(), 0);
    for scrape in 0..load.plan.scrapes {
        if scrape == WARM {
            (cpu, number) = (cpu_time(), 0);
        }
        for place in 0..load.places() {
            let body = load.body(place, scrape).to_vec();
            let request = RequestId(u32::try_from(number)?);
            let tenant =
                if repeats { "default-tenant".to_owned() } else { format!("tenant-{scrape}-{place}") };
            let tenant = TenantId::new(&tenant)?;
            let admitted =
                Admitted { tenant, protocol: Protocol::V1, limits: Limits::default(), hashring: None };
            let status = write(&mut fanouts, request, admitted, body);
            ensure!(status.context("no answer")? == 200, "refused");
            number += 1;
        }
    }
    Ok(Cost::new(number, cpu_time() - cpu, &[]))
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// One write from its body to the last answer; its status.
fn write(fanouts: &mut Fanouts, request: RequestId, admitted: Admitted, body: Vec<u8>) -> Option<u16> {
    let mut effects = Vec::new();
    let mut status = None;
    fanouts.on(Event::Body { request, admitted, body }, &mut effects);
    while let Some(effect) = effects.pop() {
        match effect {
            Effect::Dispatch(dispatch) => {
                let reply = Reply { status: Some(200), ..Reply::default() };
                fanouts.on(Event::Answered { call: dispatch.call, reply }, &mut effects);
            }
            Effect::Respond { response, .. } => status = Some(response.status),
            _ => {}
        }
    }
    status
}
