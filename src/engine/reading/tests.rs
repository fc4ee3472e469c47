//! Reading within the memory budget.

mod looks;
mod room;

use std::time::Duration;

use bytes::Bytes;

use crate::engine::port::{Effect, Event, Hint, Observation, Observed, Opened};
use crate::engine::samples::disk::lines;
use crate::engine::samples::{at, identity, path, settings};
use crate::engine::{Engine, Memory};
use crate::model::identity::HEAD_BYTES;
use crate::model::settings::{
    Api, Compression, Grouping, MemorySettings, Multiline, Order, Packing, Settings, SourceId, StartPattern,
    StreamId,
};
use crate::model::verdict::{Encrypted, Outcome, Verdict};

/// Two files, each in a source and a stream of its own; the service never answers the first stream.
struct World {
    engine: Engine,
    /// What is in the files, by source.
    contents: [Vec<u8>; 2],
    /// What the second stream accepted.
    sent: Vec<u8>,
    /// In how many records.
    records: usize,
}

impl World {
    fn new(buffer: u64) -> Self {
        Self::of(settings(2), buffer)
    }

    fn of(mut settings: Settings, buffer: u64) -> Self {
        settings.memory = MemorySettings { buffer, buffer_per_file: buffer };
        Self::with(settings)
    }

    fn with(settings: Settings) -> Self {
        let engine = Engine::try_new(settings, Memory::default(), 0, at(0)).expect("delays in order");
        Self { engine, contents: Default::default(), sent: Vec::new(), records: 0 }
    }

    fn pass(&mut self, seconds: std::ops::Range<u64>) {
        for second in seconds {
            self.see(Event::Tick, second);
        }
    }

    fn see(&mut self, event: Event, second: u64) {
        let mut waiting = vec![event];
        while let Some(event) = waiting.pop() {
            self.engine.handle(event, at(second));
            self.engine.check_laws();
            while let Some(effect) = self.engine.poll_effect() {
                waiting.extend(self.answer(effect, second));
            }
        }
    }

    fn answer(&mut self, effect: Effect, second: u64) -> Option<Event> {
        let unix_time = Duration::from_secs(second);
        let place = |file: u64| usize::try_from(file).expect("small");
        Some(match effect {
            Effect::Survey(survey) => {
                let content = &self.contents[survey.source.0];
                let file = Observed {
                    path: path(&format!("{}.log", survey.source.0)),
                    target: None,
                    identity: identity(survey.source.0 as u64 + 1),
                    size: content.len() as u64,
                    owner: 0,
                    modified: None,
                    is_matched: true,
                    rotated_from: Vec::new(),
                    is_told: false,
                };
                let files = (!content.is_empty()).then_some(file).into_iter().collect();
                let (source, hidden, held) =
                    (survey.source, crate::model::hidden::Hidden::default(), Vec::new());
                Event::Observed(Observation { source, files, hidden, held, unix_time })
            }
            Effect::Open(open) => {
                let content = &self.contents[open.source.0];
                let head = Bytes::copy_from_slice(&content[..content.len().min(HEAD_BYTES)]);
                let (identity, size) = (identity(open.source.0 as u64 + 1), content.len() as u64);
                Event::Opened {
                    file: open.file,
                    result: Ok(Opened { identity, size, head, held: None, place: None }),
                }
            }
            Effect::Read(read) => {
                let SourceId(source) = self.engine.files.known(read.file).source;
                let content = &self.contents[source];
                let from = place(read.at.bytes()).min(content.len());
                let to = (from + read.len).min(content.len());
                let bytes = Bytes::copy_from_slice(&content[from..to]);
                Event::Bytes {
                    file: read.file,
                    result: Ok(bytes),
                    unix_time,
                    modified: None,
                    room: 0,
                    begins: true,
                }
            }
            Effect::Put(put) if put.lane.stream == StreamId(1) => {
                self.sent.extend(put.records.iter().flatten());
                self.records += put.records.len();
                let verdicts =
                    vec![Verdict::Delivered { encrypted: Encrypted::No, id: None }; put.records.len()];
                let outcome = Outcome { verdicts, took: Duration::ZERO };
                Event::PutDone { request: put.request, outcome }
            }
            Effect::Save(_) => Event::Saved(Ok(())),
            _ => return None,
        })
    }
}

/// The line is longer than half of what its stream may always hold, and shorter than all of it.
#[test]
fn l15_a_long_line_is_read_while_another_stream_holds_all_that_is_common() {
    let mut world = World::new(384 * 1024);
    world.contents[0] = lines("held", 0..60_000);
    world.pass(1..5);
    let mut content = lines("short", 0..2_000);
    for long in [60, 70, 80] {
        content.extend(vec![b'x'; long * 1024]);
        content.push(b'\n');
        content.extend(lines("short", 2_000..2_010));
    }
    world.contents[1] = content.clone();
    world.pass(5..30);
    assert!(world.sent == content, "{} of {} bytes", world.sent.len(), content.len());
}

/// A program draws a progress bar behind a message of several lines.
#[test]
fn a_group_is_complete_after_its_timeout_though_a_line_without_newline_grows_behind_it() {
    let mut settings = settings(2);
    settings.sources[1].multiline = Some(Multiline {
        grouping: Grouping::Start(StartPattern::try_new("^[0-9]").expect("a regular expression")),
        max_lines: 100,
        timeout: Duration::from_secs(3),
    });
    let mut world = World::with(settings);
    world.contents[1] = b"1 a\n b\n".to_vec();
    for second in 1..10 {
        world.contents[1].push(b'.');
        world.see(Event::Hint(Hint::Grown(path("1.log"))), second);
        world.pass(second..second + 1);
        if second < 3 {
            assert_eq!(world.sent, b"", "more may come, in second {second}");
        }
    }
    assert_eq!(world.sent, b"1 a\n b\n");
    // What goes on after that is a message of its own.
    world.contents[1].extend(b"\n2 c\n");
    world.see(Event::Hint(Hint::Grown(path("1.log"))), 10);
    assert_eq!(world.sent, b"1 a\n b\n.........\n");
}

/// One record after the other is answered, and each answer makes room for as much as it held.
#[test]
fn what_is_compressed_is_read_in_long_reads_however_full_the_memory_is() {
    let mut settings = settings(2);
    for stream in &mut settings.streams {
        (stream.api, stream.order) = (Api::PutRecord, Order::PerFile);
        stream.packing =
            Packing::On { bytes: 1_000_000, delay: Duration::from_millis(1), compression: Compression::Gzip };
    }
    let mut world = World::of(settings, 2 * 1024 * 1024);
    world.contents[1] = lines("a line that compresses", 0..300_000);
    world.pass(1..60);
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&world.sent[..]), &mut text)
        .expect("gzip");
    let len = world.contents[1].len();
    assert!(text == world.contents[1], "{} of {len} bytes", text.len());
    assert!(world.records <= len / (200 * 1024), "{} records of {len} bytes", world.records);
}
