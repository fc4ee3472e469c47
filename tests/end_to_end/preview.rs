//! `standpipe preview`: what a file would become, and nothing else happens.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::world::{World, append, eventually, finished, text};

/// Exit code, standard output and standard error of `preview`.
fn preview(world: &World, args: &[&str]) -> (i32, String, String) {
    finished(&[&["preview", "-c", text(&world.config())], args].concat())
}

#[test]
fn the_records_of_the_first_lines_are_shown_and_nothing_is_sent_or_kept() {
    let world = World::new().source("drop_lines = [\"healthz\"]\n");
    let file = world.file("a.log");
    append(&file, "one\nGET /healthz\n\x1b[2Jhostile\x07\u{9b}\u{202e} \\\nfour\nfive\n");
    append(&world.file("b.log"), "of another file\n");
    let (code, said, fault) = preview(&world, &["--lines", "4"]);
    assert_eq!((code, fault.as_str()), (0, ""));
    let expected = format!(
        "{}: source app to stream logs (delivery stream logs)\n  \
         4 bytes, 1 line, 1 x 5 KiB: one\\n\n  \
         not sent, 13 bytes, 1 line: GET /healthz\\n\n  \
         20 bytes, 1 line, 1 x 5 KiB: \\u{{1b}}[2Jhostile\\u{{7}}\\u{{9b}}\\u{{202e}} \\\\\\n\n  \
         5 bytes, 1 line, 1 x 5 KiB: four\\n\n  \
         4 lines, 42 bytes: 3 records, 29 bytes, billed as 3 x 5 KiB\n  \
         lines dropped by keep_lines or drop_lines: 1\n",
        file.display()
    );
    assert_eq!(said, expected);
    assert!(!world.dir().join("state").exists());
    assert_eq!(world.arrived("logs"), b"");
    // Byte for byte what the daemon ships.
    let world = World::new().source("format = \"json\"\n").configured("ordered = true\n");
    append(&world.file("a.log"), "one\n\"two\"\n");
    let (_, said, _) = preview(&world, &["--lines", "1000"]);
    assert_eq!(world.once().0, 0);
    let shipped = eventually("both records", || {
        let shipped = String::from_utf8(world.arrived("logs")).expect("JSON");
        (shipped.lines().count() == 2).then_some(shipped)
    });
    for line in shipped.lines() {
        // The escapes of JSON are escaped; when it was read, and which generation it is, nobody knows.
        let known = line.split(",\"id\":").next().unwrap().replace('\\', "\\\\");
        assert!(said.contains(&known), "{known}\n{said}");
    }
}

#[test]
fn lines_that_share_a_record_or_wait_or_are_too_long_are_told() {
    let world = World::new().configured("packing = \"on\"\n");
    append(&world.file("a.log"), &format!("{}rest", "0123456789\n".repeat(1_000)));
    let (code, said, _) = preview(&world, &["--lines", "2000", text(&world.file("a.log"))]);
    assert_eq!(code, 0);
    assert!(said.contains("\n  5500 bytes, 500 lines, 2 x 5 KiB: 0123456789\\n0123456789\\n"), "{said}");
    assert!(
        said.contains("\n  1000 lines, 11004 bytes: 2 records, 11000 bytes, billed as 4 x 5 KiB\n"),
        "{said}"
    );
    assert!(said.ends_with("\n  bytes at the end that wait for the rest of their line: 4\n"), "{said}");

    let world = World::new().source("max_line_bytes = 16\noversize = \"dead_letter\"\n");
    append(&world.file("a.log"), "short\n0123456789abcdefgh\n");
    let (_, said, _) = preview(&world, &[]);
    assert!(said.contains("\n  dead letter, 16 bytes, part of a line: 0123456789abcdef\n"), "{said}");
    assert!(
        said.contains("\n  lines that are too long put aside by oversize = \"dead_letter\": 1\n"),
        "{said}"
    );
}

#[test]
fn a_path_that_no_source_reads_is_an_error_that_says_why() {
    let world = World::new().source("exclude = [\"old.log\"]\n");
    for (name, content) in [("old.log", "x\n"), ("a.txt", "x\n"), ("b.log", "\x1f")] {
        append(&world.file(name), content);
    }
    std::os::unix::fs::symlink(world.file("b.log"), world.file("link.log")).unwrap();
    for (name, why) in [
        ("a.txt", "no source matches it"),
        ("old.log", "is left out by `exclude`"),
        ("gone.log", "is not there"),
        ("link.log", "not read: a symbolic link, and follow_symlinks is off"),
    ] {
        let (code, said, fault) = preview(&world, &[text(&world.file(name))]);
        assert_eq!((code, said.as_str()), (1, ""), "{name}");
        assert!(fault.contains(why), "{name}: {fault}");
    }
    fs::write(world.file("b.log"), b"\x1f\x8b\x08\0\0\0\0\0\0\0").unwrap();
    let (code, said, _) = preview(&world, &[text(&world.file("b.log"))]);
    assert!(code == 0 && said.contains("is skipped: it is compressed (gzip)"), "{said}");
    let (code, _, fault) = preview(&world.matching("*.none"), &[]);
    assert!(code == 1 && fault.contains("source app: no file matches"), "{fault}");
}

#[test]
fn compressed_records_are_shown_as_what_they_hold() {
    let world = World::new().configured("packing = \"on\"\ncompression = \"gzip\"\n");
    append(&world.file("a.log"), &"0123456789\n".repeat(1_000));
    let (code, said, _) = preview(&world, &["--lines", "1000"]);
    assert_eq!(code, 0);
    let line = said.lines().find(|line| line.contains("0123456789")).expect("a record");
    assert!(line.contains(" bytes, 1000 lines, 1 x 5 KiB, gzip of 11000 bytes: 0123456789\\n"), "{line}");
}

#[test]
fn a_rotated_file_that_was_compressed_is_shown_as_what_it_was() {
    let mut world = World::new().matching("app.log*");
    let gzip = |name: &str, content: &str| {
        let mut encoder = GzEncoder::new(fs::File::create(world.file(name)).unwrap(), Compression::fast());
        encoder.write_all(content.as_bytes()).unwrap();
        encoder.finish().unwrap();
    };
    gzip("app.log.2.gz", "one\ntwo\nthree\n");
    let (code, said, _) = preview(&world, &["--lines", "2", text(&world.file("app.log.2.gz"))]);
    assert!(code == 0 && said.contains("\n  a rotated file, decompressed: "), "{said}");
    assert!(
        said.contains("\n  4 bytes, 1 line, 1 x 5 KiB: one\\n\n  4 bytes, 1 line, 1 x 5 KiB: two\\n\n"),
        "{said}"
    );
    assert!(!said.contains("three"), "{said}");
    // Where no source reads what the name says that it was.
    world = world.matching("*.gz");
    let (code, said, _) = preview(&world, &[text(&world.file("app.log.2.gz"))]);
    assert!(code == 0 && said.contains("is skipped: it is compressed (gzip)"), "{said}");
}
