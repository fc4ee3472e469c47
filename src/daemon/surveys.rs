//! What the last survey of each source found.
//!
//! Each source is surveyed by itself, in its own lane: one that hangs is waited for alone. Knows the directories and
//! problems of each source, so that one survey replaces no other source's. Does not know when to look. Used by the
//! driver's tasks.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::settings::SourceId;
use crate::shell::files::{Problem, Surveyed};
use crate::shell::watch::Directories;

/// What one source's survey brings back.
#[derive(Debug)]
pub(super) struct SurveyedSource {
    pub(super) surveyed: Surveyed,
    /// The source's directories, looked at on the thread that may hang.
    pub(super) directories: Directories,
}

/// What the last survey of each source found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    directories: BTreeMap<SourceId, Directories>,
    problems: BTreeMap<SourceId, Vec<Problem>>,
}

impl Seen {
    /// Replaces what was found of one source; returns the problems that no source had before.
    pub(super) fn replace(
        &mut self,
        source: SourceId,
        directories: Directories,
        problems: &[Problem],
    ) -> Vec<Problem> {
        let is_known = |problem: &&Problem| self.problems.values().flatten().any(|known| known == *problem);
        let news = problems.iter().filter(|problem| !is_known(problem)).cloned().collect();
        self.directories.insert(source, directories);
        self.problems.insert(source, problems.to_vec());
        news
    }

    /// The directories of all sources. That one of them has vanished is said once.
    pub(super) fn directories(&mut self) -> Directories {
        Directories::union(self.directories.values_mut())
    }

    /// The problems of all sources, each once, in the order of their paths.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let all: BTreeSet<_> = self.problems.values().flatten().collect();
        all.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::shell::files::Refusal;

    fn problem(path: &str) -> Problem {
        Problem { path: path.into(), source: None, reason: Refusal::Denied }
    }

    #[test]
    fn a_survey_replaces_what_was_found_of_its_source_and_of_no_other() {
        let mut seen = Seen::default();
        let (one, two) = (problem("/log/1"), problem("/log/2"));
        let none = Directories::default;
        assert_eq!(seen.replace(SourceId(0), none(), std::slice::from_ref(&one)), std::slice::from_ref(&one));
        let both = [one.clone(), two.clone()];
        assert_eq!(seen.replace(SourceId(1), none(), &both), std::slice::from_ref(&two), "told once");
        assert_eq!(seen.problems(), both);
        assert_eq!(seen.replace(SourceId(1), none(), &[]), []);
        assert_eq!(seen.problems(), [one]);
    }
}
