//! What is wrong with a configuration, all of it, each with its place.
//!
//! Knows how a fault is shown and in which order; does not know what is right: readers and judges add faults
//! here and go on, so that the operator sees every mistake at once.
//!
//! *Invariant:* what leaves this room as an error holds at least one fault.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// So many faults of one kind are shown.
const MAX_OF_A_KIND: usize = 20;

/// What a message says whatever value it is about: the words before what to do, without those in quotes and without numbers.
fn kind(message: &str) -> String {
    if message.starts_with("expected ") {
        return "is of another kind than expected".to_owned();
    }
    let mut quote = None;
    let mut kind = String::new();
    for letter in message.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '`' | '"') => quote = Some(letter),
            (None, ';' | ':') => break,
            (None, _) if letter.is_ascii_digit() => {}
            (None, _) => kind.push(letter),
        }
    }
    kind.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    CommandLine,
    Environment,
    /// A file as a whole: it cannot be read, or lacks something.
    File(Arc<str>),
    /// A character of a file; both numbers count from one.
    Text {
        file: Arc<str>,
        line: usize,
        column: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::File(file) => f.write_str(file),
            Self::Text { file, line, column } => write!(f, "{file}:{line}:{column}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where the fault is.
    pub place: Place,
    /// The key as it would be written with dots, or the flag.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.message)
    }
}

/// Every mistake, one to a line, in the order of the file; those of the command line come first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults in the order in which they are shown.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// A line for each fault, in that order; of more than twenty of a kind the first, and how many more there are.
    pub fn lines(&self) -> Vec<String> {
        let (mut lines, mut kinds) = (Vec::new(), BTreeMap::<String, usize>::new());
        for fault in &self.0 {
            let count = kinds.entry(kind(&fault.message)).or_default();
            *count += 1;
            if *count <= MAX_OF_A_KIND {
                lines.push(fault.to_string());
            }
        }
        let more = kinds.into_iter().filter(|(_, count)| *count > MAX_OF_A_KIND);
        lines.extend(more.map(|(kind, count)| format!("and {} more: {kind}", count - MAX_OF_A_KIND)));
        lines
    }

    /// Whether the command line alone is to blame: exit code 64 instead of 78.
    pub fn only_command_line(&self) -> bool {
        self.0.iter().all(|fault| fault.place == Place::CommandLine)
    }

    pub(super) fn push(&mut self, place: Place, key: impl Into<String>, message: impl Into<String>) {
        self.add(Fault { place, key: key.into(), message: message.into() });
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Whether a fault about `key` or a key below it is known: its value is a stand-in then, and comparing
    /// others with it would only report the same mistake twice.
    pub(super) fn about(&self, key: &str) -> bool {
        self.0.iter().any(|fault| match fault.key.strip_prefix(key) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        })
    }

    /// `value` if nothing is wrong, else everything that is.
    pub(super) fn or<T>(mut self, value: Option<T>) -> Result<T, Self> {
        // A value that two streams inherit is judged twice and reported once.
        self.0.sort();
        self.0.dedup();
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => {
                assert!(!self.0.is_empty(), "a configuration that cannot be built has a fault");
                Err(self)
            }
        }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize) -> Place {
        Place::Text { file: "a.toml".into(), line, column: 1 }
    }

    #[test]
    fn faults_are_shown_one_to_a_line_in_the_order_of_the_file() {
        let mut faults = Faults::default();
        faults.push(at(10), "b", "later");
        faults.push(at(9), "a", "earlier");
        faults.push(at(9), "a", "earlier");
        faults.push(Place::CommandLine, "--stream", "first");
        let faults = faults.or(Some(())).expect_err("there are faults");
        assert_eq!(
            faults.to_string(),
            "command line: --stream: first\na.toml:9:1: a: earlier\na.toml:10:1: b: later"
        );
    }

    #[test]
    fn of_many_faults_of_a_kind_twenty_are_shown_and_the_others_counted() {
        let mut faults = Faults::default();
        for line in 1..=33 {
            faults.push(at(line), "paths", format!("`rel/{line}.log` is not absolute; write the whole path"));
        }
        for line in 1..=20 {
            faults.push(at(line), "stream", "is missing; name a delivery stream");
        }
        let lines = faults.or(Some(())).expect_err("there are faults").lines();
        assert_eq!(lines.len(), 20 + 20 + 1);
        assert_eq!(lines.last().map(String::as_str), Some("and 13 more: is not absolute"));
    }

    #[test]
    fn only_the_command_line_is_to_blame_when_every_fault_is_there() {
        let mut faults = Faults::default();
        faults.push(Place::CommandLine, "--stream", "x");
        assert!(faults.only_command_line());
        faults.push(at(1), "a", "x");
        assert!(!faults.only_command_line());
    }

    #[test]
    fn a_fault_is_about_its_key_and_the_tables_above_it() {
        let mut faults = Faults::default();
        faults.push(at(1), "memory.buffer", "x");
        assert!(faults.about("memory"));
        assert!(faults.about("memory.buffer"));
        assert!(!faults.about("memory.buff"));
        assert!(!faults.about("memory.buffer_per_file"));
    }
}
