//! `standpipe schema`: what editors have to know of the configuration.

use std::io::{self, Write as _};

use clap::Args;

use crate::config;

use super::DONE;

/// Prints a JSON Schema of the configuration, by which editors complete and check it
///
/// For example: standpipe schema > standpipe.schema.json, and `#:schema ./standpipe.schema.json` as the first line of
/// the configuration beside it, for editors that use taplo. Draft 7. What must hold between keys, `standpipe check` tells.
#[derive(Args, Clone, Debug)]
pub(super) struct SchemaArgs {}

pub(super) fn schema(_: &SchemaArgs) -> u8 {
    // Nobody may be reading.
    let _ = io::stdout().write_all(config::schema().as_bytes());
    DONE
}
