//! The last words of a run, and its exit code.
//!
//! Knows what a person has to know when a run is over. Does not know how it went on: a summary is handed in.
//!
//! *Invariant:* one pass over the files exits 0 only when every line that was there is delivered.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::cli::{DONE, FAILED};
use crate::config::Config;
use crate::daemon::{ExitReason, RunSummary};
use crate::engine::report::Loss;
use crate::engine::{FileStatus, Status, StreamStatus};
use crate::model::text::{plain_lines, plain_path};
use crate::shell::files::Refusal;
use crate::shell::files::problems::Problem;

use super::{RunArgs, aside};

/// How long the end waits for a look at the files that the configuration names.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The files that the configuration names and that are not there; none when the file system does not say in time.
pub(super) async fn missing(config: &Config) -> Vec<PathBuf> {
    let named: Vec<PathBuf> = config
        .sources
        .iter()
        .flat_map(|source| source.patterns.iter().filter_map(|pattern| pattern.file()))
        .map(Path::to_owned)
        .collect();
    let look = aside(move || named.into_iter().filter(|path| path.symlink_metadata().is_err()).collect());
    tokio::time::timeout(LAST_LOOK, look).await.unwrap_or_default()
}

/// How many files are named of which something is missing.
const MAX_NAMED: usize = 20;

/// What a run did, in numbers.
struct Sums {
    lines: u64,
    bytes: u64,
    records: u64,
    requests: u64,
    retries: u64,
    dead_letters: u64,
    /// Of files that were gone before they were read.
    lost_bytes: u64,
}

impl Sums {
    fn of(status: &Status) -> Self {
        let (sources, streams) = (&status.counts.sources, &status.counts.streams);
        // What the operator wants cut is not missing.
        let lost = |(why, bytes): (&Loss, &u64)| if *why == Loss::Oversize { 0 } else { *bytes };
        Self {
            lines: sources.iter().map(|source| source.lines_read).sum(),
            bytes: sources.iter().map(|source| source.bytes_read).sum(),
            records: streams.iter().map(|stream| stream.records_delivered).sum(),
            requests: streams.iter().flat_map(|stream| stream.requests.values()).sum(),
            retries: streams.iter().flat_map(|stream| stream.retries.values()).sum(),
            dead_letters: streams.iter().flat_map(|stream| stream.dead_letters.values()).sum(),
            lost_bytes: sources.iter().flat_map(|source| &source.abandoned_bytes).map(lost).sum(),
        }
    }
}

/// The last words and the exit code.
pub(super) fn conclude(args: &RunArgs, config: &Config, summary: &RunSummary, missing: &[PathBuf]) -> u8 {
    for path in missing {
        error!(path = %path.display(), "no such file");
    }
    let sums = Sums::of(&summary.status);
    let Sums { lines, records, requests, retries, dead_letters, .. } = sums;
    let seconds = summary.took.as_secs_f64();
    match (args.once, summary.how) {
        (false, ExitReason::TimedOut | ExitReason::CutShort | ExitReason::Stopped) => {
            warn!(
                lines,
                records, "stopped before everything was delivered; the rest comes after the next start"
            );
            return DONE;
        }
        (false, ExitReason::Done) => {
            info!(lines, records, requests, retries, dead_letters, seconds, "stopped");
            return DONE;
        }
        (true, _) => {}
    }
    say_what_was_done(args, config, &sums, seconds);
    let lacks = lacks(summary, &sums, missing.len());
    for lack in &lacks {
        complain!("{lack}");
    }
    if lacks.is_empty() { DONE } else { FAILED }
}

fn say_what_was_done(args: &RunArgs, config: &Config, sums: &Sums, seconds: f64) {
    let to = config.by_lane(|lane| match &args.local {
        Some(dir) => plain_path(&dir.join(&lane.delivery_stream)),
        None => lane.delivery_stream.clone(),
    });
    let to: Vec<String> = to.into_values().collect();
    let Sums { lines, bytes, records, requests, retries, dead_letters, .. } = sums;
    let text = format!(
        "{lines} lines, {bytes} bytes, {records} records delivered in {requests} requests ({retries} retries, \
         {dead_letters} dead letters) in {seconds:.1} s to {}\n",
        to.join(", ")
    );
    // Nobody may be reading.
    let _ = io::stdout().write_all(plain_lines(&text).as_bytes());
}

/// Why one pass over the files is not what was asked for; nothing when it is.
fn lacks(summary: &RunSummary, sums: &Sums, missing: usize) -> Vec<String> {
    let status = &summary.status;
    let mut lacks = Vec::new();
    let why_unfinished = match summary.how {
        ExitReason::Done => None,
        ExitReason::TimedOut => Some("the time was over before everything was delivered"),
        ExitReason::CutShort => {
            Some("asked to stop before everything was delivered, and the time for that was over")
        }
        ExitReason::Stopped => {
            Some("not everything is delivered: what is left waits for another configuration")
        }
    };
    if let Some(why) = why_unfinished {
        lacks.push(format!("{why}; the rest comes with the next run"));
        lacks.extend(undelivered(status));
    }
    if !status.stuck.is_empty() {
        lacks.push("the dead letters are full, and not every file is shipped, see above".to_owned());
    }
    // Nobody expects the lines of these.
    let is_file =
        |problem: &&Problem| !matches!(problem.reason, Refusal::StateDirectory | Refusal::OfTheKernel(_));
    let problems = summary.problems.named.iter().filter(is_file).count() as u64 + summary.problems.beyond;
    let unread = missing + status.unreadable.count() + status.silent.len();
    let unread = unread as u64 + problems;
    if unread > 0 {
        lacks.push(format!("{unread} files could not be read, see above"));
    }
    if sums.lost_bytes > 0 {
        lacks.push(format!("{} bytes were gone before they could be read, see above", sums.lost_bytes));
    }
    if sums.dead_letters > 0 {
        let count = sums.dead_letters;
        lacks.push(format!("{count} records became dead letters; `standpipe dead-letters list` shows them"));
    }
    if status.matched.files == 0 && unread == 0 && summary.how == ExitReason::Done {
        lacks.push("no file matches".to_owned());
    }
    lacks
}

/// What is not delivered of which file, and what each stream that waits says.
fn undelivered(status: &Status) -> Vec<String> {
    let bytes = |file: &FileStatus| file.size.saturating_sub(file.acknowledged.bytes());
    let behind: Vec<_> = status.files.listed.iter().filter(|file| bytes(file) > 0).collect();
    let mut told: Vec<_> = behind
        .iter()
        .take(MAX_NAMED)
        .map(|file| {
            let (path, bytes) = (plain_path(&file.path), bytes(file));
            format!("{path}: {bytes} bytes from offset {} on are not delivered", file.acknowledged)
        })
        .collect();
    if behind.len() > MAX_NAMED {
        told.push(format!("and of {} more files", behind.len() - MAX_NAMED));
    }
    let why = |stream: &StreamStatus| {
        let held = stream.held.as_ref().map(|(why, _)| why);
        held.or(stream.last_error.as_ref().map(|(_, why)| why)).cloned()
    };
    let whys = status.streams.iter().filter_map(why);
    told.extend(whys.map(|why| format!("the last error was {}: {}", why.code, why.message)));
    told
}
