//! Why hints cannot be relied on.
//!
//! Knows inotify's limits and the file systems whose changes it does not see, and says each kind of trouble
//! once, in words that an operator can act on.

use std::collections::HashSet;
use std::mem::{self, Discriminant};
use std::path::{Path, PathBuf};

use notify::ErrorKind;
use rustix::io::Errno;

use crate::engine::port::Watching;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "no inotify instance is left: raise the sysctl fs.inotify.max_user_instances, or the limit of open files \
         ({0})"
    )]
    Instances(String),
    #[error("inotify is not available: {0}")]
    Unavailable(String),
    #[error("the thread that reads inotify does not run")]
    Dead,
    #[error("no inotify watch is left for {}: raise the sysctl fs.inotify.max_user_watches", .0.display())]
    Watches(PathBuf),
    #[error(
        "{of} directories are more than the {most} of memory.max_watches: raise that, or name fewer directories"
    )]
    Many { most: usize, of: usize },
    #[error("{} cannot be watched: {}", .0.display(), .1)]
    Directory(PathBuf, String),
    #[error("{} is on {}, where not every change makes an event", .0.display(), .1)]
    FileSystem(PathBuf, &'static str),
}

impl Trouble {
    /// The trouble that keeps a watcher from being made.
    pub(super) fn of_inotify(error: notify::Error) -> Self {
        match &error.kind {
            ErrorKind::Io(fault) if Errno::from_io_error(fault) == Some(Errno::MFILE) => {
                Self::Instances(fault.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }

    /// The trouble that keeps one directory from being watched.
    pub(super) fn of_directory(path: &Path, error: notify::Error) -> Self {
        match error.kind {
            ErrorKind::MaxFilesWatch => Self::Watches(path.to_owned()),
            ErrorKind::Io(fault) => Self::Directory(path.to_owned(), fault.to_string()),
            _ => Self::Directory(path.to_owned(), error.to_string()),
        }
    }

    /// Whether the next directory cannot be watched either.
    pub(super) fn stops_watching(&self) -> bool {
        match self {
            Self::Instances(_) | Self::Unavailable(_) | Self::Dead | Self::Watches(_) => true,
            Self::Many { .. } | Self::Directory(..) | Self::FileSystem(..) => false,
        }
    }
}

/// Whether the directory's file system hides changes from inotify; it is watched all the same.
pub(super) fn of_file_system(directory: &Path) -> Option<Trouble> {
    // `f_type` is signed on some machines; every number fits in 32 bits.
    let magic = rustix::fs::statfs(directory).ok()?.f_type as u32;
    let (_, name) = UNRELIABLE.iter().find(|(known, _)| *known == magic)?;
    Some(Trouble::FileSystem(directory.to_owned(), name))
}

/// File systems that other machines or user processes change, or that hide a lower layer's changes.
///
/// The numbers are from `statfs(2)` and `linux/magic.h`.
const UNRELIABLE: [(u32, &str); 18] = [
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x794c_7630, "overlayfs"),
    (0x6175_6673, "aufs"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x786f_4256, "a VirtualBox share"),
];

/// What one update came upon: one of each kind of trouble, since there may be one for each directory.
#[derive(Debug, Default)]
pub(super) struct Found {
    kinds: HashSet<Discriminant<Trouble>>,
    troubles: Vec<Trouble>,
}

impl Found {
    pub(super) fn extend(&mut self, troubles: impl IntoIterator<Item = Trouble>) {
        for trouble in troubles {
            if self.kinds.insert(mem::discriminant(&trouble)) {
                self.troubles.push(trouble);
            }
        }
    }

    /// Whether no further directory can be watched.
    pub(super) fn stops_watching(&self) -> bool {
        self.troubles.iter().any(Trouble::stops_watching)
    }
}

/// Which kinds of trouble have been told.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    told: HashSet<Discriminant<Trouble>>,
}

impl Troubles {
    /// Warns of each kind of trouble that was not there the last time.
    pub(super) fn report(&mut self, found: &Found) -> Watching {
        let (before, troubles) = (mem::take(&mut self.told), &found.troubles);
        for trouble in troubles {
            let kind = mem::discriminant(trouble);
            if self.told.insert(kind) && !before.contains(&kind) {
                tracing::warn!(
                    reason = %trouble,
                    "changes cannot all be watched: files are looked at every second instead"
                );
            }
        }
        if !troubles.is_empty() {
            return Watching::Partial;
        }
        if !before.is_empty() {
            tracing::info!("every directory is watched again");
        }
        Watching::Full
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_limit_is_told_with_the_sysctl_that_raises_it() {
        let instances = notify::Error::io(io::Error::from(Errno::MFILE));
        let told = Trouble::of_inotify(instances).to_string();
        assert!(told.contains("fs.inotify.max_user_instances"), "{told}");
        let watches = notify::Error::new(ErrorKind::MaxFilesWatch);
        let told = Trouble::of_directory(Path::new("/var/log"), watches).to_string();
        assert!(told.contains("fs.inotify.max_user_watches") && told.contains("/var/log"), "{told}");
    }

    #[test]
    fn no_trouble_is_full_and_any_is_partial() {
        let mut troubles = Troubles::default();
        let found = |all: &[Trouble]| {
            let mut found = Found::default();
            found.extend(all.iter().cloned());
            found
        };
        assert_eq!(troubles.report(&found(&[])), Watching::Full);
        assert_eq!(troubles.report(&found(&[Trouble::Dead])), Watching::Partial);
        let many = found(&[Trouble::Dead, Trouble::Watches("/".into()), Trouble::Watches("/log".into())]);
        assert!(many.stops_watching());
        assert_eq!(troubles.report(&many), Watching::Partial);
        assert_eq!(troubles.told.len(), 2);
        assert_eq!(troubles.report(&found(&[])), Watching::Full);
        assert_eq!(troubles.told.len(), 0);
    }

    #[test]
    fn a_file_system_of_this_machine_is_reliable() {
        assert_eq!(of_file_system(Path::new("/proc")), None);
        assert_eq!(of_file_system(Path::new("/no such directory")), None);
    }
}
