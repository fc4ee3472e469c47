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

#[test]
fn no_number_is_given_to_two_dead_letters() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    add(&mut store, letters("a", [1, 2]));
    let ids: Vec<_> = all(dir.path()).iter().map(|stored| stored.id).collect();
    store.delete_dead_letters(&ids).unwrap();
    add(&mut store, letters("b", [3]));
    // A deletion that is tried again, because nobody knows whether the first came through.
    assert_eq!(store.delete_dead_letters(&ids).unwrap(), BTreeMap::new());
    assert_eq!(all(dir.path()).len(), 1);
    drop(store);
    let (mut store, _) = open(dir.path());
    add(&mut store, letters("b", [4]));
    let found: Vec<_> = all(dir.path()).iter().map(|stored| (stored.id, stored.letter.data.len())).collect();
    assert_eq!(found, [(DeadLetterId(3), 3), (DeadLetterId(4), 4)]);
}

#[test]
fn pages_hold_so_many_letters_or_so_much_data_and_go_up_to_the_last_of_the_beginning() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    add(&mut store, letters("a", std::iter::repeat_n(1, 300)));
    add(&mut store, letters("b", std::iter::repeat_n(1, 2)));
    add(&mut store, letters("a", [3_000_000, 3_000_000, 5_000_000]));
    let mut wanted = Some(Wanted { stream: Some("a".into()), ..Wanted::default() });
    let mut pages = Vec::new();
    while let Some(next) = wanted {
        let read = store.dead_letters(&next).unwrap().letters.len();
        // What comes meanwhile is not meant.
        add(&mut store, letters("a", [7]));
        let page = store.purge(&next).unwrap();
        assert!(next.until.is_none() || page.count == read);
        pages.push((page.count, page.bytes));
        wanted = page.next;
    }
    assert_eq!(pages, [(256, 256), (45, 3_000_044), (1, 3_000_000), (1, 5_000_000), (1, 7)]);
    let left: Vec<_> = all(dir.path()).iter().map(|stored| stored.letter.data.len()).collect();
    assert_eq!(left, [1, 1, 7, 7, 7, 7]);
}
