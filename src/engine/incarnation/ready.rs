//! Records of one incarnation that wait to be taken by a request.

use super::IncarnationState;
use crate::model::record::Record;

impl IncarnationState {
    /// Whether nothing that was never sent may leave: records wait until the fingerprint is durable, or until a checkpoint
    /// has room for what would be acknowledged.
    pub(in crate::engine) fn holds_back(&self) -> bool {
        self.awaits_fingerprint() || (self.outgoing.is_withheld && self.outgoing.returned == 0)
    }

    /// Whether no record waits to be taken by a request.
    pub(in crate::engine) fn has_nothing_ready(&self) -> bool {
        self.outgoing.ready.is_empty()
    }

    /// The records that became ready last, `count` of them.
    pub(in crate::engine) fn freshly_ready(&self, count: usize) -> impl Iterator<Item = &Record> {
        self.outgoing.ready.iter().rev().take(count)
    }

    /// The record that is taken next.
    pub(in crate::engine) fn next_ready(&self) -> Option<&Record> {
        self.outgoing.ready.front()
    }

    /// The records that wait, in the order in which they are taken.
    pub(in crate::engine) fn all_ready(&self) -> impl Iterator<Item = &Record> {
        self.outgoing.ready.iter()
    }

    /// How many records may leave now of those that are ready: while fresh ones are withheld, those that were sent before,
    /// which close gaps.
    pub(in crate::engine) fn may_leave(&self) -> usize {
        if self.outgoing.is_withheld { self.outgoing.returned } else { usize::MAX }
    }

    /// A request takes the next record.
    pub(in crate::engine) fn take_ready(&mut self) -> Option<Record> {
        let outgoing = self.outgoing.get_mut()?;
        let record = outgoing.ready.pop_front();
        outgoing.outstanding += usize::from(record.is_some());
        outgoing.returned = outgoing.returned.saturating_sub(1);
        record
    }

    /// Takes those of the records that wait, as a request would.
    pub(in crate::engine) fn take_ready_if(&mut self, is_wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        let Some(outgoing) = self.outgoing.get_mut() else { return Vec::new() };
        let returned: Vec<_> = outgoing.ready.drain(..outgoing.returned).collect();
        let (mut taken, back): (Vec<_>, Vec<_>) = returned.into_iter().partition(&is_wanted);
        outgoing.returned = back.len();
        let (fresh, stay): (Vec<_>, Vec<_>) = outgoing.ready.drain(..).partition(&is_wanted);
        taken.extend(fresh);
        outgoing.ready = back.into_iter().chain(stay).collect();
        outgoing.outstanding += taken.len();
        taken
    }

    /// Records that requests had taken are ready again, each in its place: before all that were never taken.
    pub(in crate::engine) fn put_back(&mut self, records: Vec<Record>) {
        self.outgoing.outstanding -= records.len();
        self.outgoing.returned += records.len();
        self.outgoing.ready.extend(records.into_iter().map(|record| Record { failures: 0, ..record }));
        self.outgoing.ready.make_contiguous().sort_by_key(|record| record.entry);
    }

    /// Whether a record was taken by a request and is not settled.
    pub(in crate::engine) fn has_outstanding(&self) -> bool {
        self.outgoing.outstanding > 0
    }

    /// Takes a place among those that wait for their turn. Returns whether that is news.
    pub(in crate::engine) fn enter_turn(&mut self) -> bool {
        !std::mem::replace(&mut self.outgoing.in_turn, true)
    }

    pub(in crate::engine) fn leave_turn(&mut self) {
        if let Some(outgoing) = self.outgoing.get_mut() {
            outgoing.in_turn = false;
        }
        self.outgoing.settle();
    }
}
