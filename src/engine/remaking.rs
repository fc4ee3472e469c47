//! What is sent for a dead letter: the record that it is, or those that are made of it now.
//!
//! Knows what was said, and the settings of its source and stream as they are. Does not know how letters are kept, nor what
//! the service says of them. Used by whoever sends letters again: the daemon, and the command where none runs.
//!
//! *Invariant:* records are made by the code that makes them of what is read, and have the `id` that they would have had.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::model::checkpoint::DeadLetter;
use crate::model::message::Message;
use crate::model::offset::Span;
use crate::model::said::{Said, SaidIn, Unmade};
use crate::model::settings::{Format, LineFilter, Packing, Settings, SourceId, SourceSettings};
use crate::rules::envelope::EnvelopeTemplate;

use super::report::SourceCounts;
use super::shaping::{Piece, Shape, remade};

/// Why nothing is made of a letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    #[error(
        "NoSource: no source of the configuration is called {0:?}: `--raw` sends what was kept unchanged"
    )]
    NoSource(String),
    #[error(
        "Oversize: longer than {0} bytes, or than a record takes, which `oversize = \"dead_letter\"` of its source puts aside \
         again: change that, or send what was kept unchanged with `--raw`"
    )]
    Aside(usize),
}

/// The records that are sent for a letter, none where its source shortens lines and all of it would be left out. What
/// `keep_lines` and `drop_lines` say is not asked: somebody wants it sent.
///
/// # Errors
/// Where its source is gone, or would put it aside again.
pub fn records_of(
    settings: &Settings,
    retired: &BTreeSet<SourceId>,
    letter: &DeadLetter,
) -> Result<Vec<Bytes>, NotMade> {
    let Some(Unmade { said, file }) = letter.unmade.as_deref() else { return Ok(vec![letter.data.clone()]) };
    let mut sources = settings.sources.iter().enumerate();
    let is_it = |(place, source): &(usize, &SourceSettings)| {
        source.name == letter.source && !retired.contains(&SourceId(*place))
    };
    let Some((_, source)) = sources.find(is_it) else {
        return Err(NotMade::NoSource(letter.source.to_string()));
    };
    let stream = settings.streams.iter().find(|stream| stream.name == letter.stream);
    let template = match &source.format {
        Format::Raw => None,
        Format::Json(envelope) => {
            let SaidIn { origin, incarnation, unix_time } = *file;
            let files = (&*letter.path, letter.target.as_deref());
            Some(EnvelopeTemplate::new(envelope, &source.name, files, (origin, incarnation), unix_time))
        }
    };
    let filter = LineFilter::default();
    let packing = stream.map_or(Packing::Off, |stream| stream.packing_within_quota());
    let mut shape = Shape::of(source, packing, template, &[]);
    shape.filter = &filter;
    let Said { at, before, has_newline, part, metadata } = said;
    let content =
        letter.data.slice(..letter.data.len() - usize::from(*has_newline && !letter.data.is_empty()));
    let lines = memchr::memchr_iter(b'\n', &content).count() + 1;
    let span = Span::new(*at, *at);
    let message = Message { span, at: *at, content, lines, metadata: metadata.clone(), part: *part };
    // A number that no piece of what comes before it has: each of those holds a byte at least.
    let first_piece = usize::try_from(*before).unwrap_or(usize::MAX - RECORDS);
    let pieces = remade(&shape, &message, first_piece, &mut SourceCounts::default());
    let mut records = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Send(record, _) => records.push(record),
            Piece::Settle => {}
            Piece::DeadLetter(..) => return Err(NotMade::Aside(source.max_message_bytes)),
        }
    }
    Ok(records)
}

/// The most records that one letter comes to: one for each byte.
const RECORDS: usize = crate::model::limits::RECORD_BYTES;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::engine::samples::settings;
    use crate::model::identity::{Incarnation, Origin};
    use crate::model::message::{Channel, Part, RuntimeMetadata};
    use crate::model::offset::Offset;
    use crate::model::settings::{Envelope, Oversize, StartPattern};

    fn letter(data: &[u8], part: Part, has_newline: bool) -> DeadLetter {
        let metadata =
            Some(RuntimeMetadata { channel: Channel::Stderr, time: "2026-11-29T01:02:03Z".into() });
        let said = Said { at: Offset::new(16), before: 0, has_newline, part, metadata };
        let (origin, incarnation) = (Origin { device: 1, inode: 2 }, Incarnation(3));
        let file = SaidIn { origin, incarnation, unix_time: Duration::ZERO };
        DeadLetter {
            stream: settings(1).streams[0].name.clone(),
            source: settings(1).sources[0].name.clone(),
            path: Path::new("/a.log").into(),
            target: None,
            offset: Offset::new(16),
            code: "Oversize".into(),
            message: "long".into(),
            data: Bytes::copy_from_slice(data),
            unmade: Some(Box::new(Unmade { said, file })),
        }
    }

    fn made(settings: &Settings, letter: &DeadLetter) -> Result<Vec<String>, NotMade> {
        let records = records_of(settings, &BTreeSet::new(), letter)?;
        Ok(records.into_iter().map(|record| String::from_utf8(record.to_vec()).expect("text")).collect())
    }

    /// How the source takes what is long, what was said, and what is sent for it.
    #[test]
    fn what_was_put_aside_is_sent_as_its_source_says_now() {
        type Row<'a> = (Oversize, &'a str, Part, Result<&'a [&'a str], NotMade>);
        let rows: [Row<'_>; 6] = [
            (Oversize::DeadLetter, "short\n", Part::Whole, Ok(&["short\n"])),
            (Oversize::DeadLetter, "0123456789\n", Part::Whole, Err(NotMade::Aside(8))),
            (Oversize::Split, "0123456789\n", Part::Whole, Ok(&["01234567", "89\n"])),
            (Oversize::Split, "0123456789", Part::Begins, Ok(&["01234567", "89"])),
            (Oversize::Truncate, "0123456789\n", Part::Whole, Ok(&["01234567\n"])),
            (Oversize::Truncate, "rest\n", Part::Ends, Ok(&[])),
        ];
        for (oversize, text, part, expected) in rows {
            let mut settings = settings(1);
            settings.sources[0].oversize = oversize;
            settings.sources[0].max_message_bytes = 8;
            let letter = letter(text.as_bytes(), part, text.ends_with('\n'));
            let expected =
                expected.map(|records| records.iter().map(|record| (*record).to_owned()).collect());
            assert_eq!(made(&settings, &letter), expected, "{oversize:?} {text:?} {part:?}");
        }
    }

    #[test]
    fn a_text_is_enveloped_with_what_was_known_of_it() {
        let mut settings = settings(1);
        settings.sources[0].format = Format::Json(Envelope { host: "web-1".into(), ..Envelope::default() });
        settings.sources[0].oversize = Oversize::Split;
        settings.sources[0].max_message_bytes = 2;
        let mut letter = letter(b"abc", Part::Whole, false);
        if let Some(unmade) = &mut letter.unmade {
            unmade.said.before = 7;
        }
        let made = made(&settings, &letter).expect("records");
        let objects: Vec<serde_json::Value> =
            made.iter().map(|record| serde_json::from_str(record).expect("JSON")).collect();
        let said: Vec<_> = objects
            .iter()
            .map(|object| {
                ["message", "id", "time", "stream"].map(|key| object[key].as_str().unwrap_or_default())
            })
            .collect();
        let time = "2026-11-29T01:02:03Z";
        assert_eq!(said, [["ab", "1-2-3:10.7", time, "stderr"], ["c", "1-2-3:10.8", time, "stderr"]]);
    }

    #[test]
    fn what_the_source_leaves_out_is_sent_to_whoever_asks_for_it() {
        let mut settings = settings(1);
        settings.sources[0].filter.drop.push(StartPattern::try_new("line").expect("a regular expression"));
        let letter = letter(b"line\n", Part::Whole, true);
        assert_eq!(made(&settings, &letter), Ok(vec!["line\n".to_owned()]));
    }

    #[test]
    fn a_record_stays_as_it_is_and_nothing_is_made_for_a_source_that_is_gone() {
        let settings = settings(1);
        let mut letter = letter(b"line\n", Part::Whole, true);
        let retired = BTreeSet::from([SourceId(0)]);
        let gone = NotMade::NoSource(letter.source.to_string());
        assert_eq!(records_of(&settings, &retired, &letter), Err(gone));
        letter.unmade = None;
        assert_eq!(records_of(&settings, &retired, &letter), Ok(vec![letter.data.clone()]));
    }
}
