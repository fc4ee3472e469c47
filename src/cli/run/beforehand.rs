//! The look at the files before anything starts.
//!
//! Knows which sources could meet, which may name streams, and how long they are looked at. Does not know what is wrong with
//! what is found.

use std::time::Duration;

use crate::config::Config;
use crate::model::route::Route;
use crate::model::settings::SourceId;
use crate::shell::files::{Surveyed, survey_source};

use super::{aside, source_files};

/// How long the start waits for a look at the files. Where one takes longer, sources that meet are told, and streams that
/// paths name are opened, while the daemon runs.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is there of sources that may meet in a file, and of those whose files name their streams.
pub(super) async fn surveys(config: &Config) -> Vec<Surveyed> {
    let routes: Vec<_> = config.settings.sources.iter().map(|source| &source.route).collect();
    let meets = |route: &Route| match route {
        Route::To(stream) => routes.iter().filter(|other| other.leads_to(*stream)).count() > 1,
        Route::ByPath(_) => true,
    };
    let files: Vec<_> = source_files(config)
        .into_iter()
        .enumerate()
        .filter(|(place, _)| meets(routes[*place]))
        .map(|(place, files)| (SourceId(place), files))
        .collect();
    if files.is_empty() {
        return Vec::new();
    }
    let surveys = aside(move || {
        files.iter().map(|(id, files)| survey_source(files, *id, &[], Duration::ZERO)).collect()
    });
    tokio::time::timeout(PATIENCE, surveys).await.unwrap_or_default()
}
