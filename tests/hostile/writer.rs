//! Who may write into a log directory, and makes names by the thousand.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use serde_json::Value;

use crate::world::{Daemon, World, eventually, finished, text};

/// How many names are not read, by name and beyond.
fn unread(daemon: &Daemon) -> (Vec<Value>, u64) {
    let status = daemon.status();
    (status["unread"].as_array().unwrap().clone(), status["unread_beyond"].as_u64().unwrap())
}

#[test]
fn names_that_are_not_read_hide_none_that_are_and_fill_neither_log_nor_status() {
    const LINKS: u64 = 10_000;
    let mut world = World::new();
    for number in 0..LINKS {
        symlink(format!("/nowhere/{number}"), world.file(&format!("link{number}.log"))).unwrap();
    }
    let _socket = UnixListener::bind(world.file("socket.log")).unwrap();
    let lines = world.written.lines("a", 10);
    fs::write(world.file("a.log"), lines).unwrap();
    let daemon = world.run();
    world.all_arrive();
    let (named, beyond) = eventually("every name to be counted", || {
        let (named, beyond) = unread(&daemon);
        (named.len() as u64 + beyond == LINKS + 1).then_some((named, beyond))
    });
    assert_eq!((named.len(), beyond), (1_000, LINKS - 999));
    let reasons: BTreeSet<_> = named.iter().map(|name| name["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 2, "the one socket is among them: {reasons:?}");
    // More come while it runs, and so does a file.
    for number in LINKS..LINKS + 100 {
        symlink("/nowhere", world.file(&format!("link{number}.log"))).unwrap();
    }
    let lines = world.written.lines("b", 10);
    fs::write(world.file("b.log"), lines).unwrap();
    world.all_arrive();
    let said = daemon.running.log().matches("\"message\":\"not read\"").count();
    assert_eq!(said, 20, "of each source in a minute");
    daemon.running.stop();
    println!("{} names tried", LINKS + 101);
}

#[test]
fn directories_beyond_those_that_are_watched_are_looked_into_all_the_same() {
    const DIRECTORIES: usize = 2_000;
    let mut world = World::new().matching("**/*.log").configured("[memory]\nmax_watches = 20\n");
    for number in 0..DIRECTORIES {
        fs::create_dir(world.file(&format!("d{number:05}"))).unwrap();
    }
    let deep = world.file(&format!("d{:05}/deep.log", DIRECTORIES - 1));
    let lines = world.written.lines("deep", 10);
    fs::write(&deep, lines).unwrap();
    let daemon = world.run();
    world.all_arrive();
    eventually("some directories not to be watched", || {
        (daemon.status()["watching"] == "partial").then_some(())
    });
    assert!(daemon.running.log().contains("memory.max_watches"));
    let watches = |name: fs::DirEntry| {
        fs::read_to_string(name.path()).unwrap_or_default().matches("inotify wd:").count()
    };
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", daemon.running.id()));
    // Nobody but root may look into the process.
    if let Ok(infos) = infos {
        assert_eq!(infos.map(|name| watches(name.unwrap())).sum::<usize>(), 20);
    }
    let lines = world.written.lines("deep", 10);
    let mut file = fs::OpenOptions::new().append(true).open(&deep).unwrap();
    std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    world.all_arrive();
    daemon.running.stop();
    println!("{DIRECTORIES} directories tried");
}

#[test]
fn files_that_come_and_go_by_the_hundred_are_read_and_let_go_of() {
    const FILES: usize = 1_500;
    let mut world = World::new();
    for number in 0..FILES {
        let lines = world.written.lines(&format!("w{number}"), 1);
        fs::write(world.file(&format!("f{number}.log")), lines).unwrap();
    }
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    for number in 0..FILES {
        fs::remove_file(world.file(&format!("f{number}.log"))).unwrap();
        symlink("/nowhere", world.file(&format!("l{number}.log"))).unwrap();
    }
    let lines = world.written.lines("last", 10);
    fs::write(world.file("last.log"), lines).unwrap();
    world.all_arrive();
    eventually("what is removed to be let go of", || {
        (daemon.status()["files"].as_array()?.len() == 1).then_some(())
    });
    daemon.running.stop();
    println!("{FILES} files and as many links tried");
}

#[test]
fn no_state_is_kept_where_others_may_write() {
    for (mode, is_used) in [(0o700, true), (0o755, true), (0o777, false), (0o1777, false)] {
        let world = World::new();
        let state = world.dir().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
        let (code, _, said) = finished(&["run", "--once", "-c", text(&world.config())]);
        let is_refused = code == 74 && said.contains("chmod go-w") && said.contains(&format!("{mode:04o}"));
        assert_eq!(is_refused, !is_used, "{mode:o}: {code}: {said}");
        let kept = fs::read_dir(&state).unwrap().count();
        assert_eq!(kept > 0, is_used, "{mode:o}: {kept} files are kept there");
    }
    println!("4 modes tried");
}
