//! `standpipe shipped`: whether every line of some files is acknowledged, and that is durable.
//!
//! Knows files and checkpoints as they are on disk, and compares them as the daemon does at its start: a position
//! counts for a file only if identity, beginning and the bytes before it agree. It asks no daemon, so the answer
//! holds whether or not one runs.
//!
//! *Invariant:* yes is said only when there is a position at the end of the file in every stream that the configuration
//! sends it to.

#![expect(clippy::disallowed_methods, reason = "waits for the daemon beside it")]

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::config::Routes;
use crate::model::checkpoint::Checkpoint;
use crate::model::text::plain_path;
use crate::rules::rotation::{recognise, same_file};
use crate::shell::files;
use crate::shell::store::{Reader, StoreError};

use super::state::{StateArgs, refuse};
use super::{DONE, FAILED};

/// How often the state is looked at again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Says whether every line of the files is acknowledged and that is durable
///
/// Exits 0 if so, else 1 with what is missing, also for a last line without newline and for a file that is not
/// followed. A line that the service refused counts once it is among the dead letters. Of a file that the configuration
/// sends to several streams, each has to have every line; without a configuration (daemons of the command line have
/// none), each of which the state holds a position. May run beside a daemon, and without one; for scripts of logrotate,
/// pre-stop hooks, and whoever wants to delete a file.
#[derive(Args, Clone, Debug)]
pub(super) struct ShippedArgs {
    /// The files
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How long to wait until it is so
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
    #[command(flatten)]
    state: StateArgs,
}

pub(super) fn shipped(args: &ShippedArgs) -> u8 {
    let dir = match args.state.dir() {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let routes = match args.state.routes(&dir) {
        Ok(routes) => routes,
        Err(code) => return code,
    };
    let began = Instant::now();
    loop {
        let missing = look(&dir, &args.paths, routes.as_ref());
        match &missing {
            Ok(missing) if missing.is_empty() => return DONE,
            Err(error @ StoreError::Newer { .. }) => return refuse(error),
            Ok(_) | Err(_) => {}
        }
        let left = args.wait.saturating_sub(began.elapsed());
        if left.is_zero() {
            return conclude(&missing);
        }
        thread::sleep(left.min(AGAIN_AFTER));
    }
}

/// Files with the first thing that each of them lacks, in each stream that it goes to.
fn look(
    dir: &Path,
    paths: &[PathBuf],
    routes: Option<&Routes>,
) -> Result<Vec<(PathBuf, Missing)>, StoreError> {
    let stored = Reader::open(dir)?.checkpoints()?;
    let stored: Vec<_> = stored.into_iter().map(|stored| stored.checkpoint).collect();
    let mut lacking = Vec::new();
    for path in paths {
        lacking.extend(missing(path, &stored, routes).into_iter().map(|missing| (path.clone(), missing)));
    }
    Ok(lacking)
}

fn conclude(missing: &Result<Vec<(PathBuf, Missing)>, StoreError>) -> u8 {
    match missing {
        Ok(missing) => {
            for (path, missing) in missing {
                complain!("{}: {missing}", plain_path(path));
            }
            FAILED
        }
        Err(error) => refuse(error),
    }
}

/// Why a file cannot be let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Missing {
    Unreadable(String),
    Unknown,
    /// The configuration sends the file to the stream, and no position is stored of it there.
    NotBegun {
        stream: String,
    },
    /// The source starts at the end, and the file was there before.
    Skipped {
        stream: String,
        bytes: u64,
    },
    /// A position is stored, but of other content.
    Changed {
        stream: String,
    },
    Behind {
        stream: String,
        offset: u64,
        bytes: u64,
    },
    /// All that is unread is a last line without newline.
    LastLine {
        stream: String,
        offset: u64,
        bytes: u64,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "{why}"),
            Self::Unknown => write!(f, "not followed: no position is known of this file"),
            Self::NotBegun { stream } => write!(f, "{stream}: nothing is shipped yet"),
            Self::Skipped { stream, bytes } => write!(
                f,
                "{stream}: the first {bytes} bytes were there at the first start and are not shipped, because of \
                 start_at = \"end\"; where that is meant, `standpipe checkpoints set` says so"
            ),
            Self::Changed { stream } => {
                write!(f, "{stream}: truncated or replaced, and not shipped since then")
            }
            Self::Behind { stream, offset, bytes } => {
                write!(f, "{stream}: {bytes} bytes from offset {offset} on are not shipped")
            }
            Self::LastLine { stream, offset, bytes } => write!(
                f,
                "{stream}: the last line ({bytes} bytes from offset {offset} on) has no newline, and is not shipped"
            ),
        }
    }
}

/// The streams that have to have a file: those that the configuration sends it to by a name that it has or had, and those
/// that have a position in it, unless the configuration no longer knows them.
fn streams(path: &Path, mine: &[&Checkpoint], routes: Option<&Routes>) -> BTreeSet<String> {
    let mut streams: BTreeSet<_> = mine.iter().map(|stored| stored.stream.to_string()).collect();
    let Some(routes) = routes else { return streams };
    streams.retain(|stream| routes.lead_to(stream));
    let has = |stream: &str| mine.iter().any(|stored| *stored.stream == *stream);
    let real = path.canonicalize().ok();
    let names = [std::path::absolute(path).ok(), real.clone()].into_iter().flatten();
    for name in names {
        streams.extend(routes.of(&name, real.as_deref().unwrap_or(&name), has));
    }
    for stored in mine {
        streams.extend(routes.of(&stored.path, stored.real_path(), has));
    }
    streams
}

fn missing(path: &Path, stored: &[Checkpoint], routes: Option<&Routes>) -> Vec<Missing> {
    let (file, opened) = match files::open(path, files::Reach::Anywhere) {
        Ok(opened) => opened,
        Err(fault) => return vec![Missing::Unreadable(fault.to_string())],
    };
    if opened.size == 0 {
        return Vec::new();
    }
    let mine: Vec<_> = stored.iter().filter(|stored| same_file(stored.identity, opened.identity)).collect();
    if mine.is_empty() {
        return vec![Missing::Unknown];
    }
    let lacks = |stream: &str| {
        let of_stream = mine.iter().copied().filter(|stored| &*stored.stream == stream);
        let stream = stream.to_owned();
        if of_stream.clone().next().is_none() {
            return Some(Missing::NotBegun { stream });
        }
        let Some(found) = recognise(opened.identity, opened.size, &opened.head, of_stream) else {
            return Some(Missing::Changed { stream });
        };
        let window = usize::from(found.window.len());
        let before = files::read(&file, found.offset.minus(window as u64), window);
        match before {
            Ok(before) if found.window.matches(&before) => {}
            Ok(_) => return Some(Missing::Changed { stream }),
            Err(fault) => return Some(Missing::Unreadable(fault.to_string())),
        }
        let (offset, bytes) = (found.offset.bytes(), opened.size - found.offset.bytes());
        match rest(&file, found, bytes) {
            Rest::Nothing if found.skipped_bytes == 0 => None,
            Rest::Nothing => Some(Missing::Skipped { stream, bytes: found.skipped_bytes }),
            Rest::LastLine => Some(Missing::LastLine { stream, offset, bytes }),
            // A record waits: what is settled behind it is shipped.
            Rest::Lines => {
                let bytes = bytes.saturating_sub(found.settled.bytes());
                Some(Missing::Behind { stream, offset, bytes })
            }
        }
    };
    let streams = streams(path, &mine, routes);
    if streams.is_empty() {
        return vec![Missing::Unknown];
    }
    streams.iter().filter_map(|stream| lacks(stream)).collect()
}

/// What lies behind the position in a file.
enum Rest {
    Nothing,
    /// A line that has no newline.
    LastLine,
    Lines,
}

/// What the last `bytes` of the file are; a rest too long to look through is taken for lines. What a program has reserved
/// and not filled is nothing.
fn rest(file: &std::fs::File, stored: &Checkpoint, bytes: u64) -> Rest {
    const MAX: u64 = 1024 * 1024;
    let len = usize::try_from(bytes.min(MAX)).expect("a mebibyte at most");
    // One more: so that the end of the file is seen.
    match files::read_content(file, stored.offset, len + 1, 0) {
        Ok((rest, _)) if rest.is_empty() => Rest::Nothing,
        Ok((rest, _)) if rest.len() <= len && memchr::memchr(b'\n', &rest).is_none() => Rest::LastLine,
        Ok(_) | Err(_) => Rest::Lines,
    }
}
