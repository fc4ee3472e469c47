//! What this process takes of the machine, as the kernel says it.
//!
//! Reads of /proc/self what is read fast, also with many open files. Knows no names of metrics.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The process at one moment. What the kernel does not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Time on processors, in user space and in the kernel, of all threads.
    pub(super) cpu: Duration,
    /// Memory that is mapped, in bytes.
    pub(super) virtual_bytes: Option<u64>,
    /// Memory that is in use, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// How many threads there are.
    pub(super) threads: Option<u64>,
    /// How many descriptors are open.
    pub(super) open_fds: Option<u64>,
    /// How many descriptors may be open; `None` where as many may be as one likes.
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// This process, now.
    #[expect(
        clippy::disallowed_methods,
        reason = "what the kernel says of this process is in no file of a user"
    )]
    pub(super) fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |key| Some(number(&status, key)? * 1024);
        Self {
            cpu: cpu.try_into().unwrap_or_default(),
            virtual_bytes: bytes("VmSize:"),
            resident_bytes: bytes("VmRSS:"),
            threads: number(&status, "Threads:"),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// How many descriptors are open. Since Linux 6.2 the directory's size says so; before, they are counted.
#[expect(
    clippy::disallowed_methods,
    reason = "the directory of this process's descriptors is no file of a user"
)]
fn open_fds() -> Option<u64> {
    let dir = "/proc/self/fd";
    match fs::metadata(dir).ok()?.len() {
        // One of those that are counted is the listing's own.
        0 => Some((fs::read_dir(dir).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

/// The number behind `key` in what the kernel says line by line; memory is in units of 1,024 bytes.
fn number(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn each_number_is_found_behind_its_key() {
        let status = "Name:\tstandpipe\nVmSize:\t   51200 kB\nVmRSS:\t   20480 kB\nThreads:\t7\n";
        assert_eq!(number(status, "VmSize:"), Some(51_200));
        assert_eq!(number(status, "Threads:"), Some(7));
        assert_eq!(number(status, "VmSwap:"), None);
    }

    #[test]
    fn a_process_is_never_smaller_than_what_is_known_of_it() {
        let held: Vec<_> =
            (0..50).map(|_| File::open("/dev/null").expect("it is on every machine")).collect();
        let process = Process::now();
        assert!(process.open_fds >= Some(held.len() as u64), "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes, "{process:?}");
        assert!(process.resident_bytes > Some(100_000) && process.threads >= Some(1), "{process:?}");
        assert!(Process::now().cpu >= process.cpu);
    }
}
