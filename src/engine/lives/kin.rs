//! Incarnations by the families that the names of their files belong to, and by the names alone.
//!
//! Knows hashes of names. What a rotator makes of a name is [`family`](crate::rules::rotation::family)'s to say.
//!
//! *Invariant:* each incarnation is under the name of its file, under each that a rotator may have made that of, under each
//! that it begins like, and under the last part of its name; asking for those of a name costs what is used of the answer,
//! not what there is of all.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::Incarnation;
use crate::rules::rotation::family::rotated_from;
use crate::rules::rotation::originals;

use super::search::Known;
use super::{Life, Lives};

/// Incarnations by the hashes of names.
///
/// Those of a hundred thousand files take less room than the names themselves, and of a name that all of them have, one is
/// added or taken out as fast as of others. The hashes are drawn anew for each process: that two names share one of 64 bits
/// is nobody's to bring about, and what they would share is a comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Kin {
    by_name: BTreeSet<(u64, Incarnation)>,
    hasher: RandomState,
}

/// No incarnation has this number.
const LATEST: Incarnation = Incarnation(u64::MAX);

/// A name, and those that a rotator may have made it of.
fn names_of(path: &Path) -> Vec<Box<Path>> {
    let others = rotated_from(path).into_iter().map(Box::from);
    std::iter::once(Box::from(path)).chain(others).collect()
}

impl Kin {
    fn of_path(&self, path: &Path) -> u64 {
        self.hasher.hash_one((0_u8, path))
    }

    /// Of what a name may come from that is none of a rotator's: while a file is copied, it may be called in whatever way.
    fn of_beginning(&self, path: &Path) -> u64 {
        self.hasher.hash_one((1_u8, path))
    }

    fn of_last_part(&self, name: &OsStr) -> u64 {
        self.hasher.hash_one((2_u8, name))
    }

    fn hashes_of(&self, path: &Path) -> Vec<u64> {
        let names = names_of(path);
        let beginnings = originals(path).into_iter().filter(|name| !names.iter().any(|of| **of == **name));
        let beginnings = beginnings.map(|name| self.of_beginning(&name));
        let last_part = path.file_name().map(|name| self.of_last_part(name));
        names.iter().map(|name| self.of_path(name)).chain(beginnings).chain(last_part).collect()
    }

    pub(super) fn add(&mut self, incarnation: Incarnation, path: &Path) {
        self.by_name.extend(self.hashes_of(path).into_iter().map(|hash| (hash, incarnation)));
    }

    pub(super) fn remove(&mut self, incarnation: Incarnation, path: &Path) {
        for hash in self.hashes_of(path) {
            self.by_name.remove(&(hash, incarnation));
        }
    }

    /// Those under any of these hashes that are earlier than `before`, the latest first.
    fn under(&self, hashes: Vec<u64>, mut before: Incarnation) -> impl Iterator<Item = Incarnation> {
        std::iter::from_fn(move || {
            let latest =
                |hash: &u64| self.by_name.range((*hash, Incarnation(0))..(*hash, before)).next_back();
            before = hashes.iter().filter_map(latest).map(|(_, incarnation)| *incarnation).max()?;
            Some(before)
        })
    }

    /// As if nothing had been put in.
    #[cfg(test)]
    pub(super) fn emptied(&self) -> Self {
        Self { by_name: BTreeSet::new(), ..self.clone() }
    }

    #[cfg(test)]
    pub(super) fn holds_as(&self, other: &Self) -> bool {
        self.by_name == other.by_name
    }
}

impl Lives {
    fn known_of(
        &self,
        stream: &str,
        incarnations: impl Iterator<Item = Incarnation>,
    ) -> impl Iterator<Item = Known<'_>> {
        let lives = incarnations.map(|incarnation| &self.by_incarnation[&incarnation]);
        lives.filter(move |life| life.stream_name() == stream).map(Life::known)
    }

    /// All in a stream that have one of these names, or one that begins like it, the latest first; of those that are earlier
    /// than `before`, if that is given.
    pub(in crate::engine) fn known_of_family(
        &self,
        stream: &str,
        names: impl IntoIterator<Item = impl AsRef<Path>>,
        before: Option<Incarnation>,
    ) -> impl Iterator<Item = Known<'_>> {
        let of_name = |name: &Path| [self.kin.of_path(name), self.kin.of_beginning(name)];
        let hashes = names.into_iter().flat_map(|name| of_name(name.as_ref())).collect();
        self.known_of(stream, self.kin.under(hashes, before.unwrap_or(LATEST)))
    }

    /// All in a stream that have one of these names in whatever directory, the latest first.
    pub(in crate::engine) fn known_as<'a>(
        &self,
        stream: &str,
        names: impl IntoIterator<Item = &'a OsStr>,
    ) -> impl Iterator<Item = Known<'_>> {
        let hashes = names.into_iter().map(|name| self.kin.of_last_part(name)).collect();
        self.known_of(stream, self.kin.under(hashes, LATEST))
    }

    /// Incarnations in the stream of a checkpoint whose names a rotator may have made of the same name, or that of it.
    pub(in crate::engine) fn relatives(&self, of: &Checkpoint) -> Vec<Incarnation> {
        let hashes = names_of(of.real_path()).iter().map(|name| self.kin.of_path(name)).collect();
        let known = self.known_of(&of.stream, self.kin.under(hashes, LATEST));
        known.map(|known| known.incarnation).collect()
    }

    /// The file of one that is read, or was, has another name.
    pub(in crate::engine) fn rename(
        &mut self,
        incarnation: Incarnation,
        path: Arc<Path>,
        target: Option<Arc<Path>>,
    ) {
        let mut life = self.take(incarnation);
        if let Some(state) = life.as_mut().and_then(Life::state_mut) {
            state.rename(path, target);
        }
        if let Some(life) = life {
            self.put(incarnation, life);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_family_are_found_once_each_and_the_latest_first() {
        let mut kin = Kin::default();
        let paths = [
            "/a/app.log",
            "/a/app.log.1",
            "/a/app.log.2.gz",
            "/b/app.log",
            "/a/app-audit.log",
            "/a/app.log.tmp",
        ];
        for (number, path) in (1..).zip(paths) {
            kin.add(Incarnation(number), Path::new(path));
        }
        let of_path = |names: &[&str], before| {
            let hashes = names.iter().map(|name| kin.of_path(Path::new(name))).collect();
            kin.under(hashes, Incarnation(before)).map(|found| found.0).collect::<Vec<_>>()
        };
        assert_eq!(of_path(&["/a/app.log"], 9), [3, 2, 1]);
        assert_eq!(of_path(&["/a/app.log", "/a/app.log.1", "/b/app.log"], 9), [4, 3, 2, 1]);
        assert_eq!(of_path(&["/a/app.log"], 3), [2, 1], "what was tried before is not tried again");
        assert!(of_path(&["/a/app"], 9).is_empty());
        let begin =
            kin.under(vec![kin.of_beginning(Path::new("/a/app.log"))], Incarnation(9)).collect::<Vec<_>>();
        assert_eq!(begin, [Incarnation(6), Incarnation(5)], "but for those that a rotator has surely made");
        let called: Vec<_> =
            kin.under(vec![kin.of_last_part(OsStr::new("app.log"))], Incarnation(9)).collect();
        assert_eq!(called, [Incarnation(4), Incarnation(1)]);
        for (number, path) in (1..).zip(paths) {
            kin.remove(Incarnation(number), Path::new(path));
        }
        assert!(kin.holds_as(&kin.emptied()));
    }
}
