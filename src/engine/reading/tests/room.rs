//! Room that a program reserved behind its lines: looks show it in a file's size, and it is no content.

use crate::engine::report::Rotation;
use crate::engine::samples::disk::{World, lines};

const ROOM: usize = 100_000;

fn in_room(content: &[u8]) -> Vec<u8> {
    [content, &vec![0; ROOM - content.len()]].concat()
}

/// What a file of that name holds, one after the other; what is sent of that, and how often it is told to be truncated.
#[test]
fn a_file_with_room_behind_its_lines_is_truncated_only_when_its_content_is_gone() {
    let (few, more) = (lines("line", 0..3), lines("line", 0..5));
    let utf16: Vec<u8> = "a line\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let part = b"a part".to_vec();
    let whole = b"a part and its end\n".to_vec();
    type Row<'a> = (&'a str, &'a [Vec<u8>], &'a [u8], bool);
    let rows: [Row<'_>; 8] = [
        ("from the beginning", &[in_room(&few)], &few, false),
        ("nothing else", &[vec![0; 100]], b"", false),
        ("the last byte of a character", std::slice::from_ref(&utf16), &utf16[..utf16.len() - 1], false),
        ("reserved later", &[Vec::new(), in_room(b""), in_room(&few), more.clone()], &more, false),
        ("cut to its lines", &[in_room(b""), few.clone(), more.clone()], &more, false),
        ("cut to a part of a line", &[in_room(&part), part.clone(), whole.clone()], &whole, false),
        (
            "more room",
            &[in_room(&part), [in_room(&part), in_room(b"")].concat(), whole.clone()],
            &whole,
            false,
        ),
        ("a part that is gone", &[in_room(&part), in_room(b""), in_room(&few)], &few, true),
    ];
    for (name, contents, expected, is_truncated) in rows {
        for passed in [0, 7] {
            let mut world = World::new(false);
            world.make("app.log", &contents[0]);
            world.pass(6);
            for content in &contents[1..] {
                world.write("app.log", content);
                world.pass(passed);
            }
            world.pass(30);
            let case = format!("{name}, {passed} s");
            assert_eq!(world.take_bytes(), expected, "{case}");
            let told = world.engine.counts.sources[0].rotations.get(&Rotation::Truncated).copied();
            assert_eq!(told.unwrap_or(0) > 0, is_truncated, "{case}");
            if !is_truncated {
                assert_eq!(world.lost, [0; 0], "{case}");
            }
        }
    }
}

/// The program has gone before anybody looked again, and what it reserved with it.
#[test]
fn of_a_file_with_room_that_is_removed_nothing_is_lost_but_what_was_seen_of_its_lines() {
    let mut world = World::new(false);
    world.make("app.log", &in_room(&lines("line", 0..3)));
    world.pass(30);
    assert_eq!(world.take_bytes(), lines("line", 0..3));
    world.restart();
    world.pass(6);
    world.remove("app.log");
    world.pass(90);
    assert_eq!((world.take_bytes(), &world.lost[..]), (Vec::new(), &[][..]));
}
