//! What the operator wants, from a file and the command line.
//!
//! As typed, then as needed: `typed` reads a TOML document value by value and keeps the place of each, `build`
//! lays the flags over it, fills in defaults and judges. Both go on after a mistake, so that every fault is
//! reported at once. What comes out is a [`Config`], valid by construction.
//!
//! Every key that is understood has an effect; any other is a fault. This room reads the configuration file and
//! nothing else: the environment, the current directory and whether a file exists are handed in. It does not know
//! which files match, nor whether the streams exist. The subcommands call it.

mod audit;
mod aws;
mod build;
mod describe;
mod env;
#[cfg(test)]
mod example;
mod expanded;
pub mod fault;
mod found;
mod include;
mod located;
#[cfg(test)]
mod mistakes;
mod routes;
mod schema;
mod sources;
mod streams;
mod templates;
mod typed;
mod units;
mod walk;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::model::settings::{Audit, Settings};
use crate::model::text::origin;
use crate::rules::pattern::{Exclude, Pattern};

pub use aws::Aws;
pub use expanded::Expanded;
pub use fault::{Fault, Faults, Place};

pub use include::{Files, NoFiles, contents};
pub use located::{Found, Located};
pub use routes::Routes;
pub use schema::schema;
pub use templates::StreamTemplate;
pub use typed::{Contents, Included};

/// A configuration with every key, its default and its reason.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The smallest useful configuration.
pub const MINIMAL: &str = include_str!("minimal.toml");

/// Everything that was configured, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the state database and its lock are; absolute.
    pub state_dir: PathBuf,
    /// In the order of [`Settings::sources`].
    pub sources: Vec<Source>,
    /// In the order of [`Settings::streams`].
    pub streams: Vec<Stream>,
    /// How streams are set up that files' paths name, the nearest first; empty where no path names any.
    pub templates: Vec<StreamTemplate>,
    /// How many directories the kernel is asked to watch at the most.
    pub max_watches: usize,
    /// How the daemon can be asked how it is.
    pub health: Health,
    /// How the daemon logs.
    pub log: Log,
    /// How long a shutdown may take to deliver what is there.
    pub shutdown_timeout: Duration,
    /// The engine's part.
    pub settings: Settings,
    /// What of it came from the environment.
    pub expanded: Expanded,
    /// What of it came from further files.
    pub included: Included,
    /// Whether a change of its files is taken in without being asked for.
    pub reload_on_change: bool,
}

/// Which files are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The source as the configuration names it.
    pub name: Arc<str>,
    /// At least one.
    pub patterns: Vec<Pattern>,
    /// Names that are not read although a pattern matches.
    pub exclude: Exclude,
    /// Further places where rotators put what they renamed.
    pub rotated: Vec<Pattern>,
    /// Whether a symbolic link is followed; else it is skipped.
    pub follow_symlinks: bool,
    /// The directories into which links may lead that are followed; anywhere where none is named.
    pub link_targets: Vec<PathBuf>,
    /// Where the patterns were written, in their order.
    pub written: Written,
}

/// Where something was written. Places are no part of what is said: all are equal.
#[derive(Clone, Debug, Default)]
pub struct Written(pub Vec<Place>);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Source {
    /// Whether `path`, which is absolute, belongs to this source.
    pub fn matches(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(path)) && !self.exclude.matches(path)
    }
}

/// How one delivery stream is reached. What is `None` is left to the SDK's default chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The stream as the configuration names it.
    pub name: Arc<str>,
    /// The stream as the service names it.
    pub delivery_stream: String,
    /// The AWS region.
    pub region: Option<String>,
    /// Further delivery streams that its files are spread over, with their regions.
    pub others: Vec<(String, Option<String>)>,
    /// The role that is assumed with the credentials that are found.
    pub role_arn: Option<String>,
    /// What is said of the way to AWS for every stream.
    pub aws: Arc<Aws>,
    /// The URL of the service, for one that is not the region's own.
    pub endpoint_url: Option<String>,
    /// Where it was found to be.
    pub found: Found,
    /// How long a request may take, its answer included.
    pub request_timeout: Duration,
    /// Which quotas the file names.
    pub quotas: NamedQuotas,
    /// Whether RecordIds are kept.
    pub audit: Audit,
}

/// Which quotas the file names; the others are those of the region. A default that is written is the default: all are
/// equal.
#[derive(Clone, Copy, Debug, Default, Eq)]
pub struct NamedQuotas {
    requests: bool,
    records: bool,
    bytes: bool,
}

impl NamedQuotas {
    /// Whether none is left to the region.
    pub fn are_all(self) -> bool {
        self.requests && self.records && self.bytes
    }
}

impl PartialEq for NamedQuotas {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// How the daemon can be asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where health and metrics are served; `None` when they are not.
    pub listen: Option<SocketAddr>,
    /// How old the oldest undelivered line may be before the daemon is not ready; `None` when that does not matter.
    pub max_lag: Option<Duration>,
    /// Names of hosts, in small letters, by which it may be asked beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// How the daemon logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

/// What a daemon without configuration does.
impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Paths or globs that replace the file's sources.
    pub paths: Vec<PathBuf>,
    /// Where they go.
    pub stream: Option<String>,
    /// Ship to the embedded delivery stream, which keeps its records here.
    pub local: Option<PathBuf>,
    /// Read every file to its end, then leave.
    pub once: bool,
    pub state_dir: Option<PathBuf>,
}

/// What the process was started in, as far as the configuration depends on it.
#[derive(Clone, Copy)]
pub struct ProcessEnvironment<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// What relative paths on the command line start from; absolute, and free of symbolic links.
    pub current_dir: &'a Path,
    /// What the machine is called.
    pub host: &'a str,
    /// Whether a path on the command line that looks like a glob is the name of a file.
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// What may be included.
    pub files: &'a dyn Files,
}

/// The files of this machine.
#[derive(Clone, Copy, Debug)]
pub struct OnDisk {
    /// Asked where one is denied.
    pub why_denied: WhyDenied,
}

impl fmt::Debug for ProcessEnvironment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessEnvironment").field("current_dir", &self.current_dir).finish_non_exhaustive()
    }
}

impl Config {
    /// The configuration in the file at `path`, without flags.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        Self::of_file(path, &read(path, |_| None)?, env, &OnDisk { why_denied: |_| None })
    }

    /// The configuration `text`, without flags, and without what it includes; faults call it `name`.
    pub fn from_text(name: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        Self::of_file(name, text, env, &NoFiles)
    }

    fn of_file(
        name: &Path,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        files: &dyn Files,
    ) -> Result<Self, Faults> {
        let around = ProcessEnvironment {
            env,
            current_dir: Path::new("/"),
            host: "localhost",
            exists: &|_| false,
            files,
        };
        Self::build(Some((name, text)), &Overrides::default(), &around)
    }

    /// The configuration of a file, by name and text, and of the flags, which win over it.
    pub fn build(
        file: Option<(&Path, &str)>,
        overrides: &Overrides,
        around: &ProcessEnvironment<'_>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let (document, expanded) = match file {
            Some(file) => Expanded::note(around.env, |env| include::read(file, around, env, &mut faults)),
            None => (Some(typed::Document::default()), Expanded::default()),
        };
        let config = document.and_then(|document| build::build(document, overrides, around, &mut faults));
        faults.or(config.map(|config| Self { expanded, ..config }))
    }

    /// Where the state is kept, whatever else is wrong with the file: a rotator that asks what has been shipped has
    /// not the daemon's environment, and needs none of it.
    pub fn state_dir(
        file: Option<(&Path, &str)>,
        overrides: &Overrides,
        around: &ProcessEnvironment<'_>,
    ) -> Result<PathBuf, Faults> {
        let mut of_file = Faults::default();
        let document = match file {
            Some((name, text)) => typed::read(name, text, around.env, &mut of_file),
            None => Some(typed::Document::default()),
        };
        let Some(document) = document.filter(|_| !of_file.about("state_dir")) else {
            return of_file.or(None);
        };
        let mut faults = Faults::default();
        let dir = build::state_dir(&document, overrides, around, &mut faults);
        faults.or(dir)
    }

    /// What the configuration amounts to, in plain lines for `standpipe check`. What came from the environment is shown by
    /// its name: it may be a secret.
    pub fn describe(&self) -> String {
        self.expanded.mask(&describe::describe(self))
    }

    /// The streams that are reached unencrypted, and not on this machine, each with its URL.
    pub fn unencrypted(&self) -> impl Iterator<Item = (&Stream, String)> {
        let urls = self.streams.iter().filter_map(|stream| Some((stream, stream.endpoint()?)));
        urls.filter(|(_, url)| is_open(url)).map(|(stream, url)| (stream, self.expanded.mask(&origin(url))))
    }
}

/// Whether requests to this URL can be read on the way.
fn is_open(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_loopback && !name.eq_ignore_ascii_case("localhost")
}

/// Says who is denied a path, and how it is granted, where that can be told.
pub type WhyDenied = fn(&Path) -> Option<String>;

/// The text of the configuration file at `path`.
pub fn read(path: &Path, why_denied: WhyDenied) -> Result<String, Faults> {
    read_or(path, why_denied, "name a readable file with -c")
}

/// The text of the configuration file at `path`, which nobody named: whoever has none yet is told how to begin.
pub fn read_unnamed(path: &Path, why_denied: WhyDenied) -> Result<String, Faults> {
    let begin = "name a readable file with -c, write one from what `standpipe example` prints, or begin without: \
                 standpipe run --local ./shipped '/var/log/app/*.log'";
    read_or(path, why_denied, begin)
}

#[expect(clippy::disallowed_methods, reason = "the one file that the configuration reads")]
fn read_or(path: &Path, why_denied: WhyDenied, what_to_do: &str) -> Result<String, Faults> {
    std::fs::read_to_string(path).map_err(|why| {
        let place = Place::File(path.display().to_string().into());
        let denied = (why.kind() == std::io::ErrorKind::PermissionDenied).then(|| why_denied(path)).flatten();
        let message = match denied {
            Some(denied) => format!("cannot be read: {why}: {denied}, or {what_to_do}"),
            None => format!("cannot be read: {why}; {what_to_do}"),
        };
        Faults::from(Fault { place, key: "configuration".to_owned(), message })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_configuration_yet_is_told_how_to_begin() {
        let missing = Path::new("/nowhere/standpipe.toml");
        let told = |read: fn(&Path, WhyDenied) -> Result<String, Faults>| {
            read(missing, |_| None).unwrap_err().to_string()
        };
        for words in ["/nowhere/standpipe.toml", "-c", "standpipe example", "standpipe run --local"] {
            assert!(told(read_unnamed).contains(words), "{words}: {}", told(read_unnamed));
        }
        assert!(!told(read).contains("--local"), "the file that was named is what is wrong");
    }

    #[test]
    fn the_state_directory_is_known_although_the_rest_is_wrong() {
        let around = ProcessEnvironment {
            env: &|_| None,
            current_dir: Path::new("/"),
            host: "localhost",
            exists: &|_| false,
            files: &NoFiles,
        };
        let dir =
            |text: &str| Config::state_dir(Some((Path::new("c.toml"), text)), &Overrides::default(), &around);
        let text = "state_dir = \"/state\"\n[stream.default]\nregion = \"${UNSET}\"";
        assert_eq!(dir(text), Ok(PathBuf::from("/state")));
        assert_eq!(dir("").as_deref(), Ok(Path::new("/var/lib/standpipe")));
        for text in ["state_dir = \"relative\"", "state_dir = \"/${UNSET}\"", "state_dir = "] {
            dir(text).expect_err(text);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_fault_with_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("absent.toml");
        let faults = Config::load(&file, &|_| None).expect_err("it is absent");
        let told = faults.to_string();
        let start = format!("{}: configuration: cannot be read: ", file.display());
        assert!(told.starts_with(&start), "{told}");
        assert!(!faults.only_command_line());
    }

    #[test]
    fn only_what_leaves_the_machine_unencrypted_is_open() {
        for (url, expected) in [
            ("https://firehose.us-east-1.amazonaws.com", false),
            ("http://127.0.0.1:4573", false),
            ("http://127.3.2.1", false),
            ("http://[::1]:4573/", false),
            ("http://localhost:4573/path", false),
            ("http://10.0.0.1:4573", true),
            ("http://user@localhost.example/", true),
            ("http://127.0.0.1@evil.example", true),
            ("http://[fd00::1]:80", true),
        ] {
            assert_eq!(super::is_open(url), expected, "{url}");
        }
    }
}
