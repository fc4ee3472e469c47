//! Where the lines of a source go, as needed: to one stream, or to one that each file's path names.
//!
//! Knows what a template may be filled with. Does not know which streams will be opened.

use crate::config::fault::Faults;
use crate::config::typed::SourceTable;
use crate::config::walk::{Typed, nearest};
use crate::model::path_fields::PathFields;
use crate::model::route::{ByPath, Template, is_stream_name, is_template};

/// The most streams that one source opens where it does not say.
pub(super) const MAX_STREAMS: u32 = 100;

/// The fields that are no part of a path.
const SOURCE: &str = "source";
const HOST: &str = "host";

/// Where a source's lines go, before streams have places.
pub(in crate::config) enum Destination {
    One(Typed<String>),
    /// Each file's by its path, or to this stream by default.
    ByPath(Box<ByPath>, Option<Typed<String>>),
}

/// Refuses what says to which streams files may go, of a source that has one.
fn refuse_pointless(table: &SourceTable, faults: &mut Faults) {
    let pointless = [
        table.routing.streams.as_ref().and_then(|globs| globs.first()).map(Typed::spot),
        table.routing.default_stream.as_ref().map(Typed::spot),
        table.routing.max_streams.as_ref().filter(|most| most.value != MAX_STREAMS).map(Typed::spot),
    ];
    for spot in pointless.into_iter().flatten() {
        faults.add(spot.fault(
            "says to which streams files may go, and they all go to one; write fields in `stream`, as \"logs-{namespace}\", \
             or leave it out",
        ));
    }
}

/// Where the source `table`, which is called `name` on the machine `host`, sends its lines.
pub(in crate::config) fn destination(
    table: &SourceTable,
    stream: &Typed<String>,
    (name, host): (&str, &str),
    faults: &mut Faults,
) -> Destination {
    let routing = &table.routing;
    if !is_template(&stream.value) {
        refuse_pointless(table, faults);
        return Destination::One(stream.clone());
    }
    let one = || Destination::One(stream.clone());
    let Ok(template) = Template::parse(&stream.value) else { return one() };
    let typed_fields = table.json.path_fields.as_ref().map(|fields| &fields.value);
    let is_of_path =
        |field: &str| typed_fields.is_some_and(|fields| fields.names().any(|name| name == field));
    let mut bound = template.clone();
    for (field, value) in [(SOURCE, name), (HOST, host)] {
        let is_used = template.fields().any(|used| used == field) && !is_of_path(field);
        if is_used && !is_stream_name(value) {
            faults.add(stream.fault(format!(
                "the {field} is `{value}`, which is no part of a delivery stream's name; write it without {{{field}}}"
            )));
        }
        if is_used {
            bound = bound.with(field, value);
        }
    }
    if let Some(unknown) = bound.fields().find(|field| !is_of_path(field)) {
        let known = typed_fields.into_iter().flat_map(PathFields::names).chain([SOURCE, HOST]);
        let advice = match nearest(unknown, known) {
            Some(near) => format!("did you mean {{{near}}}?"),
            None => {
                "name it by a group of `path_fields`, as (?<team>[^/]+), or use {source} or {host}".to_owned()
            }
        };
        faults.add(stream.fault(format!("{{{unknown}}} is said by no path; {advice}")));
        return one();
    }
    let allowed = routing.streams.iter().flatten().map(|glob| glob.value.clone()).collect();
    let by_path = ByPath {
        template: bound,
        path_fields: typed_fields.cloned().unwrap_or_else(PathFields::none),
        allowed,
        default: None,
        max_streams: routing.max_streams.as_ref().map_or(MAX_STREAMS, |most| most.value) as usize,
        open: Vec::new(),
        is_full: false,
    };
    Destination::ByPath(Box::new(by_path), routing.default_stream.clone())
}
