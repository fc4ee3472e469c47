//! Files that are read on the way to AWS, on threads: they may be on a file system that hangs.
//!
//! Knows how long is waited. Does not know what the files say.

#![expect(clippy::disallowed_methods, reason = "files belong to the shells, on threads of their own")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::environment::Environment;
use super::profile::Profiles;
use super::stamp::{Stamp, stamps};

/// How long a file system may take.
const PATIENCE: Duration = Duration::from_secs(5);

async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// The profiles of the AWS configuration files.
///
/// # Errors
/// Why they cannot be used, and the files.
pub(super) async fn profiles(
    environment: &Arc<Environment>,
    chosen: Option<&str>,
) -> Result<Profiles, (String, Vec<PathBuf>)> {
    let (environment, chosen, runtime) =
        (Arc::clone(environment), chosen.map(str::to_owned), Handle::current());
    let read = aside(move || runtime.block_on(Profiles::read(&environment, chosen.as_deref()))).await;
    let silent = || ("the file system of the AWS configuration files does not answer".to_owned(), Vec::new());
    read.ok_or_else(silent)?.map_err(|why| (why, Vec::new()))
}

/// The text of a file that has something in it.
///
/// # Errors
/// What is wrong with the file, as the end of a sentence.
pub(super) async fn text_of(path: &str) -> Result<String, String> {
    let path = PathBuf::from(path);
    match aside(move || std::fs::read(path)).await {
        None => Err("is on a file system that does not answer".to_owned()),
        Some(Err(error)) => Err(format!("cannot be read: {error}")),
        Some(Ok(bytes)) if bytes.trim_ascii().is_empty() => Err("is empty".to_owned()),
        Some(Ok(bytes)) => String::from_utf8(bytes).map_err(|_| "is not a text in UTF-8".to_owned()),
    }
}

/// What tells whether one of the files was replaced; `None` while the file system does not answer.
pub(super) async fn look_at(files: &[PathBuf]) -> Option<Vec<Stamp>> {
    if files.is_empty() {
        return Some(Vec::new());
    }
    let files = files.to_vec();
    aside(move || stamps(&files)).await
}
