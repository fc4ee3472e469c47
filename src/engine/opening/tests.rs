//! Files that are opened, and what the kernel says they are by then.

use std::time::Duration;

use bytes::Bytes;

use crate::engine::port::{Effect, Event, FileFault, FileId, Hint, Observation, Observed, Opened};
use crate::engine::samples::disk::{World, lines, told};
use crate::engine::samples::{at, identity, path, settings};
use crate::engine::{Engine, Memory};
use crate::model::settings::{SourceId, StreamId};

#[test]
fn a_file_that_overlayfs_copies_up_while_it_is_read_is_the_file_that_it_was() {
    let mut world = World::new(false);
    for content in [Vec::new(), lines("line", 0..100)] {
        let (read, grown) = (told(&content).len(), lines("line", 0..110));
        world.make("app.log", &content);
        world.pass(6);
        assert_eq!(world.take().len(), read);
        world.copy_up("app.log");
        world.write("app.log", &grown);
        world.pass(30);
        assert_eq!(world.take(), told(&grown)[read..], "each line comes once");
        world.write("app.log", &lines("line", 0..120));
        world.pass(6);
        assert_eq!(world.take(), told(&lines("line", 110..120)));
        world.restart();
        world.pass(6);
        assert!(world.take().is_empty(), "nor does one come again after a restart");
    }
}

#[test]
fn a_new_file_of_the_name_is_no_copy_of_the_one_that_is_open() {
    let mut world = World::new(false);
    let content = lines("line", 0..100);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    world.make("app.log", &content);
    world.pass(30);
    assert_eq!(world.take(), told(&content), "a job may say the same each time");
}

#[test]
fn where_no_birth_time_tells_a_file_under_another_device_number_is_known_by_all_of_its_content() {
    let mut world = World::new(false);
    world.mount(7);
    let content = lines("line", 0..100);
    world.make("app.log", &content);
    world.pass(6);
    assert_eq!(world.take(), told(&content));
    world.mount(8);
    world.write_silently("app.log", &lines("line", 0..120));
    world.restart();
    world.pass(10);
    assert_eq!(world.take(), told(&lines("line", 100..120)));
    assert_eq!(world.copied, 0, "it is the file itself");
    world.pass(30);
    world.restart();
    world.pass(10);
    assert!(world.take().is_empty(), "its new number is saved");
}

#[test]
fn l14_where_a_byte_differs_a_file_under_another_device_number_is_another() {
    for (at, len) in [(50, 500), (3_000, 500), (5_402, 500), (50, 10)] {
        let mut world = World::new(false);
        world.mount(7);
        let content = lines("line", 0..len);
        world.make("app.log", &content);
        world.pass(6);
        drop(world.take());
        let mut other = content.clone();
        other[at] = b'x';
        world.mount(8);
        world.write_silently("app.log", &other);
        world.restart();
        world.pass(30);
        assert_eq!(world.take(), told(&other), "another byte at {at}");
    }
}

/// What is sent after a crash right after these files were found and renamed, and nothing else was saved.
fn sent_after_crash(world: &mut World, name: &str) -> Vec<String> {
    world.tell(Event::Hint(Hint::Names));
    drop(world.take());
    world.rename_silently(name, &format!("{name}.1"));
    world.restart();
    world.pass(10);
    world.take()
}

#[test]
fn a_file_that_is_renamed_right_after_it_was_found_is_read_after_a_crash() {
    let content = lines("line", 0..30);
    let mut world = World::new(false);
    world.make("app.log", &content);
    assert_eq!(sent_after_crash(&mut world, "app.log"), told(&content), "nothing was ever saved before");

    let mut world = World::new(false);
    world.make("other.log", &content);
    world.pass(10);
    world.make("app.log", &content);
    assert_eq!(sent_after_crash(&mut world, "app.log"), told(&content), "its age tells that it is new");

    let mut world = World::new(false);
    world.make("other.log", &content);
    world.make("app.tmp", &content);
    world.pass(100);
    world.rename_silently("app.tmp", "app.log");
    assert_eq!(
        sent_after_crash(&mut world, "app.log"),
        told(&content),
        "it is old, and was matched only now"
    );
}

#[test]
fn of_a_file_that_is_not_read_as_itself_nothing_stays_in_the_state() {
    let mut world = World::new(true);
    world.make("app.log", b"\x1f\x8b\x08\0\0\0\0\0\n\0\0\0\n");
    world.pass(3);
    let family = world.engine.lives.known_of_family("stream-0", [path("app.log")], None);
    assert_eq!(family.count(), 0);
}

#[test]
fn what_was_seen_of_a_file_that_is_gone_at_the_next_start_is_declared_once() {
    let content = lines("line", 0..300);
    for read in [0, 100] {
        let mut world = World::new(false);
        world.make("app.log", &lines("line", 0..read));
        world.pass(6);
        world.takes = false;
        world.write("app.log", &content);
        world.pass(6);
        drop(world.take());
        world.remove_silently("app.log");
        world.make("app.log", b"other\n");
        world.takes = true;
        world.restart();
        world.pass(100);
        let unread = content.len() - lines("line", 0..read).len();
        assert_eq!(world.lost, [unread as u64], "after {read} lines");
        assert_eq!(world.take(), ["other"]);
        world.restart();
        world.pass(100);
        assert_eq!(world.lost.len(), 1, "another start has nothing to say of it");
    }
}

#[test]
fn what_was_seen_and_cut_off_while_nothing_ran_is_declared_or_read_in_its_copy() {
    let content = lines("line", 0..300);
    for is_copied in [false, true] {
        let mut world = World::new(false);
        world.takes = false;
        world.make("app.log", &content);
        world.pass(6);
        if is_copied {
            world.make("app.log.1", &content);
        }
        world.write_silently("app.log", b"");
        world.takes = true;
        world.restart();
        world.pass(100);
        let lost = [content.len() as u64];
        assert_eq!(world.lost, if is_copied { &[] } else { &lost[..] });
        assert_eq!(world.take(), if is_copied { told(&content) } else { Vec::new() });
    }
}

#[test]
fn a_renamed_file_that_may_not_be_read_is_read_once_it_may() {
    let mut world = World::new(false);
    world.make("app.log", &lines("line", 0..10));
    world.pass(10);
    drop(world.take());
    world.write_silently("app.log", &lines("line", 0..30));
    for to in ["app.log.1", "elsewhere"] {
        world.rename_silently("app.log", to);
        world.forbidden = Some(path(to).to_path_buf());
        world.restart();
        world.pass(30);
        assert!(world.take().is_empty());
        assert_eq!(world.engine.status(world.now()).unreadable.count(), 1);
        world.forbidden = None;
        world.pass(60);
        assert_eq!(world.take(), told(&lines("line", 10..30)));
        assert_eq!(world.engine.status(world.now()).unreadable.count(), 0);
        world.rename_silently(to, "app.log");
        world.write_silently("app.log", &lines("line", 0..10));
        world.pass(30);
        drop(world.take());
        world.write_silently("app.log", &lines("line", 0..30));
    }
}

#[test]
fn what_came_and_was_rotated_while_no_process_ran_is_read_though_the_first_one_found_nothing() {
    for (is_compressed, is_killed) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = World::new(false);
        world.make("app.log", &lines("first", 0..300));
        world.rename_silently("app.log", "app.log.1");
        if is_compressed {
            world.compress("app.log.1", "app.log.1.gz");
        }
        world.make("app.log", &lines("second", 0..20));
        world.restart_unanswered(if is_killed { 1 } else { 0 });
        world.pass(60);
        let mut expected = told(&lines("first", 0..300));
        expected.extend(told(&lines("second", 0..20)));
        assert_eq!(world.take(), expected, "compressed: {is_compressed}, killed: {is_killed}");
        world.restart();
        world.pass(60);
        assert_eq!(world.take(), Vec::<String>::new(), "nothing comes again");
    }
}

#[test]
fn what_had_a_rotators_name_before_the_first_look_is_left_alone_though_that_found_nothing() {
    let mut world = World::before_the_first_look(false);
    world.make("app.log.1", &lines("old", 0..300));
    world.pass(6);
    for _ in 0..3 {
        world.restart();
        world.make("app.log", &lines("new", 0..20));
        world.pass(60);
    }
    assert!(world.take().iter().all(|line| line.starts_with("new")));
}

#[test]
fn no_file_is_closed_that_is_still_to_be_read_because_hints_were_lost_or_all_is_to_end() {
    for event in [Event::Hint(Hint::Everything), Event::Drain] {
        let mut settings = settings(1);
        settings.files_at_once = std::num::NonZeroUsize::MIN;
        let mut world = World::of_settings(settings, false);
        world.tell(Event::Descriptors(4));
        let names = ["a.log", "b.log", "c.log", "d.log", "e.log"];
        names.iter().for_each(|name| world.make(name, &lines("line", 0..3)));
        world.pass(30);
        names[..4].iter().for_each(|name| world.write(name, &lines("line", 0..6)));
        world.pass(1);
        assert_eq!(world.take().len(), 5 * 3 + 4 * 3);
        let (open, closed): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| world.is_open(name));
        assert_eq!((open.len(), closed.len()), (4, 1));
        open.iter().for_each(|name| world.write_silently(name, &lines("line", 0..9)));
        world.engine.handle(event.clone(), world.now());
        world.engine.handle(Event::Hint(Hint::Grown(path(closed[0]))), world.now());
        let closed = std::iter::from_fn(|| world.engine.poll_effect());
        let closed: Vec<_> = closed.filter(|effect| matches!(effect, Effect::Close(_))).collect();
        assert!(closed.is_empty(), "after {event:?}: {closed:?}");
    }
}

#[test]
fn a_drain_of_more_files_than_descriptors_ends_however_long_ago_those_that_are_open_were_read() {
    let mut world = World::new(false);
    world.tell(Event::Descriptors(4));
    let names: Vec<_> = (0..12).map(|number| format!("{number}.log")).collect();
    names.iter().for_each(|name| world.make(name, &lines("line", 0..3)));
    world.pass(30);
    assert_eq!(world.take().len(), 12 * 3);
    names.iter().for_each(|name| world.write_silently(name, &lines("line", 0..6)));
    world.tell(Event::Drain);
    // Seconds pass in which nothing happens, as on a machine that has too much to do.
    ["later", "and later", "and later than that"].iter().for_each(|name| world.make(name, b""));
    world.pass(30);
    assert_eq!(world.take().len(), 12 * 3);
    assert!(world.engine.is_done());
}

/// What an engine wants, once it was told something: files to open, and files to close.
fn wants(engine: &mut Engine, event: Event, second: u64) -> (Vec<(FileId, String)>, Vec<FileId>) {
    let (mut opens, mut closes, mut waiting) = (Vec::new(), Vec::new(), vec![event]);
    while let Some(event) = waiting.pop() {
        engine.handle(event, at(second));
        engine.check_laws();
        while let Some(effect) = engine.poll_effect() {
            match effect {
                Effect::Open(open) => {
                    let name = open.path.file_name().expect("named").to_string_lossy();
                    opens.push((open.file, name.into_owned()));
                }
                Effect::Close(file) => closes.push(file),
                Effect::Save(_) => waiting.push(Event::Saved(Ok(()))),
                _ => {}
            }
        }
    }
    (opens, closes)
}

fn look(files: &[(&str, u64)]) -> Event {
    let files = files.iter().map(|(name, inode)| Observed {
        path: path(name),
        target: None,
        identity: identity(*inode),
        size: 5,
        owner: 0,
        modified: None,
        is_matched: true,
        rotated_from: Vec::new(),
        is_told: false,
    });
    Event::Observed(Observation {
        source: SourceId(0),
        files: files.collect(),
        hidden: Default::default(),
        held: Vec::new(),
        unix_time: Duration::from_secs(1),
    })
}

/// The file may be under no name by the time that its own opening is over.
#[test]
fn a_file_that_is_opened_under_the_name_of_another_while_its_own_opening_is_under_way_stays_open() {
    let open = |file, inode: Option<u64>| {
        let opened = |inode| Opened {
            identity: identity(inode),
            size: 5,
            head: Bytes::from(format!("{inode:04}\n")),
            held: None,
            place: None,
        };
        Event::Opened { file, result: inode.map(opened).ok_or(FileFault::Gone) }
    };
    // What the second name leads to by then: another file, the first one, or none.
    for then in [Some(3), Some(1), None] {
        let mut engine = Engine::try_new(settings(1), Memory::default(), 0, at(0)).expect("delays in order");
        drop(wants(&mut engine, Event::Tick, 1));
        let (opens, _) = wants(&mut engine, look(&[("a.log", 1), ("b.log", 2)]), 1);
        let of = |name: &str| opens.iter().find(|(_, other)| other == name).expect("to be opened").0;
        let (a, b) = (of("a.log"), of("b.log"));
        let (_, closes) = wants(&mut engine, open(a, Some(2)), 2);
        assert_eq!(closes, [], "{then:?}");
        assert_eq!(engine.files.of(StreamId(0), identity(2)), Some(a), "{then:?}");
        assert!(engine.files.known(a).is_open(), "{then:?}");
        let (_, closes) = wants(&mut engine, open(b, then), 3);
        assert_eq!(closes, then.map(|_| b).into_iter().collect::<Vec<_>>(), "{then:?}");
        assert_eq!(engine.files.of(StreamId(0), identity(1)), Some(b), "it is looked for: {then:?}");
        // The next look tells what became of the names.
        drop(wants(&mut engine, Event::Hint(Hint::Names), 10));
        drop(wants(&mut engine, Event::Tick, 20));
        let (opens, _) = wants(&mut engine, look(&[("a.log", 2), ("b.log", 3), ("c.log", 1)]), 20);
        let mut opens: Vec<_> = opens.into_iter().map(|(_, name)| name).collect();
        opens.sort();
        assert_eq!(opens, ["b.log", "c.log"], "{then:?}");
    }
}
