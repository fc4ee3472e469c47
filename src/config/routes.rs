//! Routes: the delivery streams that a file goes to, as the sources say.
//!
//! A rotator that asks what has been shipped has not the daemon's environment, so only what says where files go has to be
//! right here: whatever else is wrong with the configuration is the daemon's to tell.
//!
//! *Invariant:* a route that cannot be read is a fault, never a stream less.

use std::path::{Path, PathBuf};

use super::fault::Faults;
use super::typed::SourceTable;
use super::{Overrides, ProcessEnvironment, build, include};
use crate::rules::pattern::{Exclude, Pattern};

/// The keys that say where a file goes, and `syntax`, after which nothing can be relied on.
const KEYS: [&str; 5] = ["syntax", "include", "source.paths", "source.exclude", "source.stream"];

/// Where files go by one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// The state directory of that configuration; `None` when it cannot be told.
    pub state_dir: Option<PathBuf>,
    sources: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    stream: String,
    patterns: Vec<Pattern>,
    exclude: Exclude,
}

impl Routes {
    /// The routes in the configuration `text`, which faults call `name`.
    ///
    /// # Errors
    /// When a source does not say which files it reads, or where they go.
    pub fn read(name: &Path, text: &str, around: &ProcessEnvironment<'_>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let document = include::read((name, text), around, around.env, &mut faults);
        let Some(document) = document.filter(|_| !KEYS.iter().any(|key| faults.about(key))) else {
            return faults.or(None);
        };
        let state_dir = build::state_dir(&document, &Overrides::default(), around, &mut faults);
        let sources = document.sources.into_iter().filter_map(Route::of).collect();
        Ok(Self { state_dir: state_dir.filter(|_| !faults.about("state_dir")), sources })
    }

    /// The streams that the file `path`, which is absolute, goes to.
    pub fn of(&self, path: &Path) -> impl Iterator<Item = &str> {
        let routes = self.sources.iter().filter(move |route| route.takes(path));
        routes.map(|route| route.stream.as_str())
    }

    /// Whether a source sends files to `stream`.
    pub fn lead_to(&self, stream: &str) -> bool {
        self.sources.iter().any(|route| route.stream == stream)
    }
}

impl Route {
    fn of(table: SourceTable) -> Option<Self> {
        let values = table.files.exclude.into_iter().flatten().map(|glob| glob.value);
        Some(Self {
            stream: table.stream?.value,
            patterns: table.paths?.into_iter().map(|pattern| pattern.value).collect(),
            exclude: Exclude::new(values.collect()),
        })
    }

    fn takes(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(path)) && !self.exclude.matches(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Routes, Faults> {
        let around = ProcessEnvironment {
            env: &|_| None,
            current_dir: Path::new("/"),
            host: "localhost",
            exists: &|_| false,
            files: &crate::config::NoFiles,
        };
        Routes::read(Path::new("c.toml"), text, &around)
    }

    #[test]
    fn a_file_goes_to_the_stream_of_each_source_that_matches_and_does_not_exclude_it() {
        let routes = read(
            "state_dir = \"/state\"
            [[source]]
            paths = [\"/log/*.log\"]
            stream = \"a\"
            fields = { node = \"${UNSET}\" }
            [[source]]
            paths = [\"/log/*.log\", \"/other/x\"]
            exclude = [\"debug*\"]
            stream = \"b\"",
        );
        let routes = routes.expect("where files go is right, though a variable is not set");
        assert_eq!(routes.state_dir.as_deref(), Some(Path::new("/state")));
        let table: [(&str, &[&str]); 4] = [
            ("/log/x.log", &["a", "b"]),
            ("/log/debug.log", &["a"]),
            ("/other/x", &["b"]),
            ("/log/x.log.1", &[]),
        ];
        for (path, streams) in table {
            assert_eq!(routes.of(Path::new(path)).collect::<Vec<_>>(), streams, "{path}");
        }
        assert!(routes.lead_to("b") && !routes.lead_to("c"));
    }

    #[test]
    fn a_source_that_does_not_say_where_its_files_go_is_a_fault() {
        for text in [
            "[[source]]\npaths = [\"/${UNSET}/*\"]\nstream = \"s\"",
            "[[source]]\npaths = [\"/a\"]\nstream = \"${UNSET}\"",
            "[[source]]\npaths = [\"/a\"]",
            "[[source]]\npaths = [\"/a\"]\nexclude = \"x\"\nstream = \"s\"",
            "[[source]",
        ] {
            read(text).expect_err(text);
        }
    }
}
