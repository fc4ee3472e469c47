//! One pass over the files, and a stop, beside programs that go on writing; and what `--once` says with its exit code.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::world::{Running, World, append, eventually, finished, text};

/// Writes lines as fast as they are taken in, into so many files, until it is dropped.
struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Writers {
    fn start(world: &World, files: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let write = |number: usize| {
            let (path, stop) = (world.file(&format!("w{number}.log")), Arc::clone(&stop));
            let lines = format!("{}\n", "w".repeat(99)).repeat(20);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    append(&path, &lines);
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let threads = (0..files).map(write).collect();
        Self { stop, threads }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn one_pass_and_a_stop_end_beside_programs_that_write_faster_than_the_quota_lets_through() {
    let quota = "quota = { records_per_second = 500, adaptive = false }\napi = \"auto\"\n";
    let world = World::new().configured(quota).configured("[shutdown]\ntimeout = \"80s\"\n");
    append(&world.file("a.log"), "here\n");
    let writers = Writers::start(&world, 2);
    let (code, _, log) = world.once_with(&["--timeout", "80s"]);
    assert_eq!(code, 0, "{log}");
    drop(writers);

    let world = World::new().configured(quota).configured("[shutdown]\ntimeout = \"80s\"\n");
    append(&world.file("a.log"), "here\n");
    let daemon = world.run();
    let writers = Writers::start(&world, 2);
    eventually("a line", || (!world.arrived("logs").is_empty()).then_some(()));
    let began = Instant::now();
    daemon.running.signal(Signal::TERM);
    assert_eq!(daemon.running.exit(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(75), "it took all the time that it had");
    drop(writers);
}

#[test]
fn one_pass_says_what_is_not_delivered_when_its_time_is_over() {
    let world = World::new();
    append(&world.file("a.log"), "line\n");
    world.fault(r#"{"rates": {"unavailable": 1.0}}"#);
    let (code, _, log) = world.once_with(&["--timeout", "8s"]);
    assert_eq!(code, 1, "{log}");
    let missing = format!("{}: 5 bytes from offset 0 on are not delivered", text(&world.file("a.log")));
    assert!(log.contains(&missing), "{log}");
    assert!(log.contains("ServiceUnavailable"), "why: {log}");
    world.fault("{}");
    assert_eq!(world.once_with(&["--timeout", "80s"]).0, 0);
    let (code, _, said) = finished(&["run", "--timeout", "1s", "-c", text(&world.config())]);
    assert_eq!(code, 64, "only one pass has an end: {said}");
}

#[test]
fn one_pass_that_finds_nothing_or_makes_a_dead_letter_has_not_done_what_was_asked() {
    let world = World::new().source("max_line_bytes = 64\noversize = \"dead_letter\"\n");
    let (code, _, log) = world.once();
    assert!(code == 1 && log.contains("no file matches"), "{code}: {log}");
    append(&world.file("a.log"), &format!("{}\nline\n", "x".repeat(65)));
    let (code, _, log) = world.once();
    assert!(code == 1 && log.contains("became dead letters"), "{code}: {log}");
    assert_eq!(world.arrived("logs"), b"line\n");
    let (code, _, log) = world.once();
    assert_eq!(code, 0, "nothing new: {log}");
}

#[test]
fn one_pass_says_of_what_a_rotator_may_have_compressed_that_it_was_not_read_and_reads_what_is_text() {
    let world = World::new().matching("*");
    append(&world.file("a.log"), "here\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"before\n").unwrap();
    fs::write(world.file("a.log.1.gz"), packed.finish().unwrap()).unwrap();
    append(&world.file("b.log"), "of b\n");
    append(&world.file("b.log.1.gz"), "no gzip\n");
    // Within 50 ms of the first look, what lies beside a file may have come after that.
    eventually("files that were there before", || {
        let age = fs::metadata(world.file("b.log.1.gz")).unwrap().created().unwrap().elapsed();
        age.is_ok_and(|age| age > Duration::from_millis(100)).then_some(())
    });
    let (code, _, log) = world.once();
    assert!(code == 1 && log.matches("\"message\":\"not read\"").count() == 1, "{code}: {log}");
    assert!(log.contains("a.log.1.gz\",\"reason\":\"compressed (gzip)"), "{log}");
    let mut arrived: Vec<_> =
        String::from_utf8(world.arrived("logs")).unwrap().lines().map(str::to_owned).collect();
    arrived.sort();
    assert_eq!(arrived, ["here", "no gzip", "of b"]);
}

#[test]
fn one_pass_that_is_asked_to_stop_says_that_and_not_that_its_time_was_over() {
    let world = World::new().configured("[shutdown]\ntimeout = \"300ms\"\n");
    append(&world.file("a.log"), "here\n");
    world.fault(r#"{"rates": {"hang": 1.0}}"#);
    let pass = Running::start(&["run", "--once", "-c", text(&world.config())]);
    pass.says("requests are signed", "\n");
    pass.signal(Signal::TERM);
    pass.says("asked to stop before everything was delivered", "\n");
    assert!(!pass.log().contains("the time was over before"), "{}", pass.log());
    assert_eq!(pass.exit(), Some(1));
}
