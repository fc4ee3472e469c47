//! Names that match and are not read, as many as a person can use.
//!
//! Whoever writes into a log directory chooses how many there are. So only some are kept by name, and the others are
//! counted. What there is most of gives way: forty thousand links that lead nowhere hide no file that is denied.
//!
//! *Invariant:* every problem that was noted is named or counted, and [`MAX_NAMED`] are named at the most.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::path::PathBuf;

use super::Refusal;
use crate::model::settings::SourceId;

/// How many are kept by name.
pub const MAX_NAMED: usize = 1_000;

/// A name that matches and is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The name that is not read; absolute.
    pub path: PathBuf,
    /// The source that the name belongs to, or that looked into a directory beside its files.
    pub source: SourceId,
    /// Why the name is not read.
    pub reason: Refusal,
}

/// What is known of names that are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// In the order of their paths.
    pub named: Vec<Problem>,
    /// How many there are beyond those.
    pub beyond: u64,
}

impl Problems {
    pub fn count(&self) -> u64 {
        self.named.len() as u64 + self.beyond
    }
}

/// Problems as they are found.
#[derive(Debug, Default)]
pub struct Noted {
    /// By what they are: those that come first by their paths.
    kinds: BTreeMap<usize, BTreeSet<Problem>>,
    order: Vec<Discriminant<Refusal>>,
    named: usize,
    beyond: u64,
}

impl Noted {
    /// A problem that was noted before, and is still kept by name, counts once.
    pub fn note(&mut self, problem: Problem) {
        let kind = discriminant(&problem.reason);
        let place = self.order.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.order.push(kind);
            self.order.len() - 1
        });
        if !self.kinds.entry(place).or_default().insert(problem) {
            return;
        }
        self.named += 1;
        if self.named > MAX_NAMED {
            let most = self.kinds.values_mut().max_by_key(|kind| kind.len());
            most.and_then(BTreeSet::pop_last).expect("there are more than that");
            self.named -= 1;
            self.beyond += 1;
        }
    }

    /// Those of another look.
    pub fn extend(&mut self, problems: Problems) {
        problems.named.into_iter().for_each(|problem| self.note(problem));
        self.beyond += problems.beyond;
    }

    pub fn into_problems(self) -> Problems {
        let mut named: Vec<_> = self.kinds.into_values().flatten().collect();
        named.sort_unstable();
        Problems { named, beyond: self.beyond }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(number: usize, reason: Refusal) -> Problem {
        Problem { path: format!("/log/{number:06}").into(), source: SourceId(0), reason }
    }

    #[test]
    fn what_there_is_most_of_is_counted_and_the_rest_is_named() {
        let mut noted = Noted::default();
        for number in 0..40_000 {
            noted.note(problem(number, Refusal::Dangling));
        }
        noted.note(problem(50_000, Refusal::Denied(String::new())));
        noted.note(problem(50_000, Refusal::Denied(String::new())));
        let mut others = Noted::default();
        others.note(problem(1, Refusal::Dangling));
        others.note(problem(60_000, Refusal::Link));
        noted.extend(others.into_problems());
        let problems = noted.into_problems();
        assert_eq!((problems.named.len(), problems.count()), (MAX_NAMED, 40_002));
        let last = &problems.named[MAX_NAMED - 3..];
        let expected = [
            problem(997, Refusal::Dangling),
            problem(50_000, Refusal::Denied(String::new())),
            problem(60_000, Refusal::Link),
        ];
        assert_eq!(last, expected);
    }
}
