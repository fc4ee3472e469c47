//! `standpipe dead-letters`: the records that the service would not take, to look at, keep elsewhere, send again or
//! drop.
//!
//! Knows how they are shown, and that one leaves the state only when it was accepted or its loss is asked for.
//! Reading may go on beside a daemon; changing is for when none runs.

#![expect(clippy::disallowed_methods, reason = "sends again at its own pace")]

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::sync::Arc;
use std::time::Instant as Clock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config::{Config, Overrides};
use crate::model::operation::Operation;
use crate::model::settings::{Encryption, StreamSettings};
use crate::model::time::Instant;
use crate::model::verdict::{Encrypted, Retry, RetryReason, Verdict};
use crate::rules::quota::{Admission, Cost, Payment, Quota};
use crate::rules::retry::Backoff;
use crate::shell::control::{self, Answer, Request};
use crate::shell::firehose::Destination;
use crate::shell::store::{DeadLetterId, Reader, Store, StoredDeadLetter, Wanted};

use super::state::{Holder, StateArgs, refuse, time};
use super::table::{plain, table};
use super::{CONFIGURATION, DONE, FAILED, configure, fail, runtime};

/// How many are in memory at a time, and deleted together: each may hold 1,000 KiB.
const PAGE: usize = 16;

/// How often one is sent before the service counts as out of reach.
const TRIES: u32 = 8;

/// Shows, exports, sends again or drops the records that the service refused
#[derive(Args, Clone, Debug)]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum DeadLettersCommand {
    /// Shows them without their data; may run beside a daemon
    List {
        /// As JSON: an array with an object for each
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Writes them to standard output as lines of JSON, data in base64; may run beside a daemon
    Export {
        #[command(flatten)]
        which: Which,
    },
    /// Sends them again, and deletes those that are accepted; refuses while a daemon runs
    ///
    /// Streams are reached as the configuration says. Exits 1 when some were not accepted; those are kept.
    Replay {
        #[command(flatten)]
        which: Which,
    },
    /// Deletes them, and with them their data; a daemon that runs does it
    Purge {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args, Clone, Debug)]
struct Which {
    /// Only those of this stream
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    #[command(flatten)]
    state: StateArgs,
}

impl Which {
    /// What a daemon is asked for first.
    fn pages(&self) -> control::Pages {
        control::Pages { stream: self.stream.clone(), ..control::Pages::default() }
    }
}

pub(super) fn dead_letters(args: &DeadLettersArgs) -> u8 {
    let done = match &args.command {
        DeadLettersCommand::List { json, which } => list(*json, which),
        DeadLettersCommand::Export { which } => export(which),
        DeadLettersCommand::Replay { which } => replay(which),
        DeadLettersCommand::Purge { which } => purge(which),
    };
    done.map_or_else(|code| code, |()| DONE)
}

/// Those that are meant, a page at a time.
struct Pages<'a> {
    reader: &'a Reader,
    stream: Option<&'a str>,
    after: DeadLetterId,
}

impl<'a> Pages<'a> {
    fn new(reader: &'a Reader, which: &'a Which) -> Self {
        Self { reader, stream: which.stream.as_deref(), after: DeadLetterId::default() }
    }

    /// The next page, which may be empty though others follow; `None` behind the last.
    fn next(&mut self) -> Result<Option<Vec<StoredDeadLetter>>, u8> {
        let mut page = self.reader.dead_letters(self.after, PAGE).map_err(|error| refuse(&error))?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = last.id;
        page.retain(|stored| self.stream.is_none_or(|stream| *stored.letter.stream == *stream));
        Ok(Some(page))
    }
}

fn list(json: bool, which: &Which) -> Result<(), u8> {
    let reader = which.state.read()?;
    let mut pages = Pages::new(&reader, which);
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    rows.push(
        ["time", "stream", "source", "bytes", "code", "file", "offset", "message"]
            .map(str::to_owned)
            .to_vec(),
    );
    while let Some(page) = pages.next()? {
        for stored in page {
            let letter = &stored.letter;
            if json {
                let mut value = said(&stored);
                value["bytes"] = json!(letter.data.len());
                values.push(value);
            } else {
                rows.push(vec![
                    time(stored.time_ms),
                    plain(&letter.stream),
                    plain(&letter.source),
                    letter.data.len().to_string(),
                    plain(&letter.code),
                    plain(&letter.path.to_string_lossy()),
                    letter.offset.to_string(),
                    plain(&letter.message),
                ]);
            }
        }
    }
    let text = if json { format!("{:#}\n", Value::from(values)) } else { table(&rows) };
    // Nobody may be reading.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn export(which: &Which) -> Result<(), u8> {
    let reader = which.state.read()?;
    let mut pages = Pages::new(&reader, which);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = || -> Result<io::Result<()>, u8> {
        while let Some(page) = pages.next()? {
            for stored in page {
                let mut value = said(&stored);
                value["data"] = json!(BASE64.encode(&stored.letter.data));
                if let Err(error) = writeln!(out, "{value}") {
                    return Ok(Err(error));
                }
            }
        }
        Ok(out.flush())
    };
    // Half an export must not look like a whole one.
    write()?.map_err(|error| fail(&error))
}

fn said(stored: &StoredDeadLetter) -> Value {
    let letter = &stored.letter;
    json!({
        "time": time(stored.time_ms),
        "stream": &*letter.stream,
        "source": &*letter.source,
        "file": letter.path.to_string_lossy(),
        "offset": letter.offset.bytes(),
        "code": &*letter.code,
        "message": &*letter.message,
    })
}

fn purge(which: &Which) -> Result<(), u8> {
    let (count, bytes) = match which.state.hold()? {
        Holder::Own(own) => purge_alone(own.0, which)?,
        Holder::Daemon(daemon) => {
            let (mut count, mut bytes) = (0, 0);
            let mut next = Some(which.pages());
            while let Some(pages) = next {
                let Answer::Page(page) = daemon.ask(&Request::Purge(pages))? else {
                    return Err(daemon.confused());
                };
                count += page.deleted;
                bytes += page.bytes;
                next = page.next;
            }
            (count, bytes)
        }
    };
    eprintln!("standpipe: {count} dead letters with {bytes} bytes deleted");
    Ok(())
}

/// Deletes dead letters of a state that no daemon holds. Returns how many, and how many bytes of data.
fn purge_alone(mut store: Store, which: &Which) -> Result<(u64, u64), u8> {
    let (mut count, mut bytes) = (0, 0);
    let mut next = Some(Wanted { stream: which.stream.as_deref().map(Arc::from), ..Wanted::default() });
    while let Some(wanted) = next {
        let page = store.purge(&wanted).map_err(|error| refuse(&error))?;
        count += page.count as u64;
        bytes += page.bytes;
        next = page.next;
    }
    Ok((count, bytes))
}

fn delete(store: &mut Store, page: &[StoredDeadLetter]) -> Result<(), u8> {
    if page.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = page.iter().map(|stored| stored.id).collect();
    store.delete_dead_letters(&ids).map(drop).map_err(|error| refuse(&error))
}

fn replay(which: &Which) -> Result<(), u8> {
    let config = configure(which.state.config.as_ref(), &Overrides::default())?;
    let (mut store, reader) = match which.state.hold()? {
        Holder::Own(own) => *own,
        Holder::Daemon(daemon) => {
            return Err(daemon.ask(&Request::Replay(which.pages())).map_or_else(|code| code, |_| FAILED));
        }
    };
    let runtime = runtime().map_err(|error| fail(&error))?;
    let (sent, kept) = runtime.block_on(send_again(&config, &mut store, &reader, which))?;
    eprintln!("standpipe: {sent} dead letters sent again and accepted, {kept} kept");
    store.shrink().map_err(|error| refuse(&error))?;
    if kept > 0 { Err(FAILED) } else { Ok(()) }
}

async fn send_again(
    config: &Config,
    store: &mut Store,
    reader: &Reader,
    which: &Which,
) -> Result<(usize, usize), u8> {
    let mut ways: BTreeMap<Arc<str>, Way> = BTreeMap::new();
    for (stream, settings) in config.streams.iter().zip(&config.settings.streams) {
        if which.stream.as_deref().is_none_or(|only| *stream.name == *only) {
            let destination = Destination::connect(stream, None).await;
            let way = Way::try_new(destination, settings).map_err(|error| fail(&error))?;
            ways.insert(Arc::clone(&stream.name), way);
        }
    }
    let mut pages = Pages::new(reader, which);
    let (mut sent, mut kept) = (0, 0);
    while let Some(page) = pages.next()? {
        let mut accepted = Vec::with_capacity(page.len());
        for stored in page {
            let letter = &stored.letter;
            let Some(way) = ways.get_mut(&letter.stream) else {
                eprintln!(
                    "standpipe: {}: no source of the configuration ships to this stream",
                    letter.stream
                );
                return Err(CONFIGURATION);
            };
            match way.put(&letter.data).await {
                Ok(true) => accepted.push(stored),
                Ok(false) => kept += 1,
                Err(why) => {
                    delete(store, &accepted)?;
                    sent += accepted.len();
                    eprintln!(
                        "standpipe: {}: {}: {}: {sent} dead letters sent again and accepted, all others kept",
                        letter.stream, why.code, why.message
                    );
                    return Err(FAILED);
                }
            }
        }
        delete(store, &accepted)?;
        sent += accepted.len();
    }
    Ok((sent, kept))
}

/// The way to one stream, below its quotas.
struct Way {
    destination: Destination,
    began: Clock,
    quota: Quota,
    backoff: Backoff,
    encryption: Encryption,
    /// Whether the service took a record without saying that it keeps it encrypted.
    is_plain: bool,
}

impl Way {
    fn try_new(
        destination: Destination,
        settings: &StreamSettings,
    ) -> Result<Self, crate::rules::retry::InvalidBackoff> {
        let backoff = Backoff::try_new(settings.retry)?;
        Ok(Self {
            destination,
            began: Clock::now(),
            quota: Quota::new(settings.quota, Instant::ZERO),
            backoff,
            encryption: settings.encryption,
            is_plain: false,
        })
    }

    /// Whether the record was accepted, and not refused again.
    async fn put(&mut self, data: &bytes::Bytes) -> Result<bool, Retry> {
        if self.is_plain && self.encryption == Encryption::Required {
            return Err(Retry::not_encrypted());
        }
        let cost = Cost::of_request(1, data.len());
        let mut failures = 0;
        loop {
            let mut payment = Payment::of(cost);
            while let Admission::NotBefore(at) = self.quota.admit(&mut payment, self.now()) {
                tokio::time::sleep(at.since(self.now())).await;
            }
            let sent_at = self.now();
            let outcome = self.destination.put(Operation::PutRecord, vec![data.clone()]).await;
            let verdict = outcome.verdicts.into_iter().next().expect("one verdict for each record");
            let why = match verdict {
                Verdict::Delivered { encrypted } => {
                    self.quota.answered(cost, 0.0, sent_at, self.now());
                    self.is_plain |= encrypted == Encrypted::No;
                    return Ok(true);
                }
                Verdict::Rejected { .. } => return Ok(false),
                Verdict::Retry(why) => why,
            };
            failures += 1;
            if why.reason == RetryReason::Setup || failures == TRIES {
                return Err(why);
            }
            if why.reason == RetryReason::Throttled {
                self.quota.answered(Cost::default(), 1.0, sent_at, self.now());
            }
            tokio::time::sleep(self.backoff.delay(failures, 1.0)).await;
        }
    }

    fn now(&self) -> Instant {
        Instant::at(self.began.elapsed())
    }
}
