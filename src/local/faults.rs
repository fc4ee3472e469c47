//! Faults on demand, for tests.
//!
//! Knows which request is to go wrong and how; the same plan and seed give the same faults for the same order of
//! requests. Deliberately knows neither HTTP nor records: `service` asks for each request, `http` acts it out.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::request::Operation;

/// One way for a request to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 503 `ServiceUnavailableException`, as above a quota.
    Unavailable,
    /// 500 `InternalFailure`.
    Internal,
    /// `ResourceNotFoundException`.
    NotFound,
    /// `InvalidKMSResourceException`.
    InvalidKey,
    /// `InvalidArgumentException`.
    InvalidArgument,
    /// `AccessDeniedException`.
    AccessDenied,
    /// `ExpiredTokenException`.
    ExpiredToken,
    /// A batch of which some records are not accepted. Passes by a `PutRecord`.
    Partial,
    /// The connection is reset, nothing is accepted.
    ResetBefore,
    /// Everything is accepted, then the connection is reset.
    ResetAfter,
    /// Nothing is accepted and nothing is answered, until the client gives up.
    Hang,
    /// Everything is accepted and nothing is answered, until the client gives up.
    HangAfter,
    /// 200 with a page of HTML, as of a captive portal; nothing is accepted.
    Html,
    /// A redirect to somewhere else; nothing is accepted.
    Redirect,
    /// Everything is accepted, but the JSON of the answer breaks off in the middle.
    Truncated,
    /// Everything is accepted, but the answer to a batch has an entry too few. Passes by a `PutRecord`.
    Short,
}

impl Fault {
    const ALL: [(&'static str, Self); 16] = [
        ("unavailable", Self::Unavailable),
        ("internal", Self::Internal),
        ("not_found", Self::NotFound),
        ("invalid_key", Self::InvalidKey),
        ("invalid_argument", Self::InvalidArgument),
        ("access_denied", Self::AccessDenied),
        ("expired_token", Self::ExpiredToken),
        ("partial", Self::Partial),
        ("reset_before", Self::ResetBefore),
        ("reset_after", Self::ResetAfter),
        ("hang", Self::Hang),
        ("hang_after", Self::HangAfter),
        ("html", Self::Html),
        ("redirect", Self::Redirect),
        ("truncated", Self::Truncated),
        ("short", Self::Short),
    ];

    /// The name of the fault in flags, plans and statistics.
    pub(super) fn label(self) -> &'static str {
        let (label, _) = Self::ALL.iter().find(|(_, fault)| *fault == self).expect("ALL lists every fault");
        label
    }

    fn touches(self, operation: Operation) -> bool {
        operation == Operation::PutRecordBatch || !matches!(self, Self::Partial | Self::Short)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(label, _)| *label == text).map(|(_, fault)| *fault).ok_or_else(|| {
            let labels: Vec<_> = Self::ALL.iter().map(|(label, _)| *label).collect();
            format!("no fault is called {text:?}; there are {}", labels.join(", "))
        })
    }
}

/// Which requests go wrong, and how. As JSON, the body of `POST /_standpipe/faults`; it replaces the plan before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultPlan {
    /// How long every answer takes at least, in milliseconds; what is accepted is accepted before.
    pub latency_ms: u64,
    /// Which share of the requests goes wrong in which way, 0 to 1; together at most 1.
    pub rates: BTreeMap<Fault, f64>,
    /// Which share of the records a partly failed batch loses, 0 to 1; at least one.
    pub partial_share: f64,
    /// What happens to the next requests, in this order, before any rate applies.
    pub next: VecDeque<Next>,
    /// The delivery streams that the plan applies to; empty for all.
    pub streams: Vec<String>,
}

/// One fault for some requests in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// What goes wrong.
    pub fault: Fault,
    /// How many requests it happens to.
    pub requests: u64,
}

impl Default for FaultPlan {
    /// No fault; a batch that is made to fail in part by a later plan loses half of its records.
    fn default() -> Self {
        Self {
            latency_ms: 0,
            rates: BTreeMap::new(),
            partial_share: 0.5,
            next: VecDeque::new(),
            streams: Vec::new(),
        }
    }
}

impl FaultPlan {
    /// Says what is wrong with the plan, if anything.
    pub fn check(&self) -> Result<(), String> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if let Some((fault, rate)) = self.rates.iter().find(|(_, rate)| !share(**rate)) {
            return Err(format!("the rate of {} is {rate}, not from 0 to 1", fault.label()));
        }
        let sum: f64 = self.rates.values().sum();
        // Ten times a tenth is a little less or more than one.
        if sum > 1.0 + 1e-9 {
            return Err(format!("the rates add up to {sum}, more than 1"));
        }
        if !share(self.partial_share) {
            return Err(format!("partial_share is {}, not from 0 to 1", self.partial_share));
        }
        Ok(())
    }
}

/// The plan at work.
#[derive(Debug)]
pub(super) struct Faults {
    plan: FaultPlan,
    chance: fastrand::Rng,
    /// How often each fault happened.
    happened: BTreeMap<Fault, u64>,
}

impl Faults {
    pub(super) fn new(plan: FaultPlan, seed: u64) -> Self {
        Self { plan, chance: fastrand::Rng::with_seed(seed), happened: BTreeMap::new() }
    }

    /// Follows another plan from now on; chance goes on where it was.
    pub(super) fn follow(&mut self, plan: FaultPlan) {
        self.plan = plan;
    }

    pub(super) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    pub(super) fn happened(&self) -> &BTreeMap<Fault, u64> {
        &self.happened
    }

    /// How long the answer to a request for `stream` takes at least.
    pub(super) fn latency(&self, stream: &str) -> Duration {
        if self.concerns(stream) { Duration::from_millis(self.plan.latency_ms) } else { Duration::ZERO }
    }

    /// What goes wrong with the next request, if anything.
    pub(super) fn next(&mut self, stream: &str, operation: Operation) -> Option<Fault> {
        if !self.concerns(stream) {
            return None;
        }
        let fault = self.next_in_line(operation).or_else(|| self.by_chance(operation))?;
        *self.happened.entry(fault).or_default() += 1;
        Some(fault)
    }

    /// Which records of a partly failed batch of `count` fail: at least one of them.
    pub(super) fn losers(&mut self, count: usize) -> Vec<bool> {
        let mut losers: Vec<bool> = (0..count).map(|_| self.chance.f64() < self.plan.partial_share).collect();
        let certain = self.chance.usize(..count);
        losers[certain] = true;
        losers
    }

    fn concerns(&self, stream: &str) -> bool {
        self.plan.streams.is_empty() || self.plan.streams.iter().any(|named| named == stream)
    }

    fn next_in_line(&mut self, operation: Operation) -> Option<Fault> {
        while self.plan.next.front().is_some_and(|next| next.requests == 0) {
            self.plan.next.pop_front();
        }
        let next = self.plan.next.front_mut().filter(|next| next.fault.touches(operation))?;
        next.requests -= 1;
        Some(next.fault)
    }

    fn by_chance(&mut self, operation: Operation) -> Option<Fault> {
        if self.plan.rates.is_empty() {
            return None;
        }
        let drawn = self.chance.f64();
        let mut bound = 0.0;
        let (fault, _) = self.plan.rates.iter().find(|(_, rate)| {
            bound += **rate;
            drawn < bound
        })?;
        fault.touches(operation).then_some(*fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> FaultPlan {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_fault_has_the_same_name_in_flags_and_json() {
        for (label, fault) in Fault::ALL {
            assert_eq!(serde_json::to_string(&fault).unwrap(), format!("{label:?}"));
            assert_eq!(label.parse(), Ok(fault));
            assert_eq!(fault.label(), label);
        }
        assert!("rain".parse::<Fault>().is_err());
    }

    #[test]
    fn the_next_requests_go_wrong_in_the_order_of_the_plan() {
        let plan = plan(r#"{"next":[{"fault":"internal","requests":2},{"fault":"partial","requests":1}]}"#);
        let mut faults = Faults::new(plan, 1);
        assert_eq!(faults.next("a", Operation::PutRecord), Some(Fault::Internal));
        assert_eq!(faults.next("b", Operation::PutRecordBatch), Some(Fault::Internal));
        assert_eq!(faults.next("a", Operation::PutRecord), None, "one record cannot fail in part");
        assert_eq!(faults.next("a", Operation::PutRecordBatch), Some(Fault::Partial));
        assert_eq!(faults.next("a", Operation::PutRecordBatch), None);
        assert_eq!(faults.happened()[&Fault::Internal], 2);
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let draw = |seed| {
            let plan = plan(r#"{"rates":{"internal":0.2,"reset_after":0.3}}"#);
            let mut faults = Faults::new(plan, seed);
            (0..1_000).map(|_| faults.next("a", Operation::PutRecord)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let resets = draw(7).iter().filter(|fault| **fault == Some(Fault::ResetAfter)).count();
        assert!((250..350).contains(&resets), "{resets} of 1,000 at a rate of 0.3");
    }

    #[test]
    fn a_plan_may_be_about_some_streams_only() {
        let mut faults = Faults::new(plan(r#"{"rates":{"internal":1},"latency_ms":5,"streams":["a"]}"#), 1);
        assert_eq!(faults.next("a", Operation::PutRecord), Some(Fault::Internal));
        assert_eq!(faults.next("b", Operation::PutRecord), None);
        assert_eq!(faults.latency("a"), Duration::from_millis(5));
        assert_eq!(faults.latency("b"), Duration::ZERO);
    }

    #[test]
    fn a_partly_failed_batch_loses_at_least_one_record() {
        let mut faults = Faults::new(plan(r#"{"partial_share":0}"#), 3);
        assert_eq!(faults.losers(10).iter().filter(|lost| **lost).count(), 1);
    }

    #[test]
    fn a_plan_that_cannot_be_followed_is_refused() {
        for wrong in [
            r#"{"rates":{"internal":1.5}}"#,
            r#"{"rates":{"internal":0.6,"hang":0.6}}"#,
            r#"{"rates":{"internal":-0.1}}"#,
            r#"{"partial_share":2}"#,
        ] {
            assert!(plan(wrong).check().is_err(), "{wrong}");
        }
        let tenths = plan(r#"{"rates":{"internal":0.7,"hang":0.2,"html":0.1}}"#);
        assert_eq!(tenths.check(), Ok(()));
        assert!(serde_json::from_str::<FaultPlan>(r#"{"lattency_ms":1}"#).is_err());
    }
}
