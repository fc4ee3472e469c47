//! Copies and files that are like others, on a disk of three or four files.

mod ends;

use crate::engine::port::{Event, Hint};
use crate::engine::samples::disk::{World, lines, told};
use crate::engine::samples::{path, settings};
use crate::model::settings::MemorySettings;

#[test]
fn a_copy_goes_on_where_its_original_was_cut_off() {
    for matches_all in [false, true] {
        let mut world = World::new(matches_all);
        let content = lines("line", 0..500);
        world.make("app.log", &content);
        world.pass(6);
        assert_eq!(world.take(), told(&content));
        let grown = lines("line", 0..700);
        world.make("app.log.1", &grown);
        world.write("app.log", b"");
        world.pass(20);
        assert_eq!(world.take(), told(&lines("line", 500..700)), "all matched: {matches_all}");
        assert_eq!(world.copied, 1);
    }
}

#[test]
fn l14_a_file_that_begins_and_ends_like_one_that_was_cut_off_is_read_from_its_beginning() {
    let mut world = World::new(true);
    let content = lines("line", 0..500);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    let mut other = content.clone();
    other[3_000] = b'x';
    other.extend(lines("more", 0..10));
    world.make("app.log.1", &other);
    world.write("app.log", b"");
    world.pass(90);
    assert_eq!(world.take(), told(&other), "hidden are lines that nobody read");
    assert_eq!(world.copied, 0);
}

#[test]
fn a_generation_that_was_cut_off_unseen_is_read_in_its_copy() {
    let mut world = World::new(false);
    let content = lines("first", 0..300);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    // Cut off twice between two looks.
    world.make("app.log.2", &content);
    world.make("app.log.1", &lines("second", 0..20));
    world.write("app.log", &lines("third", 0..5));
    world.pass(30);
    let expected: Vec<_> =
        told(&lines("second", 0..20)).into_iter().chain(told(&lines("third", 0..5))).collect();
    assert_eq!(world.take(), expected);
}

#[test]
fn files_that_begin_alike_are_different_files_and_begun_within_two_seconds() {
    let mut world = World::new(true);
    let mut content = lines("header", 0..200);
    let mut other = content.clone();
    content.extend(lines("one", 0..3));
    other.extend(lines("two", 0..3));
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    world.make("app-1.log", &other);
    world.tell(Event::Hint(Hint::Names));
    world.pass(2);
    assert_eq!(world.take(), told(&other));
}

#[test]
fn a_slow_copy_is_held_back_for_as_long_as_it_says_the_same() {
    let mut world = World::new(true);
    let content = lines("line", 0..5_000);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    world.make("app.log.1", &content[..1_000]);
    for end in (2_000..content.len()).step_by(10_000) {
        world.write("app.log.1", &content[..end]);
        world.pass(40);
    }
    world.write("app.log.1", &content);
    world.pass(5);
    world.write("app.log", &lines("new", 0..5));
    world.pass(30);
    assert_eq!(world.take(), told(&lines("new", 0..5)), "nothing of the copy comes again");
    assert_eq!(world.copied, 1);
}

#[test]
fn a_file_that_is_rewritten_as_long_as_before_is_read_again() {
    let mut world = World::new(false);
    let mut content = lines("report", 0..400);
    world.make("app.log", &content);
    world.pass(6);
    assert_eq!(world.take(), told(&content));
    content[3_000] = b'x';
    world.write("app.log", &content);
    world.pass(6);
    assert_eq!(world.take(), told(&content));
    world.touch("app.log");
    world.pass(30);
    assert_eq!(world.take(), Vec::<String>::new(), "a touch says nothing new");
}

#[test]
fn a_small_file_that_is_written_anew_with_the_same_bytes_is_shipped_again_where_a_hint_says_so() {
    let mut world = World::new(false);
    world.make("last.log", b"backup OK\n");
    world.pass(6);
    assert_eq!(world.take(), ["backup OK"]);
    world.write("last.log", b"backup OK\n");
    world.pass(6);
    assert_eq!(world.take(), ["backup OK"]);
    world.touch("last.log");
    world.pass(30);
    assert_eq!(world.take(), Vec::<String>::new());
}

#[test]
fn what_a_rotator_made_of_a_file_is_not_looked_at_when_it_is_overwritten() {
    let mut world = World::new(true);
    let content = lines("line", 0..300);
    world.make("app.log.1", &content);
    world.make("app.log", &lines("new", 0..3));
    world.pass(6);
    drop(world.take());
    let mut shredded = content.clone();
    shredded[2_000..2_100].fill(b'#');
    world.write("app.log.1", &shredded);
    world.pass(30);
    assert_eq!(world.take(), Vec::<String>::new());
}

/// The copy of the one that is followed begins to be made while the copy of another generation is looked for.
#[test]
fn a_copy_beside_the_matched_names_is_held_back_until_it_is_whole() {
    for searches in [false, true] {
        let mut world = World::new(false);
        let content = lines("line", 0..5_000);
        world.make("app.log", &content);
        world.pass(6);
        assert_eq!(world.take(), told(&content));
        world.rename("app.log", "app.log.7");
        world.make("app.log", &lines("second", 0..50));
        world.pass(2);
        drop(world.take());
        world.make("app.log.8", &content[..content.len() / 2]);
        if searches {
            world.write("app.log", &lines("third", 0..5));
        }
        world.pass(7);
        world.write("app.log.8", &content);
        world.pass(7);
        world.remove("app.log.7");
        world.pass(90);
        let expected = if searches { told(&lines("third", 0..5)) } else { Vec::new() };
        assert_eq!(world.take(), expected, "a copy is looked for: {searches}");
    }
}

#[test]
fn a_file_that_was_emptied_before_a_line_of_it_was_taken_in_goes_on_in_its_copy() {
    for first_read in [false, true] {
        let mut world = World::new(false);
        let mut content = vec![b'x'; 50_000];
        world.make("app.log", &content);
        world.tell(Event::Hint(Hint::Names));
        world.pass(u64::from(first_read));
        content.extend(lines("", 0..500));
        world.write_silently("app.log", &content);
        world.make("app.log.1", &content);
        world.write("app.log", b"");
        world.pass(30);
        assert_eq!(world.take(), told(&content), "it was read once before: {first_read}");
    }
}

/// Neither its length nor a position says so: only what was read and not taken in.
#[test]
fn a_file_that_was_filled_again_before_a_line_of_it_was_taken_in_goes_on_in_its_copy() {
    for (is_down, more) in [(false, 0), (false, 1), (false, 900), (true, 0), (true, 1), (true, 900)] {
        let mut world = World::new(false);
        world.make("app.log", b"");
        world.pass(6);
        let begun = [b'x'; 300];
        world.write("app.log", &begun);
        world.pass(2);
        let copied = [&begun[..], b" and its end\n"].concat();
        world.make("app.log.1", &copied);
        let next = [&vec![b'y'; begun.len() + more - 1][..], b"\n"].concat();
        world.write_silently("app.log", &next);
        if is_down {
            world.restart();
        } else {
            world.tell(Event::Hint(Hint::Grown(path("app.log"))));
        }
        world.pass(30);
        let mut taken = world.take();
        taken.sort();
        let expected = [told(&copied), told(&next)].concat();
        assert_eq!(taken, expected, "no process ran: {is_down}; longer by {more}");
        assert!(world.lost.is_empty(), "{:?}", world.lost);
    }
}

/// What was set aside for a file and is filled in where it lies is no other content.
#[test]
fn a_file_that_is_filled_in_where_it_lies_before_a_line_of_it_was_taken_in_is_read_once() {
    let mut world = World::new(false);
    world.make("app.log", b"");
    world.pass(6);
    world.write("app.log", &[b"begun ".as_slice(), &[0; 3_000]].concat());
    world.pass(3);
    let content = [b"begun and ended\nnext\n".as_slice(), &[0; 2_985]].concat();
    world.write("app.log", &content);
    world.pass(9);
    assert_eq!(world.take(), ["begun and ended", "next"]);
    assert!(world.lost.is_empty(), "{:?}", world.lost);
}

#[test]
fn what_came_into_an_empty_file_and_was_cut_off_unseen_is_read_in_its_copy() {
    for is_down in [false, true] {
        let mut world = World::new(false);
        world.make("app.log", b"");
        world.pass(6);
        let content = lines("unseen", 0..300);
        world.make("app.log.1", &content);
        world.write_silently("app.log", b"");
        if is_down {
            world.restart();
        }
        world.pass(8);
        world.write("app.log", &lines("later", 0..5));
        world.pass(30);
        let expected: Vec<_> = told(&lines("later", 0..5)).into_iter().chain(told(&content)).collect();
        assert_eq!(world.take(), expected, "no process ran: {is_down}");
    }
}

#[test]
fn what_came_into_an_empty_file_while_no_process_ran_is_read_once_whatever_copies_lie_beside() {
    let mut world = World::new(false);
    world.make("app.log", b"");
    world.pass(6);
    let (unseen, content) = (lines("unseen", 0..300), lines("present", 0..200));
    world.make("app.log.1", &unseen);
    world.write_silently("app.log", &content);
    // A backup, not a rotation.
    world.make("app.log.2", &content);
    world.restart();
    world.pass(40);
    let expected: Vec<_> = told(&content).into_iter().chain(told(&unseen)).collect();
    assert_eq!(world.take(), expected);
}

#[test]
fn a_file_that_a_look_saw_grow_and_that_was_emptied_before_it_was_read_goes_on_in_its_copy() {
    let mut world = World::new(false);
    world.make("app.log", b"");
    world.pass(6);
    let content = lines("seen", 0..300);
    world.write_silently("app.log", &content);
    let shown = world.survey_untold();
    world.engine.handle(shown, world.now());
    world.make("app.log.1", &content);
    world.write("app.log", b"");
    world.pass(30);
    assert_eq!(world.take(), told(&content));
}

/// Each generation has its own copy when somebody looks again; the log says something else by then.
#[test]
fn however_often_a_file_was_cut_off_unseen_each_generation_is_read_in_its_copy() {
    for (is_down, generations) in [(true, 1), (true, 2), (true, 7), (false, 2), (false, 7)] {
        let mut world = World::new(false);
        let first = lines("first", 0..300);
        world.make("app.log", &first);
        world.pass(6);
        drop(world.take());
        let mut grown = first.clone();
        grown.extend(lines("unread", 0..30));
        world.make(&format!("app.log.{}", generations + 1), &grown);
        let mut expected = told(&lines("unread", 0..30));
        for number in (1..=generations).rev() {
            let content = lines(&format!("generation {number}"), 0..20);
            world.make(&format!("app.log.{number}"), &content);
            expected.extend(told(&content));
        }
        world.write_silently("app.log", &lines("last", 0..5));
        expected.extend(told(&lines("last", 0..5)));
        if is_down {
            world.restart();
        }
        world.pass(40);
        expected.sort();
        assert_eq!(world.take(), expected, "no process ran: {is_down}; generations: {generations}");
    }
}

#[test]
fn a_file_that_was_moved_to_another_file_system_goes_on_there() {
    for is_down in [false, true] {
        let mut world = World::new(true);
        let mut content = lines("line", 0..300);
        world.make("app.log", &content);
        world.pass(6);
        drop(world.take());
        let mut expected = told(&lines("next", 0..5));
        if is_down {
            content.extend(lines("unread", 0..20));
            world.write_silently("app.log", &content);
            expected.extend(told(&lines("unread", 0..20)));
        }
        world.transfer_silently("app.log", "archive/app.log.1");
        world.make("app.log", &lines("next", 0..5));
        if is_down {
            world.restart();
        }
        world.pass(90);
        assert_eq!(world.take(), expected, "no process ran: {is_down}");
        assert_eq!(world.copied, 1);
    }
}

#[test]
fn a_file_that_says_what_another_in_another_directory_said_is_read() {
    for is_down in [false, true] {
        let mut world = World::new(true);
        let content = lines("done", 0..3);
        world.make("one/app.log", &content);
        world.pass(6);
        assert_eq!(world.take(), told(&content));
        world.remove("one/app.log");
        world.make("two/app.log", &content);
        if is_down {
            world.restart();
        }
        world.pass(90);
        assert_eq!(world.take(), told(&content), "hidden are lines that nobody read");
    }
}

/// A rotator copies the log and cuts it off, the program goes on, and the log is renamed: the copy is found first.
#[test]
fn a_log_that_was_cut_off_and_renamed_while_no_process_ran_is_read_beside_its_copy() {
    for further in 0..4 {
        let mut world = World::new(false);
        let first = lines("first", 0..300);
        world.make("app.log", &first);
        world.pass(6);
        drop(world.take());
        let mut grown = first.clone();
        grown.extend(lines("unread", 0..30));
        world.make("app.log.1", &grown);
        world.write_silently("app.log", &lines("second", 0..400));
        let mut expected = told(&lines("unread", 0..30));
        expected.extend(told(&lines("second", 0..400)));
        world.rename_silently("app.log.1", "app.log.2");
        match further {
            // Cut off again, and renamed when it says nothing.
            1 => {
                world.rename_silently("app.log.2", "app.log.3");
                world.make("app.log.2", &lines("second", 0..400));
                world.write_silently("app.log", b"");
            }
            2 => {
                world.rename_silently("app.log.2", "app.log.4");
                world.make("app.log.3", &lines("second", 0..400));
                world.write_silently("app.log", &lines("third", 0..20));
                expected.extend(told(&lines("third", 0..20)));
            }
            _ => {}
        }
        let renamed = if further == 2 { "app.log.2" } else { "app.log.1" };
        world.rename_silently("app.log", renamed);
        world.make("app.log", &lines("last", 0..5));
        expected.extend(told(&lines("last", 0..5)));
        if further == 3 {
            world.make("app.log.0", &lines("last", 0..5));
            world.write_silently("app.log", b"");
        }
        world.restart();
        world.pass(60);
        expected.sort();
        assert_eq!(world.take(), expected, "further: {further}");
        world.restart();
        world.pass(60);
        assert_eq!(world.take(), Vec::<String>::new(), "nothing comes again: {further}");
        assert_eq!(world.lost, Vec::<u64>::new(), "and nothing is told to be lost: {further}");
    }
}

#[test]
fn a_log_that_was_backed_up_and_renamed_while_no_process_ran_is_gone_on_with_and_its_backup_is_not() {
    let mut world = World::new(false);
    let mut content = lines("first", 0..300);
    world.make("app.log", &content);
    world.pass(6);
    drop(world.take());
    world.make("app.log.bak", &content);
    content.extend(lines("unread", 0..30));
    world.write_silently("app.log", &content);
    world.rename_silently("app.log", "app.log.1");
    world.make("app.log", &lines("last", 0..5));
    world.restart();
    world.pass(60);
    let mut expected = told(&lines("unread", 0..30));
    expected.extend(told(&lines("last", 0..5)));
    expected.sort();
    assert_eq!(world.take(), expected);
}

/// Its name is there before its content, and what it says of its size is of no use: nothing is taken from it, and nothing declared.
#[test]
fn a_copy_that_is_being_compressed_is_read_when_it_is_whole() {
    for matches_all in [false, true] {
        let mut world = World::new(matches_all);
        world.make("app.log", &lines("line", 0..300));
        world.pass(6);
        drop(world.take());
        world.make("app.log.1", &lines("line", 0..320));
        world.write_silently("app.log", b"");
        world.begin_compressing("app.log.1", "app.log.1.gz");
        world.write("app.log", &lines("next", 0..9));
        world.pass(1);
        world.end_compressing("app.log.1", "app.log.1.gz");
        world.pass(100);
        let mut found = world.take();
        found.sort();
        let mut expected = [told(&lines("line", 300..320)), told(&lines("next", 0..9))].concat();
        expected.sort();
        assert_eq!(found, expected, "{matches_all}");
        assert!(world.lost.is_empty(), "{:?}", world.lost);
    }
}

/// What waits for memory in front of it holds up no look at what is there, and the copy may not lie there for long.
#[test]
fn a_file_that_a_look_shows_shorter_is_confirmed_before_those_that_wait_for_memory() {
    for refilled in [false, true] {
        let mut settings = settings(1);
        settings.memory = MemorySettings { buffer: 64 * 1024, buffer_per_file: 64 * 1024 };
        let mut world = World::of_settings(settings, false);
        let first = lines("b", 0..20);
        world.make("b.log", &first);
        world.make("a.log", &lines("a", 0..1));
        world.pass(6);
        drop(world.take());
        world.takes = false;
        world.write("a.log", &lines("a", 0..60_000));
        world.pass(6);
        let grown = lines("b", 0..40);
        world.write_silently("b.log", &grown);
        world.tell(Event::Hint(Hint::Names));
        world.pass(6);
        world.make("b.log.1", &grown);
        // Shorter than what a look saw, also where it is longer than what was read.
        world.write_silently("b.log", &lines("c", 0..if refilled { 30 } else { 3 }));
        world.pass(6);
        world.rename_silently("b.log.1", "away/b.log.1");
        world.take_unanswered();
        world.pass(60);
        let taken = world.take();
        let of_b: Vec<_> = taken.into_iter().filter(|line| line.starts_with('b')).collect();
        assert_eq!(of_b, told(&lines("b", 20..40)), "refilled: {refilled}");
    }
}
