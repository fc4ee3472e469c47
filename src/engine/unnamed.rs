//! Files that no source shows any more: read to their end, delivered, and let go.
//!
//! A removed file takes room on the disk as long as it is held open. It is held until it is delivered, unless
//! `rules/giving_up.rs` gives it up: then what is unread of it is lost, and that is said and counted.

use std::sync::Arc;

use crate::model::settings::SourceId;
use crate::model::time::Instant;
use crate::rules::giving_up::{Cause, Removed, given_up};

use super::Engine;
use super::files::State;
use super::files::file::Name;
use super::parting::Parting;
use super::port::{FileId, Held};
use super::report::{Loss, Report, Rotation};

/// Why a file is not read whose file system does not answer.
pub(super) const LATE: &str = "its file system has not answered for 3 seconds";

impl Engine {
    /// Once a second: reads on in files without a name, ships their last line when they have been quiet, lets them go
    /// when all is settled, and tries again what failed.
    pub(super) fn look_after(&mut self, now: Instant) {
        self.look_after_copies(now);
        for id in self.files.ticking() {
            let Some(file) = self.files.get(id) else { continue };
            match file.state() {
                State::FailsToOpen { retry_at } if retry_at <= now => self.files.await_descriptor(id),
                State::FailsToRead { retry_at } if retry_at <= now => self.queue_read(id),
                State::AtEnd if file.name == Name::Lost => self.drain(id, now),
                State::Queued
                | State::Deferred { .. }
                | State::Collecting { .. }
                | State::Reading { .. }
                | State::AtEnd
                | State::FailsToRead { .. }
                | State::FailsToOpen { .. }
                | State::HeldBack { .. }
                | State::Blocked
                | State::Closed
                | State::AwaitsDescriptor
                | State::Opening { .. }
                | State::Sought => {}
            }
        }
    }

    /// Says once of each what does not answer.
    pub(super) fn note_late(&mut self, now: Instant) {
        for source in self.surveys.fall_silent(now) {
            self.report(Report::Silent { source });
        }
        for id in self.files.late(now) {
            let file = self.files.known(id);
            let (source, path) = (file.source, Arc::clone(&file.path));
            match file.state() {
                State::Opening { slot, .. } => self.descriptors.end_opening(slot),
                State::Reading { slot, .. } => self.intake.leave_slot(slot),
                other => unreachable!("L11: no answer is awaited of {id:?}, which is {other:?}"),
            }
            self.report(Report::Unreadable { source, path, why: LATE.to_owned() });
        }
    }

    /// An opening or a read was answered; tells whether it was late, and has left its slot.
    pub(super) fn note_answer(&mut self, id: FileId) -> bool {
        let was_late = self.files.answered(id);
        if was_late {
            let file = self.files.known(id);
            let (source, path) = (file.source, Arc::clone(&file.path));
            self.report(Report::Readable { source, path });
        }
        was_late
    }

    /// A file without a name is at its end.
    fn drain(&mut self, id: FileId, now: Instant) {
        let file = self.files.known(id);
        let Some(incarnation) = file.incarnation() else { return self.queue_read(id) };
        let patience = self.settings.sources[file.source.0].close_removed_after;
        let state = self.lives.on_its_way(incarnation);
        if now.since(file.times.quiet_since) < patience {
            self.queue_read(id);
        } else if state.unread_bytes() > 0 {
            self.files.known_mut(id).end.ships_last_line = true;
            self.queue_read(id);
        } else if state.is_settled() {
            let (source, path) = (file.source, Arc::clone(&file.path));
            self.part(id, Parting::Delivered, now);
            self.report(Report::Closed { source, path });
        }
    }

    /// Open files of a source that may be removed: its next survey says whether they are.
    pub(super) fn held(&self, source: SourceId) -> Vec<FileId> {
        let lost = |id: &FileId| {
            let file = self.files.known(*id);
            file.source == source && file.name == Name::Lost && file.is_open()
        };
        self.files.ticking().into_iter().filter(lost).collect()
    }

    /// Gives up removed files, where the rule says so, and declares what is unread of them.
    pub(super) fn on_held(&mut self, held: &[Held], now: Instant) {
        self.explain(held);
        let removed: Vec<_> = held.iter().filter_map(|held| self.removed(held)).collect();
        for (Held { file: id, size, .. }, cause) in given_up(&removed, now) {
            let why = match cause {
                Cause::HeldTooLong => Loss::HeldTooLong,
                Cause::DiskFull => Loss::DiskFull,
            };
            self.note_seen(*id, *size, now);
            // What was read of it is delivered from memory.
            self.part(*id, Parting::Declared(why), now);
        }
    }

    /// The kernel says of open files that lost their names whether they have others, wherever these are.
    fn explain(&mut self, held: &[Held]) {
        for held in held {
            if self.files.get(held.file).is_none() {
                continue;
            }
            self.files.known_mut(held.file).kind.is_removed = held.is_removed;
            let file = self.files.known(held.file);
            if !file.kind.is_unexplained {
                continue;
            }
            let rotation = if held.is_removed { Rotation::Removed } else { Rotation::Renamed };
            self.count_rotation(file.source, rotation);
            self.files.known_mut(held.file).kind.is_unexplained = false;
        }
    }

    /// What counts for whether a file is given up, of one that has no name left and can be let go of now.
    fn removed<'a>(&self, held: &'a Held) -> Option<Removed<&'a Held>> {
        let file = self.files.get(held.file).filter(|_| held.is_removed)?;
        let is_read = matches!(file.state(), State::Reading { .. });
        let may_part = file.name == Name::Lost && !is_read && file.is_open() && file.incarnation().is_some();
        may_part.then_some(Removed {
            file: held,
            disk_bytes: held.disk_bytes,
            is_disk_nearly_full: held.is_disk_nearly_full,
            lost_since: file.times.lost_since,
        })
    }
}
