//! Lines that share records: fewer, fuller records, and the same lines.

use std::fs;
use std::io::Read as _;

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
fn compressed_records_are_one_gzip_file_with_every_line_in_its_order() {
    let world = World::new().configured(&format!("{PACKED}compression = \"gzip\"\nordered = true\n"));
    let (one, two) = (world.file("a.log"), world.file("b.log"));
    let lines =
        |from: u64| -> String { (from..from + 5_000).map(|number| format!("GET /{number} 200\n")).collect() };
    append(&one, &lines(0));
    let read = |world: &World| {
        let mut text = String::new();
        let arrived = world.arrived("logs");
        flate2::read::MultiGzDecoder::new(&arrived[..]).read_to_string(&mut text).ok().map(|_| text)
    };
    let daemon = world.run();
    eventually("the first lines", || read(&world).filter(|text| *text == lines(0)));
    append(&one, &lines(5_000));
    append(&two, &lines(20_000));
    let text = eventually("all lines", || read(&world).filter(|text| text.lines().count() == 15_000));
    daemon.settle();
    let metrics = daemon.get("/metrics").body;
    daemon.running.stop();
    let of = |text: &str, is_two: bool| -> String {
        let number = |line: &str| line["GET /".len()..].split(' ').next().unwrap().parse::<u64>().unwrap();
        text.split_inclusive('\n').filter(|line| (number(line) >= 20_000) == is_two).collect()
    };
    assert_eq!(of(&text, false), lines(0) + &lines(5_000));
    assert_eq!(of(&text, true), lines(20_000));
    let arrived = world.arrived("logs").len() as u64;
    assert_eq!(counter(&metrics, "standpipe_bytes_delivered_total"), arrived, "compressed bytes are counted");
    assert!(arrived * 4 < text.len() as u64, "{arrived} bytes of {}", text.len());
    let records = counter(&metrics, "standpipe_records_delivered_total");
    assert!(records <= 15, "{records} records, and 30 would hold 500 lines each");
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
