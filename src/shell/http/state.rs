//! What a stream does, in one word, and what that means.
//!
//! Knows what was measured of one stream. Decides from that alone, so that `/status`, the page and the terminal say the same.
//!
//! *Invariant:* a state that calls for somebody wins over one that does not: nothing that waits looks well.

use std::time::Duration;

use crate::model::verdict::{Retry, RetryReason};

use super::readiness::{self, BATCHES_WOULD_HELP};

/// A stream that delivered so shortly ago is sending: requests are answered within milliseconds, so that a look finds one
/// under way seldom.
const SENDING_FOR: Duration = Duration::from_secs(5);

/// How long what the service refused for being too much shows.
const THROTTLED_FOR: Duration = Duration::from_secs(10);

/// A line that waits for longer was not sent as it came.
const CATCHING_UP_AFTER: Duration = Duration::from_secs(30);

/// Above this part of the rate nobody would see that it is lowered.
const SLOWED_BELOW: f64 = 0.95;

/// From this part of a limit on, the limit is what lines wait for.
const AT_LIMIT_FROM: f64 = 0.9;

/// What a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamState {
    /// Nothing is to be sent.
    Idle,
    /// Lines are delivered as they come.
    Sending,
    /// Lines are delivered, and the oldest has waited for long.
    CatchingUp,
    /// Throttling has lowered the rate.
    Slowed,
    /// The service has just said that it is too much.
    Throttled,
    /// Records fail alone, or files wait for room among the dead letters.
    Stuck,
    /// Nothing is sent but probes.
    Held,
    /// The service refuses record after record: nothing is sent but probes.
    Rejecting,
}

/// What was measured of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts<'a> {
    /// Why nothing is sent but probes.
    pub(super) held: Option<&'a Retry>,
    /// Records that fail alone.
    pub(super) stuck_records: usize,
    /// Files that wait for room among the dead letters.
    pub(super) blocked_files: usize,
    /// How long ago the service took a record last.
    pub(super) since_delivered: Option<Duration>,
    /// How long ago the service said last that it was too much.
    pub(super) since_throttled: Option<Duration>,
    /// The part of the rate that throttling has left, 0 to 1.
    pub(super) factor: f64,
    /// Whether records wait or are under way.
    pub(super) is_busy: bool,
    /// How long the oldest line that is not acknowledged has been there.
    pub(super) oldest: Duration,
    /// The largest part of a limit that the last second used, 0 to 1.
    pub(super) used: f64,
    /// Whether batches would carry what waits.
    pub(super) batches_would_help: bool,
}

impl StreamState {
    #[cfg(test)]
    const ALL: [Self; 8] = [
        Self::Idle,
        Self::Sending,
        Self::CatchingUp,
        Self::Slowed,
        Self::Throttled,
        Self::Stuck,
        Self::Held,
        Self::Rejecting,
    ];

    /// The state by what was measured.
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let within = |since: Option<Duration>, most: Duration| since.is_some_and(|since| since <= most);
        let sends = facts.is_busy || within(facts.since_delivered, SENDING_FOR);
        match facts.held {
            Some(why) if why.reason == RetryReason::Rejected => Self::Rejecting,
            Some(_) => Self::Held,
            None if facts.stuck_records > 0 || facts.blocked_files > 0 => Self::Stuck,
            None if within(facts.since_throttled, THROTTLED_FOR) => Self::Throttled,
            None if sends && facts.factor < SLOWED_BELOW => Self::Slowed,
            None if facts.oldest >= CATCHING_UP_AFTER => Self::CatchingUp,
            None if sends => Self::Sending,
            None => Self::Idle,
        }
    }

    /// As it stands in `/status`.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Sending => "sending",
            Self::CatchingUp => "catching_up",
            Self::Slowed => "slowed",
            Self::Throttled => "throttled",
            Self::Stuck => "stuck",
            Self::Held => "held",
            Self::Rejecting => "rejecting",
        }
    }

    /// What the state means, for a person.
    pub(super) const fn means(self) -> &'static str {
        match self {
            Self::Idle => "nothing is to be sent",
            Self::Sending => "lines are delivered as they come",
            Self::CatchingUp => "lines come faster than they are delivered, or a backlog is worked off",
            Self::Slowed => "throttling has lowered the rate; it rises again by itself",
            Self::Throttled => "the service takes less than is sent; standpipe slows down and sends it again",
            Self::Stuck => "some records fail alone; the others are delivered",
            Self::Held => "the service takes nothing; lines wait in their files, and it is tried again",
            Self::Rejecting => {
                "the service refuses record after record; lines wait in their files, and nothing is put aside"
            }
        }
    }

    /// What to do about it, where something can be done.
    pub(super) fn advice(self, facts: &Facts<'_>) -> Option<&'static str> {
        match self {
            Self::Held | Self::Rejecting => facts.held.map(readiness::advice),
            Self::Stuck if facts.blocked_files > 0 => Some(
                "look at what `standpipe dead-letters export` shows, and `replay` or `purge` it: the files go on as soon as \
                 there is room",
            ),
            Self::Stuck => Some(
                "look at that line; it becomes a dead letter after `retry.stuck_after` if nothing changes",
            ),
            _ if facts.batches_would_help => Some(BATCHES_WOULD_HELP),
            Self::Throttled => Some(readiness::THROTTLED),
            Self::Slowed => Some(
                "nothing, if it lasts for a minute or so; else see who else writes to this delivery stream",
            ),
            Self::CatchingUp if facts.used >= AT_LIMIT_FROM => Some(
                "the quota is what lines wait for: have it raised and raise `quota`, or send less: `packing`, `compression`, \
                 `drop_lines`",
            ),
            Self::CatchingUp => Some(
                "the quota has room: see how long requests take, whether `max_in_flight` or `ordered` bounds them, and \
                 whether this machine is busy",
            ),
            Self::Idle | Self::Sending => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(reason: RetryReason) -> Retry {
        Retry::new(reason, "Code", "message")
    }

    #[test]
    fn each_state_is_that_of_its_facts() {
        use StreamState::{CatchingUp, Held, Idle, Rejecting, Sending, Slowed, Stuck, Throttled};
        let seconds = Duration::from_secs;
        let ago = |count| Some(seconds(count));
        let (server, rejected) = (why(RetryReason::Server), why(RetryReason::Rejected));
        let still = Facts { factor: 1.0, ..Facts::default() };
        let busy = Facts { is_busy: true, ..still };
        let rows = [
            ("nothing happened", still, Idle),
            ("something is under way", busy, Sending),
            (
                "delivered a moment ago, nothing under way",
                Facts { since_delivered: ago(1), ..still },
                Sending,
            ),
            ("delivered five seconds ago", Facts { since_delivered: ago(5), ..still }, Sending),
            ("delivered long ago", Facts { since_delivered: ago(6), ..still }, Idle),
            ("throttled a moment ago", Facts { since_throttled: ago(0), ..busy }, Throttled),
            ("throttled, and all is sent since", Facts { since_throttled: ago(10), ..still }, Throttled),
            ("throttled long ago", Facts { since_throttled: ago(11), ..still }, Idle),
            ("slower than it could be", Facts { factor: 0.9, ..busy }, Slowed),
            ("a little slower", Facts { factor: 0.96, ..busy }, Sending),
            ("slower, and nothing to send", Facts { factor: 0.5, ..still }, Idle),
            ("late", Facts { oldest: seconds(30), since_delivered: ago(0), ..busy }, CatchingUp),
            ("late, and nothing sent yet", Facts { oldest: seconds(30), ..still }, CatchingUp),
            ("not late yet", Facts { oldest: seconds(29), ..busy }, Sending),
            ("late because it is slowed", Facts { oldest: seconds(90), factor: 0.5, ..busy }, Slowed),
            (
                "late because it is throttled",
                Facts { oldest: seconds(90), since_throttled: ago(3), ..busy },
                Throttled,
            ),
            ("a record fails alone", Facts { stuck_records: 1, since_delivered: ago(0), ..busy }, Stuck),
            ("a file has no room for its dead letter", Facts { blocked_files: 1, ..busy }, Stuck),
            (
                "a record fails alone, and throttled",
                Facts { stuck_records: 1, since_throttled: ago(0), ..busy },
                Stuck,
            ),
            ("the service is down", Facts { held: Some(&server), stuck_records: 1, ..busy }, Held),
            ("the service is down, and nothing waits", Facts { held: Some(&server), ..still }, Held),
            ("the service refuses all", Facts { held: Some(&rejected), ..busy }, Rejecting),
        ];
        for (name, facts, expected) in rows {
            assert_eq!(StreamState::of(&facts), expected, "{name}");
        }
        for state in StreamState::ALL {
            assert!(rows.iter().any(|(_, _, expected)| *expected == state), "{state:?} has no row");
        }
    }

    #[test]
    fn what_calls_for_somebody_says_what_to_do() {
        let server = why(RetryReason::Server);
        let facts = Facts { held: Some(&server), ..Facts::default() };
        for state in StreamState::ALL {
            let is_well = matches!(state, StreamState::Idle | StreamState::Sending);
            assert_eq!(state.advice(&facts).is_none(), is_well, "{state:?}");
        }
        let full = Facts { used: 0.95, ..facts };
        let quota = StreamState::CatchingUp.advice(&full).expect("it has advice");
        assert!(quota.contains("quota"), "{quota}");
        assert_ne!(StreamState::CatchingUp.advice(&facts), Some(quota));
        let single = Facts { batches_would_help: true, ..full };
        assert_eq!(StreamState::Sending.advice(&single), Some(BATCHES_WOULD_HELP));
        assert_eq!(
            StreamState::Held.advice(&single),
            Some(readiness::advice(&server)),
            "what holds it comes first"
        );
    }
}
