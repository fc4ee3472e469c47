//! RecordIds that become durable, held against the checkpoints that they come with.

use standpipe::model::audit::Acknowledged;
use standpipe::model::checkpoint::{Checkpoint, Save};
use standpipe::model::offset::{Offset, Span};

use super::world::World;

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
            kept.extend(block.records.iter().map(|record| record.span));
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
        let none = Vec::new();
        let kept = self.record_ids.get(&checkpoint.incarnation).unwrap_or(&none);
        let is_same = |file: &&super::disk::File| {
            file.identity == checkpoint.identity && checkpoint.fingerprint.matches(&file.content)
        };
        for file in self.disk.files.iter().filter(is_same) {
            for (end, number) in &file.lines {
                let start = Offset::new(end - self.oracle.text(*number).len() as u64);
                let is_there = |span: &Span| span.start() <= start && start < span.end();
                assert!(
                    !passes(checkpoint, start)
                        || !self.oracle.is_only_accepted(*number, stream)
                        || kept.iter().any(is_there),
                    "line {number} at {start} is accepted, passed by {checkpoint:?}, and has no RecordId"
                );
            }
        }
    }
}
