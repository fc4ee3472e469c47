//! Files that a source matches and a rotator compressed, on a disk of a few.

use std::time::Duration;

use crate::engine::port::Event;
use crate::engine::samples::disk::{World, lines, told};
use crate::engine::samples::settings;
use crate::model::settings::{Compression, Grouping, Multiline, Packing, StartPattern};

/// Each name is made of the one before, as logrotate does it; the newest is not compressed.
fn chain(world: &mut World, newest: usize) {
    for number in (1..newest).rev() {
        for end in ["", ".gz"] {
            let (from, to) = (format!("app.log.{number}{end}"), format!("app.log.{}{end}", number + 1));
            if world.is_there(&from) {
                world.rename_silently(&from, &to);
            }
        }
    }
    world.rename_silently("app.log", "app.log.1");
}

#[test]
fn an_unseen_generation_that_was_compressed_is_read_whatever_became_of_the_one_before() {
    for is_down in [false, true] {
        for unseen in [1, 4] {
            for matches_all in [false, true] {
                let mut world = World::new(matches_all);
                world.make("app.log", &lines("known", 0..100));
                world.pass(6);
                drop(world.take());
                let mut expected = Vec::new();
                for generation in 0..=unseen {
                    chain(&mut world, 9);
                    let content = lines(&format!("unseen {generation}"), 0..30);
                    world.make("app.log", &content);
                    expected.extend(told(&content));
                }
                for number in 2..=unseen {
                    let name = format!("app.log.{number}");
                    world.compress(&name, &format!("{name}.gz"));
                }
                if is_down {
                    world.restart();
                }
                world.pass(40);
                expected.sort();
                let case = format!("down: {is_down}, unseen: {unseen}, all matched: {matches_all}");
                assert_eq!(world.take(), expected, "{case}");
                world.restart();
                world.pass(40);
                assert_eq!(world.take(), Vec::<String>::new(), "again, {case}");
                assert_eq!(world.skipped, Vec::<std::path::PathBuf>::new(), "{case}");
            }
        }
    }
}

#[test]
fn what_was_delivered_and_is_compressed_later_comes_not_again_and_is_passed_over_in_silence() {
    for is_down in [false, true] {
        let mut world = World::new(true);
        world.make("app.log", &lines("line", 0..100));
        world.pass(6);
        for generation in 0..4 {
            drop(world.take());
            chain(&mut world, 9);
            if generation > 0 {
                world.compress("app.log.2", "app.log.2.gz");
            }
            let content = lines(&format!("generation {generation}"), 0..100);
            world.make("app.log", &content);
            if is_down {
                world.restart();
            }
            world.pass(90);
            assert_eq!(world.take(), told(&content), "no process ran: {is_down}");
        }
        world.restart();
        world.pass(90);
        assert_eq!(world.take(), Vec::<String>::new(), "and not after another start");
        assert_eq!(world.skipped, Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn what_was_unread_when_it_was_compressed_is_read_from_there_on() {
    let mut world = World::new(true);
    let mut content = lines("line", 0..100);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    content.extend(lines("unread", 0..30));
    world.write_silently("app.log", &content);
    chain(&mut world, 9);
    world.compress("app.log.1", "app.log.1.gz");
    world.make("app.log", &lines("next", 0..5));
    world.restart();
    world.pass(30);
    let expected: Vec<_> =
        told(&lines("next", 0..5)).into_iter().chain(told(&lines("unread", 0..30))).collect();
    assert_eq!(world.take(), expected);
}

/// After a start the archive may be opened first: the life is that of the file that is there.
#[test]
fn an_archive_beside_the_file_that_it_was_made_of_takes_nothing_from_it() {
    for matches_all in [false, true] {
        let mut world = World::new(matches_all);
        let content = lines("line", 0..100);
        world.make("app.log", &content);
        world.pass(6);
        assert_eq!(world.take(), told(&content));
        world.make("copy", &content);
        world.compress("copy", "app.log.1.gz");
        world.restart();
        world.pass(30);
        let mut grown = content.clone();
        grown.extend(lines("more", 0..5));
        world.write("app.log", &grown);
        world.pass(30);
        assert_eq!(world.take(), told(&lines("more", 0..5)), "all matched: {matches_all}");
    }
}

#[test]
fn of_generations_that_begin_alike_each_is_asked() {
    let mut world = World::new(true);
    let header = lines("a header that each of them has", 0..200);
    for number in 1..4 {
        let mut content = header.clone();
        content.extend(lines(&format!("generation {number}"), 0..10 * number));
        world.make(&format!("app.log.{number}"), &content);
    }
    world.make("app.log", &lines("current", 0..5));
    world.pass(90);
    drop(world.take());
    for number in 1..4 {
        world.compress(&format!("app.log.{number}"), &format!("app.log.{number}.gz"));
    }
    world.pass(90);
    assert_eq!(world.take(), Vec::<String>::new());
    assert_eq!(world.skipped, Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_archive_of_which_nothing_is_known_is_told_and_what_only_has_its_name_is_read() {
    let mut world = World::before_the_first_look(true);
    for number in [3, 4] {
        world.make("app.log.0", &lines("before", 0..number));
        world.compress("app.log.0", &format!("app.log.{number}.gz"));
    }
    world.make("app.log.5.gz", &lines("plain", 0..20));
    world.make("app.log", &lines("line", 0..100));
    world.pass(40);
    let expected: Vec<_> =
        told(&lines("line", 0..100)).into_iter().chain(told(&lines("plain", 0..20))).collect();
    assert_eq!(world.take(), expected);
    let names = ["/log/app.log.3.gz", "/log/app.log.4.gz"].map(std::path::PathBuf::from);
    world.skipped.sort();
    assert_eq!(world.skipped, names, "each once");
}

/// A drain has looked at everything by then, and what it shows for the first time came too late.
#[test]
fn a_drain_tells_of_an_archive_of_which_nothing_is_known() {
    for is_followed in [false, true] {
        let mut world = World::before_the_first_look(true);
        if is_followed {
            world.make("app.log", &lines("line", 0..30));
        }
        world.make("app.log.1", &lines("before", 0..30));
        world.compress("app.log.1", "app.log.1.gz");
        world.tell(Event::Drain);
        world.pass(10);
        assert_eq!(world.skipped.len(), 1, "{is_followed}");
        assert_eq!(world.take().len(), if is_followed { 30 } else { 0 });
    }
}

/// Of a file that holds nothing but a group to which more may belong, no position speaks, only what was read of it.
#[test]
fn an_archive_of_what_waits_for_more_is_no_generation_of_its_own() {
    for matches_all in [false, true] {
        for (groups, is_other) in [(0, false), (1, false), (0, true)] {
            let mut settings = settings(1);
            settings.sources[0].multiline = Some(Multiline {
                grouping: Grouping::Start(StartPattern::try_new("^#").expect("a regular expression")),
                max_lines: 500,
                timeout: Duration::from_secs(5),
            });
            let mut world = World::of_settings(settings, matches_all);
            world.make("app.log", &lines("known", 0..100));
            world.pass(20);
            drop(world.take());
            let content = [lines("# whole", 0..groups), lines("waits", 0..30)].concat();
            chain(&mut world, 9);
            world.make("app.log", &content);
            world.pass(1);
            let other = lines("waits", if is_other { 1..31 } else { 0..30 });
            if is_other {
                chain(&mut world, 9);
                world.make("app.log", &other);
            }
            chain(&mut world, 9);
            world.make("app.log", &lines("# next", 0..2));
            world.compress("app.log.1", "app.log.1.gz");
            world.pass(60);
            let mut expected = [told(&content), told(&lines("# next", 0..2))].concat();
            if is_other {
                expected.extend(told(&other));
            }
            expected.sort();
            let mut found = world.take();
            found.sort();
            assert_eq!(found, expected, "all matched: {matches_all}, groups: {groups}, another: {is_other}");
        }
    }
}

/// The rest of the first line is collected with what follows it while a rotator compresses the file.
#[test]
fn an_archive_of_a_file_of_which_a_part_of_a_line_was_read_is_no_generation_of_its_own() {
    for matches_all in [false, true] {
        for is_other in [false, true] {
            let mut settings = settings(1);
            settings.streams[0].packing =
                Packing::On { bytes: 100_000, delay: Duration::from_secs(6), compression: Compression::None };
            let mut world = World::of_settings(settings, matches_all);
            world.make("app.log", &lines("known", 0..100));
            world.pass(20);
            drop(world.take());
            chain(&mut world, 9);
            world.make("app.log", b"line 000");
            world.pass(20);
            let (content, other) = (lines("line", 0..20), lines("line", 1..21));
            world.write("app.log", &content);
            let mut expected = [content, lines("next", 0..2)].concat();
            if is_other {
                chain(&mut world, 9);
                world.make("app.log", &other);
                expected.extend(other);
            }
            chain(&mut world, 9);
            world.make("app.log", &lines("next", 0..2));
            world.compress("app.log.1", "app.log.1.gz");
            world.pass(100);
            let case = format!("all matched: {matches_all}, another: {is_other}");
            assert_eq!(world.take(), told(&expected), "{case}");
            world.restart();
            world.pass(100);
            assert_eq!(world.take(), Vec::<String>::new(), "again, {case}");
        }
    }
}
