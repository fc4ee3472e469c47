//! Files that a source matches and that are not begun.
//!
//! Knows what is unwanted of a file of which nothing is known. A file that is followed already, or of which a position is
//! stored, is never unwanted: what it gets belongs to what was shipped.

use std::time::Duration;

use crate::model::identity::Identity;
use crate::model::settings::SourceId;

use super::Engine;
use super::port::Observed;

impl Engine {
    /// Whether a file of which nothing is known was last written too long ago to be begun.
    pub(super) fn is_too_old(&self, source: SourceId, observed: &Observed, unix_time: Duration) -> bool {
        let Some(limit) = self.settings.sources[source.0].ignore_older else { return false };
        let is_old = observed.modified.is_some_and(|modified| unix_time.saturating_sub(modified) > limit);
        is_old && !self.is_known(source, observed.identity)
    }

    fn is_known(&self, source: SourceId, file: Identity) -> bool {
        let stream = self.stream_of(source);
        self.files.of(stream, file).is_some()
            || self.lives.parted_of(file, stream).is_some()
            || self.lives.stored_of(file, self.stream_name(stream)).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Memory;
    use crate::engine::port::{Effect, Event, Observation};
    use crate::engine::samples::{at, checkpoint, identity, path, settings, whose};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Which of the files are opened that were last written so many days before the look; of the third a position is
    /// known.
    fn opened(days: [Option<u32>; 3]) -> Vec<usize> {
        let mut settings = settings(1);
        settings.sources[0].ignore_older = Some(7 * DAY);
        let memory = Memory {
            checkpoints: vec![checkpoint(0, whose(0, 2), 5)],
            next_incarnation: 1,
            ..Memory::default()
        };
        let mut engine = Engine::try_new(settings, memory, 0, at(0)).expect("delays in order");
        engine.handle(Event::Tick, at(0));
        let unix_time = 20_000 * DAY;
        let names = ["0.log", "1.log", "2.log"];
        let observed = |(inode, days): (usize, &Option<u32>)| Observed {
            path: path(names[inode]),
            target: None,
            identity: identity(inode as u64),
            size: 9,
            modified: days.map(|days| unix_time - days * DAY),
            is_matched: true,
        };
        let files = days.iter().enumerate().map(observed).collect();
        let observation =
            Observation { source: SourceId(0), unix_time, files, hidden: Vec::new(), held: Vec::new() };
        engine.handle(Event::Observed(observation), at(0));
        let effects = std::iter::from_fn(|| engine.poll_effect());
        let opened = effects.filter_map(|effect| match effect {
            Effect::Open(open) => names.iter().position(|name| *open.path == *path(name)),
            _ => None,
        });
        opened.collect()
    }

    #[test]
    fn a_file_that_was_last_written_too_long_ago_is_begun_only_when_it_is_known() {
        assert_eq!(opened([Some(6), Some(8), Some(8)]), [0, 2]);
        assert_eq!(opened([Some(7), None, None]), [0, 1, 2], "at the limit, and where nobody says");
    }
}
