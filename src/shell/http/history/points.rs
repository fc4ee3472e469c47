//! The answer of `/history`, written once a look for whoever asks.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::text::plain_json;

use super::Point;

/// The points, oldest first.
#[derive(Clone, Debug, Default)]
pub(in crate::shell::http) struct Points {
    /// Each point's JSON, with a comma between them.
    text: Bytes,
    /// When each point was, since the daemon began, and where it begins in the text.
    starts: Arc<[(f64, usize)]>,
}

impl Points {
    pub(super) fn of<'a>(points: impl Iterator<Item = &'a Point>) -> Self {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for point in points {
            text.push_str(if text.is_empty() { "" } else { "," });
            starts.push((point.at_seconds, text.len()));
            let point = serde_json::to_string(point).expect("it has text keys and finite numbers");
            text.push_str(&plain_json(point));
        }
        Self { text: Bytes::from(text), starts: starts.into() }
    }

    /// The answer with the points later than `seconds` after the daemon began, in pieces: no point is written or copied for
    /// it.
    pub(in crate::shell::http) fn since(&self, seconds: f64) -> [Bytes; 3] {
        let first = self.starts.iter().find(|(at, _)| *at > seconds);
        let from = first.map_or(self.text.len(), |(_, start)| *start);
        [Bytes::from_static(b"{\"points\":["), self.text.slice(from..), Bytes::from_static(b"]}\n")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_found_by_their_time_and_not_copied() {
        let point = |at: usize| Point {
            at_seconds: at as f64,
            lines: 0.0,
            records: 0.0,
            p50_seconds: None,
            p99_seconds: None,
            streams: Default::default(),
        };
        let all: Vec<_> = (1..=300).map(point).collect();
        let points = Points::of(all.iter());
        let since = |seconds: f64| {
            let answer: serde_json::Value =
                serde_json::from_slice(&points.since(seconds).concat()).expect("it is JSON");
            answer["points"].as_array().expect("a list").len()
        };
        assert_eq!((since(0.0), since(298.5), since(300.0)), (300, 2, 0));
        let empty = Points::default().since(0.0).concat();
        assert_eq!(empty, b"{\"points\":[]}\n");
        let [_, one, _] = points.since(100.0);
        let [_, other, _] = points.since(100.0);
        assert_eq!(one.as_ptr(), other.as_ptr(), "nothing is copied");
    }
}
