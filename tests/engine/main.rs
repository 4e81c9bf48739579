//! The storage engine judged from outside: one real sidecar by itself, beside a real Prometheus 2.42 or with
//! promtool as the judge of what it stored.

mod damage;
mod differential;
mod foreign;
mod kills;
mod kinds;
mod restart_memory;
