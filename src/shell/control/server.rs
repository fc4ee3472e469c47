//! The daemon's end: one connection after the other.

#![expect(clippy::disallowed_methods, reason = "a socket is a file, and a connection has time limits")]

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::place::Place;
use super::{ANSWER_TIMEOUT, Answer, MAX_REQUEST_BYTES, Order, REQUEST_TIMEOUT, Request};

/// How long until connections are taken again when the process has no descriptor left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The socket of a daemon; dropped, its name is removed.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    place: Place,
    /// Device and inode of the name.
    file: (u64, u64),
}

/// Why a daemon has no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else has the name.
    #[error("{}: not a socket: remove it, and commands can ask this daemon after its next start", .0.display())]
    InTheWay(PathBuf),
    /// A system call failed.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Listener {
    /// Listens in the state directory `dir`, of which this process holds the lock: a socket that lies there belongs to a
    /// daemon that is no more, and is replaced.
    ///
    /// # Errors
    /// When the name cannot be had. A daemon ships without it.
    pub fn bind(dir: &Path) -> Result<Self, BindError> {
        let at = |source| BindError::Io { path: dir.join("control.sock"), source };
        let place = Place::find(dir).map_err(at)?;
        match fs::symlink_metadata(&place.path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&place.path).map_err(at)?,
            Ok(_) => return Err(BindError::InTheWay(place.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(error)),
        }
        let socket = UnixListener::bind(&place.address).map_err(at)?;
        // Until then the directory keeps others out.
        fs::set_permissions(&place.path, fs::Permissions::from_mode(0o600)).map_err(at)?;
        let metadata = fs::symlink_metadata(&place.path).map_err(at)?;
        Ok(Self { socket, place, file: (metadata.dev(), metadata.ino()) })
    }

    /// Hands requests to the daemon, one after the other, until the future is dropped.
    pub async fn serve(self, orders: mpsc::Sender<Order>) {
        loop {
            match self.socket.accept().await {
                Ok((client, _)) => serve(client, &orders).await,
                Err(error) => {
                    debug!(%error, "a command cannot connect");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The directory may have been replaced: what lies there now belongs to another.
        let is_ours = |found: fs::Metadata| (found.dev(), found.ino()) == self.file;
        if fs::symlink_metadata(&self.place.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.place.path);
        }
    }
}

async fn serve(mut client: UnixStream, orders: &mpsc::Sender<Order>) {
    match client.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw() => {}
        Ok(peer) => return warn!(uid = peer.uid(), "a command of another user is not heard"),
        Err(error) => return warn!(%error, "a command whose user is unknown is not heard"),
    }
    let answer = match timeout(REQUEST_TIMEOUT, request(&mut client)).await {
        Ok(Ok(request)) => answer(request, orders).await,
        Ok(Err(why)) => Answer::Failed(why),
        Err(_) => Answer::Failed("the request did not come".to_owned()),
    };
    let mut line = match serde_json::to_vec(&answer) {
        Ok(line) => line,
        Err(error) => return warn!(%error, "an answer to a command cannot be written"),
    };
    line.push(b'\n');
    // Whoever asked may be gone.
    let _ = timeout(REQUEST_TIMEOUT, client.write_all(&line)).await;
}

async fn request(client: &mut UnixStream) -> Result<Request, String> {
    let mut line = Vec::new();
    let read = BufReader::new(client).take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line).await;
    read.map_err(|error| error.to_string())?;
    if line.last() != Some(&b'\n') {
        return Err(format!("the request is no line of at most {MAX_REQUEST_BYTES} bytes"));
    }
    serde_json::from_slice(&line).map_err(|error| {
        format!(
            "this daemon does not know the request, and may be of another version than the command: {error}"
        )
    })
}

async fn answer(request: Request, orders: &mpsc::Sender<Order>) -> Answer {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        orders.send(Order { request, answer }).await.ok()?;
        answered.await.ok()
    };
    match timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Some(answer)) => answer,
        Ok(None) => Answer::Failed("the daemon is leaving: try again when it is gone".to_owned()),
        Err(_) => Answer::Failed(format!(
            "the daemon has not done it within {ANSWER_TIMEOUT:?}, and may do it yet; its log and `standpipe status` say \
             what it waits for (its state directory, or the file system of the file)"
        )),
    }
}
