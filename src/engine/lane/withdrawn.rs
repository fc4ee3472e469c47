//! Records that leave a lane unsent: because a person moved the position of their file, or for another lane.

use std::collections::BTreeSet;

use crate::engine::incarnation::IncarnationState;
use crate::model::identity::Incarnation;
use crate::model::record::Record;

use super::{Lane, Place, memory_bytes};

impl Lane {
    /// Takes every record of an incarnation out of the queues that is of no other, those that failed among them. What is under
    /// way stays so.
    pub(in crate::engine) fn withdraw(&mut self, state: &mut IncarnationState) -> Vec<Record> {
        let incarnation = state.incarnation();
        let is_wanted = |record: &Record| record.incarnation == incarnation && record.rest.is_none();
        let mut records = state.take_ready_if(is_wanted);
        self.waiting -= records.len();
        self.waiting_bytes -= records.iter().map(memory_bytes).sum::<u64>();
        self.turns.forget(incarnation);
        state.leave_turn();
        self.take_if(is_wanted, &mut records);
        let places: BTreeSet<_> = records.iter().map(Place::of).collect();
        self.ladder.forget(|place| places.contains(place));
        records
    }

    /// Takes an incarnation out of all queues, for another lane to go on with it. Returns the records that requests had
    /// taken; those that are ready stay with `state`.
    pub(in crate::engine) fn let_go(&mut self, state: &mut IncarnationState) -> Vec<Record> {
        for record in state.all_ready() {
            self.waiting -= 1;
            self.waiting_bytes -= memory_bytes(record);
        }
        self.turns.forget(state.incarnation());
        state.leave_turn();
        self.recall(state.incarnation())
    }

    /// Takes what requests had taken of an incarnation out of all queues. What is under way stays so.
    pub(in crate::engine) fn recall(&mut self, incarnation: Incarnation) -> Vec<Record> {
        let mut records = Vec::new();
        self.take_if(|record| record.incarnation == incarnation, &mut records);
        self.ladder.forget(|place| place.incarnation == incarnation);
        records
    }

    fn take_if(&mut self, is_wanted: impl Fn(&Record) -> bool, records: &mut Vec<Record>) {
        self.again.take_if(&is_wanted, records);
        self.formed.take_if(&is_wanted, records);
    }

    /// Goes on with an incarnation that another lane let go of, and with what is ready of it.
    pub(in crate::engine) fn take_over(&mut self, state: &mut IncarnationState) {
        for record in state.all_ready() {
            self.waiting += 1;
            self.waiting_bytes += memory_bytes(record);
        }
        self.offer(state, 0);
    }

    /// Goes on with records that another lane had under way when it let go of their incarnation.
    pub(in crate::engine) fn take_up(&mut self, state: &mut IncarnationState, records: Vec<Record>) {
        self.waiting += records.len();
        self.waiting_bytes += records.iter().map(memory_bytes).sum::<u64>();
        state.put_back(records);
        self.offer(state, 0);
    }
}
