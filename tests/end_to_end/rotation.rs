//! Files that are renamed, removed, truncated and replaced, while the daemon runs and while it does not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::world::{World, append, eventually, text};

/// S1: renamed and created, at speed, and renamed once more.
#[test]
fn renamed_and_created_files_lose_and_repeat_nothing() {
    let mut world = World::new();
    let (now, old, older) = (world.file("a.log"), world.file("a.log.1"), world.file("a.log.2"));
    let daemon = world.run();
    for round in 0..12 {
        world.written.append(&now, "a", 150);
        // What has another name before anybody saw it was never a file of the source.
        daemon.follows(&now);
        if old.exists() {
            fs::rename(&old, &older).unwrap();
        }
        fs::rename(&now, &old).unwrap();
        // The writer has it open a little longer.
        world.written.append(&old, "a", 30);
        world.written.append(&now, "b", 20 + round);
    }
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// S2: the same while standpipe is down.
#[test]
fn a_file_that_was_renamed_while_nobody_looked_is_read_to_its_end() {
    let mut world = World::new();
    let (now, old) = (world.file("a.log"), world.file("a.log.1"));
    world.written.append(&now, "a", 300);
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    daemon.running.stop();
    world.written.append(&now, "a", 200);
    fs::rename(&now, &old).unwrap();
    world.written.append(&now, "b", 200);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
}

/// Nothing about the new names tells what the files were, and most of them came and went between two looks.
#[test]
fn logs_that_are_renamed_to_any_name_before_they_are_seen_are_read_where_inotify_tells() {
    for is_linked in [false, true] {
        let mut world = World::new().source(&format!("follow_symlinks = {is_linked}\n"));
        let link = world.file("a.log");
        let logs = link.parent().unwrap().to_owned();
        let real = if is_linked { logs.with_file_name("real") } else { logs };
        fs::create_dir_all(&real).unwrap();
        let now = real.join(if is_linked { "0.log" } else { "a.log" });
        world.written.append(&now, "a", 10);
        if is_linked {
            symlink(&now, &link).unwrap();
        }
        let daemon = world.run();
        daemon.follows(&now);
        for round in 0..40 {
            fs::rename(&now, real.join(format!("kept {}", 7 * round % 40))).unwrap();
            world.written.append(&now, "b", 10);
        }
        assert_eq!(world.all_arrive(), 0, "linked: {is_linked}");
        daemon.running.stop();
        assert_eq!(world.compare().repeated, 0, "linked: {is_linked}");
    }
}

/// S30: rotated twice, compressed, and put elsewhere, while standpipe is down.
#[test]
fn generations_that_were_rotated_away_while_nobody_looked_are_read() {
    let mut world = World::new();
    let elsewhere = world.file("a.log").with_file_name("old");
    fs::create_dir(&elsewhere).unwrap();
    world = world.source(&format!("rotated = [{:?}]\n", elsewhere.join("*")));
    let name = |number: u32| world.file("a.log").with_extension(format!("log.{number}"));
    let (now, one, two) = (world.file("a.log"), name(1), name(2));
    // It was there before anybody looked.
    fs::write(name(7), "of old\n").unwrap();
    let born = fs::metadata(name(7)).unwrap().created().unwrap();
    eventually("it to be a little older", || {
        (born.elapsed().ok()? > Duration::from_millis(200)).then_some(())
    });
    world.written.append(&now, "a", 100);
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    daemon.running.stop();
    world.written.append(&now, "a", 50);
    fs::rename(&now, &two).unwrap();
    world.written.append(&now, "b", 50);
    fs::rename(&now, elsewhere.join("a.log-20261125")).unwrap();
    world.written.append(&now, "c", 50);
    fs::rename(&now, &one).unwrap();
    assert!(Command::new("gzip").arg(&one).status().unwrap().success());
    world.written.append(&now, "d", 50);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// S31: the same behind a link, live and while standpipe is down.
#[test]
fn what_is_rotated_behind_a_link_is_read_to_its_end() {
    let mut world = World::new().source("follow_symlinks = true\n");
    let link = world.file("a.log");
    let real = link.parent().unwrap().with_file_name("real");
    fs::create_dir(&real).unwrap();
    let (now, old, older) = (real.join("0.log"), real.join("0.log.1"), real.join("0.log.2"));
    world.written.append(&now, "a", 100);
    symlink(&now, &link).unwrap();
    let rotate = |world: &mut World| {
        let _ = fs::rename(&old, &older);
        fs::rename(&now, &old).unwrap();
        world.written.append(&now, "b", 30);
    };
    let daemon = world.run();
    world.all_arrive();
    rotate(&mut world);
    rotate(&mut world);
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
    world.written.append(&now, "c", 30);
    rotate(&mut world);
    rotate(&mut world);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

/// A program that begins a file each day and leads a link there: of the days between two looks the link shows the last.
#[test]
fn a_link_that_is_led_on_twice_while_nobody_looks_shows_the_file_that_it_leads_to() {
    let mut world = World::new().source("follow_symlinks = true\n");
    let link = world.file("latest.log");
    let real = link.parent().unwrap().with_file_name("real");
    fs::create_dir(&real).unwrap();
    let lead_to = |day: u32| {
        let _ = fs::remove_file(&link);
        symlink(real.join(format!("app-2026-11-2{day}.log")), &link).unwrap();
    };
    let day = |day: u32| real.join(format!("app-2026-11-2{day}.log"));
    world.written.append(&day(1), "a", 10);
    lead_to(1);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
    world.written.append(&day(1), "b", 10);
    append(&day(2), "between\n");
    lead_to(2);
    world.written.append(&day(3), "c", 10);
    lead_to(3);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.running.stop();
    assert!(!String::from_utf8(world.arrived("logs")).unwrap().contains("between"));
    assert_eq!(world.compare().repeated, 0);
}

/// S4: truncated in place.
#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let mut world = World::new();
    let file = world.file("a.log");
    let daemon = world.run();
    for round in 0..6 {
        world.written.append(&file, "a", 100 + 10 * round);
        world.all_arrive();
        daemon.settle();
        // In place, as with copytruncate.
        fs::OpenOptions::new().write(true).truncate(true).open(&file).unwrap();
    }
    world.written.append(&file, "a", 1_000);
    assert_eq!(world.all_arrive(), 0);
    assert!(daemon.running.log().contains("truncated"), "it is told");
    daemon.running.stop();
}

/// S9: removed with lines unread.
#[test]
fn a_file_that_is_removed_with_lines_unread_is_delivered_when_the_service_is_back() {
    let memory = "[memory]\nbuffer = \"2MiB\"\nbuffer_per_file = \"2MiB\"\n";
    let mut world = World::new().configured(&format!("api = \"auto\"\n{memory}"));
    let file = world.file("a.log");
    world.written.append(&file, "a", 10);
    let daemon = world.run();
    world.all_arrive();
    world.fault(r#"{"rates": {"internal": 1.0}}"#);
    // More than is read ahead of the service.
    world.written.append(&file, "a", 40_000);
    eventually("it is behind", || (daemon.status()["sources"][0]["lag_bytes"].as_u64()? > 0).then_some(()));
    fs::remove_file(&file).unwrap();
    world.written.append(&file, "b", 50);
    daemon.follows(&file);
    let status = daemon.status();
    let removed = status["files"].as_array().unwrap().iter().find(|file| file["state"] == "draining");
    assert!(removed.unwrap()["lag_bytes"].as_u64().unwrap() > 0, "{status}");
    world.fault(r#"{"rates": {}}"#);
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    eventually("the removed file to be let go", || {
        (daemon.status()["files"].as_array()?.len() == 1).then_some(())
    });
    daemon.running.stop();
}

fn cut_off(file: &Path) {
    fs::OpenOptions::new().write(true).truncate(true).open(file).unwrap();
}

/// S4: copied and truncated with lines unread.
#[test]
fn what_is_cut_off_before_it_is_read_is_read_in_the_copy() {
    let memory = "[memory]\nbuffer = \"2MiB\"\nbuffer_per_file = \"2MiB\"\n";
    let mut world = World::new().configured(&format!("api = \"auto\"\n{memory}"));
    let (file, copy) = (world.file("a.log"), world.file("a.log.1"));
    world.written.append(&file, "a", 10);
    let daemon = world.run();
    world.all_arrive();
    world.fault(r#"{"rates": {"internal": 1.0}}"#);
    // More than is read ahead of the service.
    world.written.append(&file, "a", 40_000);
    eventually("it is behind", || (daemon.status()["sources"][0]["lag_bytes"].as_u64()? > 0).then_some(()));
    fs::copy(&file, &copy).unwrap();
    cut_off(&file);
    world.written.append(&file, "b", 50);
    daemon.running.says("the copy of a file that was truncated", "\n");
    world.fault(r#"{"rates": {}}"#);
    assert_eq!(world.all_arrive(), 0);
    assert!(!daemon.running.log().contains("lost"), "nothing was");
    daemon.running.stop();
}

/// S5: the same while standpipe is down, and grown past where it was read to.
#[test]
fn a_copy_that_was_made_while_nobody_looked_is_read_from_where_its_original_was() {
    for pattern in ["*.log", "a.log*"] {
        let mut world = World::new().matching(pattern);
        let (file, copy) = (world.file("a.log"), world.file("a.log.1"));
        world.written.append(&file, "a", 300);
        let daemon = world.run();
        world.all_arrive();
        daemon.settle();
        daemon.running.stop();
        world.written.append(&file, "a", 200);
        fs::copy(&file, &copy).unwrap();
        cut_off(&file);
        world.written.append(&file, "b", 400);
        let daemon = world.run();
        assert_eq!(world.all_arrive(), 0, "{pattern}");
        daemon.running.says("the copy of a file that was truncated", "\n");
        daemon.running.stop();
        assert_eq!(world.compare().repeated, 0, "{pattern}");
    }
}

/// S3: renamed and compressed while nobody looked.
#[test]
fn what_was_compressed_before_it_was_read_is_decompressed_and_read() {
    if Command::new("gzip").arg("--version").output().is_err() {
        eprintln!("skipped: there is no gzip on this machine");
        return;
    }
    let gzip = |path: &Path| assert!(Command::new("gzip").arg(path).status().unwrap().success());
    let memory = "[memory]\nbuffer = \"2MiB\"\nbuffer_per_file = \"2MiB\"\n";
    let mut world = World::new().configured(&format!("api = \"auto\"\n{memory}"));
    let (file, old) = (world.file("a.log"), world.file("a.log.1"));
    world.written.append(&file, "a", 300);
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    daemon.running.stop();
    world.written.append(&file, "a", 40_000);
    fs::rename(&file, &old).unwrap();
    gzip(&old);
    world.written.append(&file, "b", 200);
    // The service is away, and the daemon is stopped with some of it read.
    world.fault(r#"{"rates": {"internal": 1.0}}"#);
    let daemon = world.run();
    daemon.running.says("the copy of a file that was truncated", "\n");
    daemon.running.kill();
    world.fault(r#"{"rates": {}}"#);
    let daemon = world.run();
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
    // What is delivered is left alone, compressed or not.
    gzip(&file);
    let daemon = world.run();
    world.written.append(&file, "c", 10);
    assert_eq!(world.all_arrive(), 0);
    daemon.settle();
    daemon.running.stop();
    assert_eq!(world.compare().repeated, 0);
}

#[test]
fn a_file_that_only_begins_like_another_is_shipped_whole() {
    let mut world = World::new().matching("a.log*");
    let (file, twin) = (world.file("a.log"), world.file("a.log.twin"));
    world.written.append(&file, "a", 300);
    let daemon = world.run();
    world.all_arrive();
    let lines = fs::read(&file).unwrap();
    fs::copy(&file, &twin).unwrap();
    eventually("the twin", || (world.arrived("logs").len() == 2 * lines.len()).then_some(()));
    daemon.running.stop();
}

/// S1, S4: as the real logrotate does it.
#[test]
fn logrotate_loses_and_repeats_nothing() {
    if Command::new("logrotate").arg("--version").output().is_err() {
        eprintln!("skipped: there is no logrotate on this machine");
        return;
    }
    let ways = [
        ("*.log", "create"),
        ("*.log", "create\n  compress\n  delaycompress"),
        ("*.log", "create\n  dateext\n  dateformat -%s"),
        ("*.log", "copytruncate"),
        ("a.log*", "copytruncate"),
        ("a.log*", "copytruncate\n  dateext\n  dateformat -%s"),
    ];
    for (pattern, options) in ways {
        let mut world = World::new().matching(pattern);
        let file = world.file("a.log");
        world.written.append(&file, "a", 10);
        let rules = world.dir().join("logrotate.conf");
        let text_of_rules = format!(
            "{} {{\n  su root root\n  rotate 50\n  size 1\n  missingok\n  {options}\n}}\n",
            text(&file)
        );
        fs::write(&rules, text_of_rules).unwrap();
        let daemon = world.run();
        for round in 0..5 {
            if options.contains("copytruncate") {
                // Of what nothing was read, nobody can say which file is the copy.
                world.written.append(&file, "a", 20);
                world.all_arrive();
            }
            world.written.append(&file, "a", 120 + round);
            daemon.follows(&file);
            if options.contains("%s") {
                // Names by the second do not come twice in one; time(2), which logrotate asks, is up to a tick late.
                let tick = Duration::from_millis(20);
                let second = || (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - tick).as_secs();
                let now = second();
                eventually("the next second", || (second() > now).then_some(()));
            }
            let mut rotate = Command::new("logrotate");
            rotate.arg("-f").arg("-s").arg(world.dir().join("logrotate.state")).arg(&rules);
            let rotated = rotate.output().unwrap();
            assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
            if options.contains("compress") {
                // What is compressed in the next round has to be read before it is.
                world.all_arrive();
            }
        }
        append(&file, &world.written.lines("a", 5));
        assert_eq!(world.all_arrive(), 0, "{options} {pattern}");
        daemon.running.stop();
    }
}

/// packaging/logrotate.example for the logs of this world, with so long a wait for what is not shipped.
fn rules_of_the_example(world: &World, wait: &str) -> PathBuf {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/logrotate.example"));
    let state = world.dir().join("state");
    let shipped = format!(" {} shipped --state-dir {} ", env!("CARGO_BIN_EXE_standpipe"), text(&state));
    let logs = text(&world.file("a.log")).replace("/a.log", "/*.log");
    let mut rules_text = example.unwrap();
    for (theirs, ours) in [
        ("/var/log/app/*.log", logs.as_str()),
        ("create 0640 root adm", "su root root\n    create 0640"),
        (" standpipe shipped ", &shipped),
        ("--wait 60s", &format!("--wait {wait}")),
    ] {
        assert!(rules_text.contains(theirs), "the example has no {theirs:?}");
        rules_text = rules_text.replace(theirs, ours);
    }
    let rules = world.dir().join("logrotate.conf");
    fs::write(&rules, rules_text).unwrap();
    rules
}

/// The rules of packaging/logrotate.example: nothing is rotated while what was rotated last is not shipped.
#[test]
fn the_example_for_logrotate_waits_for_what_is_not_shipped() {
    if Command::new("logrotate").arg("--version").output().is_err() {
        eprintln!("skipped: there is no logrotate on this machine");
        return;
    }
    let mut world = World::new();
    let [now, last, compressed] = ["a.log", "a.log.1", "a.log.2.gz"].map(|name| world.file(name));
    world.written.append(&now, "a", 100);
    let daemon = world.run();
    let rules = rules_of_the_example(&world, "0s");
    let logrotate_state = world.dir().join("logrotate.state");
    let rotate = || {
        let mut rotate = Command::new("logrotate");
        let rotate = rotate.arg("-f").arg("-s").arg(&logrotate_state).arg(&rules);
        rotate.output().unwrap().status.success()
    };

    daemon.follows(&now);
    assert!(rotate(), "there is nothing to wait for");
    assert!(last.exists());
    world.all_arrive();
    daemon.settle();
    daemon.running.stop();
    // A straggler writes into the file that was rotated, and nobody ships it.
    append(&last, &world.written.lines("a", 5));
    append(&now, &world.written.lines("a", 5));
    assert!(!rotate(), "a line that is not shipped was no reason to wait");
    assert!(last.exists() && !compressed.exists());
    let daemon = world.run();
    world.all_arrive();
    daemon.settle();
    assert!(rotate());
    assert!(last.exists() && compressed.exists());
    daemon.running.stop();
}

/// A month of days by packaging/logrotate.example, each with a line that a program writes into the file that was rotated,
/// before it opens the new one.
#[test]
fn a_month_by_the_example_for_logrotate_loses_and_repeats_nothing() {
    if Command::new("logrotate").arg("--version").output().is_err() {
        eprintln!("skipped: there is no logrotate on this machine");
        return;
    }
    let mut world = World::new();
    let [now, last] = ["a.log", "a.log.1"].map(|name| world.file(name));
    world.written.append(&now, "a", 20);
    let daemon = world.run();
    daemon.follows(&now);
    let rules = rules_of_the_example(&world, "60s");
    for day in 0..31 {
        world.written.append(&now, "a", 20 + day);
        let mut rotate = Command::new("logrotate");
        rotate.arg("-f").arg("-s").arg(world.dir().join("logrotate.state")).arg(&rules);
        let rotated = rotate.output().unwrap();
        let said = String::from_utf8_lossy(&rotated.stderr);
        assert!(rotated.status.success(), "day {day}: {said}");
        world.written.append(&last, "a", 1);
    }
    assert_eq!(world.all_arrive(), 0, "nothing comes twice");
    let kept = fs::read_dir(now.parent().unwrap()).unwrap();
    let kept =
        kept.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("a.log"));
    assert_eq!(kept.count(), 8, "the log and seven rotated ones");
    daemon.running.stop();
}
