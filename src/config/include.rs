//! Further files of a configuration: what `include` matches adds sources and streams.
//!
//! Knows where entries lead, in which order files are read, and that none stands twice. Does not look for files itself: which
//! there are, and what is in them, is asked through what is handed in.
//!
//! *Invariant:* each fault names the file in which it is; a file that cannot be read is a fault, never sources less.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::fault::{Faults, Place};
use super::typed::{self, Contents, Document, IncludeGlob, Included, StreamTable};
use super::{OnDisk, ProcessEnvironment};
use crate::rules::pattern::absolute;

/// The files that a configuration may include.
pub trait Files {
    /// The names in a directory, in any order.
    ///
    /// # Errors
    /// When it cannot be listed.
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// The text of a file.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    fn text(&self, path: &Path) -> Result<String, String>;

    /// Who was denied `path` by the error `why`, and how it is granted, where that can be told.
    fn why_denied(&self, path: &Path, why: &io::Error) -> Option<String>;
}

/// Nothing can be included.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn names(&self, _: &Path) -> io::Result<Vec<OsString>> {
        Ok(Vec::new())
    }

    fn text(&self, _: &Path) -> Result<String, String> {
        Err("cannot be read: there are no files here".to_owned())
    }

    fn why_denied(&self, _: &Path, _: &io::Error) -> Option<String> {
        None
    }
}

/// Files that are noted as they are read.
struct Noted<'a> {
    files: &'a dyn Files,
    hash: RefCell<Xxh3>,
}

impl<'a> Noted<'a> {
    fn new(file: (&Path, &str), files: &'a dyn Files) -> Self {
        let noted = Self { files, hash: RefCell::new(Xxh3::new()) };
        noted.note(file.0, Ok(file.1));
        noted
    }

    /// Notes a file with its length, so that no two lots of files are told alike. The hash is one and the same on every host.
    fn note(&self, path: &Path, text: Result<&str, &str>) {
        let mut hash = self.hash.borrow_mut();
        let (is_read, text) = text.map_or_else(|why| (0, why), |text| (1, text));
        for part in [path.as_os_str().as_bytes(), &[is_read], text.as_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }

    fn contents(&self) -> Contents {
        Contents(self.hash.borrow().digest())
    }
}

impl Files for Noted<'_> {
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.files.names(dir)
    }

    fn text(&self, path: &Path) -> Result<String, String> {
        let text = self.files.text(path);
        self.note(path, text.as_deref().map_err(String::as_str));
        text
    }

    fn why_denied(&self, path: &Path, why: &io::Error) -> Option<String> {
        self.files.why_denied(path, why)
    }
}

/// What the configuration in the file `name` is read from now, right or wrong.
pub fn contents(file: (&Path, &str), around: &ProcessEnvironment<'_>) -> Contents {
    let noted = Noted::new(file, around.files);
    // Whoever takes it in tells what is wrong.
    let _ =
        gather(file, &ProcessEnvironment { files: &noted, ..*around }, around.env, &mut Faults::default());
    noted.contents()
}

/// The configuration in the file `name`, with what it includes; `None` when it is not TOML.
pub(super) fn read(
    file: (&Path, &str),
    around: &ProcessEnvironment<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<Document> {
    let noted = Noted::new(file, around.files);
    let mut document = gather(file, &ProcessEnvironment { files: &noted, ..*around }, env, faults)?;
    document.included.contents = noted.contents();
    Some(document)
}

fn gather(
    (name, text): (&Path, &str),
    around: &ProcessEnvironment<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) -> Option<Document> {
    let mut document = typed::read(name, text, env, faults)?;
    let base = absolute(name.parent().unwrap_or(Path::new("")), around.current_dir);
    let mut included = Included::default();
    for entry in document.include.take().into_iter().flatten() {
        let paths = match matching(&entry.value, &base, around.files) {
            Ok(paths) => paths,
            Err(why) => {
                faults.add(entry.fault(why));
                continue;
            }
        };
        if paths.is_empty() {
            included.unmatched.push(entry.value.text().to_owned());
        }
        for path in paths {
            if !included.files.contains(&path) {
                take_in(&mut document, &path, around.files, env, faults);
                included.files.push(path);
            }
        }
    }
    refuse_repeated_streams(&document.streams, faults);
    document.included = included;
    Some(document)
}

/// The files that an entry matches, sorted by name.
///
/// # Errors
/// What is wrong with the directory, and what to do.
fn matching(entry: &IncludeGlob, base: &Path, files: &dyn Files) -> Result<Vec<PathBuf>, String> {
    let dir = absolute(entry.dir(), base);
    let mut names = match files.names(&dir) {
        Ok(names) => names,
        Err(why) if why.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(why) => {
            let how = files.why_denied(&dir, &why).unwrap_or_else(|| "make it readable".to_owned());
            return Err(format!("{} cannot be listed: {why}; {how}", dir.display()));
        }
    };
    names.sort();
    let paths = names.into_iter().map(|name| dir.join(name));
    Ok(paths.filter(|path| entry.takes(path)).collect())
}

/// Adds the sources and streams of one file.
fn take_in(
    document: &mut Document,
    path: &Path,
    files: &dyn Files,
    env: &dyn Fn(&str) -> Option<String>,
    faults: &mut Faults,
) {
    match files.text(path) {
        Ok(text) => {
            if let Some(part) = typed::read_part(path, &text, env, faults) {
                document.sources.extend(part.sources);
                document.streams.extend(part.streams);
            }
        }
        Err(why) => faults.push(Place::File(path.display().to_string().into()), "include", why),
    }
}

/// In one file, TOML has no table twice.
fn refuse_repeated_streams(streams: &[StreamTable], faults: &mut Faults) {
    for (index, table) in streams.iter().enumerate() {
        let name = &table.name.value;
        if let Some(first) = streams[..index].iter().find(|first| first.name.value == *name) {
            let place = &first.name.place;
            faults.add(table.name.fault(format!("[stream.{name}] stands at {place}, too; keep one of them")));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the files that a configuration includes")]
impl Files for OnDisk {
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn text(&self, path: &Path) -> Result<String, String> {
        let unreadable = |why: io::Error| {
            let how = self.why_denied(path, &why).unwrap_or_else(|| "make it readable".to_owned());
            format!("cannot be read: {why}; {how}, or leave it out of `include`")
        };
        // Before it is opened, which waits for a writer where it is a FIFO.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err("is no regular file; leave it out of `include`".to_owned());
        }
        std::fs::read_to_string(path).map_err(unreadable)
    }

    fn why_denied(&self, path: &Path, why: &io::Error) -> Option<String> {
        (why.kind() == io::ErrorKind::PermissionDenied).then(|| (self.why_denied)(path)).flatten()
    }
}

#[cfg(test)]
mod tests;
