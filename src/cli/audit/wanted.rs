//! What is asked for: a RecordId, or a file and perhaps a byte of it.
//!
//! Knows how a file is named. A RecordId may look like a file's name, so it is looked for first, and what is no file that
//! anybody knows is taken for a RecordId.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::model::offset::Offset;
use crate::rules::rotation::same_file;
use crate::shell::files;
use crate::shell::store::{Reader, StoreError};

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    RecordId,
    File(WantedFile),
}

/// A file, as it is found by its name.
#[derive(Clone, Debug)]
pub(super) struct WantedFile {
    /// The whole name.
    pub(super) path: PathBuf,
    /// Where a byte of it is that is asked for.
    pub(super) offset: Option<Offset>,
    /// The incarnations of which RecordIds are kept, or a position.
    pub(super) incarnations: BTreeSet<Incarnation>,
    /// Whether the name leads to a file.
    pub(super) exists: bool,
}

/// Why it cannot be told what is asked for.
#[derive(Debug)]
pub(super) enum Unclear {
    Offset(String),
    Store(StoreError),
}

/// Whether the service may have written it: it has no blank, and steers nothing.
pub(super) fn may_be_a_record_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Wanted {
    pub(super) fn of(
        text: &str,
        reader: &Reader,
        checkpoints: &BTreeMap<Incarnation, Checkpoint>,
    ) -> Result<Self, Unclear> {
        if text.is_empty() {
            return Err(Unclear::Offset("neither a RecordId nor a file is named".to_owned()));
        }
        let file = |path: &Path, offset| find(path, offset, reader, checkpoints).map_err(Unclear::Store);
        let whole = file(Path::new(text), None)?;
        if whole.is_known() {
            return Ok(Self::File(whole));
        }
        if let Some((path, offset)) = text.rsplit_once(':')
            && !path.is_empty()
            && !offset.is_empty()
            && offset.bytes().all(|byte| byte.is_ascii_digit())
        {
            let offset = offset
                .parse()
                .map_err(|_| Unclear::Offset(format!("the offset {offset} is larger than any file")))?;
            return file(Path::new(path), Some(Offset::new(offset))).map(Self::File);
        }
        let looks_like_a_path = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
        Ok(if looks_like_a_path { Self::File(whole) } else { Self::RecordId })
    }
}

impl WantedFile {
    /// Whether somebody knows the file: the state, or its directory.
    fn is_known(&self) -> bool {
        self.exists || !self.incarnations.is_empty()
    }
}

/// Finds a file by the name that it has, by the name that its checkpoint has, and by the name under which it was read.
fn find(
    path: &Path,
    offset: Option<Offset>,
    reader: &Reader,
    checkpoints: &BTreeMap<Incarnation, Checkpoint>,
) -> Result<WantedFile, StoreError> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let identity: Option<Identity> =
        files::open(&path, files::Reach::Anywhere).ok().map(|(_, opened)| opened.identity);
    let mut incarnations = reader.audited(&path, identity)?;
    let is_of = |checkpoint: &Checkpoint| {
        let has_name = *checkpoint.path == *path || checkpoint.target.as_deref() == Some(&*path);
        has_name || identity.is_some_and(|identity| same_file(checkpoint.identity, identity))
    };
    incarnations.extend(checkpoints.values().filter(|it| is_of(it)).map(|it| it.incarnation));
    Ok(WantedFile { path, offset, incarnations, exists: identity.is_some() })
}
