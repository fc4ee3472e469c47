//! Records that are to be sent no more, because a person moved the position of their file.

use crate::engine::incarnation::IncarnationState;
use crate::model::record::Record;

use super::{Stream, memory_bytes};

impl Stream {
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
        self.again.withdraw(incarnation, &mut records);
        self.formed.withdraw(incarnation, &mut records);
        self.ladder.forget(|place| place.incarnation == incarnation);
        records
    }
}
