//! Threads that build graphs: apart from everybody else's, and giving way to them.
//!
//! On rayon's common threads a query's own parallel work would wait until a whole batch of nodes is linked.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// What a builder adds to its niceness (Linux): with one other busy thread a processor, about a tenth is left to it.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Runs `work`, and the parallel work in it, on the builders; on this thread where there can be none.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static BUILDERS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let start = || {
        let threads = ThreadPoolBuilder::new().thread_name(|_| "index".to_owned());
        threads.start_handler(|_| give_way()).build().ok()
    };
    match BUILDERS.get_or_init(start) {
        Some(builders) => builders.install(work),
        None => work(),
    }
}

/// Lowers this thread's priority; elsewhere than on Linux that would lower the whole process's.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::process::getpriority_process(None).unwrap_or(0);
        // Refused, it builds as fast as it can.
        let _ = rustix::process::setpriority_process(None, (now + NICE).min(19));
    }
}
