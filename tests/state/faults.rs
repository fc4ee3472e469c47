//! A state directory that fails: shipping goes on, what is said stays true, and all heals by itself.

use std::cell::RefCell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::stage::{Daemon, STREAM, Stage, await_that, lines};
use crate::strace::{self, Strace};

const NOT_SAVED: &str = "progress cannot be saved";
const SAVED_AGAIN: &str = "progress is saved again";

/// A stage with a health endpoint.
struct Watched {
    stage: Stage,
    health: String,
}

impl Watched {
    fn new() -> Self {
        let stage = Stage::new();
        let health = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let this = Self { stage, health };
        this.configure();
        this
    }

    fn configure(&self) {
        let stage = &self.stage;
        stage.configure("[stream.app-logs]\napi = \"auto\"\n");
        let text = fs::read_to_string(stage.config()).unwrap();
        fs::write(stage.config(), text.replace("\"off\"", &format!("{:?}", self.health))).unwrap();
    }

    fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(&self.health) else { return String::new() };
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// From a fault to its end: lines are delivered all the while, nothing is claimed that is not durable, and in the
    /// end everything is.
    #[track_caller]
    fn endure(&self, daemon: &mut Daemon, what: &str, begin: impl FnOnce(), end: impl FnOnce()) {
        let stage = &self.stage;
        stage.append("app.log", &lines(0..200));
        stage.await_shipped(&["app.log"]);
        await_that("ready", || self.get("/readyz").starts_with("HTTP/1.1 200"));
        begin();
        stage.append("app.log", &lines(200..400));
        daemon.await_log(NOT_SAVED);
        await_that(what, || stage.service.tally(STREAM).0.len() == 400);
        // What is told may be a moment old.
        await_that("not ready", || self.get("/readyz").starts_with("HTTP/1.1 503"));
        assert!(self.get("/readyz").contains("state_not_saved"), "{what}");
        stage.append("app.log", &lines(400..600));
        await_that(what, || stage.service.tally(STREAM).0.len() == 600);
        let status = self.get("/status");
        let claimed =
            status.split("\"durable\":").nth(1).map(|rest| rest.split([',', '}']).next().unwrap().trim());
        assert_eq!(claimed, Some(lines(0..200).len().to_string().as_str()), "{what}: {status}");
        end();
        daemon.await_log(SAVED_AGAIN);
        stage.await_shipped(&["app.log"]);
        await_that("ready again", || self.get("/readyz").starts_with("HTTP/1.1 200"));
        stage.append("app.log", &lines(600..700));
        stage.await_shipped(&["app.log"]);
    }

    /// The state that is left is good: a start from it repeats nothing.
    #[track_caller]
    fn conclude(self, daemon: Daemon) {
        assert_eq!(daemon.stop(), 0);
        let mut daemon = self.stage.run();
        daemon.await_log("following");
        assert_eq!(daemon.stop(), 0);
        let tally = self.stage.service.tally(STREAM);
        tally.check(700);
        assert_eq!(tally.repeats(), 0);
    }
}

#[test]
fn writes_and_syncs_that_fail_delay_what_is_durable_and_nothing_else() {
    if !strace::is_there() {
        return;
    }
    let injections = [
        "pwrite64:error=ENOSPC",
        "pwrite64:error=EIO",
        "fsync,fdatasync:error=EIO",
        "pwrite64,openat:error=EROFS",
    ];
    for inject in injections {
        let watched = Watched::new();
        let mut daemon = watched.stage.run();
        let pid = daemon.pid();
        let strace = RefCell::new(None);
        let begin = || *strace.borrow_mut() = Some(Strace::attach(pid, inject));
        watched.endure(&mut daemon, inject, begin, || drop(strace.borrow_mut().take()));
        watched.conclude(daemon);
    }
}

/// S19: a read that fails is neither the end of the file nor a truncation.
#[test]
fn reads_that_fail_are_tried_again() {
    if !strace::is_there() {
        return;
    }
    let watched = Watched::new();
    let stage = &watched.stage;
    stage.append("app.log", &lines(0..10));
    let mut daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    let strace = Strace::attach(daemon.pid(), "pread64,preadv2:error=EIO");
    stage.append("app.log", &lines(10..700));
    daemon.await_log("cannot be read");
    drop(strace);
    await_that("the lines", || stage.service.tally(STREAM).0.len() == 700);
    assert!(!daemon.log().contains("truncated"), "it was not");
    stage.await_shipped(&["app.log"]);
    watched.conclude(daemon);
}

/// CK11: what waits for a disk is the checkpoint, not the lines.
#[test]
fn a_sync_that_hangs_holds_up_nothing() {
    if !strace::is_there() {
        return;
    }
    let watched = Watched::new();
    let stage = &watched.stage;
    stage.append("app.log", &lines(0..10));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    let strace = Strace::attach(daemon.pid(), "fsync,fdatasync:delay_exit=5000000");
    for round in 0..5 {
        stage.append("app.log", &lines(round * 138 + 10..round * 138 + 148));
        await_that("lines past a hanging sync", || stage.service.tally(STREAM).0.len() == round * 138 + 148);
    }
    assert!(watched.get("/livez").starts_with("HTTP/1.1 200"));
    let log = stage.log("app.log");
    assert_eq!(
        stage.say(&["shipped", log.to_str().unwrap()]).code,
        1,
        "nothing is claimed that is not durable"
    );
    drop(strace);
    stage.await_shipped(&["app.log"]);
    watched.conclude(daemon);
}

#[test]
fn a_state_directory_that_vanishes_or_changes_is_made_anew() {
    let watched = Watched::new();
    let state = watched.stage.state();
    let mut daemon = watched.stage.run();
    // A file in its place: there is nothing that could be written to.
    let away = watched.stage.dir.path().join("away");
    let begin = || {
        fs::rename(&state, &away).unwrap();
        fs::write(&state, "").unwrap();
    };
    watched
        .endure(&mut daemon, "a file in the directory's place", begin, || fs::remove_file(&state).unwrap());
    let mode = fs::metadata(&state).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    watched.conclude(daemon);
}

/// CK1 with a real file system: its own mount name space, a small tmpfs, and something that fills it.
#[test]
fn a_full_file_system_is_waited_for() {
    let probe = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no mounts here");
        return;
    }
    let watched = Watched::new();
    let stage = &watched.stage;
    fs::create_dir(stage.state()).unwrap();
    // The daemon lives in that name space; the test reaches it through the daemon's root.
    let mount = "mount -t tmpfs -o size=512k,mode=700 none \"$0\" && exec \"$@\"";
    let wrapper = ["unshare", "-m", "sh", "-c", mount, stage.state().to_str().unwrap()].map(str::to_owned);
    let daemon = stage.run_under(&wrapper);
    await_that("the daemon", || daemon.log().contains("starting"));
    let inside = std::path::PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), stage.state().display()));
    let log = stage.log("app.log");
    let shipped = |wait: &str| {
        let enter = ["nsenter", "-m", "-t", &daemon.pid().to_string()].map(str::to_owned);
        let config = stage.config();
        let args = ["shipped", log.to_str().unwrap(), "--wait", wait, "-c", config.to_str().unwrap()];
        stage.command_under(&enter, &args).output().unwrap().status.code().unwrap()
    };
    stage.append("app.log", &lines(0..200));
    assert_eq!(shipped("60s"), 0);

    // Every block is taken; then enough happens that the database's log must grow.
    let filler = inside.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let mut written = 200;
    await_that("a save that fails", || {
        for name in ["app.log", "b.log", "c.log", "d.log"] {
            stage.append(name, &lines(written..written + 10));
            written += 10;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        daemon.log().contains(NOT_SAVED)
    });
    await_that("delivery past a full disk", || stage.service.tally(STREAM).0.len() == written);
    await_that("not ready", || watched.get("/readyz").starts_with("HTTP/1.1 503"));
    assert_eq!(shipped("0s"), 1);
    fs::remove_file(&filler).unwrap();
    drop(file);
    await_that("saves again", || daemon.log().contains(SAVED_AGAIN));
    assert_eq!(shipped("60s"), 0);
    await_that("ready again", || watched.get("/readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(written);
    assert_eq!(tally.repeats(), 0);
}

#[test]
fn a_newer_state_is_left_untouched() {
    let stage = Stage::new();
    stage.append("app.log", &lines(0..10));
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    let database = stage.state().join("standpipe.db");
    let mut bytes = fs::read(&database).unwrap();
    // SQLite's user_version, big-endian, at its place in the header.
    bytes[60..64].copy_from_slice(&999_i32.to_be_bytes());
    fs::write(&database, &bytes).unwrap();
    let names = || {
        let names = fs::read_dir(stage.state()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    let config = stage.config();
    let path = stage.log("app.log");
    let path = path.to_str().unwrap();
    for args in [
        vec!["run", "-c", config.to_str().unwrap()],
        vec!["checkpoints", "list", "-c", config.to_str().unwrap()],
        vec!["checkpoints", "forget", path, "-c", config.to_str().unwrap()],
        vec!["shipped", path, "--wait", "1h", "-c", config.to_str().unwrap()],
    ] {
        let output = stage.command(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("schema version 999"), "{args:?}");
        assert_eq!(fs::read(&database).unwrap(), bytes, "{args:?}");
        assert_eq!(names(), before, "{args:?}");
    }
}

/// CK5, CK6: a start from a database with a byte changed anywhere loses nothing, and never begins at the end.
#[test]
fn a_damaged_state_costs_repeats_and_no_line() {
    let stage = Stage::new();
    stage.configure("start_at = \"end\"\n[stream.app-logs]\napi = \"auto\"\n");
    stage.append("app.log", "");
    let mut daemon = stage.run();
    daemon.await_log("following");
    stage.append("app.log", &lines(0..50));
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    let database = stage.state().join("standpipe.db");
    let sound = fs::read(&database).unwrap();
    let mut written = 50;
    // A stride that is no divisor of the page, from another beginning each time a longer run asks for more.
    let harms = crate::stage::loops(24);
    let stride = sound.len() / harms;
    for round in 0..harms {
        let mut bytes = sound.clone();
        let harm = match round % 6 {
            0..=2 => {
                bytes[round * stride + round % 97] ^= 1 << (round % 8);
                "a flipped bit"
            }
            3 => {
                bytes.truncate(round * stride);
                "cut"
            }
            4 => {
                bytes[round * stride..].fill(0);
                "zeroes"
            }
            _ => {
                bytes[round * stride..][..stride].fill(0xa5);
                "garbage"
            }
        };
        let _ = fs::remove_file(stage.state().join("standpipe.db-wal"));
        let _ = fs::remove_file(stage.state().join("standpipe.db-shm"));
        fs::write(&database, &bytes).unwrap();
        stage.append("app.log", &lines(written..written + 5));
        written += 5;
        let daemon = stage.run();
        stage.await_shipped(&["app.log"]);
        assert_eq!(daemon.stop(), 0, "{harm}, round {round}");
        stage.service.tally(STREAM).check(written);
    }
    // As a restore from an old backup would be: repeats, no loss.
    fs::write(&database, &sound).unwrap();
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    stage.service.tally(STREAM).check(written);
}
