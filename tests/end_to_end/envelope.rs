//! `format = "json"`: each line in an object that says where it is from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::world::{World, append, eventually, seed, text};

const JSON: &str = "format = \"json\"\n";

fn objects(arrived: &[u8]) -> Vec<Value> {
    let arrived = std::str::from_utf8(arrived).expect("JSON is UTF-8");
    arrived.lines().map(|line| serde_json::from_str(line).expect("a record is a JSON object")).collect()
}

#[test]
fn a_record_says_where_its_line_is_from() {
    let world = World::new().source(
        "format = \"json\"\nmerge_json = true\nfields = { env = \"${STAGE}\", shard = 3, hot = true }\n",
    );
    let file = world.file("a.log");
    append(&file, "first\n\n{\"level\":\"warn\",\"n\":17}\n{\"ID\":17}\n");
    let daemon = world.run_in(|command| {
        command.env("STAGE", "prod");
    });
    let arrived = eventually("four records", || {
        let objects = objects(&world.arrived("logs"));
        (objects.len() == 4).then_some(objects)
    });
    let counted = "standpipe_unmerged_lines_total{source=\"app\",reason=\"reserved_key\"} 1\n";
    eventually("the count", || daemon.get("/metrics").body.contains(counted).then_some(()));
    daemon.running.stop();
    let line = |offset: u64| arrived.iter().find(|object| object["offset"] == offset).expect("a line");
    let (first, empty, merged) = (line(0), line(6), line(7));
    assert_eq!((&first["message"], &empty["message"]), (&"first".into(), &"".into()));
    assert_eq!(
        (&merged["message"], &merged["level"], &merged["n"]),
        (&Value::Null, &"warn".into(), &17.into())
    );
    assert_eq!(line(31)["message"], "{\"ID\":17}", "a key of ours");
    let metadata = fs::metadata(&file).unwrap();
    let start = format!("{:x}-{:x}-", metadata.dev(), metadata.ino());
    for (object, offset) in [(first, "0"), (empty, "6"), (merged, "7"), (line(31), "1f")] {
        let id = object["id"].as_str().expect("every record has one");
        assert!(id.starts_with(&start) && id.ends_with(&format!(":{offset}")), "{id}");
        assert_eq!((&object["file"], &object["source"]), (&text(&file).into(), &"app".into()));
        assert_eq!(
            (&object["env"], &object["shard"], &object["hot"]),
            (&"prod".into(), &3.into(), &true.into())
        );
        assert_eq!(object["host"].as_str(), Some(&*rustix::system::uname().nodename().to_string_lossy()));
        let time = object["time"].as_str().expect("a time");
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }
}

#[test]
fn the_real_path_and_the_time_stand_in_a_record_as_they_are_asked_for() {
    let world = World::new().source(concat!(
        "format = \"json\"\nfollow_symlinks = true\ntime_key = \"read_at\"\ntime_format = \"epoch_ms\"\n",
        "path_fields = '/real-(?<app>[a-z]+)[.](?<kind>txt)$'\n",
    ));
    let real = world.dir().join("real-shop.txt");
    append(&real, "line\n");
    std::os::unix::fs::symlink(&real, world.file("a.log")).unwrap();
    let (code, said, _) = world.once();
    assert_eq!(code, 0, "{said}");
    let arrived = objects(&world.arrived("logs"));
    let object = &arrived[0];
    assert_eq!(
        (&object["app"], &object["kind"], &object["time"]),
        (&"shop".into(), &"txt".into(), &Value::Null)
    );
    assert_eq!(object["file"], text(&world.file("a.log")), "the path that is matched");
    assert!(object["read_at"].as_u64().is_some_and(|millis| millis > 1_700_000_000_000), "{object}");
}

/// What a consumer does with what at-least-once delivery sends twice.
#[test]
fn ten_kills_and_dropping_repeats_by_id_leaves_exactly_the_lines() {
    let mut rng = seed();
    let mut world = World::new().source(JSON).configured("api = \"auto\"\n");
    let now = world.file("a.log");
    for round in 0..10 {
        world.written.append(&now, "a", 700);
        let before = world.arrived("logs").len();
        let daemon = world.run();
        daemon.follows(&now);
        if round % 3 == 1 {
            fs::rename(&now, world.file(&format!("a.log.{round}"))).unwrap();
            world.written.append(&now, "a", 300);
        }
        // In the middle of it: somewhere behind what has arrived.
        let more = rng.usize(1..100_000);
        eventually("a little", || (world.arrived("logs").len() > before + more.min(40_000)).then_some(()));
        daemon.running.kill();
    }
    let total = usize::try_from(world.written.total()).unwrap();
    let daemon = world.run();
    let by_id = eventually("every line", || {
        let mut by_id: BTreeMap<String, String> = BTreeMap::new();
        for object in objects(&world.arrived("logs")) {
            let (id, message) = (object["id"].as_str().unwrap(), object["message"].as_str().unwrap());
            let first = by_id.entry(id.to_owned()).or_insert_with(|| message.to_owned());
            assert_eq!(first, message, "two lines have one id");
        }
        (by_id.len() >= total).then_some(by_id)
    });
    daemon.running.stop();
    let lines: String = by_id.values().map(|message| format!("{message}\n")).collect();
    let difference = world.written.compare(lines.as_bytes());
    assert_eq!((difference.missing, difference.repeated, difference.invented.len()), (0, 0, 0));
}
