//! Floor 0: nouns only.
//!
//! What the other floors talk about: places in a file, lives of a file, records, verdicts, checkpoints,
//! and the numbers that the service fixes. No policy, no clock, no I/O.
//!
//! *Invariant:* nothing here imports another floor.

pub mod audit;
pub mod checkpoint;
pub mod content;
pub mod hidden;
pub mod identity;
pub mod ids;
pub mod limits;
pub mod message;
pub mod offset;
pub mod operation;
pub mod path_fields;
pub mod record;
pub mod record_id;
pub mod renamed;
pub mod route;
pub mod said;
pub mod seldom;
pub mod settings;
pub mod settled;
pub mod text;
pub mod time;
pub mod verdict;
pub mod watching;
