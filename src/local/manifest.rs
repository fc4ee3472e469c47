//! Which record lies where: a line of JSON for each, for audits.
//!
//! Knows one file for each delivery stream, `DIR/<stream>/manifest.jsonl`, and its lines. Deliberately knows nothing of
//! when a delivery counts. Blocks: called by `destination` for each file that it delivered.
//!
//! *Invariant:* whole lines only, also after a crash; a record has one line for each time it was delivered.
#![expect(clippy::disallowed_methods, reason = "the manifest is a file")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ids::{Labels, RecordId};
use super::json::json_bytes;

/// The file's name below the delivery stream's directory.
const NAME: &str = "manifest.jsonl";

/// The manifest of one delivery stream.
#[derive(Debug)]
pub(super) struct Manifest {
    path: PathBuf,
    file: Option<File>,
}

/// One record.
#[derive(Serialize)]
struct Line<'a> {
    record_id: RecordId,
    /// The file that it is in, below the destination's directory.
    object: &'a str,
    /// Where it begins in it, in bytes.
    offset: u64,
    /// In bytes.
    length: u32,
}

impl Manifest {
    /// The manifest in `directory`. Nothing is touched before the first line.
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.join(NAME), file: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line for each record in `object`, and returns when they are durable.
    pub(super) fn note(&mut self, object: &str, labels: &[Labels]) -> io::Result<()> {
        let mut text = Vec::new();
        let mut offset = 0;
        for (record_id, length) in labels.iter().flat_map(Labels::iter) {
            text.extend(json_bytes(&Line { record_id, object, offset, length }));
            text.push(b'\n');
            offset += u64::from(length);
        }
        let mut file = match self.file.take() {
            // Somebody may have removed it.
            Some(file) if self.path.exists() => file,
            _ => open(&self.path)?,
        };
        let end = file.stream_position()?;
        if let Err(error) = file.write_all(&text).and_then(|()| file.sync_data()) {
            // Half of it is of no use; when this fails too, the next start mends it.
            let _ = file.set_len(end);
            return Err(error);
        }
        self.file = Some(file);
        Ok(())
    }
}

/// At its end, which is behind its last whole line.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    if let Some(directory) = path.parent() {
        // A new file is an entry of its directory.
        File::open(directory)?.sync_all()?;
    }
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        end -= 1;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::ids::Kept;
    use super::*;

    #[test]
    fn each_record_has_a_line_that_says_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::new(dir.path());
        let labels = [Kept::of(7, &["ab", ""]).labels, Kept::of(20, &["c\n"]).labels];
        manifest.note("app/x", &labels).unwrap();
        let text = fs::read_to_string(manifest.path()).unwrap();
        let id = |number: u64| format!("{number:048x}");
        let lines: Vec<_> = [(7, 0, 2), (8, 2, 0), (20, 2, 2)]
            .map(|(number, offset, length)| {
                format!(
                    "{{\"record_id\":\"{}\",\"object\":\"app/x\",\"offset\":{offset},\"length\":{length}}}\n",
                    id(number)
                )
            })
            .into();
        assert_eq!(text, lines.concat());
    }

    #[test]
    fn a_line_that_breaks_off_is_gone_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let labels = [Kept::of(0, &["a"]).labels];
        Manifest::new(dir.path()).note("one", &labels).unwrap();
        let path = dir.path().join(NAME);
        let whole = fs::read_to_string(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            Manifest::new(dir.path()).note("two", &labels).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let kept = if cut == whole.len() { whole.as_str() } else { "" };
            assert_eq!(text, kept.to_owned() + &whole.replace("one", "two"), "cut at {cut}");
        }
    }

    #[test]
    fn a_manifest_that_was_removed_begins_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::new(dir.path());
        let labels = [Kept::of(0, &["a"]).labels];
        manifest.note("one", &labels).unwrap();
        fs::remove_file(manifest.path()).unwrap();
        manifest.note("two", &labels).unwrap();
        assert!(fs::read_to_string(manifest.path()).unwrap().contains("two"));
    }
}
