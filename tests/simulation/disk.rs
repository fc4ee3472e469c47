//! A disk that does what real ones do to a tailer: recycled inodes, truncation, renames, files without a name.
//!
//! Every line that is ever written is numbered, so that the oracle can say what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use standpipe::engine::port::{FileFault, Observation, Observed, Open, Opened, Survey};
use standpipe::model::identity::{HEAD_BYTES, Identity, unix_nanos};
use standpipe::rules::rotation::family::rotated_from;

/// Index of a file in [`Disk::files`]: what the kernel would call an inode in use.
pub type FileIndex = usize;

/// One file, as long as it has a name or somebody holds it open.
#[derive(Debug)]
pub struct File {
    pub identity: Identity,
    pub content: Vec<u8>,
    /// Where each complete line of the content ends, and its number.
    pub lines: Vec<(u64, LineNumber)>,
    /// The first half of a line, written without its newline.
    pub half: Option<(LineNumber, Vec<u8>)>,
    /// A line of which the rest is, or will be, in another file.
    pub cut: Option<LineNumber>,
    /// Whether `content` is what was compressed into the file.
    pub is_compressed: bool,
    /// Whether the content takes no room on the disk: it is a hole, or lies in the inode.
    pub is_without_blocks: bool,
    /// The streams that its lines are due to, a bit each: those whose sources ever matched a name of it.
    pub due: u8,
    /// How often the content was changed.
    writes: u64,
}

/// The number of a line: counted upwards over all files.
pub type LineNumber = usize;

#[derive(Debug, Default)]
pub struct Disk {
    pub files: Vec<File>,
    pub names: BTreeMap<PathBuf, FileIndex>,
    /// Links, and the names that they lead to.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Files that somebody but the daemon holds open: their inodes are in use.
    pub used: BTreeSet<FileIndex>,
    free_inodes: Vec<u64>,
    next_inode: u64,
    next_birth: i64,
    has_births: bool,
    pub is_nearly_full: bool,
    /// The wall clock, since 1970.
    pub unix_time: Duration,
}

impl Disk {
    pub fn new(has_births: bool) -> Self {
        Self { next_inode: 11, has_births, ..Self::default() }
    }

    pub fn create(&mut self, name: &Path) -> FileIndex {
        assert!(!self.names.contains_key(name), "{} exists", name.display());
        self.next_birth = (self.next_birth + 1_000).max(unix_nanos(self.unix_time));
        let inode = self.free_inodes.pop().unwrap_or_else(|| {
            self.next_inode += 1;
            self.next_inode
        });
        let birth_nanos = self.has_births.then_some(self.next_birth);
        let identity = Identity { device: 1, inode, birth_nanos };
        self.files.push(File {
            identity,
            content: Vec::new(),
            lines: Vec::new(),
            half: None,
            cut: None,
            is_compressed: false,
            is_without_blocks: false,
            due: 0,
            writes: 0,
        });
        self.names.insert(name.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    /// Appends a whole line, or (`whole` false) its first half, which the next append to the file completes.
    pub fn append(&mut self, file: FileIndex, number: LineNumber, text: &[u8], whole: bool) {
        let file = &mut self.files[file];
        file.complete();
        file.writes += 1;
        if whole {
            file.content.extend_from_slice(text);
            file.lines.push((file.content.len() as u64, number));
        } else {
            let (first, second) = text.split_at(text.len() / 2);
            file.content.extend_from_slice(first);
            file.half = Some((number, second.to_vec()));
        }
    }

    /// Appends bytes in which lines end at these places.
    pub fn append_mixed(&mut self, file: FileIndex, bytes: &[u8], ends: &[(usize, LineNumber)]) {
        let file = &mut self.files[file];
        file.complete();
        file.writes += 1;
        let start = file.content.len();
        file.content.extend_from_slice(bytes);
        file.lines.extend(ends.iter().map(|(end, number)| ((start + end) as u64, *number)));
    }

    /// One more byte of the line that was begun in this file.
    pub fn grow(&mut self, file: FileIndex) {
        let file = &mut self.files[file];
        if let Some((_, rest)) = &mut file.half
            && rest.len() > 1
        {
            file.content.push(rest.remove(0));
            file.writes += 1;
        }
    }

    /// Completes the line that was begun in this file.
    pub fn complete(&mut self, file: FileIndex) {
        self.files[file].complete();
    }

    /// Completes every line that was begun.
    pub fn complete_all(&mut self) {
        for file in &mut self.files {
            file.complete();
        }
    }

    /// Cuts the file to nothing; returns the lines that were in it.
    pub fn truncate(&mut self, file: FileIndex) -> Vec<LineNumber> {
        let file = &mut self.files[file];
        file.content.clear();
        file.writes += 1;
        let half = file.half.take().map(|(number, _)| number);
        file.lines.drain(..).map(|(_, number)| number).chain(half).collect()
    }

    /// A new file with the same content.
    pub fn copy(&mut self, file: FileIndex, name: &Path) -> FileIndex {
        let copy = self.create(name);
        let (content, lines) = (self.files[file].content.clone(), self.files[file].lines.clone());
        self.files[copy].content = content;
        self.files[copy].lines = lines;
        copy
    }

    pub fn rename(&mut self, from: &Path, to: &Path) {
        let file = self.names.remove(from).expect("a file is renamed while it has a name");
        self.names.insert(to.to_owned(), file);
    }

    pub fn unlink(&mut self, name: &Path) -> FileIndex {
        self.names.remove(name).expect("a file is unlinked while it has a name")
    }

    /// The inode is free once nobody holds the file open.
    pub fn release(&mut self, file: FileIndex) {
        self.free_inodes.push(self.files[file].identity.inode);
    }

    /// What a survey shows; `is_matched` says which names its source matches.
    pub fn survey(&self, request: &Survey, is_matched: impl Fn(&Path) -> bool) -> Observation {
        let rotated_from = |path: &Path| {
            let names = rotated_from(path).into_iter();
            names.filter(|name| self.is_a_place(name, &is_matched)).map(Arc::from).collect::<Vec<_>>()
        };
        let linked = self.links.iter().filter_map(|(link, target)| {
            Some((link, *self.names.get(target)?, Some(Arc::from(target.as_path()))))
        });
        let named = self.names.iter().map(|(path, file)| (path, *file, None));
        let mut files: Vec<_> = named
            .chain(linked)
            .filter_map(|(path, index, target)| {
                let is_matched = is_matched(path);
                let beside = request.also.iter().any(|directory| path.parent() == Some(directory));
                let file = &self.files[index];
                let is_beside = !is_matched && target.is_none();
                let told = request.renamed.iter().filter(|renamed| is_beside && *renamed.to == **path);
                let told: Vec<_> = told.map(|renamed| Arc::clone(&renamed.from)).collect();
                let is_told = !told.is_empty();
                let mut rotated_from = if is_beside { rotated_from(path) } else { Vec::new() };
                rotated_from.extend(told);
                (is_matched || beside || !rotated_from.is_empty()).then(|| Observed {
                    path: Arc::from(path.as_path()),
                    target,
                    identity: file.identity,
                    size: file.size(),
                    owner: 0,
                    modified: Some(file.modified()),
                    is_matched,
                    rotated_from,
                    is_told,
                })
            })
            .collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let (source, unix_time) = (request.source, self.unix_time);
        Observation {
            source,
            files,
            hidden: standpipe::model::hidden::Hidden::default(),
            held: Vec::new(),
            unix_time,
        }
    }

    /// Whether a name is matched, or that of what a link leads to that is.
    pub fn is_a_place(&self, name: &Path, is_matched: impl Fn(&Path) -> bool) -> bool {
        is_matched(name) || self.links.iter().any(|(link, led_to)| led_to == name && is_matched(link))
    }

    /// The file under a name, or behind a link of that name.
    pub fn find(&self, path: &Path) -> Option<FileIndex> {
        let path = self.links.get(path).map_or(path, PathBuf::as_path);
        self.names.get(path).copied()
    }

    /// Every name and link that leads to a file.
    pub fn names_of(&self, file: FileIndex) -> impl Iterator<Item = &Path> {
        let named = self.names.iter().filter(move |(_, named)| **named == file).map(|(path, _)| path);
        let leads = move |target: &PathBuf| self.names.get(target) == Some(&file);
        let linked = self.links.iter().filter(move |(_, target)| leads(target)).map(|(link, _)| link);
        named.chain(linked).map(PathBuf::as_path)
    }

    pub fn is_named(&self, file: FileIndex) -> bool {
        self.names.values().any(|named| *named == file)
    }

    pub fn open(&self, open: &Open) -> Result<(FileIndex, Opened), FileFault> {
        let index = self.find(&open.path).ok_or(FileFault::Gone)?;
        let file = &self.files[index];
        if file.is_compressed != open.decompressed {
            return Err(FileFault::Unreadable("not in gzip format, or nothing but gzip".into()));
        }
        let head = &file.content[..file.content.len().min(HEAD_BYTES)];
        let opened = Opened {
            identity: file.identity,
            size: file.content.len() as u64,
            head: head.to_vec().into(),
            held: None,
            place: self.links.get(&*open.path).map(|target| Arc::from(target.as_path())),
        };
        Ok((index, opened))
    }

    pub fn read(&self, file: FileIndex, at: u64, len: usize) -> Vec<u8> {
        let content = &self.files[file].content;
        let from = usize::try_from(at).expect("small").min(content.len());
        content[from..(from + len).min(content.len())].to_vec()
    }
}

impl File {
    /// What a look at the file shows.
    fn size(&self) -> u64 {
        let len = self.content.len() as u64;
        if self.is_compressed { len / 3 } else { len }
    }

    /// When it was last written: whoever writes something else writes it at another time.
    pub fn modified(&self) -> Duration {
        Duration::from_micros(self.writes)
    }

    /// The room that the file takes, in bytes.
    pub fn disk_bytes(&self) -> u64 {
        if self.is_without_blocks { 0 } else { self.size().next_multiple_of(4096) }
    }

    fn complete(&mut self) {
        if let Some((number, rest)) = self.half.take() {
            self.content.extend_from_slice(&rest);
            self.writes += 1;
            self.lines.push((self.content.len() as u64, number));
        }
    }
}
