//! What a name or a descriptor leads to, asked with one `statx`.
//!
//! Knows how the kernel spells kinds, devices and birth times. Does not know whether anybody wants the
//! file. Called by the survey, by `open`, and by the watch (for directories).

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use crate::model::identity::Identity;

/// What is to be done with a name that is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shell) enum Links {
    /// Look at what the link leads to.
    Follow,
    /// Look at the link itself.
    Keep,
}

/// What was there at the moment of looking.
#[derive(Clone, Copy, Debug)]
pub(in crate::shell) struct Look {
    pub(in crate::shell) kind: FileType,
    pub(in crate::shell) identity: Identity,
    /// Size in bytes.
    pub(in crate::shell) size: u64,
    /// When the content was last written, since 1970; `None` for a time before.
    pub(in crate::shell) modified: Option<Duration>,
    /// When anything of it was last changed, its status among that, since 1970; `None` for a time before.
    pub(in crate::shell) changed: Option<Duration>,
    /// User id.
    pub(in crate::shell) owner: u32,
}

impl Look {
    /// Looks at a name. Never mounts anything on the way to it.
    pub(in crate::shell) fn at(path: &Path, links: Links) -> Result<Self, Errno> {
        let flags = match links {
            Links::Follow => AtFlags::NO_AUTOMOUNT,
            Links::Keep => AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW,
        };
        rustix::fs::statx(CWD, path, flags, WANTED).map(Self::from)
    }

    /// Looks at a name in a directory; of a link, at the link itself. Mounts nothing.
    pub(in crate::shell) fn below(directory: impl AsFd, name: &OsStr) -> Result<Self, Errno> {
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statx(directory, name, flags, WANTED).map(Self::from)
    }

    /// Looks at what is already open, whatever its name shows by now.
    pub(in crate::shell) fn of(open: impl AsFd) -> Result<Self, Errno> {
        rustix::fs::statx(open, c"", AtFlags::EMPTY_PATH, WANTED).map(Self::from)
    }

    /// The kind of the file in words, article included.
    pub(in crate::shell) fn noun(&self) -> &'static str {
        match self.kind {
            FileType::RegularFile => "a regular file",
            FileType::Directory => "a directory",
            FileType::Symlink => "a symbolic link",
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            FileType::CharacterDevice => "a character device",
            FileType::BlockDevice => "a block device",
            _ => "something unknown",
        }
    }
}

fn since_1970(at: StatxTimestamp) -> Option<Duration> {
    u64::try_from(at.tv_sec).ok().map(|seconds| Duration::new(seconds, at.tv_nsec))
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

impl From<Statx> for Look {
    fn from(statx: Statx) -> Self {
        let born = statx.stx_btime;
        Self {
            kind: FileType::from_raw_mode(u32::from(statx.stx_mode)),
            identity: Identity {
                device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
                inode: statx.stx_ino,
                birth_nanos: (statx.stx_mask & StatxFlags::BTIME.bits() != 0)
                    .then(|| born.tv_sec.checked_mul(1_000_000_000)?.checked_add(i64::from(born.tv_nsec)))
                    .flatten(),
            },
            size: statx.stx_size,
            modified: since_1970(statx.stx_mtime),
            changed: since_1970(statx.stx_ctime),
            owner: statx.stx_uid,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are looked at")]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn an_identity_is_what_the_standard_library_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        fs::write(&path, "12345").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let look = Look::at(&path, Links::Keep).unwrap();
        assert_eq!(look.kind, FileType::RegularFile);
        assert_eq!((look.size, look.owner), (5, metadata.uid()));
        assert_eq!((look.identity.device, look.identity.inode), (metadata.dev(), metadata.ino()));
        let born = metadata.created().ok().map(|at| at.duration_since(UNIX_EPOCH).unwrap());
        assert_eq!(look.identity.birth_nanos, born.map(|born| born.as_nanos() as i64));
    }

    #[test]
    fn a_name_and_its_descriptor_show_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        fs::write(&path, "x").unwrap();
        let open = fs::File::open(&path).unwrap();
        let by_name = Look::at(&path, Links::Keep).unwrap().identity;
        assert_eq!(by_name, Look::of(&open).unwrap().identity);
    }
}
