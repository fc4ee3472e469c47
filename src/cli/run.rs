//! `standpipe run`: the daemon, or one pass over the files with `--once`.

mod beforehand;
mod progress;
mod reload;
mod summary;
mod watching;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::{Config, Located, Overrides, Source, Stream};
use crate::daemon::{Daemon, ExitReason, OpenError, State};
use crate::engine::{Memory, Status};
use crate::local;
use crate::model::settings::{ByLane, SourceId};
use crate::shell::aws::Access;
use crate::shell::control;
use crate::shell::files::{self, SourceFiles, Surveyed};
use crate::shell::firehose::{Destination, Origin};
use crate::shell::http;
use crate::shell::store::Loaded;

use super::{
    CONFIGURATION, DONE, FAILED, configuration_file, configure, fail, logging, meetings, named, runtime,
    show_faults, signals,
};

use reload::{InEffect, reload};
use summary::{conclude, missing};

/// How long a start waits for what is known at once: variables and files.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Tails files into Amazon Data Firehose, in the foreground; logs to standard error
#[derive(Args, Clone, Debug)]
pub(super) struct RunArgs {
    /// Configuration file [default: $STANDPIPE_CONFIG, else /etc/standpipe/standpipe.toml, unless PATHs are given]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Files or globs to tail instead of the configured ones; quote globs
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The delivery stream that PATHs go to [default: local, with --local]
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Ships to the embedded delivery stream instead of AWS: no account, no credentials, no network. Accepted
    /// records appear below DIR/STREAM/; the state directory is DIR/state unless one is named as below
    #[arg(long, value_name = "DIR")]
    local: Option<PathBuf>,
    /// Reads every matching file to the end that it has (a last line without newline included), delivers everything and
    /// exits: 0, or 1 when something was not read, not delivered or became a dead letter, and when no file matches
    #[arg(long)]
    once: bool,
    /// With --once: exits 1 after so long, and says what is not delivered [default: no limit]
    #[arg(long, value_name = "DURATION", requires = "once", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Where positions are kept [default: `state_dir` of the file, else $STATE_DIRECTORY, else DIR/state with --local, else
    /// /var/lib/standpipe]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

fn overrides(args: &RunArgs) -> Overrides {
    Overrides {
        paths: args.paths.clone(),
        stream: args.stream.clone(),
        local: args.local.clone(),
        once: args.once,
        state_dir: args.state_dir.clone(),
    }
}

pub(super) fn run(args: &RunArgs) -> u8 {
    let config = match configure(args.config.as_ref(), &overrides(args)) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let bar = args.once.then(progress::of_terminal).flatten();
    let started = logging::start(&config.log, bar.clone()).and_then(|log| Ok((log, runtime()?)));
    let (_log, runtime) = match started {
        Ok(started) => started,
        Err(error) => return fail(&error),
    };
    raise_descriptor_limit();
    let code = runtime.block_on(drive(args, &config, bar));
    // A call that hangs in a dead file system must not keep the process: what is worth waiting for was waited for.
    runtime.shutdown_background();
    code
}

async fn drive(args: &RunArgs, config: &Config, bar: Option<ProgressBar>) -> u8 {
    // Before the state is read, which may take a while.
    let stop = match signals::stop() {
        Ok(stop) => stop,
        Err(error) => return fail(&error),
    };
    // One pass over the files ends before anybody changes its configuration, and a hangup ends it.
    let (hangups, closed) = match (!args.once).then(signals::hangups).transpose() {
        Ok(hangups) => hangups.unzip(),
        Err(error) => return fail(&error),
    };
    let deadline = deadline(args);
    let mut stop = std::pin::pin!(signals::either(stop, closed));
    let prepared = tokio::select! {
        biased;
        // Nothing was read yet, and the state of a moment ago is as good as ever.
        () = &mut stop => {
            if args.once {
                complain!("asked to stop before anything was read");
            }
            return if args.once { FAILED } else { DONE };
        }
        prepared = prepare(args, config) => prepared,
        () = pass(deadline) => {
            complain!("the time was over before the state and the way to each stream were there");
            return FAILED;
        }
    };
    match prepared {
        Ok((prepared, config)) => ship(args, &config, (prepared, bar), deadline, stop, hangups).await,
        Err(code) => code,
    }
}

/// When one pass over the files has to be done.
#[expect(clippy::disallowed_methods, reason = "the time that the command line gives begins with the process")]
fn deadline(args: &RunArgs) -> Option<Instant> {
    args.timeout.map(|timeout| Instant::now() + timeout)
}

/// Waits until the deadline, for ever where there is none.
async fn pass(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Ships until everything is done, or `stop` says that it is time.
async fn ship(
    args: &RunArgs,
    config: &Config,
    (prepared, bar): (Prepared, Option<ProgressBar>),
    deadline: Option<Instant>,
    stop: impl Future<Output = ()>,
    hangups: Option<signals::Hangups>,
) -> u8 {
    let Prepared { state, memory, server, origin, destinations, base, opened } = prepared;
    let (handle, questions) = http::handle();
    let (sender, orders) = control::orders();
    let asked = (questions, orders);
    let in_effect = InEffect::new(base, config, opened, destinations.clone());
    let embedded = server.as_ref().map(local::Server::streams);
    let daemon = match Daemon::try_new(config, source_files(config), destinations, state, memory, asked) {
        Ok(daemon) => daemon,
        Err(error) => return fail(&error),
    };
    tell_start(config);

    let mut bar = bar.map(|bar| progress::Bar::begin(bar, config));
    // Beside the daemon's task, so that it can say when that is stuck.
    let mut endpoint = JoinSet::new();
    // One pass over the files is too short for anyone to ask.
    if let Some(listen) = config.health.listen.filter(|_| !args.once) {
        let file = configuration_file(args.config.as_ref(), &overrides(args));
        endpoint.spawn(http::serve(listen, config.health.hosts.clone(), handle, file));
    }
    match control::Listener::bind(&config.state_dir) {
        Ok(listener) => drop(endpoint.spawn(listener.serve(sender))),
        Err(error) => {
            warn!(%error, "commands cannot ask this daemon for anything: they have to wait for its end");
        }
    }
    let (sender, changes) = mpsc::channel(1);
    let (wants, wanted) = mpsc::unbounded_channel();
    let progress = bar.as_mut().map(|bar| |status: &Status| bar.show(status));
    let running = daemon.run(stop, (changes, wants), (config.shutdown_timeout, deadline), progress);
    let summary = tokio::select! {
        biased;
        summary = running => summary,
        never = reload((hangups, wanted), args, (config, in_effect), (&origin, embedded), sender) => match never {},
    };
    // None of the tasks blocks; the socket's name is gone when its task has ended.
    endpoint.shutdown().await;
    origin.close().await;
    if let Some(bar) = &bar {
        bar.end();
    }
    if let Some(server) = server
        && let Err(error) = server.shutdown().await
    {
        return fail(&error);
    }
    let missing = match summary.how {
        ExitReason::Done => missing(config).await,
        ExitReason::TimedOut | ExitReason::CutShort | ExitReason::Stopped => Vec::new(),
    };
    conclude(args, config, &summary, &missing)
}

/// What a daemon is made from, as far as it takes a while.
struct Prepared {
    state: State,
    memory: Memory,
    server: Option<local::Server>,
    origin: Origin,
    destinations: ByLane<Destination>,
    /// The configuration without the streams that paths name.
    base: Config,
    /// The names that paths made.
    opened: Vec<Arc<str>>,
}

/// Refuses sources that meet, opens the state, starts the embedded delivery stream if it is asked for, and finds the way to each stream; the exit
/// code when one of them cannot be had.
async fn prepare(args: &RunArgs, config: &Config) -> Result<(Prepared, Config), u8> {
    let surveys = beforehand::surveys(config).await;
    let found = named::streams(config, &surveys);
    let meetings = meetings::faults(&config.with_streams(found.iter().map(|name| &**name)), &surveys);
    if !meetings.is_empty() {
        meetings.iter().for_each(|fault| show_faults(fault));
        return Err(CONFIGURATION);
    }
    let (state, loaded) = State::open(config.state_dir.clone()).await.map_err(|error| match error {
        OpenError::Store(error) => {
            complain!("{error}");
            error.exit_code()
        }
        OpenError::Thread(_) => fail(&error),
    })?;
    let opened = named::opened(config, found, &loaded);
    let base = config;
    let config = &base.with_streams(opened.iter().map(|name| &**name));
    let server = match &args.local {
        Some(dir) => {
            let keys = local::Keys::random().map_err(|error| fail(&error))?;
            let options = local::Options {
                access: local::Access::private(keys.clone()),
                streams: Some(delivery_streams(config)),
                ..local::Options::new(dir)
            };
            Some((local::Server::start(options).await.map_err(|error| fail(&error))?, keys))
        }
        None => None,
    };
    let origin = match &server {
        Some((server, keys)) => Origin::Embedded {
            endpoint_url: format!("http://{}", server.address()),
            access_key: keys.access_key.clone(),
            secret_key: keys.secret_key.clone(),
        },
        None => {
            let access = Access::of_process();
            access.notes().iter().for_each(|note| warn!("{note}"));
            Origin::Aws(access)
        }
    };
    let destinations = connect(config, &origin, |_| None).await;
    let mut config = config.clone();
    config.locate(&places(&destinations)).map_err(|faults| {
        faults.iter().for_each(|fault| complain!("{fault}"));
        CONFIGURATION
    })?;
    let memory = memory(loaded, &config);
    let server = server.map(|(server, _)| server);
    let base = base.clone();
    Ok((Prepared { state, memory, server, origin, destinations, base, opened }, config))
}

fn memory(loaded: Loaded, config: &Config) -> Memory {
    Memory {
        checkpoints: loaded.checkpoints,
        looks: loaded.looks,
        parts: loaded.parts,
        next_incarnation: loaded.next_incarnation,
        reserved: loaded.reserved,
        first_start: loaded.first_start,
        dead_letter_bytes: loaded.dead_letter_disk_bytes,
        names: source_files(config).iter().map(SourceFiles::names).collect(),
    }
}

/// The names of the delivery streams at the service.
fn delivery_streams(config: &Config) -> Vec<String> {
    config.by_lane(|lane| lane.delivery_stream.clone()).into_values().collect()
}

/// Says what is about to be read, and where it goes.
fn tell_start(config: &Config) {
    let sources = config.sources.iter().map(|source| &*source.name).collect::<Vec<_>>().join(", ");
    let streams = delivery_streams(config).join(", ");
    info!(sources, streams, state_dir = %config.state_dir.display(), "starting");
    tell_unmatched(config);
    tell_quotas(config);
}

/// Says which entries of `include` lead to nothing.
fn tell_unmatched(config: &Config) {
    for entry in &config.included.unmatched {
        warn!(entry, "no file is included by this entry of `include`: none matches");
    }
}

/// Begins to look for the way to each stream that is not `known`. What the configuration, the environment and the files say is known at once;
/// what the network has to say, or a file system that hangs, is waited for elsewhere.
async fn connect(
    config: &Config,
    origin: &Origin,
    known: impl Fn(&Stream) -> Option<Vec<Destination>>,
) -> ByLane<Destination> {
    let anew = |stream: &Stream| stream.lanes().map(|lane| Destination::connect(&lane, origin)).collect();
    let ways = config.streams.iter().map(|stream| known(stream).unwrap_or_else(|| anew(stream)));
    let destinations: ByLane<_> = ways.collect();
    let located = all(destinations.values().map(Destination::located));
    let _ = tokio::time::timeout(AT_ONCE, located).await;
    destinations
}

/// Waits for one after the other; they are on their way all at once.
async fn all(waits: impl Iterator<Item = impl Future<Output = ()>>) {
    for wait in waits {
        wait.await;
    }
}

fn places(destinations: &ByLane<Destination>) -> ByLane<Option<Arc<Located>>> {
    destinations.map(Destination::place)
}

/// Does on a thread what may hang; its panic is the caller's.
#[expect(clippy::disallowed_methods, reason = "what may hang is done beside the loop")]
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Which files the sources read, for the files shell.
pub(super) fn source_files(config: &Config) -> Vec<SourceFiles> {
    let files = |source: &Source| SourceFiles {
        patterns: source.patterns.clone(),
        exclude: source.exclude.clone(),
        rotated: source.rotated.clone(),
        follow_symlinks: source.follow_symlinks,
        link_targets: source.link_targets.clone(),
        state_dir: config.state_dir.clone(),
    };
    config.sources.iter().map(files).collect()
}

/// What each source reads now, without following it.
pub(super) fn surveys(sources: &[SourceFiles]) -> Vec<Surveyed> {
    let of = |(place, files)| files::survey_source(files, SourceId(place), &[], Duration::ZERO);
    sources.iter().enumerate().map(of).collect()
}

/// Says which streams are reached unencrypted; where regions and endpoints were found late, those of which that is news.
fn tell_unencrypted(config: &Config, is_late: bool) {
    // What is written was told at the start.
    let is_news = |stream: &Stream| !is_late || stream.endpoint_url.is_none();
    for (stream, endpoint) in config.unencrypted().filter(|(stream, _)| is_news(stream)) {
        warn!(
            stream = &*stream.name,
            endpoint,
            "requests are not encrypted on their way: lines and the access key's ID can be read there; use https"
        );
    }
}

/// What each stream may use, and how.
fn tell_quotas(config: &Config) {
    tell_unencrypted(config, false);
    for (stream, settings) in config.streams.iter().zip(&config.settings.streams) {
        for (place, quota) in settings.quotas() {
            let delivery_stream = &*settings.spread.lanes[place].delivery_stream;
            info!(
                stream = &*stream.name, delivery_stream, api = %settings.api.label(),
                requests_per_second = quota.requests_per_second, records_per_second = quota.records_per_second,
                bytes_per_second = quota.bytes_per_second, share = quota.share, "quota"
            );
        }
    }
}

fn raise_descriptor_limit() {
    if let Err((error, limit)) = files::raise_limit() {
        warn!(%error, limit, "the limit on open files cannot be raised");
    }
}
