//! RecordIds that are kept, held against what the service's destination says of its records.
//!
//! `STANDPIPE_AUDIT_LINES=1000000` ships as many lines instead of some thousands.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;

use crate::world::{Daemon, World, append, eventually, finished, text};

/// Nothing but the processor limits how fast it goes.
const NO_QUOTAS: &[&str] =
    &["--manifest", "--quota-requests", "0", "--quota-records", "0", "--quota-bytes", "0"];
const AMPLE: &str =
    "quota = { requests_per_second = 100000, records_per_second = 1000000, bytes_per_second = \"1GiB\" }\n";

/// Streams with the line `logs/*.log*` shipped plain and cut, packed without some lines, and in gzip members.
fn audited() -> World {
    let world = World::with_service(NO_QUOTAS).matching("*.log*").source("max_line_bytes = \"128B\"\n");
    let paths = world.dir().join("logs").join("*.log*");
    let source = |stream: &str, more: &str| {
        format!(
            "[[source]]\nname = \"{stream}\"\npaths = [{paths:?}]\nstream = \"{stream}\"\nclose_removed_after = \"200ms\"\n{more}"
        )
    };
    let stream = |name: &str, more: &str| {
        format!(
            "[stream.{name}]\ndelivery_stream = \"{name}-at-aws\"\naudit = true\napi = \"auto\"\npacking = \"on\"\npack_delay = \"50ms\"\n{AMPLE}{more}"
        )
    };
    let more = [
        format!("audit = true\napi = \"put_record_batch\"\n{AMPLE}"),
        source("packed", "drop_lines = [\"0 [0-9a-f]{16}\"]\n"),
        source("gzip", ""),
        stream("packed", ""),
        stream("gzip", "compression = \"gzip\"\n"),
    ];
    world.configured(&more.concat())
}

fn audit(world: &World, wanted: &str, args: &[&str]) -> (i32, String, String) {
    let state = world.dir().join("state");
    finished(&[&["audit", wanted, "--state-dir", text(&state)], args].concat())
}

/// A line of `audit --json`, as far as it is asked for.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Row {
    record_id: Box<str>,
    stream: Box<str>,
    delivery_stream: Box<str>,
    inode: u64,
    id: Box<str>,
    /// The parts of the file that it stands for.
    bytes: Vec<(usize, usize)>,
    path_now: Option<PathBuf>,
}

/// What `audit --json` says.
fn rows(world: &World, wanted: &str) -> Vec<Row> {
    let (code, said, why) = audit(world, wanted, &["--json"]);
    assert!(code == 0 || said.is_empty(), "{code}: {why}");
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The data of each record that lies at the destination, by its RecordId.
fn manifest(world: &World, delivery_stream: &str) -> BTreeMap<String, Vec<u8>> {
    world.arrived(delivery_stream);
    let out = world.dir().join("out");
    let mut objects: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let text = fs::read_to_string(out.join(delivery_stream).join("manifest.jsonl")).unwrap();
    let record = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let object = line["object"].as_str().unwrap();
        let bytes = objects.entry(object.to_owned()).or_insert_with(|| fs::read(out.join(object)).unwrap());
        let at = usize::try_from(line["offset"].as_u64().unwrap()).unwrap();
        let len = usize::try_from(line["length"].as_u64().unwrap()).unwrap();
        (line["record_id"].as_str().unwrap().to_owned(), bytes[at..at + len].to_vec())
    };
    text.lines().map(record).collect()
}

/// Rows of one incarnation that stand for the same bytes together, in the order of the file.
fn groups<'a>(rows: &'a [Row], stream: &'a str) -> impl Iterator<Item = &'a [Row]> {
    let groups = rows.chunk_by(|one, other| one.id == other.id && one.bytes == other.bytes);
    groups.filter(move |group| *group[0].stream == *stream)
}

/// Holds that below a checkpoint, and in the ranges beyond it, each record has its row, and above it none.
fn each_record_below_the_checkpoint_has_its_row(world: &World, is_left_out: impl Fn(&str) -> bool) {
    let listed = world.checkpoints();
    let mut known: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for checkpoint in listed.as_array().unwrap() {
        let (path, stream) = (checkpoint["path"].as_str().unwrap(), checkpoint["stream"].as_str().unwrap());
        let content = fs::read(path).unwrap();
        let generation = format!("-{:x}", checkpoint["incarnation"].as_u64().unwrap());
        let of_file = known.entry(path.to_owned()).or_insert_with(|| rows(world, path));
        let mut held = vec![0_u8; content.len()];
        for group in groups(of_file, stream).filter(|group| group[0].id.ends_with(&generation)) {
            for (start, end) in &group[0].bytes {
                held[*start..*end].iter_mut().for_each(|times| *times += 1);
            }
        }
        let mut passed = vec![false; content.len()];
        let place = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        passed[..place(&checkpoint["offset"])].fill(true);
        for range in checkpoint["settled"].as_array().unwrap() {
            passed[place(&range[0])..place(&range[1])].fill(true);
        }
        let mut at = 0;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let left_out = stream == "packed" && is_left_out(std::str::from_utf8(line).unwrap());
            // Pieces of a line pass the checkpoint one by one.
            for at in at..at + line.len() {
                let wanted = u8::from(passed[at] && !left_out);
                assert_eq!(held[at], wanted, "{path} at {at} in {stream}: {checkpoint}");
            }
            at += line.len();
        }
    }
}

/// Holds every row against the record at the destination, and tells how many rows there are.
fn every_row_holds(world: &World, stream: &str, delivery_stream: &str, files: &[PathBuf]) -> usize {
    let records = manifest(world, delivery_stream);
    let mut count = 0;
    for path in files {
        let content = fs::read(path).unwrap();
        let inode = fs::metadata(path).unwrap().ino();
        let all = rows(world, text(path));
        for group in groups(&all, stream).filter(|group| group[0].inode == inode) {
            let sent = group.iter().flat_map(|row| {
                assert_eq!(&*row.delivery_stream, delivery_stream);
                let id = &*row.record_id;
                records.get(id).unwrap_or_else(|| panic!("the destination has no {id}")).clone()
            });
            let sent: Vec<u8> = sent.collect();
            let mut plain = Vec::new();
            match stream == "gzip" {
                true => drop(flate2::read::MultiGzDecoder::new(&sent[..]).read_to_end(&mut plain).unwrap()),
                false => plain = sent,
            }
            let held: Vec<u8> =
                group[0].bytes.iter().flat_map(|(start, end)| content[*start..*end].to_vec()).collect();
            assert!(plain == held, "{stream}: {:?}", group[0]);
            count += group.len();
        }
    }
    count
}

fn accepted(world: &World) -> u64 {
    world.stats()["streams"]["logs"]["accepted"]["records"].as_u64().unwrap_or_default()
}

fn goes_on(world: &World, records: u64) -> Daemon {
    let (before, daemon) = (accepted(world), world.run());
    eventually("records to be accepted", || (accepted(world) >= before + records).then_some(()));
    daemon
}

/// Rotation, `kill -9` in the middle, lines that are cut, lines that share records, lines that are left out.
#[test]
fn every_record_id_that_is_kept_names_the_record_that_holds_these_bytes() {
    let lines: u64 = std::env::var("STANDPIPE_AUDIT_LINES").map_or(6_000, |lines| lines.parse().unwrap());
    let is_left_out = |line: &str| line.split(' ').nth(1).is_some_and(|number| number.ends_with('0'));
    let mut world = audited();
    let (now, old) = (world.file("a.log"), world.file("a.log.1"));
    world.written.append(&now, "a", lines / 2);
    for _ in 0..3 {
        let daemon = goes_on(&world, lines / 12);
        daemon.running.kill();
        each_record_below_the_checkpoint_has_its_row(&world, is_left_out);
    }
    let daemon = goes_on(&world, 1);
    daemon.follows(&now);
    fs::rename(&now, &old).unwrap();
    world.written.append(&old, "a", lines / 4);
    world.written.append(&now, "a", lines / 4);
    daemon.follows(&now);
    daemon.settle();
    daemon.running.stop();
    each_record_below_the_checkpoint_has_its_row(&world, is_left_out);
    let files = [now.clone(), old.clone()];
    for (stream, service) in [("logs", "logs"), ("packed", "packed-at-aws"), ("gzip", "gzip-at-aws")] {
        let count = every_row_holds(&world, stream, service, &files);
        eprintln!("{stream}: {count} rows are right");
        assert!(count > 2, "{stream}: {count}");
    }
    let by_old_name = rows(&world, text(&now));
    assert!(
        by_old_name.iter().any(|row| row.path_now.as_ref() == Some(&old)),
        "read as a.log, and now a.log.1"
    );
    one_by_one(&world, &old, is_left_out);
}

/// A RecordId, the byte at an offset, and a line that was left out, each asked for by itself.
fn one_by_one(world: &World, path: &Path, is_left_out: impl Fn(&str) -> bool) {
    let content = fs::read_to_string(path).unwrap();
    let cut = content.split_inclusive('\n').find(|line| line.len() > 128).unwrap();
    let at = content.find(cut).unwrap() + 3;
    let of_byte = rows(world, &format!("{}:{at}", path.display()));
    assert!(!of_byte.is_empty());
    for row in &of_byte {
        assert!(row.bytes.iter().any(|(start, end)| (*start..*end).contains(&at)), "{row:?}");
        assert_eq!(rows(world, &row.record_id).iter().collect::<Vec<_>>(), [row]);
    }
    let left_out = content.split_inclusive('\n').filter(|line| is_left_out(line)).nth(7).unwrap();
    let at = content.find(left_out).unwrap() + 5;
    let found = rows(world, &format!("{}:{at}", path.display()));
    let streams: Vec<_> = found.iter().map(|row| &*row.stream).collect();
    assert!(!streams.contains(&"packed") && streams.contains(&"gzip"), "{streams:?}");
}

/// Why there is no RecordId, in words.
#[test]
fn where_no_record_id_is_kept_it_is_said_why() {
    let source = "max_line_bytes = \"50B\"\noversize = \"dead_letter\"\ndrop_lines = [\"^debug\"]\n";
    let mut world = World::new().source(source).configured("audit = true\n[stream.plain]\napi = \"auto\"\n");
    let plain = world.dir().join("plain.txt");
    world =
        world.configured(&format!("[[source]]\nname = \"plain\"\npaths = [{plain:?}]\nstream = \"plain\"\n"));
    let file = world.file("a.log");
    append(&plain, "a line\n");
    append(&file, &format!("debug 1\n{}\nkept\n", "x".repeat(60)));
    let daemon = world.run();
    daemon.settle();
    daemon.running.signal(Signal::TERM);
    assert_eq!(daemon.running.exit(), Some(0));
    append(&file, "later\n");
    let (config, name) = (world.config(), text(&file).to_owned());
    let cases = [
        (format!("{name}:3"), "it was acknowledged before audit was on"),
        (format!("{name}:20"), "this byte is in a dead letter: the line at offset 8"),
        (
            format!("{name}:75"),
            "not acknowledged, or that is not durable yet: everything before offset 74 is",
        ),
        (text(&plain).to_owned(), "plain: audit is off"),
        (format!("{}/no.log", world.dir().display()), "no such file, nor is one known"),
        (
            "0123456789abcdef".to_owned(),
            "this RecordId is not kept; kept are those of the streams logs (since 2",
        ),
    ];
    for (wanted, said) in cases {
        let (code, out, why) = finished(&["audit", &wanted, "-c", text(&config)]);
        assert_eq!((code, &*out), (1, ""), "{wanted}: {why}");
        assert!(why.contains(said), "{wanted}: {why}");
    }
    assert_eq!(rows(&world, &format!("{name}:70")).len(), 1, "the line that was kept");
    let (code, out, _) = audit(&world, &name, &[]);
    assert_eq!(code, 0);
    assert!(out.starts_with(&format!("{name}: stream logs, delivery stream logs, id ")), "{out}");
    assert!(out.contains("\n  bytes 69-74  2"), "{out}");
    let too_far = format!("{name}:99999999999999999999");
    for wrong in [&[][..], &[""], &[&*too_far], &["a", "b"], &["a", "--no"]] {
        let args = [&["audit"][..], wrong, &["-c", text(&config)]].concat();
        assert_eq!(finished(&args).0, 64, "{args:?}");
    }
}
