//! `standpipe dead-letters`: the records that the service would not take, to look at, keep elsewhere, send again or
//! drop.
//!
//! Knows how they are shown, and that one leaves the state only when it was accepted or its loss is asked for.
//! Reading may go on beside a daemon, and a daemon that runs is asked for changes.

mod replay;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config::Overrides;
use crate::model::text::{plain, plain_json, plain_path};
use crate::shell::control::{self, Answer, Request};
use crate::shell::store::{DeadLetterId, Reader, Store, StoredDeadLetter, Wanted};

use super::state::{Holder, StateArgs, refuse, time};
use super::table::table;
use super::{DONE, FAILED, configure, fail, runtime};

/// How many are in memory at a time: each may hold 1,000 KiB.
const PAGE: usize = 16;

/// How many different reasons are told why letters are kept.
const MAX_REASONS: usize = 20;

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
    /// Sends them again, and deletes those that are accepted; a daemon that runs does it, within its quota
    ///
    /// Streams are reached as the configuration says: the daemon's, where one runs. Exits 1 when some were not accepted;
    /// those are kept, and why is told. What was accepted is deleted, however the command ends.
    ///
    /// A record that the service refused is sent as it was. Of what was too long for one, records are made as its source
    /// says now: with what stands around it, split or shortened.
    Replay {
        #[command(flatten)]
        which: Which,
        /// Send all of them unchanged, whatever their sources say
        #[arg(long)]
        raw: bool,
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
        DeadLettersCommand::Replay { which, raw } => replay(which, *raw),
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
                    plain(&*letter.stream),
                    plain(&*letter.source),
                    letter.data.len().to_string(),
                    plain(&*letter.code),
                    plain_path(&letter.path),
                    letter.offset.to_string(),
                    plain(&*letter.message),
                ]);
            }
        }
    }
    let text = if json { plain_json(format!("{:#}\n", Value::from(values))) } else { table(&rows) };
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
                if let Err(error) = writeln!(out, "{}", plain_json(value.to_string())) {
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
    complain!("{count} dead letters with {bytes} bytes deleted");
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

fn replay(which: &Which, raw: bool) -> Result<(), u8> {
    let mut told = Counts::default();
    match which.state.hold()? {
        Holder::Own(own) => {
            let config = configure(which.state.config.as_ref(), &Overrides::default())?;
            let runtime = runtime().map_err(|error| fail(&error))?;
            let wanted = (which.stream.as_deref(), raw);
            let done = runtime.block_on(replay::alone(&config, own.0, wanted, &mut told));
            // What is under way is of no more interest.
            runtime.shutdown_background();
            done?;
        }
        Holder::Daemon(daemon) => {
            let mut next = Some(control::Pages { raw, ..which.pages() });
            while let Some(pages) = next {
                let Answer::Page(page) = daemon.ask(&Request::Replay(pages))? else {
                    return Err(daemon.confused());
                };
                told.add(page.deleted, page.kept, page.why);
                next = page.next;
            }
        }
    }
    let Counts { sent, kept, .. } = told;
    complain!("{sent} dead letters sent again and accepted, {kept} kept");
    if kept > 0 { Err(FAILED) } else { Ok(()) }
}

/// How far a replay is.
#[derive(Debug, Default)]
struct Counts {
    sent: u64,
    kept: u64,
    /// Reasons that were told.
    why: BTreeSet<String>,
}

impl Counts {
    /// Tells what became of some letters more, and each reason once.
    fn add(&mut self, sent: u64, kept: u64, why: impl IntoIterator<Item = String>) {
        self.sent += sent;
        self.kept += kept;
        for why in why {
            if self.why.len() < MAX_REASONS && !self.why.contains(&why) {
                complain!("kept: {why}");
                self.why.insert(why);
            }
        }
        if io::stderr().is_terminal() {
            complain!("{} dead letters accepted, {} kept so far", self.sent, self.kept);
        }
    }
}
