//! Which file is which: known files against what is seen.
//!
//! - *observed*: a name and what the kernel says of the file behind it
//! - *known*: a file that is held open, or a checkpoint of one
//! - *moved*: the same file under another name; *gone*: under no name that was looked at
//! - *truncated*: the same file without what was read of it: another incarnation. Reads find that out, not looks:
//!   a size may be older than the last read.
//!
//! A name is never an identity, and likeness of content alone never lets a live file skip bytes: in doubt a file
//! is read from its beginning, for duplicates beat loss.
//!
//! Known limits: without birth times (NFS) a recycled inode whose new file begins with the same kilobyte and has
//! the same bytes before the old offset is taken for the old one.

pub mod family;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, unix_nanos};

/// Whether two looks are at the same file, as far as the kernel's word goes.
///
/// Device numbers change when a volume is mounted again, so another device alone is no other file where there is
/// a birth time to tell; without one, it is.
pub fn same_file(stored: Identity, seen: Identity) -> bool {
    let born = stored.birth_nanos.zip(seen.birth_nanos).map(|(stored, seen)| stored == seen);
    stored.inode == seen.inode
        && match born {
            Some(same) => same,
            None => stored.device == seen.device,
        }
}

/// Whether two looks may be at the same file of a file system that was mounted again: the device number is another, and no
/// birth time tells. Only all of the content does.
pub fn may_be_renumbered(stored: Identity, seen: Identity) -> bool {
    let is_told = stored.birth_nanos.is_some() && seen.birth_nanos.is_some();
    stored.inode == seen.inode && stored.device != seen.device && !is_told
}

/// The checkpoint that a freshly opened file goes on from, if any.
///
/// `stored` are the checkpoints of the file's stream that no file has claimed. The window before the offset is
/// checked by the first read. Of several that fit, the one that got furthest is it: a file that was truncated
/// and written again leaves an earlier life behind, and that one's fingerprint or window no longer fits.
pub fn recognise<'a>(
    seen: Identity,
    size: u64,
    head: &[u8],
    stored: impl Iterator<Item = &'a Checkpoint>,
) -> Option<&'a Checkpoint> {
    stored
        .filter(|checkpoint| same_file(checkpoint.identity, seen))
        .filter(|checkpoint| checkpoint.offset.bytes() <= size)
        .filter(|checkpoint| checkpoint.fingerprint.matches(head))
        .max_by_key(|checkpoint| (checkpoint.offset, checkpoint.incarnation))
}

/// Whether a file may have been made after another: not when both have birth times and it is older.
pub fn is_younger(file: Identity, than: Identity) -> bool {
    file.birth_nanos.zip(than.birth_nanos).is_none_or(|(file, than)| file > than)
}

/// Whether a file was last written before it was made: whoever moves one to another file system copies it, and keeps that.
/// What a program writes is as young as its file at least.
pub fn is_moved(file: Identity, modified: Option<Duration>) -> bool {
    modified.map(unix_nanos).zip(file.birth_nanos).is_some_and(|(modified, birth)| modified < birth)
}

/// Whether a rotator compressed the file of this name, by its name, and the name that it had before.
pub fn uncompressed(path: &Path) -> Option<PathBuf> {
    // Of a hundred thousand names, most are told apart by their last bytes.
    let may_be = path.as_os_str().as_encoded_bytes().ends_with(b".gz");
    (may_be && path.extension().is_some_and(|extension| extension == "gz")).then(|| path.with_extension(""))
}

/// The names of files that a file of this name may be a rotator's copy of, compressed or not.
///
/// Rotators add to a name (`app.log.1`, `app.log-20261123`), or put what they add before its extension
/// (`app-20261123.log`).
pub fn originals(copy: &Path) -> Vec<PathBuf> {
    let before = uncompressed(copy);
    let name =
        before.as_deref().unwrap_or(copy).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = name.rfind('.').map_or("", |dot| &name[dot..]);
    let cuts = name.char_indices().skip(1).filter(|(_, letter)| matches!(letter, '.' | '-' | '_'));
    let names = cuts.flat_map(|(at, _)| [name[..at].to_owned(), format!("{}{extension}", &name[..at])]);
    let others = names.filter(|original| original != name).map(|original| copy.with_file_name(original));
    others.chain(before.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::{Fingerprint, Incarnation, Window};
    use crate::model::offset::Offset;
    use crate::model::settled::Settled;

    const HEAD: &[u8] = b"first line\nsecond line\n";

    fn identity(device: u64, inode: u64, birth: Option<i64>) -> Identity {
        Identity { device, inode, birth_nanos: birth }
    }

    fn checkpoint(identity: Identity, head: &[u8], offset: u64) -> Checkpoint {
        Checkpoint {
            incarnation: Incarnation(7),
            stream: "stream".into(),
            path: Path::new("/log/app.log").into(),
            target: None,
            identity,
            origin: identity.into(),
            seen: None,
            skipped_bytes: 0,
            fingerprint: Fingerprint::of(head),
            offset: Offset::new(offset),
            window: Window::default(),
            settled: Settled::default(),
            seen_bytes: 0,
            proof: None,
        }
    }

    /// Each row: what is stored, what is seen, whether reading goes on. The table is the specification.
    #[test]
    fn identity_table() {
        let stored = identity(1, 10, Some(100));
        let unborn = identity(1, 10, None);
        type Row<'a> = (&'a str, Identity, &'a [u8], u64, Identity, &'a [u8], u64, bool);
        let rows: &[Row] = &[
            ("the same file, grown", stored, HEAD, 11, stored, HEAD, 99, true),
            ("the same file, same size", stored, HEAD, 23, stored, HEAD, 23, true),
            ("shorter than the offset", stored, HEAD, 23, stored, &HEAD[..11], 11, false),
            ("another beginning", stored, HEAD, 11, stored, b"other line\nsecond line\n", 99, false),
            ("a short fingerprint is a prefix", stored, &HEAD[..11], 11, stored, HEAD, 23, true),
            ("a short fingerprint of another file", stored, b"other line\n", 11, stored, HEAD, 23, false),
            ("recycled inode, same beginning", stored, HEAD, 11, identity(1, 10, Some(101)), HEAD, 99, false),
            ("another inode, same content", stored, HEAD, 11, identity(1, 11, Some(100)), HEAD, 99, false),
            (
                "mounted again under another device",
                stored,
                HEAD,
                11,
                identity(2, 10, Some(100)),
                HEAD,
                99,
                true,
            ),
            ("no birth time, same device", unborn, HEAD, 11, unborn, HEAD, 99, true),
            ("no birth time, another device", unborn, HEAD, 11, identity(2, 10, None), HEAD, 99, false),
            ("birth time known only now", unborn, HEAD, 11, stored, HEAD, 99, true),
            ("nothing read yet, empty fingerprint", stored, b"", 0, stored, HEAD, 23, true),
        ];
        for (name, identity, head, offset, seen, seen_head, size, expected) in rows {
            let stored = checkpoint(*identity, head, *offset);
            let found = recognise(*seen, *size, seen_head, std::iter::once(&stored));
            assert_eq!(found.is_some(), *expected, "{name}");
        }
    }

    #[test]
    fn only_a_file_that_was_written_before_it_was_made_was_moved() {
        let made = identity(1, 10, Some(2_000_000_000));
        for (file, written, expected) in [
            (made, Some(Duration::from_nanos(1_999_999_999)), true),
            (made, Some(Duration::from_nanos(2_000_000_000)), false),
            (made, Some(Duration::from_secs(3)), false),
            (made, None, false),
            (identity(1, 10, None), Some(Duration::from_secs(1)), false),
        ] {
            assert_eq!(is_moved(file, written), expected, "{file:?} {written:?}");
        }
    }

    /// Each row: what is stored, what is seen, and whether all of the content is asked. The table is the specification.
    #[test]
    fn renumbered_devices() {
        for (name, stored, seen, expected) in [
            ("mounted again, no birth times", identity(1, 10, None), identity(2, 10, None), true),
            ("birth times known only now", identity(1, 10, None), identity(2, 10, Some(1)), true),
            ("another inode", identity(1, 10, None), identity(2, 11, None), false),
            (
                "the same device: the file itself, or its inode used again",
                identity(1, 10, None),
                identity(1, 10, None),
                false,
            ),
            ("birth times tell", identity(1, 10, Some(1)), identity(2, 10, Some(2)), false),
        ] {
            assert_eq!(may_be_renumbered(stored, seen), expected, "{name}");
        }
    }

    #[test]
    fn the_names_of_copies_lead_to_their_originals() {
        for (copy, original) in [
            ("app.log.1", "app.log"),
            ("app.log-20261123", "app.log"),
            ("app.log-20261123-1763913600", "app.log"),
            ("app-20261123.log", "app.log"),
            ("app.1.log", "app.log"),
            ("app.2026-11-23.log", "app.log"),
            ("access_log.1", "access_log"),
            (".hidden.1", ".hidden"),
            ("app.log.1.gz", "app.log"),
            ("app.log.1.gz", "app.log.1"),
            ("app.log.gz", "app.log"),
            ("app-20261123.log.gz", "app.log"),
        ] {
            let found = originals(&Path::new("/log").join(copy));
            assert!(found.contains(&Path::new("/log").join(original)), "{copy}: {found:?}");
        }
        for (other, file) in [("app.log", "app.log"), ("app2.log", "app.log"), ("app.err", "app.log")] {
            let found = originals(&Path::new("/log").join(other));
            assert!(!found.contains(&Path::new("/log").join(file)), "{other}: {found:?}");
        }
    }

    #[test]
    fn of_two_lives_that_fit_the_one_that_got_furthest_goes_on() {
        let file = identity(1, 10, Some(100));
        let stored = [checkpoint(file, &HEAD[..5], 5), checkpoint(file, HEAD, 23)];
        let found = recognise(file, 99, HEAD, stored.iter()).expect("both fit");
        assert_eq!(found.offset, Offset::new(23));
    }
}
