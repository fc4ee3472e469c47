//! Room that a program reserved at the end of a file, and that reads as NULs.
//!
//! A program that preallocates its log (`fallocate`, `ftruncate`, a mapping) fills it from its beginning: what is not
//! filled yet is no content, and a reader that took it for lines would be beyond the lines to come. The kernel knows holes;
//! NULs that were written are looked at, some MiB far. Used by the daemon on blocking threads.
//!
//! *Invariant:* nothing is taken away but NULs that reach to the end of the file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::read;
use crate::engine::port::FileFault;
use crate::model::offset::Offset;

/// The shortest run of NULs at the end of a read that is followed beyond it, in bytes: a page.
const MIN_RUN_BYTES: usize = 4096;

/// How far written NULs are followed, in bytes.
const MAX_RUN_BYTES: u64 = 8 * 1024 * 1024;

/// Reads as [`read`](super::read()) does, but for NULs behind the first `before` bytes that reach to the end of the file.
/// Returns with what is there how many of those follow, up to that end.
///
/// # Errors
/// Those of [`read`](super::read()).
pub fn read_content(file: &File, at: Offset, len: usize, before: usize) -> Result<(Bytes, u64), FileFault> {
    let bytes = read(file, at, len)?;
    let fresh = bytes.get(before..).unwrap_or_default();
    let run = fresh.iter().rev().take_while(|byte| **byte == 0).count();
    let content = bytes.len() - run;
    let (from, until) = (at.plus(content as u64), at.plus(bytes.len() as u64));
    let end = match run {
        0 => None,
        _ if bytes.len() < len => Some(until.bytes()),
        _ if run < MIN_RUN_BYTES => None,
        _ => end_of_room(file, from, until),
    };
    let room = end.map(|end| end.saturating_sub(from.bytes()));
    Ok(room.map_or((bytes.clone(), 0), |room| (bytes.slice(..content), room)))
}

/// Where the file ends, if nothing but NULs follows up to there; `from` up to `until` are some.
fn end_of_room(file: &File, from: Offset, until: Offset) -> Option<u64> {
    // Asked for before: data that is appended meanwhile is not in the hole.
    let size = rustix::fs::fstat(file).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
    if let Ok(hole) = rustix::fs::seek(file, SeekFrom::Hole(from.bytes()))
        && hole < until.bytes()
        && rustix::fs::seek(file, SeekFrom::Data(hole)) == Err(Errno::NXIO)
    {
        return size;
    }
    const PIECE: usize = 64 * 1024;
    let mut piece = vec![0; PIECE];
    let mut at = until.bytes();
    while at - until.bytes() < MAX_RUN_BYTES {
        match file.read_at(&mut piece, at) {
            Ok(0) => return Some(at),
            Ok(got) if piece[..got].iter().all(|byte| *byte == 0) => at += got as u64,
            Ok(_) | Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are read")]
mod tests {
    use super::*;

    fn file_of(write: impl FnOnce(&File)) -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        write(&file);
        (dir, file)
    }

    /// How the file is made; from where, how much, and how much of that was read before; how long what comes is, and the room
    /// behind it.
    #[test]
    fn room_at_the_end_is_no_content_and_other_nuls_are() {
        const MIB: usize = 1024 * 1024;
        let sparse = |file: &File| {
            file.set_len(2 << 20).unwrap();
            file.write_all_at(b"line\n", 0).unwrap();
        };
        let written = |file: &File| file.write_all_at(&[b"line\n", &[0; 2 * MIB][..]].concat(), 0).unwrap();
        let far = |file: &File| file.write_all_at(&[b"line\n", &vec![0; 20 * MIB][..]].concat(), 0).unwrap();
        let filled = |file: &File| {
            sparse(file);
            file.write_all_at(b"x", 2 << 20).unwrap();
        };
        let short = |file: &File| file.write_all_at(b"line\nab\0\0", 0).unwrap();
        let line = |file: &File| file.write_all_at(b"a\0\0\n", 0).unwrap();
        type Row<'a> = (&'a str, &'a dyn Fn(&File), u64, usize, usize, (usize, u64));
        let rows: [Row<'_>; 10] = [
            ("a hole, read together with lines", &sparse, 0, 256 * 1024, 0, (5, (2 << 20) - 5)),
            ("a hole alone", &sparse, 5, 256 * 1024, 0, (0, (2 << 20) - 5)),
            ("behind what was read", &sparse, 0, 256 * 1024, 5, (5, (2 << 20) - 5)),
            ("what was read is kept", &sparse, 5, 256 * 1024, 300, (300, (2 << 20) - 305)),
            ("NULs that were written", &written, 0, 256 * 1024, 0, (5, 2 << 20)),
            ("more of them than are looked at", &far, 0, 256 * 1024, 0, (256 * 1024, 0)),
            ("a hole with data behind it", &filled, 0, 256 * 1024, 0, (256 * 1024, 0)),
            ("the data behind it", &filled, (2 << 20) - 3, 256 * 1024, 0, (4, 0)),
            ("a few at the end", &short, 0, 100, 0, (7, 2)),
            ("within a line", &line, 0, 100, 0, (4, 0)),
        ];
        for (name, make, at, len, before, expected) in rows {
            let (_dir, file) = file_of(make);
            let (found, room) = read_content(&file, Offset::new(at), len, before).unwrap();
            assert_eq!((found.len(), room), expected, "{name}");
        }
    }
}
