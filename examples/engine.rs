//! The engine, driven by hand: `cargo run --example engine`.
//!
//! Events go in, effects come out, and whoever drives it is clock, disk and service. The daemon answers with inotify,
//! descriptors, SQLite and the SDK, the simulation with a world that goes wrong, and this with one file that is a text.

#![expect(clippy::print_stdout, reason = "shows what happens")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use standpipe::config::Config;
use standpipe::engine::port::{Effect, Event, Observation, Observed, Opened};
use standpipe::engine::{Engine, Memory};
use standpipe::model::hidden::Hidden;
use standpipe::model::identity::Identity;
use standpipe::model::time::Instant;
use standpipe::model::verdict::{Encrypted, Outcome, Verdict};

const LOG: &[u8] = b"one line\nand another\nthe last one has no newline yet";
const FILE: Identity = Identity { device: 1, inode: 2, birth_nanos: Some(3) };

fn main() -> Result<(), Box<dyn Error>> {
    let text = "[[source]]\npaths = [\"/var/log/app.log\"]\nstream = \"logs\"\n";
    let config = Config::from_text(Path::new("example.toml"), text, &|_| None)?;
    let memory = Memory { first_start: true, ..Memory::default() };
    let mut engine = Engine::try_new(config.settings, memory, 0, Instant::ZERO)?;

    // Nothing passes but the time until the next deadline, so each run is the same.
    engine.handle(Event::Drain, Instant::ZERO);
    let mut now = Instant::ZERO;
    while !engine.is_done() {
        while let Some(effect) = engine.poll_effect() {
            if let Some(event) = answer(effect) {
                engine.handle(event, now);
            }
        }
        if let Some(deadline) = engine.next_deadline(now) {
            now = now.max(deadline);
            engine.handle(Event::Tick, now);
        }
    }
    Ok(())
}

/// The world: what is asked for is there, and every record is taken.
fn answer(effect: Effect) -> Option<Event> {
    match effect {
        Effect::Survey(survey) => Some(Event::Observed(Observation {
            source: survey.source,
            files: vec![Observed {
                path: PathBuf::from("/var/log/app.log").into(),
                target: None,
                identity: FILE,
                size: LOG.len() as u64,
                owner: 0,
                modified: None,
                is_matched: true,
                rotated_from: Vec::new(),
                is_told: false,
            }],
            hidden: Hidden::default(),
            held: Vec::new(),
            unix_time: Duration::ZERO,
        })),
        Effect::Open(open) => {
            let (size, head) = (LOG.len() as u64, Bytes::from_static(LOG));
            Some(Event::Opened {
                file: open.file,
                result: Ok(Opened { identity: FILE, size, head, held: None, place: None }),
            })
        }
        Effect::Read(read) => {
            let from = usize::try_from(read.at.bytes()).map_or(LOG.len(), |at| at.min(LOG.len()));
            let bytes = Bytes::from_static(&LOG[from..LOG.len().min(from + read.len)]);
            let (unix_time, modified, begins) = (Duration::ZERO, None, true);
            Some(Event::Bytes { file: read.file, result: Ok(bytes), unix_time, modified, room: 0, begins })
        }
        Effect::Put(put) => {
            for record in &put.records {
                println!("{:?}: {:?}", put.operation, String::from_utf8_lossy(record));
            }
            let taken = Verdict::Delivered { encrypted: Encrypted::No, id: None };
            let (verdicts, took) = (vec![taken; put.records.len()], Duration::from_millis(5));
            Some(Event::PutDone { request: put.request, outcome: Outcome { verdicts, took } })
        }
        Effect::Save(save) => {
            for checkpoint in &save.checkpoints {
                println!("durable: {} to byte {}", checkpoint.path.display(), checkpoint.offset.bytes());
            }
            Some(Event::Saved(Ok(())))
        }
        Effect::Report(report) => {
            println!("report: {report:?}");
            None
        }
        _ => None,
    }
}
