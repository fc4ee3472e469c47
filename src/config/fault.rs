//! What is wrong with a configuration, all of it, each with its place.
//!
//! Knows how a fault is shown and in which order; does not know what is right: readers and judges add faults
//! here and go on, so that the operator sees every mistake at once.
//!
//! *Invariant:* what leaves this room as an error holds at least one fault.

use std::fmt;
use std::sync::Arc;

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
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
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
