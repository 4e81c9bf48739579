//! A power cut, a kill, an error and a short write at every step of a workload in which everything happens: new
//! segments, cut blocks, checkpoints, retention, closing, opening, and a log so long that it is cut while it is replayed.
//!
//! After each, the storage opens; what was acknowledged is there once; what was refused or never written is not;
//! and what the first start found is still there after a power cut right behind it.

pub(super) mod contents;
mod workload;

use crate::fs::faults::{Fault, Survives};
use workload::{Run, Window};

/// Steps that change what is durable or visible; a crash at another one is a crash at the one before it.
fn changes(step: &str) -> bool {
    !matches!(step, "open" | "read" | "list" | "stat" | "size")
}

/// Every step of the workload in both forms.
fn steps() -> impl Iterator<Item = (Window, u64, &'static str)> {
    [Window::Narrow, Window::Wide].into_iter().flat_map(|window| {
        let steps = Run::with(window, None).steps;
        (0..).zip(steps).map(move |(k, step)| (window, k, step))
    })
}

#[test]
fn the_workload_does_everything() {
    for window in [Window::Narrow, Window::Wide] {
        let run = Run::with(window, None);
        let seen = run.seen;
        assert!(seen.blocks >= 4 && seen.checkpoints >= 2 && seen.expired >= 1, "{seen:?}");
        assert!(seen.full_segments >= 2 && seen.refused >= 10 && seen.out_of_order >= 5, "{seen:?}");
        assert!(seen.cut_at_start >= 2, "{seen:?}");
        assert_eq!(seen.mapped_at_start > 5, window == Window::Narrow, "{seen:?}");
        assert_eq!(seen.late_blocks > 0, window == Window::Wide, "{seen:?}");
        assert_eq!(seen.errors, 0, "{seen:?}");
        run.check("no fault");
    }
}

#[test]
fn a_crash_at_any_step_loses_nothing_acknowledged() {
    for (window, k, step) in steps().filter(|(_, _, step)| changes(step)) {
        let run = Run::with(window, Some((k, Fault::Crash)));
        let other = if k.is_multiple_of(2) { Survives::Everything } else { Survives::Some(k) };
        for survives in [Survives::Nothing, other] {
            run.reboot(survives)
                .check(&format!("{window:?} window, crash at step {k}, {step}; survives: {survives:?}"));
        }
    }
}

#[test]
fn an_error_at_any_step_loses_nothing_acknowledged() {
    for (window, k, step) in steps() {
        let run = Run::with(window, Some((k, Fault::Error)));
        let survives = if k.is_multiple_of(2) { Survives::Nothing } else { Survives::Everything };
        run.reboot(survives)
            .check(&format!("{window:?} window, error at step {k}, {step}; survives: {survives:?}"));
    }
}

#[test]
fn a_short_write_at_any_step_loses_nothing_acknowledged() {
    for (window, k, step) in steps().filter(|(_, _, step)| *step == "write") {
        let run = Run::with(window, Some((k, Fault::Short)));
        for survives in [Survives::Nothing, Survives::Everything, Survives::Some(k)] {
            run.reboot(survives).check(&format!(
                "{window:?} window, short write at step {k}, {step}; survives: {survives:?}"
            ));
        }
    }
}
