//! Generations that came under a name and were rotated away while nobody looked: found beside it, and read whole.
//!
//! A file that begins like a generation that is known may be a copy of it (a rotator moves to another file system by
//! copying, or compresses): it is compared before a line of it is taken in. Who may have made the file is looked at, too:
//! whoever else may write to the directory gets nothing shipped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::SourceId;
use crate::model::time::Instant;
use crate::rules::rotation::family::{Family, is_missed};
use crate::rules::rotation::{is_younger, originals, uncompressed};

use super::Engine;
use super::files::file::{Name, Task};
use super::parting::Parting;
use super::port::{FileId, Observation, Observed};

impl Engine {
    /// Follows what lies beside the files of a source and is a missed generation of one.
    pub(super) fn follow_missed(
        &mut self,
        observation: &Observation,
        beside: &BTreeMap<Identity, &Observed>,
        now: Instant,
    ) {
        let source = observation.source;
        let stream = Arc::clone(self.stream_name(self.stream_of(source)));
        self.families.note_look(source, &stream, self.surveys.unix_nanos());
        if observation.hidden.is_empty() {
            let there: BTreeSet<_> = observation.files.iter().map(|observed| observed.identity).collect();
            self.families.keep_only(source, |file| there.contains(file));
        }
        if beside.values().all(|observed| observed.rotated_from.is_empty()) {
            return;
        }
        let matched = observation.files.iter().filter(|observed| observed.is_matched);
        let current: HashMap<&Path, Identity> =
            matched.map(|observed| (&**observed.real_path(), observed.identity)).collect();
        let there: BTreeSet<&Path> =
            observation.files.iter().map(|observed| &**observed.real_path()).collect();
        // Whoever compresses a file removes it when that is done: what is there before is not whole.
        let is_whole = |observed: &&&Observed| {
            uncompressed(observed.real_path()).is_none_or(|before| !there.contains(before.as_path()))
        };
        let missed = beside.values().filter(is_whole);
        let missed = missed.filter(|observed| self.was_missed(source, observed, &current));
        for observed in missed.copied().collect::<Vec<_>>() {
            let id = self.follow(source, observed, Name::Lost, now);
            self.files.known_mut(id).kind.decompressed = uncompressed(&observed.path).is_some();
        }
    }

    fn was_missed(&self, source: SourceId, observed: &Observed, current: &HashMap<&Path, Identity>) -> bool {
        let stream = self.stream_of(source);
        let name = self.stream_name(stream);
        let names = &observed.rotated_from;
        if names.is_empty() || self.is_known(source, observed.identity) {
            return false;
        }
        if self.families.is_refused(source, observed.identity) {
            return true;
        }
        let since = self.families.first_seen_nanos(name, names);
        let Some(first_seen_nanos) = since.or(self.families.since_nanos(source)) else { return false };
        let current = names.iter().filter_map(|name| current.get(&**name));
        let known = current.filter(|current| self.is_known(source, **current));
        let family =
            Family { first_seen_nanos, current_nanos: known.filter_map(|known| known.birth_nanos).max() };
        is_missed(observed.identity.birth_nanos, family)
            && self.families.may_be_of(name, names, observed.owner)
            && !self.families.is_stranger(source, observed.identity)
    }

    /// A generation of the same family that is known and begins like `bytes`, which a missed one begins with.
    pub(super) fn known_generation_alike(&self, id: FileId, bytes: &[u8]) -> Option<Incarnation> {
        let file = self.files.known(id);
        if file.name != Name::Lost || file.family.is_empty() {
            return None;
        }
        let is_of_family = |path: &Path| {
            let names = &file.family;
            names.iter().any(|name| **name == *path)
                || originals(path).iter().any(|from| names.iter().any(|name| **name == **from))
        };
        let known = self.lives.known(self.stream_name(file.stream)).filter(|known| {
            known.identity != file.identity
                && known.position > Offset::ZERO
                && !known.fingerprint.is_empty()
                && known.fingerprint.matches(bytes)
                && is_younger(file.identity, known.identity)
                && is_of_family(known.path)
        });
        known.max_by_key(|known| known.position).map(|known| known.incarnation)
    }

    /// A missed generation is a copy of one that is known: where that one has lost its file, its life goes on in the
    /// copy; otherwise the copy is of no interest.
    pub(super) fn on_known_copy(&mut self, id: FileId, own: Incarnation, of: Incarnation, now: Instant) {
        if self.lives.is_stored(of) {
            return self.inherit(id, Some(own), of, now);
        }
        let file = self.files.known_mut(id);
        file.task = Task::Comparing { own: None, of };
        let (source, identity) = (file.source, file.identity);
        self.lives.part(own, super::lives::Afterwards::Forgotten);
        self.end_if_over(own, now);
        self.families.note_stranger(source, identity);
        self.part(id, Parting::Handed, now);
    }
}
