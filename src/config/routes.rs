//! Routes: the delivery streams that a file goes to, as the sources say.
//!
//! A rotator that asks what has been shipped has not the daemon's environment, so only what says where files go has to be
//! right here: whatever else is wrong with the configuration is the daemon's to tell.
//!
//! *Invariant:* a route that cannot be read is a fault, never a stream less.

use std::path::{Path, PathBuf};

use super::fault::Faults;
use super::sources::{Destination, destination, name_of};
use super::typed::SourceTable;
use super::{Overrides, ProcessEnvironment, build, include};
use crate::model::route::ByPath;
use crate::rules::pattern::{Exclude, Pattern};

/// The keys that say where a file goes, and `syntax`, after which nothing can be relied on.
const KEYS: [&str; 8] = [
    "syntax",
    "include",
    "source.paths",
    "source.exclude",
    "source.stream",
    "source.path_fields",
    "source.streams",
    "source.default_stream",
];

/// Where files go by one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Routes {
    /// The state directory of that configuration; `None` when it cannot be told.
    pub state_dir: Option<PathBuf>,
    sources: Vec<Route>,
}

/// Where the files of one source go.
#[derive(Clone, Debug, PartialEq)]
enum To {
    One(String),
    /// Each to the stream that its path names, else to a default.
    ByPath(Box<ByPath>, Option<String>),
}

#[derive(Clone, Debug, PartialEq)]
struct Route {
    to: To,
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
        let Some(mut document) = document.filter(|_| !KEYS.iter().any(|key| faults.about(key))) else {
            return faults.or(None);
        };
        let state_dir = build::state_dir(&document, &Overrides::default(), around, &mut faults);
        let tables = std::mem::take(&mut document.sources);
        let sources =
            tables.into_iter().filter_map(|table| Route::of(table, around.host, &mut faults)).collect();
        if faults.about("source.stream") {
            return faults.or(None);
        }
        Ok(Self { state_dir: state_dir.filter(|_| !faults.about("state_dir")), sources })
    }

    /// The streams that a file goes to which has the real path `real`, and which a pattern may match as `path`, both
    /// absolute. Where a path names one that was not opened because too many were, the file is in the default stream: that is
    /// so where `has` says that a position is stored there, and none in the other.
    pub fn of(&self, path: &Path, real: &Path, has: impl Fn(&str) -> bool) -> Vec<String> {
        let routes = self.sources.iter().filter(|route| route.takes(path));
        let streams = routes.filter_map(|route| match &route.to {
            To::One(stream) => Some(stream.clone()),
            To::ByPath(by_path, default) => {
                let is_in_default =
                    |name: &String| !has(name) && default.as_ref().is_some_and(|default| has(default));
                let named = by_path.name(real, path).ok().filter(|name| !is_in_default(name));
                named.or_else(|| default.clone())
            }
        });
        streams.collect()
    }

    /// Whether a source sends files to `stream`.
    pub fn lead_to(&self, stream: &str) -> bool {
        self.sources.iter().any(|route| match &route.to {
            To::One(one) => one == stream,
            To::ByPath(by_path, default) => by_path.may_make(stream) || default.as_deref() == Some(stream),
        })
    }
}

impl Route {
    fn of(table: SourceTable, host: &str, faults: &mut Faults) -> Option<Self> {
        let stream = table.stream.clone()?;
        let name = name_of(&table).map(|name| name.value).unwrap_or_default();
        let to = match destination(&table, &stream, (&name, host), faults) {
            Destination::One(stream) => To::One(stream.value),
            Destination::ByPath(by_path, default) => To::ByPath(by_path, default.map(|typed| typed.value)),
        };
        let values = table.files.exclude.into_iter().flatten().map(|glob| glob.value);
        Some(Self {
            to,
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
            let path = Path::new(path);
            assert_eq!(routes.of(path, path, |_| false), streams, "{}", path.display());
        }
        assert!(routes.lead_to("b") && !routes.lead_to("c"));
    }

    #[test]
    fn a_file_goes_to_the_stream_that_its_path_names_or_to_the_default() {
        let routes = read(
            r#"
            [[source]]
            paths = ["/log/*/*.log"]
            path_fields = '^/log/(?<team>[^/]+)/'
            stream = "logs-{team}"
            streams = ["logs-s*"]
            default_stream = "rest"
            "#,
        )
        .expect("it says where files go");
        let of = |path: &str, has: &[&str]| {
            routes.of(Path::new(path), Path::new(path), |stream| has.contains(&stream))
        };
        assert_eq!(of("/log/shop/a.log", &[]), ["logs-shop"]);
        assert_eq!(of("/log/pay/a.log", &[]), ["rest"]);
        assert_eq!(of("/log/shop/a.log", &["rest"]), ["rest"], "no room for more streams");
        assert_eq!(of("/log/shop/a.log", &["rest", "logs-shop"]), ["logs-shop"]);
        assert!(routes.lead_to("rest") && routes.lead_to("logs-s") && !routes.lead_to("logs-pay"));
        read("[[source]]\npaths = [\"/a\"]\nstream = \"logs-{team}\"").expect_err("no path says it");
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
