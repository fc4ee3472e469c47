//! Sources as needed: from the file's tables, or from the paths of the command line in their place.
//!
//! Knows what sources must be beside one another; does not know how their streams are set up, only which there
//! are, in the order of first use.

mod envelope;
mod route;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use self::envelope::format_of;
pub(super) use self::route::{Destination, destination};
use super::fault::{Faults, Place};
use super::typed::{FilesTable, JsonTable, MultilineTable, RoutingTable, SourceTable, stream_name};
use super::units::show_size;
use super::walk::{Typed, json};
use super::{Overrides, ProcessEnvironment, Source, Written};
use crate::model::identity::WINDOW_BYTES;
use crate::model::limits::{LINES_PER_RECORD, MAX_INCOMPLETE_BYTES, NAME_BYTES, RECORD_BYTES};
use crate::model::message::max_incomplete_bytes;
use crate::model::route::{ByPath, Route};
use crate::model::settings::{
    Format, Grouping, LineFilter, MemorySettings, Multiline, Newline, Oversize, SourceSettings, StartAt,
    StreamId,
};
use crate::rules::pattern::{Exclude, Pattern};

/// How long an unlinked file stays open after it has gone quiet.
const CLOSE_REMOVED_AFTER: Duration = Duration::from_secs(10);

/// How long the last message of several lines waits for more of them.
const MULTILINE_TIMEOUT: Duration = Duration::from_secs(2);

const MIB: u64 = 1024 * 1024;

/// What a `--local` run calls its stream when nothing else does.
const LOCAL_STREAM: &str = "local";

/// All sources, and the streams they use.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) sources: Vec<Source>,
    pub(super) settings: Vec<SourceSettings>,
    /// The streams that sources name, in the order of first use; [`StreamId`] is the index.
    pub(super) streams: Vec<Typed<String>>,
}

/// The sources of the command line: one with every path, or none.
pub(super) fn of_command_line(
    overrides: &Overrides,
    around: &ProcessEnvironment<'_>,
    faults: &mut Faults,
) -> Option<SourceTable> {
    let mut refuse = |key: &str, message: String| faults.push(Place::CommandLine, key, message);
    if overrides.paths.is_empty() {
        if overrides.stream.is_some() {
            refuse("--stream", "is without PATHs; name the files that go there".to_owned());
        }
        return None;
    }
    let typed = |key: &str, value: String| Typed { value, place: Place::CommandLine, key: key.to_owned() };
    let stream = match (&overrides.stream, &overrides.local) {
        (Some(name), _) => match stream_name(name) {
            Ok(name) => Some(typed("--stream", name)),
            Err(message) => {
                refuse("--stream", message);
                None
            }
        },
        (None, Some(_)) => Some(typed("--stream", LOCAL_STREAM.to_owned())),
        (None, None) => {
            let message = "is missing; name the delivery stream that the PATHs go to, or use --local DIR";
            refuse("--stream", message.to_owned());
            None
        }
    };
    let mut paths = Vec::with_capacity(overrides.paths.len());
    for path in &overrides.paths {
        match Pattern::parse_argument(path, around.current_dir, around.exists) {
            Ok(value) => paths.push(Typed { value, place: Place::CommandLine, key: "PATH".to_owned() }),
            Err(fault) => refuse("PATH", fault.to_string()),
        }
    }
    Some(SourceTable {
        name: None,
        paths: Some(paths),
        files: FilesTable::default(),
        stream,
        routing: RoutingTable::default(),
        append_newline: None,
        json: JsonTable::default(),
        max_line_bytes: None,
        oversize: None,
        parse: None,
        multiline: MultilineTable::default(),
        keep_lines: None,
        drop_lines: None,
    })
}

impl Sources {
    pub(super) fn new(
        mut tables: Vec<SourceTable>,
        host: &str,
        memory: MemorySettings,
        faults: &mut Faults,
    ) -> Self {
        tell_apart(&mut tables);
        refuse_long_names(&tables, faults);
        refuse_shared_names(&tables, faults);
        refuse_shared_patterns(&tables, faults);
        refuse_too_long_lines(&tables, memory, faults);
        let mut all = Self::default();
        for table in tables {
            let format = format_of(&table, host, faults);
            all.add(table, (format, host), faults);
        }
        all
    }

    /// Adds what `table` says. What is missing in it was reported when it was read; its stream is added all the
    /// same, so that it is judged too.
    fn add(&mut self, table: SourceTable, (format, host): (Format, &str), faults: &mut Faults) {
        let Some(stream) = table.stream.clone() else {
            return;
        };
        let max_message_bytes = max_message_bytes(&table);
        let name = name_of(&table).map(|name| name.value).unwrap_or_default();
        let route = match destination(&table, &stream, (&name, host), faults) {
            Destination::One(stream) => Route::To(self.stream_id(stream)),
            Destination::ByPath(by_path, default) => {
                let default = default.map(|default| self.stream_id(default));
                Route::ByPath(Box::new(ByPath { default, ..*by_path }))
            }
        };
        let written = table.paths.iter().flatten().map(|pattern| pattern.place.clone()).collect();
        let patterns: Vec<Pattern> = values(table.paths);
        self.settings.push(SourceSettings {
            name: name.as_str().into(),
            route,
            start_at: table.files.start_at.map_or(StartAt::Beginning, |start_at| start_at.value),
            newline: match table.append_newline.is_none_or(|append| append.value) {
                true => Newline::Append,
                false => Newline::Strip,
            },
            format,
            max_message_bytes,
            oversize: table.oversize.as_ref().map_or(Oversize::Split, |oversize| oversize.value),
            runtime: table.parse.as_ref().and_then(|parse| parse.value),
            multiline: multiline(table.multiline, faults),
            filter: LineFilter { keep: values(table.keep_lines), drop: values(table.drop_lines) },
            ignore_older: table.files.ignore_older.map(|older| older.value),
            close_removed_after: table
                .files
                .close_removed_after
                .map_or(CLOSE_REMOVED_AFTER, |after| after.value),
        });
        let follow_symlinks = table.files.follow_symlinks.is_some_and(|follow| follow.value);
        self.sources.push(Source {
            name: name.into(),
            patterns,
            exclude: Exclude::new(values(table.files.exclude)),
            rotated: values(table.files.rotated),
            follow_symlinks,
            link_targets: link_targets(table.files.link_targets, follow_symlinks, faults),
            written: Written(written),
        });
    }

    /// Whether files may go to streams that no source names.
    pub(super) fn have_templates(&self) -> bool {
        self.settings.iter().any(|source| matches!(source.route, Route::ByPath(_)))
    }

    fn stream_id(&mut self, stream: Typed<String>) -> StreamId {
        let known = self.streams.iter().position(|known| known.value == stream.value);
        StreamId(known.unwrap_or_else(|| {
            self.streams.push(stream);
            self.streams.len() - 1
        }))
    }
}

/// Where links may lead: that says something only where they are followed.
fn link_targets(
    targets: Option<Vec<Typed<PathBuf>>>,
    follow_symlinks: bool,
    faults: &mut Faults,
) -> Vec<PathBuf> {
    if let Some(first) = targets.iter().flatten().next().filter(|_| !follow_symlinks) {
        faults.add(first.fault("no link is followed; set follow_symlinks = true, or leave link_targets out"));
    }
    values(targets)
}

/// The longest message, in bytes.
fn max_message_bytes(table: &SourceTable) -> usize {
    let typed = table.max_line_bytes.as_ref();
    typed.map_or(RECORD_BYTES, |typed| usize::try_from(typed.value).expect("up to 64 MiB"))
}

fn multiline(table: MultilineTable, faults: &mut Faults) -> Option<Multiline> {
    if let (Some(start), Some(_)) = (&table.start, &table.preset) {
        faults.add(start.fault("and a preset both say where messages begin; leave one of them out"));
    }
    let grouping = match (table.start, table.preset) {
        (Some(start), _) => Grouping::Start(start.value),
        (None, Some(preset)) => Grouping::Traces(preset.value),
        (None, None) => return None,
    };
    Some(Multiline {
        grouping,
        max_lines: table.max_lines.map_or(LINES_PER_RECORD, |typed| typed.value as usize),
        timeout: table.timeout.map_or(MULTILINE_TIMEOUT, |typed| typed.value),
    })
}

/// Messages of several lines are read as a whole, so one has to fit into its file's part of the memory.
fn refuse_too_long_lines(tables: &[SourceTable], memory: MemorySettings, faults: &mut Faults) {
    if faults.about("memory") {
        return;
    }
    for table in tables {
        let parse = table.parse.as_ref().filter(|parse| parse.value.is_some()).map(Typed::spot);
        let start = table.multiline.start.as_ref().map(Typed::spot);
        let grouped = start.or(table.multiline.preset.as_ref().map(Typed::spot));
        let gathered = parse.or(grouped);
        let Some(gathered) = gathered else { continue };
        let bytes =
            (max_incomplete_bytes(max_message_bytes(table)) + MAX_INCOMPLETE_BYTES + WINDOW_BYTES + 1) as u64;
        if bytes > memory.buffer_per_file {
            let spot = table.max_line_bytes.as_ref().map_or(gathered, Typed::spot);
            let (needed, has) = (show_size(bytes.next_multiple_of(MIB)), show_size(memory.buffer_per_file));
            faults.add(spot.fault(format!(
                "to hold the lines of one message takes up to {needed} for each file, and buffer_per_file is {has}; \
                 set [memory] buffer_per_file = \"{needed}\", or a smaller max_line_bytes"
            )));
        }
    }
}

fn values<T>(list: Option<Vec<Typed<T>>>) -> Vec<T> {
    list.into_iter().flatten().map(|typed| typed.value).collect()
}

/// The source's name, or its first path where it has none.
pub(super) fn name_of(table: &SourceTable) -> Option<Typed<String>> {
    let first = || {
        let first = table.paths.as_ref()?.first()?;
        Some(Typed {
            value: first.value.text().to_owned(),
            place: first.place.clone(),
            key: first.key.clone(),
        })
    };
    table.name.clone().or_else(first)
}

/// Where a source that says nothing of its name would be called as one before it that sends elsewhere, its name says where
/// its own lines go.
fn tell_apart(tables: &mut [SourceTable]) {
    for index in 0..tables.len() {
        let (earlier, later) = tables.split_at_mut(index);
        let table = &mut later[0];
        let (None, Some(stream), Some(mut name)) = (&table.name, &table.stream, name_of(table)) else {
            continue;
        };
        let is_elsewhere = |other: &&SourceTable| {
            name_of(other).is_some_and(|other| other.value == name.value)
                && other.stream.as_ref().is_some_and(|other| other.value != stream.value)
        };
        if earlier.iter().any(|other| is_elsewhere(&other)) {
            name.value = format!("{} to {}", name.value, stream.value);
            table.name = Some(name);
        }
    }
}

/// A name stands in every record with format = "json", in metrics and in logs.
fn refuse_long_names(tables: &[SourceTable], faults: &mut Faults) {
    for name in tables.iter().filter_map(name_of) {
        let bytes = json(&name.value).len();
        if bytes > NAME_BYTES {
            faults.add(name.fault(format!(
                "the source's name comes to {bytes} bytes in JSON; set a `name` of up to {NAME_BYTES}"
            )));
        }
    }
}

/// Names tell sources apart in metrics and status.
fn refuse_shared_names(tables: &[SourceTable], faults: &mut Faults) {
    let names: Vec<_> = tables.iter().filter_map(name_of).collect();
    for (index, name) in names.iter().enumerate() {
        if let Some(first) = names[..index].iter().find(|first| first.value == name.value) {
            faults.add(name.fault(format!(
                "two sources are called `{}`, the other at {}; set another `name`",
                name.value, first.place
            )));
        }
    }
}

/// What two sources read into one stream arrives twice. Seen here: the same pattern in both, and a file that one
/// names and the other's globs match. Two globs that meet in a file are seen where files are surveyed.
fn refuse_shared_patterns(tables: &[SourceTable], faults: &mut Faults) {
    for (index, table) in tables.iter().enumerate() {
        let Some(stream) = &table.stream else { continue };
        let earlier = tables[..index]
            .iter()
            .filter(|earlier| earlier.stream.as_ref().is_some_and(|other| other.value == stream.value));
        for earlier in earlier {
            for pattern in table.paths.iter().flatten() {
                let other = earlier.paths.iter().flatten().find(|other| {
                    other.value.is_same_as(&pattern.value)
                        || pattern.value.file().is_some_and(|file| takes(table, earlier, other, file))
                        || other.value.file().is_some_and(|file| takes(earlier, table, pattern, file))
                });
                let Some(other) = other else { continue };
                faults.add(pattern.fault(format!(
                    "`{}` and the source at {} send the same files into the same stream; leave it out of one",
                    pattern.value.text(),
                    other.place
                )));
            }
        }
    }
}

/// Whether `file`, which `owner` names, is also read by `other` through `pattern`.
fn takes(owner: &SourceTable, other: &SourceTable, pattern: &Typed<Pattern>, file: &Path) -> bool {
    let excluded = |table: &SourceTable| {
        let globs = table.files.exclude.iter().flatten().map(|glob| glob.value.clone());
        Exclude::new(globs.collect()).matches(file)
    };
    pattern.value.matches(file) && !excluded(owner) && !excluded(other)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn sources_of_the_same_paths_are_told_apart_by_where_they_send() {
        let source =
            |name: &str, stream: &str| format!("[[source]]\n{name}paths = [\"/a\"]\nstream = \"{stream}\"\n");
        let text = source("", "s") + &source("", "t") + &source("name = \"n\"\n", "u") + &source("", "v");
        let config = Config::from_text(Path::new("c.toml"), &text, &|_| None).expect("streams differ");
        let names: Vec<_> = config.sources.iter().map(|source| &*source.name).collect();
        assert_eq!(names, ["/a", "/a to t", "n", "/a to v"]);
        let same = source("", "s") + &source("", "s");
        assert!(
            Config::from_text(Path::new("c.toml"), &same, &|_| None).is_err(),
            "each line would come twice"
        );
    }
}
