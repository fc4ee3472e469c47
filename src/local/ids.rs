//! RecordIds: what tells accepted records apart, for ever.
//!
//! Knows how they are counted and written. Deliberately knows nothing of delivery streams. Given out by `stream`, kept
//! beside the bytes by `buffer` and `journal`, written down by `manifest`.
//!
//! *Invariant:* no ID is given twice, by this run of the server or another.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};

/// What tells this run of the server from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(pub u128);

impl Run {
    /// The low part of the run's number, which is chance: enough to tell the files of two processes apart.
    pub(super) fn tag(self) -> u32 {
        self.0 as u32
    }
}

/// The ID of one accepted record: the run, and a number that is given once in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordId {
    /// The run of the server that gave the ID.
    pub run: Run,
    /// Counted from 0 in the run.
    pub number: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:032x}{:016x}", self.run.0, self.number)
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Gives out RecordIds.
#[derive(Debug)]
pub(super) struct RecordIds {
    run: Run,
    next: u64,
}

impl RecordIds {
    pub(super) fn new(run: Run) -> Self {
        Self { run, next: 0 }
    }

    pub(super) fn give(&mut self) -> RecordId {
        let id = self.next();
        self.next += 1;
        id
    }

    /// The ID that is given next.
    pub(super) fn next(&self) -> RecordId {
        RecordId { run: self.run, number: self.next }
    }
}

/// Records that were accepted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The bytes of the records, one record behind the other.
    pub data: Bytes,
    /// The IDs and lengths of the records.
    pub labels: Labels,
}

/// The IDs of records that lie one behind the other, and where each ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    /// The ID of the first record; each record behind has the next number.
    pub first: RecordId,
    /// The length of each record, in bytes.
    pub lengths: Vec<u32>,
}

impl Labels {
    /// Each record's ID and length.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RecordId, u32)> {
        let RecordId { run, number } = self.first;
        self.lengths.iter().zip(number..).map(move |(length, number)| (RecordId { run, number }, *length))
    }
}

#[cfg(test)]
impl Kept {
    /// One record for each of `records`, from number `first` of run 0 on.
    pub(super) fn of(first: u64, records: &[&str]) -> Self {
        let lengths = records.iter().map(|record| u32::try_from(record.len()).expect("short")).collect();
        let first = RecordId { run: Run(0), number: first };
        Self { data: Bytes::from(records.concat()), labels: Labels { first, lengths } }
    }
}
