//! SIGHUP: another configuration while lines are under way.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::stage::{Daemon, STREAM, Stage, await_that, line, lines};

const APPLIED: &str = "another configuration is in effect";
const REFUSED: &str = "the configuration cannot be used";

fn source(stage: &Stage, name: &str, stream: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\npaths = [{:?}]\nstream = \"{stream}\"\n",
        stage.log(&format!("{name}-*.log"))
    )
}

#[track_caller]
fn reload(stage: &Stage, daemon: &mut Daemon, config: &str) {
    stage.configure_all(config);
    let before = daemon.log().matches(APPLIED).count();
    daemon.signal(Signal::HUP);
    daemon.await_log_times(APPLIED, before + 1);
}

#[test]
fn sources_come_and_go_under_load_and_no_line_is_lost_or_repeated() {
    let stage = Stage::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| source(&stage, name, STREAM));
    let stream = |settings: &str| format!("[stream.{STREAM}]\n{settings}\n");
    let wide =
        "quota = { requests_per_second = 100000, records_per_second = 100000, bytes_per_second = \"100MB\" }";
    stage.configure_all(&format!("{a}{b}{}", stream(wide)));
    let mut daemon = stage.run();
    daemon.await_log("starting");
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut written, mut first_of_b) = (0, None);
            while !done.load(Ordering::SeqCst) {
                for name in ["a-0.log", "b-0.log", "b-1.log", "c-0.log"] {
                    if name == "b-0.log" {
                        first_of_b.get_or_insert(written);
                    }
                    stage.append(name, &lines(written..written + 20));
                    written += 20;
                }
                // Rotated, while its source may be away. What was never seen under its own name is nobody's.
                let is_seen = |first| stage.service.tally(STREAM).0.contains_key(&line(first));
                if written % 4000 == 0 && first_of_b.is_some_and(is_seen) {
                    fs::rename(stage.log("b-0.log"), stage.log(&format!("b-0.log.{written}"))).unwrap();
                    first_of_b = None;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            written
        });
        for round in 0..12 {
            let settings =
                ["api = \"auto\"", "max_in_flight = 3", "ordered = true", "api = \"put_record_batch\""];
            let settings = format!("{}{wide}", stream(settings[round % 4]));
            let sources = [format!("{a}{b}"), format!("{c}{a}"), format!("{b}{c}{a}"), format!("{b}{c}")];
            reload(&stage, &mut daemon, &format!("{}{settings}", sources[round % 4]));
            std::thread::sleep(Duration::from_millis(30));
        }
        done.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    // In batches: on a busy machine more was written, which one by one would take minutes.
    reload(&stage, &mut daemon, &format!("{c}{b}{a}{}", stream(&format!("api = \"auto\"\n{wide}"))));
    stage.await_shipped(&["a-0.log", "b-1.log", "c-0.log"]);
    // Files that were renamed while nobody followed them are found beside their names, now or at the next start.
    assert_eq!(daemon.stop(), 0);
    let daemon = stage.run();
    await_that("every line", || stage.service.tally(STREAM).0.len() == written);
    let tally = stage.service.tally(STREAM);
    tally.check(written);
    assert_eq!(tally.repeats(), 0);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(stage.service.tally(STREAM).repeats(), 0);
}

#[test]
fn a_configuration_with_mistakes_changes_nothing() {
    let stage = Stage::new();
    let mut daemon = stage.run();
    daemon.await_log("starting");
    let sound = fs::read_to_string(stage.config()).unwrap();
    let faults = ["[[source", "shutdown = 3", "[[source]]\npaths = [\"relative\"]\nstream = \"x\""];
    for (round, fault) in faults.iter().enumerate() {
        fs::write(stage.config(), format!("{sound}\n{fault}")).unwrap();
        daemon.signal(Signal::HUP);
        daemon.await_log_times("asked to read", round + 1);
        daemon.await_log_times(REFUSED, round + 1);
        stage.append("app.log", &lines(round * 10..round * 10 + 10));
        await_that("the lines", || stage.service.tally(STREAM).0.len() == round * 10 + 10);
    }
    fs::remove_file(stage.config()).unwrap();
    daemon.signal(Signal::HUP);
    daemon.await_log("cannot be read");
    assert!(!daemon.log().contains(APPLIED));
    fs::write(stage.config(), sound).unwrap();
    daemon.signal(Signal::HUP);
    daemon.await_log(APPLIED);
    assert_eq!(daemon.stop(), 0);
    stage.service.tally(STREAM).check(30);
}

#[test]
fn a_source_that_is_gone_for_a_while_goes_on_where_it_was() {
    let stage = Stage::new();
    let [a, b] = ["a", "b"].map(|name| source(&stage, name, STREAM));
    stage.configure_all(&format!("{a}{b}"));
    stage.append("a-0.log", &lines(0..100));
    stage.append("b-0.log", &lines(100..200));
    let mut daemon = stage.run();
    stage.await_shipped(&["a-0.log", "b-0.log"]);

    reload(&stage, &mut daemon, &b);
    stage.append("a-0.log", &lines(200..300));
    stage.append("b-0.log", &lines(300..400));
    stage.await_shipped(&["b-0.log"]);
    assert_eq!(stage.service.tally(STREAM).0.len(), 300, "nothing is read of what is not configured");
    // Also across restarts, and with nothing but its position to go by.
    for _ in 0..2 {
        assert_eq!(daemon.stop(), 0);
        daemon = stage.run();
        daemon.await_log("following");
    }
    reload(&stage, &mut daemon, &format!("{b}{a}"));
    stage.await_shipped(&["a-0.log", "b-0.log"]);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(400);
    assert_eq!(tally.repeats(), 0);
}

#[test]
fn a_source_that_ships_elsewhere_from_now_on_leaves_nothing_behind() {
    let stage = Stage::new();
    let slow = "retry = { initial = \"10ms\", max = \"50ms\" }";
    let streams = format!("[stream.{STREAM}]\n{slow}\n");
    stage.configure_all(&format!("{}{streams}", source(&stage, "a", STREAM)));
    stage.append("a-0.log", &lines(0..100));
    // Read, and not delivered, when the configuration changes.
    stage.service.faults(r#"{"rates": {"unavailable": 1.0}}"#);
    let mut daemon = stage.run();
    daemon.await_log("not delivering");
    reload(&stage, &mut daemon, &source(&stage, "a", "other"));
    stage.service.faults("{}");
    stage.append("a-0.log", &lines(100..120));
    await_that("the file in its new stream", || stage.service.tally("other").0.len() == 120);
    await_that("what was under way in the old one", || stage.service.tally(STREAM).0.len() == 100);
    assert_eq!(daemon.stop(), 0);
    stage.service.tally("other").check(120);
    stage.service.tally(STREAM).check(100);
    assert_eq!((stage.service.tally("other").repeats(), stage.service.tally(STREAM).repeats()), (0, 0));
}

/// Names that a changed configuration leaves out: of the source that is there, by `exclude` or by its patterns.
#[test]
fn a_file_that_a_changed_configuration_leaves_out_is_let_go_of_at_once_and_after_a_restart() {
    let stage = Stage::new();
    let all = source(&stage, "a", STREAM).replace("a-*.log", "*.log");
    let only_a = source(&stage, "a", STREAM);
    let excluding = all.replace("stream =", "exclude = [\"b-*.log\"]\nstream =");
    stage.configure_all(&all);
    stage.append("a-0.log", &lines(0..10));
    stage.append("b-0.log", &lines(10..20));
    let mut daemon = stage.run();
    stage.await_shipped(&["a-0.log", "b-0.log"]);
    let mut written = 20;
    for narrower in [excluding, only_a] {
        reload(&stage, &mut daemon, &narrower);
        daemon.await_log("left out by the configuration");
        // The first is left out, and the second tells when the daemon has looked since.
        stage.append("b-0.log", &lines(written..written + 5));
        stage.append("a-0.log", &lines(written + 5..written + 10));
        stage.await_shipped(&["a-0.log"]);
        assert_eq!(stage.service.tally(STREAM).0.len(), written + 5, "nothing is read of what is left out");
        assert_eq!(daemon.stop(), 0);
        daemon = stage.run();
        daemon.await_log("with bytes that are not read");
        stage.append("a-0.log", &lines(written + 10..written + 15));
        stage.await_shipped(&["a-0.log"]);
        assert_eq!(stage.service.tally(STREAM).0.len(), written + 10, "nor after a restart");
        reload(&stage, &mut daemon, &all);
        stage.await_shipped(&["a-0.log", "b-0.log"]);
        written += 15;
        assert_eq!(stage.service.tally(STREAM).0.len(), written, "and all when it is wanted again");
    }
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(written);
    assert_eq!(tally.repeats(), 0);
}

#[test]
fn a_file_that_a_narrower_command_line_leaves_out_is_not_gone_on_with() {
    let stage = Stage::new();
    let run = |patterns: &[&str]| {
        let (config, log) = (stage.config(), stage.state().with_extension("log"));
        let patterns: Vec<_> = patterns.iter().map(|name| stage.log(name)).collect();
        let mut command = stage.command(&["run", "-c", config.to_str().unwrap(), "--stream", STREAM]);
        command.args(&patterns);
        Daemon::start(command, log)
    };
    stage.configure_all("");
    stage.append("a.log", &lines(0..10));
    stage.append("b.log", &lines(10..20));
    let daemon = run(&["a.log", "b.log"]);
    await_that("both files", || stage.service.tally(STREAM).0.len() == 20);
    assert_eq!(daemon.stop(), 0);
    stage.append("b.log", &lines(20..25));
    stage.append("a.log", &lines(25..30));
    let mut daemon = run(&["a.log"]);
    daemon.await_log("with bytes that are not read");
    await_that("the one that is named", || stage.service.tally(STREAM).0.len() >= 25);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(stage.service.tally(STREAM).0.len(), 25, "nothing is read of what is left out");
    let daemon = run(&["*.log"]);
    await_that("all", || stage.service.tally(STREAM).0.len() == 30);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(30);
    assert_eq!(tally.repeats(), 0);
}

/// Puts another content in place as editors do.
fn replace(path: &std::path::Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_change_on_disk_is_taken_without_a_signal_once_for_each_content() {
    let stage = Stage::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| source(&stage, name, STREAM));
    // Top-level keys come before the tables that the stage writes.
    let config = |watch: bool, rest: &str| {
        stage.configure_all(rest);
        let tables = fs::read_to_string(stage.config()).unwrap();
        format!("reload_on_change = {watch}\ninclude = [\"conf.d/*.toml\"]\n{tables}")
    };
    let conf = stage.config().parent().unwrap().join("conf.d");
    fs::create_dir(&conf).unwrap();
    let (off, sound) = (config(false, &a), config(true, &a));
    fs::write(stage.config(), &sound).unwrap();
    let mut daemon = stage.run();
    daemon.await_log("starting");
    stage.append("a-0.log", &lines(0..10));
    stage.append("b-0.log", &lines(10..20));
    stage.append("c-0.log", &lines(20..30));
    stage.await_shipped(&["a-0.log"]);
    // A file that comes, by itself or behind links that are exchanged, and one that goes.
    replace(&conf.join("b.toml"), &b);
    daemon.await_log_times(APPLIED, 1);
    stage.await_shipped(&["b-0.log"]);
    for version in ["1", "2"] {
        fs::create_dir(conf.join(version)).unwrap();
    }
    fs::write(conf.join("1/c.toml"), "").unwrap();
    fs::write(conf.join("2/c.toml"), &c).unwrap();
    let link = |version: &str| {
        std::os::unix::fs::symlink(version, conf.join("..new")).unwrap();
        fs::rename(conf.join("..new"), conf.join("..data")).unwrap();
    };
    link("1");
    std::os::unix::fs::symlink("..data/c.toml", conf.join("c.toml")).unwrap();
    daemon.await_log_times(APPLIED, 2);
    link("2");
    daemon.await_log_times(APPLIED, 3);
    stage.await_shipped(&["c-0.log"]);
    // Mistakes are told once for each content, and change nothing.
    for round in 1..=2 {
        replace(&stage.config(), &format!("{sound}\n[shutdown]\ntimeout = {round}\n"));
        daemon.await_log_times(REFUSED, round);
    }
    // Nothing but the mode, and what the daemon knew before the mistakes but for a comment.
    fs::set_permissions(stage.config(), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    replace(&stage.config(), &format!("{sound}# mended\n"));
    daemon.await_log_times(APPLIED, 4);
    assert_eq!(daemon.log().matches(REFUSED).count(), 2);
    // Switched off by a change, and on by a signal.
    replace(&stage.config(), &off);
    daemon.await_log_times(APPLIED, 5);
    replace(&stage.config(), &sound);
    fs::remove_file(conf.join("b.toml")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.await_log_times(APPLIED, 6);
    fs::remove_file(conf.join("c.toml")).unwrap();
    daemon.await_log_times(APPLIED, 7);
    assert_eq!(daemon.log().matches("asked to read").count(), 1);
    assert_eq!(daemon.log().matches(APPLIED).count(), 7);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(30);
    assert_eq!(tally.repeats(), 0);
}
