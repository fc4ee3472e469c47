//! Delivery streams that the paths of files name: opened with their files, bounded, and apart from one another.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::world::{World, append, eventually, finished, text};

const TEAMS: &str = "path_fields = '/logs/(?<team>[^/]+)/'\n";

/// Files in a directory for each team; each team's go to a stream of its own.
fn world(more: &str) -> World {
    named(World::new(), more)
}

fn named(world: World, more: &str) -> World {
    world.matching("*/*.log").naming_streams("logs-{team}").source(&format!("{TEAMS}{more}"))
}

/// The log of a team.
fn log(world: &World, team: &str) -> PathBuf {
    let dir = world.dir().join("logs").join(team);
    fs::create_dir_all(&dir).unwrap();
    dir.join("app.log")
}

fn arrives(world: &World, stream: &str, lines: &str) {
    eventually(&format!("{lines:?} in {stream}"), || {
        (world.arrived(stream) == lines.as_bytes()).then_some(())
    });
}

#[test]
fn each_files_lines_go_to_the_stream_that_its_path_names_also_of_files_that_come_later() {
    let world = world("");
    append(&log(&world, "shop"), "one\n");
    let daemon = world.run();
    arrives(&world, "logs-shop", "one\n");
    append(&log(&world, "pay"), "two\n");
    append(&log(&world, "shop"), "three\n");
    arrives(&world, "logs-pay", "two\n");
    arrives(&world, "logs-shop", "one\nthree\n");
    // An answer may be a moment old.
    eventually("both streams in the status", || {
        let status = daemon.status();
        let streams = status["streams"].as_array().unwrap();
        let names: Vec<_> = streams.iter().map(|stream| stream["name"].as_str().unwrap()).collect();
        (names == ["logs-shop", "logs-pay"]).then_some(())
    });
    eventually("what was counted", || {
        let metrics = daemon.get("/metrics").body;
        metrics.contains("standpipe_records_delivered_total{stream=\"logs-pay\"} 1\n").then_some(())
    });
    let metrics = daemon.get("/metrics").body;
    assert!(metrics.contains("standpipe_config_reloads_total{outcome=\"applied\"} 0\n"), "{metrics}");
    daemon.settle();
    daemon.running.kill();
    // What was delivered is not sent again, and what came meanwhile is, also from a file that was renamed.
    append(&log(&world, "shop"), "four\n");
    append(&log(&world, "pay"), "five\n");
    fs::rename(log(&world, "pay"), log(&world, "pay").with_extension("log.1")).unwrap();
    let daemon = world.run();
    arrives(&world, "logs-shop", "one\nthree\nfour\n");
    arrives(&world, "logs-pay", "two\nfive\n");
    daemon.running.stop();
    assert_eq!(world.shipped("shop/app.log").0, 0);
    append(&log(&world, "ops"), "six\n");
    let (code, _, said) = world.shipped("ops/app.log");
    assert_eq!(code, 1, "{said}");
}

#[test]
fn one_pass_opens_every_stream_that_its_files_name() {
    let world = world("");
    let teams: Vec<_> = (0..20).map(|team| format!("team-{team:02}")).collect();
    teams.iter().for_each(|team| append(&log(&world, team), &format!("{team}\n")));
    let (code, _, said) = world.once();
    assert_eq!(code, 0, "{said}");
    for team in &teams {
        arrives(&world, &format!("logs-{team}"), &format!("{team}\n"));
    }
    append(&log(&world, "a b"), "no stream has such a name\n");
    let (code, _, said) = world.once();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a b/app.log") && said.contains("is no delivery stream's name"), "{said}");
}

#[test]
fn what_is_not_allowed_or_too_much_goes_to_the_default_and_streams_make_room_when_their_files_are_gone() {
    let world = world("streams = [\"logs-t*\"]\ndefault_stream = \"rest\"\nmax_streams = 2\n");
    for team in ["t1", "t2", "other"] {
        append(&log(&world, team), &format!("{team}\n"));
    }
    let daemon = world.run();
    arrives(&world, "logs-t1", "t1\n");
    arrives(&world, "logs-t2", "t2\n");
    arrives(&world, "rest", "other\n");
    append(&log(&world, "t3"), "three\n");
    arrives(&world, "rest", "other\nthree\n");
    // One of the two is gone, and no file of it is left: the next that comes takes its place.
    daemon.settle();
    fs::remove_dir_all(log(&world, "t1").parent().unwrap()).unwrap();
    eventually("t1 is let go of", || {
        let files = daemon.status()["files"].as_array().unwrap().clone();
        files.iter().all(|file| !file["path"].as_str().unwrap().contains("/t1/")).then_some(())
    });
    append(&log(&world, "t4"), "four\n");
    arrives(&world, "logs-t4", "four\n");
    // An answer may be a moment old.
    eventually("the one that came in the place of the one that went", || {
        let metrics = daemon.get("/metrics").body;
        (!metrics.contains("logs-t1") && metrics.contains("logs-t4")).then_some(())
    });
    daemon.running.signal(Signal::HUP);
    append(&log(&world, "t4"), "five\n");
    arrives(&world, "logs-t4", "four\nfive\n");
    daemon.running.stop();
}

#[test]
fn a_stream_that_does_not_exist_holds_its_own_files_only() {
    let world = World::with_service(&["--streams", "logs-shop"]);
    let world = named(world, "").configured("[memory]\nbuffer = \"4MiB\"\nbuffer_per_file = \"2MiB\"\n");
    // More than there is memory for, of more streams than are read at once.
    let backlog = format!("{}\n", "waits ".repeat(20)).repeat(4_000);
    (0..20).for_each(|team| append(&log(&world, &format!("lost-{team}")), &backlog));
    let lines: String = (0..6_000).map(|number| format!("line {number}\n")).collect();
    append(&log(&world, "shop"), &lines);
    let daemon = world.run();
    daemon.not_ready("ResourceNotFoundException");
    let lines = format!("{lines}goes on\n");
    append(&log(&world, "shop"), "goes on\n");
    eventually("every line of the one that exists", || {
        (world.arrived("logs-shop").len() == lines.len()).then_some(())
    });
    daemon.running.stop();
}

#[test]
fn check_and_preview_show_what_goes_where() {
    let world = world("streams = [\"logs-s*\"]\n");
    let shop = log(&world, "shop");
    append(&shop, "one\n");
    append(&log(&world, "pay"), "two\n");
    let (code, said, fault) = finished(&["check", text(&world.config())]);
    assert_eq!((code, fault.as_str()), (0, ""));
    for line in [
        "source app to streams logs-{team} by path, up to 100".to_owned(),
        "  only to logs-s*".to_owned(),
        "  other files are not read".to_owned(),
        "stream logs-shop to delivery stream logs-shop".to_owned(),
        format!("  {} (4 bytes): app to stream logs-shop", shop.display()),
    ] {
        assert!(said.lines().any(|told| told == line), "{line}\nis not in\n{said}");
    }
    assert!(
        said.contains("app, not read: its stream would be logs-pay, which `streams` does not allow"),
        "{said}"
    );
    let (code, said, _) = finished(&["preview", "-c", text(&world.config()), text(&shop)]);
    assert_eq!(code, 0);
    assert!(said.contains("source app to stream logs-shop (delivery stream logs-shop)"), "{said}");
}

#[test]
fn dead_letters_of_a_stream_that_a_path_named_are_sent_again_with_and_without_a_daemon() {
    for runs in [true, false] {
        let mut world = world("max_line_bytes = 16\noversize = \"dead_letter\"\n");
        append(&log(&world, "shop"), "a line that is longer than sixteen bytes\n");
        assert_eq!(world.once().0, 1, "a line became a dead letter");
        assert!(world.dead_letters() > 0);
        fs::remove_dir_all(log(&world, "shop").parent().unwrap()).unwrap();
        // Long lines are split from now on.
        world = world.source(TEAMS);
        let daemon = runs.then(|| world.run());
        let (code, _, said) = finished(&["dead-letters", "replay", "-c", text(&world.config())]);
        assert_eq!(code, 0, "{said}");
        eventually("what was put aside", || {
            // Its pieces come in any order.
            let sorted = |mut bytes: Vec<u8>| {
                bytes.sort_unstable();
                bytes
            };
            let expected = b"a line that is longer than sixteen bytes".to_vec();
            let arrived = world.arrived("logs-shop").into_iter().filter(|byte| *byte != b'\n').collect();
            (sorted(arrived) == sorted(expected)).then_some(())
        });
        assert_eq!(world.dead_letters(), 0);
        drop(daemon);
    }
}
