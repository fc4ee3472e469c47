//! What writers, rotators, people and fate do: drawn while the run goes on, recorded, and done again in a replay.
//!
//! Each action holds the state of chance with which it was done. So a replay of all actions is the run again, and a
//! replay of some of them differs from it as little as may be.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::climate::Kind;
use super::special::Special;
use super::world::{Todo, World};

/// One action.
#[derive(Clone, Debug)]
pub struct Action {
    /// Since the action before.
    pub pause: Duration,
    pub deed: Deed,
    /// The state of the generator that everything from here to the next action is drawn from.
    pub chance: u64,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Append(PathBuf),
    Rotate(PathBuf),
    Truncate(PathBuf),
    Remove(PathBuf),
    CopyAndTruncate(PathBuf),
    CrashOrStart,
    Start,
    /// A configuration that leaves sources out, or calls them otherwise.
    Reload {
        without: BTreeSet<usize>,
        renamed: bool,
    },
    /// What only one family of the wider world does.
    Special(Special),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?}: {:?}", self.pause, self.deed)
    }
}

impl World {
    /// Does as many actions; or those of the script, when there is one.
    pub fn act_all(&mut self, actions: u64) {
        let actions = self.script.as_ref().map_or(actions, |script| script.len() as u64);
        for _ in 0..actions {
            let mut pause = self.draw_pause();
            if let Some(next) = self.script.as_ref().and_then(|script| script.as_slice().first()) {
                pause = next.pause;
            }
            self.later(pause, Todo::Act);
            self.run_until(|world| !world.queue.values().any(|todo| matches!(todo, Todo::Act)), u64::MAX);
            if let Some(done) = self.actions.last_mut() {
                done.pause = pause;
            }
        }
        self.run_until(|world| !world.queue.values().any(|todo| matches!(todo, Todo::Then(_))), u64::MAX);
    }

    fn draw_pause(&mut self) -> Duration {
        match self.rng.u8(0..10) {
            0 => Duration::from_millis(self.rng.u64(0..15_000)),
            _ => Duration::from_millis(self.rng.u64(0..50)),
        }
    }

    pub fn act(&mut self) {
        let action = match self.script.as_mut().and_then(Iterator::next) {
            Some(action) => action,
            None => {
                let deed = self.draw_deed();
                Action { pause: Duration::ZERO, deed, chance: self.rng.get_seed() }
            }
        };
        self.rng = fastrand::Rng::with_seed(action.chance);
        if self.traced {
            writeln!(self.trace, "action: {:?}", action.deed).expect("a string takes everything");
        }
        self.actions.push(action.clone());
        self.perform(&action.deed);
    }

    fn draw_deed(&mut self) -> Deed {
        if let Kind::Wide(family) = self.kind
            && self.rng.f64() < self.climate.deed
            && let Some(special) = family.draw_deed(self)
        {
            return Deed::Special(special);
        }
        let dice = self.rng.f64();
        let name = self.draw_name();
        let climate = &self.climate;
        let thresholds = [
            climate.rotate,
            climate.truncate,
            climate.remove,
            climate.crash,
            climate.reload,
            climate.copy_truncate,
        ];
        let mut sum = 0.0;
        let kind = thresholds.iter().position(|chance| {
            sum += chance;
            dice < sum
        });
        match kind {
            Some(0) if self.disk.names.contains_key(&name) => Deed::Rotate(name),
            Some(1) if self.disk.names.contains_key(&name) => Deed::Truncate(name),
            Some(2) if self.disk.names.contains_key(&name) => Deed::Remove(name),
            Some(3) => Deed::CrashOrStart,
            Some(4) => self.draw_reload(),
            Some(5) if self.disk.names.contains_key(&name) => Deed::CopyAndTruncate(name),
            _ if self.engine.is_none() && self.rng.u8(0..8) == 0 => Deed::Start,
            _ => Deed::Append(name),
        }
    }

    /// A name that a source matches.
    pub fn draw_name(&mut self) -> PathBuf {
        let name = self.rng.usize(0..self.climate.names);
        let sources = self.layout.sources.len();
        let source = if sources > 1 { self.rng.usize(0..sources) } else { 0 };
        self.layout.sources[source].1.join(format!("{name}.log"))
    }

    fn draw_reload(&mut self) -> Deed {
        let mut without = BTreeSet::new();
        if self.left_out.is_empty() && !self.rng.bool() {
            without.insert(if self.is_wide() { self.rng.usize(0..self.layout.sources.len()) } else { 0 });
        }
        Deed::Reload { without, renamed: false }
    }

    pub fn perform(&mut self, deed: &Deed) {
        match deed {
            Deed::Append(path) => self.append(path),
            Deed::Rotate(path) => self.rotate(path),
            Deed::Truncate(path) => self.truncate(path),
            Deed::Remove(path) => self.remove(path),
            Deed::CopyAndTruncate(path) => self.copy_and_truncate(path),
            Deed::CrashOrStart => self.crash_or_start(),
            Deed::Start if self.engine.is_none() => self.start(),
            Deed::Start => {}
            Deed::Reload { without, renamed } => self.reload(without, *renamed),
            Deed::Special(special) => self.perform_special(special),
        }
    }
}
