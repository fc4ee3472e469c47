//! Commits that fail, and how the store comes back from it.

use super::*;

#[test]
fn a_commit_is_made_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 10), checkpoint(2, 20)])).unwrap();
    sql(
        dir.path(),
        "CREATE TRIGGER boom BEFORE INSERT ON dead_letters WHEN new.code = 'boom'
         BEGIN SELECT RAISE(ABORT, 'boom'); END",
    );
    let change = Save {
        checkpoints: vec![checkpoint(1, 11), checkpoint(3, 30)],
        forgotten: vec![Incarnation(2)],
        dead_letters: vec![letter("fine", b"12345"), letter("boom", b"123")],
        looks: Vec::new(),
        parts: None,
        audit: Vec::new(),
        reserved: 0,
    };
    let error = store.commit(&change).unwrap_err();
    assert!(error.to_string().starts_with(&*database(dir.path()).to_string_lossy()), "{error}");
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
            fs::remove_file(database(dir)).unwrap();
        }),
        ("its log is removed", |dir| {
            fs::remove_file(dir.join("standpipe.db-wal")).unwrap();
        }),
        ("the lock is removed", |dir| {
            fs::remove_file(dir.join("lock")).unwrap();
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
        store.commit(&save(&[checkpoint(1, 10), checkpoint(2, 20), checkpoint(3, 30)])).unwrap();
        store.commit(&forget(&[3])).unwrap();
        harm(&dir);
        let change = save(&[checkpoint(1, 11)]);
        store.commit(&change).expect_err(what);
        if dir.is_file() {
            store.commit(&change).expect_err(what);
            fs::remove_file(&dir).unwrap();
        }
        store.commit(&change).expect(what);
        assert!(matches!(Store::open(&dir).expect_err(what), StoreError::Held { .. }), "{what}");

        let copy = crashed(&dir);
        let loaded = load(copy.path());
        assert_eq!(loaded.checkpoints, [checkpoint(1, 11), checkpoint(2, 20)], "{what}");
        assert!(loaded.next_incarnation >= 4, "{what}: {}", loaded.next_incarnation);
        assert!(!loaded.first_start, "{what}");
        // From here on it is business as usual.
        store.commit(&save(&[checkpoint(2, 21)])).expect(what);
        drop(store);
        assert_eq!(load(&dir).checkpoints, [checkpoint(1, 11), checkpoint(2, 21)], "{what}");
    }
}

#[test]
fn a_database_made_in_the_middle_of_a_process_is_no_first_start() {
    let dir = TempDir::new().unwrap();
    let place = Place::find(dir.path()).unwrap();
    // Killed before its first commit.
    drop(Database::open(&place, schema::Look::Nothing, Some(u64::MAX / 2)).unwrap());
    let loaded = load(dir.path());
    assert_eq!((loaded.first_start, loaded.next_incarnation), (false, u64::MAX / 2));
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
    assert!(before.iter().any(|(name, bytes)| name == "standpipe.db-wal" && !bytes.is_empty()));

    store.unsynced = true;
    store.commit(&save(&[checkpoint(2, 20)])).unwrap();
    assert!(!store.unsynced);
    drop(store);
    assert_eq!(load(dir.path()).checkpoints, [checkpoint(1, 10), checkpoint(2, 20)]);
}
