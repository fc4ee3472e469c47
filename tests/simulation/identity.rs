//! The table of verdicts, row by row: a position is stored, a file is found, and the engine says what it makes of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use standpipe::engine::port::{Effect, Event, Observation, Observed, Opened};
use standpipe::engine::report::Report;
use standpipe::engine::{Engine, Memory};
use standpipe::model::checkpoint::Checkpoint;
use standpipe::model::identity::{Fingerprint, HEAD_BYTES, Identity, Incarnation, Window};
use standpipe::model::offset::Offset;
use standpipe::model::settled::Settled;
use standpipe::model::time::Instant;

use super::climate::settings;

const TABLE: &str = include_str!("identity.tsv");

const STORED: Identity = Identity { device: 1, inode: 10, birth_nanos: Some(1_000) };
const MATCHED: &str = "/log/app.log";
const BESIDE: &str = "/log/app.log.1";
const LINE_BYTES: usize = 50;
const OFFSET: usize = 30 * LINE_BYTES;

#[test]
fn identity_table() {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    let mut count = 0;
    for row in rows {
        let columns: Vec<_> = row.split('\t').collect();
        let [path, inode, birth, head, window, size, verdict] = columns[..] else { panic!("{row}") };
        let found = Found::new(inode, birth, head, window, size);
        assert_eq!(verdict_of(path, &found), verdict, "{row}");
        count += 1;
    }
    assert_eq!(count, 3 * 2 * 3 * 3 * 2 * 3, "every tuple has its row");
}

/// What was stored, and the file that is found.
struct Found {
    stored: Identity,
    seen: Identity,
    head: Vec<u8>,
    content: Vec<u8>,
}

fn original() -> Vec<u8> {
    (0..40).flat_map(|number| format!("{number:0width$}\n", width = LINE_BYTES - 1).into_bytes()).collect()
}

impl Found {
    fn new(inode: &str, birth: &str, head: &str, window: &str, size: &str) -> Self {
        let (mut stored, mut seen) = (STORED, STORED);
        match inode {
            "same" => {}
            "other" => seen.inode += 1,
            _ => panic!("inode {inode}"),
        }
        match birth {
            "same" => {}
            "other" => seen.birth_nanos = Some(2_000),
            "absent" => (stored.birth_nanos, seen.birth_nanos) = (None, None),
            _ => panic!("birth {birth}"),
        }
        let mut content = original();
        content.truncate(match size {
            "less" => OFFSET - LINE_BYTES,
            "equal" => OFFSET,
            "more" => OFFSET + 5 * LINE_BYTES,
            _ => panic!("size {size}"),
        });
        if window == "other" {
            let end = content.len().min(OFFSET);
            content[end - 10] = b'x';
        }
        if head == "other" {
            content[3] = b'x';
        }
        let seen_bytes = if head == "short" { HEAD_BYTES / 2 } else { HEAD_BYTES };
        Self { stored, seen, head: content[..seen_bytes].to_vec(), content }
    }
}

impl Found {
    /// What the engine learns when it asks; what becomes of records is another matter.
    fn answer(&self, path: &str, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Survey(request) => {
                let files = match path {
                    "same" => vec![self.observed(MATCHED, true)],
                    "sibling" if !request.also.is_empty() => vec![self.observed(BESIDE, false)],
                    _ => Vec::new(),
                };
                let (source, hidden, held) =
                    (request.source, standpipe::model::hidden::Hidden::default(), Vec::new());
                Some(Event::Observed(Observation { source, files, hidden, held, unix_time: Duration::ZERO }))
            }
            Effect::Open(open) => {
                let (size, head) = (self.content.len() as u64, self.head.clone().into());
                let opened = Opened { identity: self.seen, size, head, held: None, place: None };
                Some(Event::Opened { file: open.file, result: Ok(opened) })
            }
            Effect::Read(read) => {
                let from = usize::try_from(read.at.bytes()).expect("small").min(self.content.len());
                let until = self.content.len().min(from + read.len);
                let bytes = self.content[from..until].to_vec().into();
                Some(Event::Bytes {
                    file: read.file,
                    result: Ok(bytes),
                    unix_time: Duration::ZERO,
                    modified: None,
                    room: 0,
                    begins: true,
                })
            }
            Effect::Save(_) => Some(Event::Saved(Ok(()))),
            Effect::Compare(_)
            | Effect::Put(_)
            | Effect::Close(_)
            | Effect::Report(_)
            | Effect::Moved { .. }
            | Effect::Want(_)
            | Effect::Replayed { .. } => None,
        }
    }

    fn observed(&self, path: &str, is_matched: bool) -> Observed {
        let size = self.content.len() as u64;
        Observed {
            path: Arc::from(Path::new(path)),
            target: None,
            identity: self.seen,
            size,
            owner: 0,
            modified: None,
            is_matched,
            rotated_from: Vec::new(),
            is_told: false,
        }
    }
}

fn verdict_of(path: &str, found: &Found) -> &'static str {
    let original = original();
    let checkpoint = Checkpoint {
        incarnation: Incarnation(7),
        stream: "stream".into(),
        path: Path::new(MATCHED).into(),
        target: None,
        identity: found.stored,
        origin: found.stored.into(),
        seen: None,
        skipped_bytes: 0,
        fingerprint: Fingerprint::of(&original[..HEAD_BYTES]),
        offset: Offset::new(OFFSET as u64),
        window: Window::at_end_of(&original[..OFFSET]),
        settled: Settled::default(),
        seen_bytes: 0,
        proof: None,
    };
    let memory = Memory {
        checkpoints: vec![checkpoint],
        next_incarnation: 8,
        first_start: false,
        ..Memory::default()
    };
    let mut now = Instant::ZERO;
    let settings = settings(&mut fastrand::Rng::with_seed(0));
    let mut engine = Engine::try_new(settings, memory, 0, now).expect("the delays are in order");
    let mut verdict = "none";
    engine.handle(Event::Tick, now);
    while now < Instant::at(Duration::from_secs(3)) {
        while let Some(effect) = engine.poll_effect() {
            match &effect {
                Effect::Report(Report::Following { at, .. }) => {
                    verdict = if *at == Offset::ZERO { "beginning" } else { "resume" };
                }
                Effect::Report(Report::Truncated { .. }) => verdict = "beginning",
                _ => {}
            }
            if let Some(event) = found.answer(path, effect) {
                engine.handle(event, now);
            }
        }
        let next = engine.next_deadline(now).expect("there is always a next look");
        now = next.max(now + Duration::from_millis(1));
        engine.handle(Event::Tick, now);
    }
    verdict
}
