//! Work that may take its time, on a thread of lower priority: where a core is busy, writes go first.

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// The nice value of background work: a tenth of the share of a thread that serves requests, so that it gets on even
/// where those never rest.
const NICE: i32 = 10;

/// The work panicked, or its thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("background work broke off")]
pub(crate) struct BrokeOff;

/// Runs `work`, which may block, to its end.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BrokeOff> {
    let (done, result) = oneshot::channel();
    let thread = move || {
        // On Linux this is the thread's alone. Without it the work is done all the same.
        if let Err(error) = setpriority_process(None, NICE) {
            tracing::debug!(%error, "background work keeps its priority");
        }
        // Whoever asked may have gone.
        drop(done.send(work()));
    };
    std::thread::Builder::new().name("background".to_owned()).spawn(thread).map_err(|_| BrokeOff)?;
    result.await.map_err(|_| BrokeOff)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn its_thread_is_nice_and_a_panic_is_an_error() {
        let before = getpriority_process(None).unwrap();
        assert_eq!(run(|| getpriority_process(None).unwrap()).await.unwrap(), NICE.max(before));
        assert_eq!(getpriority_process(None).unwrap(), before, "nobody else's is");
        assert!(run(|| -> () { panic!("on purpose") }).await.is_err());
    }
}
