//! What an answer means for its records.
//!
//! Knows records and verdicts. Does not know what the lane makes of them.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::lane::Place;
use crate::engine::report::Report;
use crate::model::identity::Incarnation;
use crate::model::record::{Backing, Entry, Record, extra_bytes};
use crate::model::record_id::RecordId;
use crate::model::settings::LaneId;
use crate::model::verdict::{Encrypted, Retry};

/// What an answer means for its records.
#[derive(Debug)]
pub(in crate::engine) struct Judged {
    pub(in crate::engine) lane: LaneId,
    pub(in crate::engine) delivered: Vec<(Record, Encrypted, Option<RecordId>)>,
    /// To be put aside: what the service said of each last.
    pub(in crate::engine) rejected: Vec<(Record, Retry)>,
    /// Records of which it is news that they fail alone, and for how long they have.
    pub(in crate::engine) stuck: Vec<(Place, Retry, Duration)>,
    pub(in crate::engine) reports: Vec<Report>,
    /// Where files can go to several lanes: the incarnations that the request had records of.
    pub(in crate::engine) incarnations: BTreeSet<Incarnation>,
    /// Whether nobody knows if records that go again were taken.
    pub(in crate::engine) is_unsure: bool,
    /// Records that go again while the service takes others, and keep nothing else of what was read.
    pub(in crate::engine) apart: Vec<Apart>,
}

/// A record whose data is memory of its own from now on.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Apart {
    pub(in crate::engine) incarnation: Incarnation,
    pub(in crate::engine) entry: Entry,
    /// What it takes beyond what it took, in bytes.
    pub(in crate::engine) more_bytes: u64,
}

impl Judged {
    pub(super) fn new(lane: LaneId) -> Self {
        Self {
            lane,
            delivered: Vec::new(),
            rejected: Vec::new(),
            stuck: Vec::new(),
            reports: Vec::new(),
            incarnations: BTreeSet::new(),
            is_unsure: false,
            apart: Vec::new(),
        }
    }

    /// A record goes again. Where it `may_last`, since it went alone or the service takes others, much may be settled behind it
    /// before it is: then its data is copied, and a slice of it no longer keeps all that was read, or made, with it. While a service
    /// takes nothing, groups are not copied: there may be as much of them as memory has room for.
    pub(super) fn goes_again(&mut self, record: Record, may_last: bool) -> Record {
        let mut record = Record { failures: record.failures.saturating_add(1), ..record };
        if may_last && record.backing != Backing::Own {
            let before = extra_bytes(record.span, &record.data, record.backing);
            record.data = Bytes::copy_from_slice(&record.data);
            record.backing = Backing::Own;
            let more_bytes = extra_bytes(record.span, &record.data, Backing::Own) - before;
            self.apart.push(Apart { incarnation: record.incarnation, entry: record.entry, more_bytes });
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::offset::{Offset, Span};
    use crate::model::settings::StreamId;

    #[test]
    fn a_record_that_may_last_keeps_nothing_but_itself() {
        let memory = Bytes::from_static(b"one\ntwo\n");
        // What a record had beyond its span before, and has afterwards.
        for (backing, more_bytes) in
            [(Backing::Read, Some(4)), (Backing::Shared, Some(0)), (Backing::Own, None)]
        {
            let record = |backing| Record {
                incarnation: Incarnation(1),
                entry: Entry(7),
                span: Span::new(Offset::new(4), Offset::new(8)),
                data: memory.slice(4..),
                backing,
                failures: 0,
                rest: None,
            };
            let mut judged = Judged::new(LaneId { stream: StreamId(0), place: 0 });
            let again = judged.goes_again(record(backing), false);
            assert_eq!((again.backing, again.data.as_ptr()), (backing, memory[4..].as_ptr()));
            let again = judged.goes_again(record(backing), true);
            assert_eq!((again.backing, &again.data[..]), (Backing::Own, &b"two\n"[..]));
            assert_eq!(again.data.as_ptr() != memory[4..].as_ptr(), backing != Backing::Own);
            assert_eq!(judged.apart.first().map(|apart| apart.more_bytes), more_bytes);
        }
    }
}
