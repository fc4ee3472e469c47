//! Where the socket is.

#![expect(clippy::disallowed_methods, reason = "a socket is a file")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The socket's name in the state directory.
const NAME: &str = "control.sock";

/// What an address of a Unix socket has room for, with the byte that ends it (`sun_path`, unix(7)).
const MAX_ADDRESS_BYTES: usize = 108;

/// The socket of one state directory, under a name that an address has room for.
#[derive(Debug)]
pub(super) struct Place {
    /// The name for people.
    pub(super) path: PathBuf,
    /// The name for the kernel.
    pub(super) address: PathBuf,
    /// Keeps the address valid that leads through it.
    _dir: Option<File>,
}

impl Place {
    /// # Errors
    /// When the directory cannot be opened, or has a long name and `/proc` is not there to shorten it.
    pub(super) fn find(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        if path.as_os_str().len() < MAX_ADDRESS_BYTES {
            return Ok(Self { address: path.clone(), path, _dir: None });
        }
        let dir = File::open(dir)?;
        let through = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        if !through.exists() {
            let why = format!(
                "the path is too long for a socket ({} bytes, and {} fit), and /proc is not mounted: give the state \
                 directory a shorter path",
                path.as_os_str().len(),
                MAX_ADDRESS_BYTES - 1
            );
            return Err(io::Error::other(why));
        }
        Ok(Self { path, address: through.join(NAME), _dir: Some(dir) })
    }
}
