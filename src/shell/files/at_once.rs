//! Reads of what the kernel has in memory, done where they are asked for.
//!
//! To hand a read to another thread, and to wake up for its answer, costs many times what the read of an appended line does.
//! The file systems of this machine's disks can be asked for no more than what is there (`RWF_NOWAIT`, preadv2(2)), and then
//! say so instead of waiting for a disk. Network file systems promise nothing of the kind, and those in user space wait for
//! a process. Nor may a read have the time of the last access written, which may wait for a journal.
//!
//! Knows of which files such reads are safe. Does not know what is to be read. Called by the daemon on its loop, but for
//! [`AtOnce::of`].
//!
//! *Invariant:* but for [`AtOnce::of`], nothing here waits. What was read is what a read on a thread would have brought.

use std::cell::RefCell;
use std::fs::File;
use std::io::IoSliceMut;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{OFlags, StatVfsMountFlags, fcntl_getfl, fcntl_setfl, fstat, fstatfs, fstatvfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::modified_at;
use crate::model::identity::{Fingerprint, HEAD_BYTES};
use crate::model::offset::Offset;

/// The most that is read at once, in bytes: some 10 µs of copying. Whoever has more to read is served well by a thread.
const MAX_BYTES: usize = 64 * 1024;

/// File systems on disks of this machine, by what `statfs` calls them (`linux/magic.h`).
const LOCAL: [u32; 4] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0xf2f5_2010, // F2FS
];

/// Whether a file can be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    May,
    Never,
}

/// What came of a read at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was read, when the file was last written, where its end was reached, and whether it began as was asked.
    Read { bytes: Bytes, modified: Option<Duration>, begins: bool },
    /// A thread is to read this: it may take a while, or needs more care.
    Later,
    /// The file system cannot be asked.
    Never,
}

impl AtOnce {
    /// Looks at an open file, and has its reads leave no time of access. Blocks.
    pub fn of(file: &File) -> Self {
        // The kernel's numbers have 32 bits; how wide the field is, and whether it is signed, depends on the machine.
        let is_local = fstatfs(file).is_ok_and(|system| LOCAL.contains(&(system.f_type as u32)));
        if is_local && leaves_no_time(file) { Self::May } else { Self::Never }
    }

    /// Reads `len` bytes at `at`, fewer only at the end of the file, and whether it begins so.
    pub fn read(self, file: &File, at: Offset, len: usize, begins: Fingerprint) -> Answer {
        match self {
            Self::May => read(file, at, len, begins),
            Self::Never => Answer::Never,
        }
    }
}

/// Whether reads write no time of access, because that was asked for, which only a file's owner may, or because the mount
/// has none.
fn leaves_no_time(file: &File) -> bool {
    let asks = || fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NOATIME);
    let none = StatVfsMountFlags::NOATIME | StatVfsMountFlags::RDONLY;
    asks().is_ok() || fstatvfs(file).is_ok_and(|system| system.f_flag.intersects(none))
}

thread_local! {
    /// What is read into: one thread does all of this.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn read(file: &File, at: Offset, len: usize, begins: Fingerprint) -> Answer {
    let Ok(stat) = fstat(file) else { return Answer::Later };
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    // What became shorter is none of those that are read often.
    let Some(there) = size.checked_sub(at.bytes()) else { return Answer::Later };
    let there = usize::try_from(there).map_or(len, |there| there.min(len));
    if there >= MAX_BYTES {
        return Answer::Later;
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let piece = len.min(MAX_BYTES);
        if scratch.len() < piece {
            scratch.resize(piece, 0);
        }
        let into = &mut scratch[..piece];
        let got = match preadv2(file, &mut [IoSliceMut::new(into)], at.bytes(), ReadWriteFlags::NOWAIT) {
            Ok(got) => got,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::ACCESS) => {
                return Answer::Never;
            }
            // It would wait, or a thread finds out why it fails.
            Err(_) => return Answer::Later,
        };
        // Where the kernel stopped short of the size, what follows is not in memory; where it filled what it was given, more
        // may have come. NULs at the end may be room that a program reserved.
        if got < there || (got == piece && got < len) || into[..got].last() == Some(&0) {
            return Answer::Later;
        }
        // Asked for before: what was written in its place since is found to be newer.
        let modified = if got < len { modified_at(&stat, at.plus(got as u64)) } else { None };
        let bytes = Bytes::copy_from_slice(&into[..got]);
        match begins_at_once(file, begins) {
            Some(begins) => Answer::Read { bytes, modified, begins },
            None => Answer::Later,
        }
    })
}

/// Whether the file begins so; `None` where that is not in memory.
fn begins_at_once(file: &File, begins: Fingerprint) -> Option<bool> {
    if begins.is_empty() {
        return Some(true);
    }
    let mut head = [0; HEAD_BYTES];
    let head = &mut head[..usize::from(begins.len()).min(HEAD_BYTES)];
    let got = preadv2(file, &mut [IoSliceMut::new(head)], 0, ReadWriteFlags::NOWAIT).ok()?;
    (got == head.len()).then(|| begins.matches(head))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are read")]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::shell::files::{modified_at_end, read_content};

    fn file_of(content: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    /// Whatever a file system can be asked: what is read at once is what a thread reads.
    #[test]
    fn what_is_read_at_once_is_what_a_thread_reads() {
        let long: Vec<u8> = (0..MAX_BYTES * 2).map(|at| (at % 251) as u8 | 1).collect();
        let contents = [b"".as_slice(), b"one\n", b"one\ntwo", b"one\n\0\0", b"a\0b\n", &long];
        for content in contents {
            let file = file_of(content);
            for at in [0, 1, 4, 6, 7, 100, MAX_BYTES as u64, 2 * MAX_BYTES as u64, 1 << 40] {
                for len in [0, 1, 3, 4, 100, MAX_BYTES - 1, MAX_BYTES, MAX_BYTES + 1, 4 * MAX_BYTES] {
                    let at = Offset::new(at);
                    let Answer::Read { bytes, modified, begins } = read(&file, at, len, Fingerprint::none())
                    else {
                        continue;
                    };
                    assert!(begins);
                    let expected = read_content(&file, at, len, 0);
                    assert_eq!(Ok((bytes.clone(), 0)), expected, "{len} at {at}");
                    let end = at.plus(bytes.len() as u64);
                    let expected = (bytes.len() < len).then(|| modified_at_end(&file, end)).flatten();
                    assert_eq!(modified, expected, "{len} at {at}");
                }
            }
        }
    }

    #[test]
    fn what_needs_care_or_takes_a_while_is_left_to_a_thread() {
        let long = file_of(&vec![b'x'; MAX_BYTES]);
        let short = file_of(b"one\n\0\0");
        let rows = [
            ("too much", &long, 0, MAX_BYTES * 4),
            ("NULs at the end", &short, 0, 100),
            ("shorter than it was", &short, 7, 100),
        ];
        for (name, file, at, len) in rows {
            assert_eq!(
                AtOnce::Never.read(file, Offset::new(at), len, Fingerprint::none()),
                Answer::Never,
                "{name}"
            );
            let answer = read(file, Offset::new(at), len, Fingerprint::none());
            assert!(matches!(answer, Answer::Later | Answer::Never), "{name}: {answer:?}");
        }
    }

    /// Where the machine's temporary files lie on such a disk, and elsewhere nothing is claimed.
    #[test]
    fn an_appended_line_is_read_at_once_from_a_disk_of_this_machine() {
        let file = file_of(b"one\ntwo\n");
        let modified = modified_at_end(&file, Offset::new(8));
        assert!(modified.is_some());
        for (beginning, begins) in [(&b"one\n"[..], true), (b"two\n", false), (b"", true)] {
            let known = Fingerprint::of(beginning);
            let answer = AtOnce::of(&file).read(&file, Offset::new(4), 256 * 1024, known);
            let expected = [Answer::Read { bytes: "two\n".into(), modified, begins }, Answer::Never];
            assert!(expected.contains(&answer), "{answer:?}");
            assert_eq!(crate::shell::files::begins(&file, known), begins);
        }
        assert!(!crate::shell::files::begins(&file, Fingerprint::of(b"one\ntwo\nthree\n")), "it is shorter");
    }

    #[test]
    fn files_of_kernel_and_memory_are_never_read_at_once() {
        for path in ["/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"] {
            let Ok(file) = File::open(path) else { continue };
            assert_eq!(AtOnce::of(&file), AtOnce::Never, "{path}");
        }
    }
}
