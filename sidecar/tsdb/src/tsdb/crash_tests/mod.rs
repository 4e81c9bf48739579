//! A power cut, a kill, an error and a short write at every step of a workload in which everything happens: new
//! segments, cut blocks, checkpoints, retention, closing and opening.
//!
//! After each, the storage opens; what was acknowledged is there once; what was refused or never written is not;
//! and what the first start found is still there after a power cut right behind it.

mod contents;
mod workload;

use crate::fs::faults::{Fault, Survives};
use workload::Run;

/// Steps that change what is durable or visible; a crash at another one is a crash at the one before it.
fn changes(step: &str) -> bool {
    !matches!(step, "open" | "read" | "list" | "stat" | "size")
}

#[test]
fn the_workload_does_everything() {
    let run = Run::with(None);
    let seen = run.seen;
    assert!(seen.blocks >= 4 && seen.checkpoints >= 2 && seen.expired >= 1, "{seen:?}");
    assert!(seen.full_segments >= 2 && seen.refused >= 10, "{seen:?}");
    assert_eq!(seen.errors, 0, "{seen:?}");
    run.check("no fault");
}

#[test]
fn a_crash_at_any_step_loses_nothing_acknowledged() {
    for (k, step) in Run::with(None).steps.into_iter().enumerate().filter(|(_, step)| changes(step)) {
        let k = k as u64;
        let run = Run::with(Some((k, Fault::Crash)));
        let other = if k.is_multiple_of(2) { Survives::Everything } else { Survives::Some(k) };
        for survives in [Survives::Nothing, other] {
            run.reboot(survives).check(&format!("crash at step {k}, {step}; survives: {survives:?}"));
        }
    }
}

#[test]
fn an_error_at_any_step_loses_nothing_acknowledged() {
    for (k, step) in Run::with(None).steps.into_iter().enumerate() {
        let run = Run::with(Some((k as u64, Fault::Error)));
        let survives = if k.is_multiple_of(2) { Survives::Nothing } else { Survives::Everything };
        run.reboot(survives).check(&format!("error at step {k}, {step}; survives: {survives:?}"));
    }
}

#[test]
fn a_short_write_at_any_step_loses_nothing_acknowledged() {
    for (k, step) in Run::with(None).steps.into_iter().enumerate().filter(|(_, step)| *step == "write") {
        let run = Run::with(Some((k as u64, Fault::Short)));
        for survives in [Survives::Nothing, Survives::Everything, Survives::Some(k as u64)] {
            run.reboot(survives).check(&format!("short write at step {k}, {step}; survives: {survives:?}"));
        }
    }
}
