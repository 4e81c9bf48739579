//! One child process: its own log file, signals by its own pid, and an end that cannot be missed.
//!
//! A child is killed when its `Process` is dropped, and by the kernel when this process ends in any way,
//! SIGKILL included. The kernel's promise is tied to the *thread* that spawned the child, so all
//! children are spawned by one thread that lives as long as the process does.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use crate::{http, wait};

/// How to start a program, again and again in the same way.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What messages and the log file call it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its working directory; the log `<name>.log` is there too, and is appended to.
    pub folder: PathBuf,
}

/// A running (or killed) program.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Option<Child>,
    address_space_bytes: Option<u64>,
}

impl Process {
    /// Starts it. Starting is not being ready: see [`Process::wait_ready`].
    pub fn start(spec: Spec) -> Result<Self> {
        let mut process = Self { spec, child: None, address_space_bytes: None };
        process.restart()?;
        Ok(process)
    }

    /// Starts it again in the same way, after it was killed or ended.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = match self.address_space_bytes {
            None => Command::new(&self.spec.program),
            Some(bytes) => {
                let mut shell = Command::new("/bin/sh");
                let script = format!("ulimit -v {}; exec \"$0\" \"$@\"", bytes / 1024);
                shell.args(["-c", &script]).arg(&self.spec.program);
                shell
            }
        };
        command.args(&self.spec.args).current_dir(&self.spec.folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A Ctrl-C at the terminal is for the parent, which ends its children in order.
        command.process_group(0);
        self.child = Some(spawn(command).with_context(|| format!("start {}", self.spec.name))?);
        Ok(())
    }

    /// From the next restart on, it gets no more address space than this.
    pub fn limit_address_space(&mut self, bytes: u64) {
        self.address_space_bytes = Some(bytes);
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The file that has everything it printed, over all its lives.
    pub fn log(&self) -> PathBuf {
        self.spec.folder.join(format!("{}.log", self.spec.name))
    }

    /// The pid while it runs.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().with_context(|| format!("{} does not run", self.spec.name))?.id())
    }

    /// kill -9, and reaps it. Nothing happens if it does not run.
    pub fn kill9(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().with_context(|| format!("kill {}", self.spec.name))?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, then waits for a clean exit; a status that is not success is an error.
    pub async fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.wait_exit().await?;
        if !status.success() {
            bail!("{} ended with {status} after SIGTERM\n{}", self.spec.name, self.log_tail());
        }
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn wait_exit(&mut self) -> Result<ExitStatus> {
        let name = self.spec.name.clone();
        let child = self.child.as_mut().with_context(|| format!("{name} does not run"))?;
        let status = wait::eventually(&format!("the end of {name}"), async || {
            child.try_wait()?.ok_or_else(|| anyhow!("{name} still runs"))
        })
        .await?;
        self.child = None;
        Ok(status)
    }

    /// SIGSTOP: it is alive, its sockets accept, and it answers nothing.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT, after [`Process::stop`].
    pub fn cont(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// True while the kernel holds it stopped.
    pub fn is_stopped(&self) -> Result<bool> {
        Ok(self.status_field("State")?.starts_with(['T', 't']))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid()?.cast_signed()).context("pid 0")?;
        kill_process(pid, signal).with_context(|| format!("signal {}", self.spec.name))
    }

    /// Resident memory, in bytes.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS")
    }

    /// The most resident memory since it was started or [`Process::reset_peak_rss`] was called, in bytes.
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM")
    }

    /// The most address space it has had, in bytes.
    pub fn peak_address_space_bytes(&self) -> Result<u64> {
        self.status_bytes("VmPeak")
    }

    /// Lets the peak of its resident memory begin at what it has now.
    pub fn reset_peak_rss(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.pid()?), "5")?)
    }

    /// CPU time of all its threads so far, in the program and in the kernel for it.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.pid()?.to_string())
    }

    /// CPU time of the threads that it has now, to the nanosecond; [`cpu_time`](Self::cpu_time) counts in hundredths of a
    /// second.
    pub fn thread_time(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid()?))? {
            let times = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let running = times.split(' ').next().context("an odd schedstat")?;
            sum += Duration::from_nanos(running.parse()?);
        }
        Ok(sum)
    }

    fn status_bytes(&self, name: &str) -> Result<u64> {
        let field = self.status_field(name)?;
        let kib: u64 = field.split_whitespace().next().unwrap_or_default().parse()?;
        Ok(kib * 1024)
    }

    fn status_field(&self, name: &str) -> Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {name} in /proc status"))?.trim().to_owned())
    }

    /// An error with its log if it has ended by itself.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
            None => Ok(()),
            Some(status) => bail!("{} ended with {}\n{}", self.spec.name, status?, self.log_tail()),
        }
    }

    /// Waits until GET `url` answers 200; an exit of the program ends the wait with its log.
    pub async fn wait_ready(&mut self, url: &str) -> Result<()> {
        let patience = wait::PATIENCE;
        self.wait_ready_within(patience, url).await
    }

    async fn wait_ready_within(&mut self, patience: Duration, url: &str) -> Result<()> {
        let mut ended = None;
        let waited = wait::eventually_within(patience, &format!("200 from {url}"), async || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                ended = Some(status?);
                return Ok(());
            }
            http::get_ok(url).await.map(drop)
        })
        .await;
        match (waited, ended) {
            (Ok(()), None) => Ok(()),
            (_, Some(status)) => bail!("{} ended with {status}\n{}", self.spec.name, self.log_tail()),
            (Err(error), None) => Err(error.context(format!("{}\n{}", self.spec.name, self.log_tail()))),
        }
    }

    /// The end of its log, to go into an error message.
    pub fn log_tail(&self) -> String {
        tail(&self.log()).unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

/// CPU time of a process, `self` for this one.
pub fn cpu_time(pid: &str) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name, in parentheses, and may contain anything.
    let fields = stat.rsplit_once(')').context("an odd /proc stat")?.1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>()?;
    Ok(Duration::from_secs(1) * u32::try_from(ticks)? / u32::try_from(clock_ticks_per_second())?)
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            eprintln!("{}: {error:#}", self.spec.name);
        }
    }
}

fn tail(path: &Path) -> Result<String> {
    const BYTES: u64 = 3_000;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(format!("--- end of {} ---\n{}", path.display(), String::from_utf8_lossy(&bytes)))
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The one thread that spawns; see the module's comment.
static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (sender, orders) = mpsc::channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, reply) in orders {
            // The receiver is gone only if its thread panicked; the child is then dropped with the reply.
            drop(reply.send(command.spawn()));
        }
    });
    sender
});

fn spawn(mut command: Command) -> Result<Child> {
    let parent = Pid::from_raw(std::process::id().cast_signed());
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above took effect.
        if getppid() == parent { Ok(()) } else { Err(std::io::ErrorKind::NotConnected.into()) }
    };
    #[expect(unsafe_code, reason = "the death signal can be set only between fork and exec")]
    // SAFETY: the closure makes two system calls and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(before_exec);
    }
    let (reply, answer) = mpsc::channel();
    SPAWNER.send((command, reply)).map_err(|_| anyhow!("the spawning thread is gone"))?;
    Ok(answer.recv().context("the spawning thread is gone")??)
}
