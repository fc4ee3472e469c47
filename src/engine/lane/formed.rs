//! Requests that are put together and not yet paid for.
//!
//! Small ones leave in turn. What is large steps aside, is paid for in instalments, and small ones pass it.
//!
//! *Invariant:* of a large request as much is paid as the small one cost that passed it; paid, it is the next to leave.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::operation::Operation;
use crate::model::record::Record;
use crate::model::time::Instant;
use crate::rules::quota::{Admission, Cost, Payment, Quota};

use super::again::Company;

/// So many large requests may wait beside the small ones.
const MAX_LARGE: usize = 16;

/// A request with its price.
#[derive(Debug)]
pub(in crate::engine) struct Request {
    pub(in crate::engine) operation: Operation,
    pub(in crate::engine) records: Vec<Record>,
    pub(in crate::engine) company: Company,
    pub(super) payment: Payment,
    /// How much longer than configured it may take, once it leaves.
    pub(in crate::engine) longer: Duration,
}

/// What waits for the quota alone.
#[derive(Debug, Default)]
pub(super) struct Formed {
    pub(super) next: Option<Request>,
    large: VecDeque<Request>,
    /// The cost of the small request that passed the large ones last.
    passed: Option<Cost>,
}

impl Formed {
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none() && self.large.is_empty()
    }

    /// How many records wait.
    pub(super) fn len(&self) -> usize {
        self.next.iter().chain(&self.large).map(|request| request.records.len()).sum()
    }

    pub(super) fn into_requests(self) -> impl Iterator<Item = Request> {
        self.next.into_iter().chain(self.large)
    }

    /// Takes out every record that is wanted. What is left of a request costs what the whole did.
    pub(super) fn take_if(&mut self, is_wanted: impl Fn(&Record) -> bool, records: &mut Vec<Record>) {
        for request in self.next.iter_mut().chain(&mut self.large) {
            records.extend(request.records.extract_if(.., |record| is_wanted(record)));
        }
        self.next.take_if(|request| request.records.is_empty());
        self.large.retain(|request| !request.records.is_empty());
    }

    /// Whether a large request is paid for: nothing passes it any more.
    pub(super) fn is_large_to_leave(&self) -> bool {
        self.large.front().is_some_and(|request| request.payment.is_paid())
    }

    /// Pays of the large request that is next what the small one cost that passed it.
    ///
    /// # Errors
    /// When that has to be waited for: nothing else passes before.
    pub(super) fn pay_for_large(&mut self, quota: &mut Quota, now: Instant) -> Result<(), Instant> {
        let (Some(request), Some(passed)) = (self.large.front_mut(), self.passed) else { return Ok(()) };
        if let Some(at) = quota.pay_in_turn(&mut request.payment, passed, now) {
            return Err(at);
        }
        self.passed = None;
        Ok(())
    }

    /// The next request, if it may leave now.
    ///
    /// # Errors
    /// When it may: `None` when there is none, or when it is large and stepped aside.
    pub(super) fn next_small(&mut self, quota: &mut Quota, now: Instant) -> Result<Request, Option<Instant>> {
        let Some(mut request) = self.next.take() else { return Err(None) };
        match quota.admit(&mut request.payment, now) {
            Admission::Now => {
                self.passed = Some(request.payment.cost());
                Ok(request)
            }
            Admission::NotBefore(_)
                if quota.is_large(request.payment.cost()) && self.large.len() < MAX_LARGE =>
            {
                self.large.push_back(request);
                Err(None)
            }
            Admission::NotBefore(at) => {
                self.next = Some(request);
                Err(Some(at))
            }
        }
    }

    /// The large request that is next, if it may leave now and no small one waits for the quota.
    ///
    /// # Errors
    /// When it may, if there is one.
    pub(super) fn next_large(&mut self, quota: &mut Quota, now: Instant) -> Result<Request, Option<Instant>> {
        if self.next.is_some() && !self.is_large_to_leave() {
            return Err(None);
        }
        let Some(mut request) = self.large.pop_front() else { return Err(None) };
        match quota.admit(&mut request.payment, now) {
            Admission::Now => Ok(request),
            Admission::NotBefore(at) => {
                self.large.push_front(request);
                Err(Some(at))
            }
        }
    }
}
