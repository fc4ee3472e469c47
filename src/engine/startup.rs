//! Whether everything that was there at the start has been found and opened.
//!
//! Knows which files were found by the first look at each source. Files that are found later are of no account: where some
//! come all the time, one of them is always being opened.
//!
//! *Invariant:* what is over stays over, and is found to be over by the event that ends it, whether anybody asks or not.

use super::files::file::Task;
use super::files::{Files, State};
use super::port::FileId;
use super::surveys::Surveys;

/// How far the start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Startup {
    /// Some source has not been looked at.
    Finding,
    /// Every source was looked at. Of the files before `end`, those before `next` are open or given up.
    Opening {
        next: FileId,
        end: FileId,
    },
    Over,
}

impl Startup {
    /// Whether everything is open.
    pub(super) fn is_over(self) -> bool {
        self == Self::Over
    }

    /// Something has happened. Each file is looked at until it is open, and never again.
    pub(super) fn advance(&mut self, surveys: &Surveys, files: &Files) {
        if *self == Self::Finding && surveys.all_answered() {
            *self = Self::Opening { next: FileId(0), end: files.next_id() };
        }
        let Self::Opening { mut next, end } = *self else { return };
        let is_opening = |id| {
            files.get(id).is_some_and(|file| {
                let is_tried = matches!(file.state(), State::FailsToOpen { .. });
                matches!(file.task, Task::Begin | Task::FindEnd { .. }) && !is_tried
            })
        };
        while next < end && !is_opening(next) {
            next = FileId(next.0 + 1);
        }
        *self = if next < end { Self::Opening { next, end } } else { Self::Over };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::files::file::{FollowedFile, Name};
    use crate::engine::samples::{at, identity, path};
    use crate::model::identity::Incarnation;
    use crate::model::settings::{SourceId, StreamId};

    fn find(files: &mut Files, inode: u64) -> FileId {
        let whose = (SourceId(0), StreamId(0));
        let path = path(&format!("{inode}.log"));
        files.follow(FollowedFile::found(whose, path, identity(inode), Name::Matched, at(0)))
    }

    fn begin(files: &mut Files, id: FileId) {
        files.known_mut(id).task = Task::Follow(Incarnation(id.0));
    }

    #[test]
    fn files_that_come_all_the_time_keep_no_start_from_being_over() {
        let mut surveys = Surveys::new(1, false, BTreeSet::new());
        let (mut files, mut startup) = (Files::default(), Startup::Finding);
        drop(surveys.begin_due(at(0)));
        let first = [find(&mut files, 1), find(&mut files, 2)];
        startup.advance(&surveys, &files);
        assert_eq!(startup, Startup::Finding, "the source has not answered");
        surveys.shown(SourceId(0));
        for (inode, id) in (3..).zip(first) {
            startup.advance(&surveys, &files);
            assert!(!startup.is_over(), "{id:?} is not open");
            find(&mut files, inode);
            begin(&mut files, id);
        }
        startup.advance(&surveys, &files);
        assert!(startup.is_over(), "both that were there are open, though others are not");
        find(&mut files, 9);
        startup.advance(&surveys, &files);
        assert!(startup.is_over(), "and it stays so");
    }

    #[test]
    fn a_file_that_is_given_up_is_not_waited_for() {
        let mut surveys = Surveys::new(1, false, BTreeSet::new());
        let (mut files, mut startup) = (Files::default(), Startup::Finding);
        drop(surveys.begin_due(at(0)));
        let gone = find(&mut files, 1);
        surveys.shown(SourceId(0));
        startup.advance(&surveys, &files);
        assert!(!startup.is_over());
        files.remove(gone);
        startup.advance(&surveys, &files);
        assert!(startup.is_over());
    }
}
