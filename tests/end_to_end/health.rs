//! The health endpoint of the real binary: what it says is compared with what was done, and clients that misbehave
//! disturb nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{PATIENCE, Running, World, append, eventually, exchange, standpipe, text};

/// The value of a sample, by its name and labels as they are written.
fn sample(metrics: &str, name: &str) -> f64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).parse().unwrap()
}

#[test]
fn what_is_told_is_what_was_done() {
    let lines: String = (0..500).map(|number| format!("line {number}\n")).collect();
    let world = World::new();
    append(&world.file("a.log"), &lines);
    append(&world.file("b.log"), "half a line");
    let daemon = world.run();
    let file = eventually("everything is durable", || {
        let status = daemon.status();
        let file = status["files"].as_array()?.iter().find(|file| file["size"] == lines.len())?.clone();
        (file["durable"] == lines.len()).then_some(file)
    });
    assert_eq!(file["path"], text(&world.file("a.log")));
    assert_eq!((&file["lag_bytes"], &file["state"]), (&0.into(), &"followed".into()));

    assert_eq!(daemon.get("/livez").code, 200);
    assert_eq!(daemon.get("/readyz").code, 200);
    let health: Value = serde_json::from_str(&daemon.get("/healthz").body).unwrap();
    assert_eq!((&health["ready"], &health["files"]), (&true.into(), &2.into()));
    let status = daemon.status();
    // A line that has no newline yet is no late line.
    assert_eq!(status["sources"][0]["lag_bytes"], 11);
    assert_eq!(status["sources"][0]["lag_seconds"], 0.0);
    assert_eq!(status["streams"][0]["records_delivered"], 500);

    let metrics = daemon.get("/metrics").body;
    let bytes = lines.len() as f64;
    for (name, value) in [
        (r#"standpipe_lines_read_total{source="app"}"#, 500.0),
        (r#"standpipe_bytes_read_total{source="app"}"#, bytes),
        (r#"standpipe_records_delivered_total{stream="logs"}"#, 500.0),
        (r#"standpipe_bytes_delivered_total{stream="logs"}"#, bytes),
        (r#"standpipe_billed_bytes_total{stream="logs"}"#, 500.0 * 5120.0),
        (r#"standpipe_requests_total{stream="logs",operation="put_record",outcome="delivered"}"#, 500.0),
        (r#"standpipe_request_seconds_count{stream="logs",operation="put_record"}"#, 500.0),
        (r#"standpipe_delivery_delay_seconds_count{stream="logs"}"#, 500.0),
        (r#"standpipe_delivery_delay_seconds_bucket{stream="logs",le="+Inf"}"#, 500.0),
        (r#"standpipe_retries_total{stream="logs",reason="throttled"}"#, 0.0),
        (r#"standpipe_abandoned_bytes_total{source="app",reason="truncated"}"#, 0.0),
        (r#"standpipe_files_watched{source="app"}"#, 2.0),
        (r#"standpipe_lag_bytes{source="app"}"#, 11.0),
        (r#"standpipe_oldest_unacknowledged_seconds{source="app"}"#, 0.0),
        (r#"standpipe_in_flight_requests{stream="logs"}"#, 0.0),
        ("standpipe_buffered_bytes", 0.0),
        ("standpipe_ready", 1.0),
        ("standpipe_checkpoint_failures_total", 0.0),
        ("standpipe_watch_overflows_total", 0.0),
    ] {
        assert_eq!(sample(&metrics, name), value, "{name}");
    }
    assert!(sample(&metrics, "standpipe_checkpoint_commits_total") >= 1.0);
}

#[test]
fn a_service_that_refuses_is_told_with_what_to_do_and_passes() {
    let world = World::new().late_after("1s");
    let daemon = world.run();
    world.fault(r#"{"rates": {"not_found": 1.0}}"#);
    append(&world.file("a.log"), "late\n");
    let reasons = eventually("both reasons", || {
        let ready = daemon.get("/readyz");
        let body: Value = serde_json::from_str(&ready.body).unwrap();
        let reasons = body["reasons"].as_array()?.clone();
        (ready.code == 503 && reasons.len() == 2).then_some(reasons)
    });
    assert_eq!((&reasons[0]["code"], &reasons[0]["stream"]), (&"stream_setup".into(), &"logs".into()));
    assert!(reasons[0]["message"].as_str().unwrap().contains("ResourceNotFoundException"), "{reasons:?}");
    assert!(reasons[0]["advice"].as_str().unwrap().contains("create the delivery stream"), "{reasons:?}");
    assert_eq!(reasons[1]["code"], "late");
    assert_eq!(daemon.get("/livez").code, 200, "a restart would not help");
    let metrics = daemon.get("/metrics").body;
    assert_eq!(sample(&metrics, "standpipe_ready"), 0.0);
    assert_eq!(sample(&metrics, r#"standpipe_stream_held{stream="logs"}"#), 1.0);
    assert_eq!(sample(&metrics, r#"standpipe_lag_bytes{source="app"}"#), 5.0);
    assert!(sample(&metrics, r#"standpipe_oldest_unacknowledged_seconds{source="app"}"#) >= 1.0);
    assert_eq!(daemon.status()["streams"][0]["held"]["code"], "ResourceNotFoundException");

    world.fault("{}");
    eventually("ready again", || (daemon.get("/readyz").code == 200).then_some(()));
    eventually("delivered", || (daemon.status()["files"][0]["durable"] == 5).then_some(()));
}

/// systemd learns when it is ready, how it stands, that its loop turns, and when it reads its configuration or stops.
#[test]
fn the_service_manager_is_told() {
    let mut world = World::new();
    let socket = world.dir().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let hear = |words: &str| while !next().lines().any(|line| line.starts_with(words)) {};
    let daemon = world.run_in(|command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    });
    hear("READY=1");
    hear("STATUS=ready: ");
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    daemon.running.signal(Signal::HUP);
    hear("RELOADING=1");
    hear("READY=1");
    // Also while nothing can be delivered: a restart would not help.
    world.fault(r#"{"rates": {"not_found": 1.0}}"#);
    let file = world.file("a.log");
    world.written.append(&file, "a", 3);
    daemon.not_ready("ResourceNotFoundException");
    for _ in 0..3 {
        hear("WATCHDOG=1");
    }
    hear("STATUS=not ready: logs: ResourceNotFoundException");
    world.fault("{}");
    world.all_arrive();
    daemon.settle();
    daemon.running.signal(Signal::TERM);
    hear("STOPPING=1");
    assert_eq!(daemon.running.exit(), Some(0));
}

/// H5: nobody reads standard error, and everything is shipped all the same.
#[test]
fn log_lines_that_nobody_reads_hold_up_nothing() {
    let mut world = World::new();
    let file = world.file("a.log");
    world.written.append(&file, "a", 2_000);
    let mut command = standpipe(&["run", "-c", text(&world.config())]);
    command.env("RUST_LOG", "trace").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut daemon = command.spawn().unwrap();
    assert_eq!(world.all_arrive(), 0);
    // Somebody begins to read, and learns of what was dropped.
    let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let dropped = log.by_ref().map_while(Result::ok).find(|line| line.contains("log lines were dropped"));
    assert!(dropped.is_some());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// A flood of refused records is a few lines of log: the first at once, and then a count.
#[test]
fn repetition_is_counted_and_not_told_one_by_one() {
    let mut world = World::new();
    world.fault(r#"{"rates": {"invalid_argument": 0.3}}"#);
    let file = world.file("a.log");
    world.written.append(&file, "a", 400);
    let daemon = world.run();
    let many = |status: serde_json::Value| status["streams"][0]["dead_letters"].as_u64() >= Some(20);
    eventually("the dead letters", || many(daemon.status()).then_some(()));
    daemon.running.says("put aside as a dead letter", "\n");
    assert_eq!(daemon.running.log().matches("dead letter").count(), 1);
    daemon.running.stop();
}

#[test]
fn state_that_cannot_be_saved_is_told() {
    let world = World::new();
    let daemon = world.run();
    eventually("ready", || (daemon.get("/readyz").code == 200).then_some(()));
    fs::remove_dir_all(world.dir().join("state")).unwrap();
    append(&world.file("a.log"), "line\n");
    let body = eventually("the reason", || {
        let ready = daemon.get("/readyz");
        ready.body.contains("state_not_saved").then_some(ready)
    });
    assert_eq!(body.code, 503);
    let metrics = daemon.get("/metrics").body;
    assert!(sample(&metrics, "standpipe_checkpoint_failures_total") >= 1.0);
    assert!(sample(&metrics, "standpipe_checkpoint_age_seconds") > 0.0);
    eventually("shipping goes on", || {
        let metrics = daemon.get("/metrics").body;
        (sample(&metrics, r#"standpipe_records_delivered_total{stream="logs"}"#) == 1.0).then_some(())
    });
}

#[test]
fn a_taken_port_keeps_nothing_from_being_shipped_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    fs::write(dir.path().join("a.log"), "line\n").unwrap();
    let out = dir.path().join("out");
    let config = format!(
        "[[source]]\npaths = [{:?}]\nstream = \"s\"\n[health]\nlisten = \"{address}\"\n",
        dir.path().join("a.log")
    );
    fs::write(dir.path().join("c.toml"), config).unwrap();
    let daemon = Running::start(&["run", "-c", text(&dir.path().join("c.toml")), "--local", text(&out)]);
    daemon.says("the health endpoint cannot listen", "\n");
    daemon.says("\"message\":\"following\"", "\n");
    eventually("delivered", || out.join("s").is_dir().then_some(()));
    drop(taken);
    eventually("the endpoint", || TcpStream::connect(address).ok());
    let answer = exchange(address, "GET /livez HTTP/1.0\r\n\r\n");
    assert_eq!(answer.code, 200);
    assert_eq!(daemon.log().matches("cannot listen").count(), 1, "told once");
}

#[test]
fn clients_that_misbehave_keep_nobody_from_asking() {
    let world = World::new();
    let daemon = world.run();
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(daemon.health).unwrap()).collect();
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let mut socket = TcpStream::connect(daemon.health).unwrap();
            // The server may have closed it to make room for the next.
            let _ = socket.write_all(b"GET /status HTT");
            socket
        })
        .collect();
    assert_eq!(daemon.get("/livez").code, 200);

    let mut endless = TcpStream::connect(daemon.health).unwrap();
    endless.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1024 * 1024));
    // It need not take all of it.
    let _ = endless.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = endless.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));

    for (request, code) in [
        ("POST /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 405),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        ("GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        ("nonsense\r\n\r\n", 400),
    ] {
        assert_eq!(exchange(daemon.health, request).code, code, "{request}");
    }
    let head =
        exchange(daemon.health, "HEAD /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((head.code, &*head.body), (200, ""));
    drop((idle, slow));
    assert!(daemon.running.log().lines().all(|line| !line.contains("ERROR")), "{}", daemon.running.log());
}

#[test]
fn metrics_come_in_both_formats_and_names_are_escaped() {
    let mut world = World::new().configured(
        "[[source]]\nname = 'a \"quoted\" \\ name'\npaths = [\"/nonexistent/x.log\"]\nstream = \"logs\"\n",
    );
    let file = world.file("a.log");
    world.written.append(&file, "a", 3);
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    let classic = daemon.get("/metrics");
    assert!(classic.head.contains("text/plain; version=0.0.4"), "{}", classic.head);
    assert!(!classic.body.contains("a.log"), "a path is no label: {}", classic.body);
    assert!(!classic.body.contains("# EOF"));
    let open = exchange(
        daemon.health,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n",
    );
    assert!(open.head.contains("application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"));
    let escaped = r#"standpipe_lines_read_total{source="a \"quoted\" \\ name"} 0"#;
    assert!(classic.body.contains(escaped), "{}", classic.body);
    assert!(open.body.contains(escaped), "{}", open.body);
    // What dashboards and alerts are written to.
    let documented = documented_metrics();
    assert!(documented.len() > 50, "{documented:?}");
    for (name, kind) in &documented {
        assert!(classic.body.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{}", classic.body);
        assert!(classic.body.contains(&format!("# HELP {name} ")), "{name}");
        let family = name.strip_suffix("_total").unwrap_or(name);
        assert!(open.body.contains(&format!("# TYPE {family} {kind}\n")), "{family} in\n{}", open.body);
    }
    let types = classic.body.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in types.map(|line| line.split_once(' ').expect("a name and a type")) {
        assert!(
            documented.contains(&(name.to_owned(), kind.to_owned())),
            "{name} is not in docs/operations.md"
        );
    }
}

#[test]
fn a_configuration_is_told_from_others_by_its_hash_and_by_when_it_was_taken_in() {
    let world = World::new();
    let daemon = world.run();
    let config = || {
        let metrics = daemon.get("/metrics").body;
        let hash = metrics.lines().find(|line| line.starts_with("standpipe_config_hash_info{hash="));
        let hash = hash.expect("it is always told").to_owned();
        (hash, sample(&metrics, "standpipe_config_last_reload_seconds"))
    };
    let metrics = daemon.get("/metrics").body;
    let began = sample(&metrics, "process_start_time_seconds");
    let (hash, since) = config();
    assert_eq!(since, began);
    append(&world.config(), "# a comment\n");
    daemon.running.signal(Signal::HUP);
    let (other, later) = eventually("another hash", || Some(config()).filter(|(other, _)| *other != hash));
    assert!(later > since, "{later} {since}");
    append(&world.config(), "a mistake\n");
    daemon.running.signal(Signal::HUP);
    eventually("refused", || {
        let refused =
            sample(&daemon.get("/metrics").body, r#"standpipe_config_reloads_total{outcome="refused"}"#);
        (refused == 1.0).then_some(())
    });
    assert_eq!(config(), (other, later));
}

/// Each metric of the table in docs/operations.md, with its type.
fn documented_metrics() -> Vec<(String, String)> {
    let document = include_str!("../../docs/operations.md");
    let table = document.split_once("\n| metric | type | labels |\n").expect("it has the table").1;
    let rows = table.lines().take_while(|line| line.starts_with('|')).skip(1);
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let metrics = cells.flat_map(|cells| {
        let names = cells[1].split('`').skip(1).step_by(2).map(str::to_owned);
        let names = names.filter(|name| ["standpipe_", "process_"].iter().any(|ours| name.starts_with(ours)));
        names.map(|name| (name, cells[2].to_owned())).collect::<Vec<_>>()
    });
    metrics.collect()
}

#[test]
fn the_status_command_shows_the_same_and_says_by_its_code_whether_all_is_well() {
    let world = World::new();
    append(&world.file("a.log"), "1\n2\n");
    let daemon = world.run();
    eventually("durable", || (daemon.status()["files"][0]["durable"] == 4).then_some(()));
    let url = format!("http://{}", daemon.health);
    let ask = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_standpipe")).arg("status").args(args).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (code, table) = ask(&["--url", &url]);
    assert_eq!(code, 0, "{table}");
    for words in ["ready", "STREAM logs", "2 delivered", "a.log", "100%"] {
        assert!(table.contains(words), "{words:?} in\n{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let listening = world.dir().join("listening.toml");
    let text_of = fs::read_to_string(world.config()).unwrap();
    let free = "listen = \"127.0.0.1:0\"";
    assert!(text_of.contains(free), "{text_of}");
    fs::write(&listening, text_of.replace(free, &format!("listen = \"{}\"", daemon.health))).unwrap();
    let by_variable = |command: &str| {
        let mut command = standpipe(&[command]);
        let output = command.env("STANDPIPE_CONFIG", &listening).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for command in ["status", "cost"] {
        let said = by_variable(command);
        assert!(
            said.contains("logs"),
            "{command} asks where the file says that STANDPIPE_CONFIG names: {said}"
        );
    }
    let (code, json) = ask(&["--url", &url, "--json"]);
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["streams"][0]["records_delivered"], 2);
    drop(daemon);
    let (code, text) = ask(&["--url", &url]);
    assert_eq!(code, 1);
    assert!(text.contains("is the daemon running"), "{text}");
}

#[test]
fn a_watched_status_stays_in_the_other_screen_and_leaves_the_terminal_as_it_was() {
    let world = World::new();
    for name in ["app-1.log", "app-2.log", "web.log"] {
        fs::write(world.file(name), "one\n").unwrap();
    }
    let daemon = world.run();
    eventually("delivered", || (daemon.status()["streams"][0]["records_delivered"] == 3).then_some(()));
    // util-linux's `script` gives the command a terminal of its own, and its keys.
    let url = format!("http://{}", daemon.health);
    let watch = format!(
        "stty rows 20 cols 90; stty -g > before; {} status --watch --url {url}; echo $? > code; stty -g > after",
        env!("CARGO_BIN_EXE_standpipe")
    );
    let mut script = Command::new("script");
    script
        .args(["-qfc", &watch, "typescript"])
        .current_dir(world.dir())
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut script = script.spawn().unwrap();
    let screen = || {
        String::from_utf8_lossy(&fs::read(world.dir().join("typescript")).unwrap_or_default()).into_owned()
    };
    let last_frame =
        || screen().rsplit("\x1b[H").find(|frame| frame.contains("FILE")).unwrap_or_default().to_owned();
    eventually("a frame with every file", || last_frame().contains("web.log").then_some(()));
    let mut keys = script.stdin.take().unwrap();
    keys.write_all(b"/app-1").unwrap();
    eventually("a frame with what the filter leaves", || {
        let frame = last_frame();
        (frame.contains("app-1.log") && !frame.contains("app-2.log") && !frame.contains("web.log"))
            .then_some(())
    });
    keys.write_all(b"\rq").unwrap();
    assert!(script.wait().unwrap().success());
    let screen = screen();
    assert!(
        screen.contains("\x1b[?1049h") && !screen.contains("\x1b[3J"),
        "the scrollback is touched: {screen:?}"
    );
    assert!(
        screen.trim_end().rsplit("\x1b[?1049l").next().is_some_and(|after| !after.contains("FILE")),
        "{screen:?}"
    );
    let said = |name: &str| fs::read_to_string(world.dir().join(name)).unwrap();
    assert_eq!(said("code"), "0\n");
    assert_eq!(said("before"), said("after"));
}
