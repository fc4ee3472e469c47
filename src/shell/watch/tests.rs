//! Against the kernel's inotify, in real directories.
#![expect(clippy::disallowed_methods, reason = "the tests make the files that are watched")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::model::renamed::Renamed;

/// For a machine that is busy with other things: a test waits this long only when it fails.
const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    dir: tempfile::TempDir,
    watch: Watch,
    hints: Hints,
}

impl Scene {
    fn new() -> Self {
        let (watch, hints) = start();
        Self { dir: tempfile::tempdir().unwrap(), watch, hints }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str) {
        let path = self.path(name);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(b"line\n").unwrap();
    }

    /// Every watch must succeed: only the file system itself may make the answer partial.
    fn update(&mut self, names: &[&str]) {
        let directories = Directories::look_at(names.iter().map(|name| self.path(name)));
        let watching = self.watch.update(&directories, usize::MAX);
        let expected = match trouble::of_file_system(self.dir.path()) {
            Some(_) => Watching::Partial,
            None => Watching::Full,
        };
        assert_eq!(watching, expected);
    }

    /// Waits for a hint; others may come before it.
    async fn expect(&mut self, wanted: Hint) {
        self.expect_without(wanted, &Hint::Everything).await;
    }

    /// Waits for a hint; others may come before it, but never this one.
    async fn expect_without(&mut self, wanted: Hint, unwanted: &Hint) {
        let arrives = async {
            loop {
                let hints = self.hints.next().await;
                assert!(wanted == *unwanted || !hints.contains(unwanted), "{unwanted:?} among {hints:?}");
                if hints.contains(&wanted) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, arrives).await.unwrap_or_else(|_| panic!("no {wanted:?}"));
    }

    /// Makes an event in each directory and waits for it, so that whatever happened before has been seen.
    async fn settle(&mut self, names: &[&str]) {
        for name in names {
            let marker = format!("{name}/marker");
            self.append(&marker);
            self.expect(self.grown(&marker)).await;
        }
    }

    fn grown(&self, name: &str) -> Hint {
        Hint::Grown(Arc::from(self.path(name)))
    }
}

fn run(test: impl AsyncFnOnce(Scene)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(test(Scene::new()));
}

#[test]
fn an_append_is_a_hint_under_the_path_that_is_watched() {
    run(async |mut scene| {
        fs::create_dir(scene.path("logs")).unwrap();
        scene.append("logs/a.log");
        scene.update(&["logs"]);
        scene.append("logs/a.log");
        scene.expect(scene.grown("logs/a.log")).await;
        symlink("logs", scene.path("link")).unwrap();
        scene.update(&["link"]);
        scene.append("logs/a.log");
        scene.expect(scene.grown("link/a.log")).await;
    });
}

#[test]
fn a_new_watch_asks_for_another_look_and_an_old_one_does_not() {
    run(async |mut scene| {
        scene.update(&["."]);
        assert_eq!(scene.hints.next().await, [Hint::Names]);
        scene.update(&["."]);
        assert_eq!(scene.hints.mailbox.take_hints(), []);
        scene.update(&[".", "none"]);
        assert_eq!(scene.hints.next().await, [Hint::Names], "it was there a moment ago");
    });
}

#[test]
fn hints_that_are_left_are_taken_once_they_are_told() {
    run(async |mut scene| {
        scene.update(&[""]);
        scene.expect(Hint::Names).await;
        scene.hints.leave(Some(Instant::now() + Duration::from_millis(30)));
        scene.append("a.log");
        scene.expect(scene.grown("a.log")).await;
        scene.hints.leave(Some(Instant::now()));
        scene.append("a.log");
        scene.expect(scene.grown("a.log")).await;
    });
}

#[test]
fn names_that_come_change_or_go_are_hints() {
    run(async |mut scene| {
        scene.update(&[""]);
        scene.expect(Hint::Names).await;
        fs::write(scene.path("a.log"), "").unwrap();
        scene.expect(Hint::Names).await;
        scene.settle(&["."]).await;
        fs::rename(scene.path("a.log"), scene.path("a.log.1")).unwrap();
        let (from, to) = (scene.path("a.log").into(), scene.path("a.log.1").into());
        scene.expect(Hint::Renamed(Renamed { from, to })).await;
        scene.settle(&["."]).await;
        fs::remove_file(scene.path("a.log.1")).unwrap();
        scene.expect(Hint::Names).await;
    });
}

#[test]
fn a_directory_that_is_no_longer_wanted_is_silent() {
    run(async |mut scene| {
        for name in ["a", "b"] {
            fs::create_dir(scene.path(name)).unwrap();
        }
        scene.update(&["a", "b"]);
        scene.settle(&["a", "b"]).await;
        scene.update(&["b"]);
        scene.append("a/marker");
        scene.append("b/marker");
        let unwanted = scene.grown("a/marker");
        scene.expect_without(scene.grown("b/marker"), &unwanted).await;
    });
}

#[test]
fn a_directory_made_anew_is_watched_again() {
    run(async |mut scene| {
        let logs = scene.path("logs");
        for _ in 0..5 {
            fs::create_dir(&logs).unwrap();
            scene.update(&["logs"]);
            scene.settle(&["logs"]).await;
            fs::remove_dir_all(&logs).unwrap();
            // As the daemon does: a hint, a survey, an update.
            scene.expect(Hint::Names).await;
        }
    });
}

#[test]
fn a_directory_made_anew_before_anybody_looks_is_watched_again() {
    run(async |mut scene| {
        let logs = scene.path("logs");
        fs::create_dir(&logs).unwrap();
        scene.update(&[".", "logs"]);
        scene.settle(&["logs"]).await;
        for _ in 0..5 {
            fs::remove_dir_all(&logs).unwrap();
            fs::create_dir(&logs).unwrap();
            daemon_settles(&mut scene, &[".", "logs"], "logs/a.log").await;
        }
    });
}

#[test]
fn a_directory_that_was_moved_away_is_told_apart_from_its_successor() {
    run(async |mut scene| {
        fs::create_dir_all(scene.path("logs/deep")).unwrap();
        scene.update(&[".", "logs", "logs/deep"]);
        scene.settle(&["logs/deep"]).await;
        fs::rename(scene.path("logs"), scene.path("old")).unwrap();
        fs::create_dir_all(scene.path("logs/deep")).unwrap();
        daemon_settles(&mut scene, &[".", "logs", "logs/deep"], "logs/deep/a.log").await;
        // Away and back again: the same directory, whose watch has died meanwhile.
        fs::rename(scene.path("logs"), scene.path("away")).unwrap();
        fs::rename(scene.path("away"), scene.path("logs")).unwrap();
        daemon_settles(&mut scene, &[".", "logs", "logs/deep"], "logs/deep/a.log").await;
    });
}

#[test]
fn a_path_that_leads_elsewhere_by_now_is_watched_there() {
    run(async |mut scene| {
        for name in ["old", "new"] {
            fs::create_dir(scene.path(name)).unwrap();
        }
        symlink("old", scene.path("logs")).unwrap();
        scene.update(&["logs"]);
        scene.settle(&["logs"]).await;
        // No watched directory sees this: the surveys between hints find it.
        fs::remove_file(scene.path("logs")).unwrap();
        symlink("new", scene.path("logs")).unwrap();
        scene.update(&["logs"]);
        scene.append("old/stale.log");
        scene.append("new/a.log");
        let wanted = scene.grown("logs/a.log");
        let stale = scene.grown("logs/stale.log");
        scene.expect_without(wanted, &stale).await;
    });
}

/// Does as the daemon does, an update after each hint about names, until an append to the file is seen.
async fn daemon_settles(scene: &mut Scene, directories: &[&str], file: &str) {
    let wanted = scene.grown(file);
    let seen = async {
        loop {
            scene.append(file);
            let hints = scene.hints.next().await;
            if hints.contains(&wanted) {
                return;
            }
            scene.update(directories);
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no hint about {file}"));
}

#[test]
fn one_directory_under_two_paths_gives_hints_under_both() {
    run(async |mut scene| {
        fs::create_dir(scene.path("logs")).unwrap();
        symlink("logs", scene.path("link")).unwrap();
        scene.update(&["link", "logs"]);
        for file in ["logs/a.log", "link/a.log"] {
            scene.append("logs/a.log");
            scene.expect(scene.grown(file)).await;
        }
        scene.update(&["logs"]);
        scene.append("logs/a.log");
        scene.expect(scene.grown("logs/a.log")).await;
    });
}

#[test]
fn every_directory_is_watched_again_after_an_overflow() {
    run(async |mut scene| {
        scene.update(&[""]);
        scene.expect(Hint::Names).await;
        let overflow = notify::Event::new(notify::EventKind::Other).set_flag(notify::event::Flag::Rescan);
        scene.hints.mailbox.put(Ok(overflow));
        scene.expect(Hint::Everything).await;
        scene.update(&[""]);
        assert_eq!(scene.hints.next().await, [Hint::Names], "the watch is a new one");
        scene.append("a.log");
        scene.expect(scene.grown("a.log")).await;
    });
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    run(async |mut scene| {
        scene.update(&[""]);
        scene.expect(Hint::Names).await;
        let waited = tokio::time::timeout(Duration::ZERO, scene.hints.next()).await;
        assert!(waited.is_err());
        scene.append("a.log");
        scene.expect(scene.grown("a.log")).await;
    });
}

#[test]
fn a_thread_that_does_not_answer_is_given_up_without_a_panic() {
    let (mut watch, _hints) = start();
    watch.inotify = Inotify::Dead;
    assert_eq!(watch.update(&Directories::look_at([PathBuf::from("/")]), usize::MAX), Watching::Partial);
    assert!(watch.watched.is_empty());
}

#[test]
fn of_more_directories_than_are_to_be_watched_those_that_are_and_the_highest_are() {
    let mut scene = Scene::new();
    for name in ["a/deep", "b/deep", "c"] {
        fs::create_dir_all(scene.path(name)).unwrap();
    }
    let watched = |scene: &Scene| {
        let names = scene.watch.watched.keys();
        names.map(|path| path.strip_prefix(scene.dir.path()).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut update = |names: &[&str], most| {
        let directories = Directories::look_at(names.iter().map(|name| scene.path(name)));
        let watching = scene.watch.update(&directories, most);
        (watching, watched(&scene))
    };
    assert_eq!(update(&["a/deep"], 2).1, [Path::new("a/deep")]);
    let all = ["a", "a/deep", "b", "b/deep", "c"];
    assert_eq!(update(&all, 2), (Watching::Partial, vec!["a".into(), "a/deep".into()]));
    assert_eq!(update(&all, 4), (Watching::Partial, ["a", "a/deep", "b", "c"].map(PathBuf::from).to_vec()));
    assert_eq!(update(&all, 5).1, all.map(PathBuf::from));
    assert_eq!(update(&["c"], 0), (Watching::Partial, vec![]));
}
