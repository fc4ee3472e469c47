//! Log lines as programs read them, and what the end of a terminal means.

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::front::{Act, Front};
use crate::world::{World, append, eventually, get, text};

/// The answer to a batch of one record that is not taken.
fn refused(code: &str) -> Act {
    let body = format!(
        "{{\"FailedPutCount\":1,\"Encrypted\":false,\"RequestResponses\":[{{\"ErrorCode\":\"{code}\",\"ErrorMessage\":\"so it is\"}}]}}"
    );
    Act::Answer(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: number-7\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// The first line with this message, once there is one.
fn line(log: impl Fn() -> String, message: &str) -> Value {
    eventually(message, || {
        let log = log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == message)
    })
}

/// Where the service says of one record of a batch that it failed, the line has the request's number, where it was asked, and
/// what to do; so it has where the record is refused for what it is.
#[test]
fn an_error_of_one_record_of_a_batch_is_told_with_its_request_and_what_to_do() {
    for (code, message) in [
        ("InternalFailure", "not delivering; trying again until it works"),
        ("InvalidArgumentException", "put aside as a dead letter"),
    ] {
        let mut world = World::new().configured("api = \"put_record_batch\"\n");
        let front = Front::before(world.address);
        let endpoint = format!("http://{}", front.address);
        world.through(endpoint.clone());
        let bad = STANDARD.encode("bad\n");
        let answer = refused(code);
        front.rule(move |request| if request.contains(&bad) { answer.clone() } else { Act::Pass });
        append(&world.file("a.log"), "bad\n");
        let daemon = world.run();
        let asked =
            || daemon.status()["streams"][0]["retries"].as_object().is_some_and(|all| !all.is_empty());
        eventually("it was asked", || asked().then_some(()));
        if code == "InvalidArgumentException" {
            // The stream takes others, so that it is the record's fault.
            append(&world.file("b.log"), "fine\n");
        }
        let told = line(|| daemon.running.log(), message);
        let of = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        assert_eq!((of("code"), of("error")), (code.to_owned(), "so it is".to_owned()), "{told}");
        assert_eq!((of("request_id"), of("endpoint")), ("number-7".to_owned(), endpoint), "{told}");
        assert!(!of("advice").is_empty(), "{told}");
        daemon.running.kill();
        drop(front);
    }
}

#[test]
fn a_line_without_advice_of_its_own_has_that_of_the_document() {
    let world = World::new();
    let daemon = world.run();
    let told =
        line(|| daemon.running.log(), "no file matches: correct its paths, unless files are still to come");
    assert!(told["advice"].as_str().is_some_and(|advice| advice.contains("Correct `paths`")), "{told}");
    let started = line(|| daemon.running.log(), "starting");
    assert_eq!(
        (&started["sources"], &started["streams"]),
        (&"app".into(), &"logs".into()),
        "values, and no text of Rust"
    );
    assert!(started["advice"].is_null(), "nothing is to be done: {started}");
    daemon.running.stop();
}

/// In a terminal of its own, which ends with `script` of util-linux.
#[test]
fn a_daemon_ends_in_order_with_its_terminal_unless_hangups_are_ignored() {
    for (before, goes_on) in [("", false), ("trap '' HUP; ", true)] {
        let world = World::new();
        append(&world.file("a.log"), "line\n");
        let command = format!(
            "{before}echo $$ > pid; exec {} run -c {} 2> log",
            env!("CARGO_BIN_EXE_standpipe"),
            text(&world.config())
        );
        let mut script = Command::new("script");
        script.args(["-qfc", &command, "typescript"]).current_dir(world.dir()).env("SHELL", "/bin/sh");
        script
            .env("AWS_ACCESS_KEY_ID", "AKID")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", "us-east-1");
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = || fs::read_to_string(world.dir().join("log")).unwrap_or_default();
        let health = line(log, "health endpoint listens")["address"].as_str().unwrap().parse().unwrap();
        let pid = fs::read_to_string(world.dir().join("pid")).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        line(log, "asked to read the configuration again");
        script.kill().unwrap();
        script.wait().unwrap();
        if goes_on {
            // The kernel sends nothing to who ignores it from the start, or it counts as a reload.
            append(&world.file("a.log"), "more\n");
            eventually("both lines", || (world.arrived("logs") == b"line\nmore\n").then_some(()));
            assert_eq!(get(health, "/livez").code, 200);
            kill_process(pid, Signal::TERM).unwrap();
        } else {
            line(log, "the terminal was closed that this was started in");
        }
        let stopped = line(log, "stopped");
        assert_eq!(stopped["lines"], if goes_on { 2 } else { 1 }, "{stopped}");
    }
}
