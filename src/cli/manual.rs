//! `standpipe manual`: man pages, for packages.
//!
//! Knows where they go; what they say is the command line's own definition.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::{Arguments, DONE, fail};

/// Writes the man pages of standpipe and its commands into a directory
#[derive(Args, Clone, Debug)]
pub(super) struct ManualArgs {
    /// An existing directory, as /usr/share/man/man1
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn manual(args: &ManualArgs) -> u8 {
    match clap_mangen::generate_to(Arguments::command(), &args.dir) {
        Ok(()) => DONE,
        Err(error) => fail(&error),
    }
}
