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

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Fingerprint, HEAD_BYTES, Identity, Incarnation};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::history::{Head, History};
use crate::rules::rotation::{is_younger, originals};

use super::Engine;
use super::life::Afterwards;
use super::port::{Observed, Opened, Read, TailId};
use super::report::{Loss, Report, Rotation, Start};
use super::tail::{Name, Phase, Tail};

/// How long a file that begins like another is held back since it last grew: a rotator cuts off as soon as it has
/// copied.
const HELD_BACK: Duration = Duration::from_secs(5);

/// The same in all, for one that goes on growing: a copy of some GiB is made in less.
const HELD_BACK_AT_MOST: Duration = Duration::from_secs(60);

/// How long a copy is looked for after its original was cut off.
const SOUGHT: Duration = Duration::from_secs(10);

/// How many files without a source are compared for each that was cut off: the youngest.
const MOST_COMPARED: usize = 3;

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
    /// What the database holds, when the incarnation is not among the lives.
    stored: Option<Checkpoint>,
    /// What becomes of that when no copy is found.
    afterwards: Afterwards,
}

impl Engine {
    /// The file of an incarnation has other content: its copy is looked for, unless nothing was read of it.
    pub(super) fn cut_off(&mut self, incarnation: Incarnation, unread: u64, now: Instant) {
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
            stored: None,
            afterwards: Afterwards::Forgotten,
        };
        self.look_for_copy(incarnation, cut_off);
        self.detach(incarnation, Afterwards::Forgotten, now);
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
            stored: Some(stored.clone()),
            afterwards,
        };
        self.look_for_copy(stored.incarnation, cut_off);
    }

    fn look_for_copy(&mut self, incarnation: Incarnation, cut_off: CutOff) {
        if cut_off.fingerprint.is_empty() || cut_off.position == Offset::ZERO {
            return self.lose(incarnation, cut_off);
        }
        self.restless = true;
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
        if cut_off.unread > 0 {
            let CutOff { source, path, position, unread, .. } = cut_off;
            self.abandon(source, path, position, unread, Loss::Truncated);
        }
        if cut_off.stored.is_some() && cut_off.afterwards == Afterwards::Forgotten {
            self.forgotten.insert(incarnation);
        }
    }

    /// The first bytes of a file that nothing is known of; whether it waits for what becomes of another.
    pub(super) fn is_held_back(&mut self, id: TailId, own: Incarnation, bytes: &Bytes, now: Instant) -> bool {
        let tail = &self.tails[&id];
        if !tail.is_new || bytes.is_empty() {
            return false;
        }
        let stream = self.settings.sources[tail.source.0].stream;
        let (path, identity) = (Arc::clone(&tail.path), tail.identity);
        let names: Vec<_> = originals(&path).collect();
        let cut_off = self.cut_off.iter().find(|(_, cut_off)| {
            cut_off.stream == stream
                && names.iter().any(|name| *name == *cut_off.path)
                && cut_off.fingerprint.matches(bytes)
                && is_younger(identity, cut_off.identity)
        });
        let cut_off = cut_off.map(|(of, _)| *of);
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
            self.restless = true;
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

    fn compare(&mut self, id: TailId, own: Option<Incarnation>, of: Incarnation) {
        let tail = self.tails.get_mut(&id).expect("a tail is compared while it is kept");
        tail.phase = Phase::Comparing { own, of };
        self.wake(id);
    }

    /// The bytes that must be those before the position of its original.
    pub(super) fn read_to_compare(&self, id: TailId, of: Incarnation) -> Read {
        let history = self.history_of(of);
        let overlap = history.as_ref().map_or(0, History::overlap);
        let position = history.map_or(Offset::ZERO, |history| history.position());
        Read { tail: id, at: position.minus(overlap as u64), len: overlap }
    }

    /// `None` once it is no longer looked for.
    fn history_of(&self, of: Incarnation) -> Option<History> {
        let cut_off = self.cut_off.get(&of)?;
        Some(match &cut_off.stored {
            Some(stored) => History::resumed(stored.offset, stored.window),
            None => self.lives[&of].history.clone(),
        })
    }

    /// Whether the file is the copy of `of`, now that the bytes are there.
    pub(super) fn on_compared(
        &mut self,
        id: TailId,
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

    fn inherit(&mut self, id: TailId, own: Option<Incarnation>, of: Incarnation, now: Instant) {
        let cut_off = self.cut_off.remove(&of).expect("just compared with it");
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
            self.begin_life(id, of, history, Head::of(&head[..vouched]), Some(stored.offset));
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
        beside: impl Iterator<Item = &'a Observed> + Clone,
        hidden: &[Arc<Path>],
        now: Instant,
    ) {
        let sought = self.cut_off.values().filter(|cut_off| self.surveys.has_looked_beside(&cut_off.path));
        let mut candidates = Vec::new();
        for cut_off in sought {
            let stream = &*self.settings.streams[cut_off.stream.0].name;
            let may_be = |file: &&Observed| {
                file.size >= cut_off.position.bytes()
                    && file.identity != cut_off.identity
                    && is_younger(file.identity, cut_off.identity)
                    && originals(&file.path).any(|name| name == *cut_off.path)
                    && !self.by_file.contains_key(&(cut_off.source, file.identity))
                    // It has a place of its own to go on from.
                    && self.stored.of(file.identity, stream).next().is_none()
            };
            let mut files: Vec<_> = beside.clone().filter(may_be).collect();
            files.sort_by_key(|file| std::cmp::Reverse(file.identity.birth_nanos));
            files.truncate(MOST_COMPARED);
            candidates.extend(files.into_iter().map(|file| (cut_off.source, file)));
        }
        let directory = |cut_off: &CutOff| cut_off.path.parent().map(Arc::<Path>::from);
        let again = self
            .cut_off
            .values()
            .filter(|cut_off| directory(cut_off).is_some_and(|directory| hidden.contains(&directory)));
        for path in again.map(|cut_off| Arc::clone(&cut_off.path)).collect::<Vec<_>>() {
            self.surveys.seek_beside(&path);
        }
        for (source, file) in candidates {
            if !self.by_file.contains_key(&(source, file.identity)) {
                let id = self.open(source, file, Name::Lost, false, now);
                self.tails.get_mut(&id).expect("just begun").only_as_copy = true;
            }
        }
    }

    /// Such a file is open.
    pub(super) fn on_candidate_opened(&mut self, id: TailId, opened: &Opened) {
        let tail = &self.tails[&id];
        let stream = self.settings.sources[tail.source.0].stream;
        let names: Vec<_> = originals(&tail.path).collect();
        let of = self.cut_off.iter().find(|(_, cut_off)| {
            cut_off.stream == stream
                && cut_off.fingerprint.matches(&opened.head)
                && names.iter().any(|name| *name == *cut_off.path)
        });
        match of.map(|(of, _)| *of) {
            Some(of) => {
                self.tails.get_mut(&id).expect("just opened").head = opened.head.clone();
                self.compare(id, None, of);
            }
            None => self.drop_tail(id),
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
        let over = |cut_off: &CutOff| now.since(cut_off.since) >= SOUGHT;
        let given_up: Vec<_> =
            self.cut_off.iter().filter(|(_, cut_off)| over(cut_off)).map(|(of, _)| *of).collect();
        for of in given_up {
            let compared = |tail: &Tail| {
                tail.only_as_copy || matches!(tail.phase, Phase::Comparing { of: other, .. } if other == of)
            };
            if self.tails.values().any(compared) {
                continue;
            }
            let cut_off = self.cut_off.remove(&of).expect("just seen");
            self.lose(of, cut_off);
            self.forget_if_over(of, now);
            self.pace.changed(0, now);
        }
        any || !self.cut_off.is_empty()
    }
}
