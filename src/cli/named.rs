//! The delivery streams that paths name, as far as files are there now.
//!
//! Knows what surveys show. Does not know which files were there before. Called by `check`, `preview` and `run`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::Config;
use crate::engine::port::Observed;
use crate::model::route::{Destined, Route};
use crate::model::settings::SourceId;
use crate::shell::files::Surveyed;
use crate::shell::store::Loaded;

/// The streams that files name which are there now.
pub(super) fn streams(config: &Config, surveys: &[Surveyed]) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    for observation in surveys.iter().map(|surveyed| &surveyed.observation) {
        let Route::ByPath(by_path) = &config.settings.sources[observation.source.0].route else { continue };
        let matched = observation.files.iter().filter(|file| file.is_matched);
        names.extend(
            matched
                .filter_map(|file| by_path.name(file.real_path(), &file.path).ok())
                .map(|name| Arc::from(name.as_str())),
        );
    }
    names
}

/// The configuration with the streams open that files name which are there now.
pub(super) fn with_streams(config: &Config, surveys: &[Surveyed]) -> Config {
    let names = streams(config, surveys);
    config.with_streams(names.iter().map(|name| &**name))
}

/// Where a file that a source matches goes: the stream's name.
///
/// # Errors
/// Why it goes nowhere.
pub(super) fn stream_of<'c>(
    config: &'c Config,
    source: SourceId,
    file: &Observed,
) -> Result<&'c str, String> {
    match config.settings.sources[source.0].route.of(file.real_path(), &file.path) {
        Destined::To(stream) => Ok(&*config.streams[stream.0].name),
        Destined::Unopened(name) => Err(format!("its stream {name} is not open")),
        Destined::Nowhere(why) => Err(why),
    }
}

/// The streams that paths have named: those of files that are there, then those that something is stored for: positions,
/// whose files may have been renamed, and dead letters, which may be sent again.
pub(super) fn opened(config: &Config, found: BTreeSet<Arc<str>>, loaded: &Loaded) -> Vec<Arc<str>> {
    let positions = loaded.checkpoints.iter().map(|stored| &stored.stream);
    let stored: BTreeSet<_> = positions.chain(loaded.dead_letter_disk_bytes.keys()).cloned().collect();
    let more: Vec<_> = stored.difference(&found).filter(|name| config.may_open(name)).cloned().collect();
    found.into_iter().chain(more).collect()
}
