//! Dead letters that are sent again where no daemon runs.
//!
//! The engine sends them, as in the daemon: several at a time, within the quota of each stream. Knows how to drive it with
//! nothing but letters.

#![expect(clippy::disallowed_methods, reason = "the driver is where the engine's time comes from")]

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant as Clock;

use tokio::task::JoinSet;

use crate::config::Config;
use crate::engine::port::{Effect, Event, Letter, LetterEnd, LetterId, RequestId};
use crate::engine::remaking::records_of;
use crate::engine::{Engine, Memory};
use crate::model::settings::{ByLane, Settings};
use crate::model::time::Instant;
use crate::model::verdict::Outcome;
use crate::shell::aws::Access;
use crate::shell::firehose::{Destination, Origin};
use crate::shell::store::{DeadLetterId, LettersPage, Store, StoredDeadLetter, Wanted};

use super::super::state::refuse;
use super::super::{FAILED, fail, signals};
use super::Counts;

/// Sends again what is meant, and tells what becomes of it.
pub(super) async fn alone(
    config: &Config,
    mut store: Store,
    (stream, raw): (Option<&str>, bool),
    told: &mut Counts,
) -> Result<(), u8> {
    // Streams that paths name are open only while a daemon runs.
    let of_letters = store.dead_letter_disk_bytes().map_err(|error| refuse(&error))?;
    let config = config.with_streams(of_letters.keys().map(|name| &**name));
    let mut driver = Driver::begin(&config, raw).await?;
    let mut next = Some(Wanted { stream: stream.map(Arc::from), ..Wanted::default() });
    while let Some(wanted) = next {
        let page = store.dead_letters(&wanted).map_err(|error| refuse(&error))?;
        next = page.next.clone();
        let mut page = driver.begin_page(page);
        while !page.is_done() {
            driver.go_on(&mut page).await;
            if page.accepted.len() >= DELETED_TOGETHER || page.is_done() {
                let accepted = std::mem::take(&mut page.accepted);
                store.delete_dead_letters(&accepted).map_err(|error| refuse(&error))?;
                told.add(accepted.len() as u64, 0, None);
            }
        }
        told.add(0, page.kept.len() as u64, page.kept);
        if driver.is_stopping {
            complain!("stopped: letters that were not sent are kept");
            return Err(FAILED);
        }
    }
    store.shrink().map_err(|error| refuse(&error))
}

/// So many are deleted together: if the command is killed, so many are sent once more at the most, and what is under way.
const DELETED_TOGETHER: usize = 16;

/// The letters of a page.
#[derive(Debug)]
struct Sending {
    /// The stream of each letter without an end.
    waiting: BTreeMap<DeadLetterId, Arc<str>>,
    /// Accepted, and not deleted yet.
    accepted: Vec<DeadLetterId>,
    /// Why letters are kept, one by one.
    kept: Vec<String>,
}

impl Sending {
    fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    fn end(&mut self, id: DeadLetterId, end: LetterEnd) {
        let Some(stream) = self.waiting.remove(&id) else { return };
        match end {
            LetterEnd::Accepted => self.accepted.push(id),
            LetterEnd::Kept(why) => self.kept.push(format!("{stream}: {}: {}", why.code, why.message)),
            LetterEnd::NotSent => self.kept.push(format!("{stream}: not sent")),
        }
    }
}

/// An engine without files, and the ways to its streams.
struct Driver {
    engine: Engine,
    /// Of the sources that there are; the engine has none, so that it follows no file.
    settings: Settings,
    /// Whether what no record was made of is sent as it was kept.
    raw: bool,
    began: Clock,
    destinations: ByLane<Destination>,
    under_way: JoinSet<(RequestId, Outcome)>,
    stop: Pin<Box<dyn Future<Output = ()>>>,
    is_stopping: bool,
}

impl Driver {
    async fn begin(config: &Config, raw: bool) -> Result<Self, u8> {
        let origin = Origin::Aws(Access::of_process());
        let destinations = config.by_lane(|lane| Destination::connect(lane, &origin));
        let mut settings = config.settings.clone();
        settings.sources.clear();
        let engine = Engine::try_new(settings, Memory::default(), fastrand::u64(..), Instant::ZERO);
        let engine = engine.map_err(|error| fail(&error))?;
        let stop = Box::pin(signals::stop().map_err(|error| fail(&error))?);
        let under_way = JoinSet::new();
        let (settings, raw) = (config.settings.clone(), raw);
        Ok(Self {
            engine,
            settings,
            raw,
            began: Clock::now(),
            destinations,
            under_way,
            stop,
            is_stopping: false,
        })
    }

    /// Takes in the letters of one page.
    fn begin_page(&mut self, page: LettersPage) -> Sending {
        let waiting = page.letters.iter().map(|stored| (stored.id, Arc::clone(&stored.letter.stream)));
        let mut sending = Sending { waiting: waiting.collect(), accepted: Vec::new(), kept: Vec::new() };
        let mut letters = Vec::with_capacity(page.letters.len());
        for StoredDeadLetter { id, letter, .. } in page.letters {
            let records = match self.raw {
                true => Ok(vec![letter.data.clone()]),
                false => records_of(&self.settings, &BTreeSet::new(), &letter),
            };
            match records {
                Ok(records) => letters.push(Letter { id: LetterId(id.0), stream: letter.stream, records }),
                Err(why) => {
                    sending.waiting.remove(&id);
                    sending.kept.push(format!("{}: {why}", letter.stream));
                }
            }
        }
        self.tell(Event::Replay(letters));
        sending
    }

    /// Sends what may be sent, and waits for something to happen unless every letter has its end.
    async fn go_on(&mut self, page: &mut Sending) {
        self.launch(page);
        if !page.is_done() {
            self.wait().await;
            self.launch(page);
        }
    }

    fn launch(&mut self, page: &mut Sending) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Put(put) => {
                    let destination = self.destinations[put.lane].clone();
                    self.under_way.spawn(async move {
                        (put.request, destination.put(put.operation, put.records, put.longer).await)
                    });
                }
                Effect::Replayed { letter, end } => page.end(DeadLetterId(letter.0), end),
                // There are no files, and nothing of them to be saved or told.
                Effect::Survey(_)
                | Effect::Open(_)
                | Effect::Read(_)
                | Effect::Compare(_)
                | Effect::Close(_)
                | Effect::Save(_)
                | Effect::Moved { .. }
                | Effect::Want(_)
                | Effect::Report(_) => {}
            }
        }
    }

    /// Waits until a request is answered, or another may leave.
    async fn wait(&mut self) {
        let now = self.now();
        let next = self.engine.next_deadline(now).map(|at| at.since(now));
        let pause = async {
            match next {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(answered) = self.under_way.join_next() => match answered {
                Ok((request, outcome)) => self.tell(Event::PutDone { request, outcome }),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            // What is under way is waited for: what was accepted has to be deleted.
            () = &mut self.stop, if !self.is_stopping => {
                self.is_stopping = true;
                self.tell(Event::Drain);
            }
            () = pause => self.tell(Event::Tick),
        }
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        self.engine.handle(event, now);
    }

    fn now(&self) -> Instant {
        Instant::at(self.began.elapsed())
    }
}
