//! Walks through all files: by parts, or from where the last one ended.
//!
//! *Invariant:* a walk comes by each file that was there when it began, and is there when its turn comes.

use std::ops::Range;

use super::Files;
use crate::engine::port::FileId;

/// How far walks have come.
#[derive(Debug, Default)]
pub(super) struct Walks {
    /// The number of the file that was found last by [`Files::find`].
    found: u64,
    /// The files that are still to be read once more, because all are.
    to_read: Option<Range<FileId>>,
    /// Whether all are to be read once more after that: else whoever asks for it all the time would have the first ones read, and
    /// no others.
    to_read_again: bool,
}

impl Files {
    /// Some of the files with these numbers, the first ones.
    pub(in crate::engine) fn ids_within(&self, numbers: Range<FileId>, most: usize) -> Vec<FileId> {
        self.by_id.range(numbers).take(most).map(|(id, _)| *id).collect()
    }

    /// A file of which this holds, if there is one. What is asked again and again, of a hundred thousand files, is asked first of
    /// the one that was found last, and then of those behind it.
    pub(in crate::engine) fn find(&self, is: impl Fn(FileId) -> bool) -> Option<FileId> {
        let last = FileId(self.walks.found);
        let (behind, before) = (self.by_id.range(last..), self.by_id.range(..last));
        behind.chain(before).map(|(id, _)| *id).find(|id| is(*id))
    }

    /// A file was found by [`find`](Self::find), where the next search is to begin.
    pub(in crate::engine) fn note_found(&mut self, id: FileId) {
        self.walks.found = id.0;
    }

    /// Every file that there is may have bytes that were not read.
    pub(in crate::engine) fn want_all_read(&mut self) {
        match self.walks.to_read {
            Some(_) => self.walks.to_read_again = true,
            None => self.walks.to_read = Some(FileId(0)..self.next_id()),
        }
    }

    /// Whether some are still to have their turn of those.
    pub(in crate::engine) fn are_all_wanted(&self) -> bool {
        self.walks.to_read.is_some()
    }

    /// Whether a file is still to have its turn of those: nobody knows whether it was read to its end.
    pub(in crate::engine) fn is_wanted(&self, id: FileId) -> bool {
        self.walks.to_read.as_ref().is_some_and(|left| left.contains(&id))
    }

    /// Some of those, each once.
    pub(in crate::engine) fn next_of_all(&mut self, most: usize) -> Vec<FileId> {
        let Some(left) = self.walks.to_read.take() else { return Vec::new() };
        let next = self.ids_within(left.clone(), most);
        let last = next.last().filter(|_| next.len() == most);
        self.walks.to_read = last.map(|last| FileId(last.0 + 1)..left.end);
        if self.walks.to_read.is_none() && std::mem::take(&mut self.walks.to_read_again) {
            self.want_all_read();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::files::file::{FollowedFile, Name};
    use crate::engine::samples::{at, identity, path};
    use crate::model::settings::{SourceId, StreamId};

    fn files(count: u64) -> Files {
        let mut files = Files::default();
        for inode in 0..count {
            let (whose, path) = ((SourceId(0), StreamId(0)), path(&format!("{inode}.log")));
            files.follow(FollowedFile::found(whose, path, identity(inode), Name::Matched, at(0)));
        }
        files
    }

    fn numbers(ids: Vec<FileId>) -> Vec<u64> {
        ids.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn each_file_has_its_turn_once_by_however_many_they_are_gone_through() {
        for most in [1, 2, 3, 7, 8, usize::MAX] {
            let mut files = files(7);
            files.remove(FileId(3));
            files.want_all_read();
            let mut turns = Vec::new();
            while files.are_all_wanted() {
                let turn = files.next_of_all(most);
                let left = turn.last().map_or(7, |last| last.0 + 1);
                let is_wanted = |number: &u64| files.is_wanted(FileId(*number));
                assert!((left..7).all(|number| is_wanted(&number) || !files.are_all_wanted()));
                assert!(!(0..left).any(|number| is_wanted(&number)) && !is_wanted(&7));
                turns.extend(numbers(turn));
                // Whoever comes later is read anyway.
                drop(files.ids_within(FileId(0)..FileId(9), 9));
            }
            assert_eq!(turns, [0, 1, 2, 4, 5, 6], "{most}");
        }
    }

    #[test]
    fn whoever_wants_all_read_all_the_time_keeps_no_file_from_its_turn() {
        let mut files = files(5);
        let mut turns = Vec::new();
        for _ in 0..6 {
            files.want_all_read();
            turns.extend(numbers(files.next_of_all(2)));
        }
        assert_eq!(turns, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }
}
