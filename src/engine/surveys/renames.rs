//! Names that files of the sources were renamed to, as the kernel said: the next look at each source looks at these files,
//! whatever they are called now.
//!
//! A log that comes and is rotated away between two looks is found so also where nothing about its new name tells what it was.
//!
//! *Invariant:* of each source at most [`MOST`] are kept, and each until a look that it was handed to has shown all there is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::renamed::Renamed;
use crate::model::settings::SourceId;

/// The most that are kept of one source: each is a look at one file.
const MOST: usize = 512;

/// What files were called first, by what they are called now.
type Names = BTreeMap<Arc<Path>, Arc<Path>>;

#[derive(Debug, Default)]
struct OfSource {
    waiting: Names,
    /// Those that the look under way was handed, or one that did not show all.
    handed: Names,
}

/// The names that files of each source were renamed to.
#[derive(Debug, Default)]
pub(in crate::engine) struct Renames(BTreeMap<SourceId, OfSource>);

impl Renames {
    /// A file was renamed; `is_read` says whether the source reads the name that it had. Where it has been renamed before,
    /// that name counts which it had first.
    pub(in crate::engine) fn note(&mut self, source: SourceId, renamed: &Renamed, is_read: bool) {
        if !is_read && !self.0.contains_key(&source) {
            return;
        }
        let of_source = self.0.entry(source).or_default();
        let before = of_source.waiting.remove(&renamed.from);
        let before = before.or_else(|| of_source.handed.get(&renamed.from).cloned());
        // What had the name is gone, or had it for a moment.
        of_source.waiting.remove(&renamed.to);
        of_source.handed.remove(&renamed.to);
        let Some(first) = before.or_else(|| is_read.then(|| Arc::clone(&renamed.from))) else { return };
        if of_source.waiting.len() + of_source.handed.len() < MOST {
            of_source.waiting.insert(Arc::clone(&renamed.to), first);
        }
    }

    /// What a look at the source is handed that begins now.
    pub(in crate::engine) fn hand(&mut self, source: SourceId) -> Vec<Renamed> {
        let Some(of_source) = self.0.get_mut(&source) else { return Vec::new() };
        of_source.handed.append(&mut of_source.waiting);
        let names = of_source.handed.iter();
        names.map(|(to, from)| Renamed { from: Arc::clone(from), to: Arc::clone(to) }).collect()
    }

    /// The look at the source is answered, and shows all there is, or not.
    pub(in crate::engine) fn answered(&mut self, source: SourceId, shows_all: bool) {
        if !shows_all {
            return;
        }
        if let Some(of_source) = self.0.get_mut(&source) {
            of_source.handed.clear();
            if of_source.waiting.is_empty() {
                self.0.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::samples::path;

    const A: SourceId = SourceId(0);

    fn renamed(from: &str, to: &str) -> Renamed {
        Renamed { from: path(from), to: path(to) }
    }

    #[test]
    fn the_name_that_a_file_had_first_counts_however_often_it_was_renamed() {
        let mut renames = Renames::default();
        renames.note(A, &renamed("strange", "other"), false);
        assert_eq!(renames.hand(A), [], "the source never read it");
        renames.note(A, &renamed("app.log", "one"), true);
        renames.note(A, &renamed("one", "two"), false);
        assert_eq!(renames.hand(A), [renamed("app.log", "two")]);
        // While the look is under way.
        renames.note(A, &renamed("two", "three"), false);
        renames.answered(A, true);
        assert_eq!(renames.hand(A), [renamed("app.log", "three")]);
        assert_eq!(renames.hand(SourceId(1)), []);
    }

    #[test]
    fn each_is_kept_until_a_look_that_it_was_handed_to_has_shown_all() {
        let mut renames = Renames::default();
        renames.note(A, &renamed("app.log", "one"), true);
        renames.answered(A, true);
        assert_eq!(renames.hand(A), [renamed("app.log", "one")], "that look began before");
        renames.answered(A, false);
        assert_eq!(renames.hand(A), [renamed("app.log", "one")], "it may be among what was hidden");
        renames.answered(A, true);
        assert_eq!(renames.hand(A), []);
    }

    #[test]
    fn a_name_that_another_file_has_now_says_nothing_of_that_one() {
        let mut renames = Renames::default();
        for is_under_way in [false, true] {
            renames.note(A, &renamed("app.log", "one"), true);
            if is_under_way {
                assert_eq!(renames.hand(A), [renamed("app.log", "one")]);
            }
            renames.note(A, &renamed("strange", "one"), false);
            renames.answered(A, false);
            assert_eq!(renames.hand(A), [], "{is_under_way}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut renames = Renames::default();
        for number in 0..2 * MOST {
            renames.note(A, &renamed("app.log", &format!("{number}")), true);
            if number == MOST / 2 {
                assert_eq!(renames.hand(A).len(), number + 1);
            }
        }
        assert_eq!(renames.hand(A).len(), MOST);
        renames.answered(A, true);
        renames.note(A, &renamed("app.log", "one"), true);
        assert_eq!(renames.hand(A).len(), 1);
    }
}
