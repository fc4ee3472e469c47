//! How many files may be open at once.
//!
//! Knows the kernel's limit on descriptors and what else needs some. Does not know which files are open: that
//! is the engine's. Called at the start, and whenever the number of connections changes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the state database, inotify, the health endpoint and its callers, surveys, the runtime and the
/// standard streams.
const RESERVED: u64 = 96;

/// Where the limit leaves little, files still get this share of it: connections that find none are tried again.
const MIN_SHARE: u64 = 4;

/// Of few descriptors, connections take no more than this share.
const CONNECTIONS_SHARE: u64 = 8;

/// Raises the limit as far as this process may.
///
/// # Errors
/// What the kernel said, with the limit that stays.
pub fn raise_limit() -> Result<(), (std::io::Error, Option<u64>)> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| (error.into(), limit.current))
}

/// How many connections may be open at once where descriptors are few.
pub fn max_connections() -> u64 {
    connections_of(getrlimit(Resource::Nofile).current)
}

fn connections_of(limit: Option<u64>) -> u64 {
    limit.map_or(u64::MAX, |limit| (limit / CONNECTIONS_SHARE).max(1))
}

/// How many of the descriptors that this process may have are for files, when so many connections may be open.
pub fn max_open_files(connections: u64) -> usize {
    share_of(getrlimit(Resource::Nofile).current, connections)
}

fn share_of(limit: Option<u64>, connections: u64) -> usize {
    let Some(limit) = limit else { return usize::MAX };
    let left = limit.saturating_sub(RESERVED + connections).max(limit / MIN_SHARE);
    usize::try_from(left).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_what_nothing_else_needs_and_never_less_than_a_quarter() {
        assert_eq!(share_of(Some(1024), 64), 864);
        assert_eq!(share_of(Some(65_536), 640), 64_800);
        assert_eq!(share_of(Some(64), 64), 16);
        assert_eq!(share_of(Some(256), 10_000), 64);
        assert_eq!(share_of(None, 64), usize::MAX);
    }

    #[test]
    fn connections_leave_most_descriptors_to_others() {
        assert_eq!(connections_of(Some(1024)), 128);
        assert_eq!(connections_of(Some(64)), 8);
        assert_eq!(connections_of(Some(3)), 1);
        assert_eq!(connections_of(None), u64::MAX);
    }
}
