//! `kill -9`, anywhere: at any time, and at each system call of a commit. No line is lost, few come twice.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::stage::{PATIENCE, STREAM, Stage, lines, loops};
use crate::strace;

/// P1: with lines being written, files rotated, and a service that fails and hides that it accepted.
#[test]
fn killed_at_any_time_it_loses_nothing() {
    let seed =
        std::env::var("STANDPIPE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("STANDPIPE_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let stage = Stage::new();
    let logs = stage.log("*.log*");
    stage.configure_all(&format!(
        "[[source]]\npaths = [{logs:?}]\nstream = \"{STREAM}\"\n[stream.{STREAM}]\napi = \"auto\"\n"
    ));
    stage.service.faults(
        r#"{"partial_share": 0.3, "rates": {"internal": 0.05, "partial": 0.1, "reset_before": 0.05, "reset_after": 0.02}}"#,
    );
    let kills = loops(25);
    let mut written = 0;
    for kill in 0..kills {
        let daemon = stage.run();
        for _ in 0..rng.u32(0..4) {
            let more = rng.usize(1..300);
            stage.append("app.log", &lines(written..written + more));
            written += more;
            if rng.u8(..) < 80 {
                let aside = stage.log(&format!("app.log.{kill}-{written}"));
                fs::rename(stage.log("app.log"), aside).unwrap();
            }
            thread::sleep(Duration::from_millis(rng.u64(0..120)));
        }
        daemon.kill();
    }
    stage.service.faults("{}");
    stage.append("app.log", &lines(written..written + 1));
    let daemon = stage.run();
    let names: Vec<_> = fs::read_dir(stage.logs()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    stage.await_shipped(&names.iter().map(|name| name.to_str().unwrap()).collect::<Vec<_>>());
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(written + 1);
    eprintln!("{kills} kills, {written} lines, {} repeated", tally.repeats());
}

/// P2, CK12: the N-th call of each kind ends the process, until there are fewer than N before all is durable.
#[test]
fn killed_at_each_system_call_of_a_commit_it_loses_nothing() {
    if !strace::is_there() {
        return;
    }
    const MORE: usize = 20;
    let stage = Stage::new();
    stage.configure("[stream.app-logs]\napi = \"auto\"\n[checkpoint]\ninterval = \"50ms\"\n");
    let (mut written, mut kills, mut durable) = (0, 0, 0);
    for call in
        ["fdatasync,fsync", "pwrite64", "openat", "unlink", "ftruncate", "fcntl", "sendto,write,writev"]
    {
        for when in 1..=loops(12) {
            stage.append("app.log", &lines(written..written + MORE));
            written += MORE;
            let inject = format!("{call}:signal=KILL:when={when}");
            let mut daemon = stage.run_under(&strace::from_the_start(&inject));
            let began = Instant::now();
            let log = stage.log("app.log");
            let survived = loop {
                if !daemon.is_running() {
                    break false;
                }
                if stage.say(&["shipped", log.to_str().unwrap()]).code == 0 {
                    break true;
                }
                assert!(began.elapsed() < PATIENCE, "{inject}: neither killed nor done\n{}", daemon.log());
            };
            // What the state says is shipped was accepted, whatever the process died of.
            let listed = stage.say(&["checkpoints", "list", "--json"]);
            if listed.code == 0 {
                let rows = listed.json();
                let offset = rows.as_array().unwrap().iter().filter_map(|row| row["offset"].as_u64()).max();
                let offset = usize::try_from(offset.unwrap_or(0)).unwrap();
                assert!(offset >= durable, "{inject}: what was durable is so no more");
                durable = offset;
                let claimed = offset / lines(0..1).len();
                let tally = stage.service.tally(STREAM);
                assert!(
                    (0..claimed).all(|number| tally.0.contains_key(&lines(number..number + 1))),
                    "L1: {inject}"
                );
            }
            if survived {
                // Killed at its end all the same, by the call that did not come before.
                daemon.kill();
                break;
            }
            kills += 1;
        }
    }
    let daemon = stage.run();
    stage.await_shipped(&["app.log"]);
    assert_eq!(daemon.stop(), 0);
    let tally = stage.service.tally(STREAM);
    tally.check(written);
    eprintln!("{kills} kills, {written} lines, {} repeated", tally.repeats());
    assert!(kills >= 20, "only {kills} calls were met");
    // What was under way, and what was not durable yet: never more than what a few starts had to send.
    let most = kills * 3 * MORE;
    assert!(tally.repeats() <= most as u64, "{} repeated by {kills} kills", tally.repeats());
}
