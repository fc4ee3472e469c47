//! The keys of `multiline`: which lines belong together.
//!
//! Knows that a language's name may stand in place of the table. Does not know defaults.

use std::time::Duration;

use super::start_pattern;
use crate::config::walk::{Section, Typed};
use crate::model::limits::LINES_PER_RECORD;
use crate::model::settings::{Preset, StartPattern};

/// Above, one message would be more lines than share a record.
const MAX_LINES: u32 = LINES_PER_RECORD as u32;
/// Above, the last message of a file waits longer than a rotator may leave it there.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(in crate::config) struct MultilineTable {
    pub(in crate::config) start: Option<Typed<StartPattern>>,
    pub(in crate::config) preset: Option<Typed<Preset>>,
    pub(in crate::config) max_lines: Option<Typed<u32>>,
    pub(in crate::config) timeout: Option<Typed<Duration>>,
}

/// Reads `multiline` of a source: a table, or the name of a language.
pub(super) fn read(source: &mut Section<'_, '_, '_>) -> MultilineTable {
    let of_word = |preset| MultilineTable { preset, ..MultilineTable::default() };
    source.word_or_table("multiline", &Preset::ALL, of_word, table)
}

fn table(multiline: &mut Section<'_, '_, '_>) -> MultilineTable {
    if multiline.is_there() && !multiline.has("preset") {
        multiline.require(
            "start",
            "write a regular expression that matches the first line of each message, or preset = \"java\" or another \
             language",
        );
    }
    MultilineTable {
        start: multiline.parsed("start", start_pattern),
        preset: multiline.choice("preset", &Preset::ALL),
        max_lines: multiline.count("max_lines", 1, MAX_LINES),
        timeout: multiline.duration("timeout", Duration::from_millis(10), MAX_TIMEOUT),
    }
}
