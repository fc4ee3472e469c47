//! Dead letters that a command has the daemon send again: page by page, from the state to the engine and back.
//!
//! Knows which letters are on their way, and which were accepted and are not deleted yet. Does not know quotas or streams:
//! the engine sends. A command asks for one page after the other; what it has no patience for goes on without it.
//!
//! *Invariant:* a letter that is on its way, or was accepted, is not sent a second time; one that was accepted is deleted,
//! by this page or a later one.

#![expect(clippy::disallowed_methods, reason = "a command waits only so long")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use tokio::sync::oneshot;

use crate::engine::port::{Event, Letter, LetterEnd, LetterId};
use crate::model::checkpoint::DeadLetter;
use crate::shell::control::{Answer, Page, Pages};
use crate::shell::store::{DeadLetterId, Freed, LettersPage, StoreError};

use super::Daemon;
use super::control::{as_pages, as_wanted};
use super::state::Order;

/// How long letters of a page are begun to be sent.
const PAGE_TIME: Duration = Duration::from_secs(10);

/// How long a command waits for the answers to what was sent.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// How long until a deletion that failed is tried again.
const DELETE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How many reasons a page tells.
const MAX_REASONS: usize = 8;

/// The letters that are sent again.
#[derive(Debug, Default)]
pub(super) struct Replays {
    page: Option<UnderWay>,
    /// Whether the state is just asked for the letters of a page.
    is_reading: bool,
    /// Letters that the engine has: the stream of each, and how many bytes of data it has.
    on_their_way: BTreeMap<LetterId, (Arc<str>, u64)>,
    /// Letters that were accepted, and are not being deleted yet.
    accepted: Vec<DeadLetterId>,
    /// Letters that are just being deleted.
    deleting: Vec<DeadLetterId>,
    /// When to try again to delete what was accepted.
    delete_at: Option<Clock>,
}

/// The page of a command that waits.
#[derive(Debug)]
struct UnderWay {
    answer: oneshot::Sender<Answer>,
    asked: Pages,
    /// What comes behind the page; `None` behind the last.
    next: Option<Pages>,
    /// The last letter that the command is about.
    until: Option<i64>,
    /// Whether the letters of the page are known.
    is_read: bool,
    /// Letters of the page without an end.
    waiting: BTreeSet<LetterId>,
    deleted: u64,
    bytes: u64,
    /// Letters that were kept, and why.
    kept: BTreeMap<LetterId, String>,
    not_sent: BTreeSet<LetterId>,
    began: Clock,
    /// Whether no further letter of the page is begun.
    is_over: bool,
}

impl Replays {
    /// When something is to be done though nothing happens.
    pub(super) fn deadline(&self) -> Option<Clock> {
        let page = self.page.as_ref().filter(|page| !page.waiting.is_empty());
        let of_page = page.map(|page| page.began + if page.is_over { ANSWER_TIME } else { PAGE_TIME });
        of_page.into_iter().chain(self.delete_at).min()
    }

    /// Whether something that was accepted is not deleted yet.
    fn owes(&self) -> bool {
        !self.accepted.is_empty() || !self.deleting.is_empty()
    }

    fn is_taken(&self, id: DeadLetterId) -> bool {
        self.on_their_way.contains_key(&LetterId(id.0))
            || self.accepted.contains(&id)
            || self.deleting.contains(&id)
    }
}

impl Daemon {
    /// Begins to send a page of letters again.
    pub(super) fn replay(&mut self, asked: Pages, answer: oneshot::Sender<Answer>) {
        if self.replays.is_reading {
            let why = "the state directory does not answer an earlier command: look at its disk";
            let _ = answer.send(Answer::Failed(why.to_owned()));
            return;
        }
        self.replays.is_reading = true;
        self.tasks.order(Order::Letters(as_wanted(asked.clone())));
        self.replays.page = Some(UnderWay {
            answer,
            asked,
            next: None,
            until: None,
            is_read: false,
            waiting: BTreeSet::new(),
            deleted: 0,
            bytes: 0,
            kept: BTreeMap::new(),
            not_sent: BTreeSet::new(),
            began: Clock::now(),
            is_over: false,
        });
    }

    /// The letters of a page are there.
    pub(super) fn take_letters(&mut self, result: Result<LettersPage, StoreError>) {
        self.replays.is_reading = false;
        let found = match result {
            Ok(found) => found,
            Err(error) => return self.answer_replay(&format!("{error}: no further dead letter is sent")),
        };
        let Some(mut page) = self.replays.page.take() else { return };
        let raw = page.asked.raw;
        page.next = found.next.map(|next| Pages { raw, ..as_pages(next) });
        page.until = Some(found.until.0);
        page.is_read = true;
        let mut letters = Vec::with_capacity(found.letters.len());
        for stored in found.letters {
            let id = LetterId(stored.id.0);
            if self.replays.is_taken(stored.id) {
                let why = "on its way since an earlier command, or accepted and not deleted yet".to_owned();
                page.kept.insert(id, why);
                continue;
            }
            let DeadLetter { stream, data, .. } = &stored.letter;
            let records = if raw { Ok(vec![data.clone()]) } else { self.engine.records_of(&stored.letter) };
            let records = match records {
                Ok(records) => records,
                Err(why) => {
                    page.kept.insert(id, format!("{stream}: {why}"));
                    continue;
                }
            };
            let (stream, bytes) = (Arc::clone(stream), data.len() as u64);
            self.replays.on_their_way.insert(id, (Arc::clone(&stream), bytes));
            page.waiting.insert(id);
            letters.push(Letter { id, stream, records });
        }
        self.replays.page = Some(page);
        self.tell(Event::Replay(letters));
    }

    /// A letter has its end.
    pub(super) fn replayed(&mut self, letter: LetterId, end: LetterEnd) {
        let (stream, bytes) = self.replays.on_their_way.remove(&letter).unwrap_or_default();
        let page = self.replays.page.as_mut();
        let page = page.and_then(|page| page.waiting.remove(&letter).then_some(page));
        match end {
            LetterEnd::Accepted => {
                self.replays.accepted.push(DeadLetterId(letter.0));
                if let Some(page) = page {
                    page.deleted += 1;
                    page.bytes += bytes;
                }
            }
            LetterEnd::Kept(why) => {
                if let Some(page) = page {
                    page.kept.insert(letter, format!("{stream}: {}: {}", why.code, why.message));
                }
            }
            LetterEnd::NotSent => {
                if let Some(page) = page {
                    page.not_sent.insert(letter);
                }
            }
        }
    }

    /// Looks after the page that a command waits for, and deletes what was accepted; called in each turn of the loop.
    /// Returns whether the engine was told something.
    pub(super) fn tend_replays(&mut self) -> bool {
        let now = Clock::now();
        let mut has_told = false;
        if self.replays.delete_at.is_none_or(|at| at <= now) {
            self.delete_accepted();
        }
        if let Some(page) = self.replays.page.as_mut().filter(|page| !page.waiting.is_empty()) {
            let took = now.saturating_duration_since(page.began);
            if took >= ANSWER_TIME {
                for letter in std::mem::take(&mut page.waiting) {
                    let why = "no answer yet: it is deleted if it is accepted after all".to_owned();
                    page.kept.insert(letter, why);
                }
            } else if took >= PAGE_TIME && !page.is_over {
                page.is_over = true;
                has_told = true;
                self.tell(Event::StopReplay);
            }
        }
        self.end_page();
        has_told
    }

    /// Has everything deleted that was accepted.
    pub(super) fn delete_accepted(&mut self) {
        let replays = &mut self.replays;
        replays.delete_at = None;
        if replays.deleting.is_empty() && !replays.accepted.is_empty() {
            replays.deleting = std::mem::take(&mut replays.accepted);
            self.tasks.order(Order::Delete(replays.deleting.clone()));
        }
    }

    /// What was accepted is deleted, or stays until the state can be written.
    pub(super) fn deleted(&mut self, result: Result<Freed, StoreError>) {
        let ids = std::mem::take(&mut self.replays.deleting);
        match result {
            Ok(freed) => self.tell(Event::DeadLettersDeleted(freed)),
            Err(error) => {
                self.replays.accepted.extend(ids);
                self.replays.delete_at = Some(Clock::now() + DELETE_AGAIN_AFTER);
                let why = format!(
                    "{error}: dead letters that were accepted cannot be deleted yet; the daemon tries again, and sends \
                     them no second time while it runs"
                );
                self.answer_replay(&why);
            }
        }
    }

    /// Answers the command once all of its page has an end, and what was accepted is deleted.
    fn end_page(&mut self) {
        let owes = self.replays.owes();
        let is_done = |page: &mut UnderWay| page.waiting.is_empty() && !owes && page.is_read;
        let Some(page) = self.replays.page.take_if(is_done) else { return };
        let UnderWay { answer, asked, next, until, deleted, bytes, kept, not_sent, is_over, .. } = page;
        // From the first that nobody sent on, all is for the next page.
        let first = not_sent.first().copied();
        let next = match first {
            Some(first) => Some(Pages { after: first.0 - 1, until, ..asked }),
            None => next,
        };
        let kept: Vec<_> = kept.into_iter().filter(|(id, _)| first.is_none_or(|first| *id < first)).collect();
        let mut why: Vec<String> = Vec::new();
        for (_, reason) in &kept {
            if why.len() < MAX_REASONS && !why.contains(reason) {
                why.push(reason.clone());
            }
        }
        let answered = match first {
            Some(_) if !is_over => Answer::Failed(format!(
                "the daemon is stopping: {deleted} dead letters more were accepted, and all others are kept; try again when \
                 it is gone"
            )),
            Some(_) | None => Answer::Page(Page { deleted, bytes, kept: kept.len() as u64, why, next }),
        };
        let _ = answer.send(answered);
    }

    fn answer_replay(&mut self, why: &str) {
        if let Some(page) = self.replays.page.take() {
            let _ = page.answer.send(Answer::Failed(why.to_owned()));
        }
    }
}
