//! Lines become messages: parts of a line are joined, and lines that belong together stay together.
//!
//! Knows what each line says and which bytes of the file it is. Does not know how lines are cut or unwrapped, nor what
//! a record can hold. A message that is not complete is not remembered: its lines stay unread in their file, as a line
//! without its newline does, and come again with what follows them.
//!
//! *Invariant (L2):* the spans of the messages are contiguous, and no span ends before a line whose message is not out.

mod trace;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::message::{
    Channel, ChunkEnd, Continues, Message, Part, RuntimeMetadata, max_incomplete_bytes,
};
use crate::model::offset::{Offset, Span};
use crate::model::settings::{Grouping, Multiline};

use self::trace::{Machine, PLAIN, State};

/// One line, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub span: Span,
    /// Without its newline, and without what a runtime wrote around it.
    pub content: Bytes,
    pub metadata: Option<RuntimeMetadata>,
    /// Whether the rest of what was said follows in another line.
    pub is_partial: bool,
}

/// What keeps whole lines from being messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// A line of the other channel, of which a part stands before them.
    ForAPart,
    /// Lines that may belong to them.
    ForMore,
}

/// Lines of one chunk on their way to messages.
#[derive(Debug)]
pub struct LineAggregator<'a> {
    multiline: Option<&'a Multiline>,
    /// The longest message in bytes.
    max_message_bytes: usize,
    /// Where the first byte lies that no span covers.
    covered: Offset,
    /// Parts of lines, by channel.
    partial: [Option<Group>; 2],
    /// Per channel: whether a line that is longer than a message continues behind the last line taken in.
    continues: Continues,
    /// Per channel: whether such a line continues at the end of what is covered.
    continues_covered: Continues,
    /// Lines that belong together.
    group: Option<Group>,
    /// Messages that are complete, as far as is known, with where their last line ends.
    done: Vec<(Message, Offset)>,
    /// How far they reach.
    done_end: Offset,
    /// Messages that are complete, with the spans that they settle.
    out: VecDeque<Message>,
}

/// What belongs together so far.
#[derive(Debug)]
struct Group {
    at: Offset,
    end: Offset,
    pieces: Vec<Bytes>,
    bytes: usize,
    /// Lines of the file.
    lines: usize,
    metadata: Option<RuntimeMetadata>,
    part: Part,
    /// How far a stack trace has come with its lines.
    state: State,
}

impl Group {
    fn new(line: Line) -> Self {
        Self {
            at: line.span.start(),
            end: line.span.end(),
            bytes: line.content.len(),
            pieces: vec![line.content],
            lines: 1,
            metadata: line.metadata,
            part: Part::Whole,
            state: PLAIN,
        }
    }

    fn channel(&self) -> Option<Channel> {
        self.metadata.as_ref().map(|metadata| metadata.channel)
    }

    fn add(&mut self, other: Self, between: &'static [u8]) {
        self.end = self.end.max(other.end);
        self.bytes += between.len() + other.bytes;
        self.lines += other.lines;
        if !between.is_empty() {
            self.pieces.push(Bytes::from_static(between));
        }
        self.pieces.extend(other.pieces);
    }

    fn content(&self) -> Bytes {
        match &self.pieces[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

/// The state of a group behind a line that belongs to it; `None` for one that begins another.
fn next_state(grouping: &Grouping, state: State, line: &[u8]) -> Option<State> {
    match grouping {
        Grouping::Start(start) => (!start.is_match(line)).then_some(PLAIN),
        Grouping::Traces(preset) => Machine::of(*preset).step(state, line),
    }
}

/// The state of a group that begins with a line.
fn first_state(grouping: &Grouping, line: &[u8]) -> State {
    match grouping {
        Grouping::Start(_) => PLAIN,
        Grouping::Traces(preset) => Machine::of(*preset).begin(line),
    }
}

/// Whether no line can belong to a group any more, whatever it says.
fn is_complete(grouping: &Grouping, state: State) -> bool {
    match grouping {
        Grouping::Start(_) => false,
        Grouping::Traces(preset) => !Machine::of(*preset).goes_on(state),
    }
}

impl<'a> LineAggregator<'a> {
    /// For a chunk that begins at `at`, where `over` is as it was when reading ended there.
    pub fn new(
        multiline: Option<&'a Multiline>,
        max_message_bytes: usize,
        at: Offset,
        continues: Continues,
    ) -> Self {
        Self {
            multiline,
            max_message_bytes,
            covered: at,
            partial: [None, None],
            continues,
            continues_covered: continues,
            group: None,
            done: Vec::new(),
            done_end: at,
            out: VecDeque::new(),
        }
    }

    /// Takes in the next line.
    pub fn take(&mut self, line: Line) {
        if !self.stands_alone(&line) {
            return self.take_among(line);
        }
        let Line { span, content, metadata, .. } = line;
        (self.covered, self.done_end) = (span.end(), span.end());
        self.continues_covered = self.continues;
        let (at, lines, part) = (span.start(), 1, Part::Whole);
        self.out.push_back(Message { span, at, content, lines, metadata, part });
    }

    /// Whether a line is a message, whatever comes: most are, and none of them waits.
    fn stands_alone(&self, line: &Line) -> bool {
        let is_whole = line.metadata.as_ref().is_none_or(|metadata| {
            let mut continues = self.continues;
            !line.is_partial && !*continues.of(metadata.channel)
        });
        is_whole
            && self.multiline.is_none()
            && self.partial.iter().all(Option::is_none)
            && self.done.is_empty()
            && self.covered == line.span.start()
    }

    /// Takes in a line that may wait for others, or others for it.
    fn take_among(&mut self, line: Line) {
        let end = line.span.end();
        match line.metadata.as_ref().map(|metadata| metadata.channel) {
            None => self.complete(Group::new(line)),
            Some(channel) => self.join(channel, line),
        }
        let held = end.since(self.covered);
        if held > max_incomplete_bytes(self.max_message_bytes) as u64 {
            self.close();
        }
        self.cover();
    }

    /// Takes in a piece of a line that is too long to be a message: it is one by itself, and so is all before it.
    pub fn take_piece(&mut self, span: Span, content: Bytes, part: Part) {
        self.close();
        self.cover();
        self.covered = span.end();
        // Of a line, the piece that it begins with stands for it.
        let lines = usize::from(matches!(part, Part::Whole | Part::Begins));
        self.out.push_back(Message { span, at: span.start(), content, lines, metadata: None, part });
    }

    /// Lines that belong together so far are complete, whatever comes: an earlier process had cut here. A part of a line
    /// is not, since the rest says whether the line is too long.
    pub fn break_here(&mut self) {
        self.close_group();
        self.cover();
    }

    /// Nothing more follows in the chunk.
    pub fn end(&mut self, end: ChunkEnd) {
        match end {
            ChunkEnd::Open => {}
            ChunkEnd::Closed => self.close(),
            ChunkEnd::Quiet => {
                self.close_group();
                self.cover();
                if !self.done.is_empty() {
                    self.close();
                }
            }
        }
        self.cover();
    }

    /// The next message that is complete.
    pub fn pop(&mut self) -> Option<Message> {
        self.out.pop_front()
    }

    /// Where the first byte lies that belongs to no message that is out.
    pub fn covered(&self) -> Offset {
        self.covered
    }

    /// For the next chunk, which begins there.
    pub fn continues_there(&self) -> Continues {
        self.continues_covered
    }

    /// What is whole and waits for what comes after it.
    pub fn waits(&self) -> Option<Waits> {
        if !self.done.is_empty() {
            Some(Waits::ForAPart)
        } else {
            self.group.is_some().then_some(Waits::ForMore)
        }
    }

    /// Joins the parts of one line, as far as a message goes.
    fn join(&mut self, channel: Channel, line: Line) {
        let slot = channel as usize;
        let is_partial = line.is_partial;
        let part = Group::new(line);
        let mut so_far = self.partial[slot].take();
        if so_far.as_ref().is_some_and(|so_far| so_far.bytes + part.bytes > self.max_message_bytes)
            && let Some(mut full) = so_far.take()
        {
            let continues = std::mem::replace(self.continues.of(channel), true);
            full.part = if continues { Part::GoesOn } else { Part::Begins };
            self.complete(full);
        }
        let mut joined = match so_far {
            None => part,
            Some(mut so_far) => {
                so_far.add(part, b"");
                so_far
            }
        };
        if is_partial {
            self.partial[slot] = Some(joined);
        } else {
            if std::mem::take(self.continues.of(channel)) {
                joined.part = Part::Ends;
            }
            self.complete(joined);
        }
    }

    /// A line is whole.
    fn complete(&mut self, line: Group) {
        let Some(multiline) = self.multiline.filter(|_| line.part == Part::Whole) else {
            self.close_group();
            return self.finish(line);
        };
        let content = line.content();
        let line = Group { pieces: vec![content.clone()], ..line };
        let before = self.group.as_ref().filter(|group| {
            group.channel() == line.channel() && group.bytes + 1 + line.bytes <= self.max_message_bytes
        });
        let goes_on = before.and_then(|group| next_state(&multiline.grouping, group.state, &content));
        let group = match (self.group.take(), goes_on) {
            (Some(mut group), Some(state)) => {
                group.add(line, b"\n");
                Group { state, ..group }
            }
            (before, _) => {
                before.into_iter().for_each(|group| self.finish(group));
                Group { state: first_state(&multiline.grouping, &content), ..line }
            }
        };
        // A join point stands between any two of its lines.
        let is_full = group.pieces.len().div_ceil(2) >= multiline.max_lines;
        if is_full || is_complete(&multiline.grouping, group.state) {
            self.finish(group);
        } else {
            self.group = Some(group);
        }
    }

    fn finish(&mut self, group: Group) {
        let content = group.content();
        let Group { at, end, lines, metadata, part, .. } = group;
        let span = Span::new(at, at);
        self.done_end = self.done_end.max(end);
        self.done.push((Message { span, at, content, lines, metadata, part }, end));
    }

    fn close_group(&mut self) {
        if let Some(group) = self.group.take() {
            self.finish(group);
        }
    }

    /// Whatever waits is complete.
    fn close(&mut self) {
        let open = self.partial.iter_mut().zip([self.continues.stdout, self.continues.stderr]);
        let mut open: Vec<_> = open.filter_map(|(partial, over)| Some((partial.take()?, over))).collect();
        open.sort_by_key(|(partial, _)| partial.at);
        for (mut partial, over) in open {
            // Of a line that was not too long so far, the rest is a message of its own.
            partial.part = if over { Part::GoesOn } else { Part::Whole };
            self.complete(partial);
        }
        self.close_group();
    }

    /// Gives messages their spans, once nothing before their ends waits any more.
    fn cover(&mut self) {
        let waiting = self.partial.iter().flatten().chain(&self.group).map(|group| group.at).min();
        let end = self.done_end;
        if self.done.is_empty() || waiting.is_some_and(|waiting| waiting < end) {
            return;
        }
        self.continues_covered = self.continues;
        let last = self.done.len() - 1;
        // One behind the other, each stands for its own lines; mixed, the last stands for all.
        let mut next = self.covered;
        let in_turn = self.done.iter().all(|(message, end)| {
            let follows = message.at >= next;
            next = *end;
            follows
        });
        for (index, (mut message, own_end)) in self.done.drain(..).enumerate() {
            let to = match (in_turn, index == last) {
                (_, true) => end,
                (true, false) => own_end,
                (false, false) => self.covered,
            };
            message.span = Span::new(self.covered, to);
            self.covered = to;
            self.out.push_back(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::settings::StartPattern;

    fn multiline(max_lines: usize) -> Multiline {
        let start = StartPattern::try_new("^[0-9]").expect("a regular expression");
        Multiline { grouping: Grouping::Start(start), max_lines, timeout: Duration::from_secs(2) }
    }

    /// Lines one behind the other from 100 on, each a byte longer than its content. `o` and `e` before the content name
    /// the channel, in capitals for a part.
    fn lines(texts: &[&str]) -> Vec<Line> {
        let mut at = Offset::new(100);
        let mut lines = Vec::new();
        for text in texts {
            let channel = match text.as_bytes().first() {
                Some(b'o' | b'O') => Some(Channel::Stdout),
                Some(b'e' | b'E') => Some(Channel::Stderr),
                _ => None,
            };
            let content = if channel.is_some() { &text[1..] } else { text };
            let end = at.plus(text.len() as u64 + 1);
            lines.push(Line {
                span: Span::new(at, end),
                content: Bytes::copy_from_slice(content.as_bytes()),
                metadata: channel.map(|channel| RuntimeMetadata { channel, time: format!("at {at}").into() }),
                is_partial: text.starts_with(['O', 'E']),
            });
            at = end;
        }
        lines
    }

    /// The messages as text with the ends of their spans, where reading goes on, and whether whole lines wait.
    fn gather(
        texts: &[&str],
        multiline: Option<&Multiline>,
        max_message_bytes: usize,
        end: ChunkEnd,
    ) -> (Vec<String>, u64, bool) {
        let mut gather =
            LineAggregator::new(multiline, max_message_bytes, Offset::new(100), Continues::default());
        let mut messages = Vec::new();
        let mut next = Offset::new(100);
        let mut collect = |gather: &mut LineAggregator<'_>| {
            while let Some(message) = gather.pop() {
                assert_eq!(message.span.start(), next, "L2");
                next = message.span.end();
                let text = String::from_utf8_lossy(&message.content).replace('\n', "|");
                messages.push(format!("{text} {}", next.bytes()));
            }
        };
        for line in lines(texts) {
            gather.take(line);
            collect(&mut gather);
        }
        gather.end(end);
        collect(&mut gather);
        assert_eq!(next, gather.covered());
        (messages, next.bytes(), gather.waits().is_some())
    }

    #[test]
    fn lines_of_no_runtime_are_messages() {
        assert_eq!(
            gather(&["ab", "", "c"], None, 10, ChunkEnd::Open),
            (owned(&["ab 103", " 104", "c 106"]), 106, false)
        );
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn parts_are_joined_and_wait_for_the_last() {
        let parts = ["ox", "Oab", "Ocd", "oef", "Ogh"];
        assert_eq!(gather(&parts, None, 10, ChunkEnd::Open), (owned(&["x 103", "abcdef 115"]), 115, false));
        assert_eq!(gather(&parts, None, 10, ChunkEnd::Quiet).1, 115, "its rest may still come");
        assert_eq!(gather(&parts, None, 10, ChunkEnd::Closed).0[2], "gh 119");
    }

    #[test]
    fn a_joined_line_is_no_longer_than_a_message() {
        let found = gather(&["Oabcd", "Oefgh", "oij"], None, 6, ChunkEnd::Open);
        assert_eq!(found, (owned(&["abcd 106", "efghij 116"]), 116, false));
    }

    #[test]
    fn the_pieces_of_a_joined_line_know_their_line_in_any_chunks() {
        let all = lines(&["Oabcd", "ex", "Oefgh", "Oijkl", "omn", "oz"]);
        for size in 1..all.len() {
            let (mut from, mut len, mut over, mut parts) = (0, size, Continues::default(), Vec::new());
            while from < all.len() {
                let chunk = &all[from..(from + len).min(all.len())];
                let mut gather = LineAggregator::new(None, 6, chunk[0].span.start(), over);
                chunk.iter().for_each(|line| gather.take(line.clone()));
                gather.end(ChunkEnd::Open);
                parts.extend(std::iter::from_fn(|| gather.pop()).map(|message| message.part));
                over = gather.continues_there();
                let out = chunk.iter().filter(|line| line.span.end() <= gather.covered()).count();
                len = if out == 0 { len + 1 } else { size };
                from += out;
            }
            use Part::{Begins, Ends, GoesOn, Whole};
            assert_eq!(parts, [Whole, Begins, GoesOn, Ends, Whole], "{size} lines at once");
        }
    }

    #[test]
    fn channels_are_joined_apart_and_settled_together() {
        let mixed = ["Oab", "ex", "Ecd", "oef", "egh", "oz"];
        let found = gather(&mixed, None, 10, ChunkEnd::Open);
        assert_eq!(
            found.0,
            ["x 100", "abef 100", "cdgh 119", "z 122"],
            "none before all that lie among them"
        );
        let (messages, at, waits) = gather(&mixed[..3], None, 10, ChunkEnd::Open);
        assert_eq!((messages.len(), at, waits), (0, 100, true));
        let found = gather(&mixed[..3], None, 10, ChunkEnd::Quiet);
        assert_eq!(found.0, ["x 100", "ab 100", "cd 111"], "what nobody waits for is not waited for");
    }

    #[test]
    fn lines_stay_together_until_the_next_begins() {
        let group = multiline(10);
        let texts = ["lost", " tail", "1 a", " b", " c", "2 d", " e"];
        let found = gather(&texts, Some(&group), 100, ChunkEnd::Open);
        assert_eq!(found, (owned(&["lost| tail 111", "1 a| b| c 121"]), 121, true));
        let found = gather(&texts, Some(&group), 100, ChunkEnd::Quiet);
        assert_eq!((&*found.0[2], found.1, found.2), ("2 d| e 128", 128, false));
    }

    #[test]
    fn a_message_has_so_many_lines_and_bytes_at_most_and_one_channel() {
        let found = gather(&["1 a", " b", " c", " d"], Some(&multiline(2)), 100, ChunkEnd::Closed);
        assert_eq!(found.0, ["1 a| b 107", " c| d 113"]);
        let found = gather(&["1 a", " b", " c"], Some(&multiline(9)), 6, ChunkEnd::Closed);
        assert_eq!(found.0, ["1 a| b 107", " c 110"]);
        let found = gather(&["o1 a", "o b", "e c", "o d"], Some(&multiline(9)), 100, ChunkEnd::Closed);
        assert_eq!(found.0, ["1 a| b 109", " c 113", " d 117"]);
        let found = gather(&["1 a", " b"], Some(&multiline(1)), 100, ChunkEnd::Open);
        assert_eq!(found, (owned(&["1 a 104", " b 107"]), 107, false));
    }

    #[test]
    fn parts_are_joined_before_lines_are_grouped() {
        let found = gather(&["O1 ", "oa", "o b", "o2"], Some(&multiline(9)), 100, ChunkEnd::Open);
        assert_eq!(found, (owned(&["1 a| b 111"]), 111, true));
        let found = gather(&["o1 a", "O b", "o2 c", "o3"], Some(&multiline(9)), 100, ChunkEnd::Closed);
        assert_eq!(found.0, ["1 a| b2 c 114", "3 117"]);
    }

    #[test]
    fn a_piece_of_a_line_that_is_too_long_is_a_message_by_itself() {
        let group = multiline(9);
        let mut gather = LineAggregator::new(Some(&group), 10, Offset::new(100), Continues::default());
        lines(&["1", "O2"]).into_iter().for_each(|line| gather.take(line));
        let span = Span::new(Offset::new(105), Offset::new(120));
        gather.take_piece(span, Bytes::from_static(b"long"), Part::Begins);
        let found: Vec<_> =
            std::iter::from_fn(|| gather.pop()).map(|message| message.span.end().bytes()).collect();
        assert_eq!(found, [102, 105, 120]);
    }

    #[test]
    fn no_part_is_waited_for_without_end() {
        let other = "e".repeat(1000);
        let texts: Vec<_> = std::iter::once("Oa").chain(std::iter::repeat_n(&*other, 200)).collect();
        let (messages, at, waits) = gather(&texts, None, 1000, ChunkEnd::Open);
        assert!(messages.len() > 60 && at > 100 + max_incomplete_bytes(1000) as u64, "{at}");
        assert!(!waits, "and what comes after it is a message at once");
    }

    proptest! {
        /// A line that is a message at once is the message that it would be among others.
        #[test]
        fn lines_that_stand_alone_are_what_they_are_among_others(
            texts in proptest::collection::vec("[oeOEx]{1,2}[a-z]{0,4}", 1..40),
            max_message_bytes in 1usize..12,
            stdout: bool, stderr: bool, groups: bool, quiet: bool,
        ) {
            let group = multiline(3);
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            let continues = Continues { stdout, stderr };
            let new = || LineAggregator::new(groups.then_some(&group), max_message_bytes, Offset::new(100), continues);
            let (mut at_once, mut among) = (new(), new());
            let is_same = |one: &mut LineAggregator<'_>, other: &mut LineAggregator<'_>| {
                prop_assert_eq!(one.pop(), other.pop());
                prop_assert_eq!((one.covered(), one.waits()), (other.covered(), other.waits()));
                prop_assert_eq!(one.continues_there(), other.continues_there());
                Ok(())
            };
            for line in lines(&texts) {
                at_once.take(line.clone());
                among.take_among(line);
                is_same(&mut at_once, &mut among)?;
            }
            let end = if quiet { ChunkEnd::Quiet } else { ChunkEnd::Closed };
            at_once.end(end);
            among.end(end);
            for _ in 0..=texts.len() {
                is_same(&mut at_once, &mut among)?;
            }
        }

        /// Whatever comes in whatever chunks, each line is in one message, and what is not out is read again.
        #[test]
        fn l2_no_line_is_lost_or_told_twice(
            texts in proptest::collection::vec("[oeOEx][0-9 ]?[a-z]{0,4}", 1..40),
            steps in proptest::collection::vec(1usize..12, 1..8),
            max_lines in 1usize..5,
            max_message_bytes in 1usize..12,
            groups: bool,
        ) {
            let group = multiline(max_lines);
            let group = groups.then_some(&group);
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            let all = lines(&texts);
            let mut metadata = Vec::new();
            let (mut from, mut len, mut step, mut over) = (0, 1, 0, Continues::default());
            while from < all.len() {
                let to = (from + len).min(all.len());
                let at = all[from].span.start();
                let mut gather = LineAggregator::new(group, max_message_bytes, at, over);
                all[from..to].iter().for_each(|line| gather.take(line.clone()));
                let is_last = to == all.len();
                gather.end(if is_last { ChunkEnd::Closed } else if step % 3 == 2 { ChunkEnd::Quiet } else { ChunkEnd::Open });
                let mut next = at;
                while let Some(message) = gather.pop() {
                    prop_assert_eq!(message.span.start(), next);
                    prop_assert!(message.at >= at);
                    next = message.span.end();
                    metadata.push(message);
                }
                prop_assert_eq!(next, gather.covered());
                prop_assert!(!is_last || next == all[to - 1].span.end(), "everything is out at the end");
                let out = all[from..to].iter().take_while(|line| line.span.end() <= next).count();
                if out == 0 { len *= 2 } else { len = steps[step % steps.len()] }
                over = gather.continues_there();
                from += out;
                step += 1;
            }
            let sum: usize = metadata.iter().map(|message| message.lines).sum();
            prop_assert_eq!(sum, all.len());
            for message in &metadata {
                prop_assert!(message.content.len() <= max_message_bytes || message.lines == 1);
            }
            for channel in [None, Some(Channel::Stdout), Some(Channel::Stderr)] {
                let of = |metadata: &Option<RuntimeMetadata>| metadata.as_ref().map(|metadata| metadata.channel) == channel;
                let written: Vec<u8> =
                    all.iter().filter(|line| of(&line.metadata)).flat_map(|line| line.content.to_vec()).collect();
                let arrived = metadata.iter().filter(|message| of(&message.metadata));
                let arrived: Vec<u8> =
                    arrived.flat_map(|message| message.content.to_vec()).filter(|byte| *byte != b'\n').collect();
                prop_assert_eq!(&arrived, &written, "in order");
            }
        }
    }
}
