//! `standpipe completions`: a script that teaches a shell the commands and flags.
//!
//! Knows the shells; what there is to complete is the command line's own definition.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Arguments, DONE};

/// Prints a completion script for a shell
///
/// For example: standpipe completions bash > /etc/bash_completion.d/standpipe
#[derive(Args, Clone, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell that is to read it
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> u8 {
    // Into memory first: the generator panics when nobody reads any more.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "standpipe", &mut script);
    let _ = io::stdout().write_all(&script);
    DONE
}
