//! How commands ask a running daemon: one request and one answer, each a line of JSON, over a socket in its state directory.
//!
//! Knows sockets, words and limits. Does not know what a request does: the daemon is handed it, and answers. There is no
//! network: the socket is a file of mode 0600 in a directory of mode 0700, and whoever connects is asked for their user
//! ID as well. Only the daemon's own user and root are heard.
//!
//! *Invariant:* whatever clients do, they cost one connection, [`MAX_REQUEST_BYTES`] and a few seconds at a time; and no
//! command waits for a daemon that hangs for longer than [`PATIENCE`].

mod client;
mod place;
mod server;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use client::{AskError, ask};
pub use server::{BindError, Listener};

/// The most bytes of one request. A path is at most 4 KiB, each byte of it written as a number.
pub const MAX_REQUEST_BYTES: u64 = 64 * 1024;

/// The most bytes of one answer.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// How long a client may take to send its request, and to take its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the daemon may take to do what it is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a command waits for its answer: for one that came before it, too.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A path, byte by byte: not every path is a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WirePath(Vec<u8>);

impl From<&Path> for WirePath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<WirePath> for PathBuf {
    fn from(path: WirePath) -> Self {
        Self::from(OsStr::from_bytes(&path.0))
    }
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Go on elsewhere in a file, in each stream in which it has a position or in the one that is named.
    Move(MoveRequest),
    /// Delete some dead letters.
    Purge(Pages),
    /// Send some dead letters again, and delete those that are accepted.
    Replay(Pages),
}

/// Which file, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRequest {
    pub path: WirePath,
    /// The name behind links, where it is another.
    pub target: Option<WirePath>,
    pub stream: Option<String>,
    /// `None` when no file has the name.
    pub identity: Option<WireIdentity>,
    /// `None`: from the beginning, as a file of which nothing is known.
    pub to: Option<WirePosition>,
}

/// A file's device, inode and birth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireIdentity {
    pub device: u64,
    pub inode: u64,
    pub birth_nanos: Option<i64>,
}

/// A position, with the hashes of the file's beginning and of the bytes just before the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WirePosition {
    pub offset: u64,
    pub fingerprint: (u16, [u8; 16]),
    pub window: (u16, [u8; 16]),
}

/// The dead letters that a request concerns: a command asks again until it has been told of the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// Only those of this stream.
    pub stream: Option<String>,
    /// Only those with higher numbers.
    pub after: i64,
    /// Only those up to this number; `None` with the first request: up to the last that there is.
    pub until: Option<i64>,
    /// Whether what no record was made of is sent as it was kept.
    #[serde(default)]
    pub raw: bool,
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The streams in which the position was moved, each with where it was before.
    Moved(Vec<(String, Option<u64>)>),
    /// The file has no position, and no stream was named.
    NoPosition,
    Page(Page),
    /// Nothing was done, or not all; why, and what to do.
    Failed(String),
}

/// What became of some dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Deleted; by a replay, because they were accepted.
    pub deleted: u64,
    /// Data of the deleted letters, in bytes.
    pub bytes: u64,
    /// Kept, because they were not accepted.
    pub kept: u64,
    /// Why some were kept, each reason once.
    pub why: Vec<String>,
    /// What to ask for next; `None` behind the last.
    pub next: Option<Pages>,
}

/// A request on its way to the daemon's loop.
#[derive(Debug)]
pub struct Order {
    pub request: Request,
    pub answer: oneshot::Sender<Answer>,
}

/// The two ends of the orders: for the socket, and for the daemon.
pub fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(1)
}

#[cfg(test)]
mod tests;
