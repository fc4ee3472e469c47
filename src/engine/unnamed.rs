//! Files that no source shows any more: read to their end, delivered, and let go.
//!
//! A removed file takes room on the disk as long as it is held open. It is held until it is delivered, unless that
//! takes a day, or the disk is nearly full: then what is unread of it is given up, and that is said and counted.
//!
//! *Invariant:* a file with unread bytes is let go of only with a declared loss.

use std::sync::Arc;
use std::time::Duration;

use crate::model::identity::Incarnation;
use crate::model::time::Instant;

use super::Engine;
use super::life::Afterwards;
use super::port::{FileId, Held};
use super::report::{Loss, Report};
use super::tail::{Descriptor, LastLine, Name};

/// How many checkpoints of closed files are kept: where files come and go fast, most of them are gone for good.
const MAX_CLOSED: usize = 1000;

/// How long a removed file is held for what is unread of it.
const HELD_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

impl Engine {
    /// Reads on in files without a name, ships their last line when they have been quiet, and lets them go when
    /// all is settled.
    pub(super) fn look_after_unnamed(&mut self, now: Instant) {
        let ids: Vec<_> = self
            .tails
            .iter()
            .filter(|(_, tail)| tail.name == Name::Lost || tail.retry_at.is_some())
            .map(|(id, _)| *id)
            .collect();
        self.needs_tick = !ids.is_empty();
        self.needs_tick |= self.look_after_copies(now);
        for id in ids {
            let Some(tail) = self.tails.get(&id) else { continue };
            if tail.retry_at.is_some_and(|at| now < at) || tail.descriptor != Descriptor::Open {
                // A closed file is woken by the survey that finds it, or by the next try.
                let is_due = tail.retry_at.is_some_and(|at| at <= now);
                if is_due && tail.descriptor == Descriptor::Open {
                    self.wake(id);
                } else if is_due {
                    self.await_descriptor(id);
                }
                continue;
            }
            let Some(incarnation) = tail.incarnation() else {
                self.wake(id);
                continue;
            };
            let patience = self.settings.sources[tail.source.0].close_removed_after;
            let life = &self.lives[&incarnation];
            let is_quiet = tail.name == Name::Lost
                && tail.reading.is_none()
                && !tail.dirty
                && tail.retry_at.is_none()
                && now.since(tail.quiet_since) >= patience;
            let has_rest = life.seen_bytes > life.position().bytes();
            if !is_quiet {
                self.wake(id);
            } else if has_rest {
                self.tails.get_mut(&id).expect("listed above").last_line = LastLine::Ships;
                self.wake(id);
            } else if life.is_settled() {
                let (source, path) = (tail.source, Arc::clone(&tail.path));
                self.drop_tail(id);
                self.keep_closed(incarnation, now);
                self.report(Report::Closed { source, path });
            }
        }
    }

    /// A file that was closed may still be there under another name. For those who ask whether it was shipped, and in
    /// case it comes back, its checkpoint is kept, if there is a birth time to tell it from others.
    pub(super) fn keep_closed(&mut self, incarnation: Incarnation, now: Instant) {
        if self.lives[&incarnation].identity.birth_nanos.is_none() {
            return self.detach(incarnation, Afterwards::Forgotten, now);
        }
        self.detach(incarnation, Afterwards::Kept, now);
        self.closed.push_back(incarnation);
        if self.closed.len() > MAX_CLOSED {
            let oldest = self.closed.pop_front();
            if oldest.is_some_and(|oldest| self.stored.remove(oldest)) {
                self.parting.retain(|incarnation| Some(*incarnation) != oldest);
                self.forgotten.extend(oldest);
            }
        }
    }

    /// Open files that may be removed: the next survey says whether they are.
    pub(super) fn held(&self) -> Vec<FileId> {
        let unnamed =
            |tail: &super::tail::Tail| tail.name == Name::Lost && tail.descriptor == Descriptor::Open;
        self.tails.iter().filter(|(_, tail)| unnamed(tail)).map(|(id, _)| *id).collect()
    }

    /// Gives up what was held for too long, and of what holds a disk that is nearly full, the largest.
    pub(super) fn on_held(&mut self, held: &[Held], now: Instant) {
        let removed = |held: &&Held| {
            let tail = self.tails.get(&held.tail);
            held.is_removed
                && tail.is_some_and(|tail| {
                    tail.name == Name::Lost && tail.reading.is_none() && tail.incarnation().is_some()
                })
        };
        let removed: Vec<_> = held.iter().filter(removed).copied().collect();
        let largest = removed.iter().filter(|held| held.is_disk_nearly_full).max_by_key(|held| held.size);
        let largest = largest.map(|held| held.tail);
        for Held { tail: id, size, .. } in removed {
            let why = if largest == Some(id) {
                Loss::DiskFull
            } else if now.since(self.tails[&id].lost_since) >= HELD_AT_MOST {
                Loss::HeldTooLong
            } else {
                continue;
            };
            self.give_up(id, size, why, now);
        }
    }

    fn give_up(&mut self, id: FileId, size: u64, why: Loss, now: Instant) {
        let tail = &self.tails[&id];
        let (source, path) = (tail.source, Arc::clone(&tail.path));
        let incarnation = tail.incarnation().expect("a file that is given up was followed");
        let from = self.lives[&incarnation].position();
        let unread = size.max(self.lives[&incarnation].seen_bytes).saturating_sub(from.bytes());
        if unread > 0 {
            self.abandon(source, path, from, unread, why);
        }
        self.drop_tail(id);
        // What was read of it is delivered from memory.
        self.keep_closed(incarnation, now);
        self.pace.changed(0, now);
    }
}
