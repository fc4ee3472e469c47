//! One file, a service that answers when it is told to, and a person who moves the position.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::engine::Memory;
use crate::engine::port::{Event, MoveId, Observation, Observed, Opened, Put};
use crate::engine::samples::{at, identity, path, settings, stream_name};
use crate::model::checkpoint::Save;
use crate::model::identity::{Fingerprint, Window};
use crate::model::offset::Offset;
use crate::model::settings::SourceId;
use crate::model::verdict::{Encrypted, Outcome, Retry, RetryReason, Verdict};

const TEXT: &[u8] = b"one 1\ntwo 2\nthree 3\n";

struct Played {
    engine: Engine,
    seconds: u64,
    under_way: Vec<Put>,
    sent: Vec<Bytes>,
    /// What the database holds: positions by incarnation.
    saved: BTreeMap<Incarnation, u64>,
    /// Whether saves are answered.
    saves: bool,
    moved: Vec<Result<Vec<Moved>, NotMoved>>,
}

impl Played {
    fn begun() -> Self {
        let mut settings = settings(1);
        settings.streams[0].api = crate::model::settings::Api::PutRecord;
        let engine = Engine::try_new(settings, Memory::default(), 0, at(0)).expect("delays in order");
        let (under_way, sent, saved, moved) = (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
        let mut played = Self { engine, seconds: 0, under_way, sent, saved, saves: true, moved };
        played.tell(Event::Tick);
        played
    }

    fn tell(&mut self, event: Event) {
        self.engine.handle(event, at(self.seconds));
        self.engine.check_laws();
        while let Some(effect) = self.engine.poll_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let answer = match effect {
            Effect::Survey(survey) => Event::Observed(Observation {
                source: survey.source,
                files: if survey.source == SourceId(0) { vec![observed()] } else { Vec::new() },
                hidden: crate::model::hidden::Hidden::default(),
                held: Vec::new(),
                unix_time: Duration::from_secs(self.seconds),
            }),
            Effect::Open(open) => {
                let (identity, size) = (identity(1), TEXT.len() as u64);
                let result =
                    Ok(Opened { identity, size, head: Bytes::from_static(TEXT), held: None, place: None });
                Event::Opened { file: open.file, result }
            }
            Effect::Read(read) => {
                let from = (read.at.bytes() as usize).min(TEXT.len());
                let result = Ok(Bytes::from_static(&TEXT[from..(from + read.len).min(TEXT.len())]));
                Event::Bytes {
                    file: read.file,
                    result,
                    unix_time: Duration::ZERO,
                    modified: None,
                    room: 0,
                    begins: true,
                }
            }
            Effect::Put(put) => {
                self.sent.extend(put.records.iter().cloned());
                return self.under_way.push(put);
            }
            Effect::Save(save) if self.saves => {
                self.take(save);
                Event::Saved(Ok(()))
            }
            Effect::Save(_) => Event::Saved(Err("disk full".to_owned())),
            Effect::Moved { result, .. } => return self.moved.push(result),
            Effect::Compare(_)
            | Effect::Close(_)
            | Effect::Report(_)
            | Effect::Want(_)
            | Effect::Replayed { .. } => return,
        };
        self.engine.handle(answer, at(self.seconds));
    }

    fn take(&mut self, save: Save) {
        for checkpoint in save.checkpoints {
            self.saved.insert(checkpoint.incarnation, checkpoint.offset.bytes());
        }
        self.saved.retain(|incarnation, _| !save.forgotten.contains(incarnation));
    }

    /// Lets time pass, in which surveys come and saves are due.
    fn pass(&mut self) {
        for _ in 0..3 {
            self.seconds += 1;
            self.tell(Event::Tick);
        }
    }

    /// Every request under way gets this verdict.
    fn answer(&mut self, verdict: &Verdict) {
        for put in std::mem::take(&mut self.under_way) {
            let verdicts = vec![verdict.clone(); put.records.len()];
            let outcome = Outcome { verdicts, took: Duration::ZERO };
            self.tell(Event::PutDone { request: put.request, outcome });
        }
    }

    fn ask(&mut self, to: Option<u64>, stream: Option<&str>) {
        let position = |at: u64| Position {
            offset: Offset::new(at),
            fingerprint: Fingerprint::of(&TEXT[..at as usize]),
            window: Window::at_end_of(&TEXT[..at as usize]),
        };
        self.tell(Event::Move(Box::new(Move {
            number: MoveId(1),
            stream: stream.map(Arc::from),
            path: path("a.log"),
            target: None,
            identity: Some(identity(1)),
            to: to.map(position),
        })));
    }

    fn sent(&mut self) -> String {
        let sent = std::mem::take(&mut self.sent);
        sent.iter().map(|record| std::str::from_utf8(record).expect("text")).collect()
    }

    fn positions(&self) -> Vec<u64> {
        self.saved.values().copied().collect()
    }
}

fn observed() -> Observed {
    Observed {
        path: path("a.log"),
        target: None,
        identity: identity(1),
        size: TEXT.len() as u64,
        owner: 0,
        modified: None,
        is_matched: true,
        rotated_from: Vec::new(),
        is_told: false,
    }
}

fn delivered() -> Verdict {
    Verdict::Delivered { encrypted: Encrypted::No, id: None }
}

fn failed() -> Verdict {
    Verdict::Retry(Retry::new(RetryReason::Server, "InternalFailure", "m"))
}

fn moved_from(from: u64) -> Vec<Result<Vec<Moved>, NotMoved>> {
    vec![Ok(vec![Moved { stream: stream_name(0), from: Some(Offset::new(from)) }])]
}

#[test]
fn a_file_that_was_delivered_goes_on_where_a_person_wants() {
    for (to, again) in [(Some(0), "one 1\ntwo 2\nthree 3\n"), (Some(12), "three 3\n"), (Some(20), "")] {
        let mut played = Played::begun();
        played.answer(&delivered());
        played.pass();
        assert_eq!((played.sent().as_bytes(), played.positions()), (TEXT, vec![20]));
        played.ask(to, None);
        played.pass();
        assert_eq!(played.moved, moved_from(20));
        assert_eq!(played.sent(), again, "{to:?}");
        assert_eq!(played.positions(), to.into_iter().collect::<Vec<_>>(), "of one life");
        played.answer(&delivered());
        played.pass();
        assert_eq!(played.positions(), [20]);
    }
}

#[test]
fn a_file_that_is_forgotten_is_read_from_its_beginning_as_another_life() {
    let mut played = Played::begun();
    played.answer(&delivered());
    played.pass();
    let before: Vec<_> = played.saved.keys().copied().collect();
    drop(played.sent());
    played.ask(None, None);
    played.pass();
    assert_eq!((played.moved.clone(), played.sent().as_bytes()), (moved_from(20), TEXT));
    assert_eq!(played.positions(), [0]);
    assert!(!played.saved.contains_key(&before[0]), "another incarnation");
}

#[test]
fn what_is_under_way_when_the_position_moves_settles_nothing_of_the_new_life() {
    for verdict in [delivered(), failed()] {
        let mut played = Played::begun();
        assert_eq!(played.sent().as_bytes(), TEXT);
        let earlier = std::mem::take(&mut played.under_way);
        played.ask(Some(6), None);
        played.pass();
        assert_eq!(played.moved, moved_from(0));
        assert_eq!((played.sent().as_str(), played.positions()), ("two 2\nthree 3\n", vec![6]));
        let fresh = std::mem::replace(&mut played.under_way, earlier);
        played.answer(&verdict);
        played.pass();
        assert_eq!((played.sent().as_str(), played.positions()), ("", vec![6]), "{verdict:?}");
        played.under_way = fresh;
        played.answer(&delivered());
        played.pass();
        assert_eq!(played.positions(), [20]);
        played.tell(Event::Drain);
        played.pass();
        assert!(played.engine.is_done());
    }
}

#[test]
fn what_failed_and_waits_to_be_sent_again_is_sent_no_more() {
    let mut played = Played::begun();
    played.answer(&failed());
    drop(played.sent());
    played.ask(Some(20), None);
    for _ in 0..60 {
        played.pass();
        assert_eq!(played.sent(), "");
    }
    assert_eq!(played.positions(), [20]);
    played.tell(Event::Drain);
    played.pass();
    assert!(played.engine.is_done());
    let now = at(played.seconds);
    assert_eq!(played.engine.status(now).buffered_bytes, 0, "nothing of it is held in memory");
}

#[test]
fn the_person_is_answered_once_it_is_durable_and_not_before() {
    let mut played = Played::begun();
    played.answer(&delivered());
    played.pass();
    played.saves = false;
    played.ask(Some(0), None);
    played.pass();
    assert_eq!((played.moved.len(), played.positions()), (0, vec![20]), "old or new, and nothing between");
    played.saves = true;
    played.pass();
    assert_eq!((played.moved.clone(), played.positions()), (moved_from(20), vec![0]));
}

#[test]
fn a_stream_without_a_position_is_given_one_only_by_name() {
    let mut played = Played::begun();
    played.pass();
    drop(played.sent());
    played.ask(Some(6), Some("another"));
    played.pass();
    assert_eq!(played.moved, [Ok(vec![Moved { stream: "another".into(), from: None }])]);
    assert_eq!((played.positions(), played.sent().as_str()), (vec![0, 6], ""), "the other stream's own");
    played.moved.clear();
    played.ask(None, Some("a third"));
    assert_eq!(played.moved, [Err(NotMoved::NoPosition)]);
    played.moved.clear();
    played.tell(Event::Drain);
    played.ask(Some(0), None);
    assert_eq!(played.moved, [Err(NotMoved::Stopping)]);
}
