//! The service: all delivery streams and the rules that they share.
//!
//! A state machine without clock, I/O or randomness of its own: requests in, answers out, chunks to deliver when
//! they are due. `driver` owns it and hands the time in; `http` writes its answers out.
//!
//! *Invariant:* what is held (accepted and not settled) is never more than `max_buffered_bytes`.

mod planned;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::buffer::{Buffering, Chunk, Refused};
use super::faults::{Fault, FaultPlan, Faults};
use super::ids::{RecordId, RecordIds, Run};
use super::limits::{ACCOUNT, NAME_LENGTH, STREAMS};
use super::note::{ChunkId, Note};
use super::quota::Quota;
use super::records::Records;
use super::refusal::{Kind, Refusal};
use super::request::Put;
use super::stats::Report;
use super::stream::{Key, Phase, Stream, Taken};

/// The time, as the driver hands it in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    /// Time since the server began; never goes back.
    pub now: Duration,
    /// Time since 1970, as the system clock says.
    pub unix_time: Duration,
}

/// What the client is told, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// How long to wait before answering.
    pub latency: Duration,
    /// What was accepted, or why nothing was.
    pub result: Result<Accepted, Refusal>,
    /// Whether the client is told as it should be, or by a fault.
    pub mode: ResponseMode,
}

/// A request that was let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Whether the answer says that the records are kept under server-side encryption.
    pub encrypted: bool,
    /// One verdict for each record, in the request's order. The one record of a `PutRecord` is always accepted.
    pub verdicts: Vec<Result<RecordId, Refusal>>,
}

/// How the client is told: as it should be, or by a fault on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseMode {
    Proper,
    /// The connection is reset instead of an answer.
    Reset,
    /// No answer comes.
    Hang,
    /// A page of HTML comes instead of the answer.
    Html,
    /// A redirect comes instead of the answer.
    Redirect,
    /// The JSON of the answer breaks off in the middle.
    Truncated,
    /// The answer to a batch lacks its last entry.
    Short,
}

/// What the service is started with.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// What one second lets in, for each delivery stream by itself.
    pub quota: Quota,
    /// When a delivery stream's records are delivered.
    pub buffering: Buffering,
    /// The names of the delivery streams; `None` creates each on its first use.
    pub streams: Option<Vec<String>>,
    /// Delivery streams whose key is not usable.
    pub invalid_keys: BTreeSet<String>,
    /// Whether answers say that server-side encryption is on.
    pub encrypted: bool,
    /// How long a delivery stream that is created by request takes nothing.
    pub creating: Duration,
    /// The most bytes that are accepted and not delivered, all delivery streams together.
    pub max_buffered_bytes: u64,
}

/// One delivery stream, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub name: String,
    pub created_at: Duration,
    pub phase: Phase,
    pub encrypted: bool,
    pub buffering: Buffering,
}

/// All delivery streams.
#[derive(Debug)]
pub(super) struct Service {
    rules: Rules,
    streams: BTreeMap<String, Stream>,
    /// Names that a request deleted: mere use does not create them again.
    deleted: BTreeSet<String>,
    faults: Faults,
    ids: RecordIds,
    /// Changes that the journal has not been given yet.
    notes: Vec<Note>,
    closed: bool,
}

impl Service {
    /// Errors: a name in `rules.streams` that no delivery stream can have.
    pub(super) fn new(rules: Rules, faults: Faults, run: Run, at: Moment) -> Result<Self, Refusal> {
        let mut service = Self {
            streams: BTreeMap::new(),
            deleted: BTreeSet::new(),
            faults,
            ids: RecordIds::new(run),
            notes: Vec::new(),
            closed: false,
            rules,
        };
        service.add(&service.rules.streams.clone().unwrap_or_default(), at)?;
        Ok(service)
    }

    /// Creates the delivery streams of these names that are not there. Errors: a name that none can have.
    pub(super) fn add(&mut self, names: &[String], at: Moment) -> Result<(), Refusal> {
        names.iter().try_for_each(|name| self.insert(name, at).map(drop))
    }

    /// Takes the records of one request, or refuses them.
    pub(super) fn put(&mut self, put: Put, at: Moment) -> Answer {
        let latency = self.faults.latency(&put.stream);
        let (fault, result) = match self.open_to(&put, at) {
            Ok(records) => {
                let fault = self.faults.next(&put.stream, put.operation);
                (fault, self.take(&put, records, fault, at.now))
            }
            Err(refusal) => (None, Err(refusal)),
        };
        let mode = fault.map_or(ResponseMode::Proper, planned::mode);
        let outcome = match (&result, fault) {
            (_, Some(fault)) if mode != ResponseMode::Proper => fault.label(),
            (Ok(accepted), _) if accepted.verdicts.iter().all(Result::is_ok) => "ok",
            (Ok(_), _) => "partial",
            (Err(refusal), _) => refusal.kind.code(),
        };
        if let Some(stream) = self.streams.get_mut(&put.stream) {
            let verdicts = result.as_ref().ok().map(|accepted| &accepted.verdicts[..]);
            stream.count(put.operation, outcome, put.records.as_ref().ok(), verdicts);
        }
        Answer { latency, result, mode }
    }

    /// Describes a delivery stream. To describe is to use: it is created, as by a put.
    pub(super) fn describe(&mut self, name: &str, at: Moment) -> Result<Description, Refusal> {
        let (encrypted, buffering) = (self.rules.encrypted, self.rules.buffering);
        let stream = match self.streams.get(name) {
            Some(stream) => stream,
            None => self.used(name, at)?,
        };
        Ok(Description {
            name: name.to_owned(),
            created_at: stream.created_at,
            phase: stream.phase_at(at.now),
            encrypted,
            buffering,
        })
    }

    /// Up to `limit` names behind `after`, in order, and whether there are more.
    pub(super) fn list(&self, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let mut names = self.streams.keys().filter(|name| after.is_none_or(|after| name.as_str() > after));
        let listed = names.by_ref().take(limit).cloned().collect();
        (listed, names.next().is_some())
    }

    /// Creates a delivery stream.
    pub(super) fn create(&mut self, name: &str, at: Moment) -> Result<(), Refusal> {
        if self.streams.contains_key(name) {
            return Err(Refusal::new(Kind::ResourceInUse, format!("Firehose {name} already exists.")));
        }
        let ready = at.now + self.rules.creating;
        self.insert(name, at)?.phase = Phase::CreatingUntil(ready);
        self.deleted.remove(name);
        Ok(())
    }

    /// Deletes a delivery stream, unless it is still being created; what it accepted is still delivered.
    pub(super) fn delete(&mut self, name: &str, at: Moment) -> Result<(), Refusal> {
        let stream = self.streams.get_mut(name).ok_or_else(|| not_found(name))?;
        if let Phase::CreatingUntil(_) = stream.phase_at(at.now) {
            return Err(Refusal::new(Kind::ResourceInUse, format!("Firehose {name} is being created.")));
        }
        stream.phase = Phase::Deleting;
        stream.flush();
        self.deleted.insert(name.to_owned());
        self.sweep(name);
        Ok(())
    }

    /// Follows another plan of faults from now on.
    pub(super) fn plan(&mut self, plan: FaultPlan) {
        self.faults.follow(plan);
    }

    /// The plan of faults, as far as it is not used up.
    pub(super) fn current_plan(&self) -> &FaultPlan {
        self.faults.plan()
    }

    /// The statistics since the server began.
    pub(super) fn report(&self) -> Report<'_> {
        Report {
            streams: self.streams.iter().map(|(name, stream)| (name.as_str(), stream.report())).collect(),
            faults: self.faults.happened(),
            buffered_bytes: self.held_bytes(),
        }
    }

    /// The chunks to deliver now, each with its delivery stream. Each is answered by [`Service::delivered`] or
    /// [`Service::refused`].
    pub(super) fn due(&mut self, now: Duration) -> Vec<(String, Chunk)> {
        let due = |(name, stream): (&String, &mut Stream)| Some((name.clone(), stream.due(now)?));
        self.streams.iter_mut().filter_map(due).collect()
    }

    /// When to ask [`Service::due`] again.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.streams.values().filter_map(Stream::deadline).min()
    }

    /// The delivery stream's chunk is at the destination.
    pub(super) fn delivered(&mut self, name: &str) {
        let number = self.under_way(name).delivered();
        self.settled(name, number);
    }

    /// The destination refused the delivery stream's chunk.
    pub(super) fn refused(&mut self, name: &str, now: Duration) -> Refused {
        let outcome = self.under_way(name).refused(now);
        if let Refused::Dropped(chunk) = &outcome {
            self.settled(name, chunk.number);
        }
        outcome
    }

    /// What is to be noted in the journal, before the answers since the last time are given.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Makes everything accepted so far due; says which chunk of which delivery stream that reaches to.
    pub(super) fn flush(&mut self) -> Vec<(String, u64)> {
        self.streams.iter_mut().map(|(name, stream)| (name.clone(), stream.flush())).collect()
    }

    /// Whether everything up to that chunk is settled.
    pub(super) fn reached(&self, (name, chunk): &(String, u64)) -> bool {
        // A delivery stream that is gone was emptied first.
        self.streams.get(name).is_none_or(|stream| stream.reached(*chunk))
    }

    /// Takes nothing more, and makes everything accepted so far due.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.flush();
    }

    /// The bytes of all records that are accepted and not settled.
    pub(super) fn held_bytes(&self) -> u64 {
        self.streams.values().map(Stream::held_bytes).sum()
    }

    /// Whether everything accepted is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.values().all(Stream::is_empty)
    }

    /// Whether the request can be looked at at all: well formed, and for a delivery stream that takes records.
    fn open_to<'put>(&mut self, put: &'put Put, at: Moment) -> Result<&'put Records, Refusal> {
        let records = put.records.as_ref().map_err(Clone::clone)?;
        if self.closed {
            return Err(Refusal::new(Kind::ServiceUnavailable, "The service is shutting down."));
        }
        let phase = match self.streams.get(&put.stream) {
            Some(stream) => stream.phase_at(at.now),
            None => self.used(&put.stream, at)?.phase,
        };
        match phase {
            Phase::Active => Ok(records),
            Phase::CreatingUntil(_) | Phase::Deleting => Err(not_found(&put.stream)),
        }
    }

    /// Lets records in, unless the fault forbids it.
    fn take(
        &mut self,
        put: &Put,
        records: &Records,
        fault: Option<Fault>,
        now: Duration,
    ) -> Result<Accepted, Refusal> {
        if let Some(refusal) = fault.and_then(planned::refusal) {
            return Err(refusal);
        }
        let room = self.rules.max_buffered_bytes.saturating_sub(self.held_bytes());
        if records.data().len() as u64 > room {
            // The destination is too slow. The service would say the same.
            return Err(Refusal::slow_down());
        }
        let losers = (fault == Some(Fault::Partial)).then(|| self.faults.losers(records.len()));
        let stream = self.streams.get_mut(&put.stream).expect("open_to created it");
        let Taken { verdicts, kept } =
            stream.take(put.operation, records, losers.as_deref(), &mut self.ids, now)?;
        if let Some((number, kept)) = kept {
            let stream = put.stream.clone();
            self.notes.push(Note::Keep(ChunkId { stream, number }, kept));
        }
        Ok(Accepted { encrypted: self.rules.encrypted, verdicts })
    }

    /// A delivery stream that is not there is used: it is created, unless there are only those that were named.
    fn used(&mut self, name: &str, at: Moment) -> Result<&Stream, Refusal> {
        check_name(name)?;
        if self.rules.streams.is_some() || self.deleted.contains(name) {
            return Err(not_found(name));
        }
        self.insert(name, at).map(|stream| &*stream)
    }

    fn insert(&mut self, name: &str, at: Moment) -> Result<&mut Stream, Refusal> {
        check_name(name)?;
        if self.streams.len() + self.deleted.len() >= STREAMS {
            return Err(Refusal::new(Kind::LimitExceeded, format!("There are {STREAMS} delivery streams.")));
        }
        let key = if self.rules.invalid_keys.contains(name) { Key::Invalid } else { Key::Usable };
        let stream = Stream::new(self.rules.quota, self.rules.buffering, key, at.unix_time);
        Ok(self.streams.entry(name.to_owned()).or_insert(stream))
    }

    fn settled(&mut self, name: &str, number: u64) {
        let stream = name.to_owned();
        self.notes.push(Note::Forget(ChunkId { stream, number }));
        self.sweep(name);
    }

    /// Forgets the delivery stream if it is deleted and emptied.
    fn sweep(&mut self, name: &str) {
        if self.streams.get(name).is_some_and(|stream| stream.phase == Phase::Deleting && stream.is_empty()) {
            self.streams.remove(name);
        }
    }

    fn under_way(&mut self, name: &str) -> &mut Stream {
        self.streams.get_mut(name).expect("a delivery stream stays while a chunk of it is under way")
    }
}

fn not_found(name: &str) -> Refusal {
    Refusal::new(Kind::ResourceNotFound, format!("Firehose {name} under account {ACCOUNT} not found."))
}

/// Errors: a name that no delivery stream can have.
fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    // The two names that the service allows and a directory cannot have.
    let is_directory = name == "." || name == "..";
    if (1..=NAME_LENGTH).contains(&name.len()) && name.bytes().all(allowed) && !is_directory {
        Ok(())
    } else {
        Err(Refusal::new(
            Kind::InvalidArgument,
            format!(
                "The name of a delivery stream is 1 to {NAME_LENGTH} of a-z, A-Z, 0-9, '_', '.' and '-'."
            ),
        ))
    }
}

#[cfg(test)]
mod tests;
