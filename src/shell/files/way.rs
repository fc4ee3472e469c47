//! The way to a directory, past links that may be trusted only.
//!
//! The daemon may read what the writers of its log directories may not, so that a link which one of them made is a
//! stranger's word. Goes from directory to directory by descriptors, and sees each link before it goes through. Knows
//! whose links are trusted. Does not know what is wanted at the end. Called by `open`, and by the survey through
//! `directory`.
//!
//! *Invariant:* where a descriptor was got, each link on the way was made by root, by this user, or by the owner of what it
//! leads to.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Look, Refusal};

/// Only a place to go on from: touches neither devices nor FIFOs.
const TO_PASS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// To go on from a directory. Asked for one, the kernel mounts what is to be mounted there.
pub(super) const TO_GO_ON: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// As many symbolic links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;

/// Why a way leads nowhere.
#[derive(Debug)]
pub(super) enum Fault {
    Kernel(Errno),
    Refused(Refusal),
}

impl From<Errno> for Fault {
    fn from(fault: Errno) -> Self {
        Self::Kernel(fault)
    }
}

/// A directory to go on from, behind trusted links only.
///
/// # Errors
/// [`Errno::NOTDIR`] for anything else, as a rule: behind a link, what it is, is for the caller to see.
pub(super) fn through_trusted_links(path: &Path) -> Result<OwnedFd, Fault> {
    match rustix::fs::openat2(CWD, path, TO_GO_ON, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // A link somewhere; or a kernel before 5.6, or a sandbox, that knows no openat2.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => {}
        other => return other.map_err(Fault::Kernel),
    }
    Way { links_left: MAX_LINKS }.follow(root()?, path)
}

fn root() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/", TO_PASS, Mode::empty())
}

/// A walk from directory to directory that sees each link before it goes through.
struct Way {
    links_left: u32,
}

impl Way {
    fn follow(&mut self, from: OwnedFd, path: &Path) -> Result<OwnedFd, Fault> {
        let mut here = from;
        for component in path.components() {
            here = match component {
                Component::RootDir | Component::Prefix(_) => root()?,
                Component::CurDir => here,
                Component::ParentDir => rustix::fs::openat(&here, "..", TO_PASS, Mode::empty())?,
                Component::Normal(name) => self.enter(here, name)?,
            };
        }
        Ok(here)
    }

    fn enter(&mut self, here: OwnedFd, name: &OsStr) -> Result<OwnedFd, Fault> {
        let next = rustix::fs::openat(&here, name, TO_PASS, Mode::empty())?;
        let link = Look::of(&next)?;
        if link.kind != FileType::Symlink {
            return Ok(next);
        }
        self.links_left = self.links_left.checked_sub(1).ok_or(Errno::LOOP)?;
        let target = rustix::fs::readlinkat(&next, c"", Vec::new())?;
        let end = self.follow(here, Path::new(OsStr::from_bytes(target.as_bytes())))?;
        let ours = [0, rustix::process::geteuid().as_raw(), Look::of(&end)?.owner];
        if ours.contains(&link.owner) { Ok(end) } else { Err(Fault::Refused(Refusal::ForeignLink)) }
    }
}
