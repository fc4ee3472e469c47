//! What is to be durable: frontiers, dead letters, and incarnations that are over.
//!
//! Knows what changed since the last save, and what a save under way holds. Does not know positions: they are asked
//! for when a save begins. A save holds a part of what changed, where that is much (`saves/portion.rs`).
//!
//! *Invariant:* a dead letter stays here until a save that holds it came through, and so does every change.

mod looks;
mod portion;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use self::looks::Look;
use self::portion::{Changed, Renewal};
use super::audit::Acknowledgements;
use super::port::{MoveId, Moved};
use crate::model::checkpoint::{DeadLetter, Save};
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::settings::{CheckpointSettings, SourceId};
use crate::model::time::Instant;
use crate::rules::checkpoint::{Due, Pace};
use crate::rules::dead_letters::{Room, disk_bytes_of};

/// A save that takes longer counts as one that fails: records wait for no disk that hangs.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a save under way holds.
#[derive(Debug)]
struct UnderWay {
    changed: BTreeSet<Incarnation>,
    /// Those of which a part alone would be wrong.
    together: BTreeSet<Incarnation>,
    marks: BTreeSet<Incarnation>,
    forgotten: BTreeSet<Incarnation>,
    offsets: Vec<(Incarnation, Offset, u16)>,
    /// From the front of the dead letters.
    dead_letters: usize,
    begun_at: Instant,
}

/// What a save that came through made durable.
#[derive(Debug)]
pub(super) struct Saved {
    /// Incarnations with their frontiers, and how many bytes their fingerprints cover.
    pub(super) offsets: Vec<(Incarnation, Offset, u16)>,
    /// Positions that were moved, for whoever asked.
    pub(super) moved: Vec<(MoveId, Vec<Moved>)>,
    /// Whether the saves before it failed.
    pub(super) is_again: bool,
}

/// Progress on its way to the state database.
#[derive(Debug)]
pub(super) struct Saves {
    pace: Pace,
    /// Incarnations whose checkpoint in the database is not what it would be now.
    changed: Changed,
    /// Those whose records wait until their fingerprints are durable.
    awaiting_fingerprint: BTreeSet<Incarnation>,
    /// Those of which no record may leave for as long as nothing can be saved.
    awaiting_at_all_events: BTreeSet<Incarnation>,
    /// Incarnations that are over and still in the database.
    forgotten: BTreeSet<Incarnation>,
    /// Dead letters that are not durable yet; every save carries all of them.
    dead_letters: Vec<DeadLetter>,
    unsaved_dead_letter_bytes: u64,
    acknowledgements: Acknowledgements,
    /// What all dead letters take on disk, those that are not durable yet among them.
    room: Room,
    under_way: Option<UnderWay>,
    renewal: Renewal,
    not_saved: Option<Arc<str>>,
    /// Sources of which a look is to be durable before their files are opened.
    looks: BTreeMap<SourceId, Look>,
    /// Moves that are to be answered once they are durable; whether the save under way holds them.
    answers: Vec<(MoveId, Vec<Moved>, bool)>,
}

impl Saves {
    /// Nothing waits; `room` is what the dead letters in the database leave, and a save holds about `most` checkpoints.
    pub(super) fn new(settings: CheckpointSettings, most: NonZeroUsize, room: Room, now: Instant) -> Self {
        Self {
            pace: Pace::new(settings),
            changed: Changed::new(most),
            awaiting_fingerprint: BTreeSet::new(),
            awaiting_at_all_events: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            dead_letters: Vec::new(),
            unsaved_dead_letter_bytes: 0,
            acknowledgements: Acknowledgements::default(),
            room,
            under_way: None,
            renewal: Renewal::since(now),
            not_saved: None,
            looks: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// Whoever asked for a move is answered once it is durable, which is due at once.
    pub(super) fn await_answer(&mut self, number: MoveId, moved: Vec<Moved>, now: Instant) {
        self.answers.push((number, moved, false));
        self.pace.changed(0, now);
    }

    /// Whether what there is to save of an incarnation has not come through.
    pub(super) fn is_unsaved(&self, incarnation: Incarnation) -> bool {
        let is_under_way =
            self.under_way.as_ref().is_some_and(|under_way| under_way.changed.contains(&incarnation));
        is_under_way || self.changed.contains(incarnation)
    }

    pub(super) fn change_settings(&mut self, settings: CheckpointSettings) {
        self.pace.change(settings);
    }

    /// The checkpoint of `incarnation` is not what it would be now; `settled` bytes more are settled.
    pub(super) fn note_changed(&mut self, incarnation: Incarnation, settled: u64, now: Instant) {
        self.changed.insert(incarnation);
        self.pace.changed(settled, now);
    }

    /// What changes with this event is to be durable together.
    pub(super) fn keep_together(&mut self) {
        self.changed.keep_together();
    }

    /// An event is handled.
    pub(super) fn event_ends(&mut self) {
        self.changed.event_ends();
    }

    /// Nothing is held back for another save from now on: there may be none.
    pub(super) fn hold_nothing_back(&mut self) {
        self.changed.most = NonZeroUsize::MAX;
    }

    /// Records of `incarnation` wait until its fingerprint is durable.
    pub(super) fn await_fingerprint(&mut self, incarnation: Incarnation, now: Instant) {
        if !self.awaiting_at_all_events.contains(&incarnation) {
            self.awaiting_fingerprint.insert(incarnation);
        }
        self.note_changed(incarnation, 0, now);
    }

    /// No record of `incarnation` waits for its fingerprint any more; tells whether one did.
    pub(super) fn fingerprint_is_durable(&mut self, incarnation: Incarnation) -> bool {
        let was_told = self.awaiting_at_all_events.remove(&incarnation);
        self.awaiting_fingerprint.remove(&incarnation) || was_told
    }

    /// Whether nothing can be saved: the last save failed, or the one under way does not answer.
    pub(super) fn is_in_trouble(&self, now: Instant) -> bool {
        self.not_saved.is_some() || self.silent_at().is_some_and(|silent_at| now >= silent_at)
    }

    /// When the save under way counts as one that does not answer.
    fn silent_at(&self) -> Option<Instant> {
        self.under_way.as_ref().map(|under_way| under_way.begun_at + PATIENCE)
    }

    /// Those whose records wait until their fingerprints are durable, to be asked about in trouble.
    pub(super) fn take_awaiting(&mut self) -> BTreeSet<Incarnation> {
        std::mem::take(&mut self.awaiting_fingerprint)
    }

    /// Records of `incarnation` wait for as long as nothing can be saved.
    pub(super) fn await_at_all_events(&mut self, incarnation: Incarnation) {
        self.awaiting_at_all_events.insert(incarnation);
    }

    /// How many incarnations wait for as long as nothing can be saved.
    pub(super) fn awaiting_at_all_events(&self) -> usize {
        self.awaiting_at_all_events.len()
    }

    /// `incarnation` is over, and the database is to forget it.
    pub(super) fn forget(&mut self, incarnation: Incarnation, now: Instant) {
        self.changed.remove(incarnation);
        // Another may go on with its file.
        self.changed.keep_together();
        self.awaiting_fingerprint.remove(&incarnation);
        self.awaiting_at_all_events.remove(&incarnation);
        self.forgotten.insert(incarnation);
        self.pace.changed(0, now);
    }

    /// From which incarnation on checkpoints are saved though nothing changed, if any are.
    ///
    /// Says once a day in the database that the checkpoints of files that are followed are in use: those that are not are given
    /// up after a time.
    pub(super) fn renewal(&mut self, now: Instant) -> Option<Incarnation> {
        self.renewal.next(now)
    }

    /// Checkpoints are renewed up to this incarnation, or all of them are.
    pub(super) fn renewed(&mut self, next: Option<Incarnation>) {
        self.renewal.next = next;
    }

    /// Whether a dead letter has room.
    pub(super) fn has_room_for(&self, letter: &DeadLetter) -> bool {
        self.room.fits(&letter.stream, disk_bytes_of(letter))
    }

    /// The room that dead letters have.
    pub(super) fn room_mut(&mut self) -> &mut Room {
        &mut self.room
    }

    pub(super) fn add_dead_letter(&mut self, letter: DeadLetter) {
        // It is durable with the checkpoint that passes it.
        self.changed.keep_together();
        self.unsaved_dead_letter_bytes += letter.data.len() as u64;
        self.room.take(&letter.stream, disk_bytes_of(&letter));
        self.dead_letters.push(letter);
    }

    /// RecordIds that are not durable.
    pub(super) fn acknowledgements_mut(&mut self) -> &mut Acknowledgements {
        &mut self.acknowledgements
    }

    /// Dead letters and RecordIds that are in memory because they are not durable, in bytes.
    pub(super) fn unsaved_bytes(&self) -> u64 {
        self.unsaved_dead_letter_bytes + self.acknowledgements.bytes()
    }

    /// What all dead letters take on disk, in bytes.
    pub(super) fn all_dead_letter_bytes(&self) -> u64 {
        self.room.taken()
    }

    /// Why progress is not durable, when it is not.
    pub(super) fn not_saved(&self) -> Option<&Arc<str>> {
        self.not_saved.as_ref()
    }

    /// Since when the oldest progress that is not durable has waited.
    pub(super) fn unsaved_since(&self) -> Option<Instant> {
        self.pace.unsaved_since()
    }

    /// Whether something would be lost by a crash now, or is being saved.
    pub(super) fn any_wait(&self) -> bool {
        self.under_way.is_some()
            || !self.changed.is_empty()
            || !self.forgotten.is_empty()
            || !self.dead_letters.is_empty()
            || !self.looks.is_empty()
            || !self.answers.is_empty()
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = match self.pace.due(now) {
            Due::Now => Some(now + Duration::from_millis(1)),
            Due::NotBefore(at) => Some(at),
            Due::Nothing => None,
        };
        let silent_at = self.silent_at().filter(|at| *at > now);
        let silent_at = silent_at.filter(|_| !self.awaiting_fingerprint.is_empty() || !self.looks.is_empty());
        due.into_iter().chain(silent_at).min()
    }

    /// The incarnations of which a save that begins now holds checkpoints; `None` when none is to begin. The caller
    /// begins the save with [`begin`](Self::begin). `is_last`: nothing else is left to do.
    pub(super) fn take_due(&mut self, is_last: bool, now: Instant) -> Option<BTreeSet<Incarnation>> {
        let cannot_wait = !self.dead_letters.is_empty()
            || !self.awaiting_fingerprint.is_empty()
            || !self.awaiting_at_all_events.is_empty()
            || !self.looks.is_empty()
            || self.changed.last_mark().is_some()
            || !self.answers.is_empty()
            || is_last;
        let is_due = match self.pace.due(now) {
            Due::Now => true,
            Due::NotBefore(_) | Due::Nothing => cannot_wait && self.pace.is_free(now),
        };
        if !is_due || self.under_way.is_some() {
            return None;
        }
        if !self.any_wait() {
            self.pace.cleared();
            return None;
        }
        // Where its files ended at the first start is durable at once, or nothing is.
        let is_whole = self.looks.values().any(|look| look.is_needed);
        Some(self.changed.take_portion(&self.awaiting_fingerprint, is_whole))
    }

    /// A save begins that holds these checkpoints, of incarnations that [`take_due`](Self::take_due) named.
    pub(super) fn begin(
        &mut self,
        changed: BTreeSet<Incarnation>,
        checkpoints: Vec<crate::model::checkpoint::Checkpoint>,
        now: Instant,
    ) -> Save {
        let forgotten = std::mem::take(&mut self.forgotten);
        let (together, marks) = self.changed.begun(&changed);
        let looks = self.begin_looks();
        let told = checkpoints.iter().map(|saved| (saved.incarnation, saved.offset, saved.fingerprint.len()));
        let save = Save {
            forgotten: forgotten.iter().copied().collect(),
            dead_letters: self.dead_letters.clone(),
            looks,
            ..Save::default()
        };
        let offsets = told.collect();
        let dead_letters = self.dead_letters.len();
        self.under_way =
            Some(UnderWay { changed, together, marks, forgotten, offsets, dead_letters, begun_at: now });
        self.answers.iter_mut().for_each(|(_, _, is_under_way)| *is_under_way = true);
        self.pace.begun(self.changed.held(), now);
        Save { checkpoints, ..save }
    }

    /// The save under way came through.
    ///
    /// # Panics
    /// When none is under way.
    pub(super) fn came_through(&mut self) -> Saved {
        let under_way = self.under_way.take().expect("an answer comes for the save under way");
        self.pace.saved();
        self.looks.retain(|_, look| !look.is_under_way);
        let (durable, waiting) =
            std::mem::take(&mut self.answers).into_iter().partition(|(_, _, is_under_way)| *is_under_way);
        self.answers = waiting;
        let durable: Vec<_> = durable;
        let moved = durable.into_iter().map(|(number, moved, _)| (number, moved)).collect();
        self.acknowledgements.came_through();
        drop(self.dead_letters.drain(..under_way.dead_letters));
        self.unsaved_dead_letter_bytes =
            self.dead_letters.iter().map(|letter| letter.data.len() as u64).sum();
        Saved { offsets: under_way.offsets, moved, is_again: self.not_saved.take().is_some() }
    }

    /// The save under way failed: all that it held waits again, but for incarnations that are no more. Returns whether
    /// that is news.
    ///
    /// # Panics
    /// When none is under way.
    pub(super) fn failed(
        &mut self,
        why: Arc<str>,
        is_known: impl Fn(Incarnation) -> bool,
        now: Instant,
    ) -> bool {
        let under_way = self.under_way.take().expect("an answer comes for the save under way");
        self.pace.failed(now);
        self.acknowledgements.failed();
        self.looks.values_mut().for_each(|look| look.is_under_way = false);
        self.answers.iter_mut().for_each(|(_, _, is_under_way)| *is_under_way = false);
        self.changed.take_back((under_way.changed, under_way.together, under_way.marks), is_known);
        self.forgotten.extend(under_way.forgotten);
        self.not_saved.replace(why).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::checkpoint::FirstLook;
    use crate::rules::dead_letters::MAX_DEAD_LETTER_BYTES;

    const SETTINGS: CheckpointSettings =
        CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1000 };

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    fn saves() -> Saves {
        Saves::new(SETTINGS, NonZeroUsize::MAX, Room::new(["stream".into()], BTreeMap::new()), at(0))
    }

    fn letter(bytes: usize) -> DeadLetter {
        DeadLetter {
            stream: "stream".into(),
            source: "source".into(),
            path: std::path::Path::new("/a.log").into(),
            offset: Offset::ZERO,
            code: "Code".into(),
            message: "message".into(),
            data: vec![b'x'; bytes].into(),
            target: None,
            unmade: None,
        }
    }

    #[test]
    fn a_save_that_fails_or_does_not_answer_is_trouble_until_one_comes_through() {
        let mut saves = saves();
        saves.await_fingerprint(Incarnation(1), at(0));
        let changed = saves.take_due(false, at(0)).expect("it cannot wait");
        saves.begin(changed, Vec::new(), at(0));
        assert!(!saves.is_in_trouble(at(0)));
        assert_eq!(saves.deadline(at(0)), Some(at(0) + PATIENCE));
        assert!(saves.is_in_trouble(at(0) + PATIENCE), "no answer");
        assert_eq!(saves.take_awaiting(), [Incarnation(1)].into());
        saves.await_at_all_events(Incarnation(1));
        saves.await_fingerprint(Incarnation(1), at(1));
        assert_eq!((saves.take_awaiting().len(), saves.awaiting_at_all_events()), (0, 1), "once asked");
        saves.failed("disk full".into(), |_| true, at(2));
        assert!(saves.is_in_trouble(at(2)));
        let changed = saves.take_due(false, at(10)).expect("it cannot wait");
        saves.begin(changed, Vec::new(), at(10));
        saves.came_through();
        assert!(!saves.is_in_trouble(at(20)) && saves.fingerprint_is_durable(Incarnation(1)));
        assert_eq!(saves.awaiting_at_all_events(), 0);
    }

    #[test]
    fn a_change_waits_for_the_interval_and_a_dead_letter_does_not() {
        let mut saves = saves();
        assert_eq!(saves.take_due(false, at(0)), None, "nothing changed");
        saves.note_changed(Incarnation(1), 10, at(1));
        assert_eq!(saves.take_due(false, at(1)), None, "the interval is not over");
        saves.add_dead_letter(letter(10));
        assert_eq!(saves.take_due(false, at(1)), Some([Incarnation(1)].into()));
    }

    #[test]
    fn what_a_failed_save_held_waits_again_unless_it_is_no_more() {
        let mut saves = saves();
        saves.note_changed(Incarnation(1), 10, at(0));
        saves.note_changed(Incarnation(2), 10, at(0));
        saves.forget(Incarnation(3), at(0));
        saves.add_dead_letter(letter(10));
        let changed = saves.take_due(false, at(1)).expect("it is due");
        let save = saves.begin(changed, Vec::new(), at(1));
        assert_eq!((save.forgotten, save.dead_letters.len()), (vec![Incarnation(3)], 1));
        assert!(saves.failed("disk full".into(), |incarnation| incarnation == Incarnation(2), at(1)));
        assert_eq!(saves.take_due(false, at(1)), None, "not at once");
        assert_eq!(saves.take_due(false, at(2)), Some([Incarnation(2)].into()));
        let save = saves.begin(BTreeSet::new(), Vec::new(), at(2));
        assert_eq!((save.forgotten, save.dead_letters.len()), (vec![Incarnation(3)], 1));
        assert!(saves.came_through().is_again);
        assert!(!saves.any_wait());
        assert_eq!(saves.all_dead_letter_bytes(), disk_bytes_of(&letter(10)));
    }

    #[test]
    fn the_files_of_a_look_wait_until_all_that_was_found_by_then_is_durable_in_however_many_saves() {
        let mut saves = Saves { changed: Changed::new(NonZeroUsize::MIN), ..saves() };
        let first = FirstLook { stream: "stream".into(), source: "source".into(), nanos: 1 };
        let mark = |saves: &mut Saves, number| {
            saves.note_changed(Incarnation(number), 0, at(0));
            saves.await_mark(SourceId(0), Incarnation(number), at(0));
        };
        saves.await_first_look(SourceId(0), first.clone(), at(0));
        (1..=3).for_each(|number| mark(&mut saves, number));
        saves.await_marks(SourceId(0));
        for (number, looks, is_over) in [(1, vec![], false), (2, vec![], false), (3, vec![first], true)] {
            assert!(saves.awaits_look(SourceId(0), at(0)), "{number}");
            let changed = saves.take_due(false, at(0)).expect("it cannot wait");
            assert_eq!(changed, [Incarnation(number)].into());
            let save = saves.begin(changed, Vec::new(), at(0));
            assert_eq!(save.looks, looks, "with the last of its marks");
            // Found while that save is under way: for the next.
            mark(&mut saves, number + 10);
            saves.came_through();
            assert_eq!(saves.awaits_look(SourceId(0), at(0)), !is_over, "{number}");
            saves.forget(Incarnation(number + 10), at(0));
        }
    }

    #[test]
    fn a_dead_letter_that_comes_during_a_save_is_in_the_next() {
        let mut saves = saves();
        saves.add_dead_letter(letter(10));
        let changed = saves.take_due(false, at(0)).expect("it cannot wait");
        assert_eq!(saves.begin(changed, Vec::new(), at(1)).dead_letters.len(), 1);
        saves.add_dead_letter(letter(20));
        assert_eq!(saves.take_due(false, at(0)), None, "one save at a time");
        drop(saves.came_through());
        assert_eq!(saves.unsaved_bytes(), 20);
        let changed = saves.take_due(false, at(0)).expect("it cannot wait");
        assert_eq!(saves.begin(changed, Vec::new(), at(1)).dead_letters.len(), 1);
    }

    #[test]
    fn dead_letters_that_are_not_durable_yet_take_room_already() {
        let nearly = MAX_DEAD_LETTER_BYTES - disk_bytes_of(&letter(10));
        let room = Room::new(["stream".into()], BTreeMap::from([("stream".into(), nearly)]));
        let mut saves = Saves::new(SETTINGS, NonZeroUsize::MAX, room, at(0));
        assert!(saves.has_room_for(&letter(10)) && !saves.has_room_for(&letter(11)));
        saves.add_dead_letter(letter(10));
        assert!(!saves.has_room_for(&letter(0)));
        saves.room_mut().free("stream", 1000);
        assert!(saves.has_room_for(&letter(10)));
    }
}
