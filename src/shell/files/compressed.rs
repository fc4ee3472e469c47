//! Reading what a rotator compressed before it was delivered.
//!
//! Knows gzip, and gives positional reads over what was compressed. Reads go forward, so one decoder serves them
//! all; going back further than it remembers begins again. Called by the daemon on blocking threads.
//!
//! *Invariant:* holds at most what one read asks for and three times [`KEPT_BYTES`], whatever the file says of itself.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::Reach;
use crate::engine::port::{FileFault, Opened};
use crate::model::identity::HEAD_BYTES;
use crate::model::limits::RECORD_BYTES;
use crate::model::offset::Offset;

/// What is remembered before the furthest byte: more than a read begins before the end of the last.
const KEPT_BYTES: usize = 2 * RECORD_BYTES;

const CHUNK_BYTES: usize = 64 * 1024;

/// One compressed file.
#[derive(Debug)]
pub struct Compressed {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    decoder: Option<MultiGzDecoder<BufReader<File>>>,
    /// What was decompressed last, and where it begins.
    recent: Vec<u8>,
    start: u64,
    ended: bool,
}

/// Opens a compressed file as [`open`](super::open()) opens any; size and beginning are those of what was compressed.
///
/// The size is what the format says of it: its last member's, modulo 4 GiB.
///
/// # Errors
/// Those of [`open`](super::open()), and [`FileFault::Unreadable`] when it does not begin like gzip.
pub fn open_compressed(path: &Path, reach: Reach<'_>) -> Result<(Compressed, Opened), FileFault> {
    let (file, opened) = super::open(path, reach)?;
    let mut size = [0; 4];
    let size = match file.read_exact_at(&mut size, opened.size.saturating_sub(4)) {
        Ok(()) => u32::from_le_bytes(size).into(),
        Err(_) => 0,
    };
    let compressed = Compressed { file, state: Mutex::default() };
    let head = compressed.read(Offset::ZERO, HEAD_BYTES).map_err(|fault| match fault {
        FileFault::Unreadable(why) => FileFault::Unreadable(format!("{}: {why}", path.display())),
        other => other,
    })?;
    Ok((compressed, Opened { size, head, ..opened }))
}

/// What a record that is compressed by gzip holds.
///
/// # Errors
/// When it is no gzip.
pub fn decompressed(record: &[u8]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    MultiGzDecoder::new(record).read_to_end(&mut all)?;
    Ok(all)
}

impl Compressed {
    /// Reads `len` bytes at `at` of what was compressed; fewer only at its end.
    ///
    /// # Errors
    /// [`FileFault::Unreadable`] for what is not gzip, or not yet whole; the next read begins again.
    pub fn read(&self, at: Offset, len: usize) -> Result<Bytes, FileFault> {
        // A thread that panicked ends the process; what it left is dropped with it.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.read(&self.file, at.bytes(), len).map_err(|fault| {
            *state = State::default();
            FileFault::Unreadable(format!("decompressing up to offset {at}: {fault}"))
        })
    }
}

impl State {
    fn read(&mut self, file: &File, at: u64, len: usize) -> std::io::Result<Bytes> {
        if self.decoder.is_none() || at < self.start {
            let mut file = file.try_clone()?;
            file.rewind()?;
            *self = Self { decoder: Some(MultiGzDecoder::new(BufReader::new(file))), ..Self::default() };
        }
        let decoder = self.decoder.as_mut().expect("just made");
        let until = at + len as u64;
        while !self.ended && self.start + (self.recent.len() as u64) < until {
            let before = self.recent.len();
            self.recent.resize(before + CHUNK_BYTES, 0);
            let got = decoder.read(&mut self.recent[before..])?;
            self.recent.truncate(before + got);
            self.ended = got == 0;
            // What lies before the read is remembered so far and no further.
            let behind =
                usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX).min(self.recent.len());
            if behind > 2 * KEPT_BYTES {
                self.start += (behind - KEPT_BYTES) as u64;
                self.recent.drain(..behind - KEPT_BYTES);
            }
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX).min(self.recent.len());
        let until = self.recent.len().min(from.saturating_add(len));
        Ok(Bytes::copy_from_slice(&self.recent[from..until]))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests make the files that are read")]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn lines() -> Vec<u8> {
        (0..400_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
    }

    fn compressed(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log.1.gz");
        let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap();
        (dir, path)
    }

    #[test]
    fn reads_give_what_was_compressed_forwards_and_back() {
        let content = lines();
        let (_dir, path) = compressed(&content);
        let (file, opened) = open_compressed(&path, Reach::NoLink).unwrap();
        assert_eq!(opened.size, content.len() as u64);
        assert_eq!(opened.head, content[..HEAD_BYTES]);
        for (at, len) in
            [(0, 10), (5, 300_000), (4_900_000, 1_000), (4_899_000, 2_000), (7, 9), (5_200_000, 900_000)]
        {
            let expected = &content[at.min(content.len())..content.len().min(at + len)];
            assert!(file.read(Offset::new(at as u64), len).unwrap() == expected, "{len} bytes at {at}");
        }
        assert_eq!(file.read(Offset::new(content.len() as u64), 10).unwrap(), "");
        let held = file.state.lock().unwrap().recent.len();
        assert!(held <= 3 * KEPT_BYTES + 900_000, "{held} bytes are held");
    }

    #[test]
    fn what_is_not_whole_is_an_error_and_no_end() {
        let content = lines();
        let (_dir, path) = compressed(&content);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let (file, _) = open_compressed(&path, Reach::NoLink).unwrap();
        let end = Offset::new(content.len() as u64 - 10);
        assert!(matches!(file.read(end, 10), Err(FileFault::Unreadable(_))));
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(file.read(end, 100).unwrap(), content[content.len() - 10..]);
        std::fs::write(&path, "no gzip at all").unwrap();
        assert!(matches!(open_compressed(&path, Reach::NoLink), Err(FileFault::Unreadable(_))));
    }
}
