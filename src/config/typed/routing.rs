//! To which streams the files of a source go, as typed: keys of a source.
//!
//! Knows what each may be by itself; what a template may be filled with is judged in `sources`.

use super::stream_name;
use crate::config::walk::{Section, Typed};
use crate::model::route::{NameGlob, Template, is_template};

/// Each stream has a quota, a part of the memory and connections of its own.
const MAX_STREAMS: u32 = 1_000;

/// To which streams the files of a source may go, where their paths name them.
#[derive(Debug, Default)]
pub(in crate::config) struct RoutingTable {
    pub(in crate::config) streams: Option<Vec<Typed<NameGlob>>>,
    pub(in crate::config) default_stream: Option<Typed<String>>,
    pub(in crate::config) max_streams: Option<Typed<u32>>,
}

pub(super) fn table(source: &mut Section<'_, '_, '_>) -> RoutingTable {
    RoutingTable {
        streams: source.list("streams", NameGlob::parse),
        default_stream: source.parsed("default_stream", stream_name),
        max_streams: source.count("max_streams", 1, MAX_STREAMS),
    }
}

/// A delivery stream's name, or a template that makes such names of what files' paths say.
pub(super) fn stream_or_template(text: &str) -> Result<String, String> {
    match is_template(text) {
        true => Template::parse(text).map(|_| text.to_owned()),
        false => stream_name(text),
    }
}
