//! Runs seeds, and makes of one that fails the shortest list of actions that still does.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::actions::Action;
use super::climate::Kind;
use super::world::World;

/// How many actions a seed does.
const ACTIONS: u64 = 150;

/// How many shorter lists are tried of one that fails.
const MAX_TRIES: u32 = 150;

thread_local! {
    /// Whether panics of this thread are kept instead of printed.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What `STANDPIPE_SEED` selects: `world:seed`, or `world:seed:actions` with the actions' numbers, such as
/// `plain:45:3,17,20-25`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub kind: Kind,
    pub seed: u64,
    /// Which actions of the seed are done; all of them when there is no list.
    pub kept: Option<Vec<usize>>,
}

impl Selection {
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(3, ':');
        let kind = Kind::by_name(fields.next()?)?;
        let seed = fields.next()?.parse().ok()?;
        let kept = match fields.next() {
            None => None,
            Some("") => Some(Vec::new()),
            Some(list) => Some(list.split(',').map(range).collect::<Option<Vec<_>>>()?.concat()),
        };
        Some(Self { kind, seed, kept })
    }
}

fn range(text: &str) -> Option<Vec<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?..=last.parse().ok()?).collect())
}

/// Numbers as [`Selection`] reads them.
fn ranges(numbers: &[usize]) -> String {
    let mut told = String::new();
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let len = rest.iter().zip(*first..).take_while(|(number, expected)| *number == expected).count();
        let comma = if told.is_empty() { "" } else { "," };
        let end = if len > 1 { format!("-{}", first + len - 1) } else { String::new() };
        write!(told, "{comma}{first}{end}").expect("a string takes everything");
        rest = &rest[len..];
    }
    told
}

/// A run that failed.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    /// Everything that was done until then.
    pub actions: Vec<Action>,
    pub trace: String,
}

/// Runs one seed, or what a script says in its stead.
pub fn run(kind: Kind, seed: u64, script: Option<Vec<Action>>, traced: bool) -> Result<World, Box<Failure>> {
    keep_panics();
    let mut slot = None;
    IS_QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let world = slot.insert(World::new(kind, seed, traced));
        world.script = script.map(Vec::into_iter);
        world.run(ACTIONS);
    }));
    IS_QUIET.set(false);
    match (outcome, slot) {
        (Ok(()), Some(world)) => Ok(world),
        (_, world) => {
            let message = LAST_PANIC.take();
            let (actions, trace) = world.map(|world| (world.actions, world.trace)).unwrap_or_default();
            Err(Box::new(Failure { message, actions, trace }))
        }
    }
}

/// Panics of a thread that is quiet are kept for it; those of others are told as always.
fn keep_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IS_QUIET.get() {
                LAST_PANIC.set(panic.to_string());
            } else {
                tell(panic);
            }
        }));
    });
}

/// Runs one seed; what fails is shrunk and told.
///
/// # Errors
/// What there is to tell of a run that fails.
pub fn run_or_shrink(kind: Kind, seed: u64) -> Result<World, String> {
    run(kind, seed, None, false).map_err(|failure| told(kind, seed, &failure))
}

/// The shortest list found, and how to do it again.
pub fn told(kind: Kind, seed: u64, failure: &Failure) -> String {
    let (kept, message) = shrink(kind, seed, failure);
    let mut told = format!("{kind}:{seed} failed: {}\n", failure.message);
    let (count, all) = (kept.len(), failure.actions.len());
    writeln!(told, "{count} of its {all} actions are enough for: {message}").expect("a string");
    for place in &kept {
        writeln!(told, "  {place:3} {}", failure.actions[*place]).expect("a string takes everything");
    }
    let list = ranges(&kept);
    write!(
        told,
        "replay: STANDPIPE_SEED={kind}:{seed}:{list} cargo test --test simulation replay -- --nocapture"
    )
    .expect("a string takes everything");
    told
}

/// Drops actions for as long as the rest fails alike: halves first, then quarters, and so on.
fn shrink(kind: Kind, seed: u64, failure: &Failure) -> (Vec<usize>, String) {
    let mut kept: Vec<usize> = (0..failure.actions.len()).collect();
    let mut message = failure.message.clone();
    let (mut tries, mut len) = (0, kept.len().div_ceil(2));
    while len > 0 {
        let mut at = 0;
        while at < kept.len() && tries < MAX_TRIES {
            tries += 1;
            let fewer: Vec<_> = kept[..at].iter().chain(&kept[kept.len().min(at + len)..]).copied().collect();
            let script = fewer.iter().map(|place| failure.actions[*place].clone()).collect();
            match run(kind, seed, Some(script), false) {
                Err(again) if law(&again.message) == law(&message) => {
                    (kept, message) = (fewer, again.message);
                }
                _ => at += len,
            }
        }
        len = if len == 1 || tries >= MAX_TRIES { 0 } else { len.div_ceil(2) };
    }
    (kept, message)
}

/// What a failure is about: where it was noticed, and the law's name.
fn law(message: &str) -> String {
    let line = message.lines().nth(1).unwrap_or(message);
    line.chars().take_while(|letter| *letter != ':').filter(|letter| !letter.is_ascii_digit()).collect()
}

/// Everything that happened in a run that was selected, and how it ended.
pub fn replay(selection: &Selection) -> (String, Result<World, Box<Failure>>) {
    let Selection { kind, seed, kept } = selection;
    let script = kept.as_ref().map(|kept| {
        let actions = match run(*kind, *seed, None, false) {
            Ok(world) => world.actions,
            Err(failure) => failure.actions,
        };
        kept.iter().filter_map(|place| actions.get(*place).cloned()).collect()
    });
    let outcome = run(*kind, *seed, script, true);
    let trace = match &outcome {
        Ok(world) => world.trace.clone(),
        Err(failure) => failure.trace.clone(),
    };
    (trace, outcome)
}

#[test]
fn a_selection_names_a_world_a_seed_and_actions() {
    let selected = Selection::parse("plain:45:3,17,20-22").expect("a selection");
    assert_eq!(selected.kept, Some(vec![3, 17, 20, 21, 22]));
    assert_eq!(ranges(&selected.kept.expect("a list")), "3,17,20-22");
    assert_eq!(Selection::parse("stale_sizes:7").map(|selected| selected.seed), Some(7));
    assert_eq!(Selection::parse("share:0:").and_then(|selected| selected.kept), Some(Vec::new()));
    assert_eq!(Selection::parse("7"), None, "no world is named");
    assert_eq!(Selection::parse("plain:x"), None);
}
