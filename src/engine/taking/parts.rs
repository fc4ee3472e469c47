//! What is done with a look by parts before and after its files are compared with what is known.
//!
//! Knows places in a look. What a missed generation and an archive are is for `generations.rs` and `archives.rs` to say.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::archives::{Origins, is_archive};
use crate::engine::port::Observation;
use crate::model::identity::{Identity, Incarnation};
use crate::model::time::Instant;

use super::{Stage, Taking};

/// What a look shows that nobody knows yet, by its places in the look.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    /// What lies beside the files of the source, or may be an archive.
    to_sort: Vec<usize>,
    /// Files of which something is stored, and that are not followed.
    unclaimed: Vec<Identity>,
    may_be_missed: Vec<usize>,
    may_be_archives: Vec<usize>,
    /// What the names show that those were made of.
    origins: Origins,
}

/// The next part of so many, from there on.
pub(super) fn part(from: usize, len: usize, most: usize) -> Range<usize> {
    from..len.min(from.saturating_add(most))
}

/// Where to go on, or what comes next.
pub(super) fn after(
    places: Range<usize>,
    len: usize,
    stage: fn(usize) -> Stage,
    next: Stage,
) -> (usize, Stage) {
    (places.len(), if places.end < len { stage(places.end) } else { next })
}

impl Engine {
    /// Of what was found to be of no interest, only what is still there stays known.
    pub(super) fn keep_what_is_there(
        &mut self,
        taking: &mut Taking,
        from: Identity,
        most: usize,
    ) -> (usize, Stage) {
        let source = taking.observation.source;
        let (mut done, mut next) = (0, None);
        if taking.observation.hidden.is_empty() {
            let streams = self.streams_of(source);
            let is_passed_over = |file: &Identity| {
                let mut followed = streams.iter().filter_map(|stream| self.files.of(*stream, *file));
                followed.any(|id| self.files.known(id).times.passed_over_in == self.surveys.look())
            };
            let is_there = |file: &Identity| taking.shows(file) || is_passed_over(file);
            (done, next) = self.families.keep_only(source, (from, most), is_there);
        }
        if let Some(next) = next {
            return (done, Stage::Keeping(next));
        }
        let seen = taking.seen.values().filter(|place| is_archive(&taking.observation.files[**place]));
        taking.unknown.to_sort = taking.beside.values().chain(seen).copied().collect();
        (done, Stage::Sorting(0))
    }

    /// Tells apart what is known and what may be a missed generation, or an archive.
    pub(super) fn sort(&mut self, taking: &mut Taking, from: usize, most: usize) -> (usize, Stage) {
        let Taking { observation, unknown, beside, .. } = taking;
        let places = part(from, unknown.to_sort.len(), most);
        for place in &unknown.to_sort[places.clone()] {
            let observed = &observation.files[*place];
            if !beside.contains_key(&observed.identity) {
                unknown.may_be_archives.push(*place);
                unknown.origins.ask_for(observed);
                continue;
            }
            let is_known = self.is_known(observation.source, observed);
            if is_known && self.followed(observation.source, observed).is_none() {
                unknown.unclaimed.push(observed.identity);
            }
            if self.may_be_missed(observation.source, observed, is_known) {
                unknown.may_be_missed.push(*place);
                unknown.origins.ask_for(observed);
            }
        }
        if places.end == unknown.to_sort.len() {
            self.families.note_unclaimed(observation.source, std::mem::take(&mut unknown.unclaimed));
        }
        after(places, unknown.to_sort.len(), Stage::Sorting, Stage::Origins(0))
    }

    /// What is shown by the names that what nobody knows was made of.
    pub(super) fn note_origins(taking: &mut Taking, from: usize, most: usize) -> (usize, Stage) {
        let Taking { observation, unknown, .. } = taking;
        let len = if unknown.origins.is_empty() { 0 } else { observation.files.len() };
        let places = part(from, len, most);
        for place in places.clone() {
            unknown.origins.note(&observation.files[place], place);
        }
        after(places, len, Stage::Origins, Stage::Missed(0))
    }

    /// Generations that nobody saw come are followed.
    pub(super) fn find_missed(
        &mut self,
        taking: &mut Taking,
        from: usize,
        most: usize,
        now: Instant,
    ) -> (usize, Stage) {
        let Taking { observation, unknown, .. } = taking;
        let places = part(from, unknown.may_be_missed.len(), most);
        for place in &unknown.may_be_missed[places.clone()] {
            self.follow_missed(observation, *place, &unknown.origins, now);
        }
        after(places, unknown.may_be_missed.len(), Stage::Missed, Stage::Finding(0))
    }

    /// Archives that nobody saw come are found, and opened later.
    pub(super) fn find_archives(&mut self, taking: &mut Taking, from: usize, most: usize) -> (usize, Stage) {
        let Taking { observation, unknown, archives, .. } = taking;
        let places = part(from, unknown.may_be_archives.len(), most);
        for place in &unknown.may_be_archives[places.clone()] {
            archives.extend(self.find_archive(observation, *place, &unknown.origins));
        }
        let (done, next) = after(places, unknown.may_be_archives.len(), Stage::Finding, Stage::LAST_KNOWN);
        if next == Stage::LAST_KNOWN {
            taking.known_before = self.files.next_id();
            taking.unknown = Unknown::default();
        }
        (done, next)
    }

    /// Archives that were found are opened.
    pub(super) fn open_found(
        &mut self,
        taking: &mut Taking,
        from: usize,
        most: usize,
        now: Instant,
    ) -> (usize, Stage) {
        let places = part(from, taking.archives.len(), most);
        self.open_archives(&taking.observation, &taking.archives[places.clone()], now);
        if places.end == taking.archives.len() {
            taking.to_meet = taking.seen.values().copied().collect();
        }
        after(places, taking.archives.len(), Stage::Archives, Stage::Meeting(0))
    }

    /// Late lines in files that were closed.
    pub(super) fn look_for_late_lines(
        &mut self,
        taking: &Taking,
        from: usize,
        most: usize,
        now: Instant,
    ) -> (usize, Stage) {
        let Observation { source, ref files, .. } = taking.observation;
        let places = part(from, taking.beside.len(), most);
        let beside = taking.beside.values().skip(from).take(most);
        beside.for_each(|place| self.open_late(source, &files[*place], now));
        after(places, taking.beside.len(), Stage::Late, Stage::Closed(Incarnation(0)))
    }

    /// Which of the files that were closed are there.
    pub(super) fn look_for_closed(
        &mut self,
        taking: &Taking,
        from: Incarnation,
        most: usize,
        now: Instant,
    ) -> (usize, Stage) {
        let observation = &taking.observation;
        let streams: Vec<_> = self.streams_of(observation.source);
        let streams: Vec<_> =
            streams.into_iter().map(|stream| Arc::clone(self.stream_name(stream))).collect();
        let (done, next) = self.lives.note_shown(
            (from, most),
            taking.began,
            |stream, path| streams.iter().any(|of| **of == *stream) && !observation.hidden.holds(path),
            |file| taking.shows(file),
        );
        self.let_give_way(now);
        (done, next.map_or(Stage::Copies, Stage::Closed))
    }
}
