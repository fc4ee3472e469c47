//! Who is blamed for a failure: one record, or the stream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::front::{Act, Front};
use crate::world::{World, append, eventually};

/// Where everything passes but what `rule` says of requests with the bad line.
fn with_a_bad_line(world: World, answer: Act) -> (World, Front) {
    let mut world = world;
    let front = Front::before(world.address);
    world.through(format!("http://{}", front.address));
    let bad = STANDARD.encode("bad\n");
    front.rule(move |request| if request.contains(&bad) { answer.clone() } else { Act::Pass });
    (world, front)
}

fn page(status: &str) -> Act {
    let body = "<html>blocked</html>";
    Act::Answer(format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// The reasons why the daemon is not ready, as soon as one of them has this code.
fn reason(get: impl Fn() -> String, code: &str) -> Value {
    eventually(code, || {
        let body: Value = serde_json::from_str(&get()).unwrap();
        body["reasons"].as_array()?.iter().find(|reason| reason["code"] == code).cloned()
    })
}

/// N21: a proxy, or a firewall for the web, that lets one record never pass.
#[test]
fn a_record_that_a_proxy_never_lets_pass_is_found_told_and_put_aside_and_its_neighbours_arrive() {
    for (api, status) in [("put_record", "403 Forbidden"), ("put_record_batch", "413 Content Too Large")] {
        let settings = format!("api = \"{api}\"\n[stream.default]\nretry = {{ stuck_after = \"15s\" }}\n");
        let (mut world, front) = with_a_bad_line(World::new().configured(&settings), page(status));
        let file = world.file("a.log");
        world.written.append(&file, "a", 200);
        append(&file, "bad\n");
        world.written.append(&file, "b", 200);
        let daemon = world.run();
        assert_eq!(world.all_arrive(), 0, "its neighbours arrive, each once");
        let other = world.file("b.log");
        let told = eventually("the record is told", || {
            // Others go on passing.
            world.written.append(&other, "c", 1);
            let body: Value = serde_json::from_str(&daemon.get("/readyz").body).unwrap();
            body["reasons"].as_array()?.iter().find(|reason| reason["code"] == "record_stuck").cloned()
        });
        let message = told["message"].as_str().unwrap();
        assert!(message.contains("a.log at offset") && message.contains(&status[..3]), "{told}");
        assert!(daemon.get("/metrics").body.contains("standpipe_stuck_records{stream=\"logs\"} 1"));
        let stream = &daemon.status()["streams"][0];
        assert_eq!((&stream["stuck_records"], &stream["stuck"][0]["code"]), (&1.into(), &status[..3].into()));
        eventually("it is put aside", || {
            world.written.append(&other, "c", 1);
            (daemon.status()["streams"][0]["dead_letters"] == 1).then_some(())
        });
        assert_eq!(daemon.get("/readyz").code, 200);
        assert_eq!(world.all_arrive(), 0);
        daemon.running.says("fails alone", "\n");
        daemon.running.stop();
        drop(front);
    }
}

/// N22: a service that refuses everything, in whatever words, is no reason to put anything aside.
#[test]
fn l19_a_service_that_refuses_record_after_record_is_told_and_costs_none() {
    for api in ["put_record", "auto"] {
        let mut world = World::new().configured(&format!("api = \"{api}\"\n"));
        world.fault(r#"{"rates": {"invalid_argument": 1.0}}"#);
        let file = world.file("a.log");
        world.written.append(&file, "a", 300);
        let daemon = world.run();
        let told = reason(|| daemon.get("/readyz").body, "stream_rejected");
        assert!(told["message"].as_str().unwrap().contains("InvalidArgumentException"), "{told}");
        let stream = &daemon.status()["streams"][0];
        assert_eq!(
            (&stream["state"], &stream["last_error"]["reason"]),
            (&"rejecting".into(), &"rejected".into())
        );
        world.fault("{}");
        assert_eq!(world.all_arrive(), 0, "{api}");
        assert_eq!(daemon.status()["streams"][0]["dead_letters"], 0, "{api}");
        daemon.running.stop();
    }
}

/// N23: a delivery stream that takes its data from elsewhere refuses every put as if its arguments were wrong.
#[test]
fn a_delivery_stream_with_another_source_is_named_and_costs_no_record() {
    let body = "{\"__type\":\"InvalidArgumentException\",\"message\":\"This operation is not permitted on \
                KinesisStreamAsSource delivery stream type.\"}";
    let answer = Act::Answer(format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let (world, front) = with_a_bad_line(World::new(), answer);
    append(&world.file("a.log"), "bad\n");
    let daemon = world.run();
    let told = reason(|| daemon.get("/readyz").body, "stream_setup");
    assert!(told["message"].as_str().unwrap().contains("a Kinesis data stream"), "{told}");
    assert!(told["advice"].as_str().unwrap().contains("DirectPut"), "{told}");
    daemon.running.says("not delivering", "a Kinesis data stream");
    assert_eq!(daemon.status()["streams"][0]["dead_letters"], 0);
    daemon.running.stop();
    drop(front);
}

/// README: a poisoned record harms itself only. Far more lies behind it than one file may hold in memory.
#[test]
fn a_file_goes_on_behind_a_record_that_never_passes_however_much_lies_behind_it() {
    let settings = "api = \"auto\"\n[memory]\nbuffer = \"8MiB\"\nbuffer_per_file = \"2MiB\"\n";
    let (mut world, front) = with_a_bad_line(
        World::with_service(&["--quota-bytes", "0", "--quota-records", "0"]).configured(settings),
        page("500 Oh"),
    );
    let file = world.file("a.log");
    world.written.append(&file, "a", 100);
    append(&file, "bad\n");
    world.written.append(&file, "b", 150_000);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0, "each once");
    assert_eq!(daemon.status()["streams"][0]["dead_letters"], 0);
    let buffered = daemon.status()["buffered_bytes"].as_u64().unwrap();
    assert!(buffered < 512 * 1024, "{buffered} bytes are held for one record");
    // What was delivered behind it is not sent again after a crash.
    eventually("it is durable", || (daemon.status()["checkpoint"]["age_seconds"] == 0.0).then_some(()));
    daemon.running.kill();
    let daemon = world.run();
    world.written.append(&file, "c", 100);
    assert_eq!(world.all_arrive(), 0, "each once, also over a crash");
    drop((daemon, front));
}
