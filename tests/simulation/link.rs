//! A thin link between the daemon and its services: what is under way shares it evenly.

use std::time::Duration;

use standpipe::engine::port::{Event, Put};
use standpipe::model::limits::base64_len;
use standpipe::model::time::Instant;
use standpipe::model::verdict::{Outcome, Retry, RetryReason, Verdict};

use super::world::{Todo, World};

/// How long a request may take as configured, by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Headers of a request, and JSON around each of its records.
const AROUND_REQUEST: usize = 800;
const AROUND_RECORD: usize = 14;

/// What kernels hold of a connection that is closed: it is carried all the same.
const IN_KERNELS: f64 = 64.0 * 1024.0;

/// A link, and what it carries.
#[derive(Debug)]
pub struct Link {
    /// Bytes a second.
    rate: f64,
    flows: Vec<Flow>,
    /// Up to when everything was carried.
    at: Instant,
    /// The number of the next look that counts.
    turn: u64,
    pub sum: Sum,
}

/// What came of a link, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// What it could have carried.
    pub possible: f64,
    /// What it carried of requests that were answered.
    pub useful: f64,
    /// How many requests were given up.
    pub given_up: u64,
}

/// One request on the link.
#[derive(Debug)]
struct Flow {
    process: u64,
    put: Put,
    bytes: f64,
    left: f64,
    end: End,
}

/// What becomes of a request that is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    /// The service takes it, and whoever sent it is gone.
    Unheard,
    /// The service gets a part of it.
    Cut,
}

impl Link {
    pub fn new(rate: f64) -> Self {
        Self { rate, flows: Vec::new(), at: Instant::ZERO, turn: 0, sum: Sum::default() }
    }

    /// Everything up to now is carried.
    fn advance(&mut self, now: Instant) {
        let bytes = now.since(self.at).as_secs_f64() * self.rate;
        self.at = now;
        self.sum.possible += bytes;
        let part = bytes / self.flows.len().max(1) as f64;
        self.flows.iter_mut().for_each(|flow| flow.left -= part);
    }

    /// How long until the next request is carried, and the number of the look then.
    fn next(&mut self) -> Option<(Duration, u64)> {
        let least = self.flows.iter().map(|flow| flow.left).reduce(f64::min)?;
        self.turn += 1;
        let seconds = least.max(0.0) * self.flows.len() as f64 / self.rate;
        // Not a moment too early for what is left to be none.
        Some((Duration::from_secs_f64(seconds) + Duration::from_micros(1), self.turn))
    }
}

impl World {
    /// A request is on the link from now on.
    pub fn carry(&mut self, put: Put) {
        let limit = REQUEST_TIMEOUT + put.longer;
        self.later(limit, Todo::GiveUp(self.process, put.request));
        let wire = put.records.iter().map(|data| base64_len(data.len()) + AROUND_RECORD).sum::<usize>();
        let bytes = (wire + AROUND_REQUEST) as f64;
        let (process, now) = (self.process, self.now);
        let link = self.link.as_mut().expect("there is a link");
        link.advance(now);
        link.flows.push(Flow { process, put, bytes, left: bytes, end: End::Answered });
        self.look_at_link_later();
    }

    fn look_at_link_later(&mut self) {
        if let Some((after, turn)) = self.link.as_mut().and_then(Link::next) {
            self.later(after, Todo::Carried(turn));
        }
    }

    /// Looks what the link has carried, unless something has changed since this look was wanted.
    pub fn look_at_link(&mut self, turn: u64) {
        let now = self.now;
        let Some(link) = self.link.as_mut().filter(|link| link.turn == turn) else { return };
        link.advance(now);
        let carried: Vec<_> = link.flows.extract_if(.., |flow| flow.left <= 0.0).collect();
        for flow in carried {
            match flow.end {
                End::Answered => {
                    self.link.as_mut().expect("there is a link").sum.useful += flow.bytes;
                    self.carry_out(flow.process, standpipe::engine::port::Effect::Put(flow.put));
                }
                End::Unheard => drop(self.put(&flow.put)),
                End::Cut => {}
            }
        }
        self.look_at_link_later();
    }

    /// The time of a request is over: its connection is closed, if it has no answer yet.
    pub fn give_up(&mut self, process: u64, request: standpipe::engine::port::RequestId) {
        let now = self.now;
        let Some(link) = &mut self.link else { return };
        link.advance(now);
        let is_it = |flow: &&mut Flow| flow.process == process && flow.put.request == request;
        let Some(flow) = link.flows.iter_mut().find(is_it) else { return };
        link.sum.given_up += 1;
        flow.end = if flow.left <= IN_KERNELS { End::Unheard } else { End::Cut };
        flow.left = flow.left.min(IN_KERNELS);
        let why = Retry::new(RetryReason::Network, "Timeout", "simulated");
        let verdicts = vec![Verdict::Retry(why); flow.put.records.len()];
        let event = Event::PutDone { request, outcome: Outcome { verdicts, took: REQUEST_TIMEOUT } };
        self.later(Duration::ZERO, Todo::Tell(process, event));
        self.look_at_link_later();
    }

    /// The link carries so many bytes a second from now on.
    pub fn change_link(&mut self, rate: f64) {
        let now = self.now;
        let link = self.link.as_mut().expect("there is a link");
        link.advance(now);
        link.rate = rate;
        self.look_at_link_later();
    }

    pub fn link_sum(&mut self) -> Sum {
        let now = self.now;
        let link = self.link.as_mut().expect("there is a link");
        link.advance(now);
        link.sum
    }
}
