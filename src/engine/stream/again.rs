//! What failed and is sent again.
//!
//! *Invariant:* records that failed together stay together, in the order of when they are due.

use std::collections::BTreeMap;

use crate::model::record::Record;
use crate::model::time::Instant;
use crate::rules::batch::Size;

/// Groups that wait for their time.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// By when they are sent; the number keeps groups of one moment apart.
    groups: BTreeMap<(Instant, u64), Group>,
    next: u64,
}

/// Records that are sent again together.
#[derive(Debug)]
struct Group {
    records: Vec<Record>,
    /// Sent by itself, because one of them is suspected of spoiling its batch.
    alone: bool,
}

impl Again {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When the first group is sent.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.groups.first_key_value().map(|((due, _), _)| *due)
    }

    /// How many records are due.
    pub(super) fn due(&self, now: Instant) -> usize {
        self.groups.range(..=(now, u64::MAX)).map(|(_, group)| group.records.len()).sum()
    }

    /// `records` failed together and go again at `due`.
    pub(super) fn add(&mut self, records: Vec<Record>, due: Instant, alone: bool) {
        if !records.is_empty() {
            self.next += 1;
            self.groups.insert((due, self.next), Group { records, alone });
        }
    }

    /// Takes what is due to be sent again. Returns whether others may join.
    pub(super) fn take_due(&mut self, records: &mut Vec<Record>, size: &mut Size, now: Instant) -> bool {
        while let Some(first) = self.groups.first_entry()
            && first.key().0 <= now
        {
            let alone = first.get().alone;
            if alone && !records.is_empty() {
                return false;
            }
            let ((due, number), group) = first.remove_entry();
            let mut left = group.records.into_iter();
            for record in left.by_ref() {
                if !size.add(record.data.len()) {
                    let mut rest = vec![record];
                    rest.extend(left);
                    self.groups.insert((due, number), Group { records: rest, alone });
                    return false;
                }
                records.push(record);
            }
            if alone {
                return false;
            }
        }
        !size.is_full()
    }
}
