//! Stops, and passes that end with the files, while a file is held back.

use crate::engine::port::{Event, Hint};
use crate::engine::samples::disk::{World, lines, told};

/// A rotator moves the log by copying it, with another name between or without, some seconds before the process is stopped.
#[test]
fn a_stop_sends_nothing_again_of_a_copy_whose_original_was_removed() {
    for (matches_all, is_renamed) in [(false, false), (false, true), (true, false), (true, true)] {
        for seconds in [0, 1, 5, 14] {
            let mut world = World::new(matches_all);
            let content = lines("line", 0..300);
            world.make("app.log", &content);
            world.pass(6);
            assert_eq!(world.take(), told(&content));
            let mut name = "app.log";
            if is_renamed {
                name = "app.log.tmp";
                world.rename("app.log", name);
                world.pass(1);
            }
            world.transfer_silently(name, "app.log.1");
            let mut expected = lines("next", 0..5);
            world.make("app.log", &expected);
            world.tell(Event::Hint(Hint::Names));
            world.pass(seconds);
            world.stop_and_restart();
            let case = format!("all matched: {matches_all}, renamed: {is_renamed}, {seconds} s");
            if matches_all {
                // It goes on as the log that it is.
                world.write("app.log.1", &[content, lines("late", 0..2)].concat());
                expected.extend(lines("late", 0..2));
            }
            world.pass(100);
            assert_eq!(world.take(), told(&expected), "{case}");
            assert!(world.lost.is_empty(), "{case}: {:?}", world.lost);
        }
    }
}

/// Two programs that say the same, or a copy that is not finished: nothing tells, and there may be no next start.
#[test]
fn a_stop_and_one_pass_send_what_says_the_same_as_a_file_that_is_there() {
    for is_once in [false, true] {
        for part in [1, 100, 300] {
            let mut world = World::new(true);
            let content = lines("line", 0..300);
            world.make("app.log", &content);
            world.pass(6);
            assert_eq!(world.take(), told(&content));
            let same = lines("line", 0..part);
            world.make("app-1.log", &same);
            if is_once {
                world.run_once();
            } else {
                world.tell(Event::Hint(Hint::Names));
                world.pass(1);
                world.stop_and_restart();
            }
            assert_eq!(world.take(), told(&same), "one pass: {is_once}, {part} lines");
            world.pass(100);
            assert!(world.take().is_empty(), "one pass: {is_once}, {part} lines");
        }
    }
    // In one pass that finds both of them, too.
    let mut world = World::new(true);
    world.run_once();
    let content = lines("line", 0..2);
    for name in ["app.log", "app-1.log", "app.log.old"] {
        world.make(name, &content);
    }
    world.run_once();
    assert_eq!(world.take(), told(&content.repeat(3)));
}

#[test]
fn a_stop_and_one_pass_send_what_only_begins_like_another_file() {
    for (is_once, is_removed) in [(false, false), (false, true), (true, false), (true, true)] {
        for tail in [&b"another\n"[..], b""] {
            let mut world = World::new(true);
            let content = lines("line", 0..300);
            world.make("app.log", &content);
            world.pass(6);
            drop(world.take());
            let mut other = content.clone();
            other[3_000] = b'x';
            other.extend(tail);
            world.make("app.log.1", &other);
            if is_removed {
                world.transfer_silently("app.log", "away/app.log");
            }
            if is_once {
                world.run_once();
            } else {
                world.tell(Event::Hint(Hint::Names));
                world.stop_and_restart();
            }
            let case = format!("one pass: {is_once}, removed: {is_removed}, {} bytes more", tail.len());
            assert_eq!(world.take(), told(&other), "{case}");
        }
    }
}

/// What the original says, and more, in a file beside it: it is one of its own, and not cut off by anybody.
#[test]
fn one_pass_sends_what_a_copy_says_beyond_its_original_and_nothing_twice() {
    for (is_removed, unread) in [(true, 0), (true, 20), (false, 0)] {
        let mut world = World::new(true);
        let content = lines("line", 0..300);
        world.make("app.log", &content);
        world.run_once();
        assert_eq!(world.take(), told(&content));
        let grown = [content, lines("unread", 0..unread)].concat();
        world.write_silently("app.log", &grown);
        if is_removed {
            world.transfer_silently("app.log", "app.log.1");
            world.make("app.log", &lines("next", 0..5));
        } else {
            world.make("app.log.1", &grown);
        }
        // While the original is there, a file that says the same may be another program's.
        let expected = match is_removed {
            true => [lines("unread", 0..unread), lines("next", 0..5)].concat(),
            false => grown,
        };
        for expected in [told(&expected), Vec::new()] {
            world.run_once();
            assert_eq!(world.take(), expected, "removed: {is_removed}, {unread} unread");
        }
    }
}
