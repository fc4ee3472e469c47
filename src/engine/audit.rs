//! RecordIds on their way into the state database, where a stream wants them kept.
//!
//! Knows which bytes each stands for. Does not know what a checkpoint is made of: it is handed in when a save begins.
//!
//! *Invariant:* a RecordId is in the save with the first checkpoint that passes its record, and in no save before.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::audit::{Acknowledged, AuditBlock, AuditedFile};
use crate::model::checkpoint::{Checkpoint, Save};
use crate::model::identity::Incarnation;
use crate::model::offset::Span;
use crate::model::record::{Entry, Record};
use crate::model::record_id::RecordId;
use crate::model::settings::{Audit, LaneId};

use super::Engine;
use super::incarnation::IncarnationState;

/// The most records of one block: a row of the database, which is read and written as a whole.
const MAX_RECORDS: usize = 1024;

/// RecordIds that are not durable.
#[derive(Debug, Default)]
pub(super) struct Acknowledgements {
    waiting: BTreeMap<Incarnation, Vec<AuditBlock>>,
    /// In the save under way.
    under_way: Vec<Arc<AuditBlock>>,
    /// What all of them take in memory, in bytes.
    bytes: u64,
}

impl Engine {
    /// The service took a record: its RecordId waits for the checkpoint that passes the record, where the stream wants that.
    pub(super) fn note_acknowledged(&mut self, lane: LaneId, record: &Record, id: Option<RecordId>) {
        let stream = &self.settings.streams[lane.stream.0];
        if let (Some(id), Audit::On { max_bytes }) = (id, &stream.audit) {
            let delivery_stream = &stream.spread.lanes[lane.place].delivery_stream;
            let rest = record.rest.as_ref().map(|rest| (rest.incarnation, rest.entry, rest.span));
            for (incarnation, entry, span) in
                [(record.incarnation, record.entry, record.span)].into_iter().chain(rest)
            {
                let (state, id) = (self.lives.on_its_way(incarnation), id.clone());
                let acknowledgements = self.saves.acknowledgements_mut();
                acknowledgements.add(state, (entry, span), id, (delivery_stream, *max_bytes));
            }
        }
    }
}

impl Acknowledgements {
    /// Takes in what became of a record that is not settled yet, by its place in one of its files: which delivery stream took it,
    /// and how many bytes the RecordIds of its stream may take.
    fn add(
        &mut self,
        state: &IncarnationState,
        (entry, span): (Entry, Span),
        id: RecordId,
        (delivery_stream, max_bytes): (&Arc<str>, u64),
    ) {
        let left_out = state.provenance().left_out_of(span);
        let read = Acknowledged { entry, span, left_out, id };
        self.bytes += memory_bytes(&read);
        let (whose, (path, target)) = (state.whose(), state.read_as(span.start()));
        let blocks = self.waiting.entry(state.incarnation()).or_default();
        let fits = |block: &AuditBlock| {
            let file = &block.file;
            (Arc::ptr_eq(&file.path, path) || file.path == *path)
                && file.target == *target
                && file.identity == whose.identity
                && file.delivery_stream == *delivery_stream
        };
        if let Some(block) = blocks.last_mut().filter(|block| fits(block)) {
            block.max_bytes = max_bytes;
            return block.records.push(read);
        }
        let file = AuditedFile {
            incarnation: state.incarnation(),
            stream: Arc::clone(&whose.stream_name),
            delivery_stream: Arc::clone(delivery_stream),
            path: Arc::clone(path),
            target: target.clone(),
            identity: whose.identity,
            origin: whose.origin,
        };
        blocks.push(AuditBlock { file, records: vec![read], max_bytes });
    }

    /// What goes into a save that begins now: what its checkpoints pass, and all of incarnations that are over.
    pub(super) fn due(
        &mut self,
        save: &Save,
        is_known: impl Fn(Incarnation) -> bool,
    ) -> Vec<Arc<AuditBlock>> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let checkpoints: BTreeMap<_, _> =
            save.checkpoints.iter().map(|checkpoint| (checkpoint.incarnation, checkpoint)).collect();
        let mut due = Vec::new();
        self.waiting.retain(|incarnation, blocks| {
            let is_over = save.forgotten.binary_search(incarnation).is_ok() || !is_known(*incarnation);
            match checkpoints.get(incarnation) {
                _ if is_over => due.append(blocks),
                Some(checkpoint) => due.extend(blocks.iter_mut().map(|block| passed(block, checkpoint))),
                None => {}
            }
            blocks.retain(|block| !block.records.is_empty());
            !blocks.is_empty()
        });
        self.under_way = due.into_iter().flat_map(in_order).map(Arc::new).collect();
        self.under_way.clone()
    }

    /// The save under way came through.
    pub(super) fn came_through(&mut self) {
        let records = self.under_way.iter().flat_map(|block| &block.records);
        self.bytes -= records.map(memory_bytes).sum::<u64>();
        self.under_way.clear();
    }

    /// The save under way failed: what it held waits again.
    pub(super) fn failed(&mut self) {
        for block in self.under_way.drain(..) {
            self.waiting.entry(block.file.incarnation).or_default().push(Arc::unwrap_or_clone(block));
        }
    }

    /// What all that is not durable takes in memory, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The records of a block that a checkpoint passes: taken out of it.
fn passed(block: &mut AuditBlock, checkpoint: &Checkpoint) -> AuditBlock {
    let records = block.records.extract_if(.., |record| is_passed(record.span, checkpoint)).collect();
    AuditBlock { file: block.file.clone(), records, max_bytes: block.max_bytes }
}

/// Whether a start from the checkpoint would not read a record again. One without bytes goes with those that follow.
fn is_passed(span: Span, checkpoint: &Checkpoint) -> bool {
    let (start, end) = (span.start(), span.end());
    let is_in = |range: &Span| range.start() <= start && end <= range.end() && start < range.end();
    let is_before = end <= checkpoint.offset && start < checkpoint.offset;
    is_before || checkpoint.settled.ranges().iter().any(is_in)
}

/// The records of a block in the order of the file, in blocks that are not too large. Pieces of one message stay together.
fn in_order(block: AuditBlock) -> Vec<AuditBlock> {
    let AuditBlock { file, mut records, max_bytes } = block;
    records.sort_unstable_by_key(|record| record.entry);
    let mut blocks = Vec::new();
    while !records.is_empty() {
        let mut end = records.len().min(MAX_RECORDS);
        while end < records.len() && records[end - 1].span.is_empty() {
            end += 1;
        }
        let rest = records.split_off(end);
        blocks.push(AuditBlock { file: file.clone(), records, max_bytes });
        records = rest;
    }
    blocks
}

fn memory_bytes(record: &Acknowledged) -> u64 {
    (size_of::<Acknowledged>() + record.id.as_str().len() + size_of_val(&record.left_out[..])) as u64
}
