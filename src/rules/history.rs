//! The bytes that lead up to an offset: how a file is known to be the one that was read before.
//!
//! A file can be truncated and grow past the old offset between two looks; its size and inode then say nothing.
//! So every read begins a little before the offset, and those bytes must be the ones that were read last time.
//! A hash of the bytes goes into the checkpoint, so that the question can be asked after a restart. A digest over all
//! that was settled goes there, too: it tells whether another file is a copy.
//!
//! Knows what was read and not yet settled, as shared slices. Does not read.
//!
//! *Invariant:* holds at most what lies between the frontier and the position, and [`WINDOW_BYTES`] before it; where that is
//! nothing, no byte. Of what was let go of between them, there is a mark at each place where a frontier or a range may come to
//! end.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::content::{BLOCK_BYTES, Digest};
use crate::model::identity::{Fingerprint, HEAD_BYTES, WINDOW_BYTES, Window};
use crate::model::offset::Offset;

/// What was read of one incarnation, as far as it is still needed.
#[derive(Clone, Debug)]
pub struct History {
    /// Contiguous up to `position`.
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    held: usize,
    /// The end of what was read as complete lines.
    position: Offset,
    /// What must come just before `position` when no byte of it is in memory: after a restart, and while everything is
    /// settled.
    expected: Window,
    /// Of what was settled; `None` where the beginning was not read, or not by this version.
    settled: Option<Digest>,
    /// `None` where nothing was let go of.
    let_go: Option<Box<LetGo>>,
}

/// What is known of bytes behind the frontier that are in memory no more.
#[derive(Clone, Debug)]
struct LetGo {
    /// Where it ends.
    until: Offset,
    /// Of what lies before `until`, where all of that was read.
    digest: Option<Digest>,
    /// In the order of the file.
    marks: VecDeque<Mark>,
}

/// What a checkpoint says of a place.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Offset,
    window: Window,
    digest: Option<Digest>,
}

/// What a mark takes in memory, in bytes.
const MARK_BYTES: u64 = size_of::<Mark>() as u64;

impl History {
    /// A history that ends at `position` and knows only the window before it, and the digest of all before it, if that
    /// was kept.
    pub fn resumed(position: Offset, expected: Window, settled: Option<Digest>) -> Self {
        let settled = match position {
            Offset::ZERO => Some(Digest::beginning()),
            _ => settled.filter(|settled| settled.to() == Digest::end_before(position.bytes())),
        };
        Self { chunks: VecDeque::new(), held: 0, position, expected, settled, let_go: None }
    }

    /// The beginning of a file.
    pub fn beginning() -> Self {
        Self::resumed(Offset::ZERO, Window::default(), None)
    }

    /// Where the next line begins.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// How many bytes before the position the next read must begin.
    pub fn overlap(&self) -> usize {
        if self.held > 0 { self.held.min(WINDOW_BYTES) } else { usize::from(self.expected.len()) }
    }

    /// Whether `before`, [`overlap`](Self::overlap) bytes just read from before the position, are the ones that
    /// were there last time.
    pub fn continues(&self, before: &[u8]) -> bool {
        if self.held == 0 {
            return before.len() == self.overlap() && self.expected.matches(before);
        }
        let mut left = before;
        for chunk in self.chunks.iter().rev() {
            let part = left.len().min(chunk.len());
            let (rest, end) = left.split_at(left.len() - part);
            if end != &chunk[chunk.len() - part..] {
                return false;
            }
            left = rest;
        }
        left.is_empty()
    }

    /// Seeds the history with the bytes before the position, once they have been checked, where it holds none.
    pub fn recall(&mut self, before: Bytes) {
        if self.held == 0 && !before.is_empty() {
            self.held = before.len();
            self.chunks.push_back(before);
        }
    }

    /// Takes in complete lines that were read at the position, after [`recall`](Self::recall) of what the read found before it.
    pub fn push(&mut self, lines: Bytes) {
        self.position = self.position.plus(lines.len() as u64);
        self.held += lines.len();
        if !lines.is_empty() {
            self.chunks.push_back(lines);
        }
    }

    /// The digest of what was settled, if all of it was read.
    pub fn settled(&self) -> Option<Digest> {
        self.settled
    }

    /// How many bytes a digest covers of what was read, if all of that was read.
    pub fn provable_bytes(&self) -> Option<u64> {
        self.settled.map(|_| Digest::end_before(self.position.bytes()))
    }

    /// The digest of all whole blocks before the position, if all of that was read.
    pub fn digest(&self) -> Option<Digest> {
        self.digest_to(self.position)
    }

    /// The digest of all whole blocks before `end`, which lies between what was settled and the position: where bytes were
    /// let go of, at a mark.
    fn digest_to(&self, end: Offset) -> Option<Digest> {
        if let Some(mark) = self.mark(end) {
            return mark.digest;
        }
        let beyond = self.let_go.as_ref().filter(|let_go| end >= let_go.until);
        self.go_on(beyond.map_or(self.settled, |let_go| let_go.digest)?, end)
    }

    /// `digest`, and all whole blocks from there on before `end`, of what is held.
    fn go_on(&self, mut digest: Digest, end: Offset) -> Option<Digest> {
        let end = Digest::end_before(end.bytes());
        // Where the chunk begins that is looked at.
        let mut at = self.position.bytes() - self.held as u64;
        let mut block = Vec::new();
        for chunk in &self.chunks {
            if digest.to() >= end {
                break;
            }
            // What was taken in of the block that is not whole lies before this chunk.
            let next = digest.to() + block.len() as u64;
            let from = usize::try_from(next.checked_sub(at)?).unwrap_or(usize::MAX).min(chunk.len());
            let until = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(chunk.len());
            let mut bytes = chunk.get(from..until).unwrap_or_default();
            at += chunk.len() as u64;
            if !block.is_empty() {
                let missing = bytes.len().min(BLOCK_BYTES - block.len());
                block.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                if digest.push(&block) == 0 {
                    continue;
                }
                block.clear();
            }
            let whole = digest.push(bytes);
            block.extend_from_slice(&bytes[whole..]);
        }
        (digest.to() == end).then_some(digest)
    }

    /// Lets go of what lies more than a window before the frontier.
    pub fn settle(&mut self, frontier: Offset) {
        if self.settled.is_some_and(|settled| settled.to() < Digest::end_before(frontier.bytes())) {
            self.settled = self.digest_to(frontier);
        }
        if let Some(let_go) = &mut self.let_go {
            while let_go.marks.front().is_some_and(|mark| mark.at < frontier) {
                let_go.marks.pop_front();
            }
        }
        self.let_go.take_if(|let_go| frontier >= let_go.until);
        if frontier >= self.position && self.held > 0 {
            return self.come_to_rest();
        }
        self.drop_before(frontier.max(self.let_go_until()));
    }

    /// Everything is settled: what a checkpoint holds says as much of an idle file as the bytes do, and a slice of them,
    /// however short, would keep all of the read that it was cut from.
    fn come_to_rest(&mut self) {
        self.expected = self.window(self.position);
        self.held = 0;
        self.chunks = VecDeque::new();
    }

    /// Lets go of what lies before `until`, of which no record needs anything any more. `edges` are all places before it, from
    /// what is held on, where a frontier or a range may come to end.
    pub fn let_go(&mut self, edges: &[Offset], until: Offset) {
        let before = self.let_go.take().map(|let_go| *let_go);
        let (mut digest, mut marks) = match before {
            Some(LetGo { digest, marks, .. }) => (digest, marks),
            None => (self.settled, VecDeque::new()),
        };
        for at in edges.iter().copied() {
            let window = self.window(at);
            digest = digest.and_then(|digest| self.go_on(digest, at));
            marks.push_back(Mark { at, window, digest });
        }
        let digest = digest.and_then(|digest| self.go_on(digest, until));
        self.let_go = Some(Box::new(LetGo { until, digest, marks }));
        self.drop_before(until);
    }

    /// From where on what was read is held, or zero where that is the frontier.
    pub fn let_go_until(&self) -> Offset {
        self.let_go.as_ref().map_or(Offset::ZERO, |let_go| let_go.until)
    }

    /// What the marks take in memory, in bytes.
    pub fn marks_bytes(&self) -> u64 {
        self.let_go.as_ref().map_or(0, |let_go| let_go.marks.len() as u64 * MARK_BYTES)
    }

    fn mark(&self, at: Offset) -> Option<&Mark> {
        let marks = &self.let_go.as_ref()?.marks;
        marks.get(marks.binary_search_by_key(&at, |mark| mark.at).ok()?)
    }

    /// Drops chunks that hold nothing from a window, and a block, before `from` on.
    fn drop_before(&mut self, from: Offset) {
        let after = usize::try_from(self.position.since(from)).unwrap_or(usize::MAX);
        let needed = after.saturating_add(WINDOW_BYTES.max(BLOCK_BYTES));
        while let Some(front) = self.chunks.front()
            && self.held - front.len() >= needed
        {
            self.held -= front.len();
            self.chunks.pop_front();
        }
    }

    /// The window just before `frontier`, which must not lie behind the last [`settle`](Self::settle).
    pub fn window(&self, frontier: Offset) -> Window {
        if let Some(mark) = self.mark(frontier) {
            return mark.window;
        }
        if self.held == 0 {
            return self.expected;
        }
        let after = usize::try_from(self.position.since(frontier)).unwrap_or(usize::MAX);
        let mut before = Vec::with_capacity(WINDOW_BYTES);
        self.copy_before(after, &mut before);
        Window::at_end_of(&before)
    }

    /// Appends to `to` the up to [`WINDOW_BYTES`] bytes that end `after` bytes before the position.
    fn copy_before(&self, after: usize, to: &mut Vec<u8>) {
        let end = self.held.saturating_sub(after);
        let start = end.saturating_sub(WINDOW_BYTES);
        let mut at = 0;
        for chunk in &self.chunks {
            let from = start.clamp(at, at + chunk.len()) - at;
            let until = end.clamp(at, at + chunk.len()) - at;
            to.extend_from_slice(&chunk[from..until]);
            at += chunk.len();
        }
    }
}

/// The beginning of one incarnation, collected until a fingerprint covers all it may.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Dropped once complete.
    bytes: Vec<u8>,
    fingerprint: Fingerprint,
}

impl Head {
    /// A file that begins with `head`.
    pub fn of(head: &[u8]) -> Self {
        let mut new = Self::default();
        new.push(Offset::ZERO, head);
        new
    }

    /// Takes in `bytes` read at `at`; anything that does not continue the head is ignored.
    pub fn push(&mut self, at: Offset, bytes: &[u8]) {
        let len = usize::from(self.fingerprint.len());
        if len == HEAD_BYTES {
            return;
        }
        let known = usize::try_from(Offset::new(len as u64).since(at)).unwrap_or(usize::MAX);
        if at.bytes() > len as u64 || known >= bytes.len() {
            return;
        }
        let fresh = &bytes[known..];
        self.bytes.extend_from_slice(&fresh[..fresh.len().min(HEAD_BYTES - len)]);
        self.fingerprint = Fingerprint::of(&self.bytes);
        if self.bytes.len() == HEAD_BYTES {
            self.bytes = Vec::new();
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_resumed_history_asks_for_its_window_and_knows_it_again() {
        let history = History::resumed(Offset::new(500), Window::at_end_of(b"the last line\n"), None);
        assert_eq!(history.overlap(), 14);
        assert!(history.continues(b"the last line\n"));
        assert!(!history.continues(b"another line!\n"));
        assert!(!history.continues(b""), "a file that is too short is another one");
    }

    #[test]
    fn the_beginning_of_a_file_expects_nothing_before_it() {
        let history = History::beginning();
        assert_eq!(history.overlap(), 0);
        assert!(history.continues(b""));
    }

    #[test]
    fn a_digest_goes_on_after_a_restart_from_the_window_before_the_position() {
        let file: Vec<u8> = (0..=250).cycle().take(5_000).collect();
        let of = |content: &[u8]| {
            let mut digest = Digest::beginning();
            let _ = digest.push(content);
            digest
        };
        for position in [1, 255, 256, 257, 1_000, 2_048] {
            let window = Window::at_end_of(&file[..position]);
            let at = Offset::new(position as u64);
            let mut history = History::resumed(at, window, Some(of(&file[..position])));
            history.recall(Bytes::copy_from_slice(&file[position - history.overlap()..position]));
            history.push(Bytes::copy_from_slice(&file[position..4_000]));
            history.settle(Offset::new(3_000));
            assert_eq!(history.settled(), Some(of(&file[..3_000])), "from {position}");
            assert_eq!(history.digest(), Some(of(&file[..4_000])), "from {position}");
        }
        let unknown = History::resumed(Offset::new(300), Window::at_end_of(&file[..300]), None);
        assert_eq!((unknown.settled(), unknown.digest()), (None, None), "who did not read it proves nothing");
    }

    #[test]
    fn an_idle_history_holds_no_bytes_and_asks_for_its_window() {
        let mut history = History::beginning();
        history.push(Bytes::from(vec![b'x'; 100_000]));
        history.settle(Offset::new(100_000));
        assert_eq!((history.held, history.chunks.capacity()), (0, 0));
        assert_eq!(history.overlap(), WINDOW_BYTES);
        assert!(history.continues(&[b'x'; WINDOW_BYTES]) && !history.continues(&[b'y'; WINDOW_BYTES]));
    }

    #[test]
    fn a_head_grows_with_the_file_and_then_stays() {
        let text: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let mut head = Head::of(&text[..10]);
        head.push(Offset::new(5), &text[5..700]);
        head.push(Offset::new(900), &text[900..]);
        assert_eq!(head.fingerprint(), Fingerprint::of(&text[..700]), "a gap is not part of the head");
        head.push(Offset::new(700), &text[700..]);
        assert_eq!(head.fingerprint(), Fingerprint::of(&text));
        assert!(head.bytes.is_empty());
    }

    proptest! {
        /// Whatever was pushed and settled, the window at the frontier is that of the file itself.
        #[test]
        fn the_window_at_the_frontier_is_that_of_the_file(
            lens in proptest::collection::vec(1usize..700, 1..12),
            settles in proptest::collection::vec(0.0f64..=1.0, 12),
        ) {
            let mut file = Vec::new();
            let mut history = History::beginning();
            let mut frontier = 0usize;
            for (len, settle) in lens.iter().zip(settles) {
                let chunk: Vec<u8> = (0..*len).map(|i| u8::try_from((i * 7 + file.len()) % 251).expect("small")).collect();
                // Each read brings the bytes before the position along.
                history.recall(Bytes::copy_from_slice(&file[file.len() - history.overlap()..]));
                file.extend_from_slice(&chunk);
                history.push(Bytes::from(chunk));
                frontier += ((file.len() - frontier) as f64 * settle) as usize;
                history.settle(Offset::new(frontier as u64));
                prop_assert_eq!(history.window(Offset::new(frontier as u64)), Window::at_end_of(&file[..frontier]));
                let before = &file[file.len() - history.overlap()..];
                prop_assert!(history.continues(before));
                let mut other = before.to_vec();
                other[0] ^= 1;
                prop_assert!(!history.continues(&other));
                let mut digest = Digest::beginning();
                let _ = digest.push(&file[..frontier]);
                prop_assert_eq!(history.settled(), Some(digest));
                let mut digest = Digest::beginning();
                let _ = digest.push(&file);
                prop_assert_eq!(history.digest(), Some(digest));
                let idle = History::resumed(Offset::new(frontier as u64), history.window(Offset::new(frontier as u64)), history.settled());
                prop_assert_eq!(idle.settled(), history.settled());
            }
        }
    }
}
