//! Whether a file is the copy of an incarnation: all of its content up to the position is looked at.
//!
//! First the digest of what was read of the original, then the window before its position, which the last block may end
//! within. Of several originals all are asked, one after the other. An original whose beginning nobody read (a source
//! that starts at its end, a checkpoint of a version before 4) has no digest: of that the window tells.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::Engine;
use crate::engine::files::file::{Name, Task};
use crate::engine::parting::Parting;
use crate::engine::port::{FileId, Read};
use crate::engine::report::{Report, Start};
use crate::model::content::Digest;
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::time::Instant;
use crate::rules::history::{Head, History};
use crate::rules::rotation::{is_younger, originals};

/// How much is read at a time of a file that may be a copy, in bytes.
const COMPARE_BYTES: u64 = 256 * 1024;

/// What one read of a file that may be a copy told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So far it is the same.
    More,
    Same,
    /// The file ends before the position.
    Ends,
    Differs,
}

impl Engine {
    /// The file is looked at from its beginning, whether it is the copy of `of`.
    pub(super) fn compare_with(&mut self, id: FileId, own: Option<Incarnation>, of: Incarnation) {
        let file = self.files.known_mut(id);
        file.task = Task::Comparing { own, of };
        file.compared.digest = Digest::beginning();
        file.compared.differs_since = None;
    }

    /// What was cut off or removed, and a file that begins with `head` may be the copy of: the first behind `tried`.
    pub(super) fn next_cut_off(
        &self,
        id: FileId,
        head: &[u8],
        tried: Option<Incarnation>,
    ) -> Option<Incarnation> {
        let file = self.files.known(id);
        let names = originals(file.real_path());
        let mut sought = self.lives.sought_at(&names, &file.family).filter(|sought| {
            sought.search.stream == file.stream
                && sought.fingerprint.matches(head)
                && is_younger(file.identity, sought.identity)
                && sought.position > Offset::ZERO
                && tried.is_none_or(|tried| sought.incarnation > tried)
        });
        sought.next().map(|sought| sought.incarnation)
    }

    /// The bytes that must be those of its original.
    pub(in crate::engine) fn read_to_compare(&self, id: FileId, of: Incarnation) -> Read {
        let compared = self.files.known(id).compared.digest.to();
        let history = self.lives.history(of).unwrap_or_else(History::beginning);
        match history.provable_bytes() {
            Some(end) if compared < end => {
                let len = usize::try_from((end - compared).min(COMPARE_BYTES)).expect("a read at most");
                Read::as_it_is(id, Offset::new(compared), len)
            }
            _ => {
                let len = history.overlap();
                Read::as_it_is(id, history.position().minus(len as u64), len)
            }
        }
    }

    /// Bytes are there that tell whether the file is the copy of `of`.
    pub(in crate::engine) fn on_compared(
        &mut self,
        id: FileId,
        (own, of): (Option<Incarnation>, Incarnation),
        read: Read,
        bytes: &Bytes,
        now: Instant,
    ) {
        match self.step(id, of, read, bytes) {
            Step::More => self.queue_read(id),
            Step::Same if self.lives.is_sought(of) => self.inherit(id, own, of, now),
            // It goes on where the other was seen to end: more of the same, or another generation that begins alike.
            Step::Same if self.is_beyond(id, of) => {
                let same = self.lives.history(of).map_or(0, |history| history.position().bytes());
                self.hold_as_alike(id, (own, of), same, now);
            }
            // It was compressed when it was known, or is all that is left of it.
            Step::Same if own.is_none() && self.has_no_file(id, of) => self.inherit(id, None, of, now),
            Step::Same => match own {
                Some(own) => self.on_known_copy(id, own, of, now),
                // Of one that is followed, or what it was opened for was found meanwhile.
                None => self.part(id, Parting::Handed, now),
            },
            // A copy that is not whole yet says what the other says, as far as it goes: the open files are compared.
            Step::Ends if self.may_be_unfinished(id, own, of) => self.hold_as_alike(id, (own, of), 0, now),
            Step::Ends | Step::Differs => self.on_no_copy(id, (own, of), now),
        }
    }

    fn step(&mut self, id: FileId, of: Incarnation, read: Read, bytes: &Bytes) -> Step {
        let Some(history) = self.lives.history(of) else { return Step::Differs };
        if bytes.len() < read.len {
            return Step::Ends;
        }
        let digest = &mut self.files.known_mut(id).compared.digest;
        let provable = history.provable_bytes();
        match provable {
            Some(end) if digest.to() < end => {
                if read.at.bytes() == digest.to() {
                    let _ = digest.push(bytes);
                }
                if digest.to() == end && history.digest() != Some(*digest) {
                    Step::Differs
                } else {
                    Step::More
                }
            }
            _ if history.overlap() > 0 && history.continues(bytes) => Step::Same,
            _ => Step::Differs,
        }
    }

    /// Whether a file is longer than the file of an incarnation that is followed.
    fn is_beyond(&self, id: FileId, of: Incarnation) -> bool {
        let followed = self.lives.file_of(of).and_then(|_| self.lives.state(of));
        followed.is_some_and(|state| self.files.known(id).size > state.seen_bytes())
    }

    /// Whether a file that is shorter than what was read of another may be a copy that somebody is still making of it: the
    /// other is open, and the file would be read from its beginning otherwise.
    fn may_be_unfinished(&self, id: FileId, own: Option<Incarnation>, of: Incarnation) -> bool {
        let is_open = |original| self.files.known(original).is_open();
        (own.is_some() || self.is_missed_generation(id)) && self.lives.file_of(of).is_some_and(is_open)
    }

    /// Whether a file that was opened to be compared is a generation that nobody saw if it is no copy.
    fn is_missed_generation(&self, id: FileId) -> bool {
        let file = self.files.known(id);
        file.kind.is_since_cut_off && file.name != Name::Matched
    }

    /// The file says what `of` says in its first `same` bytes, and is held back as long as it says nothing else.
    fn hold_as_alike(
        &mut self,
        id: FileId,
        (own, of): (Option<Incarnation>, Incarnation),
        same: u64,
        now: Instant,
    ) {
        let own = own.unwrap_or_else(|| {
            let own = self.lives.fresh();
            self.begin_life(id, own, History::beginning(), Head::default(), None, now);
            own
        });
        let file = self.files.known_mut(id);
        file.kind.only_as_copy = false;
        file.compared.same_bytes = same;
        file.times.held_back_since = now;
        self.files.quieten(id, now);
        self.files.begin_alike(id, own, of);
        self.queue_read(id);
    }

    /// The file is not the copy of `of`; it may be that of another.
    fn on_no_copy(&mut self, id: FileId, (own, of): (Option<Incarnation>, Incarnation), now: Instant) {
        let head = self.files.known(id).compared.head.clone();
        let next = if self.lives.is_sought(of) {
            let next = self.next_cut_off(id, &head, Some(of));
            next.or_else(|| own.and_then(|_| self.known_generation_alike(id, &head, None)))
        } else {
            self.known_generation_alike(id, &head, Some(of))
        };
        match (next, own) {
            (Some(next), _) => {
                self.compare_with(id, own, next);
                self.queue_read(id);
            }
            (None, Some(own)) => self.let_go_of_alike(id, own),
            (None, None) if self.lives.is_sought(of) => self.go_on_with_unread(id, now),
            (None, None) => self.begin_missed(id, now),
        }
    }

    /// The file is no copy of what was read of any that is looked for. It may be one of what nothing was read of, or of a
    /// generation that came and was cut off unseen: then all of it is to come.
    pub(super) fn go_on_with_unread(&mut self, id: FileId, now: Instant) {
        let file = self.files.known(id);
        let (names, stream, identity) = (originals(file.real_path()), file.stream, file.identity);
        let mut unread = self.lives.sought_at(&names, &file.family).filter(|sought| {
            sought.search.stream == stream
                && sought.position == Offset::ZERO
                && sought.fingerprint.matches(&file.compared.head)
                && is_younger(identity, sought.identity)
                && self.may_be_copied(sought, identity, file.real_path())
        });
        let found = unread.next().map(|sought| sought.incarnation);
        drop(unread);
        // What begins like a generation of which something was read may be a copy of that.
        let head = file.compared.head.clone();
        match (self.known_generation_alike(id, &head, None), found) {
            (Some(known), _) => {
                self.compare_with(id, None, known);
                self.queue_read(id);
            }
            (None, Some(unread)) => self.inherit(id, None, unread, now),
            (None, None) => self.begin_missed(id, now),
        }
    }

    /// The file is no copy of anything that is known. Where one of its family was cut off since it was made, it is the copy
    /// of a generation that nobody saw.
    fn begin_missed(&mut self, id: FileId, now: Instant) {
        let file = self.files.known(id);
        let is_its_own = self.lives.parted_of(file.identity, file.stream).is_some();
        if is_its_own || !self.is_missed_generation(id) {
            // It was opened for the comparison alone, or what was read of it is still on its way.
            self.note_unknown_inside(id);
            return self.part(id, Parting::Handed, now);
        }
        let head = self.files.known(id).compared.head.clone();
        if let Some(of) = self.begun_in_what_waits(id, &head) {
            return self.hold_as_alike(id, (None, of), 0, now);
        }
        let file = self.files.known(id);
        let (source, path) = (file.source, Arc::clone(&file.path));
        let file = self.files.known_mut(id);
        file.kind.only_as_copy = false;
        file.compared.take();
        let (incarnation, size) = (self.lives.fresh(), self.files.known(id).size);
        self.begin_life(id, incarnation, History::beginning(), Head::default(), None, now);
        self.report(Report::Following { source, path, at: Offset::ZERO, why: Start::New });
        self.note_seen(id, size, now);
        self.queue_read(id);
    }
}
