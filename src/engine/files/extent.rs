//! How far a file reached, by reads and by looks.
//!
//! *Invariant:* what a look showed counts as gone only when the file was written since: a look may be an old one.

use std::time::Duration;

/// How long before a look a file must have been written last for a later write to tell another moment, on clocks of file
/// systems that tick every few milliseconds, and beside servers whose clocks are not this machine's.
const SETTLED: Duration = Duration::from_secs(2);

/// How far a file reached with the content that it has.
#[derive(Debug, Default)]
pub(in crate::engine) struct Extent {
    /// How far the furthest read reached, in bytes.
    pub(in crate::engine) read_end_bytes: u64,
    /// How far the file reached when it was found and opened, in bytes.
    pub(in crate::engine) found_bytes: u64,
    /// How far the room reaches that the last read found behind the content, in bytes, if it found any.
    room_end_bytes: Option<u64>,
    /// How far a look saw it reach since the last read, in bytes, and when it had been written last then.
    looked: Option<(u64, Duration)>,
    /// Whether a look saw that it was written since an earlier look, and it was not read between them.
    was_written: bool,
    /// When the file had been written last by any read to its end, whatever content it had. A look that says an earlier
    /// moment is an old one (FUSE, SMB).
    written: Option<Duration>,
}

impl Extent {
    /// The file has other content.
    pub(super) fn forget(&mut self) {
        *self = Self { written: self.written, ..Self::default() };
    }

    /// A look showed the file.
    pub(in crate::engine) fn look(&mut self, size: u64, modified: Option<Duration>) {
        let Some(modified) = modified.filter(|_| !self.is_known_room(size)) else { return };
        let is_old = self.written.is_some_and(|written| modified <= written);
        self.was_written |= self.looked.is_some_and(|(_, before)| before < modified);
        if !is_old && self.looked.is_none_or(|(before, _)| before < size) {
            self.looked = Some((size, modified));
        }
    }

    /// Whether a look that shows `size` shows what the last read found: content, and room behind it.
    pub(in crate::engine) fn is_known_room(&self, size: u64) -> bool {
        self.room_end_bytes == Some(size)
    }

    /// A read found content up to `end`, and room behind it up to `room_end`, if there is any. Returns whether no read had
    /// reached so far.
    pub(in crate::engine) fn read_up_to(&mut self, end: u64, room_end: Option<u64>) -> bool {
        let grew = end > self.read_end_bytes;
        (self.read_end_bytes, self.room_end_bytes) = (end, room_end);
        if let Some(room_end) = room_end {
            // Looks cannot tell room from content: of what they showed, this is all that is known to be content.
            self.found_bytes = 0;
            self.looked = self.looked.filter(|(size, _)| *size > room_end);
        }
        grew
    }

    /// Whether the file was read to its end, and nothing was in it.
    pub(in crate::engine) fn was_empty(&self) -> bool {
        self.written.is_some() && self.read_end_bytes == 0
    }

    /// Whether a look shows less than an earlier one did, and that the file was written since. It is told once.
    pub(in crate::engine) fn shrinks(&mut self, size: u64, modified: Option<Duration>) -> bool {
        let before = self.looked.zip(modified);
        let shown = before.filter(|((before, looked), modified)| size < *before && modified > looked);
        self.looked = shown.map_or(self.looked, |(_, modified)| Some((size, modified)));
        shown.is_some()
    }

    /// Whether the file, which is read for the first time, was written since it was found: what was in it then may be gone.
    /// `modified` is when it was written last, if the read reached its end.
    pub(in crate::engine) fn was_written_unread(&self, modified: Option<Duration>) -> bool {
        let is_written = |looked: Duration| modified.is_none_or(|modified| modified > looked);
        self.written.is_none()
            && (self.was_written || self.looked.is_some_and(|(_, looked)| is_written(looked)))
    }

    /// Whether the file, which is read for the first time, is as the look was that `found` it: had it been written since, and
    /// had that not been seen, a later moment would be told. `modified` is when it was written last, if the read reached its
    /// end.
    pub(in crate::engine) fn is_as_found(&self, modified: Option<Duration>, found: Duration) -> bool {
        let is_settled = |looked: Duration| looked + SETTLED <= found;
        let as_looked = self.looked.filter(|(_, looked)| Some(*looked) == modified && is_settled(*looked));
        self.written.is_none() && !self.was_written && as_looked.is_some()
    }

    /// The file was read to its end, having been written last at `modified`. A look that came in before may be younger than
    /// the read, and says more.
    pub(in crate::engine) fn read_to_end(&mut self, modified: Duration) {
        self.looked = self.looked.filter(|(_, looked)| *looked > modified);
        self.written = Some(modified);
    }

    /// How far looks saw the file reach that say more than the last read, in bytes.
    pub(in crate::engine) fn looked_bytes(&self) -> u64 {
        self.looked.map_or(0, |(size, _)| size)
    }

    /// Whether the file is known to have had more in it than a read found that reached its end: `content` bytes, in a file of
    /// `size` bytes that had been written last at `modified`.
    pub(in crate::engine) fn had_more_than(
        &self,
        content: u64,
        size: u64,
        modified: Option<Duration>,
    ) -> bool {
        // A read may be older than a look that came in before it.
        let is_written = |looked: Duration| modified.is_some_and(|modified| modified > looked);
        content < self.read_end_bytes
            || size < self.found_bytes
            || self.looked.is_some_and(|(looked, at)| size < looked && is_written(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_a_look_showed_is_gone_only_when_the_file_was_written_since() {
        let mut extent = Extent::default();
        extent.read_to_end(at(10));
        for (shown, read, is_gone) in [
            // An old look: the file was read as it was written after that.
            (at(9), at(20), false),
            (at(10), at(20), false),
            // The size was wrong, whatever it was.
            (at(11), at(11), false),
            (at(11), at(12), true),
            // The read is older than the look.
            (at(12), at(11), false),
        ] {
            extent.forget();
            extent.look(100, Some(shown));
            assert_eq!(extent.had_more_than(50, 50, Some(read)), is_gone, "{shown:?} {read:?}");
            assert!(!extent.had_more_than(100, 100, Some(read)));
        }
    }

    #[test]
    fn a_file_was_written_unread_when_a_look_or_its_first_read_says_a_later_moment_than_the_first_look() {
        for (looks, read, is_written) in [
            (&[10][..], Some(at(10)), false),
            (&[10], Some(at(11)), true),
            // It grew while it was read.
            (&[10], None, true),
            (&[10, 10], Some(at(10)), false),
            (&[10, 12], Some(at(12)), true),
            (&[], Some(at(12)), false),
        ] {
            let mut extent = Extent::default();
            for (size, look) in (1..).zip(looks) {
                extent.look(size, Some(at(*look)));
            }
            assert_eq!(extent.was_written_unread(read), is_written, "{looks:?} {read:?}");
            extent.read_to_end(at(20));
            assert!(!extent.was_written_unread(Some(at(21))), "it was read: {looks:?}");
        }
    }

    #[test]
    fn a_file_is_as_it_was_found_while_it_tells_the_moment_that_it_told_then_and_that_was_a_while_before() {
        for (looks, read, found, is_as_found) in [
            (&[10][..], Some(at(10)), at(2_010), true),
            (&[10], Some(at(10)), at(2_009), false),
            (&[10], Some(at(11)), at(9_000), false),
            (&[10], Some(at(9)), at(9_000), false),
            (&[10], None, at(9_000), false),
            (&[], Some(at(10)), at(9_000), false),
            (&[10, 12], Some(at(10)), at(9_000), false),
        ] {
            let mut extent = Extent::default();
            looks.iter().for_each(|look| extent.look(1, Some(at(*look))));
            assert_eq!(extent.is_as_found(read, found), is_as_found, "{looks:?} {read:?} {found:?}");
            extent.read_to_end(at(10));
            assert!(!extent.is_as_found(Some(at(10)), found), "it was read: {looks:?}");
        }
    }

    #[test]
    fn a_look_shows_that_a_file_shrank_only_when_it_is_younger_and_once() {
        for (size, modified, shrinks) in
            [(99, Some(11), true), (100, Some(11), false), (99, Some(10), false), (99, None, false)]
        {
            let mut extent = Extent::default();
            assert!(!extent.shrinks(99, Some(at(9))), "nothing is known");
            extent.look(100, Some(at(10)));
            assert_eq!(extent.shrinks(size, modified.map(at)), shrinks, "{size} {modified:?}");
            assert!(!extent.shrinks(size, modified.map(at)), "it was told");
        }
    }

    #[test]
    fn a_look_that_is_younger_than_a_read_outlives_it() {
        for (read, is_gone) in [(at(10), true), (at(11), false), (at(12), false)] {
            let mut extent = Extent::default();
            extent.look(100, Some(at(11)));
            extent.read_to_end(read);
            assert_eq!(extent.looked_bytes(), if is_gone { 100 } else { 0 });
            assert_eq!(extent.had_more_than(50, 50, Some(at(13))), is_gone, "{read:?}");
        }
    }

    #[test]
    fn what_was_read_or_was_there_when_the_file_was_opened_is_gone_whenever_less_is_there() {
        for extent in [
            Extent { read_end_bytes: 8, ..Extent::default() },
            Extent { found_bytes: 8, ..Extent::default() },
        ] {
            assert!(extent.had_more_than(7, 7, None) && !extent.had_more_than(8, 8, None));
        }
    }

    #[test]
    fn room_behind_the_content_is_in_the_file_and_not_in_the_content() {
        let found = Extent { found_bytes: 100, ..Extent::default() };
        let mut looked = Extent::default();
        looked.look(100, Some(at(10)));
        for mut extent in [found, looked] {
            // Where a read finds room that reaches as far as the file did, nothing is gone.
            assert!(!extent.had_more_than(8, 100, Some(at(20))) && extent.had_more_than(8, 99, Some(at(20))));
            assert!(extent.read_up_to(8, Some(100)));
            // Cut to its content, or looked at before that, it is as it was; what was content is gone whatever room is there.
            for (content, size, is_gone) in [(8, 8, false), (8, 100, false), (7, 7, true), (7, 100, true)] {
                extent.look(100, Some(at(11)));
                assert_eq!(extent.had_more_than(content, size, Some(at(20))), is_gone, "{content} in {size}");
            }
            // A look at another size shows what no read found.
            extent.look(90, Some(at(12)));
            assert!(extent.had_more_than(8, 89, Some(at(20))) && !extent.had_more_than(8, 90, Some(at(20))));
        }
    }
}
