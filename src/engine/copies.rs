//! Copies that a rotator makes of a file before it cuts it off (copytruncate).
//!
//! What was cut off before it was read is in the copy, and what was delivered is not to be delivered again: the copy
//! goes on with the incarnation of its original. A new file that begins like a followed one, under a name that comes
//! from its, is held back for a moment: if the original is cut off, it is compared and may be the copy; if not, it
//! is a file like any other.
//!
//! - *alike*: begins like a file whose name its name comes from
//! - *cut off*: an incarnation whose file no longer has its content
//!
//! *Invariant:* only an incarnation that was cut off is inherited, and only by a file with the same beginning and the
//! same window before the position. In doubt a file is read from its beginning.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Fingerprint, HEAD_BYTES, Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::history::{Head, History};
use crate::rules::rotation::{is_younger, originals, uncompressed};

use super::Engine;
use super::life::Afterwards;
use super::port::{FileId, Observed, Opened, Read};
use super::report::{Loss, Report, Rotation, Start};
use super::tail::{Name, Phase, Tail};

/// How long a file that begins like another is held back since it last grew: a rotator cuts off as soon as it has
/// copied.
const HELD_BACK: Duration = Duration::from_secs(5);

/// The same in all, for one that goes on growing: a copy of some GiB is made in less.
const HELD_BACK_AT_MOST: Duration = Duration::from_secs(60);

/// How long a copy is looked for after its original was cut off.
const SOUGHT: Duration = Duration::from_secs(10);

/// The same when its directory cannot be looked into.
const SOUGHT_AT_MOST: Duration = Duration::from_secs(3600);

/// How many files without a source are compared for each that was cut off: the youngest.
const MAX_COMPARED: usize = 3;

/// An incarnation whose file no longer has its content.
#[derive(Debug)]
pub(super) struct CutOff {
    source: SourceId,
    stream: StreamId,
    path: Arc<Path>,
    identity: Identity,
    fingerprint: Fingerprint,
    position: Offset,
    /// What was seen of it beyond the position, in bytes.
    unread: u64,
    since: Instant,
    /// Whether its directory was looked into since.
    looked: bool,
    /// What the database holds, when the incarnation is not among the lives.
    stored: Option<Checkpoint>,
    /// What becomes of that when no copy is found.
    afterwards: Afterwards,
}

/// Those that are looked for, found by the names of their files: there may be as many as there are checkpoints.
#[derive(Debug, Default)]
pub(super) struct CutOffs {
    by_life: BTreeMap<Incarnation, CutOff>,
    by_path: HashMap<Arc<Path>, BTreeSet<Incarnation>>,
}

impl CutOffs {
    pub(super) fn contains(&self, of: Incarnation) -> bool {
        self.by_life.contains_key(&of)
    }

    pub(super) fn remove(&mut self, of: Incarnation) -> Option<CutOff> {
        let removed = self.by_life.remove(&of)?;
        if let Some(of_path) = self.by_path.get_mut(&removed.path) {
            of_path.remove(&of);
            if of_path.is_empty() {
                self.by_path.remove(&removed.path);
            }
        }
        Some(removed)
    }

    fn insert(&mut self, of: Incarnation, cut_off: CutOff) {
        self.by_path.entry(Arc::clone(&cut_off.path)).or_default().insert(of);
        self.by_life.insert(of, cut_off);
    }

    /// Those whose files had one of these names.
    fn at<'a>(&'a self, names: &'a [PathBuf]) -> impl Iterator<Item = (Incarnation, &'a CutOff)> {
        let of_names = names.iter().filter_map(|name| self.by_path.get(name.as_path())).flatten();
        of_names.map(|of| (*of, &self.by_life[of]))
    }
}

impl Engine {
    /// The file of an incarnation has other content: its copy is looked for, unless nothing was read of it.
    pub(super) fn cut_off(
        &mut self,
        incarnation: Incarnation,
        unread: u64,
        afterwards: Afterwards,
        now: Instant,
    ) {
        let life = &self.lives[&incarnation];
        let cut_off = CutOff {
            source: life.source,
            stream: life.stream,
            path: Arc::clone(&life.path),
            identity: life.identity,
            fingerprint: life.head.fingerprint(),
            position: life.position(),
            unread,
            since: now,
            looked: false,
            stored: None,
            afterwards,
        };
        self.look_for_copy(incarnation, cut_off);
        self.detach(incarnation, afterwards, now);
    }

    /// The same for one of which only the checkpoint is left: it was read before this process began, or its file was
    /// closed and is gone.
    pub(super) fn stored_cut_off(
        &mut self,
        stored: Checkpoint,
        source: SourceId,
        afterwards: Afterwards,
        now: Instant,
    ) {
        let cut_off = CutOff {
            source,
            stream: self.settings.sources[source.0].stream,
            path: Arc::clone(&stored.path),
            identity: stored.identity,
            fingerprint: stored.fingerprint,
            position: stored.offset,
            unread: 0,
            since: now,
            looked: false,
            stored: Some(stored.clone()),
            afterwards,
        };
        self.look_for_copy(stored.incarnation, cut_off);
    }

    fn look_for_copy(&mut self, incarnation: Incarnation, cut_off: CutOff) {
        if cut_off.fingerprint.is_empty() || cut_off.position == Offset::ZERO {
            return self.lose(incarnation, cut_off);
        }
        self.needs_tick = true;
        self.surveys.seek_beside(&cut_off.path);
        self.cut_off.insert(incarnation, cut_off);
        let alike = |phase: Phase| matches!(phase, Phase::Alike { of, .. } if of == incarnation);
        let held_back: Vec<_> =
            self.tails.iter().filter(|(_, tail)| alike(tail.phase)).map(|(id, _)| *id).collect();
        for id in held_back {
            let own = self.tails[&id].incarnation();
            self.compare(id, own, incarnation);
        }
    }

    /// There is no copy: what was not read is lost.
    fn lose(&mut self, incarnation: Incarnation, cut_off: CutOff) {
        let (source, path, at) = (cut_off.source, cut_off.path, cut_off.position);
        if cut_off.unread > 0 {
            self.abandon(source, path, at, cut_off.unread, Loss::Truncated);
        } else if cut_off.afterwards == Afterwards::Kept {
            self.report(Report::Gone { source, path, at });
        }
        if cut_off.stored.is_some() && cut_off.afterwards == Afterwards::Forgotten {
            self.forgotten.insert(incarnation);
        }
    }

    /// The first bytes of a file that nothing is known of; whether it waits for what becomes of another.
    pub(super) fn is_held_back(&mut self, id: FileId, own: Incarnation, bytes: &Bytes, now: Instant) -> bool {
        let tail = &self.tails[&id];
        if !tail.is_new || bytes.is_empty() {
            return false;
        }
        let stream = self.settings.sources[tail.source.0].stream;
        let (path, identity) = (Arc::clone(&tail.path), tail.identity);
        let names = originals(&path);
        let cut_off = self.cut_off.at(&names).find(|(_, cut_off)| {
            cut_off.stream == stream
                && cut_off.fingerprint.matches(bytes)
                && is_younger(identity, cut_off.identity)
        });
        let cut_off = cut_off.map(|(of, _)| of);
        // Whoever is to be done soon does not wait for what may become of a file.
        let alike = if cut_off.is_some() || self.finishing.is_some() {
            None
        } else {
            names.iter().find_map(|name| self.known_alike(name, stream, identity, bytes))
        };

        let tail = self.tails.get_mut(&id).expect("just seen");
        tail.is_new = false;
        if cut_off.is_none() && alike.is_none() {
            return false;
        }
        tail.head = bytes.slice(..bytes.len().min(HEAD_BYTES));
        if let Some(of) = cut_off {
            self.compare(id, Some(own), of);
        } else if let Some(of) = alike {
            tail.phase = Phase::Alike { own, of };
            (tail.quiet_since, tail.held_back_since) = (now, now);
            self.needs_tick = true;
        }
        true
    }

    /// A file of that name that is followed, or was before this process began, and begins like `bytes`.
    fn known_alike(
        &self,
        name: &Path,
        stream: StreamId,
        identity: Identity,
        bytes: &[u8],
    ) -> Option<Incarnation> {
        let is_alike = |other: Identity, fingerprint: Fingerprint| {
            other != identity
                && !fingerprint.is_empty()
                && fingerprint.matches(bytes)
                && is_younger(identity, other)
        };
        let followed = self.by_path.get(name).into_iter().flatten();
        let lives = followed.filter_map(|tail| self.lives.get(&self.tails[tail].incarnation()?));
        let mut lives = lives.filter(|life| {
            life.stream == stream
                && life.position() > Offset::ZERO
                && is_alike(life.identity, life.head.fingerprint())
        });
        let stream = &self.settings.streams[stream.0].name;
        let mut stored = self.stored.at(name).filter(|stored| {
            stored.stream == *stream
                && stored.offset > Offset::ZERO
                && is_alike(stored.identity, stored.fingerprint)
        });
        lives.next().map(|life| life.incarnation).or_else(|| stored.next().map(|stored| stored.incarnation))
    }

    fn compare(&mut self, id: FileId, own: Option<Incarnation>, of: Incarnation) {
        let tail = self.tails.get_mut(&id).expect("a tail is compared while it is kept");
        tail.phase = Phase::Comparing { own, of };
        self.wake(id);
    }

    /// The bytes that must be those before the position of its original.
    pub(super) fn read_to_compare(&self, id: FileId, of: Incarnation) -> Read {
        let history = self.history_of(of);
        let overlap = history.as_ref().map_or(0, History::overlap);
        let position = history.map_or(Offset::ZERO, |history| history.position());
        Read { tail: id, at: position.minus(overlap as u64), len: overlap }
    }

    /// `None` once it is no longer looked for.
    fn history_of(&self, of: Incarnation) -> Option<History> {
        let cut_off = self.cut_off.by_life.get(&of)?;
        Some(match &cut_off.stored {
            Some(stored) => History::resumed(stored.offset, stored.window),
            None => self.lives[&of].history.clone(),
        })
    }

    /// Whether the file is the copy of `of`, now that the bytes are there.
    pub(super) fn on_compared(
        &mut self,
        id: FileId,
        own: Option<Incarnation>,
        of: Incarnation,
        bytes: &[u8],
        now: Instant,
    ) {
        let history = self.history_of(of);
        if history.is_some_and(|history| history.overlap() > 0 && history.continues(bytes)) {
            return self.inherit(id, own, of, now);
        }
        match own {
            Some(own) => {
                let tail = self.tails.get_mut(&id).expect("a tail is compared while it is kept");
                tail.phase = Phase::Following(own);
                self.wake(id);
            }
            // It was opened for the comparison alone.
            None => self.drop_tail(id),
        }
    }

    fn inherit(&mut self, id: FileId, own: Option<Incarnation>, of: Incarnation, now: Instant) {
        let cut_off = self.cut_off.remove(of).expect("just compared with it");
        if let Some(own) = own {
            self.detach(own, Afterwards::Forgotten, now);
        }
        let tail = self.tails.get_mut(&id).expect("a tail is compared while it is kept");
        tail.phase = Phase::Following(of);
        tail.only_as_copy = false;
        tail.quiet_since = now;
        let head = std::mem::take(&mut tail.head);
        let (source, path, identity, size) = (tail.source, Arc::clone(&tail.path), tail.identity, tail.size);
        if let Some(stored) = cut_off.stored {
            self.stored.remove(of);
            self.closed.retain(|closed| *closed != of);
            let read = usize::try_from(stored.offset.bytes()).unwrap_or(usize::MAX);
            let vouched = head.len().min(usize::from(stored.fingerprint.len()).max(read));
            let history = History::resumed(stored.offset, stored.window);
            self.begin_life(id, of, history, Head::of(&head[..vouched]), Some(&stored));
        } else {
            let life = self.lives.get_mut(&of).expect("it is kept while its copy is looked for");
            life.attached = true;
            (life.source, life.path, life.identity) = (source, Arc::clone(&path), identity);
            life.seen_bytes = life.position().bytes();
            self.changed.insert(of);
        }
        self.count_rotation(source, Rotation::Copied);
        self.report(Report::Copied { source, path: Arc::clone(&path), of: cut_off.path });
        self.report(Report::Following { source, path, at: cut_off.position, why: Start::Copy });
        self.note_seen(id, size, now);
        self.pace.changed(0, now);
        self.wake(id);
    }

    /// Opens files that no source shows and that may be the copies that are looked for.
    pub(super) fn open_candidates<'a>(
        &mut self,
        beside: impl Iterator<Item = &'a Observed>,
        hidden: &[Arc<Path>],
        now: Instant,
    ) {
        if self.cut_off.by_life.is_empty() {
            return;
        }
        let mut candidates: BTreeMap<Incarnation, Vec<&Observed>> = BTreeMap::new();
        for file in beside {
            let names = originals(&file.path);
            let is_compressed = uncompressed(&file.path).is_some();
            let may_be = |(_, cut_off): &(Incarnation, &CutOff)| {
                let stream = &*self.settings.streams[cut_off.stream.0].name;
                self.surveys.has_looked_beside(&cut_off.path)
                    && (is_compressed || file.size >= cut_off.position.bytes())
                    && file.identity != cut_off.identity
                    && is_younger(file.identity, cut_off.identity)
                    && !self.by_file.contains_key(&(cut_off.source, file.identity))
                    // It has a place of its own to go on from; without a birth time, its inode may just be used again.
                    && (file.identity.birth_nanos.is_none()
                        || self.stored.of(file.identity, stream).next().is_none())
            };
            for (of, _) in self.cut_off.at(&names).filter(may_be) {
                candidates.entry(of).or_default().push(file);
            }
        }
        for (of, mut files) in candidates {
            let source = self.cut_off.by_life[&of].source;
            files.sort_by_key(|file| std::cmp::Reverse(file.identity.birth_nanos));
            for file in files.into_iter().take(MAX_COMPARED) {
                if self.by_file.contains_key(&(source, file.identity)) {
                    continue;
                }
                let id = self.open(source, file, Name::Lost, false, now);
                let tail = self.tails.get_mut(&id).expect("just begun");
                tail.only_as_copy = true;
                tail.decompressed = uncompressed(&file.path).is_some();
            }
        }
        let mut again = Vec::new();
        for cut_off in self.cut_off.by_life.values_mut() {
            if !self.surveys.has_looked_beside(&cut_off.path) {
                continue;
            }
            if hidden.iter().any(|hidden| cut_off.path.starts_with(hidden)) {
                again.push(Arc::clone(&cut_off.path));
            } else {
                cut_off.looked = true;
            }
        }
        for path in again {
            self.surveys.seek_beside(&path);
        }
    }

    /// Such a file is open.
    pub(super) fn on_candidate_opened(&mut self, id: FileId, opened: &Opened, now: Instant) {
        let tail = &self.tails[&id];
        let stream = self.settings.sources[tail.source.0].stream;
        let names = originals(&tail.path);
        let decompressed = tail.decompressed;
        let name = &*self.settings.streams[stream.0].name;
        let is_of = |stored: &Checkpoint| stored.fingerprint.matches(&opened.head);
        let has_own_place = !decompressed && self.stored.of(opened.identity, name).any(is_of);
        if has_own_place {
            return self.drop_tail(id);
        }
        let fitting = self.cut_off.at(&names).find(|(_, cut_off)| {
            cut_off.stream == stream
                && cut_off.fingerprint.matches(&opened.head)
                && is_younger(opened.identity, cut_off.identity)
        });
        match fitting.map(|(of, cut_off)| (of, cut_off.position)) {
            // All of it was delivered before it was compressed, and decompressing it would only tell the same.
            Some((of, position)) if decompressed && opened.size == position.bytes() => {
                self.drop_tail(id);
                self.resolve(of, now);
            }
            Some((of, _)) => {
                self.tails.get_mut(&id).expect("just opened").head = opened.head.clone();
                self.compare(id, None, of);
            }
            None => self.drop_tail(id),
        }
    }

    /// Nothing more is to be found of what was cut off.
    fn resolve(&mut self, of: Incarnation, now: Instant) {
        if let Some(cut_off) = self.cut_off.remove(of) {
            self.lose(of, cut_off);
            self.forget_if_over(of, now);
            self.pace.changed(0, now);
        }
    }

    /// Lets go what was held back long enough, and gives up what was looked for long enough; whether any is left.
    pub(super) fn look_after_copies(&mut self, now: Instant) -> bool {
        let held_back: BTreeMap<_, _> = self
            .tails
            .iter()
            .filter_map(|(id, tail)| match tail.phase {
                Phase::Alike { own, of } => Some((*id, (own, of))),
                _ => None,
            })
            .collect();
        let mut any = false;
        let mut originals = BTreeSet::new();
        for (id, (own, of)) in held_back {
            let tail = self.tails.get_mut(&id).expect("just seen");
            if std::mem::take(&mut tail.dirty) {
                // It grew.
                tail.quiet_since = now;
            }
            let over = now.since(tail.quiet_since) >= HELD_BACK
                || now.since(tail.held_back_since) >= HELD_BACK_AT_MOST
                || self.finishing.is_some();
            if over {
                tail.phase = Phase::Following(own);
                tail.head = Bytes::new();
                self.wake(id);
            } else {
                any = true;
                originals.insert(of);
            }
        }
        // Hints may be lost: only a look at the original says whether it was cut off.
        let awaited = |tail: &Tail| tail.incarnation().is_some_and(|life| originals.contains(&life));
        let awaited: Vec<_> =
            self.tails.iter().filter(|(_, tail)| any && awaited(tail)).map(|(id, _)| *id).collect();
        for id in awaited {
            self.wake(id);
        }
        let over = |cut_off: &CutOff| {
            now.since(cut_off.since) >= if cut_off.looked { SOUGHT } else { SOUGHT_AT_MOST }
        };
        let given_up: Vec<_> =
            self.cut_off.by_life.iter().filter(|(_, cut_off)| over(cut_off)).map(|(of, _)| *of).collect();
        let is_compared = |tail: &Tail| tail.only_as_copy || matches!(tail.phase, Phase::Comparing { .. });
        if !given_up.is_empty() && !self.tails.values().any(is_compared) {
            for of in given_up {
                self.resolve(of, now);
            }
        }
        any || !self.cut_off.by_life.is_empty()
    }
}
