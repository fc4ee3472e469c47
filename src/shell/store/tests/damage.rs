//! Harm done to the files between two starts: the state is as it was saved, or it is moved aside and every file
//! starts at its beginning. Never another offset, never "first start".

use super::*;

/// What a start may find after harm: every checkpoint that is there is one that was saved.
fn assert_sound(what: &str, dir: &Path, saved: &[Checkpoint]) -> Loaded {
    let (mut store, loaded) = Store::open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!loaded.first_start, "{what}");
    for checkpoint in &loaded.checkpoints {
        let is_saved = saved.iter().any(|saved| checkpoint == saved || *checkpoint == bare(saved));
        assert!(is_saved, "{what}: {checkpoint:?}");
    }
    if let Some(aside) = &loaded.moved_aside {
        assert!(loaded.checkpoints.is_empty(), "{what}");
        assert!(loaded.next_incarnation > 1_500_000_000_000, "{what}: {}", loaded.next_incarnation);
        assert!(fs::symlink_metadata(aside).is_ok(), "{what}");
    }
    // And it can be worked with.
    store
        .commit(&save(&[checkpoint(loaded.next_incarnation, 1)]))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    drop(store);
    assert_eq!(load(dir).checkpoints.len(), loaded.checkpoints.len() + 1, "{what}");
    loaded
}

/// A checkpoint without what it may be without.
fn bare(checkpoint: &Checkpoint) -> Checkpoint {
    Checkpoint { settled: Settled::default(), seen_bytes: 0, proof: None, ..checkpoint.clone() }
}

fn saved() -> Vec<Checkpoint> {
    (1..=40).map(|number| checkpoint(number, 1_000 + number)).collect()
}

/// A database with its rows in place, or with most of them in the log.
fn harmed(in_log: bool) -> TempDir {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    let letters = vec![letter("code", &[b'x'; 9_000])];
    store.commit(&Save { dead_letters: letters, ..save(&saved()[..1]) }).unwrap();
    if in_log {
        drop(store);
        store = open(dir.path()).0;
    }
    for one in &saved() {
        store.commit(&save(std::slice::from_ref(one))).unwrap();
    }
    if in_log { crashed(dir.path()) } else { dir_after(store, dir) }
}

fn dir_after(store: Store, dir: TempDir) -> TempDir {
    drop(store);
    dir
}

fn fresh_copy(of: &[(OsString, Vec<u8>)], name: &str, bytes: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (other, content) in of {
        let content = if other == name { bytes } else { content };
        fs::write(dir.path().join(other), content).unwrap();
    }
    dir
}

fn bytes_of<'a>(files: &'a [(OsString, Vec<u8>)], name: &str) -> &'a [u8] {
    &files.iter().find(|file| file.0 == name).expect(name).1
}

#[test]
fn without_harm_everything_is_there() {
    for in_log in [false, true] {
        let dir = harmed(in_log);
        let loaded = assert_sound("no harm", dir.path(), &saved());
        assert_eq!((loaded.checkpoints, loaded.moved_aside, loaded.next_incarnation), (saved(), None, 41));
    }
}

#[test]
fn a_flipped_bit_never_makes_another_offset() {
    for (name, in_log) in [("standpipe.db", false), ("standpipe.db-wal", true), ("standpipe.db", true)] {
        let files = content(harmed(in_log).path());
        let bytes = bytes_of(&files, name);
        // Every byte of the header, then one in each few: all pages, a bit of each position.
        let stride = (bytes.len() / 250) | 1;
        let mut kept = 0;
        for at in (0..100).chain((100..bytes.len()).step_by(stride)) {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            let dir = fresh_copy(&files, name, &flipped);
            let what = format!("{name}, bit {} of byte {at}", at % 8);
            // The one flip that looks like something else: a newer version, which is refused and kept as it is.
            if name == "standpipe.db"
                && (60..64).contains(&at)
                && let Err(error) = Store::open(dir.path())
            {
                assert!(matches!(error, StoreError::Newer { .. }), "{what}: {error}");
                continue;
            }
            let loaded = assert_sound(&what, dir.path(), &saved());
            kept += usize::from(loaded.moved_aside.is_none());
        }
        assert!(kept > 0, "{name}: not every flip costs the whole state");
    }
}

#[test]
fn a_database_cut_anywhere_is_sound_or_moved_aside() {
    for (name, in_log) in [("standpipe.db", false), ("standpipe.db-wal", true), ("standpipe.db", true)] {
        let files = content(harmed(in_log).path());
        let bytes = bytes_of(&files, name);
        let lengths =
            (0..bytes.len()).step_by(bytes.len() / 40 + 1).chain([1, 16, 99, 100, 101, 512, 4096, 8192]);
        for len in lengths {
            let dir = fresh_copy(&files, name, &bytes[..len]);
            let loaded = assert_sound(&format!("{name} cut to {len}"), dir.path(), &saved());
            if name == "standpipe.db" && !in_log {
                assert!(loaded.moved_aside.is_some(), "cut to {len}");
            }
        }
    }
}

#[test]
fn zeroed_and_foreign_pages_are_sound_or_moved_aside() {
    let files = content(harmed(false).path());
    let bytes = bytes_of(&files, "standpipe.db");
    for page in 0..bytes.len() / 4096 {
        let range = page * 4096..(page + 1) * 4096;
        let mut zeroed = bytes.to_vec();
        zeroed[range.clone()].fill(0);
        let dir = fresh_copy(&files, "standpipe.db", &zeroed);
        assert_sound(&format!("page {page} zeroed"), dir.path(), &saved());

        let mut foreign = bytes.to_vec();
        foreign.copy_within((page + 1) % 3 * 4096..((page + 1) % 3 + 1) * 4096, range.start);
        let dir = fresh_copy(&files, "standpipe.db", &foreign);
        assert_sound(&format!("page {page} replaced"), dir.path(), &saved());
    }
}

#[test]
fn what_is_no_database_of_ours_is_moved_aside_and_kept() {
    let other = TempDir::new().unwrap();
    let precious = other.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    type Harm<'a> = &'a dyn Fn(&Path);
    let harms: [(&str, Harm<'_>); 8] = [
        ("nothing", &|at| fs::write(at, "").unwrap()),
        ("garbage", &|at| fs::write(at, [0xA5; 10_000]).unwrap()),
        ("zeros", &|at| fs::write(at, [0; 8192]).unwrap()),
        ("a directory", &|at| fs::create_dir(at).unwrap()),
        ("a link", &|at| symlink(&precious, at).unwrap()),
        ("a dangling link", &|at| {
            symlink(other.path().join("none"), at).unwrap();
        }),
        ("a link to another database of ours", &|at| {
            open(other.path()).0.commit(&save(&[checkpoint(9, 9)])).unwrap();
            symlink(database(other.path()), at).unwrap();
        }),
        ("another application's", &|at| {
            Connection::open(at).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        }),
    ];
    for (what, harm) in harms {
        let dir = harmed(false);
        fs::remove_file(database(dir.path())).unwrap();
        harm(&database(dir.path()));
        let loaded = assert_sound(what, dir.path(), &[]);
        let aside = loaded.moved_aside.expect(what);
        let name = aside.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("standpipe.db.corrupt-"), "{name}");
        assert!(fs::symlink_metadata(database(dir.path())).unwrap().is_file(), "{what}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{what}");
    }
    assert_eq!(load(other.path()).checkpoints, [checkpoint(9, 9)]);
}

#[test]
fn a_database_that_another_application_has_marked_is_moved_aside() {
    let dir = harmed(false);
    sql(dir.path(), "PRAGMA application_id = 1");
    let loaded = assert_sound("another mark", dir.path(), &[]);
    assert!(loaded.moved_aside.is_some());
}

#[test]
fn a_link_beside_the_database_is_not_followed() {
    for suffix in ["-wal", "-shm", "-journal"] {
        let other = TempDir::new().unwrap();
        let precious = other.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let dir = harmed(false);
        symlink(&precious, dir.path().join(format!("standpipe.db{suffix}"))).unwrap();
        let loaded = assert_sound(suffix, dir.path(), &saved());
        assert!(loaded.moved_aside.is_some(), "{suffix}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{suffix}");
    }
}

#[test]
fn nothing_that_was_kept_is_overwritten() {
    let dir = harmed(false);
    for round in 1..=3 {
        fs::write(database(dir.path()), format!("garbage {round}")).unwrap();
        open(dir.path());
    }
    let mut kept: Vec<_> = content(dir.path())
        .into_iter()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"standpipe.db.corrupt-"))
        .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["garbage 1", "garbage 2", "garbage 3"]);
}

#[test]
fn a_crash_while_moving_aside_is_no_first_start() {
    // Killed right after the database got its new name: the log is left, and must not be played into a new one.
    let dir = harmed(true);
    fs::rename(database(dir.path()), dir.path().join("standpipe.db.corrupt-1")).unwrap();
    assert_sound("before the log", dir.path(), &[]);
    // And after that: nothing is left but what was moved aside.
    let dir = harmed(false);
    fs::rename(database(dir.path()), dir.path().join("standpipe.db.corrupt-1")).unwrap();
    assert_sound("before the fresh one", dir.path(), &[]);
    // Somebody removed the database and overlooked its log.
    let dir = harmed(true);
    fs::remove_file(database(dir.path())).unwrap();
    assert_sound("a log alone", dir.path(), &[]);
    // A fresh one that was not finished is made again.
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("standpipe.db.new"), "half").unwrap();
    fs::write(dir.path().join("standpipe.db.new-journal"), "half").unwrap();
    assert!(load(dir.path()).first_start);
}

#[test]
fn a_changed_row_is_dropped_and_the_others_stay() {
    for change in [
        "SET offset = offset + 1",
        "SET incarnation = 1000",
        "SET inode = inode - 1",
        "SET birth_nanos = NULL",
        "SET stream = 'another'",
        "SET path = x'2f78'",
        "SET window_len = -1",
        "SET window_hash = x'00'",
        "SET fingerprint_len = 70000",
        "SET updated_ms = 0",
    ] {
        let dir = harmed(false);
        sql(dir.path(), &format!("UPDATE checkpoints {change} WHERE incarnation = 3"));
        let loaded = load(dir.path());
        let expected: Vec<_> = saved().into_iter().filter(|it| it.incarnation != Incarnation(3)).collect();
        assert_eq!(loaded.checkpoints, expected, "{change}");
        assert_eq!((loaded.moved_aside, loaded.next_incarnation), (None, 41), "{change}");
        // The first commit clears it away, so that the warning comes once.
        open(dir.path()).0.commit(&Save::default()).unwrap();
        let connection = Connection::open(database(dir.path())).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM checkpoints", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 39, "{change}");
    }
}

#[test]
fn damage_beside_the_position_costs_no_position() {
    for change in [
        "SET proof = NULL",
        "SET proof = zeroblob(24)",
        "SET proof = substr(proof, 1, 23)",
        "SET proof = 'text'",
        "SET settled = zeroblob(16)",
        "SET settled = NULL",
        "SET settled = substr(settled, 1, 34)",
        "SET settled = settled || zeroblob(16)",
        "SET extras_checksum = NULL",
        "SET extras_checksum = extras_checksum + 1",
        "SET extras_checksum = 'text'",
        "SET proof = (SELECT proof FROM checkpoints WHERE incarnation = 5),
             extras_checksum = (SELECT extras_checksum FROM checkpoints WHERE incarnation = 5)",
    ] {
        let dir = harmed(false);
        // A strict table takes no text for a blob.
        let changed = Connection::open(database(dir.path()))
            .unwrap()
            .execute(&format!("UPDATE checkpoints {change} WHERE incarnation = 35"), []);
        let expected: Vec<_> = saved()
            .into_iter()
            .map(|it| if it.incarnation == Incarnation(35) && changed.is_ok() { bare(&it) } else { it })
            .collect();
        let loaded = load(dir.path());
        assert_eq!(loaded.checkpoints, expected, "{change}");
        assert_eq!((loaded.moved_aside, loaded.next_incarnation), (None, 41), "{change}");
    }
}

#[test]
fn a_changed_meta_row_costs_the_whole_state() {
    for change in ["UPDATE meta SET started = 0", "UPDATE meta SET next_incarnation = 2", "DELETE FROM meta"]
    {
        let dir = harmed(false);
        sql(dir.path(), change);
        let loaded = assert_sound(change, dir.path(), &[]);
        assert!(loaded.moved_aside.is_some(), "{change}");
    }
}
