//! A service that fails in every way that its stand-in can: nothing is lost, and repeats have a reason.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Running, World, append, eventually, text};

/// N3, N7, N12: each kind of answer, mixed.
#[test]
fn whatever_the_service_does_every_line_arrives() {
    for api in ["put_record", "auto"] {
        let plan = r#"{"partial_share": 0.3, "rates": {
            "unavailable": 0.05, "internal": 0.05, "partial": 0.2, "reset_before": 0.05, "html": 0.03, "redirect": 0.03}}"#;
        // Refusals that come whatever the rate would lower it all the time.
        let stream = format!("api = \"{api}\"\nquota = {{ adaptive = false }}\n");
        let mut world = World::new().configured(&stream);
        world.fault(plan);
        let (a, b) = (world.file("a.log"), world.file("b.log"));
        // As many requests in batches as one by one, more or less.
        let lines = if api == "auto" { 10_000 } else { 700 };
        world.written.append(&a, "a", lines);
        world.written.append(&b, "b", lines);
        let daemon = world.run();
        assert_eq!(world.all_arrive(), 0, "{api}: none of these accepts a record and hides it");
        daemon.settle();
        let stats = world.stats();
        let faults = stats["faults"].as_object().unwrap();
        assert!(faults.len() >= 5, "{api}: {stats}");
        daemon.running.stop();
    }
}

/// N7, N8, N12.
#[test]
fn an_answer_that_is_lost_after_acceptance_repeats_that_request_only() {
    let mut world =
        World::new().configured("api = \"auto\"\nmax_in_flight = 1\nrequest_timeout = \"300ms\"\n");
    world.fault(r#"{"next": [["reset_after", 1], ["truncated", 1], ["short", 1], ["hang_after", 1]]}"#);
    let a = world.file("a.log");
    world.written.append(&a, "a", 2_400);
    let daemon = world.run();
    let repeated = world.all_arrive();
    daemon.settle();
    assert_eq!(world.stats()["faults"].as_object().unwrap().len(), 4, "{}", world.stats());
    assert!((4..=2_000).contains(&repeated), "{repeated} repeated by four requests");
    daemon.running.stop();
}

#[test]
fn a_record_that_is_refused_goes_to_the_dead_letters_and_its_neighbours_arrive() {
    let mut world = World::new().configured("api = \"put_record\"\n");
    world.fault(r#"{"next": [["invalid_argument", 1]]}"#);
    let a = world.file("a.log");
    world.written.append(&a, "a", 50);
    let daemon = world.run();
    daemon.settle();
    eventually("all but one", || (world.compare().missing == 1).then_some(()));
    assert_eq!(daemon.status()["streams"][0]["dead_letters"], 1);
    daemon.running.stop();
    let database = rusqlite::Connection::open(world.dir().join("state/standpipe.db")).unwrap();
    let kept: Vec<u8> = database
        .query_row("SELECT data FROM dead_letters WHERE code = 'InvalidArgumentException'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let lines = world.arrived("logs");
    let all = [lines, kept].concat();
    assert_eq!(world.written.compare(&all).missing, 0, "the dead letter is the line that is missing");
}

#[test]
fn one_stream_that_fails_does_not_hold_up_another() {
    let world =
        World::new().configured("[[source]]\npaths = [\"/nonexistent/never.log\"]\nstream = \"other\"\n");
    // The configuration gets a source whose files exist.
    let extra = world.dir().join("other");
    std::fs::create_dir(&extra).unwrap();
    let mut world = world.configured(&format!(
        "[[source]]\npaths = [{:?}]\nstream = \"broken\"\n[shutdown]\ntimeout = \"300ms\"\n",
        extra.join("*.log")
    ));
    world.fault(r#"{"rates": {"not_found": 1.0}, "streams": ["broken"]}"#);
    std::fs::write(extra.join("x.log"), "stuck\n".repeat(2_000)).unwrap();
    let a = world.file("a.log");
    world.written.append(&a, "a", 500);
    let daemon = world.run();
    world.all_arrive();
    let status = daemon.status();
    let stream = |name: &str| -> Value {
        let streams = status["streams"].as_array().unwrap();
        streams.iter().find(|stream| stream["name"] == name).unwrap().clone()
    };
    assert_eq!(stream("broken")["state"], "held");
    assert_ne!(stream("logs")["state"], "held");
    daemon.running.stop();
}

/// N1, and H3: a service that fails for long is asked seldom, is told of, and gets everything once it is back.
#[test]
fn a_service_that_fails_for_long_is_asked_seldom() {
    let mut world = World::new().configured("api = \"auto\"\n");
    world.fault(r#"{"rates": {"unavailable": 0.5, "internal": 0.5}}"#);
    let a = world.file("a.log");
    world.written.append(&a, "a", 3_000);
    let daemon = world.run();
    let failed = || -> u64 {
        let stats = world.stats();
        let requests = stats["streams"]["logs"]["requests"]["PutRecordBatch"].clone();
        requests
            .as_object()
            .map_or(0, |outcomes| outcomes.values().map(|count| count.as_u64().unwrap()).sum())
    };
    eventually("many failures", || (failed() > 40).then_some(()));
    assert!(!daemon.not_ready("stream_").is_empty());
    assert_eq!(daemon.get("/livez").code, 200, "a restart would add repeats");
    let status = daemon.status();
    assert_eq!(
        status["streams"][0]["in_flight_requests"].as_u64().unwrap() / 2,
        0,
        "one probe at a time: {status}"
    );
    world.fault("{}");
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
}

/// N11: its connections are reset.
#[test]
fn a_service_that_is_down_at_first_is_waited_for() {
    let mut world = World::new();
    let a = world.file("a.log");
    world.written.append(&a, "a", 100);
    let config = world.config();
    // Nothing listens there until the service is back.
    let daemon = world.run();
    world.all_arrive();
    world.restart_service(&[]);
    world.written.append(&a, "a", 100);
    world.all_arrive();
    daemon.settle();
    daemon.running.stop();
    assert!(config.exists());
}

#[test]
fn a_service_that_never_answers_keeps_nobody_from_stopping() {
    let world = World::new();
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    append(&world.file("a.log"), "line\n");
    let config = std::fs::read_to_string(world.config()).unwrap();
    let endpoint = config.lines().find(|line| line.starts_with("endpoint_url")).unwrap().to_owned();
    let config = config
        .replace(&endpoint, &format!("endpoint_url = \"http://{}\"", hanging.local_addr().unwrap()))
        + "[shutdown]\ntimeout = \"500ms\"\n";
    let path = world.dir().join("hanging.toml");
    std::fs::write(&path, config).unwrap();
    let daemon = Running::start(&["run", "-c", text(&path)]);
    let (connection, _) = hanging.accept().unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.exit(), Some(0));
    drop(connection);
    // What was not acknowledged was not checkpointed.
    assert_eq!(world.once().0, 0);
    assert_eq!(world.arrived("logs"), b"line\n");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let world = World::new();
    world.fault(r#"{"rates": {"hang": 1.0}}"#);
    append(&world.file("a.log"), "line\n");
    let daemon = world.run();
    eventually("a request under way", || {
        (daemon.status()["streams"][0]["in_flight_requests"] == 1).then_some(())
    });
    daemon.running.signal(Signal::TERM);
    daemon.running.says("a second one ends the process at once", "\n");
    daemon.running.signal(Signal::INT);
    assert_eq!(daemon.running.exit(), Some(0));
}

#[test]
fn without_region_or_credentials_it_stays_up_says_so_and_keeps_trying() {
    for (missing, code, words) in [
        ("AWS_REGION", "MissingRegion", "AWS_REGION"),
        ("AWS_SECRET_ACCESS_KEY", "MissingCredentials", "credentials"),
    ] {
        let mut world = World::new().configured("[shutdown]\ntimeout = \"300ms\"\n");
        let a = world.file("a.log");
        world.written.append(&a, "a", 3);
        let daemon = world.run_in(|command| {
            command.env_remove(missing);
        });
        assert!(daemon.not_ready(code).contains(words));
        daemon.running.says("not delivering; trying again", "\n");
        daemon.running.stop();
        assert_eq!(world.once().0, 0, "nothing is lost meanwhile");
        assert_eq!(world.compare().missing, 0);
    }
}

#[test]
fn what_the_service_refuses_is_told_with_the_requests_number_and_where_it_went() {
    let world = World::new();
    world.fault(r#"{"rates": {"access_denied": 1.0}}"#);
    append(&world.file("a.log"), "line\n");
    let daemon = world.run();
    let told = daemon.running.says("not delivering; trying again", "\n");
    let number =
        told.split_once(r#""request_id":""#).and_then(|(_, rest)| rest.split_once('"')).expect("a number").0;
    assert!(!number.is_empty() && told.contains(r#""endpoint":"http://127.0.0.1:"#), "{told}");
    let held = &daemon.status()["streams"][0]["held"];
    let (message, later) = (held["message"].as_str().unwrap(), held["request_id"].as_str().unwrap());
    assert!(!message.contains(later), "whoever groups by messages finds one: {held}");
}

#[test]
fn without_encryption_nothing_follows_the_first_record_where_it_is_required() {
    let mut world =
        World::new().configured("api = \"auto\"\nrequire_encryption = true\n[shutdown]\ntimeout = \"1h\"\n");
    let a = world.file("a.log");
    world.written.append(&a, "a", 10);
    let daemon = world.run();
    assert!(daemon.not_ready("NotEncrypted").contains("server-side encryption"));
    daemon.running.stop();
    assert_eq!(world.compare().missing, 9, "and the stop waited for nothing");
    world.restart_service(&["--encrypted"]);
    assert_eq!(world.once().0, 0);
    assert_eq!(world.compare().missing, 0);
}

#[test]
fn a_stream_that_takes_nothing_without_encryption_goes_on_with_another_configuration() {
    let mut world = World::new().configured("max_in_flight = 1\nrequire_encryption = true\n");
    let a = world.file("a.log");
    world.written.append(&a, "a", 10);
    let daemon = world.run();
    assert!(daemon.not_ready("NotEncrypted").contains("server-side encryption"));
    assert_eq!(daemon.get("/livez").code, 200);
    assert_eq!(world.compare().missing, 9);
    world.restart_service(&["--encrypted"]);
    daemon.running.signal(Signal::HUP);
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    let metrics = daemon.get("/metrics").body;
    let encrypted =
        metrics.lines().find(|line| line.starts_with("standpipe_encrypted_records_total{")).unwrap();
    assert!(encrypted.ends_with(" 9"), "{encrypted}");
    daemon.running.stop();
}

/// N6: what the SDK would remember is read again.
#[test]
fn credentials_that_are_mended_are_found() {
    let mut world = World::with_service(&["--access-key", "AKID", "--secret-key", "right"]);
    let a = world.file("a.log");
    world.written.append(&a, "a", 3);
    let credentials = world.dir().join("credentials");
    let write = |id: &str, secret: &str| {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        std::fs::write(&credentials, text).unwrap();
    };
    write("AKID", "wrong");
    let daemon = world.run_in(|command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_SHARED_CREDENTIALS_FILE", &credentials);
    });
    daemon.not_ready("InvalidSignatureException");
    write("AKIE", "right");
    daemon.not_ready("UnrecognizedClientException");
    assert_eq!(daemon.get("/livez").code, 200, "a restart would not help");
    write("AKID", "right");
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
}
