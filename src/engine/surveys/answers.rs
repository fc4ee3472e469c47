//! What becomes of a survey that is answered: it is taken in by parts, and then over.
//!
//! *Invariant:* the next survey of a source begins when all of the last one is taken in.

use std::time::Duration;

use super::Surveys;
use super::renames::Renames;
use crate::engine::taking::Takings;
use crate::model::identity::unix_nanos;
use crate::model::settings::SourceId;
use crate::model::time::Instant;

impl Surveys {
    /// A survey of `source` is answered; tells whether it was late.
    pub(in crate::engine) fn speaks(&mut self, source: SourceId) -> bool {
        std::mem::take(&mut self.sources[source.0].is_silent)
    }

    /// What was answered and is to be taken in.
    pub(in crate::engine) fn takings(&self) -> &Takings {
        &self.takings
    }

    pub(in crate::engine) fn takings_mut(&mut self) -> &mut Takings {
        &mut self.takings
    }

    /// What files of the sources were renamed to, and no look has shown.
    pub(in crate::engine) fn renames_mut(&mut self) -> &mut Renames {
        &mut self.renames
    }

    /// When the survey of `source` that is answered now began; whether what it shows was there at the first start; and whether
    /// it is the first one. What it shows is taken in from now on.
    pub(in crate::engine) fn answered(
        &mut self,
        id: SourceId,
        unix_time: Duration,
        now: Instant,
    ) -> (Instant, bool, bool) {
        self.unix_nanos = unix_nanos(unix_time);
        self.looks += 1;
        let source = &mut self.sources[id.0];
        source.is_shown = true;
        let began = source.began.expect("an answer comes for a survey that began");
        source.took = now.since(began);
        (began, self.first_start && !source.answered, !source.answered)
    }

    /// Everything that the survey of `source` showed is followed.
    pub(in crate::engine) fn shown(&mut self, id: SourceId) {
        self.sources[id.0].answered = true;
    }

    /// The survey of `source` is over, and the next may begin.
    pub(in crate::engine) fn let_go(&mut self, id: SourceId) {
        let source = &mut self.sources[id.0];
        (source.under_way, source.is_shown) = (false, false);
    }

    /// What the survey of `source` showed has been taken in. When the engine is to finish, another look is needed only if
    /// something asked for one meanwhile. Tells whether it was the first look, and no file matched.
    pub(in crate::engine) fn taken_in(&mut self, id: SourceId, matched_files: usize, now: Instant) -> bool {
        self.let_go(id);
        let source = &mut self.sources[id.0];
        let is_first = source.matched_files.is_none();
        source.matched_files = Some(matched_files);
        source.finished |= source.began_finishing && !source.wanted;
        source.ends_are_fixed |= source.began_finishing;
        self.matchless_since = match self.all_answered() && self.matched_files() == 0 {
            true => self.matchless_since.or(Some(now)),
            false => None,
        };
        is_first && matched_files == 0
    }
}
