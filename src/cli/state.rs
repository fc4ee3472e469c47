//! What the subcommands that look into the state directory share.
//!
//! Knows where it is, how to look into it beside a daemon, how to ask that for a change, and how to hold the state when no
//! daemon runs. Reading makes nothing there; holding makes no state where there is none.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Config, Overrides, Routes};
use crate::shell::control::{self, Answer, AskError, Request};
use crate::shell::store::{Reader, Store, StoreError};

use super::{
    CONFIGURATION, DEFAULT_FILE, FAILED, configuration, logging, named, routes, show_faults, state_dir,
};

/// Where the state is.
#[derive(Args, Clone, Debug)]
pub(super) struct StateArgs {
    /// State directory [default: the configuration's, else $STATE_DIRECTORY, else /var/lib/standpipe]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Configuration file that names the state directory [default: $STANDPIPE_CONFIG, else /etc/standpipe/standpipe.toml, if it is there]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl StateArgs {
    /// The state directory; an exit code, after a message, when the configuration does not say.
    pub(super) fn dir(&self) -> Result<PathBuf, u8> {
        let overrides = Overrides { state_dir: self.state_dir.clone(), ..Overrides::default() };
        state_dir(self.config.as_ref(), &overrides)
    }

    /// Where files go by the configuration that is named, or else by the default one if `dir` is its state directory;
    /// `None` when there is no such configuration. An exit code, after a message, when it does not say.
    pub(super) fn routes(&self, dir: &Path) -> Result<Option<Routes>, u8> {
        let found = match named(self.config.as_ref()) {
            Some(file) => routes(&file).map(Some),
            // Of another state, nothing that is wrong in it matters.
            None => match routes(Path::new(DEFAULT_FILE)) {
                Ok(routes) if routes.state_dir.as_deref() == Some(dir) => Ok(Some(routes)),
                Err(faults) if self.state_dir.is_none() && Path::new(DEFAULT_FILE).exists() => Err(faults),
                Ok(_) | Err(_) => Ok(None),
            },
        };
        found.map_err(|faults| {
            show_faults(&faults);
            CONFIGURATION
        })
    }

    /// The configuration that is named, or else the default one if it has this state directory; `None` when there is none, or
    /// it has mistakes.
    pub(super) fn configured(&self) -> Option<Config> {
        let overrides = Overrides::default();
        let found = configuration(self.config.as_ref(), &overrides).ok()?;
        let is_of_this_state = || self.state_dir.as_ref().is_none_or(|dir| found.state_dir == *dir);
        (self.config.is_some() || is_of_this_state()).then_some(found)
    }

    /// Opens the state for reading what is durable, also beside a running daemon.
    pub(super) fn read(&self) -> Result<Reader, u8> {
        Reader::open(&self.dir()?).map_err(|error| refuse(&error))
    }

    /// Opens the state for this process alone, or finds who has it: a daemon that runs is asked to do what is wanted.
    pub(super) fn hold(&self) -> Result<Holder, u8> {
        let dir = self.dir()?;
        // What is moved aside, and why, is told there.
        let _ = logging::start(&Default::default(), None);
        // Before the lock, which would be made: where no daemon has been there is nothing to change.
        Reader::open(&dir).map_err(|error| refuse(&error))?;
        let store = match Store::open(&dir) {
            Ok((store, _)) => store,
            Err(held @ StoreError::Held { .. }) => return Ok(Holder::Daemon(Asked { dir, held })),
            Err(error) => return Err(refuse(&error)),
        };
        let reader = Reader::open(&dir).map_err(|error| refuse(&error))?;
        Ok(Holder::Own(Box::new((store, reader))))
    }
}

/// Who changes the state.
#[derive(Debug)]
pub(super) enum Holder {
    /// This process.
    Own(Box<(Store, Reader)>),
    /// Another one.
    Daemon(Asked),
}

/// The daemon that holds a state directory.
#[derive(Debug)]
pub(super) struct Asked {
    dir: PathBuf,
    held: StoreError,
}

impl Asked {
    /// Has the daemon do something; an exit code, after a message, when there is no answer, or a bad one.
    pub(super) fn ask(&self, request: &Request) -> Result<Answer, u8> {
        match control::ask(&self.dir, request) {
            Ok(Answer::Failed(why)) => {
                complain!("{}: the daemon says: {why}", self.dir.display());
                Err(FAILED)
            }
            Ok(answer) => Ok(answer),
            Err(error @ (AskError::NotThere { .. } | AskError::Denied { .. })) => {
                complain!("{}; asked through {error}", self.held);
                Err(self.held.exit_code())
            }
            Err(error @ (AskError::Hangs { .. } | AskError::Broken { .. })) => {
                complain!("{error}");
                Err(FAILED)
            }
        }
    }

    /// What a daemon says that answers another question.
    pub(super) fn confused(&self) -> u8 {
        complain!(
            "{}: the daemon gave the answer to another question: it is of another version than this command",
            self.dir.display()
        );
        FAILED
    }
}

/// Prints what is wrong with the state; returns the exit code.
pub(super) fn refuse(error: &StoreError) -> u8 {
    complain!("{error}{}", advice(error));
    error.exit_code()
}

fn advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            ": no standpipe has kept its state there; name the directory with --state-dir"
        }
        StoreError::Held { .. } => ": stop it first",
        StoreError::Newer { .. }
        | StoreError::Damaged { .. }
        | StoreError::Gone { .. }
        | StoreError::Exposed { .. }
        | StoreError::Io { .. }
        | StoreError::Sqlite { .. } => "",
    }
}

/// Writes a moment, given in milliseconds since 1970, as RFC 3339 in UTC.
pub(super) fn time(unix_ms: i64) -> String {
    let since = std::time::Duration::from_millis(unix_ms.max(0).cast_unsigned());
    // Beyond the year 9999 lies only damage.
    match std::time::SystemTime::UNIX_EPOCH.checked_add(since) {
        Some(at) if since.as_secs() < 253_402_300_800 => humantime::format_rfc3339_millis(at).to_string(),
        Some(_) | None => unix_ms.to_string(),
    }
}
