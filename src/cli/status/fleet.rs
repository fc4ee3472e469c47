//! Several daemons: a row each, and the sums of each delivery stream.
//!
//! Knows what each said, or why it said nothing. Daemons share the quota of a delivery stream: what they use of it together
//! is what no single one can show.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use crate::model::text::plain_json;
use crate::shell::http::status::Status;

use super::super::table::table;
use super::ask::{self, Failure};
use super::read;
use super::shown::{byte_rate, bytes, duration, shown};
use super::wanted::Wanted;

/// One daemon: its address, and what it said.
pub(super) type Answer = (String, Result<(serde_json::Value, Box<Status>), Failure>);

/// What all daemons use of one delivery stream together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    daemons: u64,
    requests: f64,
    records: f64,
    bytes: f64,
    /// The largest quota that one of them is configured with, in requests a second.
    quota: f64,
    lag_bytes: u64,
    lag_seconds: f64,
    dead_letters: u64,
}

/// Whether each of them is ready.
pub(super) fn ready(answers: &[Answer]) -> bool {
    answers.iter().all(|(_, answer)| answer.as_ref().is_ok_and(|(_, status)| status.ready))
}

/// Asks all at once; the answers are in the order of the addresses.
pub(super) async fn ask_all(addresses: &[String]) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    for (place, address) in addresses.iter().cloned().enumerate() {
        tasks.spawn(async move {
            let answer = answer(&address).await;
            (place, (address, answer))
        });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn answer(address: &str) -> Result<(serde_json::Value, Box<Status>), Failure> {
    let answer = ask::status(address).await?;
    let status = read(address, &answer)?;
    let value = serde_json::from_slice(&answer).expect("it was read a moment ago");
    Ok((value, Box::new(status)))
}

/// An array with `address`, and `status` or `error`, of each.
pub(super) fn json(answers: &[Answer]) -> String {
    let each = answers.iter().map(|(address, answer)| match answer {
        Ok((status, _)) => serde_json::json!({ "address": address, "status": status }),
        Err(failure) => serde_json::json!({ "address": address, "error": failure.to_string() }),
    });
    let all = serde_json::Value::Array(each.collect());
    plain_json(format!("{all:#}\n"))
}

/// A row for each daemon that is wanted by its address or host, or does not answer; and the sums of all.
pub(super) fn text(answers: &[Answer], wanted: &Wanted) -> String {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut rows =
        vec![words(&["DAEMON", "HOST", "VERSION", "UP", "STATE", "FILES", "LAG", "OLDEST", "LINES", "DEAD"])];
    let (mut faults, mut sums) = (String::new(), BTreeMap::<String, Sum>::new());
    for (address, answer) in answers {
        match answer {
            Ok((_, status)) => {
                if wanted.has(address) || wanted.has(&status.summary.place.host) {
                    rows.push(row(address, status));
                }
                add(&mut sums, status);
            }
            Err(failure) => {
                rows.push(words(&[address, "", "", "", "NO ANSWER"]));
                faults.push_str(&format!("  ! {}\n", shown(&failure.to_string())));
            }
        }
    }
    let mut streams = vec![words(&[
        "DELIVERY STREAM",
        "DAEMONS",
        "REQUESTS/S",
        "OF QUOTA",
        "RECORDS/S",
        "DATA/S",
        "LAG",
        "OLDEST",
        "DEAD",
    ])];
    streams.extend(sums.into_iter().map(|(name, sum)| sum.row(name)));
    format!("{}{faults}\n{}", table(&rows), table(&streams))
}

fn row(address: &str, status: &Status) -> Vec<String> {
    let summary = &status.summary;
    vec![
        address.to_owned(),
        shown(&summary.place.host),
        shown(status.version.split_whitespace().next().unwrap_or_default()),
        duration(status.uptime_seconds),
        if status.ready { "ready".to_owned() } else { "NOT READY".to_owned() },
        summary.files.to_string(),
        bytes(summary.lag_bytes),
        duration(summary.lag_seconds),
        summary.lines_read.to_string(),
        summary.dead_letters.to_string(),
    ]
}

fn add(sums: &mut BTreeMap<String, Sum>, status: &Status) {
    for stream in &status.streams {
        let several: Vec<_> = stream.delivery_streams.iter().map(|one| one.name.as_str()).collect();
        let name = if several.is_empty() { stream.delivery_stream.clone() } else { several.join(", ") };
        let sum = sums.entry(shown(&name)).or_default();
        sum.daemons += 1;
        sum.requests += stream.rate.requests;
        sum.records += stream.rate.records;
        sum.bytes += stream.rate.bytes;
        sum.quota = sum.quota.max(stream.quota.requests);
        sum.lag_bytes = sum.lag_bytes.saturating_add(stream.lag_bytes);
        sum.lag_seconds = sum.lag_seconds.max(stream.lag_seconds);
        sum.dead_letters = sum.dead_letters.saturating_add(stream.dead_letters);
    }
}

impl Sum {
    fn row(self, name: String) -> Vec<String> {
        vec![
            name,
            self.daemons.to_string(),
            format!("{:.0}", self.requests),
            if self.quota > 0.0 {
                format!("{:.0} %", self.requests / self.quota * 100.0)
            } else {
                String::new()
            },
            format!("{:.0}", self.records),
            byte_rate(self.bytes),
            bytes(self.lag_bytes),
            duration(self.lag_seconds),
            self.dead_letters.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: &str, requests: u32) -> Answer {
        let axes =
            |value: u32| serde_json::json!({ "requests": value, "records": value, "bytes": value * 100 });
        let value = serde_json::json!({
            "version": "0.1.0 (abc)", "uptime_seconds": 60.0, "ready": true, "reasons": [], "sources": [], "files": [],
            "unread": [], "checkpoint": { "age_seconds": 0.0, "commits": 1, "failures": 0 }, "buffered_bytes": 0,
            "watching": "full", "watch_overflows": 0,
            "summary": { "host": host, "files": 3, "lines_read": 7, "records_delivered": 7, "lag_bytes": 0,
                         "lag_seconds": 0.0, "dead_letters": 0, "abandoned_bytes": 0 },
            "streams": [{
                "name": host, "delivery_stream": "logs", "state": "sending", "in_flight_requests": 1,
                "waiting_records": 0, "used": axes(0), "rate": axes(requests), "limit": axes(1_800), "quota": axes(2_000),
                "share": 0.9, "adaptive_factor": 1.0, "adaptive": true, "records_delivered": 1, "bytes_delivered": 1,
                "billed_bytes": 1, "requests": 1, "throttled": 0, "retries": {}, "dead_letters": 2
            }],
        });
        let status = serde_json::from_value(value.clone()).expect("a status");
        (format!("{host}:9909"), Ok((value, Box::new(status))))
    }

    #[test]
    fn each_daemon_has_a_row_and_a_delivery_stream_the_sums() {
        let silent = ("c:9909".to_owned(), Err(Failure::Timeout { address: "c:9909".to_owned() }));
        let text = text(&[status("a", 900), status("b", 600), silent], &Wanted::all());
        let expected = "\
DAEMON  HOST  VERSION  UP    STATE      FILES  LAG  OLDEST  LINES  DEAD
a:9909  a     0.1.0    60 s  ready          3  0 B  -           7     0
b:9909  b     0.1.0    60 s  ready          3  0 B  -           7     0
c:9909                       NO ANSWER
  ! c:9909 did not answer within 10 s

DELIVERY STREAM  DAEMONS  REQUESTS/S  OF QUOTA  RECORDS/S  DATA/S  LAG  OLDEST  DEAD
logs                   2        1500  75 %           1500  150 kB  0 B  -          4
";
        assert_eq!(text, expected);
    }

    #[test]
    fn as_json_each_has_its_address() {
        let silent = ("c:9909".to_owned(), Err(Failure::Timeout { address: "c:9909".to_owned() }));
        let all: serde_json::Value =
            serde_json::from_str(&json(&[status("a", 1), silent])).expect("it is JSON");
        assert_eq!(all[0]["status"]["summary"]["host"], "a");
        assert_eq!((&all[1]["address"], all[1]["error"].is_string()), (&"c:9909".into(), true));
    }
}
