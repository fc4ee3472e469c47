//! Seams: where a rotation may have cut what a program said, between the end of a file and the beginning of the next.
//!
//! A file that is new under its name has a seam with the generation directly before it. When its first whole line is there,
//! the one before is read once more to its end, and what says nothing whole there is kept, until the lines of both files say
//! whether it goes on. Knows which file follows which, and the end of the one before. Does not know what lines say.
//!
//! *Invariant:* from its first whole line on, a file waits no longer than until a moment that was fixed then, and one second.

mod found;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::StreamId;
use crate::model::time::Instant;

/// How long after its time a file may be read that waits for another: reads that are under way are waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A file in its stream, by what the kernel says it is: a number stands for another file once that was opened in its place.
pub(super) type FileOfStream = (StreamId, Identity);

/// The last lines of a file, which say nothing whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) incarnation: Incarnation,
    /// Where they begin: the position.
    pub(super) at: Offset,
    /// With the newline that ends the last of them.
    pub(super) text: Bytes,
}

/// How far it is known what stands before the seam.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing whole was read of the file that follows: nobody asked.
    Unasked,
    /// Asked for: the one before is to be read once more.
    Asked { until: Instant },
    /// A read of it is under way, or over, that began since.
    Reading { until: Instant },
    /// Read to its end, and nothing is left there that may go on.
    Whole,
    /// Read to its end, and left there is what may go on.
    Tail { until: Instant, tail: Tail },
}

#[derive(Debug)]
struct Seam {
    of: FileOfStream,
    before: Before,
}

/// All seams of which the file that follows was not begun.
#[derive(Debug, Default)]
pub(super) struct Seams {
    by_file: BTreeMap<FileOfStream, Seam>,
    /// The file that follows each.
    followers: BTreeMap<FileOfStream, FileOfStream>,
    /// Files for which the end of the one before is kept, by until when.
    kept: BTreeSet<(Instant, FileOfStream)>,
    /// The real name that a followed file had before the one that it has.
    former_names: BTreeMap<FileOfStream, Arc<Path>>,
}

impl Before {
    /// Until when the end of the file before is kept for the one that follows.
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Unasked | Self::Whole => None,
            Self::Asked { until } | Self::Reading { until } | Self::Tail { until, .. } => Some(*until),
        }
    }
}

impl Seams {
    /// A file that is followed has another name than this one now.
    pub(super) fn note_former_name(&mut self, file: FileOfStream, name: Arc<Path>) {
        self.former_names.insert(file, name);
    }

    /// A file is not followed any more.
    pub(super) fn forget_former_name(&mut self, file: FileOfStream) {
        self.former_names.remove(&file);
    }

    /// The name that a file had before the one that it has, if it was renamed while it was followed.
    pub(super) fn former_name(&self, file: FileOfStream) -> Option<&Arc<Path>> {
        self.former_names.get(&file)
    }

    /// A file follows another, directly. Where something else was found to follow it, or it to follow something else, nothing is
    /// known of either.
    pub(super) fn add(&mut self, file: FileOfStream, of: FileOfStream) {
        let is_known = self.by_file.get(&file).is_some_and(|seam| seam.of == of);
        if is_known || self.followers.contains_key(&of) || self.by_file.contains_key(&file) {
            return;
        }
        self.by_file.insert(file, Seam { of, before: Before::Unasked });
        self.followers.insert(of, file);
    }

    /// The file before one, and what is known of its end.
    pub(super) fn before(&self, file: FileOfStream) -> Option<(FileOfStream, &Before)> {
        self.by_file.get(&file).map(|seam| (seam.of, &seam.before))
    }

    /// The file that follows one, and has a seam with it.
    pub(super) fn follower(&self, of: FileOfStream) -> Option<FileOfStream> {
        self.followers.get(&of).copied()
    }

    /// The file that follows begins: the one before is to be read once more, and its end is kept until then.
    pub(super) fn ask(&mut self, file: FileOfStream, until: Instant) {
        self.know(file, |_| Before::Asked { until });
    }

    /// Something else is known of what stands before the seam of a file, if it has one.
    fn know(&mut self, file: FileOfStream, change: impl FnOnce(Before) -> Before) {
        let Some(seam) = self.by_file.get_mut(&file) else { return };
        let until = seam.before.until();
        seam.before = change(std::mem::replace(&mut seam.before, Before::Unasked));
        if until != seam.before.until() {
            self.kept.extend(seam.before.until().map(|until| (until, file)));
            until.map(|until| self.kept.remove(&(until, file)));
        }
    }

    /// A read of a file begins.
    pub(super) fn read_begins(&mut self, of: FileOfStream) {
        let Some(file) = self.followers.get(&of).copied() else { return };
        self.know(file, |before| match before {
            Before::Asked { until } => Before::Reading { until },
            other @ (Before::Unasked | Before::Reading { .. } | Before::Whole | Before::Tail { .. }) => other,
        });
    }

    /// A file was read to its end; `tail` is what says nothing whole there. A read that began before that was asked for says
    /// nothing.
    pub(super) fn read_to_end(&mut self, of: FileOfStream, tail: Option<Tail>) {
        let Some(file) = self.followers.get(&of).copied() else { return };
        self.know(file, |before| match before {
            Before::Reading { until } | Before::Tail { until, .. } => {
                tail.map_or(Before::Whole, |tail| Before::Tail { until, tail })
            }
            other @ (Before::Unasked | Before::Asked { .. } | Before::Whole) => other,
        });
    }

    /// Whether the end of a file is kept for the one that follows it, and is not to be cut by itself: that one has it first when
    /// the time is over.
    pub(super) fn keeps(&self, of: FileOfStream, now: Instant) -> bool {
        let seam = self.followers.get(&of).and_then(|file| self.by_file.get(file));
        seam.and_then(|seam| seam.before.until()).is_some_and(|until| now < until + PATIENCE)
    }

    /// Nothing of the seam before a file matters any more. Returns what was kept.
    pub(super) fn remove(&mut self, file: FileOfStream) -> Option<Tail> {
        let seam = self.by_file.remove(&file)?;
        self.followers.remove(&seam.of);
        seam.before.until().map(|until| self.kept.remove(&(until, file)));
        match seam.before {
            Before::Tail { tail, .. } => Some(tail),
            Before::Unasked | Before::Asked { .. } | Before::Reading { .. } | Before::Whole => None,
        }
    }

    /// The files of which the end of the one before was kept for too long: they were not read when they were to be.
    pub(super) fn overdue(&self, now: Instant) -> Vec<FileOfStream> {
        let overdue = self.kept.iter().take_while(|(until, _)| *until + PATIENCE <= now);
        overdue.map(|(_, file)| *file).collect()
    }

    /// When a file may be overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.kept.first().map(|(until, _)| *until + PATIENCE)
    }

    /// The files that have a seam with one before them.
    pub(super) fn files(&self) -> Vec<FileOfStream> {
        self.by_file.keys().copied().collect()
    }
}

impl Tail {
    /// What is kept, in bytes of memory: the text, and room for a record of it.
    pub(super) fn bytes(&self) -> u64 {
        2 * self.text.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::samples::{at, identity};

    const NEXT: FileOfStream = (StreamId(0), Identity { device: 1, inode: 2, birth_nanos: Some(2) });

    fn tail() -> Tail {
        Tail { incarnation: Incarnation(1), at: Offset::ZERO, text: Bytes::from_static(b" a\n") }
    }

    fn asked() -> (Seams, FileOfStream) {
        let (mut seams, of) = (Seams::default(), (StreamId(0), identity(1)));
        seams.add(NEXT, of);
        seams.ask(NEXT, at(5));
        (seams, of)
    }

    #[test]
    fn what_a_read_said_that_began_before_the_next_file_is_not_the_end() {
        let (mut seams, of) = asked();
        seams.read_to_end(of, Some(tail()));
        assert_eq!(seams.before(NEXT), Some((of, &Before::Asked { until: at(5) })));
        seams.read_begins(of);
        seams.read_to_end(of, Some(tail()));
        assert_eq!(seams.before(NEXT), Some((of, &Before::Tail { until: at(5), tail: tail() })));
        assert_eq!(seams.remove(NEXT), Some(tail()));
        assert_eq!(seams.follower(of), None);
    }

    #[test]
    fn the_end_of_a_file_is_kept_from_when_the_next_begins_until_the_moment_that_was_fixed_then() {
        let (mut seams, of) = asked();
        for now in [at(0), at(5)] {
            assert!(seams.keeps(of, now));
        }
        seams.read_begins(of);
        seams.read_to_end(of, Some(tail()));
        assert_eq!((seams.keeps(of, at(5)), seams.keeps(of, at(6))), (true, false));
        assert_eq!((seams.deadline(), seams.overdue(at(5))), (Some(at(6)), Vec::new()));
        assert_eq!(seams.overdue(at(6)), [NEXT]);
        seams.read_to_end(of, None);
        assert!(!seams.keeps(of, at(4)), "nothing is left of it");
        assert_eq!(seams.deadline(), None);
    }

    #[test]
    fn what_is_kept_is_told_by_when_it_is_overdue_whatever_became_of_it() {
        let file = |inode| (StreamId(0), identity(inode));
        let mut seams = Seams::default();
        for inode in 0..6 {
            seams.add(file(2 * inode + 1), file(2 * inode));
            seams.ask(file(2 * inode + 1), at(20 - inode));
        }
        seams.ask(file(1), at(30));
        seams.remove(file(3));
        for inode in [4, 6] {
            seams.read_begins(file(inode));
            seams.read_to_end(file(inode), (inode == 4).then(tail));
        }
        let untils = |seams: &Seams| {
            let of_file = |(file, seam): (&FileOfStream, &Seam)| Some((seam.before.until()?, *file));
            seams.by_file.iter().filter_map(of_file).collect::<BTreeSet<_>>()
        };
        assert_eq!(seams.kept, untils(&seams));
        assert_eq!(seams.overdue(at(17)), [file(11), file(9)]);
        assert_eq!((seams.overdue(at(31)).len(), seams.deadline()), (4, Some(at(16))));
        seams.overdue(at(31)).into_iter().for_each(|file| drop(seams.remove(file)));
        assert!(seams.kept.is_empty() && seams.files() == [file(7)]);
    }

    #[test]
    fn a_file_follows_one_other_and_is_followed_by_one() {
        let (mut seams, of) = asked();
        let other = (StreamId(0), identity(3));
        seams.add(NEXT, other);
        seams.add((StreamId(0), identity(4)), of);
        assert_eq!((seams.follower(of), seams.follower(other)), (Some(NEXT), None));
        assert_eq!(seams.files(), [NEXT]);
    }
}
