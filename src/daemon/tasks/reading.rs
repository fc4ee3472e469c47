//! Open files, and what is read of them: at once where nothing can wait, and in the source's lane elsewhere.
//!
//! Knows which files are open. Does not know what a read at once needs: the shell does.
//!
//! *Invariant:* an answer never comes while it is asked for: whoever carries out effects is not called from within.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::port::{Compare, FileFault, FileId, Likeness, Open, Read};
use crate::model::identity::Fingerprint;
use crate::model::offset::Offset;
use crate::model::settings::SourceId;
use crate::shell::files::at_once::{Answer, AtOnce};
use crate::shell::files::{self, Compressed};

use super::{Done, Tasks};

/// The most answers that may be at hand: with more, reading would keep the loop from what else there is.
const MAX_AT_HAND: usize = 16;

/// An open file, with the source in whose lane it is read.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    source: SourceId,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Plain(Arc<File>, AtOnce),
    Compressed(Arc<Compressed>),
}

impl Content {
    fn read(&self, at: Offset, len: usize, before: usize) -> Result<(Bytes, u64), FileFault> {
        match self {
            Self::Plain(file, _) => files::read_content(file, at, len, before),
            Self::Compressed(file) => file.read(at, len).map(|bytes| (bytes, 0)),
        }
    }

    /// Whether the file begins so. What cannot be read is said by the next read.
    fn begins(&self, begins: Fingerprint) -> bool {
        match self {
            Self::Plain(file, _) => files::begins(file, begins),
            Self::Compressed(_) => true,
        }
    }

    /// When the file was last written, if it still ends where a read of it ended.
    fn modified(&self, end: Offset) -> Option<Duration> {
        match self {
            Self::Plain(file, _) => files::modified_at_end(file, end),
            Self::Compressed(_) => None,
        }
    }
}

/// What came of a read.
#[derive(Debug)]
pub(in crate::daemon) struct ReadDone {
    pub(in crate::daemon) result: Result<Bytes, FileFault>,
    /// When the file was last written, where its end was reached.
    pub(in crate::daemon) modified: Option<Duration>,
    /// How many bytes of room were found behind what was read, up to the end of the file.
    pub(in crate::daemon) room: u64,
    /// Whether it began as was asked.
    pub(in crate::daemon) begins: bool,
}

/// A file on its way into [`Tasks::opened`].
#[derive(Debug)]
pub(in crate::daemon) struct OpenedFile(OpenFile);

impl Tasks {
    /// Those of the files that are open and not compressed.
    pub(super) fn plain(&self, files: &[FileId]) -> Vec<(FileId, Arc<File>)> {
        let with_file = |id: &FileId| match &self.open.get(id)?.content {
            Content::Plain(file, _) => Some((*id, Arc::clone(file))),
            Content::Compressed(_) => None,
        };
        files.iter().filter_map(with_file).collect()
    }

    pub(in crate::daemon) fn open(&mut self, request: Open) {
        let Open { file: id, source, path, decompressed, held } = request;
        let held = self.plain(&held);
        let files = Arc::clone(&self.sources[source.0]);
        self.block(source, move || {
            let opened = if decompressed {
                files::open_compressed(&path, files.reach())
                    .map(|(file, opened)| (Content::Compressed(Arc::new(file)), opened))
            } else {
                files::open(&path, files.reach()).map(|(file, mut opened)| {
                    let same = held.iter().find(|(_, held)| files::is_still(held, opened.identity));
                    opened.held = same.map(|(id, _)| *id);
                    let at_once = AtOnce::of(&file);
                    (Content::Plain(Arc::new(file), at_once), opened)
                })
            };
            let with_source = |(content, opened)| (OpenedFile(OpenFile { source, content }), opened);
            Done::Opened(id, opened.map(with_source))
        });
    }

    /// Keeps a file that was opened, for reads of it.
    pub(in crate::daemon) fn opened(&mut self, id: FileId, file: OpenedFile) {
        self.open.insert(id, file.0);
    }

    pub(in crate::daemon) fn read(&mut self, request: Read) {
        let Read { file: id, at, len, before, begins } = request;
        if self.at_hand.len() < MAX_AT_HAND
            && let Some(done) = self.read_at_once(&request)
        {
            self.at_hand.push_back(done);
            return;
        }
        let OpenFile { source, content } = self.open[&id].clone();
        self.block(source, move || {
            let read = content.read(at, len, before);
            let room = read.as_ref().map_or(0, |(_, room)| *room);
            let result = read.map(|(bytes, _)| bytes);
            let end = result.as_ref().ok().filter(|bytes| bytes.len() < len);
            let modified = end.and_then(|bytes| content.modified(at.plus(bytes.len() as u64)));
            Done::Bytes(id, ReadDone { result, modified, room, begins: content.begins(begins) })
        });
    }

    /// Reads what the kernel has in memory, where it can be asked for that.
    fn read_at_once(&mut self, request: &Read) -> Option<Done> {
        let Read { file: id, at, len, begins, .. } = *request;
        let file = self.open.get_mut(&id)?;
        let Content::Plain(open, at_once) = &mut file.content else { return None };
        match at_once.read(open, at, len, begins) {
            Answer::Read { bytes, modified, begins } => {
                Some(Done::Bytes(id, ReadDone { result: Ok(bytes), modified, room: 0, begins }))
            }
            Answer::Later => None,
            Answer::Never => {
                *at_once = AtOnce::Never;
                None
            }
        }
    }

    /// Compares two open files, in the lane of the first.
    pub(in crate::daemon) fn compare(&mut self, request: Compare) {
        let Compare { file: id, with, at, len } = request;
        let OpenFile { source, content } = self.open[&id].clone();
        let other = self.open[&with].content.clone();
        self.block(source, move || {
            let likeness = content.read(at, len, 0).and_then(|(bytes, _)| {
                let (other, _) = other.read(at, len, 0)?;
                Ok(Likeness::of(&bytes, &other, len))
            });
            Done::Compared(id, likeness)
        });
    }

    /// Lets go of an open file, in its lane: a network file system may want an answer for that, too.
    pub(in crate::daemon) fn close(&mut self, id: FileId) {
        if let Some(file) = self.open.remove(&id) {
            self.block(file.source, move || {
                drop(file);
                Done::Closed
            });
        }
    }
}
