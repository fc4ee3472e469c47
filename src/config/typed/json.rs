//! What stands in JSON records, as typed: keys of a source.
//!
//! Knows what each may be by itself; which keys a record may have beside one another is judged in `sources`.

use super::no_expression;
use crate::config::walk::{Section, Typed, json};
use crate::model::limits::TIME_KEY_BYTES;
use crate::model::path_fields::PathFields;
use crate::model::settings::TimeFormat;

#[derive(Debug, Default)]
pub(in crate::config) struct JsonTable {
    /// Whether records are JSON.
    pub(in crate::config) format: Option<Typed<bool>>,
    pub(in crate::config) fields: Option<Typed<Vec<(String, String)>>>,
    pub(in crate::config) merge_json: Option<Typed<bool>>,
    pub(in crate::config) path_fields: Option<Typed<PathFields>>,
    pub(in crate::config) time_key: Option<Typed<String>>,
    pub(in crate::config) time_format: Option<Typed<TimeFormat>>,
}

pub(super) fn table(source: &mut Section<'_, '_, '_>) -> JsonTable {
    let times = [("rfc3339", TimeFormat::Rfc3339), ("epoch_ms", TimeFormat::EpochMillis)];
    JsonTable {
        format: source.choice("format", &[("raw", false), ("json", true)]),
        fields: source.json_members("fields"),
        merge_json: source.switch("merge_json"),
        path_fields: source.parsed("path_fields", |text| {
            PathFields::try_new(text).map_err(|fault| no_expression(text, &fault))
        }),
        time_key: source.parsed("time_key", time_key),
        time_format: source.choice("time_format", &times),
    }
}

fn time_key(text: &str) -> Result<String, String> {
    match json(text).len() {
        0..=2 => Err("is empty; write a name or leave the key out".to_owned()),
        3..=TIME_KEY_BYTES => Ok(text.to_owned()),
        bytes => Err(format!("comes to {bytes} bytes in JSON; write a name of up to {TIME_KEY_BYTES}")),
    }
}
