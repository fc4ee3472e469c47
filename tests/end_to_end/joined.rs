//! What a rotation cuts, in two files that follow each other.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::world::{World, append, eventually};

/// A part of a container's line as containerd writes it.
fn part(tag: &str, text: &str) -> String {
    format!("2026-11-24T08:15:42.123456789Z stdout {tag} {text}\n")
}

/// Everything that arrived, each record by itself.
fn records(world: &World) -> Vec<Value> {
    let arrived = String::from_utf8(world.arrived("logs")).unwrap();
    arrived.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The records that hold a word, once there are any: what they say, where they begin, and whether the other is there.
fn saying(world: &World, word: &str) -> Vec<(String, String, u64)> {
    eventually(word, || {
        let all = records(world).into_iter().filter_map(|record| {
            let (message, file) = (record["message"].as_str()?, record["file"].as_str()?);
            let name = Path::new(file).file_name()?.to_str()?.to_owned();
            message.contains(word).then(|| (message.to_owned(), name, record["offset"].as_u64().unwrap()))
        });
        let all: Vec<_> = all.collect();
        (!all.is_empty()).then_some(all)
    })
}

/// The kubelet renames a log by the time, and has the runtime open another; what is long comes in parts.
#[test]
fn parts_of_a_containers_line_that_the_kubelets_rotation_cuts_are_one_record() {
    let world = World::new().source("parse = \"cri\"\nformat = \"json\"\n");
    let (now, old) = (world.file("0.log"), world.file("0.log.20261129-220000"));
    let before = part("F", "before");
    append(&now, &before);
    let daemon = world.run();
    saying(&world, "before");
    append(&now, &part("P", "first, "));
    append(&now, &part("P", "second, "));
    fs::rename(&now, &old).unwrap();
    append(&now, &[part("P", "third, "), part("F", "last"), part("F", "behind")].concat());
    let whole = "first, second, third, last".to_owned();
    let begins = before.len() as u64;
    assert_eq!(saying(&world, "first"), [(whole.clone(), "0.log.20261129-220000".to_owned(), begins)]);
    saying(&world, "behind");
    daemon.settle();
    daemon.running.stop();
    let all = records(&world).len();
    // What is durable of the one is durable of the other: nothing comes again.
    let daemon = world.run();
    append(&now, &part("F", "after"));
    saying(&world, "after");
    daemon.running.stop();
    assert_eq!(records(&world).len(), all + 1);
}

#[test]
fn a_stack_trace_that_a_rotation_cuts_is_one_record_also_after_kill_9() {
    const HEAD: &str = "java.lang.IllegalStateException: no\n\tat a.B.c(B.java:1)\n";
    const REST: &str = "\tat d.E.f(E.java:2)\nCaused by: java.io.IOException\n\t... 2 more\n";
    let world =
        World::new().source("multiline = { preset = \"java\", timeout = \"30s\" }\nformat = \"json\"\n");
    let (now, old, older) = (world.file("a.log"), world.file("a.log.1"), world.file("a.log.2"));
    append(&now, "begin\n");
    let daemon = world.run();
    daemon.follows(&now);
    append(&now, HEAD);
    fs::rename(&now, &old).unwrap();
    append(&now, &format!("{REST}next\n"));
    let whole = format!("{HEAD}{REST}").trim_end().to_owned();
    assert_eq!(saying(&world, "IllegalState"), [(whole.clone(), "a.log.1".to_owned(), 6)]);
    // The next one is cut while the service takes nothing, and nobody is there when its file is renamed.
    eventually("the position of what was joined", || {
        let checkpoints = world.checkpoints().to_string();
        checkpoints.contains(&format!("\"offset\":{}", 6 + HEAD.len())).then_some(())
    });
    let head = HEAD.replace("IllegalState", "Second");
    append(&now, &head);
    eventually("the end of it to be read", || {
        let size = fs::metadata(&now).unwrap().len();
        daemon.status().to_string().contains(&format!("\"size\":{size}")).then_some(())
    });
    daemon.running.kill();
    fs::rename(&old, &older).unwrap();
    fs::rename(&now, &old).unwrap();
    append(&now, &format!("{REST}last\n"));
    let daemon = world.run();
    let found = saying(&world, "Second");
    let whole = format!("{head}{REST}").trim_end().to_owned();
    assert_eq!(found[0].0, whole);
    assert_eq!(found.len(), 1);
    daemon.running.stop();
}
