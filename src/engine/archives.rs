//! Compressed files that a source matches: told apart by what was compressed.
//!
//! - *archive*: a file that a source matches, and by whose name a rotator compressed a generation of one of its files
//!
//! What is in an archive may have been delivered before it was compressed, or nobody may have seen it. So it is opened as
//! what it was, and compared with the generations that are known: it goes on where one of them stopped, or is a copy of
//! one. What came while nobody looked is read whole. Of any other nothing is known: it is a compressed file like those of
//! other programs, not read, and told (`unwanted.rs`).
//!
//! *Invariant:* an archive is passed over in silence only while what was compressed is known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::hidden::Hidden;
use crate::model::identity::Identity;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::rotation::family::rotated_from;
use crate::rules::rotation::uncompressed;

use super::Engine;
use super::files::file::Name;
use super::port::{FileId, Observation, Observed};

/// What is known of an archive that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// Being compared: its content is asked of the file.
    Asked,
    /// What was compressed is known: read, or a copy of what was.
    Known,
    /// Of what was compressed nothing is known, or it cannot be told.
    Unknown,
}

/// The archives that were opened.
#[derive(Debug, Default)]
pub(super) struct Archives(BTreeMap<(SourceId, Identity), Inside>);

/// An archive that is to be opened.
#[derive(Debug)]
pub(super) struct Archive {
    stream: StreamId,
    /// Its place in the look.
    place: usize,
    /// Whether it came while nobody looked, by its name and its age.
    is_missed: bool,
}

/// Whether a file is an archive by its name. Without a birth time nothing tells which it is.
pub(super) fn is_archive(observed: &Observed) -> bool {
    observed.is_matched && !observed.rotated_from.is_empty() && observed.identity.birth_nanos.is_some()
}

/// What a look showed by the names that some of its files were made of, by whoever rotated or compressed them; each under the
/// name in the directory that holds it.
#[derive(Debug, Default)]
pub(super) struct Origins {
    names: HashSet<Arc<Path>>,
    /// Places in the look.
    there: HashMap<Arc<Path>, usize>,
}

impl Origins {
    /// Of all that a look showed.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a Observed>, observation: &Observation) -> Self {
        let mut origins = Self::default();
        files.into_iter().for_each(|file| origins.ask_for(file));
        if !origins.is_empty() {
            let files = observation.files.iter().enumerate();
            files.for_each(|(place, file)| origins.note(file, place));
        }
        origins
    }

    /// Whether nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What the look showed by the names that this file was made of is asked for.
    pub(super) fn ask_for(&mut self, file: &Observed) {
        self.names.extend(uncompressed(file.real_path()).map(Arc::from));
        self.names.extend(file.rotated_from.iter().cloned());
    }

    /// The look showed this file.
    pub(super) fn note(&mut self, file: &Observed, place: usize) {
        if let Some(name) = self.names.get(file.real_path()) {
            self.there.insert(Arc::clone(name), place);
        }
    }

    pub(super) fn get<'a>(&self, name: &Path, observation: &'a Observation) -> Option<&'a Observed> {
        self.there.get(name).map(|place| &observation.files[*place])
    }

    /// Whether what a look showed is not being compressed still: whoever compresses a file removes it when that is done.
    pub(super) fn is_whole(&self, observed: &Observed) -> bool {
        uncompressed(observed.real_path()).is_none_or(|before| !self.there.contains_key(before.as_path()))
    }
}

impl Engine {
    /// Says of what a source matches, and a rotator may have compressed, which names it may have had.
    pub(super) fn name_archive(&self, source: SourceId, observed: &mut Observed) {
        if !observed.is_matched || uncompressed(observed.real_path()).is_none() {
            return;
        }
        let real = Arc::clone(observed.real_path());
        let is_taken = |name: &Path| {
            name.file_name()
                .is_some_and(|name| self.leaving.takes(source, &observed.path.with_file_name(name)))
        };
        let names = rotated_from(&real).into_iter().filter(|name| is_taken(name));
        observed.rotated_from = names.map(Arc::from).collect();
    }

    /// What a look shows at this place, if that is an archive that was not opened yet, and is whole.
    pub(super) fn find_archive(
        &mut self,
        observation: &Observation,
        place: usize,
        origins: &Origins,
    ) -> Option<Archive> {
        let (source, observed) = (observation.source, &observation.files[place]);
        if self.surveys.is_too_late(source) || !origins.is_whole(observed) {
            return None;
        }
        let is_followed = self.followed(source, observed).is_some();
        let inside = self.unwanted.archives.0.get_mut(&(source, observed.identity));
        // It was let go of, and what it holds is known.
        if let Some(inside) = inside
            && *inside == Inside::Asked
            && !is_followed
        {
            *inside = Inside::Known;
        }
        if self.unwanted.archives.0.contains_key(&(source, observed.identity))
            || is_followed
            || self.is_too_old(source, observed, observation.unix_time)
        {
            return None;
        }
        let stream = self.stream_of(source, observed)?;
        let name = self.stream_name(stream);
        if self.families.may_be_of(name, &observed.rotated_from, observed.owner) {
            let is_missed = self.was_missed((source, name), observed, |name| origins.get(name, observation));
            Some(Archive { stream, place, is_missed })
        } else {
            self.unwanted.archives.0.insert((source, observed.identity), Inside::Unknown);
            None
        }
    }

    /// Opens archives as what they were: those of which a position is known go on with it, and others are compared.
    pub(super) fn open_archives(&mut self, observation: &Observation, archives: &[Archive], now: Instant) {
        let source = observation.source;
        for Archive { stream, place, is_missed } in archives {
            let observed = &observation.files[*place];
            if self.files.of(*stream, observed.identity).is_some() {
                continue;
            }
            let is_known = self.is_known(source, observed);
            self.unwanted.archives.0.insert((source, observed.identity), Inside::Asked);
            let id = self.follow((source, *stream), observed, Name::Lost, now);
            let kind = &mut self.files.known_mut(id).kind;
            (kind.decompressed, kind.only_as_copy, kind.is_since_cut_off) = (true, !is_known, *is_missed);
        }
    }

    /// Whether a file that a source shows is an archive that is not like any compressed file.
    pub(super) fn is_told_apart(&self, source: SourceId, observed: &Observed) -> bool {
        is_archive(observed) && !self.is_unknown_inside(source, observed.identity)
    }

    /// Whether nothing is known of what an archive holds.
    pub(super) fn is_unknown_inside(&self, source: SourceId, file: Identity) -> bool {
        self.unwanted.archives.0.get(&(source, file)) == Some(&Inside::Unknown)
    }

    /// Nothing is known of what a file holds that was opened as an archive, if it was.
    pub(super) fn note_unknown_inside(&mut self, id: FileId) {
        let file = self.files.known(id);
        let (source, identity) = (file.source, file.identity);
        if let Some(inside) = self.unwanted.archives.0.get_mut(&(source, identity))
            && *inside == Inside::Asked
        {
            *inside = Inside::Unknown;
            // It was there when a drain began: the next look opens it as what it is, and then it is read or told.
            self.surveys.want_before_the_end(source);
        }
    }

    /// A file could not be opened at all: when it can be, it is opened as what it is.
    pub(super) fn forget_archive(&mut self, source: SourceId, file: Identity) {
        self.unwanted.archives.0.remove(&(source, file));
    }

    /// Archives that the source shows no more are forgotten.
    pub(super) fn forget_archives(&mut self, observation: &Observation) {
        let source = observation.source;
        let is_any = self.unwanted.archives.0.keys().any(|(of, _)| *of == source);
        if !is_any || observation.hidden != Hidden::default() {
            return;
        }
        let there: BTreeSet<_> = observation.files.iter().map(|observed| observed.identity).collect();
        self.unwanted.archives.0.retain(|(of, identity), _| *of != source || there.contains(identity));
    }
}

#[cfg(test)]
mod tests;
