//! Between notify's thread and the two halves of the watch.
//!
//! Knows what each kind of event means. A mailbox with a lock rather than a channel: a busy file makes an
//! event for every write, and a channel would fill with them; here each name is kept once. notify's thread is no
//! task, and the lock is held for the time it takes to keep one name. It rests while hints are left: the kernel keeps
//! events meanwhile, and those of one file that follow each other as one.

#![expect(
    clippy::disallowed_methods,
    reason = "notify's thread rests here, and for how long only a clock says"
)]

use std::collections::{HashMap, HashSet};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use notify::event::{Event, EventKind, ModifyKind, RenameMode};
use tokio::sync::Notify;

use crate::engine::port::Hint;
use crate::model::renamed::Renamed;

/// The most names that are kept: beyond that, one look at everything is cheaper.
pub(super) const MAX_NAMES: usize = 4096;

/// The most renamings that are kept: each is compared with what every source reads.
const MAX_RENAMED: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pending: Mutex<Pending>,
    arrived: Notify,
    /// Whether notify's thread is waited for.
    is_hurried: AtomicBool,
}

/// Watches that may have died.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Suspects {
    /// The watches on these names and below.
    Some(HashSet<PathBuf>),
    All,
}

impl Default for Suspects {
    fn default() -> Self {
        Self::Some(HashSet::new())
    }
}

impl Mailbox {
    /// Keeps what an event says. Called by notify's thread.
    pub(super) fn put(&self, event: notify::Result<Event>) {
        let arrived = match event {
            Ok(event) => self.pending().note(event),
            Err(_) => self.pending().lost(),
        };
        if arrived == Arrived::Something {
            self.rest();
            self.arrived.notify_one();
        }
    }

    /// Nobody is told of hints before then.
    pub(super) fn leave(&self, until: Option<Instant>) {
        self.pending().left_until = until;
    }

    /// Whether notify's thread is waited for from now on: each request to watch a directory is answered by it.
    pub(super) fn hurry(&self, is_hurried: bool) {
        self.is_hurried.store(is_hurried, Ordering::Relaxed);
    }

    fn rest(&self) {
        let until = self.pending().left_until;
        if let Some(until) = until
            && !self.is_hurried.load(Ordering::Relaxed)
        {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }

    pub(super) fn names_changed(&self) {
        self.pending().names = true;
        self.arrived.notify_one();
    }

    /// Directories that are watched under another path: what happens there is told under each.
    pub(super) fn set_aliases(&self, aliases: HashMap<PathBuf, Vec<PathBuf>>) {
        self.pending().aliases = aliases;
    }

    /// Waits for something that arrived since the last time.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn take_hints(&self) -> Vec<Hint> {
        self.pending().take_hints()
    }

    pub(super) fn take_suspects(&self) -> Suspects {
        mem::take(&mut self.pending().suspects)
    }

    /// A panic elsewhere leaves it whole: each change is complete in itself.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Pending {
    grown: HashSet<PathBuf>,
    /// In the order in which they happened.
    renamed: Vec<[PathBuf; 2]>,
    names: bool,
    everything: bool,
    suspects: Suspects,
    aliases: HashMap<PathBuf, Vec<PathBuf>>,
    left_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrived {
    Something,
    Nothing,
}

impl Pending {
    fn note(&mut self, event: Event) -> Arrived {
        // Before anything else: an overflow carries no path, and an unknown kind.
        if event.need_rescan() {
            return self.lost();
        }
        match event.kind {
            // Our own opening and closing of files makes these.
            EventKind::Access(_) => return Arrived::Nothing,
            EventKind::Modify(ModifyKind::Data(_)) => {
                if !self.everything {
                    self.grown.extend(event.paths);
                }
                if self.grown.len() > MAX_NAMES {
                    self.grown.clear();
                    self.everything = true;
                }
            }
            // A name that went may be that of a watched directory.
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                self.names = true;
                self.note_renamed(event.kind, &event.paths);
                self.suspect(event.paths);
            }
            // Permissions may have been granted.
            EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Any | ModifyKind::Other)
            | EventKind::Create(_)
            | EventKind::Any
            | EventKind::Other => self.names = true,
        }
        Arrived::Something
    }

    /// What was renamed from one watched directory to another, or within one, has both of its names in one event.
    fn note_renamed(&mut self, kind: EventKind, paths: &[PathBuf]) {
        if let (EventKind::Modify(ModifyKind::Name(RenameMode::Both)), [from, to]) = (kind, paths)
            && self.renamed.len() < MAX_RENAMED
        {
            self.renamed.push([from.clone(), to.clone()]);
        }
    }

    fn lost(&mut self) -> Arrived {
        self.everything = true;
        self.grown.clear();
        self.suspects = Suspects::All;
        Arrived::Something
    }

    fn suspect(&mut self, paths: Vec<PathBuf>) {
        if let Suspects::Some(suspects) = &mut self.suspects {
            suspects.extend(paths);
            if suspects.len() > MAX_NAMES {
                self.suspects = Suspects::All;
            }
        }
    }

    fn take_renamed(&mut self) -> Vec<Hint> {
        let mut hints = Vec::with_capacity(self.renamed.len());
        for [from, to] in mem::take(&mut self.renamed) {
            let in_alias = |path: &Path, alias: &Path| Some(Arc::from(alias.join(path.file_name()?)));
            let aliases = from.parent().and_then(|directory| self.aliases.get(directory));
            let is_beside = from.parent() == to.parent();
            for alias in aliases.into_iter().flatten() {
                let to = if is_beside { in_alias(&to, alias) } else { Some(Arc::from(&*to)) };
                if let (Some(from), Some(to)) = (in_alias(&from, alias), to) {
                    hints.push(Hint::Renamed(Renamed { from, to }));
                }
            }
            hints.push(Hint::Renamed(Renamed { from: from.into(), to: to.into() }));
        }
        hints
    }

    fn take_hints(&mut self) -> Vec<Hint> {
        let grown = mem::take(&mut self.grown);
        let names = mem::take(&mut self.names);
        let mut hints = self.take_renamed();
        if mem::take(&mut self.everything) {
            hints.push(Hint::Everything);
            return hints;
        }
        hints.reserve(grown.len() + 1);
        for path in grown {
            if let (Some(directory), Some(name)) = (path.parent(), path.file_name())
                && let Some(aliases) = self.aliases.get(directory)
            {
                hints.extend(aliases.iter().map(|alias| Hint::Grown(Arc::from(alias.join(name)))));
            }
            hints.push(Hint::Grown(Arc::from(path)));
        }
        if names {
            hints.push(Hint::Names);
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag, MetadataKind, RemoveKind};

    use super::*;

    fn event(kind: EventKind, path: &str) -> notify::Result<Event> {
        Ok(Event::new(kind).add_path(path.into()))
    }

    fn data(path: &str) -> notify::Result<Event> {
        event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), path)
    }

    fn overflow() -> notify::Result<Event> {
        Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))
    }

    fn grown(path: &str) -> Hint {
        Hint::Grown(Arc::from(PathBuf::from(path)))
    }

    #[test]
    fn each_kind_of_event_has_its_hint() {
        let path = "/log/a";
        for (kind, expected) in [
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), vec![grown(path)]),
            (EventKind::Create(CreateKind::File), vec![Hint::Names]),
            (EventKind::Remove(RemoveKind::File), vec![Hint::Names]),
            (EventKind::Modify(ModifyKind::Name(RenameMode::From)), vec![Hint::Names]),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), vec![Hint::Names]),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), vec![Hint::Names]),
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), vec![]),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), vec![]),
        ] {
            let mailbox = Mailbox::default();
            mailbox.put(event(kind, path));
            assert_eq!(mailbox.take_hints(), expected, "{kind:?}");
            assert_eq!(mailbox.take_hints(), [], "{kind:?}, taken");
        }
    }

    #[test]
    fn a_renaming_is_told_with_both_names_under_each_path_and_before_that_names_changed() {
        let mailbox = Mailbox::default();
        let renamed = |from: &str, to: &str| {
            Ok(Event::new(EventKind::Modify(ModifyKind::Name(RenameMode::Both)))
                .add_path(from.into())
                .add_path(to.into()))
        };
        let hint = |from: &str, to: &str| {
            Hint::Renamed(Renamed { from: Path::new(from).into(), to: Path::new(to).into() })
        };
        mailbox.set_aliases(HashMap::from([("/var/log".into(), vec!["/logs".into()])]));
        mailbox.put(renamed("/var/log/a", "/var/log/b"));
        mailbox.put(renamed("/var/log/c", "/old/c"));
        mailbox.put(renamed("/log/d", "/log/e"));
        let expected = [
            hint("/logs/a", "/logs/b"),
            hint("/var/log/a", "/var/log/b"),
            hint("/logs/c", "/old/c"),
            hint("/var/log/c", "/old/c"),
            hint("/log/d", "/log/e"),
            Hint::Names,
        ];
        assert_eq!(mailbox.take_hints(), expected);
        // Where events were lost, those that were not are told all the same.
        mailbox.put(renamed("/log/d", "/log/e"));
        mailbox.put(overflow());
        assert_eq!(mailbox.take_hints(), [hint("/log/d", "/log/e"), Hint::Everything]);
        for _ in 0..=MAX_RENAMED {
            mailbox.put(renamed("/log/d", "/log/e"));
        }
        assert_eq!(mailbox.take_hints().len(), MAX_RENAMED + 1);
    }

    #[test]
    fn a_busy_file_is_one_hint() {
        let mailbox = Mailbox::default();
        for _ in 0..MAX_NAMES * 2 {
            mailbox.put(data("/log/a"));
        }
        mailbox.put(event(EventKind::Create(CreateKind::File), "/log/b"));
        mailbox.put(event(EventKind::Create(CreateKind::File), "/log/c"));
        assert_eq!(mailbox.take_hints(), [grown("/log/a"), Hint::Names]);
    }

    /// Otherwise this would take an hour.
    #[test]
    fn who_is_waited_for_does_not_rest_and_nobody_rests_for_what_is_over() {
        let mailbox = Mailbox::default();
        mailbox.leave(Some(Instant::now() + std::time::Duration::from_secs(3600)));
        mailbox.hurry(true);
        mailbox.put(data("/log/a"));
        mailbox.hurry(false);
        mailbox.put(event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/log/a"));
        mailbox.leave(Some(Instant::now()));
        mailbox.put(data("/log/b"));
        mailbox.leave(None);
        mailbox.put(data("/log/c"));
        assert_eq!(mailbox.take_hints().len(), 3);
    }

    #[test]
    fn an_overflow_says_everything_and_makes_every_watch_suspect() {
        for fault in [overflow(), Err(notify::Error::generic("read"))] {
            let mailbox = Mailbox::default();
            mailbox.put(data("/log/a"));
            mailbox.put(fault);
            mailbox.put(data("/log/b"));
            assert_eq!(mailbox.take_hints(), [Hint::Everything]);
            assert_eq!(mailbox.take_suspects(), Suspects::All);
            mailbox.put(data("/log/b"));
            assert_eq!(mailbox.take_hints(), [grown("/log/b")]);
        }
    }

    #[test]
    fn too_many_names_become_everything() {
        let mailbox = Mailbox::default();
        for file in 0..MAX_NAMES {
            mailbox.put(data(&format!("/log/{file}")));
        }
        assert_eq!(mailbox.take_hints().len(), MAX_NAMES);
        for file in 0..=MAX_NAMES {
            mailbox.put(data(&format!("/log/{file}")));
        }
        assert_eq!(mailbox.take_hints(), [Hint::Everything]);
    }

    #[test]
    fn names_that_went_are_suspects_and_too_many_make_all_suspect() {
        let mailbox = Mailbox::default();
        mailbox.put(event(EventKind::Remove(RemoveKind::Folder), "/log/a"));
        mailbox.put(event(EventKind::Modify(ModifyKind::Name(RenameMode::From)), "/log/b"));
        mailbox.put(event(EventKind::Create(CreateKind::Folder), "/log/c"));
        let expected = HashSet::from(["/log/a", "/log/b"].map(PathBuf::from));
        assert_eq!(mailbox.take_suspects(), Suspects::Some(expected));
        for file in 0..=MAX_NAMES {
            mailbox.put(event(EventKind::Remove(RemoveKind::File), &format!("/log/{file}")));
        }
        assert_eq!(mailbox.take_suspects(), Suspects::All);
        assert_eq!(mailbox.take_suspects(), Suspects::default());
    }

    #[test]
    fn what_grows_in_a_directory_with_two_paths_is_told_under_both() {
        let mailbox = Mailbox::default();
        mailbox.set_aliases(HashMap::from([("/var/log".into(), vec!["/logs".into()])]));
        mailbox.put(data("/var/log/a"));
        mailbox.put(data("/var/logs/a"));
        let mut hints = mailbox.take_hints();
        hints.sort_by_key(|hint| format!("{hint:?}"));
        assert_eq!(hints, [grown("/logs/a"), grown("/var/log/a"), grown("/var/logs/a")]);
    }
}
