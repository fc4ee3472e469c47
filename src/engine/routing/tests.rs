use std::time::Duration;

use super::*;
use crate::engine::Memory;
use crate::engine::port::{Effect, Event, Observation, Opened, Reload};
use crate::engine::samples::{at, checkpoint, identity, path, settings, whose};
use crate::model::checkpoint::Checkpoint;
use crate::model::hidden::Hidden;
use crate::model::identity::Seen;
use crate::model::path_fields::PathFields;
use crate::model::route::{ByPath, NameGlob, Template};
use crate::model::settings::Settings;
use crate::rules::reload::merge;

/// One source whose files name their streams by their directories, and what becomes of its files.
struct World {
    engine: Engine,
    seconds: u64,
    /// The names and directories of files that are there, by inode.
    files: Vec<(u64, &'static str)>,
    /// Streams that were asked for and not opened yet.
    wanted: Vec<WantedStreams>,
    opened: Vec<String>,
}

/// A file that was made in the second of its inode's number.
fn born(inode: u64) -> Identity {
    Identity { birth_nanos: i64::try_from(inode * 1_000_000_000).ok(), ..identity(inode) }
}

fn by_path(settings: &mut Settings) -> &mut ByPath {
    match &mut settings.sources[0].route {
        Route::ByPath(by_path) => by_path,
        Route::To(_) => unreachable!("it is a template"),
    }
}

fn templated(until: Until, default: Option<StreamId>) -> Settings {
    let mut settings = settings(1);
    settings.until = until;
    settings.sources[0].route = Route::ByPath(Box::new(ByPath {
        template: Template::parse("{team}").expect("a template"),
        path_fields: PathFields::try_new("^/log/(?<team>[^/]+)/").expect("an expression"),
        allowed: vec![NameGlob::parse("t*").expect("a glob")],
        default,
        max_streams: 2,
        open: Vec::new(),
        is_full: false,
    }));
    settings
}

impl World {
    fn new(until: Until, default: Option<StreamId>) -> Self {
        Self::with(templated(until, default), Memory::default())
    }

    fn with(settings: Settings, memory: Memory) -> Self {
        let engine = Engine::try_new(settings, memory, 0, at(0));
        let engine = engine.expect("delays in order");
        Self { engine, seconds: 0, files: Vec::new(), wanted: Vec::new(), opened: Vec::new() }
    }

    /// Tells an event, and carries out what follows; opens and reads files of no content.
    fn tell(&mut self, event: Event) {
        let mut waiting = vec![event];
        while let Some(event) = waiting.pop() {
            self.engine.handle(event, at(self.seconds));
            self.engine.check_laws();
            while let Some(effect) = self.engine.poll_effect() {
                waiting.extend(self.answer(effect));
            }
        }
    }

    fn answer(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Survey(survey) => {
                let file = |(inode, name): &(u64, &str)| Observed {
                    path: path(name),
                    target: None,
                    identity: born(*inode),
                    size: 0,
                    owner: 0,
                    modified: None,
                    is_matched: name.ends_with(".log"),
                    rotated_from: name.strip_suffix(".1").map(path).into_iter().collect(),
                    is_told: false,
                };
                Some(Event::Observed(Observation {
                    source: survey.source,
                    files: self.files.iter().map(file).collect(),
                    hidden: Hidden::default(),
                    held: Vec::new(),
                    unix_time: Duration::from_secs(self.seconds),
                }))
            }
            Effect::Open(open) => {
                let (inode, name) = self.files.iter().find(|(_, name)| path(name) == open.path)?;
                self.opened.push((*name).to_owned());
                let opened = Opened {
                    identity: born(*inode),
                    size: 0,
                    head: Default::default(),
                    held: None,
                    place: None,
                };
                Some(Event::Opened { file: open.file, result: Ok(opened) })
            }
            Effect::Read(read) => Some(Event::Bytes {
                file: read.file,
                result: Ok(Default::default()),
                unix_time: Duration::from_secs(self.seconds),
                modified: None,
                room: 0,
                begins: true,
            }),
            Effect::Save(_) => Some(Event::Saved(Ok(()))),
            Effect::Want(wanted) => {
                self.wanted.push(wanted);
                None
            }
            _ => None,
        }
    }

    fn look(&mut self) {
        self.seconds += 61;
        self.tell(Event::Tick);
    }

    /// Opens these streams, in that order, and no others.
    fn open(&mut self, names: &[&str]) {
        let mut new = templated(self.engine.settings().until, None);
        by_path(&mut new).default = by_path(&mut self.engine.settings().clone()).default;
        let one = new.streams[0].clone();
        for name in names {
            let id = StreamId(new.streams.len());
            new.streams.push(crate::model::settings::StreamSettings { name: (*name).into(), ..one.clone() });
            by_path(&mut new).open.push(((*name).into(), id));
        }
        by_path(&mut new).is_full = names.len() >= 2;
        let unused = self.engine.unused_streams().into_iter().collect();
        let merged = merge(self.engine.settings(), &new, &unused);
        let retired = merged.retired();
        let settings = merged.settings;
        let names = Vec::new();
        self.wanted.clear();
        self.tell(Event::Reload(Box::new(Reload { is_changed: false, settings, retired, names })));
    }

    fn wanted(&self) -> Vec<&str> {
        self.wanted.iter().flat_map(|wanted| &wanted.wanted).map(|name| &**name).collect()
    }

    /// Followed files with the names of their streams.
    fn followed(&self) -> Vec<String> {
        let shown = |(_, file): (FileId, &crate::engine::files::file::FollowedFile)| {
            format!("{} in {}", file.path.display(), self.engine.stream_name(file.stream))
        };
        self.engine.files.iter().map(shown).collect()
    }
}

use Until::{Drained, EndOfFiles};

#[test]
fn a_file_whose_stream_is_not_open_waits_for_it_and_the_stream_is_asked_for_once() {
    let mut world = World::new(Drained, None);
    world.files = vec![(1, "t1/a.log"), (2, "t1/b.log"), (3, "x/c.log")];
    (0..3).for_each(|_| world.look());
    assert_eq!((world.wanted(), world.followed().len()), (vec!["t1"], 0));
    world.open(&["t1"]);
    assert_eq!(world.followed(), ["/log/t1/a.log in t1", "/log/t1/b.log in t1"]);
    let told: Vec<_> = world.engine.unwanted.told.values().cloned().collect();
    assert_eq!(told, ["its stream would be x, which `streams` does not allow"]);
    assert_eq!(world.opened.len(), 2);
    assert!(world.wanted().is_empty() && world.engine.counts.reloads == 0);
}

#[test]
fn a_stream_that_cannot_be_opened_is_asked_for_again_when_its_file_is_seen_again() {
    let mut world = World::new(Drained, None);
    world.files = vec![(1, "t1/a.log")];
    world.look();
    world.tell(Event::ReloadRefused);
    assert_eq!(world.wanted(), ["t1"]);
    world.look();
    assert_eq!(world.wanted(), ["t1", "t1"]);
}

#[test]
fn one_pass_ends_only_once_every_stream_is_open_or_refused() {
    for refused in [false, true] {
        let mut world = World::new(EndOfFiles, None);
        world.files = vec![(1, "t1/a.log")];
        world.look();
        assert!(!world.engine.is_done());
        if refused {
            world.tell(Event::ReloadRefused);
            assert!(world.engine.is_done(), "and the file is told: {:?}", world.engine.unwanted.told);
            assert_eq!(world.engine.unwanted.told.len(), 1);
        } else {
            world.open(&["t1"]);
            assert_eq!((world.engine.is_done(), world.opened.len()), (true, 1));
        }
    }
}

#[test]
fn a_drain_waits_for_no_stream_that_is_not_open() {
    let mut world = World::new(Drained, None);
    world.files = vec![(1, "t1/a.log")];
    world.look();
    world.tell(Event::Drain);
    world.look();
    assert!(world.engine.is_done());
}

#[test]
fn what_finds_no_room_goes_to_the_default_and_a_stream_without_files_makes_room() {
    let mut world = World::new(Drained, Some(StreamId(0)));
    world.files = vec![(1, "t1/a.log"), (2, "t2/a.log")];
    world.look();
    world.open(&["t1", "t2"]);
    world.files.push((3, "t3/a.log"));
    world.look();
    assert_eq!(world.followed().last().map(String::as_str), Some("/log/t3/a.log in stream-0"));
    // What is followed stays where it is; what comes finds the room that the first has left.
    world.files = vec![(2, "t2/a.log"), (3, "t3/a.log")];
    (0..3).for_each(|_| world.look());
    world.files.push((4, "t4/a.log"));
    world.look();
    assert_eq!(world.wanted(), ["t4"]);
    assert_eq!(world.wanted[0].unused.iter().map(|name| &**name).collect::<Vec<_>>(), ["t1"]);
    world.open(&["t2", "t4"]);
    assert_eq!(world.followed(), ["/log/t2/a.log in t2", "/log/t3/a.log in stream-0", "/log/t4/a.log in t4"]);
    assert_eq!(world.engine.settings().streams.len(), 3, "in the place of the one that went");
}

#[test]
fn a_file_keeps_its_stream_when_its_path_comes_to_say_another() {
    let mut world = World::new(Drained, None);
    world.files = vec![(1, "t1/a.log"), (2, "t2/a.log")];
    world.look();
    world.open(&["t1", "t2"]);
    world.files = vec![(1, "t2/b.log"), (2, "t2/a.log")];
    (0..2).for_each(|_| world.look());
    assert_eq!(world.followed(), ["/log/t2/b.log in t1", "/log/t2/a.log in t2"]);
}

#[test]
fn what_came_for_a_stream_and_was_rotated_away_unseen_opens_it() {
    let mut world = World::new(Drained, None);
    world.files = vec![(5, "t2/a.log.1")];
    world.look();
    assert!(world.wanted().is_empty(), "what was there before is no generation that was missed");
    world.files.push((90, "t1/a.log.1"));
    world.look();
    assert_eq!(world.wanted(), ["t1"]);
    world.open(&["t1"]);
    assert_eq!(world.followed(), ["/log/t1/a.log.1 in t1"]);
}

#[test]
fn what_came_for_a_stream_before_a_crash_and_was_rotated_away_after_it_opens_it() {
    // Of one stream something is durable, from the hundredth second; of the other the file was begun, and nothing saved.
    let seen = Some(Seen { first_nanos: 0, last_nanos: 100_000_000_000, owner: 0 });
    let known = Checkpoint { stream: "t2".into(), seen, ..checkpoint(0, whose(0, 1), 5) };
    let memory = Memory { checkpoints: vec![known], next_incarnation: 1, ..Memory::default() };
    let mut world = World::with(templated(Drained, None), memory);
    world.seconds = 200;
    world.files = vec![(5, "t3/a.log.1"), (99, "t1/a.log.1")];
    world.look();
    assert_eq!(world.wanted(), ["t1"], "and what is older was seen and delivered long before");
}
