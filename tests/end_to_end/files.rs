//! What else happens to files, against the real kernel. Rows of the failure table are named where they are held.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::world::{Running, World, append, eventually, standpipe, text};

/// S6: truncated, and grown past the old offset before anybody looks.
#[test]
fn a_file_that_was_truncated_and_grew_past_where_it_was_read_to_is_read_again() {
    let mut world = World::new();
    let file = world.file("a.log");
    world.written.append(&file, "a", 200);
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    daemon.running.signal(Signal::STOP);
    File::create(&file).unwrap();
    world.written.append(&file, "b", 1_000);
    daemon.running.signal(Signal::CONT);
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
}

/// S8: a writer that goes on at its old offset leaves a hole of NULs.
#[test]
fn the_hole_that_a_writer_without_append_leaves_is_skipped_and_counted() {
    let mut world = World::new();
    let file = world.file("a.log");
    let writer = File::create(&file).unwrap();
    let before = world.written.lines("a", 100);
    writer.write_all_at(before.as_bytes(), 0).unwrap();
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    writer.set_len(0).unwrap();
    let after = world.written.lines("a", 50);
    writer.write_all_at(after.as_bytes(), before.len() as u64).unwrap();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
    // While nobody looks, as well.
    writer.set_len(0).unwrap();
    let last = world.written.lines("a", 50);
    writer.write_all_at(last.as_bytes(), 8 << 20).unwrap();
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
    assert_eq!(world.compare().invented, Vec::<String>::new());
}

#[test]
fn a_file_that_its_program_reserved_is_read_as_it_is_filled() {
    let mut world = World::new();
    let file = world.file("a.log");
    let writer = File::create(&file).unwrap();
    writer.set_len(2 << 20).unwrap();
    let daemon = world.run();
    daemon.follows(&file);
    let mut at = 0;
    for _ in 0..5 {
        let lines = world.written.lines("a", 100);
        writer.write_all_at(lines.as_bytes(), at).unwrap();
        at += lines.len() as u64;
        assert_eq!(world.all_arrive(), 0);
    }
    daemon.running.stop();
    let config = world.config();
    let shipped = ["shipped", "-c", crate::world::text(&config), crate::world::text(&file)];
    let (code, _, said) = crate::world::finished(&shipped);
    assert_eq!(code, 0, "what is reserved is not missing: {said}");
    assert_eq!(world.compare().invented, Vec::<String>::new());
}

/// S10: removed and made anew, with the inode of the old one on most file systems. Also an atomic replacement by
/// rename.
#[test]
fn a_file_that_takes_the_place_of_another_is_read_from_its_beginning() {
    let mut world = World::new();
    let (file, next) = (world.file("a.log"), world.file("next"));
    world.written.append(&file, "a", 100);
    let daemon = world.run();
    for round in 0..10 {
        world.all_arrive();
        if round % 2 == 0 {
            fs::remove_file(&file).unwrap();
            world.written.append(&file, "a", 100);
        } else {
            world.written.append(&next, "a", 150);
            fs::rename(&next, &file).unwrap();
        }
    }
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
}

/// S11: one reader for each file, whatever it is called.
#[test]
fn a_file_with_two_names_is_shipped_once() {
    let mut world = World::new();
    let (file, link) = (world.file("a.log"), world.file("b.log"));
    world.written.append(&file, "a", 100);
    let daemon = world.run();
    world.all_arrive();
    fs::hard_link(&file, &link).unwrap();
    world.written.append(&link, "a", 100);
    fs::remove_file(&file).unwrap();
    world.written.append(&link, "a", 100);
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// S12: a link that is followed leads to another file.
#[test]
fn a_link_that_leads_elsewhere_is_followed_there_and_what_it_led_to_is_read_to_its_end() {
    let mut world = World::new().source("follow_symlinks = true\n");
    let link = world.file("current.log");
    let targets: Vec<_> = (0..4).map(|number| world.file(&format!("target{number}"))).collect();
    append(&targets[0], "");
    symlink(&targets[0], &link).unwrap();
    let daemon = world.run();
    for (number, target) in targets.iter().enumerate() {
        world.written.append(target, "a", 50);
        if number > 0 {
            let next = world.file("next");
            symlink(target, &next).unwrap();
            fs::rename(&next, &link).unwrap();
            // The writer of the old one is not done yet.
            world.written.append(&targets[number - 1], "b", 10);
        }
        world.all_arrive();
    }
    daemon.settle();
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// S15: the end of a file without its newline is a line once the file is gone and quiet, and not before.
#[test]
fn a_last_line_without_newline_is_shipped_once_when_its_file_is_gone() {
    let mut world = World::new();
    let file = world.file("a.log");
    let lines = world.written.lines("a", 20);
    append(&file, lines.strip_suffix('\n').unwrap());
    let daemon = world.run();
    eventually("all but the last", || (world.compare().missing == 1).then_some(()));
    fs::rename(&file, world.file("a.log.1")).unwrap();
    assert_eq!(world.all_arrive(), 0);
    assert!(daemon.get("/metrics").body.contains("standpipe_partial_lines_shipped_total{source=\"app\"} 1"));
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// S18: a file that may not be read, until it may.
#[test]
fn a_file_that_may_not_be_read_is_tried_again_until_it_may() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a daemon that may read less than the test");
        return;
    }
    let mut world = World::new();
    let file = world.file("a.log");
    world.written.append(&file, "a", 20);
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(world.dir(), Permissions::from_mode(0o777)).unwrap();
    let mut command = standpipe(&["run", "-c", text(&world.config())]);
    command.uid(65534).gid(65534);
    let daemon = Running::of(command);
    daemon.says("cannot be read", "\n");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(world.all_arrive(), 0);
    daemon.stop();
}

/// S23: the limit on watches is reached, and files are looked at instead.
#[test]
fn without_watches_files_are_looked_at_and_the_limit_is_named() {
    let none = "echo 0 > /proc/sys/user/max_inotify_watches; exec \"$0\" \"$@\"";
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-U", "-r", "-m", "sh", "-c", none]).args(words);
        command
    };
    if !unshare(&["true"]).output().is_ok_and(|output| output.status.success() && output.stderr.is_empty()) {
        eprintln!("skipped: no user namespaces on this machine");
        return;
    }
    let mut world = World::new();
    let file = world.file("a.log");
    let plain = standpipe(&["run", "-c", text(&world.config())]);
    let mut command = unshare(&[text(Path::new(plain.get_program()))]);
    command.args(plain.get_args()).env_clear();
    command
        .envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .env("PATH", "/usr/bin:/bin");
    let daemon = Running::of(command);
    for _ in 0..3 {
        world.written.append(&file, "a", 20);
        assert_eq!(world.all_arrive(), 0);
    }
    daemon.says("fs.inotify.max_user_watches", "\n");
}

/// S27: what a file says of its time is nothing to go by.
#[test]
fn times_of_files_change_nothing() {
    let mut world = World::new();
    let files = [world.file("a.log"), world.file("b.log")];
    let daemon = world.run();
    for round in 0..4 {
        for (file, at) in files.iter().zip([0, 4_000_000_000]) {
            world.written.append(file, text(Path::new(file.file_stem().unwrap())), 20 + round);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
            OpenOptions::new().append(true).open(file).unwrap().set_modified(time).unwrap();
        }
        assert_eq!(world.all_arrive(), 0);
    }
    daemon.running.stop();
}

/// S16: a record is the bytes of its line; only a newline ends one.
#[test]
fn bytes_arrive_as_they_were_written() {
    let world = World::new();
    let file = world.file("a.log");
    let bytes: &[u8] = b"\n\r\ncr\rlf\r\n\0nul\0\n\xff\xfe not utf-8 \xc3\x28\n\n\x1b[31mred\x1b[0m\n last\n";
    fs::write(&file, bytes).unwrap();
    let daemon = world.run();
    eventually("the bytes", || (world.arrived("logs").len() >= bytes.len()).then_some(()));
    // Requests are under way side by side: lines may overtake each other, bytes within a line may not.
    let lines = |bytes: &[u8]| {
        let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&world.arrived("logs")), lines(bytes));
    daemon.running.stop();
}

/// S22: more events than inotify's queue holds, while the daemon is stopped.
#[test]
fn an_overflow_of_the_queue_loses_nothing() {
    let mut world = World::new();
    let files = [world.file("a.log"), world.file("b.log")];
    files.iter().for_each(|file| append(file, ""));
    let daemon = world.run();
    files.iter().for_each(|file| daemon.follows(file));
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let events: usize = limit.trim().parse::<usize>().unwrap() + 2_000;
    daemon.running.signal(Signal::STOP);
    // Alternately, or the kernel makes one event of them.
    let mut open = files.map(|file| OpenOptions::new().append(true).open(file).unwrap());
    for number in 0..events {
        let line = world.written.lines(["a", "b"][number % 2], 1);
        open[number % 2].write_all(line.as_bytes()).unwrap();
    }
    daemon.running.signal(Signal::CONT);
    assert_eq!(world.all_arrive(), 0);
    // The kernel puts that behind all other events: every line may have arrived before it is read.
    eventually("the overflow", || daemon.running.log().contains("queue overflowed").then_some(()));
    eventually("its count", || {
        daemon.get("/metrics").body.contains("standpipe_watch_overflows_total 1").then_some(())
    });
    daemon.running.stop();
}

/// S24: more files than descriptors.
#[test]
fn more_files_than_descriptors_are_all_followed() {
    let mut world = World::new().configured("api = \"auto\"\n");
    let files: Vec<_> = (0..300).map(|number| world.file(&format!("{number}.log"))).collect();
    let names: Vec<_> = (0..300).map(|number| format!("w{number}")).collect();
    let write = |world: &mut World, lines| {
        files.iter().zip(&names).for_each(|(file, name)| world.written.append(file, name, lines));
    };
    write(&mut world, 3);
    let limited = format!("ulimit -n 64; exec \"$0\" run -c {}", text(&world.config()));
    let mut command = Command::new("bash");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_standpipe")]);
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y").env("AWS_REGION", "us-east-1");
    let daemon = Running::of(command);
    assert_eq!(world.all_arrive(), 0);
    write(&mut world, 2);
    // A closed file that is renamed away is found again.
    let renamed = world.file("7.log.old");
    fs::rename(&files[7], &renamed).unwrap();
    assert_eq!(world.all_arrive(), 0);
    daemon.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// S25: the directory goes, with all that is in it, and comes back.
#[test]
fn a_directory_that_is_removed_and_made_anew_is_followed_again() {
    let mut world = World::new();
    let file = world.file("a.log");
    let directory = file.parent().unwrap().to_owned();
    let daemon = world.run();
    for _ in 0..5 {
        world.written.append(&file, "a", 50);
        world.all_arrive();
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
    }
    world.written.append(&file, "a", 50);
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
}

/// S26: many files at once.
#[test]
fn many_files_that_appear_at_once_are_all_read() {
    let mut world = World::new().configured("api = \"auto\"\n");
    let daemon = world.run();
    for number in 0..3_000 {
        let file = world.file(&format!("{number}.log"));
        world.written.append(&file, &format!("w{number}"), 1);
    }
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
}

/// S28: two writers of one file.
#[test]
fn lines_of_two_writers_of_one_file_stay_whole() {
    let mut world = World::new();
    let file = world.file("a.log");
    append(&file, "");
    let daemon = world.run();
    let texts = ["a", "b"].map(|writer| world.written.lines(writer, 1_500));
    std::thread::scope(|scope| {
        for text in &texts {
            scope.spawn(|| text.split_inclusive('\n').for_each(|line| append(&file, line)));
        }
    });
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
}

/// S29: one file has more than the quota carries; small ones do not wait for it.
#[test]
fn a_backlog_in_one_file_does_not_starve_fifty_others() {
    const BACKLOG: u64 = 60_000;
    let quota = "api = \"auto\"\nquota = { requests_per_second = 100, records_per_second = 1000, bytes_per_second = \"4MiB\" }\n";
    let mut world = World::new().configured(quota);
    let large = world.file("large.log");
    world.written.append(&large, "large", BACKLOG);
    let daemon = world.run();
    let backlog = |world: &World| String::from_utf8(world.arrived("logs")).unwrap().lines().count() as u64;
    eventually("the backlog to be on its way", || (backlog(&world) > 1_000).then_some(()));
    for number in 0..50 {
        let file = world.file(&format!("small{number}.log"));
        world.written.append(&file, &format!("s{number}"), 2);
    }
    let small = |world: &World| {
        let arrived = String::from_utf8(world.arrived("logs")).unwrap();
        arrived.lines().filter(|line| line.starts_with('s')).count()
    };
    eventually("the small ones", || (small(&world) == 100).then_some(()));
    let of_large = backlog(&world) - 100;
    assert!(of_large < BACKLOG / 4, "they waited while {of_large} lines of the backlog were delivered");
    drop(daemon);
}
