//! Which files follow others directly: by the names and the ages that a look shows.
//!
//! *Invariant:* a file that lies between two others, whether it is read or not, is seen to lie there.

use std::collections::HashMap;
use std::path::Path;

use crate::engine::Engine;
use crate::engine::files::file::Task;
use crate::engine::port::{FileId, Observation, Observed};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::rules::rotation::family::{directly_before, family_name, rotated_from};

/// For so long after it was found, a look may show the file before one that nothing was read of, in nanoseconds: a rotator may
/// just be renaming it, or it is looked for.
const FOUND_NANOS: i64 = 60_000_000_000;

impl Engine {
    /// Files that nothing was read of have seams with the generations directly before them, where their lines may go on there.
    pub(in crate::engine) fn note_seams(&mut self, observation: &Observation) {
        let source = observation.source;
        if self.finishing.is_some() || !self.joins_lines(source) {
            return;
        }
        let followed = observation.files.iter().filter_map(|observed| {
            let id = self.followed(source, observed).filter(|id| self.may_have_a_seam(*id, source))?;
            Some((id, observed, family_name(observed.real_path())))
        });
        let begun: Vec<_> = followed.collect();
        if begun.is_empty() {
            return;
        }
        let mut families: HashMap<&Path, Vec<&Observed>> =
            begun.iter().map(|(_, _, family)| (&**family, Vec::new())).collect();
        for observed in &observation.files {
            if let Some(family) = families.get_mut(&*family_name(observed.real_path())) {
                family.push(observed);
            }
        }
        for (id, observed, family) in &begun {
            let others = families[&**family].iter().filter(|other| other.identity != observed.identity);
            let others = others.map(|other| (*other, other.identity.birth_nanos));
            let stream = self.files.known(*id).stream;
            if let Some(before) = directly_before(observed.identity.birth_nanos, others)
                && self.made_room_for(before, observed, stream)
                && self.may_go_on_in_another(before, (source, stream))
            {
                self.families.seams_mut().add((stream, observed.identity), (stream, before.identity));
            }
        }
    }

    /// Whether what is said in one file of a source may go on in the next.
    pub(in crate::engine) fn joins_lines(&self, source: SourceId) -> bool {
        let settings = &self.settings.sources[source.0];
        settings.multiline.is_some() || settings.runtime.is_some()
    }

    /// Whether nothing was read of a file of the source, which was found a while ago at most.
    fn may_have_a_seam(&self, id: FileId, source: SourceId) -> bool {
        let file = self.files.known(id);
        let is_unread = match file.task {
            Task::Begin => !file.kind.only_as_copy,
            Task::Follow(incarnation) => self.lives.on_its_way(incarnation).position() == Offset::ZERO,
            _ => false,
        };
        let age = self.surveys.unix_nanos().saturating_sub(file.times.found_nanos);
        is_unread && file.source == source && !file.kind.decompressed && age < FOUND_NANOS
    }

    /// Whether a file was renamed so that another could have its name. Files of several writers may have names like a
    /// rotator's, and so may one that a program gives a date: of what a source matches only a name that it had tells.
    fn made_room_for(&self, before: &Observed, next: &Observed, stream: StreamId) -> bool {
        let had = |file: &Observed| self.families.seams().former_name((stream, file.identity));
        let mut stored = self.lives.stored_of(before.identity, self.stream_name(stream));
        had(before).is_some_and(|name| *name == *next.real_path() || had(next) == Some(name))
            || stored.any(|stored| stored.target.as_ref().unwrap_or(&stored.path) == next.real_path())
            || !before.is_matched
                && (!next.is_matched
                    || rotated_from(before.real_path()).iter().any(|name| **name == **next.real_path()))
    }

    /// Whether lines at the end of a file may be left: it is read, or was by an earlier process and not to its end.
    fn may_go_on_in_another(&self, observed: &Observed, (source, stream): (SourceId, StreamId)) -> bool {
        if let Some(id) = self.files.of(stream, observed.identity) {
            let file = self.files.known(id);
            return file.source == source && !file.kind.decompressed;
        }
        let mut stored = self.lives.stored_of(observed.identity, self.stream_name(stream));
        stored.any(|stored| stored.offset.bytes() < observed.size)
    }
}
