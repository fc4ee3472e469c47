//! Floor 4: the command line. One file a subcommand.
//!
//! Knows flags, what is printed, and exit codes. Does not know how anything is done: it hands values to the daemon
//! and the shells.

/// Says on standard error, in one line, what is wrong or was done: names and messages of others are in it.
macro_rules! complain {
    ($($text:tt)*) => {
        {
            use std::io::Write as _;
            // Nobody may be reading.
            let _ = writeln!(std::io::stderr(), "standpipe: {}", crate::model::text::plain(format!($($text)*)));
        }
    };
}

mod audit;
mod check;
mod checkpoints;
mod completions;
mod cost;
mod dead_letters;
mod example;
mod help;
pub mod local;
mod logging;
mod manual;
mod meetings;
mod named;
mod preview;
mod run;
mod schema;
mod shipped;
mod signals;
mod state;
mod status;
mod table;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use rustix::process::DumpableBehavior;

use crate::config::{Config, Contents, Faults, OnDisk, Overrides, ProcessEnvironment, Routes};
use crate::daemon::MAX_THREADS;
use crate::model::text::plain_lines;
use crate::shell::denied::{self, Wanted};

/// Done.
const DONE: u8 = 0;
/// Anything that no other code stands for.
const FAILED: u8 = 1;
/// Wrong command line.
const USAGE: u8 = 64;
/// Wrong configuration, or state written by a newer version.
const CONFIGURATION: u8 = 78;

/// How long a thread for files that has nothing to do is kept.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The variable of the environment that names the configuration where no flag does.
const FILE_VARIABLE: &str = "STANDPIPE_CONFIG";

/// Where the configuration is unless it is named.
const DEFAULT_FILE: &str = "/etc/standpipe/standpipe.toml";

/// Tails log files into Amazon Data Firehose: one line, one record, and no line lost.
#[derive(Debug, Parser)]
#[command(name = "standpipe", version = env!("STANDPIPE_VERSION"), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Preview(preview::PreviewArgs),
    Example(example::ExampleArgs),
    Schema(schema::SchemaArgs),
    Status(status::StatusArgs),
    Shipped(shipped::ShippedArgs),
    Checkpoints(checkpoints::CheckpointsArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    Audit(audit::AuditArgs),
    Cost(cost::CostArgs),
    Local(local::LocalArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Manual(manual::ManualArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Memory holds lines and keys: no core of it is kept, and no other process of this user may look into it.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let parsed = help::complete(Arguments::command()).try_get_matches();
    let arguments = match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; nobody may be reading either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { DONE });
        }
    };
    ExitCode::from(match arguments.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Preview(args) => preview::preview(&args),
        Command::Example(args) => example::example(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Status(args) => status::status(&args),
        Command::Shipped(args) => shipped::shipped(&args),
        Command::Checkpoints(args) => checkpoints::checkpoints(&args),
        Command::DeadLetters(args) => dead_letters::dead_letters(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Cost(args) => cost::cost(&args),
        Command::Local(args) => serve(args),
        Command::Completions(args) => completions::completions(&args),
        Command::Manual(args) => manual::manual(&args),
    })
}

/// `standpipe local`, until a signal.
fn serve(args: local::LocalArgs) -> u8 {
    let (_log, runtime) =
        match logging::start(&Default::default(), None).and_then(|log| Ok((log, runtime()?))) {
            Ok(started) => started,
            Err(error) => return fail(&error),
        };
    let stop = match signals::stop() {
        Ok(stop) => stop,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(local::run(args, stop)) {
        Ok(()) => DONE,
        Err(error @ crate::local::Error::Option(_)) => {
            complain!("{error}");
            USAGE
        }
        Err(error) => fail(&error),
    }
}

/// One thread carries the engine and the SDK's work: with two, each request woke one from the other twice, at half
/// the cost of the request. Files and the state have threads of their own, which go soon after a burst: each keeps memory.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(MAX_THREADS).thread_keep_alive(THREAD_KEEP_ALIVE).build()
}

/// Reads the configuration that file and flags make, or says everything that is wrong with it.
fn configure(file: Option<&PathBuf>, overrides: &Overrides) -> Result<Config, u8> {
    configuration(file, overrides).map_err(|faults| {
        show_faults(&faults);
        if faults.only_command_line() { USAGE } else { CONFIGURATION }
    })
}

/// The configuration file that is named: by the flag, else by the environment, where an empty value is none.
fn named(flag: Option<&PathBuf>) -> Option<PathBuf> {
    let of_environment = || std::env::var_os(FILE_VARIABLE).filter(|value| !value.is_empty());
    flag.cloned().or_else(|| of_environment().map(PathBuf::from))
}

/// The configuration file that there has to be: none when the command line names paths, and no file.
fn configuration_file(file: Option<&PathBuf>, overrides: &Overrides) -> Option<PathBuf> {
    named(file).or_else(|| overrides.paths.is_empty().then(|| PathBuf::from(DEFAULT_FILE)))
}

fn configuration(file: Option<&PathBuf>, overrides: &Overrides) -> Result<Config, Faults> {
    let read = if named(file).is_some() { read } else { read_unnamed };
    let file = configuration_file(file, overrides);
    let text = file.as_deref().map(read).transpose()?;
    let file = file.as_deref().zip(text.as_deref());
    surrounded(|around| Config::build(file, overrides, around))
}

/// What stands in the files of the configuration; `None` when there is no such file, or it cannot be read.
fn contents(file: Option<&PathBuf>, overrides: &Overrides) -> Option<Contents> {
    let file = configuration_file(file, overrides)?;
    let text = read(&file).ok()?;
    Some(surrounded(|around| crate::config::contents((&file, &text), around)))
}

/// Where the state is that a subcommand asks for: as the daemon would find it, except that no configuration file
/// need be there.
fn state_dir(file: Option<&PathBuf>, overrides: &Overrides) -> Result<PathBuf, u8> {
    let default = PathBuf::from(DEFAULT_FILE);
    let file = named(file).or_else(|| default.exists().then_some(default));
    let found = file.as_deref().map(read).transpose().and_then(|text| {
        let file = file.as_deref().zip(text.as_deref());
        surrounded(|around| Config::state_dir(file, overrides, around))
    });
    found.map_err(|faults| {
        show_faults(&faults);
        if faults.only_command_line() { USAGE } else { CONFIGURATION }
    })
}

/// What stands in the configuration file at `path`.
fn read(path: &Path) -> Result<String, Faults> {
    crate::config::read(path, why_denied)
}

/// What stands in the configuration file at `path`, which nobody named.
fn read_unnamed(path: &Path) -> Result<String, Faults> {
    crate::config::read_unnamed(path, why_denied)
}

fn why_denied(path: &Path) -> Option<String> {
    denied::explain(path, Wanted::Read)
}

/// Where files go by the configuration at `path`.
fn routes(path: &Path) -> Result<Routes, Faults> {
    let text = read(path)?;
    surrounded(|around| Routes::read(path, &text, around))
}

#[expect(clippy::disallowed_methods, reason = "this is where the environment comes in")]
fn surrounded<T>(ask: impl FnOnce(&ProcessEnvironment<'_>) -> T) -> T {
    let current_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let names = rustix::system::uname();
    ask(&ProcessEnvironment {
        host: &names.nodename().to_string_lossy(),
        env: &|name| std::env::var(name).ok(),
        current_dir: &current_dir,
        exists: &|path| path.symlink_metadata().is_ok(),
        files: &OnDisk { why_denied },
    })
}

/// Prints everything that is wrong with a configuration, a line each or more.
fn show_faults(faults: &dyn std::fmt::Display) {
    // Nobody may be reading.
    let _ = writeln!(io::stderr(), "{}", plain_lines(&faults.to_string()));
}

fn fail(error: &dyn std::error::Error) -> u8 {
    complain!("{error}");
    FAILED
}
