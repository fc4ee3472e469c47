//! What failed and is sent again.
//!
//! *Invariant:* records that failed together stay together, in the order of when they are due, until they are halved;
//! halves go first, the youngest before the others, so that one group is searched to its end before the next one is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::record::{Entry, Record};
use crate::model::time::Instant;
use crate::rules::batch::Size;

/// Which record it is, and where in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Place {
    pub(in crate::engine) incarnation: Incarnation,
    entry: Entry,
    pub(in crate::engine) offset: Offset,
}

impl Place {
    pub(in crate::engine) fn of(record: &Record) -> Self {
        Self { incarnation: record.incarnation, entry: record.entry, offset: record.span.start() }
    }
}

/// With whom records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Company {
    /// Whoever is due or ready may join.
    Open,
    /// Nobody joins, because one of them is suspected of failing the others: they failed so often as a whole, and since
    /// then in larger groups.
    Closed { failures: u32, since: Instant },
}

impl Company {
    /// How often these records failed as a whole.
    pub(in crate::engine) fn failures(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Closed { failures, .. } => failures,
        }
    }

    /// When these records began to fail in one group.
    pub(in crate::engine) fn since(self) -> Option<Instant> {
        match self {
            Self::Open => None,
            Self::Closed { since, .. } => Some(since),
        }
    }

    fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// When a group is due; the number keeps groups of one moment apart.
type Due = (Instant, u64);

/// Groups that wait for their time.
#[derive(Debug, Default)]
pub(super) struct Again {
    groups: BTreeMap<Due, Group>,
    next: u64,
    /// Halves of groups, each due at once: the last one first.
    halves: Vec<Group>,
    /// Refused records that wait, each in a group of its own.
    refused: BTreeMap<Place, Due>,
    /// Whether only those leave that others may join: more that failed as a whole are under way than leave room for others.
    only_open: bool,
}

/// Records that are sent again together.
#[derive(Debug)]
struct Group {
    records: Vec<Record>,
    company: Company,
}

impl Again {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.halves.is_empty()
    }

    /// How many records wait.
    pub(super) fn len(&self) -> usize {
        self.groups.values().chain(&self.halves).map(|group| group.records.len()).sum()
    }

    /// Whether records that nobody may join leave from now on.
    pub(super) fn let_leave(&mut self, closed: bool) {
        self.only_open = !closed;
    }

    /// Those that leave and are no halves, in the order of when they are due.
    fn leaving(&self) -> impl Iterator<Item = (&Due, &Group)> {
        self.groups.iter().filter(|(_, group)| !self.only_open || !group.company.is_closed())
    }

    /// The first of them that is due.
    fn next_due(&self, now: Instant) -> Option<(Due, Company)> {
        let first = self.leaving().next().filter(|((due, _), _)| *due <= now);
        first.map(|(due, group)| (*due, group.company))
    }

    /// When the first group leaves that is no half.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.leaving().next().map(|((due, _), _)| *due)
    }

    /// How many records are due and may leave.
    pub(super) fn due(&self, now: Instant) -> usize {
        let halves: &[Group] = if self.only_open { &[] } else { &self.halves };
        let due = self.leaving().take_while(|((due, _), _)| *due <= now).map(|(_, group)| group);
        due.chain(halves).map(|group| group.records.len()).sum()
    }

    /// `records` failed together and go again at `due`.
    pub(super) fn add(&mut self, records: Vec<Record>, due: Instant, company: Company) {
        if !records.is_empty() {
            self.next += 1;
            self.groups.insert((due, self.next), Group { records, company });
        }
    }

    /// One record spoils its group: each half goes again by itself, at once.
    pub(super) fn add_halves(&mut self, mut records: Vec<Record>, since: Instant) {
        let second = records.split_off(records.len() / 2);
        for records in [second, records] {
            self.halves.push(Group { records, company: Company::Closed { failures: 0, since } });
        }
    }

    /// `record` was refused by itself and goes again at `due`, unless it is taken out before.
    pub(super) fn add_refused(&mut self, record: Record, due: Instant) {
        let place = Place::of(&record);
        self.add(vec![record], due, Company::Closed { failures: 0, since: due });
        self.refused.insert(place, (due, self.next));
    }

    /// Whether a refused record waits.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Takes out a record that was refused, if it waits.
    pub(super) fn take_refused(&mut self, place: Place) -> Option<Record> {
        let due = self.refused.remove(&place)?;
        self.groups.remove(&due)?.records.pop()
    }

    /// Every refused record is due soon, one after the other.
    pub(super) fn stagger_refused(&mut self, now: Instant, step: Duration) {
        let mut due = now;
        for was_due in std::mem::take(&mut self.refused).into_values() {
            for record in self.groups.remove(&was_due).into_iter().flat_map(|group| group.records) {
                due = due + step;
                self.add_refused(record, due);
            }
        }
    }

    /// Takes out every record that is wanted.
    pub(super) fn take_if(&mut self, is_wanted: impl Fn(&Record) -> bool, records: &mut Vec<Record>) {
        let before = records.len();
        for group in self.groups.values_mut().chain(&mut self.halves) {
            records.extend(group.records.extract_if(.., |record| is_wanted(record)));
        }
        self.groups.retain(|_, group| !group.records.is_empty());
        self.halves.retain(|group| !group.records.is_empty());
        for record in &records[before..] {
            self.refused.remove(&Place::of(record));
        }
    }

    /// Takes what is due to be sent again, up to what others may not join.
    pub(super) fn take_due(&mut self, records: &mut Vec<Record>, size: &mut Size, now: Instant) -> Company {
        if !self.only_open
            && let Some(half) = self.halves.pop()
        {
            let company = half.company;
            self.halves.extend(take(half, records, size));
            return company;
        }
        while let Some((due, company)) = self.next_due(now) {
            if company.is_closed() && !records.is_empty() {
                break;
            }
            let group = self.groups.remove(&due).expect("just found");
            if let [record] = &group.records[..] {
                self.refused.remove(&Place::of(record));
            }
            if let Some(rest) = take(group, records, size) {
                self.groups.insert(due, rest);
                return company;
            }
            if company.is_closed() {
                return company;
            }
        }
        Company::Open
    }
}

/// Takes the records of `group` for which there is room. Returns the rest, if any.
fn take(group: Group, records: &mut Vec<Record>, size: &mut Size) -> Option<Group> {
    let mut left = group.records.into_iter();
    for record in left.by_ref() {
        if !size.add(record.data.len()) {
            let rest = std::iter::once(record).chain(left).collect();
            return Some(Group { records: rest, company: group.company });
        }
        records.push(record);
    }
    None
}
