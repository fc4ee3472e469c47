//! What happened lately, field by field.

use serde::{Deserialize, Serialize};

use crate::model::settings::SourceId;
use crate::model::time::Instant;
use crate::shell::http::events::Noted;
use crate::shell::http::snapshot::Snapshot;
use crate::shell::http::trouble::{amount, seconds};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, since the daemon began; of what was repeated the last time.
    #[serde(deserialize_with = "amount")]
    pub at_seconds: f64,
    /// How long ago that was.
    #[serde(deserialize_with = "amount")]
    pub age_seconds: f64,
    /// One word for what happened, such as `"rotated"`.
    pub kind: String,
    /// `"info"`, `"warn"` or `"error"`.
    pub level: String,
    /// The stream that it is about, or that the lines of its source go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The source that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The file that it is about; of what was repeated the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What happened, for a person.
    pub message: String,
    /// How often it happened within a few seconds.
    pub count: u64,
}

impl Event {
    /// Everything that is kept, the latest first.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        snapshot.events.latest().map(|noted| Self::of(snapshot, noted)).collect()
    }

    fn of(snapshot: &Snapshot, noted: &Noted) -> Self {
        let of_source = |source: SourceId| snapshot.about.streams_of_sources[source.0];
        let about = &noted.about;
        let stream = about.stream.or(about.source.and_then(of_source));
        Self {
            at_seconds: seconds(noted.at.since(Instant::ZERO)),
            age_seconds: seconds(snapshot.status.at.since(noted.at)),
            kind: noted.kind.to_owned(),
            level: noted.level.label().to_owned(),
            stream: stream.map(|stream| snapshot.about.streams[stream.0].name.to_string()),
            source: about.source.map(|source| snapshot.source(source).to_string()),
            path: about.path.as_ref().map(|path| path.display().to_string()),
            message: noted.message.to_string(),
            count: noted.count,
        }
    }
}
