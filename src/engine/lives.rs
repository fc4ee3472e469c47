//! Every incarnation that is not over, in one map: what it is, and what becomes of it.
//!
//! - *attached*: a followed file is read into it
//! - *parted*: nothing more is read, and records are under way
//! - *sought in copies*: its file no longer has its content, and a rotator's copy may have it
//! - *stored*: a checkpoint that no file has claimed
//!
//! Knows positions and states. Does not know which files are open, nor when anything is saved.
//!
//! *Invariant (L12):* one file in one delivery stream has at most one attached incarnation.

mod closed;
mod kin;
mod laws;
mod moved;
mod order;
mod rest;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Identity, Incarnation};
use crate::model::settings::{SourceId, StreamId};
use crate::rules::rotation::{originals, same_file};

use super::by_path::ByPath;
use super::few::Few;
use super::incarnation::{IncarnationState, Names};
use super::numbers::Numbers;
use super::port::FileId;

pub(super) use self::closed::Unread;
use self::kin::Kin;
pub(super) use self::moved::Placed;
use self::order::Closed;
pub(super) use self::search::{CopySearch, Sought};

/// What becomes of the checkpoint of an incarnation that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// Its content is gone, or nothing could tell its file from another.
    Forgotten,
    /// Its file may be there, and may be wanted again.
    Kept,
    /// A person moved the position: no save holds the checkpoint any more.
    Withdrawn,
}

/// What one incarnation is.
#[derive(Debug)]
enum Life {
    Attached { file: FileId, state: Box<IncarnationState> },
    Parted { state: Box<IncarnationState>, afterwards: Afterwards },
    SoughtInCopies { search: Box<CopySearch>, subject: Subject },
    Stored(Box<Checkpoint>),
}

/// What a copy is looked for of.
#[derive(Debug)]
enum Subject {
    /// Read by this process, and maybe under way.
    OnItsWay(Box<IncarnationState>),
    /// Read by an earlier process, or closed since.
    Stored(Box<Checkpoint>),
}

/// What became of an incarnation that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The database is to forget it.
    Forgotten,
    /// The database is to hold its last checkpoint.
    Stored,
}

/// All incarnations that are not over.
#[derive(Debug, Default)]
pub(super) struct Lives {
    by_incarnation: BTreeMap<Incarnation, Life>,
    /// Whatever else changes, a file and its checkpoint agree in the inode.
    by_inode: BTreeSet<(u64, Incarnation)>,
    /// Incarnations that are stored or sought, by the real path that their file had, and by the names that a rotator may have
    /// made that of.
    by_path: ByPath<Few<Incarnation>>,
    kin: Kin,
    /// Those of which copies are looked for.
    sought: BTreeSet<Incarnation>,
    /// Those whose files were closed since the start.
    closed: Closed,
    /// Those that were let go of with their source.
    let_go: BTreeMap<Incarnation, SourceId>,
    /// The one that was found last of which records were under way.
    restless: Option<Incarnation>,
    numbers: Numbers,
}

impl Life {
    fn state(&self) -> Option<&IncarnationState> {
        match self {
            Self::Attached { state, .. } | Self::Parted { state, .. } => Some(state),
            Self::SoughtInCopies { subject: Subject::OnItsWay(state), .. } => Some(state),
            Self::SoughtInCopies { subject: Subject::Stored(_), .. } | Self::Stored(_) => None,
        }
    }

    fn state_mut(&mut self) -> Option<&mut IncarnationState> {
        match self {
            Self::Attached { state, .. } | Self::Parted { state, .. } => Some(state),
            Self::SoughtInCopies { subject: Subject::OnItsWay(state), .. } => Some(state),
            Self::SoughtInCopies { subject: Subject::Stored(_), .. } | Self::Stored(_) => None,
        }
    }

    /// The checkpoint that a file may claim: of one that is stored, also while its copies are looked for.
    fn claimable(&self) -> Option<&Checkpoint> {
        match self {
            Self::Stored(checkpoint) => Some(checkpoint),
            Self::SoughtInCopies { subject: Subject::Stored(checkpoint), search }
                if search.afterwards == Afterwards::Kept =>
            {
                Some(checkpoint)
            }
            Self::Attached { .. } | Self::Parted { .. } | Self::SoughtInCopies { .. } => None,
        }
    }

    fn stored(&self) -> Option<&Checkpoint> {
        match self {
            Self::Stored(checkpoint) | Self::SoughtInCopies { subject: Subject::Stored(checkpoint), .. } => {
                Some(checkpoint)
            }
            Self::Attached { .. } | Self::Parted { .. } | Self::SoughtInCopies { .. } => None,
        }
    }

    fn identity(&self) -> Identity {
        match (self.state(), self.stored()) {
            (Some(state), _) => state.whose().identity,
            (None, Some(checkpoint)) => checkpoint.identity,
            (None, None) => unreachable!("an incarnation has a state or a checkpoint"),
        }
    }

    /// The names that are indexed: the file's, and those that a rotator may have made it of. Of those that change their
    /// name, the file is.
    fn indexed_paths(&self) -> Vec<Arc<Path>> {
        let path = self.last_path();
        let names = path.iter().flat_map(|path| originals(path)).map(Arc::from);
        path.into_iter().cloned().chain(names).collect()
    }

    /// The name that a file had that is not read.
    fn last_path(&self) -> Option<&Arc<Path>> {
        match self {
            Self::Attached { .. } | Self::Parted { .. } => None,
            Self::SoughtInCopies { subject: Subject::OnItsWay(state), .. } => Some(state.whose().real_path()),
            Self::SoughtInCopies { subject: Subject::Stored(checkpoint), .. } | Self::Stored(checkpoint) => {
                Some(checkpoint.real_path())
            }
        }
    }

    fn is_parted_and_kept(&self) -> bool {
        match self {
            Self::Parted { afterwards, .. } => *afterwards == Afterwards::Kept,
            Self::SoughtInCopies { search, subject: Subject::OnItsWay(_) } => {
                search.afterwards == Afterwards::Kept
            }
            Self::SoughtInCopies { .. } | Self::Attached { .. } | Self::Stored(_) => false,
        }
    }
}

impl Lives {
    /// What the state database holds, and the numbers that are left.
    pub(super) fn new(checkpoints: Vec<Checkpoint>, numbers: Numbers) -> Self {
        let mut lives = Self { numbers, ..Self::default() };
        for checkpoint in checkpoints {
            lives.put(checkpoint.incarnation, Life::Stored(Box::new(checkpoint)));
        }
        lives
    }

    /// A checkpoint of a file of which nothing was read yet.
    pub(super) fn store(&mut self, checkpoint: Checkpoint) {
        self.put(checkpoint.incarnation, Life::Stored(Box::new(checkpoint)));
    }

    /// A number that no incarnation has had.
    pub(super) fn fresh(&mut self) -> Incarnation {
        self.numbers.fresh()
    }

    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    pub(super) fn numbers_mut(&mut self) -> &mut Numbers {
        &mut self.numbers
    }

    pub(super) fn state(&self, incarnation: Incarnation) -> Option<&IncarnationState> {
        self.by_incarnation.get(&incarnation)?.state()
    }

    pub(super) fn state_mut(&mut self, incarnation: Incarnation) -> Option<&mut IncarnationState> {
        self.by_incarnation.get_mut(&incarnation)?.state_mut()
    }

    /// The state of an incarnation that is attached, or of which records are under way.
    pub(super) fn on_its_way(&self, incarnation: Incarnation) -> &IncarnationState {
        self.state(incarnation).expect("an incarnation is kept while it is read and until it is settled")
    }

    pub(super) fn on_its_way_mut(&mut self, incarnation: Incarnation) -> &mut IncarnationState {
        self.state_mut(incarnation).expect("an incarnation is kept while it is read and until it is settled")
    }

    /// The file that is read into an incarnation.
    pub(super) fn file_of(&self, incarnation: Incarnation) -> Option<FileId> {
        match self.by_incarnation.get(&incarnation)? {
            Life::Attached { file, .. } => Some(*file),
            Life::Parted { .. } | Life::SoughtInCopies { .. } | Life::Stored(_) => None,
        }
    }

    /// All that are read or delivered, in the order of their numbers.
    pub(super) fn states(&self) -> impl Iterator<Item = &IncarnationState> {
        self.by_incarnation.values().filter_map(Life::state)
    }

    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut IncarnationState> {
        self.by_incarnation.values_mut().filter_map(Life::state_mut)
    }

    /// What a save taken now holds of one.
    pub(super) fn checkpoint(&self, incarnation: Incarnation) -> Option<Checkpoint> {
        let life = self.by_incarnation.get(&incarnation).filter(|life| !life.is_withdrawn())?;
        life.state().map(IncarnationState::checkpoint).or_else(|| life.stored().cloned())
    }

    /// From now on `file` is read into this incarnation.
    ///
    /// # Panics
    /// When records of it are under way, or the file is read into another one in its stream: a file in a stream has one
    /// life (L12).
    pub(super) fn attach(&mut self, file: FileId, state: IncarnationState) {
        let incarnation = state.incarnation();
        match self.take(incarnation) {
            None | Some(Life::Stored(_) | Life::SoughtInCopies { subject: Subject::Stored(_), .. }) => {}
            Some(life) => panic!("L12: {incarnation:?} is attached to {file:?}, and is on its way: {life:?}"),
        }
        let other = self.attached_to(state.whose().identity, state.stream());
        assert!(other.is_none(), "L12: {incarnation:?} and {other:?} would be two lives of {file:?}");
        self.let_go.remove(&incarnation);
        self.closed.remove(incarnation);
        self.put(incarnation, Life::Attached { file, state: Box::new(state) });
    }

    /// The incarnation that a file is read into in a stream.
    fn attached_to(&self, identity: Identity, stream: StreamId) -> Option<Incarnation> {
        let is_of_file = |incarnation: &Incarnation| match &self.by_incarnation[incarnation] {
            Life::Attached { state, .. } => state.stream() == stream && state.whose().identity == identity,
            Life::Parted { .. } | Life::SoughtInCopies { .. } | Life::Stored(_) => false,
        };
        self.of_inode(identity.inode).find(is_of_file)
    }

    /// `file` goes on with an incarnation that had parted.
    ///
    /// # Panics
    /// When it is attached: a file in a stream has one life (L12).
    pub(super) fn reattach(
        &mut self,
        incarnation: Incarnation,
        file: FileId,
        (source, names, identity): (SourceId, Names, Identity),
    ) -> &mut IncarnationState {
        let mut state = match self.take(incarnation) {
            Some(Life::Parted { state, .. }) => state,
            Some(Life::SoughtInCopies { subject: Subject::OnItsWay(state), .. }) => state,
            other => panic!("L12: {incarnation:?} cannot be attached again: {other:?}"),
        };
        state.goes_on_in(source, names, identity);
        self.attach(file, *state);
        self.on_its_way_mut(incarnation)
    }

    /// The file that is read into it has another number.
    ///
    /// # Panics
    /// When it is not attached (L12).
    pub(super) fn move_to(&mut self, incarnation: Incarnation, to: FileId) {
        let Some(Life::Attached { file, .. }) = self.by_incarnation.get_mut(&incarnation) else {
            panic!("L12: {incarnation:?} is moved to {to:?}, and is attached to no file");
        };
        *file = to;
    }

    /// The kernel says of the file that is read into an incarnation that it has another identity by now.
    ///
    /// # Panics
    /// When the incarnation is not attached (L12).
    pub(super) fn identify(&mut self, incarnation: Incarnation, identity: Identity) {
        let Some(Life::Attached { file, mut state }) = self.take(incarnation) else {
            panic!("L12: {incarnation:?} is identified, and attached to no file");
        };
        state.identify(identity);
        self.put(incarnation, Life::Attached { file, state });
    }

    /// Nothing more is read of it.
    ///
    /// # Panics
    /// When it is not attached (L12).
    pub(super) fn part(&mut self, incarnation: Incarnation, afterwards: Afterwards) {
        let Some(Life::Attached { state, .. }) = self.take(incarnation) else {
            panic!("L12: {incarnation:?} parts from its file, and has none");
        };
        self.put(incarnation, Life::Parted { state, afterwards });
    }

    /// Ends one that parted, once all of it is settled; says what the database is to do.
    pub(super) fn end_if_over(&mut self, incarnation: Incarnation) -> Option<Over> {
        match self.by_incarnation.get(&incarnation) {
            Some(Life::Parted { state, .. }) if state.is_settled() => {}
            _ => return None,
        }
        let Some(Life::Parted { state, afterwards }) = self.take(incarnation) else {
            unreachable!("just seen");
        };
        match afterwards {
            Afterwards::Forgotten | Afterwards::Withdrawn => Some(Over::Forgotten),
            Afterwards::Kept => {
                self.put(incarnation, Life::Stored(Box::new(state.checkpoint())));
                Some(Over::Stored)
            }
        }
    }

    /// One of which nothing more was to be read, and that is not settled yet: its source was away.
    pub(super) fn parted_of(&self, file: Identity, stream: StreamId) -> Option<Incarnation> {
        let mut parted = self.of_inode(file.inode).filter(|incarnation| {
            let life = &self.by_incarnation[incarnation];
            life.is_parted_and_kept()
                && life.state().is_some_and(|state| state.stream() == stream)
                && same_file(life.identity(), file)
        });
        parted.next()
    }

    /// Checkpoints of one file in one stream that it may claim.
    pub(super) fn stored_of(&self, file: Identity, stream: &str) -> impl Iterator<Item = &Checkpoint> {
        let stored = self.of_inode(file.inode);
        let stored = stored.filter_map(|incarnation| self.by_incarnation[&incarnation].claimable());
        stored.filter(move |stored| *stored.stream == *stream && same_file(stored.identity, file))
    }

    /// Incarnations of files that have this inode, on whatever device.
    fn of_inode(&self, inode: u64) -> impl Iterator<Item = Incarnation> {
        let all = (inode, Incarnation(0))..=(inode, Incarnation(u64::MAX));
        self.by_inode.range(all).map(|(_, incarnation)| *incarnation)
    }

    fn put(&mut self, incarnation: Incarnation, life: Life) {
        self.by_inode.insert((life.identity().inode, incarnation));
        self.kin.add(incarnation, life.known().path);
        for path in life.indexed_paths() {
            self.by_path.get_or_insert(path, Few::default()).insert(incarnation);
        }
        if matches!(life, Life::SoughtInCopies { .. }) {
            self.sought.insert(incarnation);
        }
        let before = self.by_incarnation.insert(incarnation, life);
        assert!(before.is_none(), "L12: {incarnation:?} is there twice");
    }

    fn take(&mut self, incarnation: Incarnation) -> Option<Life> {
        let life = self.by_incarnation.remove(&incarnation)?;
        self.by_inode.remove(&(life.identity().inode, incarnation));
        self.kin.remove(incarnation, life.known().path);
        for path in life.indexed_paths() {
            if self.by_path.get_mut(&path).is_some_and(|of_path| of_path.remove(incarnation)) {
                self.by_path.remove(&path);
            }
        }
        // After a start, all files that were found are stored for a moment.
        self.by_path.tidy();
        self.sought.remove(&incarnation);
        Some(life)
    }
}
