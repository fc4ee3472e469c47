//! RecordIds that become durable, held against the checkpoints that they come with.

use std::collections::BTreeMap;

use standpipe::model::audit::Acknowledged;
use standpipe::model::checkpoint::{Checkpoint, Save};
use standpipe::model::offset::{Offset, Span};

use super::world::World;

/// Bytes of an incarnation that have RecordIds: where each run of them begins and ends, runs apart from each other. A checkpoint
/// asks of every line, so that a list of records is not looked through each time.
#[derive(Debug, Default)]
pub struct Covered(BTreeMap<Offset, Offset>);

impl Covered {
    pub fn add(&mut self, span: Span) {
        let (mut start, mut end) = (span.start(), span.end());
        while let Some((&first, &last)) = self.0.range(..=end).next_back() {
            if last < start {
                break;
            }
            self.0.remove(&first);
            (start, end) = (start.min(first), end.max(last));
        }
        if start < end {
            self.0.insert(start, end);
        }
    }

    pub fn has(&self, at: Offset) -> bool {
        self.0.range(..=at).next_back().is_some_and(|(_, end)| at < *end)
    }
}

#[test]
fn covered_bytes_are_those_of_any_span() {
    let mut covered = Covered::default();
    let spans = [(10, 20), (0, 4), (30, 30), (25, 30), (4, 6), (18, 26), (50, 60), (52, 54)];
    for (count, (start, end)) in spans.iter().enumerate() {
        covered.add(Span::new(Offset::new(*start), Offset::new(*end)));
        for at in 0..70 {
            let is_in_any = spans[..=count].iter().any(|(start, end)| (*start..*end).contains(&at));
            assert_eq!(covered.has(Offset::new(at)), is_in_any, "{at} after {count}");
        }
    }
}

/// Whether a start from a checkpoint reads a byte again.
fn passes(checkpoint: &Checkpoint, at: Offset) -> bool {
    let ranges = checkpoint.settled.ranges().iter();
    at < checkpoint.offset || ranges.into_iter().any(|range| range.start() <= at && at < range.end())
}

impl World {
    /// No RecordId comes before the checkpoint that passes its record, and what is durable is from now on.
    pub fn keep_record_ids(&mut self, save: &Save) {
        for block in &save.audit {
            let incarnation = block.file.incarnation;
            let checkpoint = save.checkpoints.iter().find(|saved| saved.incarnation == incarnation);
            let is_over = save.forgotten.contains(&incarnation) || checkpoint.is_none();
            for Acknowledged { span, .. } in &block.records {
                let last = if span.is_empty() { span.end() } else { span.end().minus(1) };
                let is_passed = |saved: &Checkpoint| passes(saved, span.start()) && passes(saved, last);
                assert!(is_over || checkpoint.is_some_and(is_passed), "before its checkpoint: {block:?}");
            }
            let kept = self.record_ids.entry(incarnation).or_default();
            block.records.iter().for_each(|record| kept.add(record.span));
            self.reached.record_ids += block.records.len() as u64;
        }
    }

    /// Every record below a checkpoint has its RecordId: of each line that was accepted, the first byte.
    pub fn check_record_ids(&self, checkpoint: &Checkpoint) {
        let stream = self.stream_called(&checkpoint.stream);
        // Where lines of a runtime are joined, bytes of others lie between.
        if self.shape.runtime.is_some() || checkpoint.fingerprint.is_empty() {
            return;
        }
        let kept = self.record_ids.get(&checkpoint.incarnation);
        let is_same = |file: &&super::disk::File| {
            file.identity == checkpoint.identity && checkpoint.fingerprint.matches(&file.content)
        };
        for file in self.disk.files.iter().filter(is_same) {
            for (end, number) in &file.lines {
                let start = Offset::new(end - self.oracle.text(*number).len() as u64);
                assert!(
                    !passes(checkpoint, start)
                        || !self.oracle.is_only_accepted(*number, stream)
                        || kept.is_some_and(|kept| kept.has(start)),
                    "line {number} at {start} is accepted, passed by {checkpoint:?}, and has no RecordId"
                );
            }
        }
    }
}
