//! The store's laws, each with a test named for it; `audit` has those of RecordIds, `damage` what happens to files that were
//! harmed.

#![expect(clippy::disallowed_methods, reason = "files are what is tested")]

mod audit;
mod damage;
mod mended;
mod model;
mod reader;
mod room;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::model::checkpoint::{DeadLetter, FirstLook, Proof};
use crate::model::identity::{Fingerprint, Identity, Origin, RESERVED_AT_ONCE, Seen, Window};
use crate::model::offset::{Offset, Span};
use crate::model::settled::Settled;

fn checkpoint(incarnation: u64, offset: u64) -> Checkpoint {
    Checkpoint {
        incarnation: Incarnation(incarnation),
        stream: Arc::from("app-logs"),
        path: Arc::from(Path::new("/var/log/app/web.log")),
        target: Some(Arc::from(Path::new("/srv/web.log"))).filter(|_| incarnation.is_multiple_of(3)),
        identity: Identity {
            device: 66305,
            inode: 100 + incarnation,
            birth_nanos: Some(1_700_000_000_123_456_789),
        },
        // Every other one began in another file.
        origin: Origin { device: 66305, inode: 100 + incarnation / 2 * 2 },
        seen: Some(Seen { first_nanos: 1, last_nanos: 2, owner: 33 }),
        // And every third not at its file's beginning.
        skipped_bytes: if incarnation.is_multiple_of(3) { incarnation } else { 0 },
        fingerprint: Fingerprint::of(b"the beginning"),
        offset: Offset::new(offset),
        window: Window::at_end_of(b"what comes just before"),
        // And every fifth has settled ranges.
        settled: if incarnation.is_multiple_of(5) {
            settled(offset, &[(5, 9), (12, 20)])
        } else {
            Settled::default()
        },
        // And every seventh has more in it.
        seen_bytes: if incarnation.is_multiple_of(7) { offset + 30 } else { 0 },
        // And every fourth is without proof.
        proof: Some(Proof { to: offset / 2, digest: [0x5A; 16] }).filter(|_| !incarnation.is_multiple_of(4)),
    }
}

/// Ranges that lie so far behind an offset.
fn settled(offset: u64, ranges: &[(u64, u64)]) -> Settled {
    let place = |behind: u64| Offset::new(offset.saturating_add(behind));
    let ranges = ranges.iter().map(|(start, end)| Span::new(place(*start), place(*end))).collect();
    Settled::try_new(place(0), ranges, Window::at_end_of(b"before the end")).expect("ranges in order")
}

fn letter(code: &str, data: &[u8]) -> DeadLetter {
    DeadLetter {
        stream: Arc::from("app-logs"),
        source: Arc::from("app"),
        path: Arc::from(Path::new("/var/log/app/web.log")),
        offset: Offset::new(7),
        code: Arc::from(code),
        message: Arc::from("refused"),
        data: Bytes::copy_from_slice(data),
        target: None,
        unmade: None,
    }
}

fn save(checkpoints: &[Checkpoint]) -> Save {
    Save { checkpoints: checkpoints.to_vec(), ..Save::default() }
}

fn forget(incarnations: &[u64]) -> Save {
    Save { forgotten: incarnations.iter().copied().map(Incarnation).collect(), ..Save::default() }
}

fn open(dir: &Path) -> (Store, Loaded) {
    Store::open(dir).expect("the state opens")
}

fn load(dir: &Path) -> Loaded {
    open(dir).1
}

fn database(dir: &Path) -> PathBuf {
    dir.join("standpipe.db")
}

/// A second connection, as `sqlite3` would make one.
fn sql(dir: &Path, statements: &str) {
    let connection = Connection::open(database(dir)).unwrap();
    connection.execute_batch(statements).unwrap();
}

/// Every regular file of a directory but the lock, with its content.
fn content(dir: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "lock" && dir.join(name).is_file())
        .map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap()))
        .collect();
    files.sort();
    files
}

/// A copy of the files as they lie there now: what a crash at this moment would leave.
fn crashed(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for (name, bytes) in content(dir) {
        // Shared memory does not outlive the machine, and need not outlive the process.
        if !name.as_encoded_bytes().ends_with(b"-shm") {
            fs::write(copy.path().join(name), bytes).unwrap();
        }
    }
    copy
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Saved by a daemon whose clock said so.
fn save_at(dir: &Path, checkpoints: &[Checkpoint], unix_ms: i64) {
    let connection = Connection::open(database(dir)).unwrap();
    rows::write_checkpoints(&connection, checkpoints, unix_ms).unwrap();
}

#[test]
fn reserved_numbers_are_given_by_no_later_start_and_are_no_commit() {
    let dir = TempDir::new().unwrap();
    let (mut store, loaded) = open(dir.path());
    let reserved = store.reserve();
    assert_eq!((loaded.next_incarnation, reserved), (1, 1 + RESERVED_AT_ONCE));
    let loaded = load(crashed(dir.path()).path());
    assert_eq!((loaded.next_incarnation, loaded.first_start), (reserved, true));
    store.commit(&Save { reserved: 50_000, ..save(&[checkpoint(1, 11)]) }).unwrap();
    assert_eq!(load(crashed(dir.path()).path()).next_incarnation, 50_000);
}

#[test]
fn checkpoints_that_nobody_claims_are_given_up_after_a_month() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(9, 90)])).unwrap();
    store.commit(&forget(&[9])).unwrap();
    drop(store);
    let last = 1_700_000_000_000;
    save_at(dir.path(), &[checkpoint(1, 10)], last - 31 * DAY);
    save_at(dir.path(), &[checkpoint(2, 20)], last - 29 * DAY);
    save_at(dir.path(), &[checkpoint(3, 30)], last);
    // Years later: the daemon was off, and nobody can have claimed anything.
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.checkpoints, [checkpoint(2, 20), checkpoint(3, 30)]);
    store.commit(&Save::default()).unwrap();
    let left = Reader::open(dir.path()).unwrap().checkpoints().unwrap();
    assert_eq!(left.len(), 2, "and deleted with the next commit");
}

#[test]
fn a_clock_that_was_far_ahead_costs_no_position() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 10)])).unwrap();
    drop(store);
    save_at(dir.path(), &[checkpoint(2, 20)], 4_000_000_000_000);
    assert_eq!(load(dir.path()).checkpoints, [checkpoint(1, 10), checkpoint(2, 20)]);
}

#[test]
fn first_looks_are_kept_also_where_the_database_is_made_anew_and_damaged_ones_are_left_out() {
    let look = |stream: &str, nanos| FirstLook { stream: stream.into(), source: "app".into(), nanos };
    let dir = TempDir::new().unwrap();
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.looks, []);
    store.commit(&Save { looks: vec![look("one", 10)], ..Save::default() }).unwrap();
    store.commit(&Save { looks: vec![look("two", 20)], ..Save::default() }).unwrap();
    drop(store);
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.looks, [look("one", 10), look("two", 20)]);
    fs::remove_file(database(dir.path())).unwrap();
    store.commit(&Save { looks: vec![look("three", 30)], ..Save::default() }).unwrap_err();
    store.commit(&Save { looks: vec![look("three", 30)], ..Save::default() }).unwrap();
    drop(store);
    assert_eq!(load(dir.path()).looks, [look("one", 10), look("three", 30), look("two", 20)]);
    sql(dir.path(), "UPDATE looks SET first_nanos = 11 WHERE stream = 'one'");
    assert_eq!(load(dir.path()).looks, [look("three", 30), look("two", 20)]);
}

#[test]
fn it_is_the_first_start_until_the_first_commit() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("above").join("state");
    let (store, loaded) = open(&state);
    assert!(loaded.first_start);
    assert_eq!((loaded.checkpoints.len(), loaded.next_incarnation, loaded.moved_aside), (0, 1, None));
    drop(store);

    let (mut store, loaded) = open(&state);
    assert!(loaded.first_start);
    store.commit(&Save::default()).unwrap();
    drop(store);
    assert!(!load(&state).first_start);
}

#[test]
fn nobody_else_can_read_the_state() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("above").join("state");
    let (mut store, _) = open(&state);
    store.commit(&save(&[checkpoint(1, 1)])).unwrap();
    assert_eq!((mode(&dir.path().join("above")), mode(&state)), (0o700, 0o700));
    for name in ["lock", "standpipe.db", "standpipe.db-wal", "standpipe.db-shm"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_second_store_is_refused_and_told_by_whom() {
    let dir = TempDir::new().unwrap();
    let (first, _) = open(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Held { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert_eq!(error.exit_code(), 75);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_lock_file_that_nobody_holds_is_no_lock() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("lock"), "12345678901\n").unwrap();
    let (_store, _) = open(dir.path());
    let text = fs::read_to_string(dir.path().join("lock")).unwrap();
    assert_eq!(text, format!("{}\n", std::process::id()));
}

#[test]
fn a_link_in_place_of_the_lock_is_not_followed() {
    let dir = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    let precious = other.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, dir.path().join("lock")).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert_eq!(error.exit_code(), 74);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
}

#[test]
fn parts_of_rates_are_kept_for_ten_minutes_and_damaged_ones_are_left_out() {
    let part = |delivery_stream: &str, millionths| KnownPart {
        stream: "one".into(),
        delivery_stream: delivery_stream.into(),
        region: "".into(),
        millionths,
    };
    let with = |parts: Option<Vec<KnownPart>>| Save { parts, ..Save::default() };
    let dir = TempDir::new().unwrap();
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.parts, []);
    store.commit(&with(Some(vec![part("a", 9), part("b", 500_000)]))).unwrap();
    store.commit(&with(None)).unwrap();
    drop(store);
    assert_eq!(load(dir.path()).parts, [part("a", 9), part("b", 500_000)]);
    let (mut store, _) = open(dir.path());
    store.commit(&with(Some(vec![part("b", 7), part("c", 8)]))).unwrap();
    drop(store);
    assert_eq!(load(dir.path()).parts, [part("b", 7), part("c", 8)], "all that there are now");
    sql(dir.path(), "UPDATE parts SET millionths = 6 WHERE delivery_stream = 'b'");
    assert_eq!(load(dir.path()).parts, [part("c", 8)]);
    for (age_minutes, is_believed) in [(9, true), (11, false), (-1, false)] {
        let connection = Connection::open(dir.path().join("standpipe.db")).unwrap();
        super::parts::replace_parts(
            &connection,
            &[part("c", 8)],
            super::database::unix_ms() - age_minutes * 60_000,
        )
        .unwrap();
        drop(connection);
        assert_eq!(load(dir.path()).parts.len(), usize::from(is_believed), "{age_minutes} minutes");
    }
}

#[test]
fn a_state_directory_may_be_a_link() {
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("link");
    fs::create_dir(dir.path().join("state")).unwrap();
    symlink(dir.path().join("state"), &link).unwrap();
    open(&link).0.commit(&save(&[checkpoint(1, 1)])).unwrap();
    assert_eq!(load(&dir.path().join("state")).checkpoints, [checkpoint(1, 1)]);
}

#[test]
fn a_newer_version_is_refused_and_left_untouched() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 1)])).unwrap();
    // As it is left by a newer one that was stopped, and by one that was killed with a log.
    sql(
        dir.path(),
        "PRAGMA user_version = 9; PRAGMA wal_checkpoint(TRUNCATE); UPDATE checkpoints SET offset = 9",
    );
    let killed = crashed(dir.path());
    drop(store);
    for dir in [dir.path(), killed.path()] {
        let before = content(dir);
        for error in [Store::open(dir).unwrap_err(), Reader::open(dir).unwrap_err()] {
            assert!(matches!(error, StoreError::Newer { found: 9, known: 8, .. }), "{error}");
            assert_eq!(error.exit_code(), 78);
        }
        assert_eq!(content(dir), before);
    }
}

#[test]
fn an_older_version_is_read_as_it_is_and_brought_up_to_date_by_the_next_daemon() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    let old = Checkpoint { seen: None, proof: None, ..checkpoint(2, 1) };
    store.commit(&save(std::slice::from_ref(&old))).unwrap();
    drop(store);
    sql(
        dir.path(),
        "ALTER TABLE checkpoints DROP COLUMN origin_device; ALTER TABLE checkpoints DROP COLUMN origin_inode;
         ALTER TABLE checkpoints DROP COLUMN target; ALTER TABLE checkpoints DROP COLUMN first_seen_nanos;
         ALTER TABLE checkpoints DROP COLUMN last_seen_nanos; ALTER TABLE checkpoints DROP COLUMN owner; ALTER TABLE checkpoints DROP COLUMN skipped_bytes;
         ALTER TABLE checkpoints DROP COLUMN settled; ALTER TABLE checkpoints DROP COLUMN proof; ALTER TABLE checkpoints DROP COLUMN extras_checksum;
         ALTER TABLE dead_letters DROP COLUMN target; ALTER TABLE dead_letters DROP COLUMN unmade;
         DROP VIEW audit_readable; DROP TABLE audit; DROP TABLE looks; DROP TABLE parts;
         PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE)",
    );
    let stored = Reader::open(dir.path()).unwrap().checkpoints().unwrap();
    assert_eq!(
        stored.into_iter().map(|stored| stored.checkpoint).collect::<Vec<_>>(),
        std::slice::from_ref(&old)
    );
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.checkpoints, std::slice::from_ref(&old));
    store.commit(&save(&[checkpoint(3, 1)])).unwrap();
    drop(store);
    assert_eq!(load(dir.path()).checkpoints, [old, checkpoint(3, 1)]);
}

#[test]
fn a_newer_version_that_only_the_log_knows_is_refused() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 1)])).unwrap();
    sql(dir.path(), "PRAGMA user_version = 9");
    let killed = crashed(dir.path());
    let before = content(killed.path());
    let error = Store::open(killed.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9, known: 8, .. }), "{error}");
    for file in before {
        assert!(content(killed.path()).contains(&file), "{}", file.0.display());
    }
}

#[test]
fn a_number_that_was_saved_is_never_given_again() {
    let dir = TempDir::new().unwrap();
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.next_incarnation, 1);
    store.commit(&save(&[checkpoint(1, 1), checkpoint(7, 1)])).unwrap();
    store.commit(&forget(&[7, 1])).unwrap();
    drop(store);
    let (mut store, loaded) = open(dir.path());
    assert_eq!((loaded.checkpoints.len(), loaded.next_incarnation), (0, 8));
    // Given, and over before it was ever saved.
    store.commit(&forget(&[9])).unwrap();
    drop(store);
    assert_eq!(load(dir.path()).next_incarnation, 10);
}

#[test]
fn a_commit_costs_what_has_changed_not_what_exists() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    let all: Vec<_> = (1..=100_000).map(|number| checkpoint(number, number)).collect();
    store.commit(&save(&all)).unwrap();
    drop(store);

    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.checkpoints, all);
    let log = dir.path().join("standpipe.db-wal");
    let before = fs::metadata(&log).unwrap().len();
    store.commit(&save(&[checkpoint(50_000, 1)])).unwrap();
    let written = fs::metadata(&log).unwrap().len() - before;
    assert!(written <= 8 * 4096, "one checkpoint wrote {written} bytes");
}

#[test]
fn the_log_does_not_grow_with_the_number_of_commits() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    for offset in 0..3_000 {
        store.commit(&save(&[checkpoint(1, offset)])).unwrap();
    }
    let log = fs::metadata(dir.path().join("standpipe.db-wal")).unwrap().len();
    assert!(log < 5 * 1024 * 1024, "{log}");
    // One large commit makes it long for once.
    let large = Save { dead_letters: vec![letter("code", &vec![0; 16 << 20])], ..Save::default() };
    store.commit(&large).unwrap();
    store.commit(&save(&[checkpoint(1, 9_999)])).unwrap();
    let log = fs::metadata(dir.path().join("standpipe.db-wal")).unwrap().len();
    assert!(log < 5 * 1024 * 1024, "{log}");
}
