//! Who else may change what is kept in the state directory.
//!
//! Knows owners and modes. A volume that is mounted for a container alone is open to all by what mounts it (Kubernetes makes
//! an emptyDir 0777), and nobody else is there: a mount point that is root's is taken as it is, unless it is sticky, as what
//! many users share is (`/tmp`). The directories above are the operator's.
//!
//! *Invariant:* a directory in which another user may put or replace a file is not used, but for such a volume.

#![expect(clippy::disallowed_methods, reason = "the state is files")]

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::error::{StoreError, io_at};

const ROOT: u32 = 0;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// # Errors
/// [`StoreError::Exposed`] where another user owns the directory or may write into it.
pub(super) fn refuse_exposed(dir: &Path) -> Result<(), StoreError> {
    let found = fs::metadata(dir).map_err(io_at(dir))?;
    let is_mount = fs::metadata(dir.join("..")).is_ok_and(|above| above.dev() != found.dev());
    let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match judge(&found.into(), is_mount, ours) {
        None => Ok(()),
        Some((why, remedy)) => {
            let remedy = format!("{remedy} {}", dir.display());
            Err(StoreError::Exposed { path: dir.to_owned(), why, remedy })
        }
    }
}

/// Owner, group and mode of a directory.
#[derive(Clone, Copy, Debug)]
struct Kept {
    owner: u32,
    group: u32,
    mode: u32,
}

impl From<Metadata> for Kept {
    fn from(metadata: Metadata) -> Self {
        Self { owner: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }
}

/// Why a directory is exposed to others than `user`, whose group is `group`, and the command that ends it.
fn judge(kept: &Kept, is_mount: bool, (user, group): (u32, u32)) -> Option<(String, String)> {
    let Kept { owner, group: of_directory, mode } = *kept;
    // Root looks after the state of others, too.
    if owner != ROOT && owner != user && user != ROOT {
        return Some((format!("belongs to user {owner}, and this is user {user}"), format!("chown {user}")));
    }
    if is_mount && owner == ROOT && mode & STICKY == 0 {
        return None;
    }
    let by_group = mode & GROUP_WRITES != 0 && of_directory != ROOT && of_directory != group;
    if mode & OTHERS_WRITE == 0 && !by_group {
        return None;
    }
    Some((format!("mode {mode:04o}"), "chmod go-w".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owner, group, mode, whether it is a mount point, and whether user 100 of group 200 uses it.
    #[test]
    fn where_others_may_write_no_state_is_kept() {
        for (owner, group, mode, is_mount, is_used) in [
            (100, 200, 0o700, false, true),
            (100, 200, 0o755, false, true),
            (100, 200, 0o775, false, true),
            (100, 300, 0o775, false, false),
            (100, 300, 0o750, false, true),
            (100, 200, 0o777, false, false),
            (100, 200, 0o1777, false, false),
            (0, 0, 0o755, false, true),
            (0, 0, 0o775, false, true),
            (0, 0, 0o1777, false, false),
            (0, 2000, 0o2777, true, true),
            (0, 0, 0o1777, true, false),
            (100, 200, 0o777, true, false),
            (101, 200, 0o700, false, false),
            (101, 200, 0o700, true, false),
        ] {
            let judged = judge(&Kept { owner, group, mode }, is_mount, (100, 200));
            assert_eq!(judged.is_none(), is_used, "{owner} {group} {mode:o} {is_mount}: {judged:?}");
        }
        assert!(judge(&Kept { owner: 100, group: 200, mode: 0o700 }, false, (0, 0)).is_none(), "by root");
    }
}
