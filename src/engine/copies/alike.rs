//! Files that begin like a followed one: compared with it, and let go as soon as they say something else.
//!
//! While a rotator copies a file, the copy says what the file says, and ends before it. A file that says something else,
//! or more, is a file like any other, unless the other was cut off meanwhile and says something new itself: that is read
//! before anything is concluded.
//!
//! *Invariant:* what is held back said what its original says, as far as both could be read.

use crate::engine::Engine;
use crate::engine::files::State;
use crate::engine::files::file::{Name, Task};
use crate::engine::lives::Afterwards;
use crate::engine::parting::Parting;
use crate::engine::port::{Compare, Effect, FileFault, FileId, Likeness, Read, Then};
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::time::Instant;

/// How much of two files is compared at a time, in bytes.
const COMPARE_BYTES: usize = 256 * 1024;

impl Engine {
    /// The turn of a file that begins like another: it is compared on, or goes on waiting where the other is not open.
    /// Returns whether a comparison has begun.
    pub(in crate::engine) fn compare_alike(&mut self, id: FileId, of: Incarnation, now: Instant) -> bool {
        let with = self.lives.file_of(of).filter(|with| self.files.known(*with).is_open());
        let Some(with) = with else {
            self.files.hold_back(id);
            return false;
        };
        let at = Offset::new(self.files.known(id).compared.same_bytes);
        let (len, file) = (COMPARE_BYTES, self.files.known(id));
        let (stream, slot) = (file.stream, file.slot());
        self.files.begin_reading(id, Read::as_it_is(id, at, len), len as u64, now);
        self.intake.begin(stream, slot, len as u64);
        self.effects.push_back(Effect::Compare(Compare { file: id, with, at, len }));
        true
    }

    pub(in crate::engine) fn on_likeness(
        &mut self,
        id: FileId,
        result: Result<Likeness, FileFault>,
        now: Instant,
    ) {
        let (read, _, again) = self.end_read(id, now);
        let Task::Alike { of, .. } = self.files.known(id).task else {
            // What it was compared with was cut off, or it was let go: it is read.
            return self.queue_read(id);
        };
        let Ok(likeness) = result else { return self.files.hold_back(id) };
        let same = read.at.bytes() + likeness.bytes as u64;
        let compared = &mut self.files.known_mut(id).compared;
        compared.same_bytes = compared.same_bytes.max(same);
        match likeness.then {
            Then::More => return self.queue_read(id),
            Then::Ends => compared.differs_since = None,
            // Whether that is what the other said before, the next read of it tells.
            Then::OtherEnds | Then::Differs => compared.differs_since = Some(now),
        }
        self.files.hold_back(id);
        if again {
            self.queue_read(id);
        }
        if let Some(original) = self.lives.file_of(of) {
            self.queue_read(original);
        }
    }

    /// Whether a file that is held back says something else than its original, which still has the content that it was
    /// compared with.
    pub(super) fn is_another(&self, id: FileId, of: Incarnation) -> bool {
        let Some(since) = self.files.known(id).compared.differs_since else { return false };
        let original = self.lives.file_of(of).map(|original| self.files.known(original));
        original.is_some_and(|original| original.times.read_at > since && original.failures == 0)
    }

    /// Whether a file that is held back says what its original says, as far as it goes.
    pub(super) fn is_part_of(&self, id: FileId, of: Incarnation) -> bool {
        let file = self.files.known(id);
        let is_compared = file.compared.same_bytes > 0 && file.compared.differs_since.is_none();
        is_compared && self.lives.file_of(of).is_some_and(|original| self.files.known(original).is_open())
    }

    /// Whether a file that is held back is to be compared with its original, which was not open when it was to be.
    pub(super) fn was_never_compared(&self, id: FileId, of: Incarnation) -> bool {
        let file = self.files.known(id);
        let is_open = |original| self.files.known(original).is_open();
        matches!(file.state(), State::HeldBack { .. })
            && file.compared.same_bytes == 0
            && file.compared.differs_since.is_none()
            && self.lives.file_of(of).is_some_and(is_open)
    }

    /// Whether a file only lies beside those that its source matches.
    pub(super) fn is_beside(&self, id: FileId) -> bool {
        let file = self.files.known(id);
        file.name == Name::Lost && !file.family.is_empty()
    }

    /// A file beside those of its source says nothing that another does not say: it is of no interest.
    pub(in crate::engine) fn drop_copy(&mut self, id: FileId, own: Incarnation, now: Instant) {
        let file = self.files.known_mut(id);
        let of = own;
        file.task = Task::Comparing { own: None, of };
        let (source, identity) = (file.source, file.identity);
        self.lives.part(own, Afterwards::Forgotten);
        self.end_if_over(own, now);
        self.families.note_stranger(source, identity);
        self.part(id, Parting::Handed, now);
    }

    /// A file that began like another is a file like any other.
    pub(super) fn let_go_of_alike(&mut self, id: FileId, own: Incarnation) {
        let file = self.files.known_mut(id);
        file.task = Task::Follow(own);
        file.compared.take();
        self.take_up_alike(id);
    }

    /// A file was held back, and is to be read now.
    pub(super) fn take_up_alike(&mut self, id: FileId) {
        match self.files.known(id).state() {
            State::HeldBack { .. } => self.files.release(id),
            _ => self.queue_read(id),
        }
    }

    /// The file of an incarnation was removed when all of it was delivered. A file that says all that it said goes on with
    /// the incarnation: a rotator copied it, and removed the original.
    pub(in crate::engine) fn hand_to_copy(&mut self, of: Incarnation, now: Instant) {
        let Some(state) = self.lives.state(of) else { return };
        let position = state.position().bytes();
        let alike = self.files.alike_to(of).into_iter();
        let mut whole = alike.filter(|(id, _)| self.files.known(*id).compared.same_bytes >= position);
        let Some((id, own)) = whole.next() else { return };
        self.inherit(id, Some(own), of, now);
        self.take_up_alike(id);
    }
}
