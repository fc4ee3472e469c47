//! The configuration as needed: flags over the file over defaults, and a judgement on the whole.
//!
//! Knows what the parts must be beside one another. What a value may be by itself was judged when it was read, so
//! a value that is missing here is either absent or reported already.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::fault::{Faults, Place};
use super::sources::{self, Sources};
use super::streams::Streams;
use super::typed::{Document, absolute_dir};
use super::units::show_size;
use super::{Aws, Config, Expanded, Health, Log, LogFormat, Overrides, ProcessEnvironment, Stream};
use crate::model::settings::{
    Api, CheckpointSettings, MemorySettings, OnDrain, Order, Settings, SourceSettings, StreamSettings, Until,
};
use crate::rules::pattern::absolute;

const STATE_DIR: &str = "/var/lib/standpipe";
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9909);
const LOG_LEVEL: &str = "info";
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
const CHECKPOINT_MAX_BYTES: u64 = 1024 * 1024;
const BUFFER: u64 = 64 * 1024 * 1024;
const BUFFER_PER_FILE: u64 = 8 * 1024 * 1024;
/// The kernel keeps about a KiB for each.
const MAX_WATCHES: u32 = 8_192;
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

/// The configuration, if nothing is wrong; what is, is added to `faults`.
pub(super) fn build(
    mut document: Document,
    overrides: &Overrides,
    around: &ProcessEnvironment<'_>,
    faults: &mut Faults,
) -> Option<Config> {
    let of_command_line = sources::of_command_line(overrides, around, faults);
    let tables = std::mem::take(&mut document.sources);
    let streams = Streams {
        tables: &document.streams,
        aws: &document.aws,
        shared: Arc::new(Aws::of(&document.aws)),
        order: if overrides.local.is_some() { Order::PerFile } else { Order::Free },
        api: if overrides.local.is_some() { Api::Auto } else { Api::PutRecord },
        host: around.host,
    };
    // The file's own sources are judged also when the command line replaces them: a file is right or wrong by
    // itself.
    streams.refuse_packing_without_newlines(&tables, faults);
    let memory = memory(&document, faults);
    let mut sources = Sources::new(tables, around.host, memory, faults);
    if !faults.about("source") {
        let also = of_command_line.as_ref().and_then(|table| table.stream.as_ref());
        streams.refuse_unused(sources.streams.iter().chain(also), &sources.settings, faults);
    }
    if let Some(table) = of_command_line {
        sources = Sources::new(vec![table], around.host, memory, faults);
    } else if sources.sources.is_empty() {
        refuse_nothing_to_do(document.file.as_ref(), faults);
    }
    let (mut reached, stream_settings) = streams.resolve(&sources.streams, faults);
    let mut templates =
        if sources.have_templates() { streams.templates(&sources.streams, faults) } else { Vec::new() };
    if overrides.local.is_some() {
        keep_local(reached.iter_mut().chain(templates.iter_mut().map(|template| &mut template.stream)));
    }
    let state_dir = state_dir(&document, overrides, around, faults);
    let settings = settings(&document, overrides, memory, sources.settings, stream_settings);
    Some(Config {
        state_dir: state_dir?,
        sources: sources.sources,
        streams: reached,
        templates,
        max_watches: document.memory.max_watches.map_or(MAX_WATCHES, |most| most.value) as usize,
        health: Health {
            listen: document.health.listen.map_or(Some(HEALTH), |listen| listen.value),
            max_lag: document.health.max_lag.map(|lag| lag.value),
            hosts: document.health.hosts.into_iter().flatten().map(|host| host.value).collect(),
        },
        log: Log {
            format: document.log.format.map_or(LogFormat::Auto, |format| format.value),
            level: document.log.level.map_or(LOG_LEVEL, |level| level.value).to_owned(),
        },
        shutdown_timeout: document.shutdown_timeout.map_or(SHUTDOWN_TIMEOUT, |timeout| timeout.value),
        settings,
        expanded: Expanded::default(),
        included: document.included,
        reload_on_change: document.reload_on_change.is_some_and(|reload| reload.value),
    })
}

/// How many files of a survey are gone through at once: some milliseconds.
const FILES_AT_ONCE: NonZeroUsize = NonZeroUsize::new(512).expect("above zero");

/// How many checkpoints a save holds: a microsecond each of the engine's time, and some of the disk's for each save.
const CHECKPOINTS_AT_ONCE: NonZeroUsize = NonZeroUsize::new(4096).expect("above zero");

/// What the engine is told.
fn settings(
    document: &Document,
    overrides: &Overrides,
    memory: MemorySettings,
    sources: Vec<SourceSettings>,
    streams: Vec<StreamSettings>,
) -> Settings {
    Settings {
        sources,
        streams,
        checkpoint: CheckpointSettings {
            interval: document.checkpoint_interval.as_ref().map_or(CHECKPOINT_INTERVAL, |typed| typed.value),
            max_bytes: document
                .checkpoint_max_bytes
                .as_ref()
                .map_or(CHECKPOINT_MAX_BYTES, |typed| typed.value),
        },
        memory,
        files_at_once: FILES_AT_ONCE,
        checkpoints_at_once: CHECKPOINTS_AT_ONCE,
        until: if overrides.once { Until::EndOfFiles } else { Until::Drained },
        on_drain: match document.ship_partial_lines.as_ref().is_some_and(|ship| ship.value) {
            true => OnDrain::ShipPartialLines,
            false => OnDrain::KeepPartialLines,
        },
    }
}

/// Takes from streams what leads to AWS: the embedded delivery stream needs no account, and a role or a profile
/// would be looked up on the network.
fn keep_local<'a>(streams: impl Iterator<Item = &'a mut Stream>) {
    for stream in streams {
        stream.region = None;
        stream.aws = Arc::default();
        stream.role_arn = None;
        stream.endpoint_url = None;
    }
}

/// Where the state is kept: what the flag says, else the file, else systemd, else the default, which is beside the
/// records with `--local`.
pub(super) fn state_dir(
    document: &Document,
    overrides: &Overrides,
    around: &ProcessEnvironment<'_>,
    faults: &mut Faults,
) -> Option<PathBuf> {
    let mut of_flag = |flag: &str, dir: &Path| {
        if dir.as_os_str().is_empty() {
            faults.push(Place::CommandLine, flag, "is empty; name a directory");
            return None;
        }
        Some(absolute(dir, around.current_dir))
    };
    let local = overrides.local.as_ref().map(|local| of_flag("--local", local));
    if let Some(dir) = &overrides.state_dir {
        return of_flag("--state-dir", dir);
    }
    if let Some(typed) = &document.state_dir {
        return Some(typed.value.clone());
    }
    let default = match local {
        Some(local) => local?.join("state"),
        None => PathBuf::from(STATE_DIR),
    };
    // systemd separates several directories by colons; the first is the unit's first.
    let of_systemd = (around.env)("STATE_DIRECTORY").unwrap_or_default();
    match of_systemd.split(':').next().filter(|dir| !dir.is_empty()) {
        None => Some(default),
        Some(dir) => match absolute_dir(dir) {
            Ok(dir) => Some(dir),
            Err(message) => {
                faults.push(Place::Environment, "STATE_DIRECTORY", message);
                None
            }
        },
    }
}

fn memory(document: &Document, faults: &mut Faults) -> MemorySettings {
    let (buffer, per_file) = (&document.memory.buffer, &document.memory.buffer_per_file);
    let memory = MemorySettings {
        buffer: buffer.as_ref().map_or(BUFFER, |typed| typed.value),
        buffer_per_file: per_file.as_ref().map_or(BUFFER_PER_FILE, |typed| typed.value),
    };
    if memory.buffer < memory.buffer_per_file
        && !faults.about("memory")
        && let Some(typed) = per_file.as_ref().or(buffer.as_ref())
    {
        faults.add(typed.fault(format!(
            "buffer_per_file, {}, is above buffer, {}, which all files share; set buffer_per_file <= buffer",
            show_size(memory.buffer_per_file),
            show_size(memory.buffer)
        )));
    }
    memory
}

/// Reports that there is no source, unless what there is has been reported already.
fn refuse_nothing_to_do(file: Option<&Place>, faults: &mut Faults) {
    match file {
        Some(file) if !faults.about("source") && !faults.about("include") => {
            faults.push(file.clone(), "source", "there is none; write a [[source]] with paths and stream");
        }
        Some(_) => {}
        None => {
            let message = "there is neither a PATH nor a configuration file; name one of them";
            faults.push(Place::CommandLine, "PATH", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Env<'a> = &'a [(&'a str, &'a str)];

    const FILE: &str = r#"
        state_dir = "/state/of/file"
        [aws]
        region = "us-east-1"
        profile = "logs"
        [[source]]
        paths = ["/var/log/app/*.log"]
        stream = "app"
        [stream.app]
        role_arn = "arn:aws:iam::123456789012:role/writer"
        api = "auto"
        [stream.default]
        max_in_flight = 7
    "#;

    fn build(file: Option<&str>, overrides: &Overrides, env: Env<'_>) -> Result<Config, Faults> {
        let env = |name: &str| {
            let value = env.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| (*value).to_owned())
        };
        let around = ProcessEnvironment {
            env: &env,
            current_dir: Path::new("/home/me"),
            host: "web-1",
            exists: &|path| path.ends_with("a[1]"),
            files: &crate::config::NoFiles,
        };
        Config::build(file.map(|text| (Path::new("c.toml"), text)), overrides, &around)
    }

    fn paths(paths: &[&str]) -> Overrides {
        Overrides { paths: paths.iter().map(PathBuf::from).collect(), ..Overrides::default() }
    }

    fn texts(config: &Config) -> Vec<&str> {
        let patterns = config.sources.iter().flat_map(|source| &source.patterns);
        patterns.map(|pattern| pattern.text()).collect()
    }

    #[test]
    fn paths_and_a_stream_need_no_file() {
        let overrides = Overrides { stream: Some("app".to_owned()), ..paths(&["logs/*.log", "a[1]", "/b"]) };
        let config = build(None, &overrides, &[]).expect("valid");
        assert_eq!(texts(&config), ["/home/me/logs/*.log", "/home/me/a[1]", "/b"]);
        assert_eq!(&*config.sources[0].name, "/home/me/logs/*.log");
        assert_eq!(config.streams[0].delivery_stream, "app");
        assert_eq!(config.settings.streams[0].order, Order::Free);
        assert_eq!(config.settings.until, Until::Drained);
        assert_eq!(config.state_dir, Path::new(STATE_DIR));
    }

    #[test]
    fn paths_replace_the_sources_of_a_file_and_keep_the_rest_of_it() {
        let overrides = Overrides { stream: Some("other".to_owned()), once: true, ..paths(&["/b"]) };
        let config = build(Some(FILE), &overrides, &[]).expect("valid");
        assert_eq!(texts(&config), ["/b"]);
        assert_eq!(config.settings.sources.len(), 1);
        assert_eq!(&*config.streams[0].name, "other");
        assert_eq!(config.streams[0].region.as_deref(), Some("us-east-1"));
        assert_eq!(config.settings.streams[0].max_in_flight.get(), 7);
        assert_eq!(config.settings.until, Until::EndOfFiles);
    }

    #[test]
    fn a_table_may_belong_to_the_stream_of_the_command_line() {
        let overrides = Overrides { stream: Some("app".to_owned()), ..paths(&["/b"]) };
        let config = build(Some("[stream.app]\nmax_in_flight = 3"), &overrides, &[]).expect("valid");
        assert_eq!(config.settings.streams[0].max_in_flight.get(), 3);
    }

    #[test]
    fn a_local_run_needs_no_stream_and_keeps_order() {
        let overrides = Overrides { local: Some(PathBuf::from("out")), ..paths(&["/b"]) };
        let config = build(None, &overrides, &[]).expect("valid");
        assert_eq!(config.state_dir, Path::new("/home/me/out/state"));
        assert_eq!(&*config.streams[0].name, "local");
        assert_eq!(config.settings.streams[0].order, Order::PerFile);
        assert_eq!(config.settings.streams[0].api, Api::Auto);
        assert_eq!(config.health, Health { listen: Some(HEALTH), max_lag: None, hosts: Vec::new() });
    }

    #[test]
    fn a_local_run_of_a_file_leaves_aws_alone_and_keeps_its_state_where_the_file_says() {
        let overrides = Overrides { local: Some(PathBuf::from("/out")), ..Overrides::default() };
        let config = build(Some(FILE), &overrides, &[]).expect("valid");
        assert_eq!(config.state_dir, Path::new("/state/of/file"));
        let stream = &config.streams[0];
        assert_eq!(&*stream.name, "app");
        assert_eq!([&stream.region, &stream.role_arn, &stream.endpoint_url], [&None; 3]);
        assert_eq!(*stream.aws, Aws::default());
        let unordered = FILE.replace("max_in_flight = 7", "ordered = false");
        let config = build(Some(&unordered), &overrides, &[]).expect("valid");
        assert_eq!(config.settings.streams[0].order, Order::Free);
    }

    #[test]
    fn the_state_directory_is_that_of_the_flag_the_file_systemd_or_the_default() {
        let without = FILE.replace("state_dir = \"/state/of/file\"", "");
        let systemd = [("STATE_DIRECTORY", "/first:/second")];
        let flag = Overrides {
            state_dir: Some(PathBuf::from("s")),
            local: Some(PathBuf::from("/out")),
            ..Overrides::default()
        };
        let none = Overrides::default();
        let local = Overrides { local: Some(PathBuf::from("/out")), ..Overrides::default() };
        let table: [(&str, &Overrides, Env<'_>, &str); 8] = [
            (FILE, &local, &systemd, "/state/of/file"),
            (&without, &local, &systemd, "/first"),
            (&without, &local, &[], "/out/state"),
            (FILE, &flag, &systemd, "/home/me/s"),
            (FILE, &none, &systemd, "/state/of/file"),
            (&without, &none, &systemd, "/first"),
            (&without, &none, &[("STATE_DIRECTORY", "")], STATE_DIR),
            (&without, &none, &[], STATE_DIR),
        ];
        for (file, overrides, env, dir) in table {
            assert_eq!(build(Some(file), overrides, env).expect("valid").state_dir, Path::new(dir));
        }
    }

    #[test]
    fn a_wrong_command_line_is_told_apart_from_a_wrong_file() {
        let stream = |name: &str| Some(name.to_owned());
        let empty = Some(PathBuf::new());
        let table = [
            (
                Overrides::default(),
                "command line: PATH: there is neither a PATH nor a configuration file; name one of them",
            ),
            (
                paths(&["/b"]),
                "command line: --stream: is missing; name the delivery stream that the PATHs go to, \
                 or use --local DIR",
            ),
            (
                Overrides { stream: stream("a b"), ..paths(&["logs/", "/a{b", "/c"]) },
                "command line: --stream: `a b` is not a delivery stream's name; \
                 write 1 to 64 of a-z A-Z 0-9 _ . -\n\
                 command line: PATH: `/a{b` is not a glob: unclosed alternate group; missing '}' \
                 (maybe escape '{' with '[{]'?); correct it\n\
                 command line: PATH: `logs/` is a directory; write `logs/*` for the files in it, in quotes",
            ),
            (
                Overrides { local: empty.clone(), state_dir: empty, ..paths(&["/b"]) },
                "command line: --local: is empty; name a directory\n\
                 command line: --state-dir: is empty; name a directory",
            ),
        ];
        for (overrides, told) in table {
            let faults = build(None, &overrides, &[]).expect_err(told);
            assert_eq!(faults.to_string(), told);
            assert!(faults.only_command_line());
        }
        let overrides = Overrides { stream: stream("app"), ..Overrides::default() };
        let faults = build(Some("state_dir = 1"), &overrides, &[]).expect_err("both are wrong");
        assert_eq!(
            faults.to_string(),
            "command line: --stream: is without PATHs; name the files that go there\n\
             c.toml: source: there is none; write a [[source]] with paths and stream\n\
             c.toml:1:13: state_dir: expected a text in quotes, found 1"
        );
        assert!(!faults.only_command_line());
    }

    #[test]
    fn the_environments_state_directory_is_judged_too() {
        let without = FILE.replace("state_dir = \"/state/of/file\"", "");
        let faults = build(Some(&without), &Overrides::default(), &[("STATE_DIRECTORY", "x")]);
        assert_eq!(
            faults.expect_err("relative").to_string(),
            "environment: STATE_DIRECTORY: `x` is not absolute; write the whole path, from / on"
        );
    }
}
