//! Incarnations of which something is still to be settled, and those that a save may hold.
//!
//! Knows which was found last. Does not know what they wait for.

use super::{Afterwards, Life, Lives};
use crate::engine::incarnation::IncarnationState;
use crate::model::identity::Incarnation;

impl Life {
    /// Whether a person moved the position: no save holds it.
    pub(super) fn is_withdrawn(&self) -> bool {
        matches!(self, Self::Parted { afterwards: Afterwards::Withdrawn, .. })
    }
}

impl Lives {
    /// Those that are read or delivered, from one on.
    pub(in crate::engine) fn incarnations_from(
        &self,
        from: Incarnation,
    ) -> impl Iterator<Item = Incarnation> {
        let states = self.by_incarnation.range(from..).filter_map(|(_, life)| life.state());
        states.map(IncarnationState::incarnation)
    }

    /// Whether an incarnation is not over.
    pub(in crate::engine) fn is_known(&self, incarnation: Incarnation) -> bool {
        self.by_incarnation.contains_key(&incarnation)
    }

    /// Whether a save holds an incarnation.
    pub(in crate::engine) fn is_saved(&self, incarnation: Incarnation) -> bool {
        self.by_incarnation.get(&incarnation).is_some_and(|life| !life.is_withdrawn())
    }

    /// An incarnation of which something is not settled that may be, if there is one: the one that was found last is asked
    /// first, and then those behind it.
    pub(in crate::engine) fn restless(&self) -> Option<Incarnation> {
        let last = self.restless.unwrap_or(Incarnation(0));
        let (behind, before) = (self.by_incarnation.range(last..), self.by_incarnation.range(..last));
        let states = behind.chain(before).filter_map(|(_, life)| life.state());
        states.filter(|state| !state.has_come_to_rest()).map(IncarnationState::incarnation).next()
    }

    /// Whether the one that was found last has not come to rest.
    pub(in crate::engine) fn was_restless(&self) -> bool {
        self.restless.and_then(|last| self.state(last)).is_some_and(|state| !state.has_come_to_rest())
    }

    /// Where the next search is to begin.
    pub(in crate::engine) fn note_restless(&mut self, found: Option<Incarnation>) {
        self.restless = found.or(self.restless);
    }
}
