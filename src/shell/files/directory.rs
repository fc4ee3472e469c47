//! One directory, held open: what is listed and looked at in it is in it, whatever its name leads to meanwhile.
//!
//! Knows the names, and as much about each as the directory itself says. Does not know which are wanted. Called by the
//! survey.
//!
//! *Invariant:* nothing that lies elsewhere is shown under a name of this directory: neither by a directory that is
//! swapped for a link while it is looked at, nor by a link.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::way::{self, Fault, TO_GO_ON};
use super::{Links, Look};

/// To list a directory.
const TO_LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// File systems that only this machine changes: ext4, XFS, Btrfs, F2FS and tmpfs, by the numbers of `linux/magic.h`.
const OF_THIS_MACHINE: [u32; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// A directory to go on from.
#[derive(Debug)]
pub(super) struct Directory {
    place: OwnedFd,
    pub(super) look: Look,
}

impl Directory {
    /// Opens the directory at `path`; where links are not followed, past trusted ones only.
    ///
    /// # Errors
    /// [`Errno::NOTDIR`] when it is something else; otherwise what keeps anybody from going there.
    pub(super) fn open(path: &Path, links: Links) -> Result<Self, Fault> {
        let place = match links {
            Links::Follow => rustix::fs::openat(CWD, path, TO_GO_ON, Mode::empty())?,
            Links::Keep => way::through_trusted_links(path)?,
        };
        let look = Look::of(&place)?;
        match look.kind {
            FileType::Directory => Ok(Self { place, look }),
            _ => Err(Fault::Kernel(Errno::NOTDIR)),
        }
    }

    /// Whether nothing but this machine's kernel changes what is in it, and each change is told by a time.
    pub(super) fn is_changed_here_alone(&self) -> bool {
        // `f_type` is signed on some machines; every number fits in 32 bits.
        rustix::fs::fstatfs(&self.place).is_ok_and(|system| OF_THIS_MACHINE.contains(&(system.f_type as u32)))
    }

    /// Looks at a name in it; of a link, at the link itself.
    pub(super) fn look(&self, name: &OsStr) -> Result<Look, Errno> {
        Look::below(&self.place, name)
    }

    /// What is in it, which is called `path`: sorted, so that two surveys of the same tree walk the same way.
    pub(super) fn list(&self, path: &Path) -> Result<Arc<[Entry]>, Errno> {
        let open = rustix::fs::openat(&self.place, c".", TO_LIST, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::new(open)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if [&b"."[..], b".."].contains(&name.as_bytes()) {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system says it in its listings. Gone meanwhile: the look at it will tell.
                FileType::Unknown => {
                    self.look(name).map_or(EntryKind::Other, |look| EntryKind::of(look.kind))
                }
                known => EntryKind::of(known),
            };
            entries.push(Entry::new(Arc::from(path.join(name)), kind));
        }
        entries.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        Ok(Arc::from(entries))
    }
}

/// One name in a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Arc<Path>,
    /// Where in the path the name begins, in bytes: asked for often, and long to find.
    name_from: usize,
    pub(super) kind: EntryKind,
}

impl Entry {
    pub(super) fn new(path: Arc<Path>, kind: EntryKind) -> Self {
        let name = path.file_name().map_or(0, OsStr::len);
        Self { name_from: path.as_os_str().len() - name, path, kind }
    }

    pub(super) fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.path.as_os_str().as_bytes()[self.name_from..])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Directory,
    Link,
    Other,
}

impl EntryKind {
    pub(super) fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the directories that are looked at")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    fn names(directory: &Directory) -> Vec<String> {
        directory
            .list(Path::new("/"))
            .unwrap()
            .iter()
            .map(|entry| entry.name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_directory_that_is_swapped_for_a_link_shows_what_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, secret) = (dir.path().join("logs"), dir.path().join("secret"));
        fs::create_dir(&logs).unwrap();
        fs::create_dir(&secret).unwrap();
        fs::write(logs.join("b.log"), "1").unwrap();
        fs::write(logs.join("a.log"), "22").unwrap();
        fs::write(secret.join("key.log"), "333").unwrap();
        let directory = Directory::open(&logs, Links::Keep).unwrap();
        fs::rename(&logs, dir.path().join("aside")).unwrap();
        symlink(&secret, &logs).unwrap();
        assert_eq!(names(&directory), ["a.log", "b.log"]);
        assert_eq!(directory.look(OsStr::new("a.log")).unwrap().size, 2);
        assert_eq!(directory.look(OsStr::new("key.log")).unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn a_link_to_a_directory_is_gone_through_only_when_it_is_trusted_or_links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, link) = (dir.path().join("logs"), dir.path().join("link"));
        fs::create_dir(&logs).unwrap();
        fs::write(logs.join("a.log"), "").unwrap();
        symlink(&logs, &link).unwrap();
        for links in [Links::Keep, Links::Follow] {
            assert_eq!(names(&Directory::open(&link, links).unwrap()), ["a.log"]);
        }
        assert!(matches!(
            Directory::open(&logs.join("a.log"), Links::Keep),
            Err(Fault::Kernel(Errno::NOTDIR))
        ));
        // Only root can give a link away; the owner of what it leads to is trusted, and nobody else.
        if rustix::process::geteuid().is_root() && lchown(&link, Some(1234), Some(1234)).is_ok() {
            assert!(matches!(Directory::open(&link, Links::Keep), Err(Fault::Refused(_))));
            assert_eq!(names(&Directory::open(&link, Links::Follow).unwrap()), ["a.log"]);
        }
    }
}
