//! The machine that a daemon runs on: files, one database, and a quiet tenant who writes now and then.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use standpipe::engine::port::{Effect, Event, Hint, Observation, Observed, Opened, Read};
use standpipe::engine::report::Report;
use standpipe::model::checkpoint::Save;
use standpipe::model::hidden::Hidden;
use standpipe::model::identity::Identity;
use standpipe::model::settings::SourceId;
use standpipe::model::time::Instant;

use super::daemons::{Fleet, Todo};
use super::plan::QUIET;

/// How often a quiet tenant writes a line.
const WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// What the wall clock shows at the beginning, since 1970.
const UNIX_TIME: Duration = Duration::from_secs(1_795_900_003);

impl Fleet {
    /// Carries out what a daemon asks of its own machine. Returns the answer, if there is to be one.
    pub fn carry_out(&mut self, daemon: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Survey(request) => {
                let source = request.source;
                let files = self.files_of(source).map(|file| self.observed(daemon, file)).collect();
                let (hidden, held) = (Hidden::default(), Vec::new());
                Some(Event::Observed(Observation {
                    source,
                    files,
                    hidden,
                    held,
                    unix_time: self.unix_time(daemon),
                }))
            }
            Effect::Open(open) => {
                let number = number_of(&open.path);
                self.daemons[daemon].open.insert(open.file, number);
                let Observed { identity, size, .. } = self.observed(daemon, number);
                let head = self.content.read(number, 0, usize::try_from(size.min(1024)).expect("small"));
                Some(Event::Opened {
                    file: open.file,
                    result: Ok(Opened { identity, size, head, held: None, place: None }),
                })
            }
            Effect::Read(read) => Some(self.read(daemon, read)),
            Effect::Save(save) => Some(self.save(daemon, save)),
            Effect::Report(Report::BatchesWouldHelp { .. }) => {
                self.daemons[daemon].advised += 1;
                None
            }
            Effect::Compare(_) => unreachable!("no two files begin alike"),
            Effect::Put(_)
            | Effect::Close(_)
            | Effect::Report(_)
            | Effect::Moved { .. }
            | Effect::Want(_)
            | Effect::Replayed { .. } => None,
        }
    }

    /// The wall clock of a daemon, which is off by up to a tenth of a second.
    fn unix_time(&self, daemon: usize) -> Duration {
        let off = Duration::from_millis(daemon as u64 * 37 % 200);
        UNIX_TIME + off + self.now.since(Instant::ZERO)
    }

    fn files_of(&self, source: SourceId) -> Range<u64> {
        if source == SourceId(0) { 0..self.plan.files } else { QUIET..QUIET + self.plan.quiet_files }
    }

    fn observed(&self, daemon: usize, number: u64) -> Observed {
        Observed {
            path: path(number),
            target: None,
            identity: Identity { device: 1, inode: number + 1, birth_nanos: Some(1) },
            size: self.size(daemon, number),
            owner: 0,
            modified: None,
            is_matched: true,
            rotated_from: Vec::new(),
            is_told: false,
        }
    }

    /// When a quiet tenant of a daemon writes its lines of this number.
    pub fn written_at(&self, daemon: usize, line: u64) -> Duration {
        let phase = WRITTEN_EVERY * u32::try_from(daemon).expect("few")
            / u32::try_from(self.plan.daemons).expect("few");
        phase + WRITTEN_EVERY * u32::try_from(line).expect("few")
    }

    fn size(&self, daemon: usize, number: u64) -> u64 {
        if number < QUIET {
            return 1 << 50;
        }
        let now = self.now.since(Instant::ZERO);
        let since = now.checked_sub(self.written_at(daemon, 0));
        let lines = since.map_or(0, |since| since.as_nanos() / WRITTEN_EVERY.as_nanos() + 1);
        u64::try_from(lines).expect("few") * self.plan.line_bytes as u64
    }

    pub fn write(&mut self, daemon: usize) {
        for number in self.files_of(SourceId(1)) {
            self.tell(daemon, Event::Hint(Hint::Grown(path(number))));
        }
        self.later(WRITTEN_EVERY, daemon, Todo::Write);
    }

    fn read(&mut self, daemon: usize, read: Read) -> Event {
        let number = self.daemons[daemon].open[&read.file];
        let left = self.size(daemon, number).saturating_sub(read.at.bytes());
        let len = usize::try_from(left).expect("64 bits").min(read.len);
        let result =
            Ok(if len > 0 { self.content.read(number, read.at.bytes(), len) } else { bytes::Bytes::new() });
        Event::Bytes {
            file: read.file,
            result,
            unix_time: self.unix_time(daemon),
            modified: None,
            room: 0,
            begins: true,
        }
    }

    fn save(&mut self, daemon: usize, save: Save) -> Event {
        assert!(
            save.forgotten.is_empty() && save.dead_letters.is_empty(),
            "nothing is over, and nothing is refused"
        );
        let daemon = &mut self.daemons[daemon];
        daemon.has_saved = true;
        daemon.parts = save.parts.unwrap_or_default();
        daemon.next_incarnation = daemon.next_incarnation.max(save.reserved);
        daemon
            .saved
            .extend(save.checkpoints.into_iter().map(|checkpoint| (checkpoint.incarnation, checkpoint)));
        Event::Saved(Ok(()))
    }
}

fn path(number: u64) -> Arc<Path> {
    Path::new(&format!("/log/{number}.log")).into()
}

/// The number of a file, by its name.
pub fn number_of(path: &Path) -> u64 {
    path.file_stem().and_then(|name| name.to_str()?.parse().ok()).expect("a number")
}
