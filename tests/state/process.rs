//! How the process begins and ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use crate::stage::{STREAM, Stage, line, lines};

#[test]
fn a_second_daemon_leaves_at_once_and_names_the_first() {
    let stage = Stage::new();
    let mut first = stage.run();
    first.await_log("starting");
    for _ in 0..3 {
        let began = Instant::now();
        let second = stage.run();
        let pid = format!("held by another standpipe (pid {})", first.pid());
        let log = stage.dir.path().join("daemon.log");
        assert_eq!(second.wait(), 75);
        assert!(fs::read_to_string(&log).unwrap().contains(&pid));
        assert!(began.elapsed().as_secs() < 30, "it waited");
        assert!(first.is_running());
    }
    stage.append("app.log", &line(0));
    stage.await_shipped(&["app.log"]);
    // What was killed leaves no lock behind.
    first.kill();
    let mut third = stage.run();
    third.await_log("starting");
    assert_eq!(third.stop(), 0);
}

#[test]
fn the_state_is_its_owners_alone() {
    let stage = Stage::new();
    let command = stage.command(&["run", "-c", stage.config().to_str().unwrap()]);
    let mut open_handed = std::process::Command::new("sh");
    open_handed
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    open_handed.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "secret");
    let mut daemon = crate::stage::Daemon::start(open_handed, stage.dir.path().join("daemon.log"));
    daemon.await_log("first start");
    stage.append("app.log", &lines(0..10));
    stage.await_shipped(&["app.log"]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&stage.state()), 0o700);
    for name in ["lock", "standpipe.db", "standpipe.db-wal", "standpipe.db-shm"] {
        assert_eq!(mode(&stage.state().join(name)), 0o600, "{name}");
    }
    assert_eq!(daemon.stop(), 0);
}

/// P3: nothing is repeated, and no line is cut.
#[test]
fn fifty_clean_stops_and_starts_repeat_nothing() {
    let stage = Stage::new();
    stage.configure("[stream.app-logs]\napi = \"auto\"\nquota = { records_per_second = 100000, requests_per_second = 100000, bytes_per_second = \"100MB\" }");
    let mut written = 0;
    for round in 0..50 {
        let mut daemon = stage.run();
        daemon.await_log("starting");
        // Stopped at any time after its start: before, while and after it ships what is there.
        for _ in 0..round % 5 {
            stage.append("app.log", &lines(written..written + 200));
            stage.append("other.log", &lines(written + 200..written + 300));
            written += 300;
            std::thread::sleep(std::time::Duration::from_millis(7 * (round % 4)));
        }
        assert_eq!(daemon.stop(), 0);
    }
    let daemon = stage.run();
    stage.await_shipped(&["app.log", "other.log"]);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(written);
    assert_eq!(tally.repeats(), 0);
}

/// S14: a last line without newline, over a stop and a start.
#[test]
fn a_last_line_without_newline_waits_or_is_shipped_at_the_end() {
    for (more, expected) in [("", ""), ("[shutdown]\nship_partial_lines = true\n", "half\n")] {
        let stage = Stage::new();
        stage.configure(more);
        stage.append("app.log", &format!("{}half", lines(0..10)));
        let mut daemon = stage.run();
        daemon.await_log("following");
        assert_eq!(daemon.stop(), 0);
        let accepted = String::from_utf8(stage.service.accepted(STREAM)).unwrap();
        let mut arrived: Vec<_> = accepted.split_inclusive('\n').collect();
        arrived.sort_unstable();
        let all = lines(0..10) + expected;
        assert_eq!(arrived.concat(), all);
    }
}

/// P4: the second signal ends it at once, the first within its time; either way with 0.
#[test]
fn a_service_that_hangs_keeps_nobody_from_stopping() {
    for impatient in [false, true] {
        let stage = Stage::new();
        stage.configure(&format!("[shutdown]\ntimeout = \"{}\"\n", if impatient { "1h" } else { "500ms" }));
        stage.service.faults(r#"{"rates": {"hang": 1.0}}"#);
        stage.append("app.log", &lines(0..10));
        let mut daemon = stage.run();
        daemon.await_log("following");
        daemon.signal(rustix::process::Signal::TERM);
        daemon.await_log("stopping");
        if impatient {
            daemon.signal(rustix::process::Signal::TERM);
        }
        assert_eq!(daemon.wait(), 0);
        let listed = stage.say(&["checkpoints", "list", "--json"]).json();
        let moved = listed.as_array().unwrap().iter().any(|row| row["offset"] != 0);
        assert!(!moved, "nothing was acknowledged: {listed}");
        stage.service.faults("{}");
        let daemon = stage.run();
        stage.await_shipped(&["app.log"]);
        assert_eq!(daemon.stop(), 0);
        stage.service.tally(STREAM).check(10);
    }
}

/// P7: where a panic would be one thread's, the rest would live on without it.
#[test]
fn a_panic_anywhere_ends_the_process_that_is_shipped() {
    let manifest = include_str!("../../Cargo.toml");
    let release = manifest.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(release.lines().any(|line| line.starts_with("panic = \"abort\"")), "{release}");
}

/// Each line of a JSON log is read by machines, and by most of them one value is kept of two under one key.
#[test]
fn no_line_of_the_json_log_has_a_key_twice() {
    let stage = Stage::new();
    let text = std::fs::read_to_string(stage.config()).unwrap();
    std::fs::write(stage.config(), text.replace("format = \"text\"", "format = \"json\"")).unwrap();
    stage.service.faults(r#"{"rates": {"invalid_argument": 1.0}}"#);
    stage.append("app.log", &lines(0..1));
    let mut daemon = stage.run();
    daemon.await_log("put aside");
    stage.service.faults(r#"{"rates": {"access_denied": 1.0}}"#);
    stage.append("app.log", &lines(1..2));
    daemon.await_log("not delivering");
    let log = daemon.log();
    for line in log.lines() {
        assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    }
    daemon.kill();
}
