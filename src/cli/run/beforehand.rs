//! The look at the files before anything starts.
//!
//! Knows which sources could meet, and how long they are looked at. Does not know what is wrong with what is found.

use std::time::Duration;

use crate::cli::meetings;
use crate::config::{Config, Fault};
use crate::model::settings::SourceId;
use crate::shell::files::{Surveyed, survey_source};

use super::{aside, source_files};

/// How long the start waits for a look at the files. Where one takes longer, sources that meet are told while the daemon
/// runs.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at the files of sources that share a stream; says where two of them meet.
pub(super) async fn meetings(config: &Config) -> Vec<Fault> {
    let streams: Vec<_> = config.settings.sources.iter().map(|source| source.stream).collect();
    let shares = |stream| streams.iter().filter(|other| **other == stream).count() > 1;
    let files: Vec<_> = source_files(config)
        .into_iter()
        .enumerate()
        .filter(|(place, _)| shares(streams[*place]))
        .map(|(place, files)| (SourceId(place), files))
        .collect();
    if files.is_empty() {
        return Vec::new();
    }
    let surveys = aside(move || {
        files.iter().map(|(id, files)| survey_source(files, *id, &[], Duration::ZERO)).collect()
    });
    let surveys: Vec<Surveyed> = tokio::time::timeout(PATIENCE, surveys).await.unwrap_or_default();
    meetings::faults(config, &surveys)
}
