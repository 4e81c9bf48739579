//! Which core works for whom: the measured system has one for itself, the generator the other. Threads and
//! children inherit a pin, so this process pins itself before it starts any.

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of the measured system.
pub(crate) const SYSTEM: usize = 0;
/// The core of the generator.
const GENERATOR: usize = 1;

/// Binds the calling thread, and what it starts, to the generator's core.
pub(crate) fn pin_generator() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    ensure!(allowed.is_set(SYSTEM) && allowed.is_set(GENERATOR), "cores {SYSTEM} and {GENERATOR} are needed");
    set(&[GENERATOR])
}

/// Lets the calling thread use both cores, for work while nothing is measured.
pub(crate) fn unpin() -> Result<()> {
    set(&[SYSTEM, GENERATOR])
}

/// Binds a process with all its threads to the core of the measured system.
pub(crate) fn give_system(pid: u32) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(SYSTEM);
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task: i32 = task?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Pid::from_raw(task), &set)?;
    }
    Ok(())
}

/// How much of the measured system's core the host of this machine has given to others so far, in clock ticks. What runs
/// meanwhile is charged for that time.
pub(crate) fn stolen() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{SYSTEM}");
    let line = stat.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = line.into_iter().find(|line| line.first() == Some(&name.as_str()));
    // The name, then user, nice, system, idle, iowait, irq, softirq and steal.
    let steal = line.and_then(|line| line.get(8)?.parse().ok());
    steal.with_context(|| format!("no steal of {name} in /proc/stat"))
}

/// How many cores [`unpin`] gives.
pub(crate) const COUNT: usize = 2;

fn set(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}
