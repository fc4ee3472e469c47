//! How files and incarnations part: the one way out for bytes that were seen.
//!
//! *Invariant (L13):* bytes that were seen in a followed file leave as delivered, as handed on to another life, or as
//! declared lost with their number.

use std::path::Path;
use std::sync::Arc;

use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::settings::SourceId;
use crate::model::time::Instant;

use super::Engine;
use super::lives::{Afterwards, Over};
use super::port::{Effect, FileId};
use super::report::{Loss, Report};

/// What becomes of the bytes of a file that were seen and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// There are none.
    Delivered,
    /// Another life takes over: the same incarnation in another file, or the search for copies.
    Handed,
    /// They stay in the file, whose source is no longer configured: read when the source comes back.
    LeftInPlace,
    /// They are lost.
    Declared(Loss),
}

impl Engine {
    /// Lets go of a file: it is closed, and its incarnation, if it has one, parts.
    ///
    /// # Panics
    /// L13: when everything is said to be read, and is not.
    pub(super) fn part(&mut self, id: FileId, parting: Parting, now: Instant) {
        if let (Parting::Declared(why), Some(incarnation)) = (parting, self.files.read_into(id)) {
            let state = self.lives.on_its_way(incarnation);
            let (position, unread) = (state.position(), state.unread_bytes());
            let file = self.files.known(id);
            self.abandon(file.source, Arc::clone(&file.path), position, unread, why);
        }
        let file = self.files.remove(id);
        self.leaving.remove(&id);
        if file.is_open() {
            self.descriptors.release();
            self.effects.push_back(Effect::Close(id));
        }
        let Some(incarnation) = file.incarnation() else { return };
        let state = self.lives.on_its_way(incarnation);
        // Without a birth time nothing could tell the file from another.
        let afterwards = match state.whose().identity.birth_nanos {
            None if parting != Parting::LeftInPlace => Afterwards::Forgotten,
            _ => Afterwards::Kept,
        };
        match parting {
            Parting::Delivered => {
                let unread = state.unread_bytes();
                assert!(unread == 0, "L13: {unread} bytes of {file:?} were not read");
            }
            Parting::LeftInPlace => self.lives.let_go_of(incarnation, file.source),
            Parting::Handed | Parting::Declared(_) => {}
        }
        self.lives.part(incarnation, afterwards);
        if afterwards == Afterwards::Kept && parting != Parting::LeftInPlace {
            // It may still be there under another name, or come back, or be asked for.
            let oldest = self.lives.note_closed(incarnation);
            oldest.into_iter().for_each(|oldest| self.saves.forget(oldest, now));
        }
        self.end_if_over(incarnation, now);
    }

    /// An incarnation is over once it parted and all of it is settled: its checkpoint is forgotten, or kept.
    pub(super) fn end_if_over(&mut self, incarnation: Incarnation, now: Instant) {
        match self.lives.end_if_over(incarnation) {
            None => {}
            Some(Over::Forgotten) => self.saves.forget(incarnation, now),
            Some(Over::Stored) => self.saves.note_changed(incarnation, 0, now),
        }
    }

    /// Declares a loss.
    pub(super) fn abandon(&mut self, source: SourceId, path: Arc<Path>, from: Offset, bytes: u64, why: Loss) {
        if bytes > 0 {
            self.counts.sources[source.0].add_lost(why, bytes);
            self.report(Report::Abandoned { source, path, from, bytes, why });
        }
    }
}
