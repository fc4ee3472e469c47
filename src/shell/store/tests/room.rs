//! What dead letters take on disk, and what their deletion gives back.

use super::*;
use crate::rules::dead_letters::disk_bytes_of;

fn letters(stream: &str, sizes: impl IntoIterator<Item = usize>) -> Vec<DeadLetter> {
    let with = |size: usize| DeadLetter { stream: stream.into(), ..letter("code", &vec![b'x'; size]) };
    sizes.into_iter().map(with).collect()
}

fn add(store: &mut Store, dead_letters: Vec<DeadLetter>) -> u64 {
    let bytes = dead_letters.iter().map(disk_bytes_of).sum();
    store.commit(&Save { dead_letters, ..Save::default() }).unwrap();
    bytes
}

fn all(dir: &Path) -> Vec<StoredDeadLetter> {
    Reader::open(dir).unwrap().dead_letters(DeadLetterId::default(), usize::MAX).unwrap()
}

#[test]
fn what_each_stream_takes_is_loaded_and_what_a_deletion_frees_is_told() {
    let dir = TempDir::new().unwrap();
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.dead_letter_disk_bytes, BTreeMap::new());
    let a = add(&mut store, letters("a", [0, 10, 5_000, 100_000]));
    let b = add(&mut store, letters("b", [7]));
    drop(store);
    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded.dead_letter_disk_bytes, BTreeMap::from([("a".into(), a), ("b".into(), b)]));
    let ids: Vec<_> = all(dir.path()).iter().map(|stored| stored.id).collect();
    let freed = store.delete_dead_letters(&ids).unwrap();
    assert_eq!(freed, BTreeMap::from([("a".into(), a), ("b".into(), b)]));
    assert_eq!(store.delete_dead_letters(&ids).unwrap(), BTreeMap::new(), "they are gone already");
}

#[test]
fn the_database_is_hardly_larger_than_what_its_dead_letters_count_for() {
    for size in [0, 1, 100, 1_000, 1_900, 2_000, 3_000, 4_000, 4_100, 8_100, 50_000, 1_024_000] {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = open(dir.path());
        let empty = fs::metadata(database(dir.path())).unwrap().len();
        let counted =
            add(&mut store, letters("app-logs", std::iter::repeat_n(size, 8_000_000 / (size + 2_000))));
        drop(store);
        let took = fs::metadata(database(dir.path())).unwrap().len() - empty;
        assert!(took <= counted * 5 / 4 + 8 * 4096, "{took} for {counted}, of {size} each");
    }
}

#[test]
fn a_database_gives_back_what_was_deleted_and_keeps_what_was_not() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&save(&[checkpoint(1, 10)])).unwrap();
    add(&mut store, letters("kept", [1_000]));
    add(&mut store, letters("gone", std::iter::repeat_n(1_000_000, 8)));
    let size = || fs::metadata(database(dir.path())).unwrap().len();
    store.shrink().unwrap();
    assert!(size() > 8_000_000);
    let (kept, gone): (Vec<_>, Vec<_>) =
        all(dir.path()).into_iter().partition(|stored| &*stored.letter.stream == "kept");
    store.delete_dead_letters(&gone.iter().map(|stored| stored.id).collect::<Vec<_>>()).unwrap();
    store.shrink().unwrap();
    assert!(size() < 200_000, "{}", size());
    assert_eq!(all(dir.path()), kept);
    store.commit(&save(&[checkpoint(2, 20)])).unwrap();
    drop(store);
    assert_eq!(load(dir.path()).checkpoints, [checkpoint(1, 10), checkpoint(2, 20)]);
    assert_eq!(all(dir.path()), kept);
}
