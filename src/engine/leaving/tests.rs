//! Configurations that leave files out.

use std::path::PathBuf;

use crate::engine::port::{Effect, Event, Hint};
use crate::engine::samples::disk::{World, lines, told};
use crate::engine::samples::path;

fn at(name: &str) -> PathBuf {
    path(name).to_path_buf()
}

/// Two files, read to their ends; then each has more lines, of which nobody was told.
fn world() -> World {
    let mut world = World::new(false);
    world.make("a.log", &lines("a", 0..10));
    world.make("b.log", &lines("b", 0..10));
    world.pass(6);
    assert_eq!(world.take().len(), 20);
    world
}

#[test]
fn a_file_that_a_changed_configuration_leaves_out_is_let_go_of_at_once_and_goes_on_when_it_is_wanted_again() {
    let mut world = world();
    world.exclude(&["b.log"]);
    world.reload();
    assert!(!world.is_open("b.log") && world.is_open("a.log"));
    assert_eq!(world.left_out, [(at("b.log"), 0)]);
    world.write("b.log", &lines("b", 0..15));
    world.write("a.log", &lines("a", 0..15));
    world.pass(60);
    assert_eq!(world.take(), told(&lines("a", 10..15)), "of what is left out nothing is read");
    assert!(!world.is_open("b.log"));
    world.exclude(&[]);
    world.reload();
    world.pass(6);
    assert_eq!(world.take(), told(&lines("b", 10..15)), "from where it was");
}

#[test]
fn a_look_that_began_before_the_change_brings_back_nothing_that_was_left_out() {
    let mut world = world();
    let shown = world.survey_untold();
    world.exclude(&["b.log"]);
    world.reload();
    world.write_silently("b.log", &lines("b", 0..15));
    world.tell(shown);
    world.pass(60);
    assert_eq!((world.take().len(), world.is_open("b.log")), (0, false));
}

#[test]
fn a_file_that_is_left_out_after_a_restart_is_told_and_not_gone_on_with() {
    let mut world = world();
    world.pass(3);
    world.exclude(&["b.log"]);
    world.write("b.log", &lines("b", 0..10));
    world.restart();
    world.pass(30);
    assert_eq!((world.take().len(), world.is_open("b.log")), (0, false));
    assert_eq!(world.left_out, [(at("b.log"), 0)]);
    world.left_out.clear();
    world.write("b.log", &lines("b", 0..15));
    world.restart();
    world.pass(30);
    assert_eq!((world.take().len(), world.is_open("b.log")), (0, false));
    assert_eq!(world.left_out, [(at("b.log"), 40)], "five lines of eight bytes");
    world.exclude(&[]);
    world.restart();
    world.pass(6);
    assert_eq!(world.take(), told(&lines("b", 10..15)), "its position was kept");
}

#[test]
fn a_file_that_was_renamed_is_not_left_out_and_read_to_its_end_also_after_restarts() {
    for is_down in [false, true] {
        let mut world = world();
        world.pass(3);
        world.write_silently("b.log", &lines("b", 0..15));
        world.rename_silently("b.log", "b.moved");
        if !is_down {
            world.pass(1);
            world.pass(1);
        }
        world.restart();
        world.pass(2);
        world.restart();
        world.pass(30);
        assert_eq!(world.take(), told(&lines("b", 10..15)), "renamed while down: {is_down}");
        assert!(world.left_out.is_empty());
    }
}

#[test]
fn a_renamed_file_that_waits_is_no_file_that_was_left_out() {
    let mut world = world();
    world.pass(3);
    world.rename("b.log", "b.moved");
    world.pass(6);
    world.write_silently("b.moved", &lines("b", 0..15));
    world.restart();
    world.pass(30);
    assert_eq!(world.take(), told(&lines("b", 10..15)));
    assert!(world.left_out.is_empty());
}

#[test]
fn a_file_that_was_renamed_while_it_was_left_out_is_gone_on_with_when_it_is_wanted_again_also_after_a_restart()
 {
    for (rotations, restarts) in [(1, 0), (1, 1), (2, 1), (2, 3)] {
        let mut world = world();
        world.pass(3);
        world.exclude(&["b.log"]);
        world.reload();
        world.pass(6);
        world.write_silently("b.log", &lines("b", 0..15));
        let mut expected = told(&lines("b", 10..15));
        for rotation in 0..rotations {
            for number in (0..rotation).rev() {
                world.rename_silently(&format!("b.log.{number}"), &format!("b.log.{}", number + 1));
            }
            world.rename_silently("b.log", "b.log.0");
            let content = lines(&format!("c{rotation}"), 0..5);
            world.make("b.log", &content);
            expected.extend(told(&content));
        }
        for _ in 0..restarts {
            world.restart();
            world.pass(30);
        }
        assert_eq!(world.take(), Vec::<String>::new());
        world.exclude(&[]);
        world.reload();
        world.pass(30);
        assert_eq!(world.take(), expected, "rotations: {rotations}, restarts: {restarts}");
    }
}

/// README.md, "What was never there to be read".
#[test]
fn what_comes_to_a_file_that_was_moved_out_of_every_pattern_is_read_until_it_is_closed_and_when_it_is_back() {
    let mut world = world();
    world.rename("b.log", "away/b.log");
    for end in [15, 20, 25] {
        world.write_silently("away/b.log", &lines("b", 0..end));
        world.pass(8);
    }
    assert_eq!(world.take(), told(&lines("b", 10..25)), "it is held open for as long as something comes");
    world.pass(60);
    assert!(!world.is_open("away/b.log"));
    world.write_silently("away/b.log", &lines("b", 0..30));
    world.pass(60);
    assert_eq!(world.take(), Vec::<String>::new());
    world.rename("away/b.log", "b.log");
    world.pass(6);
    assert_eq!(world.take(), told(&lines("b", 25..30)), "from where it was");
}

/// A look, an opening or a read may be under way at any of the changes.
#[test]
fn a_file_that_was_renamed_before_its_source_got_another_name_is_read_to_its_end() {
    for sources in [&[1][..], &[1, 0], &[1, 2], &[1, 0, 1]] {
        for renamed_before in 0..sources.len() {
            for looks in [false, true] {
                let mut world = world();
                let mut expected = Vec::new();
                for (place, source) in sources.iter().enumerate() {
                    if place == renamed_before {
                        world.write_silently("b.log", &lines("b", 0..15));
                        world.rename_silently("b.log", "b.log.1");
                        world.make("b.log", &lines("c", 0..5));
                        expected = [told(&lines("b", 10..15)), told(&lines("c", 0..5))].concat();
                    }
                    world.change_source(*source);
                    if looks {
                        world.pass(1);
                    }
                }
                world.write_silently("b.log.1", &lines("b", 0..17));
                expected.splice(5..5, told(&lines("b", 15..17)));
                world.pass(30);
                let case = format!("{sources:?}, renamed before {renamed_before}, looks between: {looks}");
                assert_eq!(world.take(), expected, "{case}");
                assert!(world.left_out.is_empty() && world.lost.is_empty(), "{case}");
            }
        }
    }
}

/// Nobody looks for the source that the file was cut off under any more.
#[test]
fn a_copy_that_is_looked_for_while_its_source_gets_another_name_is_found() {
    for source in [0, 1] {
        let mut world = world();
        let grown = lines("b", 0..15);
        world.make("b.log.1", &grown);
        // The next look is not due at once.
        world.tell(Event::Hint(Hint::Names));
        world.write("b.log", b"");
        world.change_source(source);
        world.pass(20);
        assert_eq!(world.take(), told(&lines("b", 10..15)), "source {source}");
        assert_eq!((world.copied, world.lost.len()), (1, 0), "source {source}");
    }
}

/// The source that was to look for it is asked no more.
#[test]
fn what_was_renamed_while_no_process_ran_is_found_though_its_source_gets_another_name_before_it_looks() {
    let mut world = world();
    world.pass(3);
    world.write_silently("b.log", &lines("b", 0..15));
    world.rename_silently("b.log", "b.log.1");
    world.restart_for_a_moment();
    world.change_source(1);
    world.pass(30);
    assert_eq!(world.take(), told(&lines("b", 10..15)));
}

/// Both sources stay; the name goes from one to the other.
#[test]
fn a_file_that_another_source_reads_from_now_on_is_not_closed() {
    let mut world = world();
    world.exclude(&["b.log"]);
    let event = world.reload_with_the_rest();
    let now = world.now();
    world.engine.handle(event, now);
    world.engine.check_laws();
    let effects = std::iter::from_fn(|| world.engine.poll_effect());
    let closes: Vec<_> = effects.filter(|effect| matches!(effect, Effect::Close(_))).collect();
    assert!(closes.is_empty(), "{closes:?}");
    assert!(world.left_out.is_empty());
}

/// What came unseen between two looks is looked for beside the name, and each of these has been read under it.
#[test]
fn what_was_read_of_files_that_were_renamed_while_their_source_was_away_is_no_generation_that_nobody_saw() {
    let mut world = World::new(false);
    world.make("b.log", b"");
    world.pass(2);
    world.write("b.log", &lines("first", 0..5));
    world.takes = false;
    world.rename_silently("b.log", "b.log.2");
    world.make("b.log", &lines("second", 0..5));
    world.pass(1);
    world.leave_out_all();
    world.rename_silently("b.log", "b.log.1");
    world.make("b.log", &lines("third", 0..5));
    world.pass(1);
    world.reload();
    world.pass(3);
    world.take_unanswered();
    world.pass(60);
    let expected = ["first", "second", "third"].map(|word| told(&lines(word, 0..5))).concat();
    assert_eq!(world.take(), expected);
    assert!(world.lost.is_empty());
}

/// The names are others, and lead to the same files.
#[test]
fn what_was_renamed_before_its_source_reads_links_to_its_name_is_read_to_its_end() {
    for source in [0, 1] {
        for (is_renamed_first, is_down) in [(true, false), (false, false), (true, true)] {
            let mut world = world();
            world.pass(3);
            let rotate = |world: &mut World| {
                world.write_silently("b.log", &lines("b", 0..15));
                world.rename_silently("b.log", "b.log.1");
                world.make("b.log", &lines("c", 0..5));
            };
            if is_renamed_first {
                rotate(&mut world);
            }
            world.by_links = true;
            match is_down {
                true => world.restart(),
                false => world.change_source(source),
            }
            if !is_renamed_first {
                rotate(&mut world);
            }
            world.pass(30);
            let mut found = world.take();
            found.sort();
            let case = format!("source {source}, renamed first: {is_renamed_first}, restarted: {is_down}");
            assert_eq!(found, [told(&lines("b", 10..15)), told(&lines("c", 0..5))].concat(), "{case}");
            assert!(world.lost.is_empty(), "{case}");
        }
    }
}
