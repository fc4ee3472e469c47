//! A log that is rotated in the middle of what its program says.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::engine::port::{Effect, Event, Move, MoveId};
use crate::engine::report::Report;
use crate::engine::samples::disk::World;
use crate::engine::samples::{path, settings};
use crate::model::settings::{
    Api, Audit, Envelope, Format, Grouping, MemorySettings, Multiline, OnDrain, Oversize, Preset, Runtime,
    Settings,
};
use crate::rules::dead_letters::MAX_DEAD_LETTER_BYTES;

use super::*;

fn traces() -> Settings {
    let mut settings = settings(1);
    let timeout = Duration::from_secs(4);
    let grouping = Grouping::Traces(Preset::Java);
    settings.sources[0].multiline = Some(Multiline { grouping, max_lines: 500, timeout });
    settings.streams[0].api = Api::PutRecord;
    settings
}

fn containers() -> Settings {
    let mut settings = settings(1);
    settings.sources[0].runtime = Some(Runtime::Cri);
    settings.streams[0].api = Api::PutRecord;
    settings
}

fn cri(tag: &str, text: &str) -> String {
    format!("2026-11-24T08:15:42Z stdout {tag} {text}\n")
}

const HEAD: &[u8] = b"E: no\n\tat a.b(c)\n";
const REST: &[u8] = b"\tat d.e(f)\nready\n";
const WHOLE: &str = "E: no\n\tat a.b(c)\n\tat d.e(f)\n";

/// A world with a log, which was just written to.
fn with_log(settings: Settings, name: &str, content: &[u8]) -> World {
    let mut world = World::of_settings(settings, false);
    world.make(name, b"");
    world.pass(6);
    world.write(name, content);
    world
}

/// A log of which `content` was read when it was rotated, and `rest` is in the file that has its name now.
fn rotated(settings: Settings, (name, to): (&str, &str), content: &[u8], rest: &[u8]) -> World {
    let mut world = with_log(settings, name, content);
    world.rename_silently(name, to);
    world.make(name, rest);
    world.pass(1);
    world
}

fn records(world: &mut World) -> Vec<String> {
    let records = std::mem::take(&mut world.records);
    records.iter().map(|record| String::from_utf8(record.to_vec()).expect("text")).collect()
}

/// In no save is the end of the first file done with, and the beginning of the second not, or the other way around.
fn settle_together(world: &World, (first, at): (&str, u64), (second, head): (&str, u64)) {
    let names = [first, second].map(|name| world.identity_of(name));
    let mut done = [false; 2];
    for save in &world.saves {
        for saved in &save.checkpoints {
            let is_done = |at: u64| {
                saved.offset.bytes() >= at
                    || saved
                        .settled
                        .ranges()
                        .iter()
                        .any(|range| (range.start().bytes()..range.end().bytes()).contains(&(at - 1)))
            };
            if saved.identity == names[0] {
                done[0] = is_done(at);
            }
            if saved.identity == names[1] {
                done[1] = is_done(head);
            }
        }
        assert_eq!(done[0], done[1], "one without the other is durable: {save:?}");
    }
    assert!(done[0], "both are done with");
}

#[test]
fn a_stack_trace_that_a_rotation_cuts_is_one_record_that_settles_in_both_files() {
    let mut world = rotated(traces(), ("app.log", "app.log.1"), HEAD, REST);
    world.pass(1);
    assert_eq!(records(&mut world), [WHOLE]);
    world.pass(6);
    assert_eq!(records(&mut world), ["ready\n"]);
    settle_together(&world, ("app.log.1", HEAD.len() as u64), ("app.log", 11));
    assert_eq!(world.saved_to("app.log"), Some(REST.len() as u64));
    assert_eq!(world.engine.status(world.now()).buffered_bytes, 0);
}

#[test]
fn parts_of_a_line_that_the_kubelets_rotation_cuts_are_one_record() {
    let (first, second) = (cri("P", "one "), cri("P", "and ") + &cri("F", "two") + &cri("F", "three"));
    let names = ("0.log", "0.log.20261129-220000");
    let mut world = rotated(containers(), names, first.as_bytes(), second.as_bytes());
    world.pass(1);
    assert_eq!(records(&mut world), ["one and two\n", "three\n"]);
    let head = cri("P", "and ").len() + cri("F", "two").len();
    world.pass(1);
    settle_together(&world, (names.1, first.len() as u64), (names.0, head as u64));
}

/// What was written to the old file after the last look at it stands before what is in the new one.
#[test]
fn the_end_of_the_first_file_is_read_again_once_the_second_begins() {
    let mut world = with_log(traces(), "app.log", HEAD);
    world.pass(1);
    world.write_silently("app.log", &[HEAD, b"\tat x.y(z)\n"].concat());
    world.rename_silently("app.log", "app.log.1");
    world.make("app.log", REST);
    world.pass(2);
    assert_eq!(records(&mut world), ["E: no\n\tat a.b(c)\n\tat x.y(z)\n\tat d.e(f)\n"]);
}

#[test]
fn what_does_not_go_on_in_the_second_file_is_sent_before_what_begins_there() {
    let mut world = rotated(traces(), ("app.log", "app.log.1"), HEAD, b"E: more\nready\n");
    assert_eq!(records(&mut world)[..2], ["E: no\n\tat a.b(c)\n", "E: more\n"]);
    // A container's line whose rest is never written: five seconds, and what comes after it waits no longer.
    let first = cri("P", "one");
    let other = "2026-11-24T08:15:42Z stderr F other\n";
    let names = ("0.log", "0.log.20261129-220000");
    let mut world = rotated(containers(), names, first.as_bytes(), other.as_bytes());
    world.pass(2);
    assert!(records(&mut world).is_empty());
    world.pass(4);
    assert_eq!(records(&mut world), ["one\n", "other\n"]);
}

#[test]
fn what_nothing_follows_is_sent_when_its_own_time_is_over() {
    let mut world = with_log(traces(), "app.log", HEAD);
    world.rename_silently("app.log", "app.log.1");
    world.make("app.log", b"");
    world.pass(6);
    assert_eq!(records(&mut world), ["E: no\n\tat a.b(c)\n"]);
    world.write("app.log", REST);
    world.pass(6);
    assert_eq!(records(&mut world), ["\tat d.e(f)\n", "ready\n"]);
    // A trace that goes on in the new file has until its time is over there, but no longer than what is kept.
    let mut world = rotated(traces(), ("app.log", "app.log.1"), HEAD, b"\tat d.e(f)\n");
    assert!(records(&mut world).is_empty());
    world.write("app.log", b"\tat d.e(f)\n\tat g.h(i)\n");
    world.pass(2);
    assert!(records(&mut world).is_empty());
    world.pass(3);
    assert_eq!(records(&mut world), ["E: no\n\tat a.b(c)\n\tat d.e(f)\n\tat g.h(i)\n"]);
    world.pass(2);
    settle_together(&world, ("app.log.1", HEAD.len() as u64), ("app.log", 22));
}

#[test]
fn what_was_rotated_while_nobody_looked_is_joined_when_the_old_file_is_found() {
    for matches_all in [false, true] {
        let mut world = World::of_settings(traces(), matches_all);
        world.make("app.log", b"");
        world.pass(6);
        world.write("app.log", HEAD);
        world.pass(1);
        world.rename_silently("app.log", "app.log.1");
        world.make("app.log", REST);
        world.restart();
        world.pass(2);
        assert_eq!(records(&mut world)[0], WHOLE, "{matches_all}");
        world.pass(2);
        settle_together(&world, ("app.log.1", HEAD.len() as u64), ("app.log", 11));
    }
}

#[test]
fn after_a_crash_all_of_it_comes_again_or_nothing() {
    let mut world = with_log(traces(), "app.log", HEAD);
    world.takes = false;
    world.rename_silently("app.log", "app.log.1");
    world.make("app.log", REST);
    world.pass(8);
    assert_eq!((world.saved_to("app.log.1"), world.saved_to("app.log")), (Some(0), Some(0)));
    world.takes = true;
    world.restart();
    world.pass(8);
    assert_eq!(records(&mut world), [WHOLE, "ready\n"]);
    settle_together(&world, ("app.log.1", HEAD.len() as u64), ("app.log", 11));
    world.restart();
    world.pass(8);
    assert!(records(&mut world).is_empty());
}

#[test]
fn a_drain_sends_what_waits_for_the_second_file() {
    let first = cri("P", "one");
    let other = "2026-11-24T08:15:42Z stderr F other\n";
    let mut settings = containers();
    settings.on_drain = OnDrain::ShipPartialLines;
    let mut world = rotated(settings, ("0.log", "0.log.20261129"), first.as_bytes(), other.as_bytes());
    assert!(records(&mut world).is_empty());
    world.tell(Event::Drain);
    world.pass(1);
    let mut sent = records(&mut world);
    sent.sort();
    assert_eq!(sent, ["one\n", "other\n"]);
    assert!(world.engine.is_done());
}

/// Between the two a file came and was rotated away: what it says is between what they say.
#[test]
fn a_file_goes_on_with_what_is_in_the_one_directly_before_it_only() {
    let mut world = with_log(traces(), "app.log", HEAD);
    world.rename_silently("app.log", "app.log.2");
    world.make("app.log.1", b"\tat between.a(b)\nE: other\n");
    world.make("app.log", REST);
    world.pass(8);
    let mut sent = records(&mut world);
    sent.sort();
    let expected = ["E: no\n\tat a.b(c)\n\tat between.a(b)\n", "E: other\n\tat d.e(f)\n", "ready\n"];
    assert_eq!(sent, expected);
    // What is compressed is not read, and is between them all the same.
    let mut world = with_log(traces(), "app.log", HEAD);
    world.rename_silently("app.log", "app.log.2");
    world.make("app.log.1", b"ready\n");
    world.compress("app.log.1", "app.log.1.gz");
    world.make("app.log", REST);
    world.pass(8);
    assert!(!records(&mut world).contains(&WHOLE.to_owned()));
}

/// A file that is rotated while it is not known yet what of it belongs to the one before.
/// Their names are like a rotator's, and each has a program that writes into it.
#[test]
fn files_that_were_not_rotated_away_are_not_joined() {
    for (one, other) in [("app.log.1001", "app.log.1002"), ("app-20261129.log", "app-20261130.log")] {
        let mut world = World::of_settings(traces(), true);
        world.make(one, b"");
        world.pass(6);
        world.write(one, HEAD);
        world.make(other, REST);
        world.pass(1);
        world.write(one, &[HEAD, b"\tat x.y(z)\n"].concat());
        world.pass(12);
        let sent = records(&mut world);
        assert!(sent.contains(&"E: no\n\tat a.b(c)\n\tat x.y(z)\n".to_owned()), "{one}: {sent:?}");
    }
}

/// Where a source matches what its files are renamed to, that they had the name tells that.
#[test]
fn a_file_that_its_source_matches_by_its_new_name_too_is_joined_with_the_one_that_took_its_place() {
    for is_down in [false, true] {
        let mut world = World::of_settings(traces(), true);
        world.make("app.log", b"");
        world.pass(6);
        world.write("app.log", HEAD);
        if is_down {
            world.restart();
        }
        world.rename_silently("app.log", "app.log.1");
        world.make("app.log", REST);
        world.pass(6);
        assert_eq!(records(&mut world)[0], WHOLE, "{is_down}");
    }
}

#[test]
fn what_belongs_to_the_file_before_is_not_handed_on() {
    let mut world = rotated(traces(), ("app.log", "app.log.1"), HEAD, b"\tat d.e(f)\n");
    world.rename_silently("app.log.1", "app.log.2");
    world.rename_silently("app.log", "app.log.1");
    world.make("app.log", b"\tat third.a(b)\nready\n");
    world.pass(12);
    let mut sent = records(&mut world);
    sent.sort();
    assert_eq!(sent, ["\tat third.a(b)\n", WHOLE, "ready\n"]);
    assert_eq!(world.engine.status(world.now()).buffered_bytes, 0);
}

#[test]
fn the_names_of_a_record_are_those_of_the_file_in_which_it_begins() {
    let mut settings = traces();
    let envelope = Envelope { host: "host".into(), fields: Vec::new(), merge: false, ..Envelope::default() };
    settings.sources[0].format = Format::Json(envelope);
    settings.streams[0].audit = Audit::On { max_bytes: 1 << 20 };
    let mut world = with_log(settings, "app.log", b"");
    world.gives_ids = true;
    let content = [b"first\n", HEAD].concat();
    world.write("app.log", &content);
    world.rename_silently("app.log", "app.log.1");
    world.make("app.log", REST);
    world.pass(10);
    let sent = records(&mut world);
    let sent: Vec<serde_json::Value> =
        sent.iter().map(|record| serde_json::from_str(record).expect("JSON")).collect();
    let joined = sent.iter().find(|record| record["message"] == WHOLE.trim_end()).expect("it was joined");
    assert_eq!((joined["file"].as_str(), joined["offset"].as_u64()), (Some("/log/app.log.1"), Some(6)));
    let of = |name: &str| {
        let identity = world.identity_of(name);
        let blocks = world.saves.iter().flat_map(|save| &save.audit);
        let of_file = blocks.filter(|block| block.file.identity == identity);
        let records = of_file.flat_map(|block| &block.records);
        records
            .map(|kept| (kept.span.start().bytes(), kept.span.end().bytes(), kept.id.as_str().to_owned()))
            .collect::<Vec<_>>()
    };
    let (first, second) = (of("app.log.1"), of("app.log"));
    let end = content.len() as u64;
    assert_eq!((first[1].0, first[1].1), (6, end));
    assert_eq!((second[0].0, second[0].1), (0, 11));
    assert_eq!(first[1].2, second[0].2, "one record holds both");
    let status = world.engine.status(world.now());
    assert_eq!(status.counts.sources[0].lines_read, 5);
    assert_eq!(status.counts.sources[0].bytes_read, end + REST.len() as u64);
    assert_eq!(status.counts.streams[0].file_bytes_delivered, end + REST.len() as u64);
}

#[test]
fn a_dead_letter_of_both_files_names_the_first_and_is_durable_with_both_positions() {
    let mut settings = containers();
    settings.sources[0].max_message_bytes = 6;
    settings.sources[0].oversize = Oversize::DeadLetter;
    let (first, second) = (cri("P", "one"), cri("F", "two and more") + &cri("F", "three"));
    let names = ("0.log", "0.log.20261129-220000");
    let mut world = rotated(settings, names, first.as_bytes(), second.as_bytes());
    world.pass(3);
    assert_eq!(records(&mut world), ["three\n"]);
    let letters: Vec<_> = world.saves.iter().flat_map(|save| &save.dead_letters).collect();
    let said: Vec<u8> = letters.iter().flat_map(|letter| letter.data.to_vec()).collect();
    assert_eq!(String::from_utf8_lossy(&said), "onetwo and more\n");
    assert_eq!(letters[0].offset, Offset::ZERO);
    assert_eq!(letters[0].path, path(names.1));
}

/// Neither file's position passes a record that nothing keeps; what comes after it in the second file is sent, and a drain ends.
#[test]
fn a_dead_letter_of_both_files_that_has_no_room_holds_both_positions_until_there_is_some() {
    let mut settings = containers();
    settings.sources[0].max_message_bytes = 6;
    settings.sources[0].oversize = Oversize::DeadLetter;
    let stream = Arc::clone(&settings.streams[0].name);
    let (first, second) = (cri("P", "one"), cri("F", "two and more") + &cri("F", "three"));
    let names = ("0.log", "0.log.20261129-220000");
    let head = cri("F", "two and more").len() as u64;
    let letters = |world: &World| {
        let letters = world.saves.iter().flat_map(|save| &save.dead_letters);
        String::from_utf8(letters.flat_map(|letter| letter.data.to_vec()).collect()).expect("text")
    };
    for (is_drained, is_restarted) in [(false, false), (false, true), (true, false)] {
        let case = format!("drained {is_drained}, restarted {is_restarted}");
        let mut world = with_log(settings.clone(), names.0, first.as_bytes());
        let full = |world: &mut World| world.engine.saves.room_mut().take(&stream, MAX_DEAD_LETTER_BYTES);
        full(&mut world);
        world.rename_silently(names.0, names.1);
        world.make(names.0, second.as_bytes());
        world.pass(10);
        assert_eq!(records(&mut world), ["three\n"], "{case}");
        assert_eq!((&*letters(&world), world.saved_to(names.0)), ("", Some(0)), "{case}");
        assert_eq!(world.saved_to(names.1).unwrap_or_default(), 0, "{case}");
        if is_drained {
            world.tell(Event::Drain);
            world.pass(1);
            assert!(world.engine.is_done(), "{case}");
            continue;
        }
        if is_restarted {
            // What stands behind it was delivered, so the second file is no new one: each says its own.
            world.restart();
            world.pass(10);
            assert_eq!(
                (&*letters(&world), records(&mut world)),
                ("two and more\n", vec!["one\n".to_owned()])
            );
            assert_eq!(world.saved_to(names.0), Some(second.len() as u64), "{case}");
            continue;
        }
        let freed = BTreeMap::from([(Arc::clone(&stream), MAX_DEAD_LETTER_BYTES)]);
        world.tell(Event::DeadLettersDeleted(freed));
        world.pass(3);
        assert_eq!(letters(&world), "onetwo and more\n", "{case}");
        settle_together(&world, (names.1, first.len() as u64), (names.0, head));
        assert_eq!(world.saved_to(names.0), Some(second.len() as u64), "{case}");
        assert!(records(&mut world).is_empty(), "{case}");
        assert_eq!(world.engine.status(world.now()).buffered_bytes, 0, "{case}");
    }
}

/// The position of the first file is moved while its last record is under way: what of it is in the second file still comes.
#[test]
fn a_position_that_is_moved_takes_nothing_from_the_next_file() {
    let mut world = with_log(traces(), "app.log", HEAD);
    world.takes = false;
    world.rename_silently("app.log", "app.log.1");
    world.make("app.log", REST);
    world.pass(1);
    let asked = Move {
        number: MoveId(1),
        stream: None,
        path: path("app.log.1"),
        target: None,
        identity: Some(world.identity_of("app.log.1")),
        to: None,
    };
    world.tell(Event::Move(Box::new(asked)));
    world.take_unanswered();
    world.pass(12);
    let sent = records(&mut world).concat();
    assert!(sent.contains("\tat d.e(f)\n") && sent.contains("ready\n"), "{sent}");
    assert_eq!(world.saved_to("app.log"), Some(REST.len() as u64));
    assert_eq!(world.engine.status(world.now()).buffered_bytes, 0);
}

#[test]
fn a_second_file_that_is_cut_off_or_removed_while_it_waits_keeps_nothing() {
    let first = cri("P", "one");
    let other = "2026-11-24T08:15:42Z stderr F other\n";
    let names = ("0.log", "0.log.20261129-220000");
    for is_cut_off in [true, false] {
        let mut world = rotated(containers(), names, first.as_bytes(), other.as_bytes());
        match is_cut_off {
            true => world.write(names.0, b""),
            false => world.remove(names.0),
        }
        world.pass(20);
        assert!(records(&mut world).contains(&"one\n".to_owned()), "{is_cut_off}");
        assert_eq!(world.engine.status(world.now()).buffered_bytes, 0, "{is_cut_off}");
    }
}

#[test]
fn what_is_kept_for_a_file_that_memory_has_no_room_to_read_is_kept_no_longer() {
    let first = cri("P", "one");
    let other = "2026-11-24T08:15:42Z stderr F other\n";
    let mut settings = containers();
    settings.memory = MemorySettings { buffer: 300 << 10, buffer_per_file: 300 << 10 };
    settings.sources[0].max_message_bytes = 1_000;
    let mut world = rotated(settings, ("0.log", "0.log.20261129"), first.as_bytes(), other.as_bytes());
    world.takes = false;
    world.make("b.log", cri("F", &"x".repeat(500)).repeat(4_000).as_bytes());
    world.pass(2);
    assert!(world.engine.families.seams().deadline().is_some());
    world.pass(8);
    assert!(world.engine.families.seams().deadline().is_none());
    world.take_unanswered();
    world.pass(40);
    let mut sent = records(&mut world);
    sent.retain(|record| !record.starts_with('x'));
    assert_eq!(sent.len(), 2, "{sent:?}");
}

/// Many files of which nothing goes on have nothing to wait for.
#[test]
fn what_is_whole_holds_up_nothing() {
    let some = |number| NonZeroU32::new(number).expect("above zero");
    let mut settings = containers();
    settings.streams[0].max_in_flight = some(1);
    let whole = cri("F", "one");
    let second = cri("F", "two");
    let mut world = rotated(settings, ("0.log", "0.log.20261129"), whole.as_bytes(), second.as_bytes());
    assert_eq!(records(&mut world), ["one\n", "two\n"]);
    world.pass(30);
    assert!(world.engine.families.seams().files().is_empty());
    let reports = std::iter::from_fn(|| world.engine.poll_effect());
    let is_loss = |effect: &Effect| matches!(effect, Effect::Report(Report::Abandoned { .. }));
    assert_eq!(reports.filter(is_loss).count(), 0);
}
