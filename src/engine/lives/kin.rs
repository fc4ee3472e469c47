//! Incarnations by the families that the names of their files belong to.
//!
//! Knows names. What a rotator makes of a name is [`family`](crate::rules::rotation::family)'s to say.
//!
//! *Invariant:* each incarnation is under the name of its file, and under each that a rotator may have made that of; asking
//! for the kin of one costs what there is of it, not what there is of all.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::Incarnation;
use crate::rules::rotation::family::rotated_from;

use super::{Life, Lives};
use crate::engine::by_path::ByPath;
use crate::engine::few::Few;

/// Incarnations by the names of their families.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kin(ByPath<Few<Incarnation>>);

fn names_of(path: &Arc<Path>) -> impl Iterator<Item = Arc<Path>> {
    let others = rotated_from(path).into_iter().map(Arc::from);
    std::iter::once(Arc::clone(path)).chain(others)
}

impl Kin {
    pub(super) fn add(&mut self, incarnation: Incarnation, path: &Arc<Path>) {
        for name in names_of(path) {
            self.0.get_or_insert(name, Few::default()).insert(incarnation);
        }
    }

    pub(super) fn remove(&mut self, incarnation: Incarnation, path: &Arc<Path>) {
        for name in names_of(path) {
            if self.0.get_mut(&name).is_some_and(|of_name| of_name.remove(incarnation)) {
                self.0.remove(&name);
            }
        }
    }

    fn of(&self, path: &Arc<Path>) -> BTreeSet<Incarnation> {
        names_of(path).filter_map(|name| self.0.get(&name)).flat_map(Few::as_slice).copied().collect()
    }
}

impl Lives {
    /// Incarnations in the stream of a checkpoint whose names a rotator may have made of the same name, or that of it.
    pub(in crate::engine) fn relatives(&self, of: &Checkpoint) -> Vec<Incarnation> {
        let is_of_stream =
            |incarnation: &Incarnation| self.by_incarnation[incarnation].stream_name() == &*of.stream;
        self.kin.of(of.real_path()).into_iter().filter(is_of_stream).collect()
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
