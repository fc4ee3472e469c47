//! What the service calls a record that it took.
//!
//! An answer names up to 500 records: their names lie in one text, and each knows its part of it.

use std::fmt;
use std::sync::Arc;

/// The name that the service gave to one record, and when the answer with it came.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordId {
    answer: Arc<Answer>,
    start: u32,
    end: u32,
}

/// The RecordIds of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The RecordIds, one behind the other.
    pub texts: String,
    /// When the answer came, in milliseconds since 1970.
    pub unix_ms: i64,
}

impl RecordId {
    /// The RecordId that lies in an answer's text from `start` to `end`, in bytes.
    ///
    /// # Panics
    /// When there is no such part of it.
    pub fn of(answer: &Arc<Answer>, (start, end): (u32, u32)) -> Self {
        assert!(answer.texts.get(start as usize..end as usize).is_some(), "a RecordId lies in its answer");
        Self { answer: Arc::clone(answer), start, end }
    }

    /// A RecordId by itself.
    pub fn alone(text: &str, unix_ms: i64) -> Self {
        let end = u32::try_from(text.len()).expect("an answer is shorter");
        Self::of(&Arc::new(Answer { texts: text.to_owned(), unix_ms }), (0, end))
    }

    /// The RecordId as the service writes it.
    pub fn as_str(&self) -> &str {
        &self.answer.texts[self.start as usize..self.end as usize]
    }

    /// When the answer came, in milliseconds since 1970.
    pub fn unix_ms(&self) -> i64 {
        self.answer.unix_ms
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("RecordId").field(&self.as_str()).finish()
    }
}
