//! Who has a source and a stream of their own beside others', and does whatever they like with both.

use std::fs;
use std::net::TcpListener;

use crate::world::{World, eventually};

#[test]
fn a_tenant_whose_stream_is_down_and_whose_files_come_and_go_holds_nobody_else_up() {
    const BEGUN: usize = 300;
    const GONE: usize = 1_000;
    // A port at which nothing listens.
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut world = World::new();
    let loud = world.dir().join("loud");
    fs::create_dir(&loud).unwrap();
    let more = format!(
        "[[source]]\nname = \"loud\"\npaths = [\"{0}/*.log\"]\nstream = \"loud\"\nclose_removed_after = \"200ms\"\n\
         [stream.loud]\nendpoint_url = \"http://{down}\"\n",
        loud.display()
    );
    world = world.configured(&more);
    // Lines that never end, and more that wait than there is memory for them.
    for number in 0..BEGUN {
        let begun = format!("{}{}", "line\n".repeat(40_000), "x".repeat(100_000));
        fs::write(loud.join(format!("begun{number}.log")), begun).unwrap();
    }
    world.written.append(&world.file("a.log"), "a", 100);
    let daemon = world.run();
    world.all_arrive();
    for number in 0..GONE {
        let path = loud.join(format!("gone{number}.log"));
        fs::write(&path, "line\n").unwrap();
        if number % 10 == 0 {
            world.written.append(&world.file(&format!("b{}.log", number % 7)), &format!("b{number}"), 10);
        }
        fs::remove_file(&path).unwrap();
    }
    world.all_arrive();
    // What is told of the one is told of that one alone.
    let told = eventually("the stream that is down", || {
        let ready = daemon.get("/readyz");
        ready.body.contains("loud").then_some(ready)
    });
    assert_eq!(told.code, 503, "{}", told.body);
    let status = daemon.status();
    let streams = status["streams"].as_array().unwrap();
    let lag = |name: &str| {
        let stream = streams.iter().find(|stream| stream["name"] == name).unwrap();
        stream["lag_bytes"].as_u64().unwrap()
    };
    assert!(lag("loud") >= (BEGUN * 200_000) as u64, "{status}");
    eventually("the other's positions to be durable", || {
        let status = daemon.status();
        let app = status["sources"].as_array()?.iter().find(|source| source["name"] == "app")?.clone();
        (app["lag_bytes"] == 0 && status["checkpoint"]["age_seconds"] == 0.0).then_some(())
    });
    daemon.running.kill();
    // Nobody's positions were pushed out: nothing comes twice.
    let daemon = world.run();
    world.written.append(&world.file("a.log"), "again", 10);
    world.all_arrive();
    let found = world.compare();
    assert_eq!((found.missing, found.repeated), (0, 0), "{found:?}");
    daemon.running.kill();
    println!("{BEGUN} files that wait and {GONE} that came and went tried");
}
