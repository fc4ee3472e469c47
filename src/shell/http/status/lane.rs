//! One of the delivery streams of a stream whose files are spread, field by field.

use serde::{Deserialize, Serialize};

use crate::engine::{LaneStatus, StreamStatus};
use crate::rules::spread::Standing;
use crate::shell::http::snapshot::{Snapshot, StreamAbout};
use crate::shell::http::trouble::{Trouble, amount};

/// One delivery stream of several.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliveryStream {
    /// The delivery stream's name at the service.
    pub name: String,
    /// The region that requests go to; absent while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What the delivery stream does: `"sending"`, `"idle"`, `"held"`, `"handed_on"` (others carry its files) or `"probing"`
    /// (it is asked by one of them).
    pub state: String,
    /// How many files it carries.
    pub files: u64,
    /// Requests that are sent and not answered.
    pub in_flight: u64,
    /// Records that are read and not yet in a request.
    pub waiting_records: u64,
    /// The part of the rate that throttling has left, 0 to 1.
    #[serde(deserialize_with = "amount")]
    pub factor: f64,
    /// The largest part of a quota that the last second used, 0 to 1.
    #[serde(deserialize_with = "amount")]
    pub used: f64,
    /// Why nothing is accepted now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Trouble>,
    /// The last failure, also when the delivery stream has recovered since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Trouble>,
}

impl DeliveryStream {
    /// Each delivery stream of a stream, where it has several, in the order of the configuration.
    pub(super) fn all(snapshot: &Snapshot, about: &StreamAbout, stream: &StreamStatus) -> Vec<Self> {
        let used: Vec<_> = stream.lanes.iter().filter(|lane| lane.is_used).collect();
        if used.len() < 2 {
            return Vec::new();
        }
        let of = |lane: &LaneStatus| Self {
            name: about.lanes[lane.lane.place].delivery_stream.clone(),
            region: snapshot.regions[lane.lane].clone(),
            state: state(lane).to_owned(),
            files: lane.files as u64,
            in_flight: lane.in_flight as u64,
            waiting_records: lane.waiting as u64,
            factor: lane.factor,
            used: lane.used.requests.max(lane.used.records).max(lane.used.bytes),
            held: lane.held.as_ref().map(|(why, since)| Trouble::of(snapshot, why, *since)),
            last_error: lane.last_error.as_ref().map(|(at, why)| Trouble::of(snapshot, why, *at)),
        };
        used.into_iter().map(of).collect()
    }
}

fn state(lane: &LaneStatus) -> &'static str {
    match (lane.standing, &lane.held) {
        (Standing::HandedOn { .. }, _) => "handed_on",
        (Standing::Probing { .. }, _) => "probing",
        (Standing::Carries, Some(_)) => "held",
        (Standing::Carries, None) if lane.in_flight > 0 || lane.waiting > 0 || lane.sent.records > 0 => {
            "sending"
        }
        (Standing::Carries, None) => "idle",
    }
}
