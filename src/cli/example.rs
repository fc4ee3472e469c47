//! `standpipe example`: a configuration to begin with.

use std::io::{self, Write as _};

use clap::Args;

use crate::config::{EXAMPLE, MINIMAL};

use super::DONE;

/// Prints a configuration with every key, its default and its reason
///
/// For example: standpipe example > /etc/standpipe/standpipe.toml
#[derive(Args, Clone, Debug)]
pub(super) struct ExampleArgs {
    /// Prints the smallest useful configuration instead
    #[arg(long)]
    minimal: bool,
}

pub(super) fn example(args: &ExampleArgs) -> u8 {
    let text = if args.minimal { MINIMAL } else { EXAMPLE };
    // Nobody may be reading.
    let _ = io::stdout().write_all(text.as_bytes());
    DONE
}
