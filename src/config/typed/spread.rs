//! Over which delivery streams the files of a stream are spread: keys of a stream.
//!
//! Knows the spellings of an entry. How entries stand to one another is judged when everything has been read.

use std::time::Duration;

use super::aws::region;
use super::{DAY, stream_name};
use crate::config::walk::{Section, Typed};

#[derive(Debug)]
pub(in crate::config) struct SpreadTable {
    pub(in crate::config) delivery_stream: Option<Typed<String>>,
    pub(in crate::config) delivery_streams: Option<Typed<Vec<Typed<Entry>>>>,
    pub(in crate::config) spread_after: Option<Typed<Option<Duration>>>,
    pub(in crate::config) failover_after: Option<Typed<Option<Duration>>>,
}

/// One delivery stream of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Entry {
    pub(in crate::config) name: String,
    pub(in crate::config) region: Option<String>,
}

pub(super) fn table(stream: &mut Section<'_, '_, '_>) -> SpreadTable {
    let of_text = |text: &str| stream_name(text).map(|name| Entry { name, region: None });
    SpreadTable {
        delivery_stream: stream.parsed("delivery_stream", stream_name),
        delivery_streams: stream.texts_or_tables("delivery_streams", of_text, entry),
        spread_after: stream.duration_or_off("spread_after", Duration::from_secs(1), DAY),
        failover_after: stream.duration_or_off("failover_after", Duration::from_secs(1), 7 * DAY),
    }
}

fn entry(entry: &mut Section<'_, '_, '_>) -> Option<Entry> {
    if entry.is_there() {
        entry.require("name", "write { name = \"logs-1\", region = \"eu-west-1\" }");
    }
    let (name, region) = (entry.parsed("name", stream_name), entry.parsed("region", region));
    Some(Entry { name: name?.value, region: region.map(|region| region.value) })
}
