//! Commands that ask a running daemon, through the socket in its state directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use standpipe::model::checkpoint::{DeadLetter, Save};
use standpipe::shell::store::Store;

use crate::stage::{STREAM, Stage, await_that, line, lines};

/// Dead letters that an earlier daemon has left.
fn leave(stage: &Stage, stream: &str, data: impl IntoIterator<Item = Vec<u8>>) {
    let letter = |(number, data): (usize, Vec<u8>)| DeadLetter {
        stream: stream.into(),
        source: "app".into(),
        path: std::path::Path::new("/earlier.log").into(),
        offset: standpipe::model::offset::Offset::new(number as u64),
        code: "InvalidArgumentException".into(),
        message: "refused".into(),
        data: data.into(),
        target: None,
        unmade: None,
    };
    let (mut store, _) = Store::open(&stage.state()).unwrap();
    let mut data = data.into_iter().enumerate().map(letter).peekable();
    while data.peek().is_some() {
        let dead_letters = data.by_ref().take(64).collect();
        store.commit(&Save { dead_letters, ..Save::default() }).unwrap();
    }
}

/// Dead letters of a million bytes each.
fn leave_letters(stage: &Stage, stream: &str, count: usize) {
    leave(stage, stream, std::iter::repeat_n(vec![b'x'; 1_000_000], count));
}

fn leave_lines(stage: &Stage, stream: &str, numbers: std::ops::Range<usize>) {
    leave(stage, stream, numbers.map(|number| line(number).into_bytes()));
}

fn listed(stage: &Stage) -> usize {
    stage.say(&["dead-letters", "list", "--json"]).json().as_array().unwrap().len()
}

#[test]
fn positions_are_moved_in_a_running_daemon() {
    let stage = Stage::new();
    stage.append("app.log", &lines(0..100));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    let socket = stage.state().join("control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let log = stage.log("app.log");
    let path = log.to_str().unwrap();
    let (all, ten) = (lines(0..100).len(), lines(0..10).len().to_string());
    let said = stage.say(&["checkpoints", "set", path, &ten]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains(&format!("{STREAM}: from {all} to {ten}")), "{}", said.err);
    await_that("lines from the tenth on", || stage.service.tally(STREAM).repeats() == 90);
    stage.append("app.log", &lines(100..110));
    stage.await_shipped(&["app.log"]);

    assert_eq!(stage.say(&["checkpoints", "forget", path, "--stream", "another"]).code, 1);
    let said = stage.say(&["checkpoints", "forget", path]);
    assert!(said.code == 0 && said.err.contains("forgot"), "{said:?}");
    await_that("all lines once more", || stage.service.tally(STREAM).repeats() == 200);
    stage.await_shipped(&["app.log"]);

    let said = stage.say(&["checkpoints", "set", path, "7"]);
    assert!(said.code == 64 && said.err.contains("the line begins at 0"), "{said:?}");
    let other = stage.dir.path().join("elsewhere.txt");
    fs::write(&other, lines(200..203)).unwrap();
    let said = stage.say(&["checkpoints", "set", other.to_str().unwrap(), "end"]);
    assert!(said.code == 1 && said.err.contains("--stream"), "{said:?}");
    assert_eq!(daemon.stop(), 0);
    assert!(!socket.exists(), "it is removed at an orderly stop");

    let daemon = stage.run();
    stage.append("app.log", &lines(110..120));
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(120);
    assert_eq!(tally.repeats(), 200, "what was moved was durable");
}

#[test]
fn what_a_stream_that_is_down_holds_up_is_skipped_at_once() {
    let stage = Stage::new();
    stage.service.faults(r#"{"rates": {"not_found": 1.0}}"#);
    stage.append("app.log", &lines(0..1000));
    let mut daemon = stage.run();
    daemon.await_log("not delivering");
    let log = stage.log("app.log");
    let said = stage.say(&["checkpoints", "set", log.to_str().unwrap(), "end"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(stage.say(&["shipped", log.to_str().unwrap()]).code, 0, "nothing is missing any more");
    daemon.kill();
    stage.service.faults("{}");
    stage.append("app.log", &line(0));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    stage.service.tally(STREAM).check(1);
}

#[test]
fn dead_letters_are_dropped_by_a_running_daemon_and_files_that_had_no_room_go_on() {
    let stage = Stage::new();
    leave_letters(&stage, STREAM, 268);
    stage.append("a.log", &lines(0..50));
    stage.service.faults(r#"{"next": [{"fault": "invalid_argument", "requests": 1}]}"#);
    let mut daemon = stage.run();
    daemon.await_log("the dead letters are full");
    stage.append("a.log", &lines(50..100));
    let purge = |stream| stage.say(&["dead-letters", "purge", "--stream", stream]);
    let said = purge("another");
    assert!(said.code == 0 && said.err.contains("0 dead letters"), "{said:?}");
    let said = purge(STREAM);
    assert!(said.code == 0 && said.err.contains("268 dead letters with 268000000 bytes"), "{said:?}");
    stage.await_shipped(&["a.log"]);
    assert_eq!(listed(&stage), 1, "the one that had no room");
    await_that("all but one", || stage.service.tally(STREAM).0.len() == 99);
    assert_eq!(daemon.stop(), 0);
    let size = fs::metadata(stage.state().join("standpipe.db")).unwrap().len();
    assert!(size < 4_000_000, "the database has {size} bytes");
}

#[test]
fn a_stream_that_fills_its_room_stops_no_other() {
    let stage = Stage::new();
    let (a, b) = (stage.log("a.log"), stage.log("b.log"));
    stage.configure_all(&format!(
        "[[source]]\npaths = [{a:?}]\nstream = \"full\"\n[[source]]\npaths = [{b:?}]\nstream = \"{STREAM}\"\n"
    ));
    // All that the stream may take: the half for whoever comes, and half of the other half.
    leave_letters(&stage, "full", 201);
    stage.append("b.log", &lines(0..50));
    stage.service.faults(r#"{"next": [{"fault": "invalid_argument", "requests": 1}]}"#);
    let daemon = stage.run();
    stage.await_shipped(&["b.log"]);
    assert_eq!(listed(&stage), 202);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn after_a_crash_the_next_daemon_is_asked() {
    let stage = Stage::new();
    let mut daemon = stage.run();
    daemon.await_log("starting");
    await_that("the socket", || stage.say(&["dead-letters", "purge"]).code == 0);
    daemon.kill();
    assert!(stage.state().join("control.sock").exists());
    assert_eq!(stage.say(&["dead-letters", "purge"]).code, 0, "no daemon runs: the command does it");
    let mut daemon = stage.run();
    daemon.await_log("starting");
    await_that("the socket", || stage.say(&["dead-letters", "purge"]).code == 0);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn whoever_holds_the_state_and_does_not_listen_is_named() {
    let stage = Stage::new();
    let (store, _) = Store::open(&stage.state()).unwrap();
    let said = stage.say(&["dead-letters", "purge"]);
    assert_eq!(said.code, 75, "{said:?}");
    let pid = format!("held by another standpipe (pid {})", std::process::id());
    assert!(said.err.contains(&pid) && said.err.contains("control.sock"), "{}", said.err);
    drop(store);
}

#[test]
fn dead_letters_are_sent_again_by_a_running_daemon() {
    for api in ["put_record", "auto"] {
        let stage = Stage::new();
        stage.configure(&format!("[stream.{STREAM}]\napi = \"{api}\"\n"));
        leave_lines(&stage, STREAM, 0..100);
        leave_lines(&stage, "gone", 900..902);
        leave_lines(&stage, STREAM, 100..600);
        let mut daemon = stage.run();
        daemon.await_log("starting");
        stage.append("app.log", &lines(600..1_000));
        stage.await_shipped(&["app.log"]);
        let said = stage.say(&["dead-letters", "replay"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("600 dead letters sent again and accepted, 2 kept"), "{}", said.err);
        assert!(said.err.contains("gone: NoStream"), "it is told by name: {}", said.err);
        assert_eq!(listed(&stage), 2);
        let said = stage.say(&["dead-letters", "replay", "--stream", STREAM]);
        assert!(said.code == 0 && said.err.contains("0 dead letters"), "{said:?}");
        assert_eq!(daemon.stop(), 0);
        let tally = stage.service.tally(STREAM);
        tally.check(1_000);
        assert_eq!(tally.repeats(), 0, "{api}");
    }
}

#[test]
fn what_the_service_does_not_take_from_a_running_daemon_is_kept_and_told() {
    let stage = Stage::new();
    leave_lines(&stage, STREAM, 0..20);
    let mut daemon = stage.run();
    daemon.await_log("starting");
    await_that("the socket", || stage.say(&["dead-letters", "purge", "--stream", "none"]).code == 0);
    stage.service.faults(r#"{"rates": {"not_found": 1.0}}"#);
    let said = stage.say(&["dead-letters", "replay"]);
    assert!(said.code == 1 && said.err.contains("0 dead letters sent again"), "{said:?}");
    assert!(said.err.contains("ResourceNotFoundException"), "{}", said.err);
    assert_eq!(listed(&stage), 20);
    stage.service.faults(r#"{"next": [{"fault": "invalid_argument", "requests": 1}, {"fault": "unavailable", "requests": 3}]}"#);
    let said = stage.say(&["dead-letters", "replay"]);
    assert!(
        said.code == 1 && said.err.contains("19 dead letters sent again and accepted, 1 kept"),
        "{said:?}"
    );
    assert_eq!(listed(&stage), 1);
    assert_eq!(stage.say(&["dead-letters", "replay"]).code, 0);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(20);
    assert_eq!(tally.repeats(), 0);
}

#[test]
fn without_a_daemon_a_letter_of_a_stream_that_is_gone_holds_up_no_other() {
    let stage = Stage::new();
    leave_lines(&stage, "gone", 900..902);
    leave_lines(&stage, STREAM, 0..600);
    let said = stage.say(&["dead-letters", "replay"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("600 dead letters sent again and accepted, 2 kept"), "{}", said.err);
    assert!(said.err.contains("gone: NoStream"), "{}", said.err);
    assert_eq!(listed(&stage), 2);
    stage.service.tally(STREAM).check(600);
}

/// A daemon that can be asked.
fn running(stage: &Stage) -> crate::stage::Daemon {
    let daemon = stage.run();
    await_that("the socket", || stage.state().join("control.sock").exists());
    daemon
}

/// Requests that are under way together arrive in whatever order.
fn sorted(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.sort_unstable();
    bytes
}

/// Both where a daemon runs and where none does.
#[test]
fn what_was_too_long_is_replayed_as_its_source_says_now_or_unchanged() {
    for beside_a_daemon in [true, false] {
        let stage = Stage::new();
        let long = format!("{}\n", "0123456789".repeat(5));
        stage.configure("max_line_bytes = 30\noversize = \"dead_letter\"\n");
        stage.append("app.log", &format!("{long}{long}"));
        let daemon = stage.run();
        stage.await_shipped(&["app.log"]);
        assert_eq!(listed(&stage), 4, "two pieces of each line");
        let said = stage.say(&["dead-letters", "replay"]);
        assert!(said.code == 1 && said.err.contains("puts aside again"), "{said:?}");
        let said = stage.say(&["dead-letters", "replay", "--raw"]);
        assert!(said.code == 0 && said.err.contains("4 dead letters"), "{said:?}");
        assert_eq!(sorted(stage.service.accepted(STREAM)), sorted(format!("{long}{long}").into_bytes()));
        stage.append("app.log", &long);
        stage.await_shipped(&["app.log"]);
        assert_eq!(daemon.stop(), 0);

        stage.configure("format = \"json\"\nmax_line_bytes = 20\noversize = \"split\"\n");
        let daemon = beside_a_daemon.then(|| running(&stage));
        let before = stage.service.accepted(STREAM).len();
        let said = stage.say(&["dead-letters", "replay"]);
        assert!(said.code == 0 && said.err.contains("2 dead letters"), "{said:?}");
        let sent = String::from_utf8(stage.service.accepted(STREAM).split_off(before)).unwrap();
        let objects: Vec<serde_json::Value> =
            sent.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut text: Vec<_> = objects
            .iter()
            .map(|object| (object["id"].as_str().unwrap(), object["message"].as_str().unwrap()))
            .collect();
        text.sort_unstable_by_key(|(id, _)| {
            let (offset, piece) = id.split_once(':').unwrap().1.split_once('.').unwrap_or((&id[..0], "0"));
            (offset.len(), piece.to_owned())
        });
        let ids: std::collections::BTreeSet<_> = text.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), objects.len(), "an id for each: {ids:?}");
        let bytes: usize = text.iter().map(|(_, text)| text.len()).sum();
        assert_eq!(bytes, 50, "{sent}");
        assert_eq!(listed(&stage), 0);
        if let Some(daemon) = daemon {
            assert_eq!(daemon.stop(), 0);
        }
    }
}

#[test]
fn what_is_kept_of_a_source_that_is_gone_is_sent_unchanged_where_that_is_asked() {
    for beside_a_daemon in [true, false] {
        let stage = Stage::new();
        stage.configure("max_line_bytes = 16\noversize = \"dead_letter\"\n");
        stage.append("app.log", "0123456789abcdef\n0123456789abcdefg\n");
        let daemon = stage.run();
        stage.await_shipped(&["app.log"]);
        assert_eq!(daemon.stop(), 0);
        let other = stage.dir.path().join("other.log");
        stage.configure_all(&format!(
            "[[source]]\nname = \"other\"\npaths = [{other:?}]\nstream = \"{STREAM}\"\n"
        ));
        let daemon = beside_a_daemon.then(|| running(&stage));
        let said = stage.say(&["dead-letters", "replay"]);
        assert!(
            said.code == 1 && said.err.contains("no source of the configuration is called \"app\""),
            "{said:?}"
        );
        let said = stage.say(&["dead-letters", "replay", "--raw"]);
        assert_eq!(said.code, 0, "{said:?}");
        let sent = sorted(stage.service.accepted(STREAM));
        assert_eq!(sent, sorted(b"0123456789abcdef\n0123456789abcdefg\n".to_vec()));
        if let Some(daemon) = daemon {
            assert_eq!(daemon.stop(), 0);
        }
    }
}
