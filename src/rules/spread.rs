//! Which lane of a stream carries a file, and when files change between lanes.
//!
//! Rendezvous hashing: each family of files has a weight at each lane, another one on each machine, and goes to the lane where
//! that is greatest. A lane
//! that is added takes the families for which it is the greatest, about one in n, and no other changes.
//!
//! A lane that has been held for long hands its files on, each to the next by weight. Later one of them is given back as a
//! probe; with the first of its records that is accepted, the others follow. Lanes on standby carry files only while all
//! others have been held for long.
//!
//! Knows names, and since when lanes are held. Does not know files beyond the number of their family, nor records.
//!
//! *Invariant:* a file whose lane carries files stays there, unless a lane that weighs more for it comes or recovers.

use std::time::Duration;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::model::identity::Incarnation;
use crate::model::settings::{LaneSettings, Spread};
use crate::model::time::Instant;

/// How long a probe may take at least: a request may wait for its answer for as long as that by default, and once more.
const PROBE_PATIENCE: Duration = Duration::from_secs(60);

/// How soon a probe is looked for again among all files, where none of the lane has a record to send.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The number of a family of files: of the name that they have, or had before a rotator renamed them.
pub fn family(name: &[u8]) -> u64 {
    xxh3_64(name)
}

/// What a lane does for the files that weigh most there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The lane carries its files.
    Carries,
    /// Others carry the lane's files until then at least.
    HandedOn { probe_at: Instant, look_at: Instant },
    /// Others carry the lane's files, but for one by which it is asked.
    Probing { file: Incarnation, since: Instant, until: Instant },
}

/// How a lane stands with its service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Since when nothing but probes is sent, while that is so.
    pub held_since: Option<Instant>,
    /// Whether nothing is sent under this configuration.
    pub is_stopped: bool,
}

/// The lanes of one stream.
#[derive(Clone, Debug)]
pub struct Spreading {
    members: Vec<Member>,
    spread_after: Option<Duration>,
    failover_after: Option<Duration>,
}

/// One lane.
#[derive(Clone, Debug)]
struct Member {
    /// What tells the lane from others, and this machine from others.
    key: Vec<u8>,
    is_used: bool,
    is_standby: bool,
    standing: Standing,
}

impl Member {
    fn new(salt: &str, lane: &LaneSettings) -> Self {
        let region = lane.region.as_deref().unwrap_or_default();
        let key = format!("{salt}\0{}\0{region}", lane.delivery_stream).into_bytes();
        Self { key, is_used: lane.is_used, is_standby: lane.is_standby, standing: Standing::Carries }
    }

    fn weight(&self, family: u64) -> u64 {
        xxh3_64_with_seed(&self.key, family)
    }

    fn carries(&self) -> bool {
        self.is_used && self.standing == Standing::Carries
    }
}

impl Spreading {
    /// Every lane carries its files.
    pub fn new(spread: &Spread) -> Self {
        let members = spread.lanes.iter().map(|lane| Member::new(&spread.salt, lane)).collect();
        let Spread { spread_after, failover_after, .. } = *spread;
        Self { members, spread_after, failover_after }
    }

    /// Other lanes, of which those that were there have kept their places. One whose files were handed on is asked at once:
    /// the change may be what mends it.
    pub fn change(&mut self, spread: &Spread, now: Instant) {
        let fresh = Self::new(spread);
        let is_off = fresh.delay().is_none();
        let before = std::mem::replace(self, fresh).members;
        for (member, before) in self.members.iter_mut().zip(before) {
            if !is_off && before.standing != Standing::Carries && member.is_used && before.is_used {
                member.standing = Standing::HandedOn { probe_at: now, look_at: now };
            }
        }
    }

    /// Whether files can go to more than one lane.
    pub fn is_spread(&self) -> bool {
        self.members.len() > 1
    }

    /// The lanes that are configured.
    pub fn used(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|place| self.members[*place].is_used).collect()
    }

    /// Whether a lane is configured.
    pub fn is_used(&self, place: usize) -> bool {
        self.members[place].is_used
    }

    /// What a lane does for its files.
    pub fn standing(&self, place: usize) -> Standing {
        self.members[place].standing
    }

    /// The lane that carries a family where all are well.
    pub fn home(&self, family: u64) -> usize {
        self.heaviest(family, |_, member| !member.is_standby)
            .or_else(|| self.heaviest(family, |_, _| true))
            .unwrap_or_default()
    }

    /// The lane for a file of a family that is at `current`, if it is anywhere yet.
    pub fn lane_of(&self, family: u64, current: Option<usize>, health: &[Health]) -> usize {
        let home = self.home(family);
        if self.members[home].carries() {
            return home;
        }
        let own_carry = self.members.iter().any(|member| member.carries() && !member.is_standby);
        let serves = |member: &Member| member.carries() && !(member.is_standby && own_carry);
        if let Some(current) = current.filter(|current| serves(&self.members[*current])) {
            return current;
        }
        let is_well = |place: usize| health[place].held_since.is_none();
        let of = |takes: &dyn Fn(usize, &Member) -> bool| self.heaviest(family, takes);
        of(&|place, member| serves(member) && !member.is_standby && is_well(place))
            .or_else(|| of(&|place, member| serves(member) && is_well(place)))
            .or_else(|| of(&|_, member| serves(member)))
            .unwrap_or(home)
    }

    fn heaviest(&self, family: u64, takes: impl Fn(usize, &Member) -> bool) -> Option<usize> {
        let used = self.members.iter().enumerate().filter(|(_, member)| member.is_used);
        let taking = used.filter(|(place, member)| takes(*place, member));
        taking.max_by_key(|(_, member)| member.weight(family)).map(|(place, _)| place)
    }

    /// Time has passed, or lanes stand otherwise. Returns the lanes whose files have to be handed on by now.
    pub fn advance(&mut self, health: &[Health], now: Instant) -> Vec<usize> {
        if !self.is_spread() {
            return Vec::new();
        }
        let mut passed = self.fail_over(health, now);
        let held = (0..self.members.len()).filter(|place| self.is_held_too_long(*place, health, now));
        for place in held.collect::<Vec<_>>() {
            if self.members[place].carries() && self.has_other(place, health) {
                passed.push(place);
                self.hand_on(place, now);
            }
        }
        passed
    }

    /// Ends probes that have waited for long enough. Returns whether there were any.
    pub fn end_probes(&mut self, now: Instant) -> bool {
        let is_over =
            |member: &Member| matches!(member.standing, Standing::Probing { until, .. } if until <= now);
        let over = (0..self.members.len()).filter(|place| is_over(&self.members[*place]));
        let over: Vec<_> = over.collect();
        over.iter().for_each(|place| self.hand_on(*place, now));
        !over.is_empty()
    }

    fn is_held_too_long(&self, place: usize, health: &[Health], now: Instant) -> bool {
        let since = health[place].held_since.zip(self.spread_after);
        self.members[place].carries() && since.is_some_and(|(since, after)| since + after <= now)
    }

    /// Whether another lane of the same rank takes files.
    fn has_other(&self, place: usize, health: &[Health]) -> bool {
        let is_standby = self.members[place].is_standby;
        let mut others = self.members.iter().zip(health);
        others.any(|(member, health)| {
            member.carries() && member.is_standby == is_standby && health.held_since.is_none()
        })
    }

    /// Where no lane of the first region has taken anything for long, all of them hand on to those on standby.
    fn fail_over(&mut self, health: &[Health], now: Instant) -> Vec<usize> {
        let Some(after) = self.failover_after else { return Vec::new() };
        let own = |member: &Member| member.is_used && !member.is_standby;
        let is_over = |(member, health): (&Member, &Health)| {
            !own(member) || !member.carries() || health.held_since.is_some_and(|since| since + after <= now)
        };
        let takes = |(member, health): (&Member, &Health)| {
            member.carries() && member.is_standby && health.held_since.is_none()
        };
        let all = || self.members.iter().zip(health);
        if !all().all(is_over) || !all().any(takes) {
            return Vec::new();
        }
        let places = 0..self.members.len();
        let passed: Vec<_> =
            places.filter(|place| own(&self.members[*place]) && self.members[*place].carries()).collect();
        passed.iter().for_each(|place| self.hand_on(*place, now));
        passed
    }

    fn hand_on(&mut self, place: usize, now: Instant) {
        let delay = self.delay().unwrap_or(PROBE_PATIENCE);
        let at = now + delay;
        self.members[place].standing = Standing::HandedOn { probe_at: at, look_at: at };
    }

    /// How long a lane is left alone once its files were handed on; `None` where none are.
    fn delay(&self) -> Option<Duration> {
        self.spread_after.or(self.failover_after)
    }

    /// The lanes for each of which a file is to be looked for, to ask by it.
    pub fn to_probe(&self, health: &[Health], now: Instant) -> Vec<usize> {
        let is_to_look = |place: &usize| matches!(self.members[*place].standing, Standing::HandedOn { look_at, .. } if look_at <= now);
        let places = 0..self.members.len();
        places.filter(|place| self.wants_probe(*place, health[*place], now)).filter(is_to_look).collect()
    }

    /// Whether a lane is to be asked by the next of its files that has something to send.
    pub fn wants_probe(&self, place: usize, health: Health, now: Instant) -> bool {
        let member = &self.members[place];
        let is_due = matches!(member.standing, Standing::HandedOn { probe_at, .. } if probe_at <= now);
        is_due && member.is_used && !health.is_stopped
    }

    /// A lane is asked by one of its files from now on.
    pub fn probe(&mut self, place: usize, file: Incarnation, now: Instant) {
        let patience = self.delay().unwrap_or_default().max(PROBE_PATIENCE);
        self.members[place].standing = Standing::Probing { file, since: now, until: now + patience };
    }

    /// No file of a lane has anything to send by which the lane could be asked: the next that has will do.
    pub fn put_off_probe(&mut self, place: usize, now: Instant) {
        if let Standing::HandedOn { look_at, .. } = &mut self.members[place].standing {
            *look_at = now + LOOK_AGAIN;
        }
    }

    /// Whether this file asks a lane, which is to be left where it is.
    pub fn is_probe(&self, place: usize, file: Incarnation) -> bool {
        matches!(self.members[place].standing, Standing::Probing { file: probe, .. } if probe == file)
    }

    /// Of a request that was sent at `sent_at` a record was accepted, or it failed as a whole. Returns whether that changes
    /// where files go.
    pub fn answered(&mut self, place: usize, is_accepted: bool, sent_at: Instant, now: Instant) -> bool {
        match (self.members[place].standing, is_accepted) {
            (Standing::Probing { .. }, true) => self.members[place].standing = Standing::Carries,
            (Standing::Probing { since, .. }, false) if sent_at >= since => self.hand_on(place, now),
            _ => return false,
        }
        true
    }

    /// When time alone changes something next, after `now`.
    pub fn next_change(&self, health: &[Health], now: Instant) -> Option<Instant> {
        if !self.is_spread() {
            return None;
        }
        let of = |(member, health): (&Member, &Health)| match member.standing {
            _ if !member.is_used => [None, None],
            Standing::Carries => {
                [self.spread_after, self.failover_after].map(|after| Some(health.held_since? + after?))
            }
            Standing::HandedOn { .. } if health.is_stopped => [None, None],
            Standing::HandedOn { look_at, .. } => [Some(look_at), None],
            Standing::Probing { until, .. } => [Some(until), None],
        };
        let changes = self.members.iter().zip(health).flat_map(of).flatten();
        changes.filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests;
