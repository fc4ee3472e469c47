//! How long a file is held back, and a copy looked for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::Engine;
use crate::engine::files::file::{FollowedFile, Task};
use crate::model::identity::Incarnation;
use crate::model::time::Instant;

/// How long a file that begins like another is held back since it last grew: a rotator cuts off as soon as it has
/// copied.
const HELD_BACK: Duration = Duration::from_secs(5);

/// How long a file that begins like another is held back in all, though it goes on growing: a copy of some GiB is made
/// in less.
const MAX_HELD_BACK: Duration = Duration::from_secs(60);

/// How long a copy is looked for after its original was cut off.
const SOUGHT: Duration = Duration::from_secs(10);

/// How long a copy is looked for whose directory cannot be looked into.
const MAX_SOUGHT: Duration = Duration::from_secs(3600);

impl Engine {
    /// Lets go what was held back long enough, and gives up what was looked for long enough.
    pub(in crate::engine) fn look_after_copies(&mut self, now: Instant) {
        let mut originals = BTreeSet::new();
        for id in self.files.ticking() {
            let Task::Alike { own, of } = self.files.known(id).task else { continue };
            let grew = self.files.grew(id);
            let file = self.files.known_mut(id);
            if grew {
                file.times.quiet_since = now;
            }
            let is_over = now.since(file.times.quiet_since) >= HELD_BACK
                || now.since(file.times.held_back_since) >= MAX_HELD_BACK
                || self.finishing.is_some();
            if is_over {
                file.task = Task::Follow(own);
                file.head = Bytes::new();
                self.files.release(id);
            } else {
                originals.insert(of);
            }
        }
        // Hints may be lost: only a look at the original says whether it was cut off.
        if !originals.is_empty() {
            let awaited = self.files.iter().filter(|(_, file)| {
                file.incarnation().is_some_and(|incarnation| originals.contains(&incarnation))
            });
            for id in awaited.map(|(id, _)| id).collect::<Vec<_>>() {
                self.queue_read(id);
            }
        }
        self.give_up_searches(now);
    }

    fn give_up_searches(&mut self, now: Instant) {
        let is_over = |of: &Incarnation| {
            let search = self.lives.sought(*of).expect("just listed").search;
            now.since(search.since) >= if search.looked { SOUGHT } else { MAX_SOUGHT }
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
