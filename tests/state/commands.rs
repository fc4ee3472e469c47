//! The subcommands that look into the state.

use std::fs;

use serde_json::Value;

use crate::stage::{STREAM, Said, Stage, await_that, line, lines};

#[test]
fn shipped_says_what_is_missing_until_it_is_durable() {
    let stage = Stage::new();
    let log = stage.log("app.log");
    let path = log.to_str().unwrap();
    stage.append("app.log", &lines(0..100));
    stage.configure(&format!("[stream.{STREAM}]\nretry = {{ initial = \"10ms\", max = \"100ms\" }}"));

    let said = stage.say(&["shipped", path]);
    assert_eq!(said.code, 74, "{said:?}");
    assert!(said.err.contains("no standpipe has kept its state there"), "{}", said.err);

    stage.service.faults(r#"{"rates": {"unavailable": 1.0}}"#);
    let daemon = stage.run();
    let expected =
        format!("{path}: {STREAM}: {} bytes from offset 0 on are not shipped", lines(0..100).len());
    await_that("a position", || stage.say(&["shipped", path]).err.contains(&expected));
    assert_eq!(stage.say(&["shipped", path, "--wait", "50ms"]).code, 1);

    stage.service.faults("{}");
    assert_eq!(stage.say(&["shipped", path, "--wait", "60s"]).code, 0);
    stage.service.tally(STREAM).check(100);

    stage.append("app.log", "half a line");
    let said = stage.say(&["shipped", path]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("the last line (11 bytes from offset"), "{}", said.err);
    stage.append("app.log", "\n");
    assert_eq!(stage.say(&["shipped", path, "--wait", "60s"]).code, 0);

    // It asks the disk, not the daemon.
    assert_eq!(daemon.stop(), 0);
    assert_eq!(stage.say(&["shipped", path]).code, 0);
    stage.append("app.log", &line(101));
    assert_eq!(stage.say(&["shipped", path]).code, 1);
}

#[test]
fn shipped_asks_for_every_stream_that_the_configuration_sends_a_file_to() {
    let stage = Stage::new();
    stage.append("app.log", &lines(0..100));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);

    let (log, state) = (stage.log("app.log"), stage.state());
    let (path, state) = (log.to_str().unwrap(), state.to_str().unwrap());
    let source = |name: &str, stream: &str| {
        let paths = stage.log("*.log");
        format!("[[source]]\nname = {name:?}\npaths = [{paths:?}]\nstream = {stream:?}\n")
    };
    stage.configure_all(&(source("app", STREAM) + &source("copy", "copies")));
    let said = stage.say(&["shipped", path]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(&format!("{path}: copies: nothing is shipped yet")), "{}", said.err);
    assert!(!said.err.contains(STREAM), "that one has it: {}", said.err);
    let daemon = stage.run();
    assert_eq!(stage.say(&["shipped", path, "--wait", "60s"]).code, 0);
    stage.service.tally("copies").check(100);
    assert_eq!(daemon.stop(), 0);

    // A stream that the configuration knows no more is nobody's business, however far it got.
    stage.append("app.log", &lines(100..110));
    stage.configure_all(&source("copy", "copies"));
    let daemon = stage.run();
    assert_eq!(stage.say(&["shipped", path, "--wait", "60s"]).code, 0);
    assert_eq!(daemon.stop(), 0);
    let said = Said::of(stage.command(&["shipped", path, "--state-dir", state]).output().unwrap());
    assert!(said.code == 1 && said.err.contains(STREAM), "by the state alone: {said:?}");
}

#[test]
fn shipped_does_not_say_yes_for_what_was_skipped() {
    let stage = Stage::new();
    stage.append("old.log", &lines(0..10));
    stage.configure("start_at = \"end\"\n");
    let daemon = stage.run();
    let (old, new) = (stage.log("old.log"), stage.log("new.log"));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let expected = format!("{old}: {STREAM}: the first {} bytes were there", lines(0..10).len());
    await_that("a position at the end", || stage.say(&["shipped", old]).err.contains(&expected));
    stage.append("old.log", &lines(10..20));
    stage.append("new.log", &lines(20..30));
    assert_eq!(stage.say(&["shipped", new, "--wait", "60s"]).code, 0, "nothing of it was there");
    await_that("the new lines", || stage.service.tally(STREAM).0.len() == 20);
    assert_eq!(daemon.stop(), 0);
    let said = stage.say(&["shipped", old]);
    assert!(said.code == 1 && said.err.contains(&expected), "{said:?}");
    let set = ["checkpoints", "set", old, "end"];
    assert_eq!(stage.say(&set).code, 0);
    assert_eq!(stage.say(&["shipped", old]).code, 0, "somebody said so");
}

#[test]
fn shipped_is_not_misled_by_another_file_or_content() {
    let stage = Stage::new();
    stage.append("app.log", &lines(0..100));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);

    let log = stage.log("app.log");
    let path = log.to_str().unwrap();
    let size = fs::metadata(&log).unwrap().len();
    let says = |expected: &str| {
        let said = stage.say(&["shipped", path]);
        assert_eq!(said.code, 1, "{expected}");
        assert!(said.err.contains(expected), "{}", said.err);
    };
    // As long, but other bytes: at the beginning, and only just before the position.
    let content = fs::read(&log).unwrap();
    for at in [3, content.len() - 3] {
        let mut other = content.clone();
        other[at] ^= 1;
        fs::write(&log, other).unwrap();
        says("truncated or replaced");
    }
    fs::write(&log, content).unwrap();
    assert_eq!(stage.say(&["shipped", path]).code, 0);
    fs::File::options().write(true).open(&log).unwrap().set_len(size - 1).unwrap();
    says("truncated or replaced");
    fs::rename(&log, stage.log("app.log.1")).unwrap();
    says("no such file");
    fs::write(&log, lines(0..100)).unwrap();
    says("not followed");
    fs::write(&log, "").unwrap();
    assert_eq!(stage.say(&["shipped", path]).code, 0, "an empty file lacks nothing");
}

#[test]
fn checkpoints_are_listed_and_moved_by_a_person() {
    let stage = Stage::new();
    stage.append("app.log", &lines(0..100));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);

    let log = stage.log("app.log");
    let path = log.to_str().unwrap();
    let listed = stage.say(&["checkpoints", "list", "--json"]).json();
    let (all, ten) = (lines(0..100).len(), lines(0..10).len());
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["path"], &listed[0]["offset"]), (&Value::from(path), &Value::from(all)));
    assert_eq!(listed[0]["stream"], STREAM);
    let table = stage.say(&["checkpoints", "list"]).out;
    assert!(table.lines().nth(1).unwrap().ends_with(path), "{table}");
    assert!(table.contains(&all.to_string()), "{table}");

    assert_eq!(daemon.stop(), 0);

    let refused = [("7", "the line begins at 0"), ("99999999", "nothing is at"), ("-1", "error")];
    for (offset, why) in refused {
        let said = stage.say(&["checkpoints", "set", path, offset]);
        assert_eq!(said.code, 64, "{offset}: {said:?}");
        assert!(said.err.contains(why), "{}", said.err);
    }
    let other = stage.log("other.log");
    fs::write(&other, lines(200..203)).unwrap();
    let said = stage.say(&["checkpoints", "set", other.to_str().unwrap(), "end"]);
    assert!(said.code == 1 && said.err.contains("--stream"), "{said:?}");

    assert_eq!(stage.say(&["checkpoints", "set", path, &ten.to_string()]).code, 0);
    let end = ["checkpoints", "set", other.to_str().unwrap(), "end", "--stream", STREAM];
    assert_eq!(stage.say(&end).code, 0);
    let daemon = stage.run();
    stage.await_shipped(&["app.log", "other.log"]);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(100);
    assert_eq!(tally.repeats(), 90, "from line 10 on, all once more; none of the other file");

    assert_eq!(stage.say(&["checkpoints", "forget", path]).code, 0);
    assert_eq!(stage.say(&["checkpoints", "forget", path]).code, 1);
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(stage.service.tally(STREAM).repeats(), 190, "from the beginning");
}

#[test]
fn dead_letters_are_shown_exported_sent_again_and_dropped() {
    let stage = Stage::new();
    stage.append("app.log", &lines(0..20));
    stage.service.faults(r#"{"next": [{"fault": "invalid_argument", "requests": 3}]}"#);
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(stage.service.tally(STREAM).0.len(), 17);

    let listed = stage.say(&["dead-letters", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(listed[0]["code"], "InvalidArgumentException");
    assert_eq!(listed[0]["bytes"], line(0).len());
    assert_eq!(stage.say(&["dead-letters", "list"]).out.lines().count(), 4);
    let export = stage.say(&["dead-letters", "export", "--stream", STREAM]).out;
    assert_eq!(stage.say(&["dead-letters", "export", "--stream", "other"]).out, "");
    let mut exported = Vec::new();
    for row in export.lines() {
        use base64::Engine as _;
        let row: Value = serde_json::from_str(row).unwrap();
        let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "data", "file", "message", "offset", "source", "stream", "time"]);
        let data = base64::engine::general_purpose::STANDARD.decode(row["data"].as_str().unwrap()).unwrap();
        let offset = usize::try_from(row["offset"].as_u64().unwrap()).unwrap();
        assert!(lines(0..20)[offset..].starts_with(std::str::from_utf8(&data).unwrap()));
        assert_eq!((&row["source"], &row["stream"]), (&Value::from("app"), &Value::from(STREAM)));
        exported.push(data);
    }
    assert_eq!(exported.len(), 3);
    assert_eq!(daemon.stop(), 0);

    // One is refused again and kept, two are accepted.
    stage.service.faults(r#"{"next": [{"fault": "unavailable", "requests": 1}, {"fault": "invalid_argument", "requests": 1}]}"#);
    let said = stage.say(&["dead-letters", "replay"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("2 dead letters sent again and accepted, 1 kept"), "{}", said.err);
    assert_eq!(stage.say(&["dead-letters", "list", "--json"]).json().as_array().unwrap().len(), 1);
    stage.service.faults(r#"{"rates": {"not_found": 1.0}}"#);
    assert_eq!(stage.say(&["dead-letters", "replay"]).code, 1);
    assert_eq!(stage.say(&["dead-letters", "list", "--json"]).json().as_array().unwrap().len(), 1);
    stage.service.faults("{}");
    assert_eq!(stage.say(&["dead-letters", "replay"]).code, 0);
    let tally = stage.service.tally(STREAM);
    tally.check(20);
    assert_eq!(tally.repeats(), 0);

    stage.service.faults(r#"{"next": [{"fault": "invalid_argument", "requests": 1}]}"#);
    stage.append("app.log", &lines(20..40));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(stage.say(&["dead-letters", "purge", "--stream", "other"]).code, 0);
    assert_eq!(stage.say(&["dead-letters", "list"]).out.lines().count(), 2);
    assert_eq!(stage.say(&["dead-letters", "purge"]).code, 0);
    assert_eq!(stage.say(&["dead-letters", "list", "--json"]).json(), Value::Array(Vec::new()));
}

#[test]
fn a_file_stops_when_there_is_no_room_for_its_dead_letters() {
    use standpipe::model::checkpoint::{DeadLetter, Save};
    use standpipe::shell::store::Store;
    let stage = Stage::new();
    let letter = DeadLetter {
        stream: STREAM.into(),
        source: "app".into(),
        path: std::path::Path::new("/earlier.log").into(),
        offset: standpipe::model::offset::Offset::ZERO,
        code: "InvalidArgumentException".into(),
        message: "refused".into(),
        data: vec![b'x'; 1 << 20].into(),
        target: None,
        unmade: None,
    };
    let (mut store, _) = Store::open(&stage.state()).unwrap();
    for dead_letters in [vec![letter.clone(); 200], vec![letter; 56]] {
        store.commit(&Save { dead_letters, ..Save::default() }).unwrap();
    }
    drop(store);

    // A record is blamed only while others are taken.
    stage.append("b.log", &lines(50..100));
    let mut daemon = stage.run();
    stage.await_shipped(&["b.log"]);
    stage.service.faults(r#"{"next": [{"fault": "invalid_argument", "requests": 1}]}"#);
    stage.append("a.log", &lines(0..50));
    daemon.await_log("the dead letters are full");
    await_that("all but one", || stage.service.tally(STREAM).0.len() == 99);
    let a = stage.log("a.log");
    assert_eq!(stage.say(&["shipped", a.to_str().unwrap()]).code, 1);
    assert_eq!(stage.say(&["dead-letters", "list", "--json"]).json().as_array().unwrap().len(), 256);
    assert_eq!(daemon.stop(), 0);

    // Some are refused after others were taken, in whatever order they come.
    stage.append("c.log", &lines(100..150));
    stage.service.faults(r#"{"rates": {"invalid_argument": 0.3}}"#);
    let once = stage.say(&["run", "--once"]);
    assert_eq!(once.code, 1, "{once:?}");
    assert!(once.err.contains("the dead letters are full"), "{}", once.err);

    stage.service.faults("{}");
    assert_eq!(stage.say(&["dead-letters", "purge"]).code, 0);
    assert_eq!(stage.say(&["run", "--once"]).code, 0);
    stage.service.tally(STREAM).check(150);
}

#[test]
fn completions_name_every_command() {
    let stage = Stage::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = stage.command(&["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for command in ["run", "check", "shipped", "checkpoints", "dead-letters", "local"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let output = stage.command(&["completions", "abacus"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}
