//! `kill -9` in mid-stream.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::world::{Daemon, World, eventually, seed};

/// Lines that may come again with one kill: what was under way, and what was acknowledged in the last interval.
const MAX_REPEATED_A_KILL: u64 = 900;

#[test]
fn killed_again_and_again_it_loses_nothing_and_repeats_little() {
    for api in ["put_record", "auto"] {
        let mut rng = seed();
        let plan = r#"{"rates": {"unavailable": 0.02, "reset_before": 0.02, "internal": 0.02}}"#;
        let mut world = World::new().matching("*.log*").configured(&format!("api = \"{api}\"\n"));
        world.fault(plan);
        let now = world.file("a.log");
        let other = world.file("b.log");
        let kills = 8;
        for kill in 0..kills {
            world.written.append(&now, "a", rng.u64(1..400));
            world.written.append(&other, "b", rng.u64(1..200));
            let daemon = world.run();
            world.written.append(&now, "a", rng.u64(1..400));
            std::thread::sleep(Duration::from_millis(rng.u64(0..150)));
            if rng.bool() {
                fs::rename(&now, world.file(&format!("a.log.{kill}"))).unwrap();
                world.written.append(&now, "a", rng.u64(1..100));
            }
            std::thread::sleep(Duration::from_millis(rng.u64(0..150)));
            daemon.running.kill();
        }
        let daemon = world.run();
        let repeated = world.all_arrive();
        daemon.running.stop();
        eprintln!("{api}: {} lines, {kills} kills, {repeated} repeated", world.written.total());
        assert!(repeated <= kills * MAX_REPEATED_A_KILL, "{api}: {repeated} repeated");
    }
}

/// Lines in each part of a file, between two records that wait.
const PART: u64 = 1_000;

/// Three records that are not answered, with lines behind each of them, and a dead letter: all the others arrive, and that
/// is durable.
fn with_records_that_wait(world: &mut World) -> Daemon {
    let a = world.file("a.log");
    let daemon = world.run();
    for part in 1..=3 {
        let fault = if part == 3 { r#"["hang", 1], ["invalid_argument", 1]"# } else { r#"["hang", 1]"# };
        world.fault(&format!(r#"{{"next": [{fault}]}}"#));
        world.written.append(&a, "a", PART);
        // Those that wait, and the one that is put aside.
        let missing = part + u64::from(part == 3);
        eventually("the lines behind a record that waits", || {
            let accepted = &world.stats()["streams"]["logs"]["accepted"]["records"];
            (*accepted == world.written.total() - missing).then_some(())
        });
    }
    eventually("what was acknowledged to be durable", || {
        let status = daemon.status();
        (status["checkpoint"]["age_seconds"] == 0.0 && status["streams"][0]["in_flight_requests"] == 3)
            .then_some(())
    });
    daemon
}

/// I23, I17: neither `kill -9` nor a stop whose time runs out makes anything come again that was acknowledged and saved.
#[test]
fn beside_a_record_that_waits_a_kill_and_a_stop_repeat_nothing_that_was_saved() {
    for signal in [Signal::KILL, Signal::TERM] {
        let mut world = World::new()
            .configured("api = \"put_record\"\nrequest_timeout = \"80s\"\n[shutdown]\ntimeout = \"1s\"\n");
        let daemon = with_records_that_wait(&mut world);
        let listed = world.checkpoints();
        assert_eq!(listed[0]["settled"].as_array().map(Vec::len), Some(3), "{listed}");
        assert_eq!(world.shipped("a.log").0, 1, "what lies in a gap is not shipped");
        daemon.running.signal(signal);
        let code = daemon.running.exit();
        assert_eq!(code, (signal == Signal::TERM).then_some(0), "{signal:?}");
        // The process that passes over what is settled is killed as well.
        for _ in 0..3 {
            let daemon = world.run();
            std::thread::sleep(Duration::from_millis(20));
            daemon.running.kill();
        }
        let daemon = world.run();
        daemon.follows(&world.file("a.log"));
        daemon.settle();
        let difference = world.compare();
        assert_eq!(difference.missing, 1, "{signal:?}: the dead letter alone");
        // The lines that waited may have been under way when one of the processes was killed.
        assert!(difference.repeated <= 3 * 3, "{signal:?}: {} came twice", difference.repeated);
        assert_eq!(world.dead_letters(), 1, "{signal:?}: it is put aside once");
        assert_eq!(world.checkpoints()[0]["settled"].as_array().map(Vec::len), Some(0), "{signal:?}");
        assert_eq!(world.shipped("a.log").0, 0, "{signal:?}");
        daemon.running.stop();
    }
}
