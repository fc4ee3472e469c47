//! Hints from the kernel about where to look.
//!
//! Knows inotify's ways (through notify): which events mean that bytes came, that names changed, or that
//! events were lost, and where no event can be relied on. Does not know files, offsets or sources. The daemon
//! awaits [`Hints`], and gives [`Watch`] the directories of each survey.
//!
//! *Invariant:* what the kernel said is kept until it is taken, or becomes [`Hint::Everything`]; what is kept is
//! bounded.

mod mailbox;
mod refused;
mod trouble;

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::FileType;

use super::files::{Links, Look};
use crate::engine::port::{Hint, Watching};
use crate::model::identity::Identity;
use mailbox::{Mailbox, Suspects};
use refused::Refused;
use trouble::{Found, Trouble, Troubles};

/// Makes the two halves of a watch: the one that watches directories, of which there are none yet, and the one that
/// says what happened there.
pub fn start() -> (Watch, Hints) {
    let mailbox = Arc::new(Mailbox::default());
    let watch = Watch {
        mailbox: Arc::clone(&mailbox),
        inotify: Inotify::Missing,
        watched: BTreeMap::new(),
        refused: Refused::default(),
        troubles: Troubles::default(),
    };
    (watch, Hints { mailbox, are_left: false })
}

/// What the watched directories have to say: the asynchronous half.
#[derive(Debug)]
pub struct Hints {
    mailbox: Arc<Mailbox>,
    /// Whether hints are taken only when somebody says that there are some.
    are_left: bool,
}

impl Hints {
    /// Waits until there is something to look at that is not left, and takes all there is: each file once, names last, never
    /// nothing.
    ///
    /// Nothing is lost when it is dropped while it waits.
    pub async fn next(&mut self) -> Vec<Hint> {
        loop {
            if !self.are_left {
                let hints = self.mailbox.take_hints();
                if !hints.is_empty() {
                    return hints;
                }
            }
            self.mailbox.arrival().await;
            self.are_left = false;
        }
    }

    /// Until when hints are left where they are, if they are. What comes before then wakes nobody, and is told then.
    pub fn leave(&mut self, until: Option<Instant>) {
        self.are_left = until.is_some();
        self.mailbox.leave(until);
    }
}

/// Which directories are watched: the blocking half.
#[derive(Debug)]
pub struct Watch {
    mailbox: Arc<Mailbox>,
    inotify: Inotify,
    /// One path for each directory: inotify knows a directory once, whatever it is called.
    watched: BTreeMap<PathBuf, Identity>,
    refused: Refused,
    troubles: Troubles,
}

#[derive(Debug)]
enum Inotify {
    /// No watcher yet, or none could be made: tried again at the next update.
    Missing,
    Running(RecommendedWatcher),
    /// The watcher's thread does not run. Never tried again: each attempt would leave a descriptor behind.
    Dead,
}

/// Directories as they were a moment ago.
///
/// Directories are looked at apart from [`Watch::update`], because a look at one in a dead network file system never
/// ends, and must hold up the watch of no other.
#[derive(Debug, Default)]
pub struct Directories {
    found: BTreeMap<PathBuf, Directory>,
    /// Whether one was no directory any more, until that was told.
    has_vanished: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    identity: Identity,
    /// Why its changes do not all make events.
    trouble: Option<Trouble>,
}

impl Directories {
    /// Looks at these paths. Blocks.
    pub fn look_at(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut directories = Self::default();
        for path in paths {
            match Look::at(&path, Links::Follow) {
                Ok(look) if look.kind == FileType::Directory => {
                    let trouble = trouble::of_file_system(&path);
                    directories.found.insert(path, Directory { identity: look.identity, trouble });
                }
                Ok(_) | Err(_) => *directories.has_vanished.get_mut() = true,
            }
        }
        directories
    }

    /// The directories of several sources together. That a directory has vanished is taken over from the parts, so that
    /// it is told once.
    pub fn union(parts: &[Arc<Self>]) -> Self {
        let mut all = Self::default();
        for part in parts {
            *all.has_vanished.get_mut() |= part.has_vanished.swap(false, Ordering::Relaxed);
            all.found.extend(part.found.iter().map(|(path, directory)| (path.clone(), directory.clone())));
        }
        all
    }
}

impl Watch {
    /// Watches these directories, up to `most` of them: those that are watched already, and those that lie highest. Blocks, on
    /// nothing but directories that were not watched before.
    ///
    /// A watch that died, and one whose directory is another by now, are let go first: a directory that was
    /// removed and made anew is watched again. [`Hint::Names`] follows when a watch was added, because what
    /// happened there between the survey and now made no event.
    pub fn update(&mut self, directories: &Directories, most: usize) -> Watching {
        self.mailbox.hurry(true);
        let watching = self.bring_up_to_date(directories, most);
        self.mailbox.hurry(false);
        watching
    }

    fn bring_up_to_date(&mut self, directories: &Directories, most: usize) -> Watching {
        let mut found = Found::default();
        found.extend(self.connect().err());
        self.forget_suspects();

        let mut changed = directories.has_vanished.load(Ordering::Relaxed);
        let wanted = self.chosen(&directories.found, most);
        if wanted.len() < directories.found.len() {
            found.extend([Trouble::Many { most, of: directories.found.len() }]);
        }
        self.forget_where(|path, identity| {
            wanted.get(path).is_none_or(|directory| directory.identity != *identity)
        });

        let mut known: HashMap<Identity, PathBuf> =
            self.watched.iter().map(|(path, identity)| (*identity, path.clone())).collect();
        let mut aliases: HashMap<PathBuf, Vec<PathBuf>> = HashMap::new();
        let again = self.refused.take_turn();
        for (path, Directory { identity, trouble }) in wanted {
            found.extend(trouble.clone());
            match known.get(identity) {
                Some(watched) if watched == path => {}
                Some(watched) => aliases.entry(watched.clone()).or_default().push(path.to_owned()),
                None if found.stops_watching() => {}
                None => match self.refused.known(path, *identity, &again) {
                    Some(trouble) => found.extend([trouble]),
                    None => match self.add(path, *identity) {
                        Ok(()) => {
                            self.refused.forget(path);
                            known.insert(*identity, path.to_owned());
                            changed = true;
                        }
                        Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => changed = true,
                        Err(error) => found.extend([self.refused.note(path, *identity, error)]),
                    },
                },
            }
        }
        self.refused.retain(&directories.found);
        self.mailbox.set_aliases(aliases);
        if changed {
            self.mailbox.names_changed();
        }
        self.troubles.report(&found)
    }

    /// Up to `most` of these directories.
    fn chosen<'d>(
        &self,
        directories: &'d BTreeMap<PathBuf, Directory>,
        most: usize,
    ) -> BTreeMap<&'d Path, &'d Directory> {
        let all = directories.iter().map(|(path, directory)| (&**path, directory));
        if directories.len() <= most {
            return all.collect();
        }
        let mut all: Vec<_> = all.collect();
        all.sort_by_cached_key(|(path, directory)| {
            let is_watched = self.watched.get(*path) == Some(&directory.identity);
            (!is_watched, path.components().count())
        });
        all.truncate(most);
        all.into_iter().collect()
    }

    /// Makes the watcher if there is none.
    fn connect(&mut self) -> Result<(), Trouble> {
        let watcher = match mem::replace(&mut self.inotify, Inotify::Missing) {
            Inotify::Running(watcher) => Ok(watcher),
            Inotify::Missing => {
                let mailbox = Arc::clone(&self.mailbox);
                notify::recommended_watcher(move |event| mailbox.put(event))
            }
            Inotify::Dead => {
                self.inotify = Inotify::Dead;
                return Err(Trouble::Dead);
            }
        };
        let mut watcher = watcher.map_err(Trouble::of_inotify)?;
        // A question that the watcher's thread must answer. Without it, any other call would panic: so would the
        // watcher's own drop.
        if watcher.configure(Config::default()).is_err() {
            mem::forget(watcher);
            self.watched.clear();
            self.inotify = Inotify::Dead;
            return Err(Trouble::Dead);
        }
        self.inotify = Inotify::Running(watcher);
        Ok(())
    }

    fn add(&mut self, path: &Path, identity: Identity) -> notify::Result<()> {
        if let Inotify::Running(watcher) = &mut self.inotify {
            watcher.watch(path, RecursiveMode::NonRecursive)?;
            self.watched.insert(path.to_owned(), identity);
        }
        Ok(())
    }

    /// Lets go of what may have died with its directory, which inotify does not say and notify only in part.
    fn forget_suspects(&mut self) {
        match self.mailbox.take_suspects() {
            Suspects::All => self.forget_where(|_, _| true),
            Suspects::Some(paths) if paths.is_empty() => {}
            // When a directory goes, notify also drops its watches on what lies below.
            Suspects::Some(paths) => {
                self.forget_where(|path, _| path.ancestors().any(|above| paths.contains(above)));
            }
        }
    }

    fn forget_where(&mut self, over: impl Fn(&Path, &Identity) -> bool) {
        let inotify = &mut self.inotify;
        self.watched.retain(|path, identity| {
            let over = over(path, identity);
            if over && let Inotify::Running(watcher) = inotify {
                // It fails when the watch has died already.
                let _ = watcher.unwatch(path);
            }
            !over
        });
    }
}

#[cfg(test)]
mod tests;
