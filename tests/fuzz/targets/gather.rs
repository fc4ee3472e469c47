//! Joined and grouped lines against any file in any chunks: each line is in one message, and chunks change nothing.
//!
//! The first bytes choose the settings and where the reads end. Of the rest each line is one of a container's, or of none:
//! its first byte says so.

use std::time::Duration;

use bytes::Bytes;
use standpipe::model::message::{Channel, ChunkEnd, Continues, Message, RuntimeMetadata};
use standpipe::model::offset::{Offset, Span};
use standpipe::model::settings::{Grouping, Multiline, StartPattern};
use standpipe::rules::gather::{Line, LineAggregator};

fn written(text: &[u8]) -> Vec<Line> {
    let mut at = Offset::ZERO;
    let line = |text: &[u8]| {
        let (first, content) = text.split_first().unwrap_or((&b'n', b""));
        let channel = match first | 0x20 {
            b'o' => Some(Channel::Stdout),
            b'e' => Some(Channel::Stderr),
            _ => None,
        };
        let span = Span::new(at, at.plus(text.len() as u64 + 1));
        at = span.end();
        Line {
            span,
            content: Bytes::copy_from_slice(content),
            metadata: channel
                .map(|channel| RuntimeMetadata { channel, time: span.start().to_string().into() }),
            is_partial: channel.is_some() && first.is_ascii_uppercase(),
        }
    };
    text.split(|byte| *byte == b'\n').map(line).collect()
}

/// The messages of `lines`, of which `len` are read at once, and more when that was not enough.
fn messages(lines: &[Line], multiline: Option<&Multiline>, longest: usize, step: usize) -> Vec<Message> {
    let (mut from, mut len, mut over, mut found) = (0, step, Continues::default(), Vec::new());
    while from < lines.len() {
        let to = (from + len).min(lines.len());
        let mut gather = LineAggregator::new(multiline, longest, lines[from].span.start(), over);
        lines[from..to].iter().for_each(|line| gather.take(line.clone()));
        gather.end(if to == lines.len() { ChunkEnd::Closed } else { ChunkEnd::Open });
        found.extend(std::iter::from_fn(|| gather.pop()));
        over = gather.continues_there();
        let out = lines[from..to].iter().take_while(|line| line.span.end() <= gather.covered()).count();
        assert!(to < lines.len() || out == to - from, "at its end everything is out");
        len = if out == 0 { len * 2 } else { step };
        from += out;
    }
    found
}

pub(crate) fn run(input: &[u8]) {
    let [groups, longest, step, text @ ..] = input else { return };
    let multiline = (groups & 1 == 1).then(|| Multiline {
        grouping: Grouping::Start(StartPattern::try_new("^[0-9]").expect("a regular expression")),
        max_lines: usize::from(groups / 2) + 1,
        timeout: Duration::from_secs(2),
    });
    let longest = usize::from(*longest) + 1;
    let lines = written(text);
    let found = messages(&lines, multiline.as_ref(), longest, lines.len());
    assert_eq!(
        found,
        messages(&lines, multiline.as_ref(), longest, usize::from(*step) + 1),
        "chunks change nothing"
    );
    let mut next = Offset::ZERO;
    for message in &found {
        assert_eq!(message.span.start(), next, "spans are contiguous");
        next = message.span.end();
        assert!(message.content.len() <= longest || message.lines == 1);
    }
    assert_eq!(Some(next), lines.last().map(|line| line.span.end()));
    for channel in [None, Some(Channel::Stdout), Some(Channel::Stderr)] {
        let of = |metadata: &Option<RuntimeMetadata>| {
            metadata.as_ref().map(|metadata| metadata.channel) == channel
        };
        let written: Vec<_> =
            lines.iter().filter(|line| of(&line.metadata)).flat_map(|line| &line.content[..]).collect();
        let arrived =
            found.iter().filter(|message| of(&message.metadata)).flat_map(|message| &message.content[..]);
        assert_eq!(
            arrived.filter(|byte| **byte != b'\n').collect::<Vec<_>>(),
            written,
            "every byte, in its order"
        );
    }
}
