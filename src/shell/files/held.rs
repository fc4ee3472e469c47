//! What the kernel says of files that are held open, whatever became of their names.
//!
//! Knows links and free room. Does not know what is unread. Called by the daemon with each survey.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::{StatVfs, fstat, fstatvfs};

use crate::engine::port::{FileId, Held};

/// The unit of `st_blocks`, whatever the file system's own blocks are (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// A file system with less than one part in this many free is nearly full.
const NEARLY_FULL: u64 = 50;

/// Looks at open files; those that the kernel cannot say anything of are left out.
pub fn look_at_held(files: &[(FileId, Arc<File>)]) -> Vec<Held> {
    files.iter().filter_map(|(tail, file)| look_at(*tail, file)).collect()
}

fn look_at(tail: FileId, file: &File) -> Option<Held> {
    let stat = fstat(file).ok()?;
    let is_removed = stat.st_nlink == 0;
    let is_disk_nearly_full = is_removed && fstatvfs(file).is_ok_and(|system| is_nearly_full(&system));
    Some(Held {
        file: tail,
        size: u64::try_from(stat.st_size).ok()?,
        disk_bytes: u64::try_from(stat.st_blocks).ok()?.saturating_mul(BLOCK_BYTES),
        is_removed,
        is_disk_nearly_full,
    })
}

/// What is left for others than root counts: they are the writers.
fn is_nearly_full(system: &StatVfs) -> bool {
    system.f_bavail < system.f_blocks / NEARLY_FULL
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are held")]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_file_is_removed_once_its_last_name_is() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.log"), dir.path().join("b.log"));
        std::fs::write(&path, "one\n").unwrap();
        std::fs::hard_link(&path, &link).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        let is_removed = || {
            let held = look_at_held(&[(FileId(3), Arc::clone(&file))]);
            assert_eq!((held.len(), held[0].file, held[0].size), (1, FileId(3), 4));
            held[0].is_removed
        };
        assert!(!is_removed());
        std::fs::remove_file(&path).unwrap();
        assert!(!is_removed(), "it has another name");
        std::fs::remove_file(&link).unwrap();
        assert!(is_removed());
    }

    #[test]
    fn a_file_takes_the_room_of_what_was_written_and_not_of_its_holes() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let look = || look_at_held(&[(FileId(3), Arc::clone(&file))])[0];
        file.set_len(64 << 20).unwrap();
        let hole = look();
        assert_eq!(hole.size, 64 << 20);
        assert!(hole.disk_bytes < 1 << 20, "a hole takes {} bytes", hole.disk_bytes);
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(4 << 20).collect();
        file.write_all_at(&noise, 0).unwrap();
        // Some file systems give room only to what they write out.
        file.sync_all().unwrap();
        assert!(look().disk_bytes >= 4 << 20, "what was written takes {} bytes", look().disk_bytes);
    }
}
