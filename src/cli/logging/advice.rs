//! What to do about a line of WARN or ERROR, for whoever reads lines by a program: docs/messages.md, which is in the binary, says
//! it of each.
//!
//! Knows that document's rows. Lines that have advice of their own keep it: it fits the case.

use std::fmt;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

const DOCUMENT: &str = include_str!("../../../docs/messages.md");

/// What is filled in.
const ELLIPSIS: char = '…';

/// What a line of JSON is written by, and then its advice.
pub(super) struct Advised<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Advised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(advice) = of_event(event) else { return self.0.format_event(context, to, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(open) => writeln!(to, "{open},\"advice\":{}}}", serde_json::Value::from(advice)),
            None => to.write_str(&line),
        }
    }
}

/// What is to be done about an event that does not say so itself.
fn of_event(event: &Event<'_>) -> Option<&'static str> {
    if *event.metadata().level() > Level::WARN {
        return None;
    }
    let mut said = Said::default();
    event.record(&mut said);
    if said.is_advised { None } else { of(&said.message) }
}

/// What is to be done about `message`; `None` for one that the document does not have.
pub(super) fn of(message: &str) -> Option<&'static str> {
    static ROWS: OnceLock<Vec<(&str, String)>> = OnceLock::new();
    let rows = ROWS.get_or_init(rows);
    let row = rows.iter().find(|(pattern, _)| fits(pattern, message));
    row.map(|(_, advice)| &**advice)
}

/// The message of each row, and what is to be done.
fn rows() -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, String)> = Vec::new();
    for line in DOCUMENT.lines() {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_level @ ("WARN" | "ERROR"), message, .., advice] = cells[..] else { continue };
        let as_above = rows.last().filter(|_| advice == "As above.").map(|(_, above)| above.clone());
        rows.push((message, as_above.unwrap_or_else(|| plain(advice))));
    }
    rows
}

/// A cell as a sentence without marks and links.
fn plain(cell: &str) -> String {
    let (mut text, mut rest) = (String::new(), cell);
    while let Some((before, (named, behind))) =
        rest.split_once('[').and_then(|(before, link)| Some((before, link.split_once("](")?)))
    {
        text.push_str(before);
        text.push_str(named);
        rest = behind.split_once(')').map_or("", |(_, behind)| behind);
    }
    text.push_str(rest);
    text.replace('*', "").trim_end_matches('.').to_owned()
}

/// Whether `message` is `pattern` with something for each ellipsis.
fn fits(pattern: &str, message: &str) -> bool {
    let mut pieces = pattern.split(ELLIPSIS);
    let first = pieces.next().expect("a text has a first piece");
    let Some(mut rest) = message.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What an event says, as far as it matters here.
#[derive(Debug, Default)]
struct Said {
    message: String,
    is_advised: bool,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "advice" => self.is_advised = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_its_advice_in_plain_words() {
        let rows = rows();
        assert!(rows.len() > 50, "{}", rows.len());
        for (message, advice) in &rows {
            assert!(!advice.is_empty() && advice != "As above", "{message}: {advice:?}");
            assert!(!advice.contains(['*', '[', ']']), "{message}: {advice}");
            let filled = message.replace(ELLIPSIS, "AWS_REGION");
            assert_eq!(of(&filled), Some(&**advice), "{filled}");
        }
        assert_eq!(of("delivering again"), None);
    }

    #[test]
    fn what_is_filled_in_fits_an_ellipsis() {
        for (pattern, message, expected) in [
            ("a b", "a b", true),
            ("a b", "a b c", false),
            ("… is `…`, write", "X is `no`, write", true),
            ("… is `…`, write", "X is no, write", false),
            ("…; write it", "HTTP_PROXY is odd; write it", true),
        ] {
            assert_eq!(fits(pattern, message), expected, "{pattern}: {message}");
        }
    }

    #[test]
    fn links_and_marks_are_left_out() {
        assert_eq!(plain("See what *error* names, in [aws.md](aws.md)."), "See what error names, in aws.md");
    }
}
