//! Records that leave a lane unsent: because a person moved the position of their file, or for another lane.

use crate::engine::incarnation::IncarnationState;
use crate::model::identity::Incarnation;
use crate::model::record::Record;

use super::{Lane, memory_bytes};

impl Lane {
    /// Takes every record of an incarnation out of the queues, those that failed among them. What is under way stays so.
    pub(in crate::engine) fn withdraw(&mut self, state: &mut IncarnationState) -> Vec<Record> {
        let incarnation = state.incarnation();
        let mut records = Vec::new();
        while let Some(record) = state.take_ready() {
            self.waiting -= 1;
            self.waiting_bytes -= memory_bytes(&record);
            records.push(record);
        }
        self.turns.forget(incarnation);
        state.leave_turn();
        records.extend(self.recall(incarnation));
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
        self.again.withdraw(incarnation, &mut records);
        self.formed.withdraw(incarnation, &mut records);
        self.ladder.forget(|place| place.incarnation == incarnation);
        records
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
