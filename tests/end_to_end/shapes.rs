//! What becomes of lines before they are records: unwrapped, joined, grouped, or too long.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use serde_json::Value;

use crate::world::{Daemon, World, append, eventually, finished, seed, text};

/// A line as containerd writes it: in parts of `part` bytes.
fn cri(line: &str, channel: &str, part: usize) -> Vec<String> {
    let chunks: Vec<&[u8]> = if line.is_empty() { vec![b""] } else { line.as_bytes().chunks(part).collect() };
    let last = chunks.len() - 1;
    let parts = chunks.iter().enumerate().map(|(index, chunk)| {
        let tag = if index == last { "F" } else { "P" };
        let chunk = std::str::from_utf8(chunk).expect("the lines here are ASCII");
        format!("2026-11-24T08:15:42.{index:09}Z {channel} {tag} {chunk}\n")
    });
    parts.collect()
}

/// The same as Docker writes it.
fn docker(line: &str, channel: &str, part: usize) -> Vec<String> {
    let chunks: Vec<&[u8]> = line.as_bytes().chunks(part).collect();
    let last = chunks.len() - 1;
    let parts = chunks.iter().enumerate().map(|(index, chunk)| {
        let newline = if index == last { "\n" } else { "" };
        let log = format!("{}{newline}", std::str::from_utf8(chunk).expect("the lines here are ASCII"));
        let log = serde_json::to_string(&log).expect("JSON");
        format!("{{\"log\":{log},\"stream\":\"{channel}\",\"time\":\"2026-11-24T08:15:42.5Z\"}}\n")
    });
    parts.collect()
}

fn arrives(world: &World, expected: &str) {
    eventually("what was said", || (world.arrived("logs") == expected.as_bytes()).then_some(()));
}

/// Waits until the metric of that name and labels has this value.
fn counts(daemon: &Daemon, metric: &str, value: u64) {
    eventually(&format!("{metric} {value}"), || {
        let metrics = daemon.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with(metric))?;
        (line.strip_prefix(metric)?.trim() == value.to_string()).then_some(())
    });
}

#[test]
fn what_a_container_wrote_is_shipped_without_what_its_runtime_wrote() {
    for (parse, wrap) in
        [("parse = \"cri\"\n", cri as fn(&str, &str, usize) -> Vec<String>), ("parse = \"docker\"\n", docker)]
    {
        let world = World::new().source(parse).configured("ordered = true\n");
        let file = world.file("a.log");
        let long = "0123456789".repeat(5_000);
        append(&file, &wrap("short \"one\"", "stdout", 100).concat());
        // Both channels at once, in parts.
        let (out, err) = (wrap(&long, "stdout", 16_384), wrap("oh no", "stderr", 2));
        append(
            &file,
            &[&out[0], &err[0], &out[1], &err[1], &err[2], &out[2], &out[3]].map(String::as_str).concat(),
        );
        append(&file, "no runtime wrote this\n");
        let daemon = world.run();
        let expected = format!("short \"one\"\noh no\n{long}\nno runtime wrote this\n");
        arrives(&world, &expected);
        counts(&daemon, "standpipe_unparsed_lines_total{source=\"app\"}", 1);
        // The first part of a line is no line, whatever else happens to it.
        append(&file, &wrap("later", "stdout", 3)[0]);
        daemon.running.kill();
        let daemon = world.run();
        append(&file, &wrap("later", "stdout", 3)[1]);
        eventually("the line", || world.arrived("logs").ends_with(b"\nlater\n").then_some(()));
        daemon.running.stop();
    }
}

#[test]
fn what_a_runtime_knows_stands_in_the_json() {
    let world = World::new().source("parse = \"cri\"\nformat = \"json\"\nmerge_json = true\n");
    append(
        &world.file("a.log"),
        "2026-11-24T08:15:42.123456789Z stderr P {\"level\":\n2026-11-24T08:15:43Z stderr F \"warn\"}\nplain\n",
    );
    let daemon = world.run();
    let records = eventually("two records", || {
        let arrived = String::from_utf8(world.arrived("logs")).expect("JSON is UTF-8");
        (arrived.lines().count() == 2).then_some(arrived)
    });
    daemon.running.stop();
    let mut records: Vec<Value> =
        records.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    records.sort_by_key(|record| record["offset"].as_u64());
    assert_eq!((&records[0]["level"], &records[0]["stream"]), (&"warn".into(), &"stderr".into()));
    assert_eq!(records[0]["time"], "2026-11-24T08:15:42.123456789Z", "when the line was begun");
    assert_eq!((&records[1]["message"], &records[1]["stream"]), (&"plain".into(), &Value::Null));
}

/// Kubernetes' own rotation: the file is renamed, and the next begins; the line that was begun goes on in it no more.
#[test]
fn container_logs_survive_kills_and_rotations() {
    let mut rng = seed();
    let mut world = World::new().source("parse = \"cri\"\n").configured("api = \"auto\"\n");
    let now = world.file("0.log");
    for round in 0..8 {
        let lines = world.written.lines("a", 2_000);
        let wrapped: String =
            lines.lines().map(|line| cri(line, "stdout", rng.usize(20..200)).concat()).collect();
        // Cut anywhere: the runtime is writing.
        let cut = rng.usize(..wrapped.len());
        append(&now, &wrapped[..cut]);
        let daemon = world.run();
        daemon.follows(&now);
        append(&now, &wrapped[cut..]);
        if round % 3 == 1 {
            world.all_arrive();
            fs::rename(&now, world.file(&format!("0.log.{round}"))).unwrap();
        }
        let before = world.arrived("logs").len();
        eventually("a little, or all", || {
            let arrived = world.arrived("logs").len();
            (arrived > before + rng.usize(..20_000) || world.compare().missing == 0).then_some(())
        });
        daemon.running.kill();
    }
    let daemon = world.run();
    world.all_arrive();
    daemon.running.stop();
}

const TRACES: &str = "multiline = { start = '^\\S', timeout = \"300ms\" }\n";

fn trace(number: usize) -> String {
    let frames: String = (0..number % 7).map(|frame| format!("    at frame {frame}\n")).collect();
    format!("error {number}\n{frames}")
}

/// Each record by itself, as `merge`d JSON tells them apart.
fn messages(world: &World) -> Vec<String> {
    let arrived = String::from_utf8(world.arrived("logs")).expect("JSON is UTF-8");
    let of = |line: &str| -> Value { serde_json::from_str(line).expect("JSON") };
    arrived.lines().map(|line| of(line)["message"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_stack_trace_is_one_record_through_kills_rotations_and_an_orderly_stop() {
    let world = World::new()
        .source(concat!("format = \"json\"\n", "multiline = { start = '^\\S', timeout = \"60s\" }\n"));
    let now = world.file("a.log");
    let mut written = Vec::new();
    for round in 0..9 {
        let traces: Vec<_> = (0..300).map(|number| trace(round * 300 + number)).collect();
        let all = traces.concat();
        // A trace is never begun in one round and ended in the next, but the daemon sees it half.
        let cut = all.len() * 2 / 3;
        append(&now, &all[..cut]);
        let daemon = world.run();
        daemon.follows(&now);
        append(&now, &all[cut..]);
        written.extend(traces.iter().map(|trace| trace.trim_end_matches('\n').to_owned()));
        if round % 4 == 1 {
            // What is renamed away ends; its last trace is complete when the file is let go of.
            fs::rename(&now, world.file(&format!("a.log.{round}"))).unwrap();
            eventually("all of it", || {
                let arrived: BTreeSet<_> = messages(&world).into_iter().collect();
                written.iter().all(|one| arrived.contains(one)).then_some(())
            });
        }
        match round % 2 {
            0 => daemon.running.kill(),
            _ => {
                // Whatever waits for more is shipped: its file may be gone tomorrow.
                daemon.running.stop();
                let arrived: BTreeSet<_> = messages(&world).into_iter().collect();
                assert_eq!(written.iter().find(|one| !arrived.contains(*one)), None, "in round {round}");
            }
        }
    }
    let daemon = world.run();
    daemon.running.stop();
    let arrived: BTreeSet<_> = messages(&world).into_iter().collect();
    assert_eq!(written.iter().find(|one| !arrived.contains(*one)), None);
    let written: BTreeSet<_> = written.into_iter().collect();
    assert_eq!(arrived.difference(&written).next(), None, "a trace in pieces");
}

#[test]
fn the_last_message_of_a_live_file_waits_for_its_timeout() {
    let world = World::new().source(TRACES).configured("ordered = true\n");
    let file = world.file("a.log");
    append(&file, "error 1\n at a\nerror 2\n at b\n");
    let daemon = world.run();
    arrives(&world, "error 1\n at a\nerror 2\n at b\n");
    counts(&daemon, "standpipe_records_delivered_total{stream=\"logs\"}", 2);
    daemon.settle();
    append(&file, "error 3\n");
    arrives(&world, "error 1\n at a\nerror 2\n at b\nerror 3\n");
    daemon.running.stop();
    let daemon = world.run();
    daemon.settle();
    counts(&daemon, "standpipe_records_delivered_total{stream=\"logs\"}", 0);
    daemon.running.stop();
}

/// A line of `len` bytes that differs everywhere, with characters of two bytes.
fn long_line(len: usize) -> String {
    let mut line: String = (0..len / 8).map(|number| format!("{number:06x}é")).collect();
    line.truncate(len - len % 8);
    line
}

#[test]
fn a_line_of_64_mib_is_split_truncated_or_put_aside_as_it_is_read() {
    const LEN: usize = 64 * 1024 * 1024;
    let long = long_line(LEN);
    assert_eq!(long.len(), LEN);
    let all = format!("before\n{long}\nafter\n");
    for oversize in ["split", "truncate", "dead_letter"] {
        let settings: &'static str =
            format!("max_line_bytes = \"64MiB\"\noversize = \"{oversize}\"\n").leak();
        let world = World::with_service(&["--quota-bytes", "0"])
            .source(settings)
            .configured("api = \"auto\"\nordered = true\nquota = { bytes_per_second = \"100MB\" }\n");
        let file = world.file("a.log");
        append(&file, &all);
        let daemon = world.run();
        // Killed in the middle of the line, once, and in the middle of the next read, who knows.
        eventually("the middle of the line", || {
            let files = daemon.status()["files"].clone();
            (files[0]["durable"].as_u64()? > 10_000_000).then_some(())
        });
        daemon.running.kill();
        let daemon = world.run();
        eventually("the line after it", || world.arrived("logs").ends_with(b"\nafter\n").then_some(()));
        daemon.settle();
        let peak = fs::read_to_string(format!("/proc/{}/status", daemon.running.id())).unwrap();
        let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").trim();
        let kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 200 * 1024, "{oversize}: {peak}");
        daemon.running.stop();
        let arrived = world.arrived("logs");
        match oversize {
            "split" => {
                // What was sent before the kill may come again, and is then some piece of the line.
                assert!(arrived.len() >= all.len() && arrived.starts_with(b"before\n0000"));
                let mut next = 0;
                let text = std::str::from_utf8(&arrived).expect("no character is cut");
                for piece in text["before\n".len()..].split_inclusive("é") {
                    let number: usize = piece
                        .trim_start_matches('\n')
                        .get(..6)
                        .map_or(0, |hex| usize::from_str_radix(hex, 16).unwrap_or(0));
                    assert!(number <= next, "{number} after {next}: nothing is missing");
                    next = next.max(number + 1);
                }
                assert_eq!(next, LEN / 8);
            }
            "truncate" => {
                let text = String::from_utf8(arrived).expect("no character is cut");
                // What stands around the line may come again, too: the kill may come late.
                let is_around = |line: &&str| matches!(*line, "before" | "after");
                assert_eq!(text.lines().last(), Some("after"));
                for line in text.lines().filter(|line| !is_around(line)) {
                    assert!(long.starts_with(line) && line.len() > 1_000_000, "{} bytes", line.len());
                }
            }
            _ => {
                let rest = String::from_utf8(arrived).unwrap().replace("before\n", "");
                assert_eq!(rest.replace("after\n", ""), "", "nothing of the line is sent");
                let state = world.dir().join("state");
                let (code, letters, _) = finished(&["dead-letters", "export", "--state-dir", text(&state)]);
                assert_eq!(code, 0);
                let letters: Vec<Value> =
                    letters.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
                check_pieces(&letters, &format!("{long}\n"));
            }
        }
    }
}

/// Dead letters that one behind the other are the line; those of before the kill may come again.
fn check_pieces(letters: &[Value], line: &str) {
    use base64::Engine as _;
    let mut reached = 0;
    for letter in letters {
        assert_eq!(letter["code"], "Oversize");
        let from = usize::try_from(letter["offset"].as_u64().unwrap()).unwrap() - "before\n".len();
        let data = letter["data"].as_str().expect("data");
        let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        assert!(from <= reached, "{from} after {reached}: nothing is missing");
        assert!(line.as_bytes()[from..].starts_with(&data));
        reached = reached.max(from + data.len());
    }
    assert_eq!(reached, line.len());
}

#[test]
fn a_shorter_limit_holds_for_every_shape_and_cuts_no_character() {
    let long = long_line(4_000);
    let table: [(&'static str, String); 5] = [
        ("max_line_bytes = 1023\noversize = \"truncate\"\n", format!("a\n{long}\nb\n")),
        (
            "max_line_bytes = 1023\noversize = \"truncate\"\nparse = \"cri\"\n",
            [cri("a", "stdout", 9), cri(&long, "stdout", 96), cri("b", "stdout", 9)].concat().concat(),
        ),
        (
            "max_line_bytes = 1023\noversize = \"truncate\"\nparse = \"cri\"\n",
            [cri("a", "stdout", 9), cri(&long, "stdout", 5_000), cri("b", "stdout", 9)].concat().concat(),
        ),
        (
            "max_line_bytes = 1023\noversize = \"truncate\"\nmultiline = { start = '^.' }\n",
            format!("a\n{long}\nb\n"),
        ),
        (
            "max_line_bytes = 1023\noversize = \"truncate\"\nparse = \"docker\"\n",
            [docker("a", "stdout", 9), docker(&long, "stdout", 96), docker("b", "stdout", 9)]
                .concat()
                .concat(),
        ),
    ];
    for (settings, file) in table {
        let world = World::new().source(settings).configured("ordered = true\n");
        append(&world.file("a.log"), &file);
        let (code, said, _) = world.once();
        assert_eq!(code, 0, "{said}");
        let arrived = String::from_utf8(world.arrived("logs")).expect("no character is cut");
        let lines: Vec<_> = arrived.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (3, "a", "b"), "{settings}: {lines:?}");
        assert!(long.starts_with(lines[1]) && (900..=1023).contains(&lines[1].len()), "{settings}");
    }
}

#[test]
fn what_is_cut_off_is_counted_and_what_is_put_aside_is_listed() {
    let world = World::new().source("max_line_bytes = 100\noversize = \"truncate\"\n");
    append(&world.file("a.log"), &format!("{}\nshort\n", "x".repeat(1_000)));
    let daemon = world.run();
    eventually("two records", || (world.arrived("logs").len() == 101 + 6).then_some(()));
    counts(&daemon, "standpipe_abandoned_bytes_total{source=\"app\",reason=\"oversize\"}", 900);
    counts(&daemon, "standpipe_oversize_lines_total{source=\"app\",action=\"truncate\"}", 1);
    daemon.running.says("only the beginning is shipped", "\n");
    daemon.running.stop();

    let world = World::new().source("max_line_bytes = 100\noversize = \"dead_letter\"\nformat = \"json\"\n");
    append(&world.file("a.log"), &format!("{}\nshort\n", "x".repeat(250)));
    let daemon = world.run();
    eventually("the short one", || (!world.arrived("logs").is_empty()).then_some(()));
    counts(&daemon, "standpipe_oversize_lines_total{source=\"app\",action=\"dead_letter\"}", 1);
    // In pieces, as it was read.
    counts(&daemon, "standpipe_dead_letters_total{stream=\"logs\",reason=\"Oversize\"}", 3);
    daemon.settle();
    daemon.running.stop();
    let (_, listed, _) = finished(&["dead-letters", "list", "--state-dir", text(&world.dir().join("state"))]);
    assert!(listed.contains("Oversize"), "{listed}");
}

#[test]
fn a_long_line_that_comes_in_parts_is_not_read_again_for_each() {
    let world = World::new()
        .source("parse = \"cri\"\nmax_line_bytes = \"10MiB\"\n")
        .configured("ordered = true\n[memory]\nbuffer_per_file = \"24MiB\"\n");
    let file = world.file("a.log");
    let line = long_line(8 * 1024 * 1024);
    let daemon = world.run();
    let began = Instant::now();
    for part in cri(&line.replace('é', "e"), "stdout", 16_384) {
        append(&file, &part);
        // Time for a look at what there is.
        daemon.get("/livez");
    }
    let took = began.elapsed();
    eventually("the line", || world.arrived("logs").ends_with(b"\n").then_some(()));
    assert_eq!(world.arrived("logs"), format!("{}\n", line.replace('é', "e")).as_bytes());
    let io = fs::read_to_string(format!("/proc/{}/io", daemon.running.id())).unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("what was read");
    let read: f64 = read.parse().unwrap();
    // A machine that takes its time has that time to read, and no more.
    let most = 34e6 * took.as_secs_f64() + 7.0 * line.len() as f64;
    assert!(read < most, "{read} bytes were read, and {most} would do, of parts written within {took:?}");
}

#[test]
fn what_was_not_cut_is_not_taken_for_the_rest_of_a_line_after_a_restart() {
    // A last line without its newline, nearly as long as a line may be.
    let world = World::new().source("max_line_bytes = 64\noversize = \"truncate\"\n");
    let file = world.file("a.log");
    append(&file, &"x".repeat(62));
    assert_eq!(world.once().0, 0);
    append(&file, "ab\nnext\n");
    assert_eq!(world.once().0, 0);
    assert_eq!(world.arrived("logs"), format!("{}\nab\nnext\n", "x".repeat(62)).as_bytes());

    // The hole of a truncated file.
    let world = World::new().source("max_line_bytes = 64\noversize = \"truncate\"\n");
    let file = world.file("a.log");
    append(&file, "first\n");
    let daemon = world.run();
    arrives(&world, "first\n");
    let writer = fs::OpenOptions::new().write(true).open(&file).unwrap();
    writer.set_len(0).unwrap();
    writer.write_all_at(b"important", 5_000).unwrap();
    counts(&daemon, "standpipe_nul_bytes_skipped_total{source=\"app\"}", 5_000);
    daemon.running.stop();
    append(&file, " rest\nsecond\n");
    assert_eq!(world.once().0, 0);
    assert_eq!(world.arrived("logs"), b"first\nimportant rest\nsecond\n");
}
