//! `standpipe checkpoints`: the positions, as they are on disk; and how a person moves them.
//!
//! Knows how a position is shown, and what makes one that the daemon will believe: identity, beginning, and the bytes
//! before it come from the file itself. A daemon that runs is asked to move it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::engine::port::{FileFault, Opened, Position};
use crate::model::checkpoint::{Checkpoint, Save};
use crate::model::identity::{Fingerprint, Identity, Incarnation, WINDOW_BYTES, Window};
use crate::model::offset::Offset;
use crate::model::settled::Settled;
use crate::model::text::{plain, plain_json, plain_path};
use crate::rules::rotation::same_file;
use crate::shell::control::{Answer, MoveRequest, Request, WireIdentity, WirePath, WirePosition};
use crate::shell::files;
use crate::shell::store::{Reader, Store, StoredCheckpoint};

use super::state::{Asked, Holder, StateArgs, refuse, time};
use super::table::table;
use super::{DONE, FAILED, USAGE};

/// Shows how far each file is shipped, or changes it
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = false)]
pub(super) struct CheckpointsArgs {
    #[command(subcommand)]
    command: CheckpointsCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum CheckpointsCommand {
    /// Shows every position that is durable; may run beside a daemon
    List {
        /// As JSON: an array with an object for each position
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Makes standpipe go on at OFFSET in this file: a daemon that runs at once, else the next start
    ///
    /// A daemon lets go of what it has read of the file and not delivered; what is under way just then may arrive. What
    /// lies before OFFSET and was not shipped never will be, and `shipped` does not ask for it; what lies behind it
    /// and was shipped is shipped again.
    Set {
        /// The file
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Where a line begins, in bytes; "end" is behind the last newline
        #[arg(value_name = "OFFSET")]
        offset: Wanted,
        /// Only in this stream; needed when the file has no position yet
        #[arg(long, value_name = "NAME")]
        stream: Option<String>,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Makes standpipe ship this file from its beginning: a daemon that runs at once, else the next start
    Forget {
        /// The file; when it is there no more, the name that it had
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Only in this stream
        #[arg(long, value_name = "NAME")]
        stream: Option<String>,
        #[command(flatten)]
        state: StateArgs,
    },
}

/// Where a person wants a file to be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    At(u64),
    End,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "end" => Ok(Self::End),
            _ => text.parse().map(Self::At).map_err(|_| "neither a number of bytes nor \"end\"".to_owned()),
        }
    }
}

pub(super) fn checkpoints(args: &CheckpointsArgs) -> u8 {
    let done = match &args.command {
        CheckpointsCommand::List { json, state } => list(*json, state),
        CheckpointsCommand::Set { path, offset, stream, state } => {
            set(path, *offset, stream.as_deref(), state)
        }
        CheckpointsCommand::Forget { path, stream, state } => forget(path, stream.as_deref(), state),
    };
    done.map_or_else(|code| code, |()| DONE)
}

fn list(json: bool, state: &StateArgs) -> Result<(), u8> {
    let stored = state.read()?.checkpoints().map_err(|error| refuse(&error))?;
    let text = match json {
        true => {
            let all: Vec<Value> = stored.iter().map(as_json).collect();
            plain_json(format!("{:#}\n", Value::from(all)))
        }
        false => {
            let heading = ["stream", "offset", "beyond", "saved", "path"].map(str::to_owned).to_vec();
            let rows = stored.iter().map(|StoredCheckpoint { checkpoint, updated_ms }| {
                vec![
                    plain(&*checkpoint.stream),
                    checkpoint.offset.to_string(),
                    checkpoint.settled.bytes().to_string(),
                    time(*updated_ms),
                    plain_path(&checkpoint.path),
                ]
            });
            table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
        }
    };
    // Nobody may be reading.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn as_json(stored: &StoredCheckpoint) -> Value {
    let StoredCheckpoint { checkpoint, updated_ms } = stored;
    json!({
        "stream": &*checkpoint.stream,
        "path": checkpoint.path.to_string_lossy(),
        "offset": checkpoint.offset.bytes(),
        "settled": checkpoint.settled.ranges().iter().map(|range| [range.start().bytes(), range.end().bytes()]).collect::<Vec<_>>(),
        "saved": time(*updated_ms),
        "incarnation": checkpoint.incarnation.0,
        "device": checkpoint.identity.device,
        "inode": checkpoint.identity.inode,
        "born_nanos": checkpoint.identity.birth_nanos,
    })
}

fn set(path: &Path, wanted: Wanted, stream: Option<&str>, state: &StateArgs) -> Result<(), u8> {
    let holder = state.hold()?;
    let path = absolute(path);
    let (file, opened) = open(&path)?;
    let offset = place(&path, &file, &opened, wanted)?;
    let before = usize::try_from(offset.bytes()).unwrap_or(usize::MAX).min(WINDOW_BYTES);
    let window = read(&path, &file, offset.minus(before as u64), before)?;
    // No more than the daemon will have read: what lies behind may still change.
    let head = usize::try_from(offset.bytes()).unwrap_or(usize::MAX).min(opened.head.len());
    let to = Position {
        offset,
        fingerprint: Fingerprint::of(&opened.head[..head]),
        window: Window::at_end_of(&window),
    };
    let moved = match holder {
        Holder::Own(own) => set_alone(*own, &path, opened.identity, to, stream)?,
        Holder::Daemon(daemon) => ask(&daemon, &path, Some(opened.identity), Some(to), stream)?,
    };
    if moved.is_empty() {
        complain!("{}: has no position yet; name its stream with --stream", plain_path(&path));
        return Err(FAILED);
    }
    for (stream, from) in moved {
        let from = from.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
        complain!("{}: {stream}: from {from} to {offset}", plain_path(&path));
    }
    Ok(())
}
/// The streams in which a position was moved, each with where it was before.
type MovedStreams = Vec<(String, Option<u64>)>;

/// Has the daemon move a position; no stream at all when the file has none.
fn ask(
    daemon: &Asked,
    path: &Path,
    identity: Option<Identity>,
    to: Option<Position>,
    stream: Option<&str>,
) -> Result<MovedStreams, u8> {
    let identity =
        identity.map(|Identity { device, inode, birth_nanos }| WireIdentity { device, inode, birth_nanos });
    let to = to.map(|Position { offset, fingerprint, window }| WirePosition {
        offset: offset.bytes(),
        fingerprint: (fingerprint.len(), fingerprint.hash().to_be_bytes()),
        window: (window.len(), window.hash().to_be_bytes()),
    });
    let target = target(path).map(|target| WirePath::from(&*target));
    let stream = stream.map(str::to_owned);
    match daemon.ask(&Request::Move(MoveRequest { path: path.into(), target, stream, identity, to }))? {
        Answer::Moved(moved) => Ok(moved),
        Answer::NoPosition => Ok(Vec::new()),
        Answer::Page(_) | Answer::Failed(_) => Err(daemon.confused()),
    }
}

/// The name behind links, where it is another.
fn target(path: &Path) -> Option<Arc<Path>> {
    std::fs::canonicalize(path).ok().filter(|real| *real != path).map(Arc::from)
}

/// Sets a position in a state that no daemon holds.
fn set_alone(
    (mut store, reader): (Store, Reader),
    path: &Path,
    identity: Identity,
    to: Position,
    stream: Option<&str>,
) -> Result<MovedStreams, u8> {
    let stored = reader.checkpoints().map_err(|error| refuse(&error))?;
    let of_file = stored.iter().map(|stored| &stored.checkpoint);
    let of_file: Vec<_> =
        of_file.filter(|stored| same_file(stored.identity, identity) && in_stream(stored, stream)).collect();
    let mut streams: Vec<Arc<str>> = of_file.iter().map(|stored| Arc::clone(&stored.stream)).collect();
    streams.extend(stream.map(Arc::from));
    streams.sort();
    streams.dedup();
    let mut save =
        Save { forgotten: of_file.iter().map(|stored| stored.incarnation).collect(), ..Save::default() };
    for (next, stream) in (store.next_incarnation()..).zip(&streams) {
        save.checkpoints.push(Checkpoint {
            incarnation: Incarnation(next),
            stream: Arc::clone(stream),
            path: Arc::from(path),
            target: target(path),
            identity,
            seen: None,
            origin: identity.into(),
            // What lies before is skipped by somebody who knows.
            skipped_bytes: 0,
            fingerprint: to.fingerprint,
            offset: to.offset,
            window: to.window,
            settled: Settled::default(),
            seen_bytes: 0,
            proof: None,
        });
    }
    store.commit(&save).map_err(|error| refuse(&error))?;
    let from = |stream: &str| {
        let of_stream = of_file.iter().filter(|stored| *stored.stream == *stream);
        of_stream.map(|stored| stored.offset.bytes()).max()
    };
    Ok(streams.iter().map(|stream| (stream.to_string(), from(stream))).collect())
}

fn forget(path: &Path, stream: Option<&str>, state: &StateArgs) -> Result<(), u8> {
    let holder = state.hold()?;
    let path = absolute(path);
    let identity = match files::open(&path, files::Reach::Anywhere) {
        Ok((_, opened)) => Some(opened.identity),
        Err(_) => None,
    };
    let forgotten = match holder {
        Holder::Own(own) => forget_alone(*own, &path, identity, stream)?,
        Holder::Daemon(daemon) => ask(&daemon, &path, identity, None, stream)?,
    };
    if forgotten.is_empty() {
        complain!("{}: has no position", plain_path(&path));
        return Err(FAILED);
    }
    for (stream, offset) in forgotten {
        complain!("{}: {stream}: forgot {}", plain_path(&path), offset.unwrap_or_default());
    }
    Ok(())
}

/// Forgets positions in a state that no daemon holds.
fn forget_alone(
    (mut store, reader): (Store, Reader),
    path: &Path,
    identity: Option<Identity>,
    stream: Option<&str>,
) -> Result<MovedStreams, u8> {
    let stored = reader.checkpoints().map_err(|error| refuse(&error))?;
    let is_meant = |stored: &&Checkpoint| match identity {
        Some(identity) => same_file(stored.identity, identity),
        None => *stored.path == *path,
    };
    let of_stream = stored.iter().map(|stored| &stored.checkpoint).filter(|stored| in_stream(stored, stream));
    let meant: Vec<_> = of_stream.filter(is_meant).collect();
    if meant.is_empty() {
        return Ok(Vec::new());
    }
    let forgotten = meant.iter().map(|stored| stored.incarnation).collect();
    store.commit(&Save { forgotten, ..Save::default() }).map_err(|error| refuse(&error))?;
    Ok(meant.iter().map(|stored| (stored.stream.to_string(), Some(stored.offset.bytes()))).collect())
}

fn in_stream(stored: &Checkpoint, stream: Option<&str>) -> bool {
    stream.is_none_or(|stream| *stored.stream == *stream)
}

/// The offset that is wanted, if a line begins there.
fn place(path: &Path, file: &std::fs::File, opened: &Opened, wanted: Wanted) -> Result<Offset, u8> {
    let at = match wanted {
        Wanted::End => return behind_last_newline(path, file, opened.size),
        Wanted::At(at) => at,
    };
    if at > opened.size {
        complain!("{}: has {} bytes, so that nothing is at {at}", plain_path(path), opened.size);
        return Err(USAGE);
    }
    let start = behind_last_newline(path, file, at)?;
    if start.bytes() != at {
        complain!(
            "{}: {at} is inside a line, which would be shipped in two; the line begins at {start}",
            plain_path(path)
        );
        return Err(USAGE);
    }
    Ok(start)
}

/// Where the line begins that reaches to `end`.
fn behind_last_newline(path: &Path, file: &std::fs::File, end: u64) -> Result<Offset, u8> {
    const STEP: u64 = 256 * 1024;
    let mut end = Offset::new(end);
    while end > Offset::ZERO {
        let start = end.minus(STEP);
        let piece = usize::try_from(end.since(start)).expect("a step at most");
        let piece = read(path, file, start, piece)?;
        if let Some(newline) = memchr::memrchr(b'\n', &piece) {
            return Ok(start.plus(newline as u64 + 1));
        }
        end = start;
    }
    Ok(end)
}

fn open(path: &Path) -> Result<(std::fs::File, Opened), u8> {
    files::open(path, files::Reach::Anywhere).map_err(|fault| cannot(path, &fault))
}

fn read(path: &Path, file: &std::fs::File, at: Offset, len: usize) -> Result<bytes::Bytes, u8> {
    files::read(file, at, len).map_err(|fault| cannot(path, &fault))
}

fn cannot(path: &Path, fault: &FileFault) -> u8 {
    match fault {
        FileFault::Gone | FileFault::NoDescriptor => complain!("{}: {fault}", plain_path(path)),
        FileFault::Unreadable(why) => complain!("{why}"),
    }
    FAILED
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
