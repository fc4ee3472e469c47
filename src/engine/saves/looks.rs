//! Looks that are to be durable before files are opened that they found.
//!
//! Knows which marks are to be durable before. Does not know files.
//!
//! *Invariant:* of a look that is durable all marks are that were made up to then.

use super::Saves;
use crate::model::checkpoint::FirstLook;
use crate::model::identity::Incarnation;
use crate::model::settings::SourceId;
use crate::model::time::Instant;

/// A look that is to be durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Whether the save under way holds it.
    pub(super) is_under_way: bool,
    /// Whether files wait for it also while nothing can be saved: it says what is left out of them.
    pub(super) is_needed: bool,
    /// The last of the marks that are to be durable before.
    pub(super) last_mark: Option<Incarnation>,
    /// What a later process is to know of it.
    pub(super) first: Option<FirstLook>,
}

impl Saves {
    /// The first look at a source that starts at the end is to be durable, also when it showed nothing: what comes later
    /// was not there.
    pub(in crate::engine) fn await_look(&mut self, source: SourceId, now: Instant) {
        let look = self.looks.entry(source).or_default();
        (look.is_under_way, look.is_needed) = (false, true);
        self.pace.changed(0, now);
    }

    /// The first look ever at a source is to be durable, whatever it showed. Its files are opened after that, where something can
    /// be saved.
    pub(in crate::engine) fn await_first_look(&mut self, source: SourceId, first: FirstLook, now: Instant) {
        let look = self.looks.entry(source).or_default();
        (look.is_under_way, look.first) = (false, Some(first));
        self.pace.changed(0, now);
    }

    /// A file was found of which a mark is to be durable. The source's files are opened after the next save at most: where
    /// files are found all the time, one of them always has a mark that waits.
    pub(in crate::engine) fn await_mark(&mut self, source: SourceId, mark: Incarnation, now: Instant) {
        let look = self.looks.entry(source).or_default();
        if !look.is_under_way {
            look.last_mark = Some(mark);
        }
        self.changed.add_mark(mark);
        self.pace.changed(0, now);
    }

    /// Marks of files that the first look at a source showed are to be durable, all of them, before its files are opened.
    pub(in crate::engine) fn await_marks(&mut self, source: SourceId) {
        let Some(last) = self.changed.last_mark() else { return };
        if let Some(look) = self.looks.get_mut(&source) {
            (look.is_under_way, look.last_mark) = (false, Some(last));
        }
    }

    /// Whether a look at a source is not durable yet, and has to be before its files are opened.
    pub(in crate::engine) fn awaits_look(&self, source: SourceId, now: Instant) -> bool {
        self.looks.get(&source).is_some_and(|look| look.is_needed || !self.is_in_trouble(now))
    }

    /// Whether files of some source are opened only once a save came through.
    pub(in crate::engine) fn awaits_any_look(&self) -> bool {
        !self.looks.is_empty()
    }

    /// A save begins: looks of which no mark is left are in it. Returns what a later process is to know of them.
    pub(super) fn begin_looks(&mut self) -> Vec<FirstLook> {
        let first_left = self.changed.first_mark();
        for look in self.looks.values_mut() {
            look.is_under_way = first_left.is_none_or(|left| look.last_mark.is_none_or(|last| last < left));
        }
        let looks = self.looks.values().filter(|look| look.is_under_way);
        looks.filter_map(|look| look.first.clone()).collect()
    }
}
