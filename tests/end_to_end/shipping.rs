//! Files become records, once.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::world::{Running, World, append, delivered, eventually, finished, standpipe, text};

#[test]
fn one_pass_ships_every_byte_and_the_next_ships_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut input: Vec<u8> = (0..40_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    input.extend(b"\r\n\n\0\xff\xfe\nlast line\n");
    let log = dir.path().join("a log");
    fs::write(&log, &input).unwrap();
    let out = dir.path().join("shipped");
    let args = ["run", "--local", text(&out), "--once", text(&log)];

    let (code, said, log_lines) = finished(&args);
    assert_eq!(code, 0, "{log_lines}");
    let lines = input.iter().filter(|byte| **byte == b'\n').count();
    assert!(said.starts_with(&format!("{lines} lines, {} bytes, {lines} records", input.len())), "{said}");
    assert!(said.contains(text(&out.join("local"))), "{said}");
    assert!(delivered(&out.join("local")) == input, "the bytes differ");

    let (code, said, _) = finished(&args);
    assert_eq!(code, 0);
    assert!(said.starts_with("0 lines, 0 bytes, 0 records delivered in 0 requests"), "{said}");
    assert!(delivered(&out.join("local")) == input, "a second pass changes nothing");

    append(&log, "more\n");
    assert!(finished(&args).1.starts_with("1 lines, 5 bytes"));
    input.extend(b"more\n");
    assert!(delivered(&out.join("local")) == input);
}

#[test]
fn the_embedded_stream_is_reached_whatever_proxy_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    fs::write(&log, "line\n").unwrap();
    let out = dir.path().join("shipped");
    let mut command = standpipe(&["run", "--local", text(&out), "--once", text(&log)]);
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        // Nobody listens there.
        command.env(proxy, "http://127.0.0.1:1");
    }
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    assert_eq!(delivered(&out.join("local")), b"line\n");
}

#[test]
fn a_last_line_without_newline_is_shipped_by_one_pass_and_waited_for_otherwise() {
    let world = World::new().configured("ordered = true\n");
    append(&world.file("a.log"), "whole\nhalf");
    let daemon = world.run();
    eventually("the whole line", || (world.arrived("logs") == b"whole\n").then_some(()));
    daemon.running.stop();
    assert_eq!(world.arrived("logs"), b"whole\n", "half a line stays in its file");
    append(&world.file("a.log"), " and half\nrest");
    let (code, _, log) = world.once();
    assert_eq!(code, 0, "{log}");
    assert_eq!(world.arrived("logs"), b"whole\nhalf and half\nrest\n");
    assert!(world.once().1.starts_with("0 lines"));
}

#[test]
fn a_daemon_tails_stops_in_order_and_goes_on_without_repeating() {
    let mut world = World::new();
    let (a, b) = (world.file("a.log"), world.file("b.log"));
    world.written.append(&a, "a", 500);
    let daemon = world.run();
    world.all_arrive();
    // Appended while it runs, and a file that appears later.
    world.written.append(&a, "a", 300);
    world.written.append(&b, "b", 300);
    world.all_arrive();
    // The last lines before the signal are delivered, too.
    world.written.append(&a, "a", 200);
    daemon.running.stop();
    assert_eq!(world.compare().missing, 0, "an orderly stop delivers what is there");
    world.written.append(&b, "b", 100);
    for _ in 0..5 {
        let daemon = world.run();
        world.all_arrive();
        daemon.settle();
        daemon.running.stop();
    }
    let difference = world.compare();
    assert_eq!((difference.missing, difference.repeated), (0, 0), "orderly stops repeat nothing");
}

#[test]
fn every_api_ships_the_same_bytes() {
    for api in ["put_record", "auto", "put_record_batch"] {
        let mut world = World::new().configured(&format!("api = \"{api}\"\n"));
        let file = world.file("a.log");
        world.written.append(&file, "a", 3_000);
        let (code, said, log) = world.once();
        assert_eq!(code, 0, "{log}");
        assert!(said.starts_with("3000 lines"), "{said}");
        let difference = world.compare();
        assert_eq!((difference.missing, difference.repeated), (0, 0), "{api}");
        assert!(difference.invented.is_empty(), "{api}");
        let requests = &world.stats()["streams"]["logs"]["requests"];
        assert_eq!(requests["PutRecord"].is_null(), api != "put_record", "{requests}");
        assert_eq!(requests["PutRecordBatch"].is_null(), api == "put_record", "{requests}");
    }
}

#[test]
fn the_command_line_alone_is_enough_and_a_glob_finds_files_that_come_later() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("one.log"), "1\n").unwrap();
    let out = dir.path().join("out");
    let pattern = dir.path().join("*.log");
    let daemon = Running::start(&["run", "--local", text(&out), "--stream", "mine", text(&pattern)]);
    daemon.says("one.log", "\n");
    fs::write(dir.path().join("two.log"), "2\n").unwrap();
    let lines = || {
        let mut lines = delivered(&out.join("mine"));
        lines.sort_unstable();
        lines
    };
    eventually("both lines", || (lines() == b"\n\n12").then_some(()));
    daemon.stop();
}

/// N18: two daemons with half of the quotas each keep to the whole together.
#[test]
fn two_daemons_share_a_stream_without_a_record_refused() {
    let options = ["--quota-requests", "60", "--quota-records", "150", "--quota-bytes", "40KiB"];
    let half = "quota = { requests_per_second = 60, records_per_second = 150, bytes_per_second = \"40KiB\", share = 0.5 }\n";
    let mut world = World::with_service(&options).configured(half);
    let (a, b) = (world.file("a.log"), world.file("b.log"));
    world.written.append(&a, "a", 150);
    world.written.append(&b, "b", 150);
    let config = std::fs::read_to_string(world.config()).unwrap();
    let daemons = ["a", "b"].map(|name| {
        let path = world.dir().join(format!("{name}.toml"));
        let own =
            config.replace("*.log", &format!("{name}.log")).replace("/state\"", &format!("/state-{name}\""));
        std::fs::write(&path, own).unwrap();
        Running::start(&["run", "-c", text(&path)])
    });
    assert_eq!(world.all_arrive(), 0);
    let stats = &world.stats()["streams"]["logs"];
    assert_eq!(stats["rejected"]["records"], 0, "{stats}");
    daemons.into_iter().for_each(Running::stop);
}

/// N17 and P5: a daemon that was stopped and goes on does not make up for the time.
#[test]
fn a_daemon_that_was_stopped_for_a_while_stays_below_the_quotas() {
    let options = ["--quota-requests", "60", "--quota-records", "0", "--quota-bytes", "0"];
    let mut world = World::with_service(&options).configured("quota = { requests_per_second = 60 }\n");
    let a = world.file("a.log");
    world.written.append(&a, "a", 400);
    let daemon = world.run();
    let accepted = || world.stats()["streams"]["logs"]["accepted"]["records"].as_u64().unwrap_or(0);
    for _ in 0..3 {
        let before = accepted();
        eventually("records on their way", || (accepted() > before + 20).then_some(()));
        daemon.running.signal(Signal::STOP);
        // How long it stands still is what is tested: longer than the window that the quota is for.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        daemon.running.signal(Signal::CONT);
    }
    assert_eq!(world.all_arrive(), 0);
    let stats = &world.stats()["streams"]["logs"];
    assert_eq!(stats["rejected"]["records"], 0, "{stats}");
    assert!(stats["peak_per_second"]["requests"].as_u64().unwrap() <= 60, "{stats}");
    daemon.running.stop();
}

/// N17: what the service counts in any second, retries and all.
#[test]
fn a_backlog_stays_below_the_quotas_as_the_service_counts_them() {
    // The service is strict, and has exactly what the daemon was told.
    for api in ["put_record", "auto"] {
        let options = ["--quota-requests", "60", "--quota-records", "150", "--quota-bytes", "40KiB"];
        let mut world = World::with_service(&options).configured(&format!(
            "api = \"{api}\"\nquota = {{ requests_per_second = 60, records_per_second = 150, bytes_per_second = \"40KiB\" }}\n"
        ));
        let (a, b) = (world.file("a.log"), world.file("b.log"));
        world.written.append(&a, "a", 200);
        world.written.append(&b, "b", 100);
        let (code, _, log) = world.once();
        assert_eq!(code, 0, "{log}");
        assert_eq!(world.all_arrive(), 0);
        let stats = &world.stats()["streams"]["logs"];
        assert_eq!(stats["rejected"]["records"], 0, "{api}: {stats}");
        let peak = &stats["peak_per_second"];
        assert!(peak["requests"].as_u64().unwrap() <= 60, "{api}: {stats}");
        assert!(peak["records"].as_u64().unwrap() <= 150, "{api}: {stats}");
        assert!(peak["bytes"].as_u64().unwrap() <= 40 * 1024, "{api}: {stats}");
    }
}
