//! A command's end.

#![expect(clippy::disallowed_methods, reason = "a command waits only so long")]

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::place::Place;
use super::{Answer, MAX_ANSWER_BYTES, PATIENCE, Request};

/// Why a daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No daemon listens, although some process holds the state.
    #[error(
        "{}: {source}: whoever holds the state does not listen there; it may be another command, or a daemon that could \
         not make its socket (its log says why)", path.display()
    )]
    NotThere { path: PathBuf, source: io::Error },
    /// Another user's daemon.
    #[error("{}: {source}: run this command as the daemon's user, or as root", path.display())]
    Denied { path: PathBuf, source: io::Error },
    /// The daemon hangs.
    #[error("{}: no answer within {after:?}: the daemon hangs, or waits for a disk; it may do it yet", path.display())]
    Hangs { path: PathBuf, after: Duration },
    /// The daemon closed the connection, or something else failed.
    #[error("{}: {why}", path.display())]
    Broken { path: PathBuf, why: String },
}

/// Asks the daemon of the state directory `dir`.
///
/// # Errors
/// When there is no answer within [`PATIENCE`].
pub fn ask(dir: &Path, request: &Request) -> Result<Answer, AskError> {
    ask_within(dir, request, PATIENCE)
}

/// Asks, and waits so long for an answer.
pub(super) fn ask_within(dir: &Path, request: &Request, patience: Duration) -> Result<Answer, AskError> {
    let path = dir.join("control.sock");
    let until = Instant::now() + patience;
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotThere { path: path.clone(), source }
        }
        io::ErrorKind::PermissionDenied => AskError::Denied { path: path.clone(), source },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            AskError::Hangs { path: path.clone(), after: patience }
        }
        _ => AskError::Broken { path: path.clone(), why: source.to_string() },
    };
    let broken = |why: String| AskError::Broken { path: path.clone(), why };
    let place = Place::find(dir).map_err(failed)?;
    let mut daemon = UnixStream::connect(&place.address).map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(|error| broken(error.to_string()))?;
    line.push(b'\n');
    daemon.set_write_timeout(Some(patience)).map_err(failed)?;
    daemon.write_all(&line).map_err(failed)?;
    let mut answer = Vec::new();
    let mut piece = [0; 8192];
    while answer.last() != Some(&b'\n') {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(AskError::Hangs { path, after: patience });
        }
        daemon.set_read_timeout(Some(left)).map_err(failed)?;
        match daemon.read(&mut piece) {
            Ok(0) => {
                return Err(broken(
                    "the daemon closed the connection without an answer: it has ended, or does not hear this user"
                        .to_owned(),
                ));
            }
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        if answer.len() as u64 > MAX_ANSWER_BYTES {
            return Err(broken(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes")));
        }
    }
    serde_json::from_slice(&answer)
        .map_err(|error| broken(format!("the answer is none that this version knows: {error}")))
}
