//! What stands in JSON records beside the lines.
//!
//! Knows which keys a record has. Does not know what they say of a line.
//!
//! *Invariant:* no two keys of a record differ in their case alone, and together they leave most of a record to its line.

use crate::config::fault::Faults;
use crate::config::typed::SourceTable;
use crate::config::walk::{Typed, json};
use crate::model::limits::{CHANNEL_KEY, ENVELOPE_KEYS, FIELDS_BYTES, TIME_KEY, folded};
use crate::model::route::is_template;
use crate::model::settings::{Envelope, Format, TimeFormat};

/// What is said beside the lines, judged.
pub(super) fn format_of(table: &SourceTable, host: &str, faults: &mut Faults) -> Format {
    let json = &table.json;
    if !json.format.as_ref().is_some_and(|format| format.value) {
        let names_streams = table.stream.as_ref().is_some_and(|stream| is_template(&stream.value));
        let pointless = [
            json.fields.as_ref().filter(|fields| !fields.value.is_empty()).map(Typed::spot),
            json.merge_json.as_ref().filter(|merge| merge.value).map(Typed::spot),
            json.path_fields.as_ref().filter(|_| !names_streams).map(Typed::spot),
            json.time_key.as_ref().filter(|key| key.value != TIME_KEY).map(Typed::spot),
            json.time_format.as_ref().filter(|format| format.value != TimeFormat::Rfc3339).map(Typed::spot),
        ];
        // A default is always as good as nothing.
        for spot in pointless.into_iter().flatten() {
            faults
                .add(spot.fault("says what stands in JSON records, and they are raw; add format = \"json\""));
        }
        return Format::Raw;
    }
    judge_keys(table, faults);
    let members = json.fields.as_ref().map(|fields| &fields.value[..]).unwrap_or_default();
    Format::Json(Envelope {
        host: host.into(),
        fields: members.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
        merge: json.merge_json.as_ref().is_some_and(|merge| merge.value),
        path_fields: json.path_fields.as_ref().map(|fields| fields.value.clone()),
        time_key: json.time_key.as_ref().map_or(TIME_KEY, |key| &key.value).into(),
        time_format: json.time_format.as_ref().map_or(TimeFormat::Rfc3339, |format| format.value),
    })
}

fn judge_keys(table: &SourceTable, faults: &mut Faults) {
    let json_table = &table.json;
    let unwraps = table.parse.as_ref().is_some_and(|parse| parse.value.is_some());
    let ours = ENVELOPE_KEYS.into_iter().filter(|key| unwraps || *key != CHANNEL_KEY);
    let mut taken: Vec<String> = ours.map(str::to_owned).collect();
    // A key in whatever case is taken by the first who has it.
    let mut take = |key: &str| {
        let key = folded(key);
        let is_free = !taken.contains(&key);
        taken.push(key);
        is_free
    };
    let is_free = take(json_table.time_key.as_ref().map_or(TIME_KEY, |key| &key.value));
    if let Some(key) = json_table.time_key.as_ref().filter(|_| !is_free) {
        faults.add(key.fault(format!("`{}` is said of every line already; give it another name", key.value)));
    }
    if let Some(fields) = &json_table.fields {
        for (key, _) in &fields.value {
            if !take(key) {
                faults.add(
                    fields.fault(format!("`{key}` is said of every line already; give it another name")),
                );
            }
        }
        let bytes: usize = fields.value.iter().map(|(key, value)| json(key).len() + value.len() + 2).sum();
        if bytes > FIELDS_BYTES {
            let most = FIELDS_BYTES;
            faults.add(
                fields.fault(format!("come to {bytes} bytes in every record; leave some out, up to {most}")),
            );
        }
    }
    if let Some(fields) = &json_table.path_fields {
        if fields.value.names().next().is_none() {
            faults.add(fields.fault("names no field; write (?<name>…) around what is to be one"));
        }
        for name in fields.value.names().filter(|name| !take(name)) {
            faults.add(
                fields.fault(format!("`{name}` is said of every line already; give the group another name")),
            );
        }
    }
}
