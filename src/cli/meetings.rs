//! Two sources of one stream that meet in a file: refused at the start, because each of its lines would have two sources.
//!
//! Sources meet by their globs, by links and by hard links, so only a look at the files shows it. A file in which they meet
//! later stays with the source that has it. Knows what surveys show. Called by `check` and `run`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::config::{Config, Fault, Place, Source};
use crate::model::route::Destined;
use crate::model::settings::{SourceId, StreamId};
use crate::model::text::plain_path;
use crate::shell::files::Surveyed;

/// Each pair of sources that meet, with a file in which they do.
pub(super) fn faults(config: &Config, surveys: &[Surveyed]) -> Vec<Fault> {
    let mut first = HashMap::new();
    let (mut told, mut faults) = (BTreeSet::new(), Vec::new());
    for observation in surveys.iter().map(|surveyed| &surveyed.observation) {
        let SourceId(place) = observation.source;
        let route = &config.settings.sources[place].route;
        for file in observation.files.iter().filter(|file| file.is_matched) {
            let Destined::To(stream) = route.of(file.real_path(), &file.path) else { continue };
            let (other, path) = first.entry((stream, file.identity)).or_insert((place, &file.path));
            if *other != place && told.insert((*other, place)) {
                faults.push(fault((config, stream), (*other, path), (place, &file.path)));
            }
        }
    }
    faults
}

fn fault(
    (config, stream): (&Config, StreamId),
    (first, first_path): (usize, &Path),
    (second, path): (usize, &Path),
) -> Fault {
    let (text, place) = pattern(&config.sources[second], path);
    let (_, other) = pattern(&config.sources[first], first_path);
    let stream = &config.streams[stream.0].name;
    let also = if first_path == path {
        String::new()
    } else {
        format!(", the same file as {}", plain_path(first_path))
    };
    let message = format!(
        "`{text}` and the source at {other} both send {}{also}, into the stream {stream}; leave it out of one (`exclude`)",
        plain_path(path)
    );
    Fault { place, key: "source.paths".to_owned(), message }
}

/// The pattern by which a source matches a file, and where that is written.
fn pattern<'a>(source: &'a Source, path: &Path) -> (&'a str, Place) {
    let matching = source.patterns.iter().position(|pattern| pattern.matches(path)).unwrap_or(0);
    let place = source.written.0.get(matching).cloned().unwrap_or(Place::CommandLine);
    (source.patterns[matching].text(), place)
}
