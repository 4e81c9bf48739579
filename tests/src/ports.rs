//! Loopback ports that nobody else gets while this process lives.
//!
//! Each port is held by a lock on a file of its own in the system's temporary directory, so test
//! processes that run at the same time never share one, and the kernel gives it back however this
//! process ends. All ports lie below Linux's ephemeral range: no outgoing connection can take one
//! between the reservation and the start of the server that it is for, nor during a restart.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// The locks of this process, kept until it ends, and where to look for the next port.
static HELD: Mutex<(Vec<File>, Option<u16>)> = Mutex::new((Vec::new(), None));

/// An address on 127.0.0.1 whose port is free and stays reserved until this process ends.
pub fn reserve() -> Result<SocketAddr> {
    let folder = std::env::temp_dir().join("ringside-ports");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let (locks, next) = &mut *held;
    let span = LAST - FIRST + 1;
    // Processes start at different places, so that they seldom try the same ports.
    let start = next.unwrap_or(FIRST + (std::process::id() as u16).wrapping_mul(97) % span);
    for step in 0..span {
        let port = FIRST + (start - FIRST + step) % span;
        let path = folder.join(port.to_string());
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error).context("lock a port"),
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_err() {
            continue; // some other program's
        }
        locks.push(lock);
        *next = Some(FIRST + (port - FIRST + 1) % span);
        return Ok(address);
    }
    bail!("no free port between {FIRST} and {LAST}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_port_is_given_twice() {
        let ports: HashSet<_> = (0..50).map(|_| super::reserve().unwrap().port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
