//! Lines that share records: fewer, fuller records, and the same lines.

use std::fs;

use crate::world::{World, append, eventually};

const PACKED: &str = "api = \"auto\"\npacking = \"on\"\npack_delay = \"100ms\"\n";

fn counter(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{stream=\"logs\"}} ")));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// Ships 3,000 lines of 200 bytes: what arrived, and what was billed.
fn ship(settings: &str) -> (Vec<u8>, Vec<u8>, u64, u64) {
    let world = World::new().configured(settings);
    let file = world.file("a.log");
    let lines: String = (0..3_000).map(|number| format!("{number:0>199}\n")).collect();
    append(&file, &lines);
    let daemon = world.run();
    let arrived = eventually("every line", || {
        Some(world.arrived("logs")).filter(|arrived| arrived.len() >= lines.len())
    });
    daemon.settle();
    let metrics = daemon.get("/metrics").body;
    daemon.running.stop();
    let (records, billed) = (
        counter(&metrics, "standpipe_records_delivered_total"),
        counter(&metrics, "standpipe_billed_bytes_total"),
    );
    (lines.into_bytes(), arrived, records, billed)
}

#[test]
fn lines_of_200_bytes_are_billed_a_25th() {
    let (_, _, records, alone) = ship("api = \"auto\"\nordered = true\n");
    assert_eq!((records, alone), (3_000, 3_000 * 5120));
    let (written, arrived, records, together) = ship(&format!("{PACKED}ordered = true\n"));
    assert_eq!(arrived, written, "byte for byte, and in order");
    // 500 lines fill 100,000 bytes, billed as 102,400; what is read at once ends in a record that is not full.
    assert!((6..12).contains(&records), "{records} records");
    assert!(alone >= 24 * together, "{alone} bytes billed, and {together} packed");
}

#[test]
fn lines_that_share_records_survive_kills_and_rotations() {
    let mut world = World::new().configured(PACKED);
    let (now, old) = (world.file("a.log"), world.file("a.log.1"));
    for round in 0..6 {
        let daemon = world.run();
        world.written.append(&now, "a", 2000);
        daemon.follows(&now);
        if round % 2 == 0 {
            fs::rename(&now, &old).unwrap();
            world.written.append(&old, "a", 70);
            world.written.append(&now, "b", 900);
            // What is renamed away is not read at the next start unless it was seen: its name is no source's.
            world.all_arrive();
        }
        daemon.running.kill();
    }
    let daemon = world.run();
    world.all_arrive();
    daemon.running.stop();
    // An orderly stop leaves nothing that waits, and repeats nothing.
    let before = world.compare().repeated;
    let daemon = world.run();
    world.written.append(&now, "a", 50);
    daemon.follows(&now);
    daemon.running.stop();
    let daemon = world.run();
    assert_eq!(world.all_arrive(), before);
    daemon.running.stop();
}
