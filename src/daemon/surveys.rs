//! What the last survey of each source found.
//!
//! Each source is surveyed by itself, in its own lane: one that hangs is waited for alone. Knows the directories and
//! problems of each source, so that one survey replaces no other source's. Does not know when to look. Used by the
//! driver's tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::settings::SourceId;
use crate::shell::files::problems::{Noted, Problem, Problems};
use crate::shell::files::{Listings, Surveyed};
use crate::shell::watch::Directories;

/// What one source's survey brings back.
#[derive(Debug)]
pub(super) struct SurveyedSource {
    pub(super) surveyed: Surveyed,
    /// The source's directories, looked at on the thread that may hang.
    pub(super) directories: Directories,
    /// What the source's directories hold, for the next survey.
    pub(super) listings: Listings,
}

/// The directories of each source; they are put together where that holds up nobody.
pub(super) type ToWatch = Vec<Arc<Directories>>;

/// What the last survey of each source found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    directories: BTreeMap<SourceId, Arc<Directories>>,
    problems: BTreeMap<SourceId, Problems>,
    /// Of sources that are not being surveyed.
    listings: BTreeMap<SourceId, Listings>,
}

impl Seen {
    /// Replaces what was found of one source; returns the problems that no source had before, and
    /// how many more there are of those that are only counted.
    pub(super) fn replace(
        &mut self,
        source: SourceId,
        directories: Directories,
        problems: Problems,
    ) -> (Vec<Problem>, u64) {
        let is_known = |problem: &&Problem| {
            self.problems.values().any(|known| known.named.binary_search(problem).is_ok())
        };
        let news = problems.named.iter().filter(|problem| !is_known(problem)).cloned().collect();
        self.directories.insert(source, Arc::new(directories));
        let beyond = problems.beyond;
        let before = self.problems.insert(source, problems).map_or(0, |before| before.beyond);
        (news, beyond.saturating_sub(before))
    }

    /// What is known of the directories of a source, for a survey of it.
    pub(super) fn take_listings(&mut self, source: SourceId) -> Listings {
        self.listings.remove(&source).unwrap_or_default()
    }

    /// What a survey of a source knows of its directories.
    pub(super) fn keep_listings(&mut self, source: SourceId, listings: Listings) {
        self.listings.insert(source, listings);
    }

    /// The directories of all sources.
    pub(super) fn to_watch(&self) -> ToWatch {
        self.directories.values().cloned().collect()
    }

    /// The problems of all sources, each once, in the order of their paths.
    pub(super) fn problems(&self) -> Problems {
        let mut all = Noted::default();
        self.problems.values().cloned().for_each(|problems| all.extend(problems));
        all.into_problems()
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::shell::files::Refusal;

    fn problem(path: &str) -> Problem {
        Problem { path: path.into(), source: SourceId(0), reason: Refusal::Denied(String::new()) }
    }

    #[test]
    fn a_survey_replaces_what_was_found_of_its_source_and_of_no_other() {
        let mut seen = Seen::default();
        let (one, two) = (problem("/log/1"), problem("/log/2"));
        let none = Directories::default;
        let problems = |named: &[&Problem], beyond| Problems {
            named: named.iter().map(|problem| (*problem).clone()).collect(),
            beyond,
        };
        assert_eq!(seen.replace(SourceId(0), none(), problems(&[&one], 0)), (vec![one.clone()], 0));
        let both = problems(&[&one, &two], 5);
        assert_eq!(seen.replace(SourceId(1), none(), both.clone()), (vec![two.clone()], 5), "told once");
        assert_eq!(seen.problems(), both);
        assert_eq!(seen.replace(SourceId(1), none(), problems(&[], 0)), (vec![], 0));
        assert_eq!(seen.problems(), problems(&[&one], 0));
    }
}
