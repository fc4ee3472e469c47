//! `kill -9` in mid-stream.

use std::fs;
use std::time::Duration;

use crate::world::{World, seed};

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
