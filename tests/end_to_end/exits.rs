//! Exit codes, and what is said with them.

use std::fs;

use crate::world::{World, finished, standpipe, text};

#[test]
fn a_wrong_configuration_names_file_line_column_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    fs::write(&config, "[[source]]\npaths = [\"logs/*.log\"]\nstream = \"s\"\nstart = \"end\"\n").unwrap();
    for args in [["run", "-c", text(&config)], ["check", "-c", text(&config)]] {
        let (code, _, said) = finished(&args);
        assert_eq!(code, 78, "{said}");
        assert!(said.contains(&format!("{}:2:", text(&config))), "{said}");
        assert!(said.contains("did you mean `start_at`?"), "every fault at once: {said}");
    }
    let (code, _, said) = finished(&["run", "-c", "/nonexistent/c.toml"]);
    assert_eq!(code, 78);
    assert!(said.contains("/nonexistent/c.toml"), "{said}");
}

#[test]
fn a_reader_that_is_gone_changes_no_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    fs::write(&config, "colour = 1\n").unwrap();
    for args in [&["check", text(&config)][..], &["shipped", "/a.log", "--state-dir", "/nowhere"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let status = standpipe(args).stderr(full).status().unwrap();
        assert!(matches!(status.code(), Some(78 | 74)), "{args:?}: {status}");
    }
}

#[test]
fn a_wrong_command_line_is_another_matter() {
    for args in [&["run", "--twice"][..], &["fly"], &["run", "a.log"], &["run", "--stream", "s"]] {
        let (code, _, said) = finished(args);
        assert!(code == 64 || code == 78 && args == ["run", "--stream", "s"], "{args:?}: {code}: {said}");
    }
    assert_eq!(finished(&["--help"]).0, 0);
    assert_eq!(finished(&["--version"]).0, 0);
}

#[test]
fn a_second_daemon_on_the_same_state_is_told_who_holds_it() {
    let mut world = World::new();
    let a = world.file("a.log");
    world.written.append(&a, "a", 10);
    let daemon = world.run();
    world.all_arrive();
    let (code, _, said) = world.once();
    assert_eq!(code, 75, "{said}");
    let holder = fs::read_to_string(world.dir().join("state/lock")).unwrap_or_default();
    assert!(said.contains(holder.trim()), "{said} names {holder}");
    world.written.append(&a, "a", 10);
    world.all_arrive();
    daemon.running.kill();
    assert_eq!(world.once().0, 0, "a lock does not outlive its holder");
}

#[test]
fn state_of_a_newer_version_is_left_as_it_is() {
    let world = World::new();
    crate::world::append(&world.file("a.log"), "line\n");
    assert_eq!(world.once().0, 0);
    let database = world.dir().join("state/standpipe.db");
    rusqlite::Connection::open(&database).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&database).unwrap();
    let (code, _, said) = world.once();
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("newer"), "{said}");
    assert!(fs::read(&database).unwrap() == before);
}

#[test]
fn a_state_directory_that_cannot_be_one_is_said() {
    let world = World::new();
    fs::write(world.dir().join("state"), "a file").unwrap();
    let (code, _, said) = world.once();
    assert_eq!(code, 74, "{said}");
    assert!(said.contains(text(&world.dir().join("state"))), "{said}");
}
