//! The end of waiting for copies: files that were held back are let go, and searches given up.
//!
//! *Invariant:* no search is given up while a file is compared: it may be the copy.

use std::collections::BTreeSet;

use super::ends::AtTheEnd;
use crate::engine::Engine;
use crate::engine::files::file::{FollowedFile, Name, Task};
use crate::engine::port::FileId;
use crate::model::identity::Incarnation;
use crate::model::time::Instant;
use crate::rules::copies::{HeldBack, Search};

impl Engine {
    /// Lets go what was held back long enough, and gives up what was looked for long enough.
    pub(in crate::engine) fn look_after_copies(&mut self, now: Instant) {
        let mut originals = BTreeSet::new();
        for id in self.files.ticking() {
            // What one copy took over may have been let go of.
            let Some(Task::Alike { own, of }) = self.files.get(id).map(|file| file.task) else { continue };
            let grew = self.files.grew(id);
            if grew {
                self.files.quieten(id, now);
            }
            let at_the_end = self.finishing.map(|_| self.at_the_end_of_a_drain(id, of));
            let file = self.files.known(id);
            let held_back = HeldBack {
                since: file.times.held_back_since,
                quiet_since: file.times.quiet_since,
                is_part: self.is_part_of(id, of),
                is_finishing: at_the_end == Some(AtTheEnd::IsRead),
            };
            // What is written behind the end of the drain is for the next start.
            let is_compared = file.end.fixed_bytes.is_some_and(|end| file.compared.same_bytes >= end);
            let is_over = held_back.is_over(now);
            let is_told = is_over || at_the_end.is_some_and(|end| end != AtTheEnd::Waits);
            if held_back.is_part && self.is_beside(id) && is_told {
                self.drop_copy(id, own, now);
            } else if is_over || self.is_another(id, of) {
                self.let_go_of_alike(id, own);
            } else if self.was_never_compared(id, of) {
                self.take_up_alike(id);
            } else if let Some(end) = at_the_end.filter(|_| !grew || is_compared) {
                self.end_with_alike(of, end, now);
            } else {
                // An original that is gone is let go of when a copy says all of it, and its life goes on there.
                if !self.may_be_handed(id, of) {
                    originals.insert(of);
                }
                if grew {
                    self.take_up_alike(id);
                }
            }
        }
        // Hints may be lost: only a look at the original says whether it was cut off.
        for id in originals.into_iter().filter_map(|of| self.lives.file_of(of)).collect::<Vec<_>>() {
            self.queue_read(id);
        }
        self.give_up_searches(now);
    }

    /// Whether all of an incarnation is delivered, its file has lost its name, and a copy says all of it.
    pub(super) fn may_be_handed(&self, copy: FileId, of: Incarnation) -> bool {
        let Some(original) = self.lives.file_of(of).map(|original| self.files.known(original)) else {
            return false;
        };
        let state = self.lives.on_its_way(of);
        original.name == Name::Lost
            && state.is_settled()
            && state.unread_bytes() == 0
            && self.files.known(copy).compared.same_bytes >= state.position().bytes()
    }

    fn give_up_searches(&mut self, now: Instant) {
        let is_over = |of: &Incarnation| {
            let search = self.lives.sought(*of).expect("just listed").search;
            // Nobody looks while the source is not configured.
            !self.surveys.is_retired(search.source)
                && Search { since: search.since, has_looked: search.looked }.is_over(now)
        };
        let given_up: Vec<_> = self.lives.all_sought().into_iter().filter(is_over).collect();
        let compares =
            |file: &FollowedFile| file.kind.only_as_copy || matches!(file.task, Task::Comparing { .. });
        if given_up.is_empty() || self.files.iter().any(|(_, file)| compares(file)) {
            return;
        }
        for of in given_up {
            self.resolve(of, now);
        }
    }
}
