//! `config.example.toml` says what is true: it loads, names every key, and shows the real defaults.

use std::path::Path;
use std::time::Duration;

use super::{Config, EXAMPLE, LogFormat, MINIMAL};
use crate::model::settings::{
    Adaptive, Api, CheckpointSettings, Encryption, Format, MemorySettings, Newline, OnDrain, Order, Oversize,
    Packing, StartAt, Until,
};

fn load(text: &str) -> Config {
    Config::from_text(Path::new("config.example.toml"), text, &|_| None).expect("the example is valid")
}

/// The example with every key, in each of the forms that it shows.
pub(super) fn forms() -> [String; 3] {
    [EXAMPLE.to_owned(), uncommented(true), with_alternatives()]
}

/// The example with its commented keys switched on, those that have no default among them or not.
fn uncommented(without_default: bool) -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        // A commented key follows its mark at once; prose has a space between.
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) && !key.starts_with("or ") => {
            if without_default || !key.contains("# no default") {
                key
            } else {
                line
            }
        }
        Some(_) | None => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    // Raw lines have no fields.
    if without_default { text.replace("format = \"raw\"", "format = \"json\"") } else { text }
}

/// The example with every key, and with what stands there for choice (`#or key = …`) in place of what stands first.
fn with_alternatives() -> String {
    let chosen: Vec<&str> = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#or ")).collect();
    assert!(!chosen.is_empty(), "there is nothing to choose");
    // One delivery stream is the alternative to several.
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().trim_end_matches('s').to_owned();
    let is_first = |line: &&str| !chosen.iter().any(|chosen| key(chosen) == key(line));
    let text = uncommented(true);
    let lines = text.lines().filter(is_first);
    lines.map(|line| line.strip_prefix("#or ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_loads_as_it_stands_and_with_every_key() {
    forms().iter().for_each(|text| drop(load(text)));
}

#[test]
fn the_smallest_example_says_what_the_whole_one_says() {
    assert_eq!(load(MINIMAL), load(EXAMPLE));
}

#[test]
fn every_commented_default_is_the_default() {
    assert!(uncommented(false).contains("\nlevel = \"info\""), "the commented keys are switched on");
    assert_eq!(load(&uncommented(false)), load(EXAMPLE));
}

#[test]
fn the_defaults_are_those_of_the_interface() {
    let config = load("source = [{ paths = [\"/var/log/app/*.log\"], stream = \"app-logs\" }]");
    assert_eq!(config, load(EXAMPLE));

    let settings = &config.settings;
    assert_eq!(config.state_dir, Path::new("/var/lib/standpipe"));
    assert_eq!(config.health.listen, "127.0.0.1:9909".parse().ok());
    assert_eq!(config.health.max_lag, None);
    assert_eq!(config.health.hosts, Vec::<String>::new());
    assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Auto, "info"));
    assert_eq!(config.shutdown_timeout.as_secs(), 25);
    let checkpoint = CheckpointSettings { interval: Duration::from_secs(1), max_bytes: 1 << 20 };
    assert_eq!(settings.checkpoint, checkpoint);
    assert_eq!(config.max_watches, 8192);
    assert_eq!(settings.memory, MemorySettings { buffer: 64 << 20, buffer_per_file: 8 << 20 });
    assert_eq!((settings.until, settings.on_drain), (Until::Drained, OnDrain::KeepPartialLines));

    let source = &settings.sources[0];
    assert_eq!(&*source.name, "/var/log/app/*.log");
    assert_eq!((source.start_at, source.newline), (StartAt::Beginning, Newline::Append));
    assert_eq!(source.format, Format::Raw);
    assert_eq!((source.max_message_bytes, source.oversize), (1000 * 1024, Oversize::Split));
    assert_eq!((source.runtime, &source.multiline), (None, &None));
    let with_every_key = load(&uncommented(true));
    let multiline = with_every_key.settings.sources[0].multiline.clone().expect("the example shows one");
    let only_start =
        load("source = [{ paths = [\"/a\"], stream = \"s\", multiline = { start = '^\\d{4}-' } }]");
    assert_eq!(only_start.settings.sources[0].multiline, Some(multiline), "its defaults");
    assert_eq!(source.close_removed_after.as_secs(), 10);
    assert!(!config.sources[0].follow_symlinks);

    let stream = &settings.streams[0];
    assert_eq!(config.streams[0].delivery_stream, "app-logs");
    assert_eq!(config.streams[0].request_timeout.as_secs(), 30);
    assert_eq!(
        (stream.api, stream.packing, stream.max_in_flight.get(), stream.order, stream.encryption),
        (Api::PutRecord, Packing::Off, 64, Order::Free, Encryption::Optional)
    );
    assert_eq!(stream.linger.as_millis(), 5);
    let quota = stream.quota;
    assert_eq!((quota.requests_per_second.get(), quota.records_per_second.get()), (2000, 5000));
    assert_eq!((quota.bytes_per_second, quota.share, quota.adaptive), (5_000_000, 0.9, Adaptive::On));
    assert_eq!((stream.retry.initial.as_millis(), stream.retry.max.as_secs()), (100, 30));
    assert_eq!(stream.retry.stuck_after.as_secs(), 600);
}
