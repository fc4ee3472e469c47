//! One stream whose files are spread over delivery streams.

use serde_json::Value;

use crate::world::{Daemon, World, eventually};

/// What `/status` says of the delivery streams, by name.
fn delivery_stream(daemon: &Daemon, name: &str) -> Value {
    let status = daemon.status();
    let all = status["streams"][0]["delivery_streams"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap().clone()
}

fn written(world: &mut World, from: usize, files: usize) -> usize {
    for file in 0..files {
        let path = world.file(&format!("app-{file}.log"));
        world.written.append(&path, &format!("{from}-{file}"), 50);
    }
    files * 50
}

/// How many lines arrived at each.
fn arrived(world: &World) -> [usize; 2] {
    ["logs-1", "logs-2"].map(|name| world.arrived(name).split_inclusive(|byte| *byte == b'\n').count())
}

fn all_arrive(world: &World, lines: usize) {
    eventually("every line at one of the two", || {
        (arrived(world).iter().sum::<usize>() >= lines).then_some(())
    });
    let both = ["logs-1", "logs-2"].map(|name| world.arrived(name)).concat();
    assert_eq!(world.written.compare(&both).missing, 0);
}

#[test]
fn files_of_a_delivery_stream_that_refuses_go_on_at_the_other_and_come_back() {
    let mut world = World::new().configured(
        "api = \"auto\"\nspread_after = \"1s\"\ndelivery_streams = [\"logs-1\", { name = \"logs-2\" }]\n",
    );
    let mut lines = written(&mut world, 0, 20);
    let daemon = world.run();
    all_arrive(&world, lines);
    let well = arrived(&world);
    assert!(well.iter().all(|lines| *lines >= 50), "both have files: {well:?}");
    let files = well[1] as u64 / 50;
    // An answer may be a moment old.
    eventually("as many files as sent lines", || {
        (delivery_stream(&daemon, "logs-2")["files"] == files).then_some(())
    });
    let metrics = daemon.get("/metrics").body;
    for name in ["logs-1", "logs-2"] {
        let row = format!(
            "standpipe_stream_info{{stream=\"logs\",delivery_stream=\"{name}\",region=\"us-east-1\"}} 1"
        );
        assert!(metrics.contains(&row), "{row}\nis not in\n{metrics}");
    }

    world.fault(r#"{"rates": {"access_denied": 1.0}, "streams": ["logs-2"]}"#);
    lines += written(&mut world, 1, 20);
    all_arrive(&world, lines);
    eventually("its files at the other", || {
        let state = delivery_stream(&daemon, "logs-2");
        (state["files"].as_u64().unwrap() <= 1 && state["held"]["code"] == "AccessDeniedException")
            .then_some(())
    });
    assert_eq!(arrived(&world)[1], well[1], "nothing more was taken there");
    daemon.running.says("its files go on at the other delivery streams", "\n");

    world.fault("{}");
    eventually("its files back", || {
        lines += written(&mut world, 2, 20);
        all_arrive(&world, lines);
        (delivery_stream(&daemon, "logs-2")["files"] == files).then_some(())
    });
    eventually("ready again", || (daemon.get("/readyz").code == 200).then_some(()));
    daemon.running.says("takes records again, and has its files back", "\n");
    daemon.running.stop();
}
