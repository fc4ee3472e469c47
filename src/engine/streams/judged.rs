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
    /// before it is: then its data is copied, and a slice of it no longer keeps all that was read with it. While a service
    /// takes nothing, groups are not copied: there may be as much of them as memory has room for.
    pub(super) fn goes_again(&mut self, record: Record, may_last: bool) -> Record {
        let mut record = Record { failures: record.failures.saturating_add(1), ..record };
        if may_last && record.backing == Backing::Read {
            let before = extra_bytes(record.span, &record.data, Backing::Read);
            record.data = Bytes::copy_from_slice(&record.data);
            record.backing = Backing::Own;
            let more_bytes = extra_bytes(record.span, &record.data, Backing::Own) - before;
            self.apart.push(Apart { incarnation: record.incarnation, entry: record.entry, more_bytes });
        }
        record
    }
}
