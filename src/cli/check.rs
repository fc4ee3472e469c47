//! `standpipe check`: says what a configuration comes to, or everything that is wrong with it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::config::Overrides;
use crate::engine::port::Survey;
use crate::shell::files;

use super::run::source_files;
use super::{DONE, configure};

/// Validates the configuration and prints what it comes to
///
/// Exits 0, or 78 with every fault: file, line, column, key and what to do.
#[derive(Args, Clone, Debug)]
pub(super) struct CheckArgs {
    /// Configuration file [default: /etc/standpipe/standpipe.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn check(args: &CheckArgs) -> u8 {
    let config = match configure(args.config.as_ref(), &Overrides::default()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let surveyed = files::survey(&source_files(&config), &Survey::default());
    let mut text = config.describe();
    text.push_str("\nfiles that match now:\n");
    for file in &surveyed.observation.files {
        for source in &file.sources {
            let name = &config.sources[source.0].name;
            text.push_str(&format!("  {} ({} bytes): {name}\n", file.path.display(), file.size));
        }
    }
    for problem in &surveyed.problems {
        text.push_str(&format!("  {}: not read: {}\n", problem.path.display(), problem.reason));
    }
    // Nobody may be reading.
    let _ = io::stdout().write_all(text.as_bytes());
    DONE
}
