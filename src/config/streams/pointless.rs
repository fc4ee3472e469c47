//! Keys that would have no effect: told, so that nobody waits for one.
//!
//! Knows which key needs which other, whether that is written or left to its default. A default has the effect that it has
//! always: it is never refused.
//!
//! *Invariant:* to write a default, or to leave one out, changes nothing of what is refused.

use std::time::Duration;

use super::spread::SPREAD_AFTER;
use super::{DEFAULT, LINGER, Levels, PACK_DELAY, Streams};
use crate::config::audit::DEFAULT_BYTES;
use crate::config::fault::Faults;
use crate::config::typed::StreamTable;
use crate::config::walk::Typed;
use crate::model::limits::RECORD_BYTES;
use crate::model::settings::{Api, Compression};

const UNPACKED: &str = "says how lines are packed, and they are not; add packing = \"on\"";

/// How long a session of STS lasts that nobody asks to last otherwise.
const SESSION: Duration = Duration::from_secs(60 * 60);

/// A key of a stream that has an effect only beside another.
struct Key {
    /// Where it is written, whatever it says.
    written: fn(&StreamTable) -> Option<Typed<()>>,
    /// Whether it says what its default says.
    is_default: fn(&StreamTable) -> bool,
    /// Whether it has an effect.
    works: fn(Levels<'_>) -> bool,
    message: &'static str,
}

fn spot<T>(typed: &Option<Typed<T>>) -> Option<Typed<()>> {
    typed.as_ref().map(Typed::spot)
}

fn is<T: PartialEq>(typed: &Option<Typed<T>>, default: T) -> bool {
    typed.as_ref().is_some_and(|typed| typed.value == default)
}

fn packs(levels: Levels<'_>) -> bool {
    levels.value(|table| &table.packing.packing) == Some(true)
}

const KEYS: [Key; 6] = [
    Key {
        written: |table| spot(&table.packing.pack_bytes),
        is_default: |table| is(&table.packing.pack_bytes, RECORD_BYTES as u64),
        works: packs,
        message: UNPACKED,
    },
    Key {
        written: |table| spot(&table.packing.pack_delay),
        is_default: |table| is(&table.packing.pack_delay, PACK_DELAY),
        works: packs,
        message: UNPACKED,
    },
    Key {
        written: |table| spot(&table.packing.compression),
        is_default: |table| is(&table.packing.compression, Compression::None),
        works: packs,
        message: "compresses lines that share a record, and they share none; add packing = \"on\"",
    },
    Key {
        written: |table| spot(&table.linger),
        is_default: |table| is(&table.linger, LINGER),
        works: |levels| {
            !packs(levels) && levels.value(|table| &table.api).is_some_and(|api| api != Api::PutRecord)
        },
        message: "says how long a record waits for others to share its request, and none does; add api = \"auto\", without \
                  packing, or leave it out",
    },
    Key {
        written: |table| spot(&table.audit.audit_bytes),
        is_default: |table| is(&table.audit.audit_bytes, DEFAULT_BYTES),
        works: |levels| levels.value(|table| &table.audit.audit) == Some(true),
        message: "says how many RecordIds are kept, and none are; add audit = true",
    },
    Key {
        written: |table| spot(&table.spread.spread_after),
        is_default: |table| is(&table.spread.spread_after, Some(SPREAD_AFTER)),
        works: |levels| {
            let several = |table: &StreamTable| {
                table.spread.delivery_streams.as_ref().is_some_and(|streams| streams.value.len() > 1)
            };
            levels.own.is_some_and(several)
        },
        message: "says when files go on at another delivery stream, and there is one; name several in delivery_streams, or leave \
                  it out",
    },
];

impl Streams<'_> {
    /// Reports every key that has no effect for any stream that its table is for.
    pub(super) fn refuse_pointless(&self, faults: &mut Faults) {
        let default = self.table(DEFAULT);
        for key in &KEYS {
            for table in self.tables.iter().filter(|table| !(key.is_default)(table)) {
                let Some(spot) = (key.written)(table) else { continue };
                let works = |own| (key.works)(Levels { own, default });
                let works = match table.name.value == DEFAULT {
                    false => works(Some(table)),
                    // It is for other streams, too.
                    true => {
                        let mut others = self.tables.iter().filter(|other| other.name.value != DEFAULT);
                        works(None) || others.any(|other| works(Some(other)))
                    }
                };
                if !works {
                    faults.add(spot.fault(key.message));
                }
            }
        }
        let roles = self.tables.iter().map(|table| &table.role_arn).chain([&self.aws.role_arn]);
        if roles.flatten().next().is_none() {
            let duration =
                spot(&self.aws.session_duration).filter(|_| !is(&self.aws.session_duration, SESSION));
            for spot in spot(&self.aws.external_id).into_iter().chain(duration) {
                faults.add(
                    spot.fault("is said when a role is assumed, and none is; add role_arn, or leave it out"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    /// Which keys are refused in a file with these tables, beside a source that goes to `a`.
    fn refused(tables: &str) -> Vec<String> {
        let text = format!("source = [{{ paths = [\"/a\"], stream = \"a\" }}]\n{tables}");
        match Config::from_text(Path::new("c.toml"), &text, &|_| None) {
            Ok(_) => Vec::new(),
            Err(faults) => {
                let text = faults.to_string();
                let key = |line: &str| line.split(": ").nth(1).map(str::to_owned);
                text.lines().filter_map(key).collect()
            }
        }
    }

    #[test]
    fn a_key_without_effect_is_refused_whether_the_key_that_it_needs_is_written_or_not() {
        for (key, default, needs, off, on) in [
            ("pack_bytes = 5000", "pack_bytes = \"1000KiB\"", "packing", "\"off\"", "\"on\""),
            ("pack_delay = \"2s\"", "pack_delay = \"1s\"", "packing", "\"off\"", "\"on\""),
            ("compression = \"gzip\"", "compression = \"none\"", "packing", "\"off\"", "\"on\""),
            ("linger = \"0ms\"", "linger = \"5ms\"", "api", "\"put_record\"", "\"auto\""),
            ("audit_bytes = \"64MiB\"", "audit_bytes = \"256MiB\"", "audit", "false", "true"),
        ] {
            let name = format!("stream.a.{}", key.split(' ').next().expect("a key"));
            for switch in [String::new(), format!("{needs} = {off}\n")] {
                assert_eq!(refused(&format!("[stream.a]\n{switch}{key}")), [&*name], "{switch}{key}");
                assert_eq!(refused(&format!("[stream.a]\n{switch}{default}")), [""; 0], "{switch}{default}");
            }
            assert_eq!(refused(&format!("[stream.a]\n{needs} = {on}\n{key}")), [""; 0], "{key}");
            // Of the table for all streams, one that it is for is enough.
            let shared = format!("[stream.default]\n{key}\n[stream.a]\n");
            assert_eq!(refused(&shared), [name.replace(".a.", ".default.")], "{key}");
            assert_eq!(refused(&format!("{shared}{needs} = {on}")), [""; 0], "{key}");
            assert_eq!(refused(&format!("{shared}{needs} = {on}\n{default}")), [""; 0], "{default}");
        }
        assert_eq!(refused("[stream.a]\nspread_after = \"2m\""), ["stream.a.spread_after"]);
        assert_eq!(refused("[stream.a]\nspread_after = \"1m\""), [""; 0]);
    }

    #[test]
    fn what_is_said_to_a_role_needs_one() {
        let said = "external_id = \"abc\"\nsession_duration = \"2h\"";
        assert_eq!(refused(&format!("[aws]\n{said}")), ["aws.external_id", "aws.session_duration"]);
        assert_eq!(refused("[aws]\nsession_duration = \"1h\"\nsession_name = \"standpipe\""), [""; 0]);
        let role = "role_arn = \"arn:aws:iam::123456789012:role/a\"";
        assert_eq!(refused(&format!("[aws]\n{said}\n{role}")), [""; 0]);
        assert_eq!(refused(&format!("[aws]\n{said}\n[stream.a]\n{role}")), [""; 0]);
    }
}
