//! What is no log file, or not yet, or an odd one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

use crate::world::{Running, World, append, delivered, eventually, finished, standpipe, text};

#[test]
fn one_pass_says_which_files_it_could_not_read_and_ships_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("good"), "good\n").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::create_dir(path("directory")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap();
    assert!(fifo.success());
    symlink(path("good"), path("link")).unwrap();
    symlink("/nowhere", path("dangling")).unwrap();
    let out = path("out");
    let names = ["good", "empty", "missing", "directory", "fifo", "link", "dangling"].map(path);
    let mut args = vec!["run", "--local", text(&out), "--once"];
    args.extend(names.iter().map(|name| text(name)));
    let (code, said, log) = finished(&args);
    assert_eq!(code, 1, "{log}");
    assert!(said.starts_with("1 lines, 5 bytes"), "{said}");
    assert_eq!(delivered(&out.join("local")), b"good\n");
    for (name, reason) in [
        ("missing", "no such file"),
        ("directory", "directory"),
        ("fifo", "FIFO"),
        ("link", "symbolic link"),
        ("dangling", "symbolic link"),
    ] {
        let path = path(name);
        let line = log.lines().find(|line| line.contains(&format!("\"path\":\"{}\"", text(&path))));
        let line = line.unwrap_or_else(|| panic!("nothing is said of {name}: {log}"));
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn a_link_is_followed_when_told_to_and_to_its_next_target() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("targets")).unwrap();
    fs::write(path("targets/1"), "one\n").unwrap();
    fs::write(path("targets/2"), "two\n").unwrap();
    symlink(path("targets/1"), path("now.log")).unwrap();
    let config =
        format!("[[source]]\npaths = [{:?}]\nstream = \"s\"\nfollow_symlinks = true\n", path("*.log"));
    fs::write(path("c.toml"), config + "[health]\nlisten = \"off\"\n").unwrap();
    let out = path("out");
    let daemon = Running::start(&["run", "-c", text(&path("c.toml")), "--local", text(&out)]);
    eventually("the first target", || (delivered(&out.join("s")) == b"one\n").then_some(()));
    symlink(path("targets/2"), path("next")).unwrap();
    fs::rename(path("next"), path("now.log")).unwrap();
    eventually("the second target", || (delivered(&out.join("s")) == b"one\ntwo\n").then_some(()));
    daemon.stop();
}

#[test]
fn two_names_of_one_file_are_one_file() {
    let mut world = World::new();
    let a = world.file("a.log");
    world.written.append(&a, "a", 200);
    fs::hard_link(&a, world.file("b.log")).unwrap();
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    fs::hard_link(&a, world.file("c.log")).unwrap();
    world.written.append(&a, "a", 200);
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    assert_eq!(daemon.status()["files"].as_array().unwrap().len(), 1);
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// S17: longer than a record.
#[test]
fn a_line_longer_than_a_record_arrives_in_pieces_that_are_the_line() {
    let world = World::new().configured("ordered = true\n");
    let long: String = (0..300_000).map(|number| format!("{number} ")).collect();
    append(&world.file("a.log"), &format!("before\n{long}\nafter\n"));
    let (code, said, log) = world.once();
    assert_eq!(code, 0, "{log}");
    assert!(said.starts_with("3 lines") && said.contains(" 4 records"), "1.9 MiB are two records: {said}");
    assert!(world.arrived("logs") == format!("before\n{long}\nafter\n").into_bytes());
}

#[test]
fn a_file_that_may_not_be_read_is_read_once_it_may() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root can run the daemon as somebody else");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (log, out) = (dir.path().join("a.log"), dir.path().join("out"));
    fs::write(&log, "line\n").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(&out).unwrap();
    // Copied to where anybody may run it.
    let program = dir.path().join("standpipe");
    fs::copy(env!("CARGO_BIN_EXE_standpipe"), &program).unwrap();
    std::os::unix::fs::chown(&out, Some(65534), Some(65534)).unwrap();
    let template = standpipe(&["run", "--local", text(&out), text(&log)]);
    let mut command = std::process::Command::new(&program);
    command.args(template.get_args()).env_clear().uid(65534).gid(65534);
    let daemon = Running::of(command);
    let said = daemon.says("\"message\":\"cannot be read", "\n");
    assert!(said.contains("ermission"), "{said}");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o644)).unwrap();
    eventually("the line", || (delivered(&out.join("local")) == b"line\n").then_some(()));
    daemon.stop();
}
