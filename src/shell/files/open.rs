//! Opening a file without being led astray.
//!
//! The daemon may read what the writers of its log directories may not, so a name in such a directory is a
//! stranger's word. It knows which links may be trusted and that only regular files are read; it does not know
//! what the survey saw a moment ago, which may have been replaced since. Called by the daemon.
//!
//! *Invariant:* what is opened is checked through its descriptor, never through its name.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::places::refuse_open;
use super::way::{self, Fault};
use super::{Look, Reach, Refusal};
use crate::engine::port::{FileFault, Opened};
use crate::model::identity::{HEAD_BYTES, Identity};
use crate::model::offset::Offset;

/// `O_NONBLOCK`: a FIFO without a writer, or a file under a lease, must not hold the thread. `O_NOCTTY`: a
/// terminal must not become ours.
const TO_READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Touches neither devices nor FIFOs.
const TO_FIND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens a regular file for reading and looks at its beginning.
///
/// Where `reach` allows no link, the name itself must not be one. A directory on the way may be one (`/var/log`
/// often is) if root, this user, or the owner of what it leads to made it: any other link is a way for its maker
/// to have files read that are not theirs. Hard links cannot be told apart; `fs.protected_hardlinks` is the
/// kernel's answer to those.
///
/// # Errors
/// [`FileFault::Gone`] when there is no such file, [`FileFault::NoDescriptor`] when no more can be open; otherwise [`FileFault::Unreadable`], with the path.
pub fn open(path: &Path, reach: Reach<'_>) -> Result<(File, Opened), FileFault> {
    let refuse =
        |refusal: Refusal| FileFault::Unreadable(format!("{}: {}", path.display(), refusal.at(path)));
    let found = if reach.follows() {
        rustix::fs::open(path, TO_FIND, Mode::empty()).map_err(Fault::Kernel)
    } else {
        find_unlinked(path)
    };
    let (file, place) = match found.and_then(|found| reopen(path, &found, reach)) {
        Ok((file, place)) => (File::from(file), place),
        Err(Fault::Kernel(Errno::NOENT | Errno::NOTDIR)) => return Err(FileFault::Gone),
        Err(Fault::Kernel(Errno::MFILE | Errno::NFILE)) => return Err(FileFault::NoDescriptor),
        Err(Fault::Kernel(fault)) => return Err(refuse(Refusal::of(fault))),
        Err(Fault::Refused(refusal)) => return Err(refuse(refusal)),
    };
    let look = Look::of(&file).map_err(|fault| refuse(Refusal::of(fault)))?;
    let head = super::read(&file, Offset::ZERO, HEAD_BYTES).map_err(|fault| match fault {
        FileFault::Gone | FileFault::NoDescriptor => fault,
        FileFault::Unreadable(why) => FileFault::Unreadable(format!("{}: {why}", path.display())),
    })?;
    let opened =
        Opened { identity: look.identity, size: look.size, head, held: None, place: place.map(Arc::from) };
    Ok((file, opened))
}

/// Whether the kernel says of an open file that it has this identity now.
pub fn is_still(file: &File, identity: Identity) -> bool {
    Look::of(file).is_ok_and(|look| look.identity == identity)
}

/// Opens for reading what was found, if it is a regular file where logs may be.
///
/// To look, nothing is opened: a device may act when it is, and a FIFO wakes who writes into it. Where links are followed,
/// the place is told that they led to, if it is another.
fn reopen(path: &Path, found: &OwnedFd, reach: Reach<'_>) -> Result<(OwnedFd, Option<PathBuf>), Fault> {
    let look = Look::of(found)?;
    match look.kind {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(Fault::Refused(Refusal::Link)),
        _ => return Err(Fault::Refused(Refusal::NotRegular(look.noun()))),
    }
    if let Some(refusal) = refuse_open(found) {
        return Err(Fault::Refused(refusal));
    }
    let place = format!("/proc/self/fd/{}", found.as_raw_fd());
    let real = reach.follows().then(|| std::fs::read_link(&place).map(|real| undeleted(real, found)));
    if matches!(reach, Reach::Into(_)) {
        let unknown = |fault| Refusal::Failed(format!("where it leads cannot be told: {place}: {fault}"));
        let real = real.as_ref().expect("links are followed").as_ref();
        let real = real.map_err(|fault| Fault::Refused(unknown(fault)))?;
        if !reach.holds(path, real) {
            return Err(Fault::Refused(Refusal::Elsewhere(real.clone())));
        }
    }
    let file = match rustix::fs::open(&place, TO_READ, Mode::empty()) {
        // Where no proc is mounted, the name is opened once more, and is the file that was looked at, or nothing.
        Err(Errno::NOENT | Errno::NOTDIR) => {
            let again = rustix::fs::open(path, TO_READ, Mode::empty())?;
            let is_same = Look::of(&again)?.identity == look.identity;
            if is_same { Ok(again) } else { Err(Fault::Kernel(Errno::NOENT)) }
        }
        opened => opened.map_err(Fault::Kernel),
    }?;
    Ok((file, real.and_then(Result::ok).filter(|real| real != path)))
}

/// What the kernel calls an open file, without the words that it adds when the name is gone.
fn undeleted(real: PathBuf, found: &OwnedFd) -> PathBuf {
    let is_gone = rustix::fs::fstat(found).is_ok_and(|stat| stat.st_nlink == 0);
    let name = is_gone.then(|| real.as_os_str().as_bytes().strip_suffix(b" (deleted)")).flatten();
    name.map(|name| PathBuf::from(OsStr::from_bytes(name))).unwrap_or(real)
}

/// Finds what has a name that is no link, past trusted links only.
fn find_unlinked(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = TO_FIND | OFlags::NOFOLLOW;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // A link somewhere; or a kernel before 5.6, or a sandbox, that knows no openat2.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => {}
        other => return other.map_err(Fault::Kernel),
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Fault::Refused(Refusal::NotRegular("a directory")));
    };
    let parent = way::through_trusted_links(parent)?;
    rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(|fault| match fault {
        Errno::LOOP => Fault::Refused(Refusal::Link),
        other => Fault::Kernel(other),
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are opened")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, lchown, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::super::Links;
    use super::*;

    fn open(path: &Path, follow_symlinks: bool) -> Result<(File, Opened), FileFault> {
        super::open(path, Reach::new(follow_symlinks, &[]))
    }

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn file(&self, name: &str, content: &str) -> PathBuf {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }

        fn link(&self, name: &str, target: impl AsRef<Path>) -> PathBuf {
            let path = self.path(name);
            symlink(target, &path).unwrap();
            path
        }
    }

    fn refusal(path: &Path, follow_symlinks: bool) -> String {
        match open(path, follow_symlinks).unwrap_err() {
            FileFault::Unreadable(why) => {
                let named = format!("{}: ", path.display());
                why.strip_prefix(&named).unwrap_or_else(|| panic!("no path in {why}")).to_owned()
            }
            other => panic!("{path:?}: {other}"),
        }
    }

    #[test]
    fn a_regular_file_opens_with_its_identity_and_beginning() {
        let place = Place::new();
        let long = "x".repeat(HEAD_BYTES + 1);
        for content in ["", "one\ntwo\n", &long] {
            let path = place.file("app.log", content);
            for follow in [false, true] {
                let (_file, opened) = open(&path, follow).unwrap();
                assert_eq!(opened.identity, Look::at(&path, Links::Keep).unwrap().identity);
                assert_eq!(opened.size, content.len() as u64);
                assert_eq!(opened.head, content[..content.len().min(HEAD_BYTES)]);
            }
        }
    }

    #[test]
    fn what_is_not_there_is_gone() {
        let place = Place::new();
        let file = place.file("app.log", "");
        let dangling = place.link("dangling", "nowhere");
        assert_eq!(open(&place.path("none"), false).unwrap_err(), FileFault::Gone);
        assert_eq!(open(&place.path("no/dir"), false).unwrap_err(), FileFault::Gone);
        assert_eq!(open(&file.join("below"), false).unwrap_err(), FileFault::Gone);
        assert_eq!(open(&dangling, true).unwrap_err(), FileFault::Gone);
    }

    /// S13: links, and in the tests below what is no regular file.
    #[test]
    fn a_link_opens_only_when_links_are_followed() {
        let place = Place::new();
        let target = place.file("target", "hello\n");
        let link = place.link("app.log", &target);
        assert_eq!(refusal(&link, false), Refusal::Link.to_string());
        assert_eq!(open(&link, true).unwrap().1.head, "hello\n");
        let dangling = place.link("dangling", "nowhere");
        assert_eq!(refusal(&dangling, false), Refusal::Link.to_string());
        let turning = place.link("turning", "turning");
        assert_eq!(refusal(&turning, false), Refusal::Link.to_string());
        assert_eq!(refusal(&turning, true), Refusal::Loop.to_string());
    }

    #[test]
    fn nothing_but_a_regular_file_opens_and_nothing_blocks() {
        let place = Place::new();
        let fifo = place.path("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let socket = place.path("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, kind) in [
            (fifo.as_path(), "a FIFO"),
            (&socket, "a socket"),
            (place.dir.path(), "a directory"),
            (Path::new("/"), "a directory"),
            (Path::new("/dev/null"), "a character device"),
        ] {
            for follow in [false, true] {
                assert_eq!(refusal(path, follow), format!("not a regular file but {kind}"), "{path:?}");
            }
        }
        let link = place.link("link", &fifo);
        assert_eq!(refusal(&link, true), "not a regular file but a FIFO");
    }

    #[test]
    fn a_file_of_the_kernels_does_not_open() {
        let place = Place::new();
        let link = place.link("app.log", "/proc/self/status");
        for (path, follow) in
            [(Path::new("/proc/self/mounts"), true), (&link, true), (Path::new("/proc/stat"), false)]
        {
            assert_eq!(refusal(path, follow), Refusal::OfTheKernel("proc").to_string(), "{path:?}");
        }
    }

    #[test]
    fn a_directory_on_the_way_may_be_a_link_of_ours() {
        let place = Place::new();
        place.file("real/deep/app.log", "hello\n");
        place.link("relative", "real/deep");
        place.link("absolute", place.path("real"));
        place.link("real/up", "../relative/../deep");
        for name in ["relative/app.log", "absolute/deep/app.log", "absolute/up/app.log"] {
            assert_eq!(open(&place.path(name), false).unwrap().1.head, "hello\n", "{name}");
        }
        place.link("ping", "pong");
        place.link("pong", "ping");
        assert_eq!(refusal(&place.path("ping/app.log"), false), Refusal::Loop.to_string());
    }

    /// Needs the right to give files away.
    #[test]
    fn a_strangers_link_leads_only_to_what_is_theirs() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        const STRANGER: u32 = 12_345;
        let place = Place::new();
        place.file("ours/app.log", "secret\n");
        place.file("theirs/app.log", "hello\n");
        chown(place.path("theirs"), Some(STRANGER), None).unwrap();
        for (link, target) in [("to-ours", "ours"), ("to-theirs", "theirs")] {
            lchown(place.link(link, target), Some(STRANGER), None).unwrap();
        }
        assert_eq!(refusal(&place.path("to-ours/app.log"), false), Refusal::ForeignLink.to_string());
        assert_eq!(open(&place.path("to-theirs/app.log"), false).unwrap().1.head, "hello\n");
        assert_eq!(open(&place.path("to-ours/app.log"), true).unwrap().1.head, "secret\n");
    }

    /// What is looked at is where the open file lies, whatever links led there.
    #[test]
    fn a_link_that_is_followed_leads_into_the_directories_that_are_named() {
        let place = Place::new();
        place.file("pods/app/0.log", "hello\n");
        place.file("secret/key", "secret\n");
        let targets = [place.path("pods/")];
        let reach = Reach::new(true, &targets);
        let inside = place.link("app.log", place.path("pods/app/0.log"));
        let outside = place.link("key.log", place.path("secret/key"));
        let (up, way) = (place.link("up.log", "pods/../secret/key"), place.link("way", place.path("secret")));
        let plain = place.file("plain.log", "plain\n");
        for (path, text) in [(&inside, "hello\n"), (&plain, "plain\n")] {
            assert_eq!(super::open(path, reach).unwrap().1.head, text, "{path:?}");
        }
        let elsewhere = Refusal::Elsewhere(place.path("secret/key")).to_string();
        for path in [outside, up, way.join("key")] {
            match super::open(&path, reach) {
                Err(FileFault::Unreadable(why)) => assert!(why.ends_with(&elsewhere), "{why}"),
                other => panic!("{path:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_file_replaced_after_it_was_seen_shows_its_own_identity() {
        let place = Place::new();
        let path = place.file("app.log", "old\n");
        let seen = Look::at(&path, Links::Keep).unwrap().identity;
        fs::rename(&path, place.path("app.log.1")).unwrap();
        place.file("app.log", "new\n");
        let (_file, opened) = open(&path, false).unwrap();
        assert_ne!(opened.identity, seen);
        assert_eq!(opened.head, "new\n");
    }

    #[test]
    fn an_open_file_is_read_on_after_its_name_is_gone() {
        let place = Place::new();
        let path = place.file("app.log", "last words\n");
        let (file, opened) = open(&path, false).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(super::super::read(&file, Offset::ZERO, 100).unwrap(), "last words\n");
        assert_eq!(Look::of(&file).unwrap().identity, opened.identity);
    }
}
