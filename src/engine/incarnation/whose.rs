//! Whose an incarnation is: its file, its source and its stream.
//!
//! Knows names and times. Does not know content.

use std::path::Path;
use std::sync::Arc;

use crate::model::identity::{Identity, Origin, Seen};
use crate::model::settings::{SourceId, StreamId};

/// Whose bytes an incarnation is made of, and where its records go.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Whose {
    pub(in crate::engine) source: SourceId,
    pub(in crate::engine) stream: StreamId,
    /// The stream as the configuration names it: part of the checkpoint's key.
    pub(in crate::engine) stream_name: Arc<str>,
    /// Where the file was last seen.
    pub(in crate::engine) path: Arc<Path>,
    /// The name in the directory that holds the file, when it is not `path`.
    pub(in crate::engine) target: Option<Arc<Path>>,
    pub(in crate::engine) identity: Identity,
    /// The file that the incarnation began in.
    pub(in crate::engine) origin: Origin,
    /// When the file was seen.
    pub(in crate::engine) seen: Seen,
}

/// A file's path, and its real path when that is another.
pub(in crate::engine) type Names = (Arc<Path>, Option<Arc<Path>>);

impl Whose {
    /// The name in the directory that holds the file.
    pub(in crate::engine) fn real_path(&self) -> &Arc<Path> {
        self.target.as_ref().unwrap_or(&self.path)
    }
}
