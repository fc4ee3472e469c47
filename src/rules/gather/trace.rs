//! Stack traces: which lines of a program's output belong to one, by the language that wrote them.
//!
//! Each language is a table: in which states which line leads to which state. A line that no row of the state takes begins
//! another message. Knows single lines and one byte of state; does not know what comes next, so what can only be told by a
//! later line (a second line of an exception's text, say) is not taken in.
//!
//! *Invariant:* the state is a function of the lines of one message from its first on, so a process that begins at a
//! message finds the end of it where another did.

use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::model::settings::Preset;

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u8);

/// After a line that begins no trace that is known.
pub(super) const PLAIN: State = State(0);

/// A row of a language's table.
type Row = (&'static [&'static str], &'static str, &'static str);

/// In which states a row holds where it holds in every one.
const ANY: &str = "any";
/// For a line with which a message begins.
const BEGIN: &str = "begin";
/// The name of [`PLAIN`].
const PLAIN_NAME: &str = "plain";

/// Frames are indented, and causes say so. An exception's own line begins a message, and so do lines of the log.
const JAVA: &[Row] = &[
    (&[ANY], r"^\s+at \S.*\(.*\)", "trace"),
    (&[ANY], r"^\s+\.\.\. \d+ \w", "trace"),
    (&[ANY], r"^\s*(Caused by|Wrapped by): ", "trace"),
    (&[ANY], r"^\s+Suppressed: ", "trace"),
    (&[ANY], r"^\s+\[CIRCULAR REFERENCE", "trace"),
    // Of threads that are dumped.
    (&[ANY], r"^\s+java\.lang\.Thread\.State: ", "trace"),
    (&[ANY], r"^\s+- (locked|waiting|parking|eliminated) ", "trace"),
];

/// A trace ends with the first line that is not indented, which names the exception. What led to another stands before it.
const PYTHON: &[Row] = &[
    (&[BEGIN], r"^\s*\+ Exception Group Traceback \(most recent call last\):$", "group"),
    (&[BEGIN, "chain"], r"Traceback \(most recent call last\):$", "frames"),
    (&[BEGIN], r#"^  File ".*", line \d+"#, "frames"),
    (&["frames"], r"^\s+\S", "frames"),
    (&["frames"], r"^[A-Za-z_][\w.<>]*(: |:?$)", "end"),
    (&["group"], r"^\s+[|+]", "group"),
    (&["end", "group"], r"^$", "gap"),
    (&["gap"], r"^During handling of the above exception, another exception occurred:$", "chain"),
    (&["gap"], r"^The above exception was the direct cause of the following exception:$", "chain"),
    (&["chain"], r"^$", "chain"),
    (&["chain"], r"^\s*\+ Exception Group Traceback \(most recent call last\):$", "group"),
];

/// The runtime prints what happened, an empty line, and each goroutine with a head and two lines for each frame.
const GO: &[Row] = &[
    (&[BEGIN], r"^(panic|fatal error|runtime): ", "panic"),
    (&[BEGIN], r"^SIG[A-Z]+: ", "panic"),
    (&[BEGIN], r"^unexpected fault address ", "panic"),
    (&[BEGIN], r"http: panic serving ", "panic"),
    (&["panic"], r"^$", "panic"),
    (&["panic"], r"^\t", "panic"),
    (&["panic"], r"^(panic|fatal error): |^\[(signal|recovered)|^PC=0x", "panic"),
    (&[BEGIN, "panic", "gap"], r"^goroutine \d+ .*\[.*\]:$", "frames"),
    (&["panic", "gap"], r"^runtime stack:$", "frames"),
    (&["frames"], r"^\t", "frames"),
    // A function with its arguments: no blank before the parenthesis, except in what created the goroutine.
    (&["frames"], r"^[^\s()]+(\([^\s()]*\)[^\s()]*)*\(.*\)$", "frames"),
    (&["frames"], r"^created by \S", "frames"),
    (&["frames"], r"^\.\.\.(\d+|additional) frames elided\.\.\.$", "frames"),
    (&["frames"], r"^$", "gap"),
    (&["gap", "registers"], r"^[a-z]\w*\s+0x[0-9a-f]+$", "registers"),
    (&["panic", "frames", "gap", "registers"], r"^exit status \d+$", "end"),
];

/// The place and the text come first, and then the frames: `from` each by the interpreter, bare by loggers. A cause is
/// printed behind in the same way. Ruby 3.1 and later show the code of some errors, and what may have been meant.
const RUBY: &[Row] = &[
    (&[BEGIN], r"Traceback \(most recent call last\):$", "trace"),
    (&[BEGIN], r"^#<Thread:.* terminated with exception \(report_on_exception is true\):$", "trace"),
    (&[BEGIN, "trace"], r"^\S.*:\d+:in [`'].*': ", "head"),
    (&["head", "said"], r"^$", "code"),
    (&["code"], r"^\s*\^+$", "said"),
    (&["code"], r"^Did you mean\?", "said"),
    (&["code"], r"\S", "marks"),
    (&["marks"], r"^\s*\^+$", "said"),
    (&["head", "said"], r"^Did you mean\?", "said"),
    (&["said"], r"^ {10,}\S", "said"),
    (&[ANY], r"^\s+from \S.*:\d+(:in |$)", "trace"),
    (&[ANY], r"^\s*\d+: from \S.*:\d+(:in |$)", "trace"),
    (&[ANY], r"^\s*\S+:\d+:in [`'].*'$", "trace"),
];

/// Frames are indented; properties of the error stand in braces behind them. What nobody caught is shown with its code
/// before, and the version of Node behind.
const NODE: &[Row] = &[
    (&[BEGIN], r"^(/|file://|node:|[A-Za-z]:\\)\S*:\d+$", "place"),
    (&["place"], r"\S", "code"),
    (&["code"], r"^\s*\^+$", "caret"),
    (&["caret"], r"^$", "caret"),
    (&["caret"], r"\{$", "inside"),
    (&["caret"], r"\S", "trace"),
    (&[BEGIN], r"^(Uncaught )?\[?([\w$.]*Error|AggregateError)\b.*\{$", "inside"),
    (&["inside"], r"^\}$", "trace"),
    (&["inside"], r"^\s", "inside"),
    (&[ANY], r"^\s+at .*\{$", "inside"),
    (&[ANY], r"^\s+at \S", "trace"),
    (&["trace"], r"^\s+\.\.\. \d+ lines matching ", "trace"),
    (&["trace"], r"^\s*([Cc]aused by|\[cause\]): ", "trace"),
    (&["trace"], r"^$", "gap"),
    (&["gap"], r"^Node\.js v\d", "end"),
];

/// A panic says its place and, from 1.73 on in a line of its own, its text. Errors of anyhow and eyre name their causes in
/// sections.
const RUST: &[Row] = &[
    (&[BEGIN], r"thread '.*'.* panicked at .*:\d+:\d+:$", "text"),
    (&[BEGIN], r"thread '.*'.* panicked at ", "panic"),
    (&[BEGIN], r"^thread '.*'.* has overflowed its stack$", "panic"),
    (&["text"], r"", "panic"),
    (&["panic"], r"^\s*(left|right): ", "panic"),
    (&["panic"], r"^(fatal runtime error|thread caused non-unwinding panic)", "panic"),
    (&["panic", "frames", "section"], r"^note: ", "panic"),
    (&["panic", "gap"], r"^[Ss]tack backtrace:$", "frames"),
    (&["frames"], r"^\s+\d+: ", "frames"),
    (&["frames"], r"^\s+at \S", "frames"),
    (&["frames"], r"^\s+\[\.\.\. omitted ", "frames"),
    (&[BEGIN], r"^Error: ", "error"),
    (&["error", "section", "frames"], r"^$", "gap"),
    (&["gap"], r"^(Caused by|Location):$", "section"),
    (&["section"], r"^\s+\S", "section"),
];

/// A language's table, ready for use.
#[derive(Debug)]
pub(super) struct Machine {
    rows: Vec<(u64, Regex, State)>,
    /// One bit for each state that some line leaves within its message.
    open: u64,
}

impl Machine {
    /// The table of a language.
    pub(super) fn of(preset: Preset) -> &'static Self {
        static TABLES: LazyLock<[Machine; 6]> =
            LazyLock::new(|| [JAVA, PYTHON, GO, RUBY, NODE, RUST].map(Machine::new));
        &TABLES[match preset {
            Preset::Java => 0,
            Preset::Python => 1,
            Preset::Go => 2,
            Preset::Ruby => 3,
            Preset::Node => 4,
            Preset::Rust => 5,
        }]
    }

    fn new(table: &[Row]) -> Self {
        let mut names = vec![PLAIN_NAME, BEGIN];
        for (_, _, to) in table {
            if !names.contains(to) {
                names.push(to);
            }
        }
        let index = |name: &str| {
            let index = names.iter().position(|known| *known == name);
            index.expect("a state that some row leads to, which a test holds")
        };
        // A message that begins is in no state yet.
        let within = |name: &&str| if *name == ANY { !(1 << index(BEGIN)) } else { 1 << index(name) };
        let rows: Vec<_> = table
            .iter()
            .map(|(from, pattern, to)| {
                let from = from.iter().map(within).fold(0, |all, one| all | one);
                let pattern = Regex::new(&format!("(?-u){pattern}"));
                let to = State(u8::try_from(index(to)).expect("a handful of states"));
                (from, pattern.expect("a regular expression, which a test holds"), to)
            })
            .collect();
        let open = rows.iter().fold(0, |open, (from, ..)| open | from);
        Self { rows, open }
    }

    /// The state of a message that begins with `line`.
    pub(super) fn begin(&self, line: &[u8]) -> State {
        self.step(State(1), line).unwrap_or(PLAIN)
    }

    /// The state behind `line`, where it belongs to a message that is in `state`.
    pub(super) fn step(&self, state: State, line: &[u8]) -> Option<State> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut rows = self.rows.iter().filter(|(from, ..)| from & (1 << state.0) != 0);
        rows.find(|(_, pattern, _)| pattern.is_match(line)).map(|(_, _, to)| *to)
    }

    /// Whether any line belongs to a message that is in `state`.
    pub(super) fn goes_on(&self, state: State) -> bool {
        self.open & (1 << state.0) != 0
    }
}

#[cfg(test)]
mod tests;
