//! Mistakes, and the exact words that the operator gets for each.

use std::path::Path;

use super::Config;

/// What goes before a mistake that is not about sources, so that it is the only one.
const SOURCE: &str = "source = [{ paths = [\"/a/*.log\"], stream = \"s\" }]\n";

fn env(name: &str) -> Option<String> {
    match name {
        "APP" => Some("shop".to_owned()),
        "ZERO" => Some("0".to_owned()),
        "SECRET" => Some("s3cr3t-token".to_owned()),
        _ => None,
    }
}

fn faults(text: &str) -> String {
    match Config::from_text(Path::new("c.toml"), text, &env) {
        Ok(config) => panic!("{text} is valid: {config:?}"),
        Err(faults) => faults.to_string(),
    }
}

/// `(text, faults)`; the text stands from line 2 on, behind a good source.
const BESIDE_A_GOOD_SOURCE: &[(&str, &str)] = &[
    (
        r#"state_dri = "/x""#,
        "c.toml:2:1: state_dri: unknown key; did you mean `state_dir`?",
    ),
    (
        r#"state_dir = "lib""#,
        "c.toml:2:13: state_dir: `lib` is not absolute; write the whole path, from / on",
    ),
    (
        "state_dir = 5",
        "c.toml:2:13: state_dir: expected a text in quotes, found 5",
    ),
    (
        "[helth]",
        "c.toml:2:2: helth: unknown key; did you mean `health`?",
    ),
    (
        r#"[log]
levle = "info""#,
        "c.toml:3:1: log.levle: unknown key; did you mean `level`?",
    ),
    (
        r#"[log]
level = "loud""#,
        r#"c.toml:3:9: log.level: `loud` is not one of the choices; write one of "off", "error", "warn", "info", "debug", "trace""#,
    ),
    (
        r#"[log]
format = ["json"]"#,
        r#"c.toml:3:10: log.format: expected "auto", "text" or "json", found a list"#,
    ),
    (
        "[log]
colour = true",
        "c.toml:3:1: log.colour: unknown key; known here: format, level",
    ),
    (
        r#"log = "json""#,
        r#"c.toml:2:7: log: expected a table, [log], found "json""#,
    ),
    (
        r#"[aws]
region = "Frankfurt"
role_arn = "firehose-writer"
endpoint_url = "localhost:4573"
profile = """#,
        r#"c.toml:3:10: aws.region: `Frankfurt` is not a region; write it as "us-east-1"
c.toml:4:12: aws.role_arn: `firehose-writer` is not a role's ARN; write it as "arn:aws:iam::123456789012:role/NAME"
c.toml:5:16: aws.endpoint_url: is not a URL; write it as "https://HOST:PORT"
c.toml:6:11: aws.profile: is empty; write a name or leave the key out"#,
    ),
    (
        r#"[health]
listen = ":9909""#,
        r#"c.toml:3:10: health.listen: `:9909` is not an address with a port; write it as "127.0.0.1:9909", or "off""#,
    ),
    (
        r#"[health]
hosts = ["metrics.example:443", ""]"#,
        r#"c.toml:3:10: health.hosts: `metrics.example:443` is not a host's name; write it without a port, like "metrics.example"
c.toml:3:33: health.hosts: `` is not a host's name; write it without a port, like "metrics.example""#,
    ),
    (
        r#"[checkpoint]
interval = "1ms""#,
        "c.toml:3:12: checkpoint.interval: 1ms is out of range; write a duration from 10ms to 1h",
    ),
    (
        r#"[checkpoint]
interval = "1 parsec""#,
        r#"c.toml:3:12: checkpoint.interval: `1 parsec` is not a duration; write it as "250ms", "5s" or "1m""#,
    ),
    (
        "[checkpoint]
interval = 1",
        r#"c.toml:3:12: checkpoint.interval: expected a duration such as "250ms", "5s" or "1m", found 1"#,
    ),
    (
        r#"[checkpoint]
max_bytes = "0""#,
        "c.toml:3:13: checkpoint.max_bytes: 0 is out of range; write a size from 1B to 1TiB",
    ),
    (
        r#"[memory]
buffer = "1MB""#,
        "c.toml:3:10: memory.buffer: 1MB is out of range; write a size from 2MiB to 1TiB",
    ),
    (
        r#"[memory]
buffer = "4MiB""#,
        "c.toml:3:10: memory.buffer: buffer_per_file, 8MiB, is above buffer, 4MiB, which all files share; set buffer_per_file <= buffer",
    ),
    (
        r#"[memory]
buffer = "16MiB"
buffer_per_file = "32MiB""#,
        "c.toml:4:19: memory.buffer_per_file: buffer_per_file, 32MiB, is above buffer, 16MiB, which all files share; set buffer_per_file <= buffer",
    ),
    (
        r#"[memory]
buffer_per_file = "12 apples""#,
        r#"c.toml:3:19: memory.buffer_per_file: `12 apples` is not a size; write it as "1000KiB", "5MB" or a number of bytes"#,
    ),
    (
        r#"[shutdown]
timeout = "25s"
ship_partial_lines = "yes""#,
        r#"c.toml:4:22: shutdown.ship_partial_lines: expected true or false, found "yes""#,
    ),
    (
        "[stream.t]",
        "c.toml:2:9: stream.t: no source goes to this stream; name it in a source, or leave the table out",
    ),
    (
        r#"[stream.x]
api = "auto"
[stream.ss]"#,
        "c.toml:2:9: stream.x: no source goes to this stream; name it in a source, or leave the table out
c.toml:4:9: stream.ss: no source goes to this stream; did you mean `s`?",
    ),
    (
        "[stream]
s = 1",
        "c.toml:3:1: stream.s: expected a table, [stream.s], found 1",
    ),
    (
        "[stream.s]
packing = true",
        r#"c.toml:3:11: stream.s.packing: expected "on" or "off", found true"#,
    ),
    (
        r#"[aws]
aws_access_key_id = "AKIDEXAMPLE"
secret-access-key = "no""#,
        "c.toml:3:1: aws.aws_access_key_id: credentials have no place in this file, which others may read; give the host, pod or task a role, name a profile of ~/.aws/credentials as `profile` in [aws], or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment (docs/aws.md)
c.toml:4:1: aws.secret-access-key: credentials have no place in this file, which others may read; give the host, pod or task a role, name a profile of ~/.aws/credentials as `profile` in [aws], or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment (docs/aws.md)",
    ),
    (
        "[stream.s]
max_in_flight = 0",
        "c.toml:3:17: stream.s.max_in_flight: 0 is out of range; write a whole number from 1 to 10000",
    ),
    (
        "[stream.s]
max_in_flight = 99999999999999999999999999999999999999999",
        "c.toml:3:17: stream.s.max_in_flight: 99999999999999999999999999999999999999999 is out of range; write a whole number from 1 to 10000",
    ),
    (
        "[stream.s]
quota = { share = 1.5 }",
        "c.toml:3:19: stream.s.quota.share: 1.5 is out of range; write a number above 0 and at most 1, such as 0.9",
    ),
    (
        "[stream.s]
quota = { share = 0, adaptive = 1 }",
        "c.toml:3:19: stream.s.quota.share: 0 is out of range; write a number above 0 and at most 1, such as 0.9
c.toml:3:33: stream.s.quota.adaptive: expected true or false, found 1",
    ),
    (
        "[stream.s]
quota = { share = nan }",
        "c.toml:3:19: stream.s.quota.share: NaN is out of range; write a number above 0 and at most 1, such as 0.9",
    ),
    (
        "[stream.s]
quota.requests_per_second = 1",
        "c.toml:3:29: stream.s.quota.requests_per_second: share x quota is 0.9 x 1 a second, too little to send anything; make the product at least 2",
    ),
    (
        r#"[stream.s.quota]
bytes_per_second = "1KiB""#,
        "c.toml:3:20: stream.s.quota.bytes_per_second: share x quota is 0.9 x 1024 a second, too little to send anything; make the product at least 10240",
    ),
    (
        "[stream.s]
quota = { records_per_second = 10, share = 0.1 }",
        "c.toml:3:32: stream.s.quota.records_per_second: share x quota is 0.1 x 10 a second, too little to send anything; make the product at least 2",
    ),
    (
        "[stream.default]
quota = { share = 0.0005 }",
        "c.toml:3:19: stream.default.quota.share: share x quota is 0.0005 x 2000 a second, too little to send anything; make the product at least 2
c.toml:3:19: stream.default.quota.share: share x quota is 0.0005 x 5000000 a second, too little to send anything; make the product at least 10240",
    ),
    (
        r#"[stream.s]
retry = { initial = "1m" }"#,
        "c.toml:3:21: stream.s.retry.initial: the first wait, 1m, is above the longest, 30s; set initial <= max",
    ),
    (
        r#"[stream.s]
retry = { initial = "2s", max = "1s" }"#,
        "c.toml:3:21: stream.s.retry.initial: the first wait, 2s, is above the longest, 1s; set initial <= max",
    ),
    (
        r#"[stream.s]
retry = { stuck_after = "10ms" }"#,
        "c.toml:3:25: stream.s.retry.stuck_after: 10ms is out of range; write a duration from 1s to 7days",
    ),
    (
        r#"[stream.s]
api = "batch""#,
        r#"c.toml:3:7: stream.s.api: `batch` is not one of the choices; write one of "put_record", "auto", "put_record_batch""#,
    ),
    (
        r#"[stream.s]
delivery_stream = "not a name""#,
        "c.toml:3:19: stream.s.delivery_stream: `not a name` is not a delivery stream's name; write 1 to 64 of a-z A-Z 0-9 _ . -",
    ),
    (
        r#"[stream.s]
delivery_stream = "a"
delivery_streams = ["b", "c"]"#,
        "c.toml:4:20: stream.s.delivery_streams: stands beside delivery_stream; leave one of the two out",
    ),
    (
        r#"[stream.s]
delivery_streams = []"#,
        "c.toml:3:20: stream.s.delivery_streams: has 0 entries; name 1 to 16 delivery streams",
    ),
    (
        r#"[stream.s]
delivery_streams = ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]"#,
        "c.toml:3:20: stream.s.delivery_streams: has 17 entries; name 1 to 16 delivery streams",
    ),
    (
        r#"[stream.s]
region = "eu-west-1"
delivery_streams = ["a", "b", { name = "a", region = "eu-west-1" }]"#,
        "c.toml:4:31: stream.s.delivery_streams: `a` stands there before; name each delivery stream once",
    ),
    (
        r#"[stream.s]
delivery_streams = ["a", { region = "eu-west-1" }, 7, "no name", { name = "b", zone = "x" }]"#,
        r#"c.toml:3:26: stream.s.delivery_streams.name: is missing; write { name = "logs-1", region = "eu-west-1" }
c.toml:3:52: stream.s.delivery_streams: expected a text in quotes, or a table, found 7
c.toml:3:55: stream.s.delivery_streams: `no name` is not a delivery stream's name; write 1 to 64 of a-z A-Z 0-9 _ . -
c.toml:3:80: stream.s.delivery_streams.zone: unknown key; known here: name, region"#,
    ),
    (
        r#"[stream.s]
region = "eu-west-1"
delivery_streams = ["a", { name = "a", region = "us-east-1" }]"#,
        "c.toml:4:26: stream.s.delivery_streams: is in another region than the first one, and nothing says when files go there; add failover_after = \"5m\", or leave it out",
    ),
    (
        r#"[stream.s]
failover_after = "5m"
spread_after = "never""#,
        r#"c.toml:3:18: stream.s.failover_after: says when files go to another region, and there is none; add { name = "…", region = "…" } to delivery_streams, or leave it out
c.toml:4:16: stream.s.spread_after: `never` is not a duration; write it as "250ms", "5s" or "1m""#,
    ),
    (
        r#"[stream.default]
delivery_streams = ["all"]"#,
        "c.toml:3:20: stream.default.delivery_streams: would send every stream to one place; put it into that stream's own table",
    ),
    (
        r#"[stream.default]
delivery_stream = "all""#,
        "c.toml:3:19: stream.default.delivery_stream: would send every stream to one place; put it into that stream's own table",
    ),
    (
        r#"[stream.s]
request_timeout = "5ms""#,
        "c.toml:3:19: stream.s.request_timeout: 5ms is out of range; write a duration from 10ms to 1h",
    ),
    (
        r#"[stream.s]
pack_delay = "2s""#,
        "c.toml:3:14: stream.s.pack_delay: says how lines are packed, and they are not; add packing = \"on\"",
    ),
    (
        r#"[stream.s]
linger = "2s""#,
        "c.toml:3:10: stream.s.linger: 2s is out of range; write a duration from 0s to 1s",
    ),
    (
        r#"[stream.s]
packing = "on"
pack_bytes = "1001KiB""#,
        "c.toml:4:14: stream.s.pack_bytes: 1001KiB is out of range; write a size from 1B to 1000KiB",
    ),
    (
        r#"[stream.s]
compression = "gzip""#,
        "c.toml:3:15: stream.s.compression: compresses lines that share a record, and they share none; add packing = \"on\"",
    ),
    (
        r#"[stream.s]
packing = "on"
compression = "zstd""#,
        "c.toml:4:15: stream.s.compression: `zstd` is not one of the choices; write one of \"none\", \"gzip\"",
    ),
    (
        r#"[stream.s]
audit_bytes = "64MiB""#,
        "c.toml:3:15: stream.s.audit_bytes: says how many RecordIds are kept, and none are; add audit = true",
    ),
    (
        r#"[stream.s]
audit = true
audit_bytes = "1MiB""#,
        "c.toml:4:15: stream.s.audit_bytes: 1MiB is out of range; write a size from 16MiB to 1TiB",
    ),
    (
        r#"[stream.s]
profile = "x""#,
        "c.toml:3:1: stream.s.profile: unknown key; known here: delivery_stream, delivery_streams, spread_after, failover_after, region, role_arn, endpoint_url, api, linger, packing, pack_bytes, pack_delay, compression, max_in_flight, ordered, require_encryption, audit, audit_bytes, quota, retry, request_timeout",
    ),
];

/// `(text, faults)`; the text is the whole file.
const ALONE: &[(&str, &str)] = &[
    (
        "",
        "c.toml: source: there is none; write a [[source]] with paths and stream",
    ),
    (
        "[[source]]",
        r#"c.toml:1:1: source.paths: is missing; name the files, paths = ["/var/log/app/*.log"]
c.toml:1:1: source.stream: is missing; name the delivery stream that the lines go to"#,
    ),
    (
        r#"[source]
paths = ["/a"]
stream = "s""#,
        "c.toml:1:1: source: expected [[source]], with two brackets, for each, found a table",
    ),
    (
        "source = [1]",
        "c.toml:1:11: source: expected [[source]], with two brackets, for each, found 1",
    ),
    (
        r#"[[source]]
paths = []
stream = "s""#,
        r#"c.toml:2:9: source.paths: is empty; name the files, paths = ["/var/log/app/*.log"]"#,
    ),
    (
        r#"[[source]]
paths = "/a"
stream = "s""#,
        r#"c.toml:2:9: source.paths: expected a list in brackets, ["…"], found "/a""#,
    ),
    (
        r#"[[source]]
paths = ["/a", 1]
stream = "s""#,
        "c.toml:2:16: source.paths: expected a text in quotes, found 1",
    ),
    (
        r#"[[source]]
path = ["/a"]
stream = "s""#,
        r#"c.toml:1:1: source.paths: is missing; name the files, paths = ["/var/log/app/*.log"]
c.toml:2:1: source.path: unknown key; did you mean `paths`?"#,
    ),
    (
        r#"[[source]]
paths = ["app/*.log", "/a/", "/a/../b", "/a[", "/a/{b"]
stream = "s""#,
        "c.toml:2:10: source.paths: `app/*.log` is not absolute; write the whole path, from / on
c.toml:2:23: source.paths: `/a/` is a directory; write `/a/*` for the files in it
c.toml:2:30: source.paths: `/a/../b` has a `..`; write the path without it
c.toml:2:41: source.paths: `/a[` is not a glob: unclosed character class; missing ']'; correct it
c.toml:2:48: source.paths: `/a/{b` is not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?); correct it",
    ),
    (
        r#"[[source]]
paths = ["/a"]
exclude = ["old/*.log", "[", ""]
stream = "s""#,
        "c.toml:3:12: source.exclude: `old/*.log` can match no whole path; begin it with `/` or `**/`
c.toml:3:25: source.exclude: `[` is not a glob: unclosed character class; missing ']'; correct it
c.toml:3:30: source.exclude: is empty; write a glob",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = """#,
        "c.toml:3:10: source.stream: `` is not a delivery stream's name; write 1 to 64 of a-z A-Z 0-9 _ . -",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = 1
[stream.t]"#,
        "c.toml:3:10: source.stream: expected a text in quotes, found 1",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
start_at = "ende"
follow_symlinks = 0"#,
        r#"c.toml:4:12: source.start_at: `ende` is not one of the choices; write one of "beginning", "end"
c.toml:5:19: source.follow_symlinks: expected true or false, found 0"#,
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
merge_json = true"#,
        "c.toml:4:14: source.merge_json: says what stands in JSON records, and they are raw; add format = \"json\"",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
format = "json"
fields = { env = "${NOWHERE}", list = [1], file = "x", n = nan }"#,
        "c.toml:5:10: source.fields: `file` is said of every line already; give it another name
c.toml:5:19: source.fields.env: `NOWHERE` is not set in the environment; set it, or write the value
c.toml:5:39: source.fields.list: expected a text, a number, true or false, found a list
c.toml:5:60: source.fields.n: is no number that JSON has; write a text, a number, true or false",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
format = "json"
fields = "env""#,
        r#"c.toml:5:10: source.fields: expected a table in braces, { name = "value" }, found "env""#,
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
path_fields = "^/(?<app>.*)/"
time_format = "epoch_ms""#,
        "c.toml:4:15: source.path_fields: says what stands in JSON records, and they are raw; add format = \"json\"
c.toml:5:15: source.time_format: says what stands in JSON records, and they are raw; add format = \"json\"",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
format = "json"
path_fields = "^/(?<App>.)(?<ID>.)(?<pod>.)(?<Pod>.)(?<TS>.)"
fields = { app = "x", Host = "y", APP = "z" }
time_key = "ts""#,
        "c.toml:5:15: source.path_fields: `App` is said of every line already; give the group another name
c.toml:5:15: source.path_fields: `ID` is said of every line already; give the group another name
c.toml:5:15: source.path_fields: `Pod` is said of every line already; give the group another name
c.toml:5:15: source.path_fields: `TS` is said of every line already; give the group another name
c.toml:6:10: source.fields: `Host` is said of every line already; give it another name
c.toml:6:10: source.fields: `app` is said of every line already; give it another name",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
format = "json"
path_fields = "^/(.*)/"
time_key = "Source"
time_format = "unix""#,
        "c.toml:5:15: source.path_fields: names no field; write (?<name>…) around what is to be one
c.toml:6:12: source.time_key: `Source` is said of every line already; give it another name
c.toml:7:15: source.time_format: `unix` is not one of the choices; write one of \"rfc3339\", \"epoch_ms\"",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
format = "json"
path_fields = "(?<a"
time_key = """#,
        "c.toml:5:15: source.path_fields: `(?<a` is not a regular expression: unclosed capture group name; correct it
c.toml:6:12: source.time_key: is empty; write a name or leave the key out",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
append_newline = false
[stream.default]
packing = "on""#,
        "c.toml:4:18: source.append_newline: stream `s` packs lines, which only their newlines tell apart; leave it true, or set packing = \"off\"",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
close_removed_after = "25h""#,
        "c.toml:4:23: source.close_removed_after: 25h is out of range; write a duration from 0s to 1day",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
link_targets = ["/var/log/"]"#,
        "c.toml:4:17: source.link_targets: no link is followed; set follow_symlinks = true, or leave link_targets out",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
frequency = "1s""#,
        "c.toml:4:1: source.frequency: unknown key; known here: paths, stream, name, exclude, rotated, start_at, ignore_older, follow_symlinks, link_targets, close_removed_after, streams, default_stream, max_streams, append_newline, format, fields, merge_json, path_fields, time_key, time_format, max_line_bytes, oversize, parse, multiline, keep_lines, drop_lines",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
max_line_bytes = "65MiB"
oversize = "drop"
parse = "crio"
multiline = { start = "a(", max_lines = 0, timeout = "2m", stop = "x" }"#,
        "c.toml:4:18: source.max_line_bytes: 65MiB is out of range; write a size from 16B to 64MiB
c.toml:5:12: source.oversize: `drop` is not one of the choices; write one of \"split\", \"truncate\", \"dead_letter\"
c.toml:6:9: source.parse: `crio` is not one of the choices; write one of \"none\", \"cri\", \"docker\"
c.toml:7:23: source.multiline.start: `a(` is not a regular expression: unclosed group; correct it
c.toml:7:41: source.multiline.max_lines: 0 is out of range; write a whole number from 1 to 500
c.toml:7:54: source.multiline.timeout: 2m is out of range; write a duration from 10ms to 1m
c.toml:7:60: source.multiline.stop: unknown key; known here: start, preset, max_lines, timeout",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
ignore_older = "a week"
keep_lines = "ERROR"
drop_lines = ["DEBUG", "a("]"#,
        "c.toml:4:16: source.ignore_older: `a week` is not a duration; write it as \"250ms\", \"5s\" or \"1m\"
c.toml:5:14: source.keep_lines: expected a list in brackets, [\"…\"], found \"ERROR\"
c.toml:6:24: source.drop_lines: `a(` is not a regular expression: unclosed group; correct it",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
multiline = {}"#,
        "c.toml:4:13: source.multiline.start: is missing; write a regular expression that matches the first line of each message, or preset = \"java\" or another language",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
multiline = "jvm"
[[source]]
paths = ["/b"]
stream = "s"
multiline = { preset = "cobol" }
[[source]]
paths = ["/c"]
stream = "s"
multiline = { preset = "go", start = "^x" }"#,
        "c.toml:4:13: source.multiline: `jvm` is not one of the choices; write one of \"java\", \"python\", \"go\", \"ruby\", \"node\", \"rust\"
c.toml:8:24: source.multiline.preset: `cobol` is not one of the choices; write one of \"java\", \"python\", \"go\", \"ruby\", \"node\", \"rust\"
c.toml:12:38: source.multiline.start: and a preset both say where messages begin; leave one of them out",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
max_line_bytes = "64MiB"
multiline = "go""#,
        "c.toml:4:18: source.max_line_bytes: to hold the lines of one message takes up to 130MiB for each file, and buffer_per_file is 8MiB; set [memory] buffer_per_file = \"130MiB\", or a smaller max_line_bytes",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
max_line_bytes = "64MiB"
parse = "cri""#,
        "c.toml:4:18: source.max_line_bytes: to hold the lines of one message takes up to 130MiB for each file, and buffer_per_file is 8MiB; set [memory] buffer_per_file = \"130MiB\", or a smaller max_line_bytes",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
multiline = { start = "^x" }
[memory]
buffer_per_file = "2MiB""#,
        "c.toml:4:23: source.multiline.start: to hold the lines of one message takes up to 3MiB for each file, and buffer_per_file is 2MiB; set [memory] buffer_per_file = \"3MiB\", or a smaller max_line_bytes",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
format = "json"
parse = "docker"
fields = { stream = "x" }"#,
        "c.toml:6:10: source.fields: `stream` is said of every line already; give it another name",
    ),
    (
        r#"[[source]]
paths = ["/${APP}/a", "/x/${GONE}/*.log", "/${"]
stream = "s""#,
        "c.toml:2:27: source.paths: `GONE` is not set in the environment; set it, or write the value
c.toml:2:45: source.paths: `${` without `}`; write ${NAME}",
    ),
    (
        r#"[[source]]
name = "n"
paths = ["/a"]
stream = "s"
[[source]]
name = "n"
paths = ["/b"]
stream = "s""#,
        "c.toml:6:8: source.name: two sources are called `n`, the other at c.toml:2:8; set another `name`",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
[[source]]
name = "/a"
paths = ["/b"]
stream = "t""#,
        "c.toml:5:8: source.name: two sources are called `/a`, the other at c.toml:2:10; set another `name`",
    ),
    (
        r#"[[source]]
name = "n"
paths = ["/a/*"]
stream = "s"
[[source]]
paths = ["/b", "/a//*"]
stream = "s""#,
        "c.toml:6:16: source.paths: `/a//*` and the source at c.toml:3:10 send the same files into the same stream; leave it out of one",
    ),
    (
        r#"[[source]]
name = "n"
paths = ["/a/*"]
stream = "s"
[[source]]
paths = ["/a/b"]
stream = "s""#,
        "c.toml:6:10: source.paths: `/a/b` and the source at c.toml:3:10 send the same files into the same stream; leave it out of one",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
[[source]]
paths = ["/b"]
stream = "t"
[stream.t]
delivery_stream = "s""#,
        "c.toml:8:19: stream.t.delivery_stream: streams `s` and `t` are both `s` at the service and would each use its whole quota; use one of them for both",
    ),
    (
        r#"[[source]]
paths = ["/a"]
stream = "s"
[[source]]
paths = ["/b"]
stream = "t"
[stream.t]
delivery_streams = ["t", "s"]"#,
        "c.toml:8:20: stream.t.delivery_streams: streams `s` and `t` are both `s` at the service and would each use its whole quota; use one of them for both",
    ),
    (
        r#"paths = ["/ä", "/ö]
"#,
        r#"c.toml:1:20: syntax: invalid basic string, expected `"`; correct the TOML
c.toml:1:20: syntax: unclosed array, expected `]`; correct the TOML"#,
    ),
    (
        "a = 1
a = 2",
        "c.toml:2:1: syntax: duplicate key; correct the TOML",
    ),
    (
        "a = 
[b
c = 1",
        "c.toml:1:5: syntax: string values must be quoted, expected literal string; correct the TOML
c.toml:2:3: syntax: unclosed table, expected `]`; correct the TOML",
    ),
    (
        r#"[[source]]
paths = ["app.log"]
stream = "s"
folow_symlinks = true

[[source]]
stream = "t"

[stream.s]
quota = { share = 2 }
[stream.t]
retry = { initial = "1m", max = "1s" }
[memory]
buffer = "lots""#,
        r#"c.toml:2:10: source.paths: `app.log` is not absolute; write the whole path, from / on
c.toml:4:1: source.folow_symlinks: unknown key; did you mean `follow_symlinks`?
c.toml:6:1: source.paths: is missing; name the files, paths = ["/var/log/app/*.log"]
c.toml:10:19: stream.s.quota.share: 2 is out of range; write a number above 0 and at most 1, such as 0.9
c.toml:12:21: stream.t.retry.initial: the first wait, 1m, is above the longest, 1s; set initial <= max
c.toml:14:10: memory.buffer: `lots` is not a size; write it as "1000KiB", "5MB" or a number of bytes"#,
    ),
];

/// What stands in every record leaves most of it to the line.
#[test]
fn long_names_and_fields_are_told_with_what_they_come_to() {
    let (long, field) = ("n".repeat(4_095), "f".repeat(16 * 1024));
    let source = "[[source]]\npaths = [\"/a\"]\nstream = \"s\"\n";
    let table = [
        (
            format!("{source}name = \"{long}\""),
            "c.toml:4:8: source.name: the source's name comes to 4097 bytes in JSON; set a `name` of up to 4096",
        ),
        (
            source.replace("/a", &format!("/{long}")),
            "c.toml:2:10: source.paths: the source's name comes to 4098 bytes in JSON; set a `name` of up to 4096",
        ),
        (
            format!("{source}format = \"json\"\nfields = {{ f = \"{field}\" }}"),
            "c.toml:5:10: source.fields: come to 16391 bytes in every record; leave some out, up to 16384",
        ),
    ];
    for (text, told) in table {
        assert_eq!(faults(&text), told);
    }
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_to_do() {
    let beside = BESIDE_A_GOOD_SOURCE.iter().map(|(text, told)| (format!("{SOURCE}{text}"), *told));
    let alone = ALONE.iter().map(|(text, told)| ((*text).to_owned(), *told));
    for (text, told) in beside.chain(alone) {
        assert_eq!(faults(&text), told, "{text}");
    }
}

#[test]
fn texts_of_the_environment_stand_for_numbers_and_switches_and_are_blamed_by_name() {
    let settings = |keys: &str| format!("{SOURCE}[stream.s]\n{keys}");
    let text = settings(
        "max_in_flight = \"1${ZERO}\"\nordered = \"${ORDERED:-true}\"\nrequest_timeout = \"${TIME:-7s}\"\n\
         quota = { share = \"${SHARE:-0.5}\", bytes_per_second = \"${BYTES:-1000000}\" }",
    );
    let config =
        Config::from_text(Path::new("c.toml"), &text, &env).unwrap_or_else(|faults| panic!("{faults}"));
    let stream = &config.settings.streams[0];
    assert_eq!((stream.max_in_flight.get(), stream.order), (10, crate::model::settings::Order::PerFile));
    assert_eq!((stream.quota.share, stream.quota.bytes_per_second), (0.5, 1_000_000));
    assert_eq!(config.streams[0].request_timeout.as_secs(), 7);
    let whole = "a whole number from 1 to 10000";
    for (key, told) in [
        ("max_in_flight = \"${ZERO}\"", format!("3:17: stream.s.max_in_flight: 0 is out of range; write {whole}; the value comes from ${{ZERO}}")),
        ("max_in_flight = \"${APP:-3}\"", format!("3:17: stream.s.max_in_flight: expected {whole}, found \"${{APP:-3}}\"; the value comes from ${{APP}}")),
        ("max_in_flight = \"10\"", format!("3:17: stream.s.max_in_flight: expected {whole}, found \"10\"")),
        ("ordered = \"${ZERO}\"", "3:11: stream.s.ordered: expected true or false, found \"${ZERO}\"; the value comes from ${ZERO}".to_owned()),
        (
            "linger = \"${SECRET}\"",
            "3:10: stream.s.linger: `${SECRET}` is not a duration; write it as \"250ms\", \"5s\" or \"1m\"; \
             the value comes from ${SECRET}"
                .to_owned(),
        ),
        (
            "linger = \"${A-1s}\"",
            "3:11: stream.s.linger: `${A-1s}` names no environment variable; write ${NAME} or ${NAME:-default}".to_owned(),
        ),
    ] {
        assert_eq!(faults(&settings(key)), format!("c.toml:{told}"));
    }
}
