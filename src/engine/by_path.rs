//! Values by paths, for as many paths as there may be files.
//!
//! Knows hashes. Does not know what the values stand for. A table that grows puts every entry in a new place: what hashes a
//! hundred thousand paths again for that keeps everybody waiting for as long, with each table that grows by the same event.
//!
//! *Invariant:* a path is hashed when it is put in or asked for, never because others come or go.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashTable;

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    path: Arc<Path>,
    value: V,
}

/// A table of values by paths.
#[derive(Clone, Debug)]
pub(super) struct ByPath<V> {
    entries: HashTable<Entry<V>>,
    /// Drawn anew for each table: nobody who names files can make them meet in one place.
    hasher: RandomState,
}

impl<V> Default for ByPath<V> {
    fn default() -> Self {
        Self { entries: HashTable::new(), hasher: RandomState::new() }
    }
}

impl<V> ByPath<V> {
    pub(super) fn get(&self, path: &Path) -> Option<&V> {
        let hash = self.hasher.hash_one(path);
        self.entries.find(hash, |entry| *entry.path == *path).map(|entry| &entry.value)
    }

    pub(super) fn get_mut(&mut self, path: &Path) -> Option<&mut V> {
        let hash = self.hasher.hash_one(path);
        self.entries.find_mut(hash, |entry| *entry.path == *path).map(|entry| &mut entry.value)
    }

    /// What there is for a path, or else `value` from now on.
    pub(super) fn get_or_insert(&mut self, path: Arc<Path>, value: V) -> &mut V {
        let hash = self.hasher.hash_one(&*path);
        let entry = self.entries.entry(hash, |entry| *entry.path == *path, |entry| entry.hash);
        &mut entry.or_insert_with(|| Entry { hash, path, value }).into_mut().value
    }

    pub(super) fn remove(&mut self, path: &Path) {
        let hash = self.hasher.hash_one(path);
        if let Ok(entry) = self.entries.find_entry(hash, |entry| *entry.path == *path) {
            entry.remove();
        }
    }

    /// Gives back the room of many that are gone.
    pub(super) fn tidy(&mut self) {
        if self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2, |entry| entry.hash);
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<Path>, &V)> {
        self.entries.iter().map(|entry| (&entry.path, &entry.value))
    }
}

impl<V: PartialEq> PartialEq for ByPath<V> {
    fn eq(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().all(|entry| other.get(&entry.path) == Some(&entry.value))
    }
}

impl<V: Eq> Eq for ByPath<V> {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_is_a_map_whatever_comes_and_goes() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut table, mut map) = (ByPath::default(), HashMap::new());
        for turn in 0..20_000_u32 {
            let path: Arc<Path> = Path::new(&format!("/logs/{}", rng.u32(0..2_000))).into();
            match rng.u8(0..3) {
                0 => {
                    let kept = *table.get_or_insert(Arc::clone(&path), turn);
                    assert_eq!(kept, *map.entry(path).or_insert(turn));
                }
                1 => {
                    if let Some(value) = table.get_mut(&path) {
                        *value += 1;
                    }
                    map.entry(path).and_modify(|value| *value += 1);
                }
                _ => {
                    table.remove(&path);
                    map.remove(&path);
                    table.tidy();
                }
            }
        }
        assert_eq!(
            table.iter().map(|(path, value)| (Arc::clone(path), *value)).collect::<HashMap<_, _>>(),
            map
        );
        assert!(map.iter().all(|(path, value)| table.get(path) == Some(value)));
        assert_eq!(table, table.clone());
    }

    #[test]
    fn another_value_or_another_path_makes_another_table() {
        let one = |path: &str, value: u8| {
            let mut table = ByPath::default();
            table.get_or_insert(Path::new(path).into(), value);
            table
        };
        assert_eq!(one("/a", 1), one("/a", 1));
        assert_ne!(one("/a", 1), one("/a", 2));
        assert_ne!(one("/a", 1), one("/b", 1));
    }

    #[test]
    fn room_of_what_is_gone_is_given_back() {
        let paths: Vec<Arc<Path>> = (0..10_000).map(|n| Path::new(&format!("/{n}")).into()).collect();
        let mut table = ByPath::default();
        paths.iter().for_each(|path| *table.get_or_insert(Arc::clone(path), ()) = ());
        let all = table.entries.capacity();
        for path in &paths[10..] {
            table.remove(path);
            table.tidy();
        }
        assert!(table.entries.capacity() < all / 100, "{} of {all}", table.entries.capacity());
        assert!(paths[..10].iter().all(|path| table.get(path).is_some()));
    }
}
