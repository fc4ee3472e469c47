//! Which files are held back because they begin like another.
//!
//! There are few at a time, also of a hundred thousand files: whoever asks for them does not look at all.

use super::Files;
use super::file::Task;
use crate::engine::port::FileId;
use crate::model::identity::Incarnation;

impl Files {
    /// A file begins like that of `of`, and is held back.
    pub(in crate::engine) fn begin_alike(&mut self, id: FileId, own: Incarnation, of: Incarnation) {
        self.known_mut(id).task = Task::Alike { own, of };
        self.alike.insert(id);
    }

    /// Files that are held back because they begin like that of `of`, each with its own incarnation.
    pub(in crate::engine) fn alike_to(&mut self, of: Incarnation) -> Vec<(FileId, Incarnation)> {
        let Self { alike, by_id, .. } = self;
        let task = |id: &FileId| by_id.get(id).map(|file| file.task);
        alike.retain(|id| matches!(task(id), Some(Task::Alike { .. })));
        let own = |id: &FileId| match task(id) {
            Some(Task::Alike { own, of: original }) if original == of => Some((*id, own)),
            _ => None,
        };
        alike.iter().filter_map(own).collect()
    }
}
