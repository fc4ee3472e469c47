//! A file that was renamed while somebody watched.

use std::path::Path;
use std::sync::Arc;

/// The file that had the name `from` has the name `to`, or had it for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    pub from: Arc<Path>,
    pub to: Arc<Path>,
}
