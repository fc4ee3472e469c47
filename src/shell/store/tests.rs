//! The store's laws, each with a test named for it; `damage` holds what happens to files that were harmed.

mod damage;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::model::checkpoint::DeadLetter;
use crate::model::identity::{Fingerprint, Identity, Window};
use crate::model::offset::Offset;

fn checkpoint(incarnation: u64, offset: u64) -> Checkpoint {
    Checkpoint {
        incarnation: Incarnation(incarnation),
        stream: Arc::from("app-logs"),
        path: Arc::from(Path::new("/var/log/app/web.log")),
        identity: Identity {
            device: 66305,
            inode: 100 + incarnation,
            birth_nanos: Some(1_700_000_000_123_456_789),
        },
        fingerprint: Fingerprint::of(b"the beginning"),
        offset: Offset::new(offset),
        window: Window::at_end_of(b"what comes just before"),
    }
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
    }
}

fn save(checkpoints: &[Checkpoint]) -> Save {
    Save {
        checkpoints: checkpoints.to_vec(),
        ..Save::default()
    }
}

fn forget(incarnations: &[u64]) -> Save {
    Save {
        forgotten: incarnations.iter().copied().map(Incarnation).collect(),
        ..Save::default()
    }
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

/// Every file of a directory but the lock, with its content.
fn content(dir: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "lock")
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

fn any_path() -> impl Strategy<Value = Arc<Path>> {
    prop::collection::vec(1_u8.., 1..40).prop_map(|bytes| Arc::from(PathBuf::from(OsString::from_vec(bytes))))
}

fn any_checkpoint() -> impl Strategy<Value = Checkpoint> {
    (
        (any::<u64>(), any::<String>(), any_path()),
        (any::<u64>(), any::<u64>(), any::<Option<i64>>()),
        (
            any::<u16>(),
            any::<u128>(),
            any::<u64>(),
            any::<u16>(),
            any::<u128>(),
        ),
    )
        .prop_map(
            |((number, stream, path), (device, inode, birth_nanos), rest)| Checkpoint {
                incarnation: Incarnation(number),
                stream: Arc::from(stream),
                path,
                identity: Identity {
                    device,
                    inode,
                    birth_nanos,
                },
                fingerprint: Fingerprint::from_parts(rest.0, rest.1),
                offset: Offset::new(rest.2),
                window: Window::from_parts(rest.3, rest.4),
            },
        )
}

fn any_letter() -> impl Strategy<Value = DeadLetter> {
    (
        (any::<String>(), any::<String>(), any_path(), any::<u64>()),
        (any::<String>(), any::<String>(), any::<Vec<u8>>()),
    )
        .prop_map(
            |((stream, source, path, offset), (code, message, data))| DeadLetter {
                stream: Arc::from(stream),
                source: Arc::from(source),
                path,
                offset: Offset::new(offset),
                code: Arc::from(code),
                message: Arc::from(message),
                data: Bytes::from(data),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_field_comes_back_as_it_was_saved(
        checkpoints in prop::collection::vec(any_checkpoint(), 0..8),
        dead_letters in prop::collection::vec(any_letter(), 0..4),
    ) {
        let dir = TempDir::new().unwrap();
        let save = Save { checkpoints: checkpoints.clone(), forgotten: Vec::new(), dead_letters: dead_letters.clone() };
        open(dir.path()).0.commit(&save).unwrap();

        let mut expected: Vec<_> = checkpoints;
        expected.sort_by_key(|it| it.incarnation);
        let (_store, loaded) = open(dir.path());
        let mut found = loaded.checkpoints;
        found.sort_by_key(|it| it.incarnation);
        prop_assert_eq!(found, expected);

        let reader = Reader::open(dir.path()).unwrap();
        let letters = reader.dead_letters(DeadLetterId::default(), 100).unwrap();
        let bytes: u64 = dead_letters.iter().map(|it| it.data.len() as u64).sum();
        prop_assert_eq!(letters.into_iter().map(|it| it.letter).collect::<Vec<_>>(), dead_letters);
        prop_assert_eq!(loaded.dead_letter_bytes, bytes);
        prop_assert_eq!(reader.dead_letter_bytes().unwrap(), bytes);
    }

    #[test]
    fn the_state_is_what_the_saves_add_up_to(
        steps in prop::collection::vec((0_u64..6, any::<Option<u32>>(), any::<bool>()), 1..24),
    ) {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = open(dir.path());
        let mut model = std::collections::BTreeMap::new();
        for (number, offset, reopened) in steps {
            let change = match offset {
                Some(offset) => {
                    let one = checkpoint(number, u64::from(offset));
                    model.insert(number, one.clone());
                    save(&[one])
                }
                None => {
                    model.remove(&number);
                    forget(&[number])
                }
            };
            store.commit(&change).unwrap();
            let copy = crashed(dir.path());
            prop_assert_eq!(load(copy.path()).checkpoints, model.values().cloned().collect::<Vec<_>>());
            if reopened {
                drop(store);
                store = open(dir.path()).0;
            }
        }
    }
}

#[test]
fn it_is_the_first_start_until_the_first_commit() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("above").join("state");
    let (store, loaded) = open(&state);
    assert!(loaded.first_start);
    assert_eq!(
        (
            loaded.checkpoints.len(),
            loaded.next_incarnation,
            loaded.moved_aside
        ),
        (0, 1, None)
    );
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
    assert!(
        matches!(error, StoreError::Held { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    assert_eq!(error.exit_code(), 75);
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
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
        "PRAGMA user_version = 2; PRAGMA wal_checkpoint(TRUNCATE); UPDATE checkpoints SET offset = 9",
    );
    let killed = crashed(dir.path());
    drop(store);
    for dir in [dir.path(), killed.path()] {
        let before = content(dir);
        for error in [Store::open(dir).unwrap_err(), Reader::open(dir).unwrap_err()] {
            assert!(
                matches!(
                    error,
                    StoreError::Newer {
                        found: 2,
                        known: 1,
                        ..
                    }
                ),
                "{error}"
            );
            assert_eq!(error.exit_code(), 78);
        }
        assert_eq!(content(dir), before);
    }
}

#[test]
fn a_newer_version_that_only_the_log_knows_is_refused() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 1)])).unwrap();
    sql(dir.path(), "PRAGMA user_version = 2");
    let killed = crashed(dir.path());
    let before = content(killed.path());
    let error = Store::open(killed.path()).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    for file in before {
        assert!(content(killed.path()).contains(&file), "{}", file.0.display());
    }
}

#[test]
fn a_number_that_was_saved_is_never_given_again() {
    let dir = TempDir::new().unwrap();
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.next_incarnation, 1);
    store
        .commit(&save(&[checkpoint(1, 1), checkpoint(7, 1)]))
        .unwrap();
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
fn a_commit_is_made_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store
        .commit(&save(&[checkpoint(1, 10), checkpoint(2, 20)]))
        .unwrap();
    sql(
        dir.path(),
        "CREATE TRIGGER boom BEFORE INSERT ON dead_letters WHEN new.code = 'boom'
         BEGIN SELECT RAISE(ABORT, 'boom'); END",
    );
    let change = Save {
        checkpoints: vec![checkpoint(1, 11), checkpoint(3, 30)],
        forgotten: vec![Incarnation(2)],
        dead_letters: vec![letter("fine", b"12345"), letter("boom", b"123")],
    };
    let error = store.commit(&change).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&*database(dir.path()).to_string_lossy()),
        "{error}"
    );
    assert_eq!(error.exit_code(), 74);

    let copy = crashed(dir.path());
    let loaded = load(copy.path());
    assert_eq!(loaded.checkpoints, [checkpoint(1, 10), checkpoint(2, 20)]);
    assert_eq!((loaded.next_incarnation, loaded.dead_letter_bytes), (3, 0));

    sql(dir.path(), "DROP TRIGGER boom");
    store.commit(&change).unwrap();
    assert_eq!(store.dead_letter_bytes(), 8);
    drop(store);
    let loaded = load(dir.path());
    assert_eq!(loaded.checkpoints, [checkpoint(1, 11), checkpoint(3, 30)]);
    assert_eq!((loaded.next_incarnation, loaded.dead_letter_bytes), (4, 8));
}

#[test]
fn what_is_done_under_an_open_store_is_noticed_and_mended() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("the directory is removed", |dir| fs::remove_dir_all(dir).unwrap()),
        ("the database is removed", |dir| {
            fs::remove_file(database(dir)).unwrap()
        }),
        ("its log is removed", |dir| {
            fs::remove_file(dir.join("standpipe.db-wal")).unwrap()
        }),
        ("the lock is removed", |dir| {
            fs::remove_file(dir.join("lock")).unwrap()
        }),
        ("a directory takes the database's place", |dir| {
            fs::rename(database(dir), dir.join("elsewhere")).unwrap();
            fs::create_dir(database(dir)).unwrap();
        }),
        ("a file takes the directory's place, for a while", |dir| {
            fs::rename(dir, dir.with_extension("away")).unwrap();
            fs::write(dir, "").unwrap();
        }),
    ];
    for (what, harm) in harms {
        let above = TempDir::new().unwrap();
        let dir = above.path().join("state");
        let (mut store, _) = open(&dir);
        store
            .commit(&save(&[checkpoint(1, 10), checkpoint(2, 20), checkpoint(3, 30)]))
            .unwrap();
        store.commit(&forget(&[3])).unwrap();
        harm(&dir);
        let change = save(&[checkpoint(1, 11)]);
        store.commit(&change).expect_err(what);
        if dir.is_file() {
            store.commit(&change).expect_err(what);
            fs::remove_file(&dir).unwrap();
        }
        store.commit(&change).expect(what);
        assert!(
            matches!(Store::open(&dir).expect_err(what), StoreError::Held { .. }),
            "{what}"
        );

        let copy = crashed(&dir);
        let loaded = load(copy.path());
        assert_eq!(
            loaded.checkpoints,
            [checkpoint(1, 11), checkpoint(2, 20)],
            "{what}"
        );
        assert!(
            loaded.next_incarnation >= 4,
            "{what}: {}",
            loaded.next_incarnation
        );
        assert!(!loaded.first_start, "{what}");
        // From here on it is business as usual.
        store.commit(&save(&[checkpoint(2, 21)])).expect(what);
        drop(store);
        assert_eq!(
            load(&dir).checkpoints,
            [checkpoint(1, 11), checkpoint(2, 21)],
            "{what}"
        );
    }
}

#[test]
fn a_store_whose_lock_was_taken_over_writes_no_more() {
    let dir = TempDir::new().unwrap();
    let (mut first, _) = open(dir.path());
    fs::remove_file(dir.path().join("lock")).unwrap();
    let (mut second, _) = open(dir.path());
    second.commit(&save(&[checkpoint(2, 2)])).unwrap();
    first.commit(&save(&[checkpoint(1, 1)])).unwrap_err();
    let error = first.commit(&save(&[checkpoint(1, 1)])).unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    drop((first, second));
    assert_eq!(load(dir.path()).checkpoints, [checkpoint(2, 2)]);
}

#[test]
fn what_a_failed_sync_may_have_left_unwritten_is_written_again_unchanged() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 10)])).unwrap();
    store.database.take().unwrap().abandon();
    let before = content(dir.path());
    Place::find(dir.path()).unwrap().write_again().unwrap();
    assert_eq!(content(dir.path()), before);
    assert!(
        before
            .iter()
            .any(|(name, bytes)| name == "standpipe.db-wal" && !bytes.is_empty())
    );

    store.unsynced = true;
    store.commit(&save(&[checkpoint(2, 20)])).unwrap();
    assert!(!store.unsynced);
    drop(store);
    assert_eq!(
        load(dir.path()).checkpoints,
        [checkpoint(1, 10), checkpoint(2, 20)]
    );
}

#[test]
fn a_reader_sees_what_is_durable_beside_a_running_store() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 10)])).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let stored = reader.checkpoints().unwrap();
    assert_eq!(stored[0].checkpoint, checkpoint(1, 10));
    assert!(stored[0].updated_ms > 1_500_000_000_000);

    let letters = (0..10_u8)
        .map(|n| letter("code", &vec![n; usize::from(n)]))
        .collect();
    store
        .commit(&Save {
            dead_letters: letters,
            ..save(&[checkpoint(1, 11)])
        })
        .unwrap();
    assert_eq!(reader.checkpoints().unwrap()[0].checkpoint, checkpoint(1, 11));
    assert_eq!(reader.dead_letter_bytes().unwrap(), 45);

    let mut seen = Vec::new();
    loop {
        let after = seen
            .last()
            .map_or(DeadLetterId::default(), |it: &StoredDeadLetter| it.id);
        let page = reader.dead_letters(after, 3).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let lengths: Vec<_> = seen.iter().map(|it| it.letter.data.len()).collect();
    assert_eq!(lengths, (0..10).collect::<Vec<_>>());
    assert!(seen[0].time_ms > 1_500_000_000_000);

    let ids: Vec<_> = seen
        .iter()
        .filter(|it| it.letter.data.len() > 5)
        .map(|it| it.id)
        .collect();
    store.delete_dead_letters(&ids).unwrap();
    assert_eq!(
        (store.dead_letter_bytes(), reader.dead_letter_bytes().unwrap()),
        (15, 15)
    );
}

#[test]
fn a_reader_where_no_daemon_has_been_says_so_and_makes_nothing() {
    let dir = TempDir::new().unwrap();
    let error = Reader::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    assert_eq!(error.exit_code(), 74);
    assert_eq!(content(dir.path()), []);
}

#[test]
fn operators_can_read_the_views() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store
        .commit(&Save {
            dead_letters: vec![letter("code", b"123")],
            ..save(&[checkpoint(1, 10)])
        })
        .unwrap();
    let connection = Connection::open(database(dir.path())).unwrap();
    let text = |query: &str| {
        connection
            .query_row(query, [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    let shown = text("SELECT path || ' ' || offset || ' ' || born FROM checkpoints_readable");
    assert_eq!(shown, "/var/log/app/web.log 10 2023-11-14 22:13:20");
    assert_eq!(
        text("SELECT path || ' ' || code || ' ' || bytes FROM dead_letters_readable"),
        "/var/log/app/web.log code 3"
    );
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
    let large = Save {
        dead_letters: vec![letter("code", &vec![0; 16 << 20])],
        ..Save::default()
    };
    store.commit(&large).unwrap();
    store.commit(&save(&[checkpoint(1, 9_999)])).unwrap();
    let log = fs::metadata(dir.path().join("standpipe.db-wal")).unwrap().len();
    assert!(log < 5 * 1024 * 1024, "{log}");
}
