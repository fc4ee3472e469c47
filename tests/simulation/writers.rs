//! Who writes lines, and what stands around them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use standpipe::engine::port::Hint;
use standpipe::model::limits::RECORD_BYTES;
use standpipe::model::settings::{Multiline, Oversize, Runtime, Settings};

use super::disk::{FileIndex, LineNumber};
use super::oracle::Pieces;
use super::service::{POISON, STUBBORN};
use super::world::World;

/// What stands around lines, and what is made of them; by default nothing.
#[derive(Clone, Debug)]
pub struct Shape {
    pub runtime: Option<Runtime>,
    pub multiline: Option<Multiline>,
    pub oversize: Oversize,
    pub longest: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { runtime: None, multiline: None, oversize: Oversize::Split, longest: RECORD_BYTES }
    }
}

impl Shape {
    pub fn apply(&self, settings: &mut Settings) {
        let source = &mut settings.sources[0];
        source.runtime = self.runtime;
        source.multiline = self.multiline.clone();
        source.oversize = self.oversize;
        source.max_message_bytes = self.longest;
    }

    fn is_plain(&self) -> bool {
        self.runtime.is_none() && self.multiline.is_none() && self.longest == RECORD_BYTES
    }

    pub fn pieces(&self) -> Pieces {
        match self.oversize {
            _ if self.longest == RECORD_BYTES => Pieces::None,
            Oversize::Split | Oversize::DeadLetter => Pieces::All,
            Oversize::Truncate => Pieces::First,
        }
    }

    /// A line as the runtime writes it, in parts.
    pub fn parts(&self, text: &[u8], channel: &str, rng: &mut fastrand::Rng) -> Vec<Vec<u8>> {
        let Some(runtime) = self.runtime else { return vec![text.to_vec()] };
        let line = &text[..text.len() - 1];
        let mut rest = line;
        let mut parts = Vec::new();
        loop {
            // Long enough to be known in a record by itself, and so is what is left.
            let len = if rest.len() <= self.longest && rng.bool() { rest.len() } else { rng.usize(60..300) };
            let len = if rest.len() < len + 60 { rest.len() } else { len };
            let (now, later) = rest.split_at(len);
            let is_last = later.is_empty();
            let now = std::str::from_utf8(now).expect("the lines here are texts");
            parts.push(part(runtime, now, is_last, channel));
            if is_last {
                return parts;
            }
            rest = later;
        }
    }
}

impl Shape {
    /// Where messages of both channels stand in each other: all that is settled at once.
    pub fn entwined(&self, content: &[u8]) -> Vec<Range<u64>> {
        let mut messages: Vec<Range<u64>> = Vec::new();
        let (mut last, mut is_open, mut at) = ([None; 2], [false; 2], 0);
        for line in content.split_inclusive(|byte| *byte == b'\n').filter(|_| self.runtime.is_some()) {
            let has = |what: &[u8]| line.windows(what.len()).any(|window| window == what);
            let channel = usize::from(has(b" stderr ") || has(b"\"stream\":\"stderr\""));
            let goes_on = self.multiline.is_some() && (has(b" F  ") || has(b" P  ") || has(b"\"log\":\" "));
            let index = last[channel].filter(|_| is_open[channel] || goes_on).unwrap_or(messages.len());
            messages.resize(messages.len().max(index + 1), at..at);
            at += line.len() as u64;
            messages[index].end = at;
            last[channel] = Some(index);
            is_open[channel] = !(has(b" F ") || has(b"\\n\",\"stream\":"));
        }
        for index in [0, 1].into_iter().filter_map(|channel| last[channel].filter(|_| is_open[channel])) {
            messages[index].end = at;
        }
        let mut found: Vec<(Range<u64>, bool)> = Vec::new();
        for message in messages {
            match found.last_mut() {
                Some((before, is_mixed)) if message.start < before.end => {
                    (before.end, *is_mixed) = (before.end.max(message.end), true);
                }
                _ => found.push((message, false)),
            }
        }
        found.into_iter().filter_map(|(span, is_mixed)| is_mixed.then_some(span)).collect()
    }
}

fn part(runtime: Runtime, text: &str, is_last: bool, channel: &str) -> Vec<u8> {
    let time = "2026-11-24T08:15:42.5Z";
    match runtime {
        Runtime::Cri => {
            let tag = if is_last { "F" } else { "P" };
            format!("{time} {channel} {tag} {text}\n").into_bytes()
        }
        Runtime::Docker => {
            let newline = if is_last { "\n" } else { "" };
            let log = serde_json::to_string(&format!("{text}{newline}")).expect("JSON");
            format!("{{\"log\":{log},\"stream\":\"{channel}\",\"time\":\"{time}\"}}\n").into_bytes()
        }
    }
}

impl World {
    pub fn create(&mut self, path: &Path) -> FileIndex {
        let file = self.disk.create(path);
        if !self.used_inodes.insert(self.disk.files[file].identity.inode) {
            self.reached.recycled_inodes += 1;
        }
        self.named(file);
        self.hint(Hint::Names);
        file
    }

    /// A file has got a name: what is in it, and will be, is due to the streams that the name leads to.
    pub fn named(&mut self, file: FileIndex) {
        let due = self.disk.names_of(file).fold(0, |due, path| due | self.layout.due(path));
        self.disk.files[file].due |= due;
        self.make_due(file, 0);
    }

    /// Lines from the one of that index on are due to the file's streams.
    pub fn make_due(&mut self, file: FileIndex, from: usize) {
        let file = &self.disk.files[file];
        let half = file.half.iter().map(|(number, _)| *number);
        let lines = file.lines[from..].iter().map(|(_, number)| *number);
        for number in lines.chain(half) {
            self.oracle.is_due(number, file.due);
        }
    }

    /// Appends some lines to the file of that name; creates it when there is none.
    pub fn append(&mut self, path: &Path) {
        let file = match self.disk.find(path) {
            Some(file) => file,
            None => self.create(path),
        };
        self.append_to(file);
        self.hint_grown(path);
    }

    pub fn hint_grown(&mut self, path: &Path) {
        let path = self.disk.links.get(path).map_or(path, |target| target.as_path());
        self.hint(Hint::Grown(Arc::from(path)));
    }

    pub fn append_to(&mut self, file: FileIndex) {
        let before = self.disk.files[file].lines.len();
        let count = self.rng.usize(1..40);
        for index in 0..count {
            let kind = self.kind_of_line();
            let padding = match self.rng.u8(0..60) {
                0 => self.rng.usize(0..self.climate.long_line),
                _ => self.rng.usize(0..200),
            };
            if !self.shape.is_plain() {
                self.append_shaped(file, kind, padding);
                continue;
            }
            let (number, text) = self.oracle.write(kind, padding);
            // What is left without a newline in a renamed file is shipped as it is.
            let whole = match self.rng.u8(0..10) > 0 {
                _ if self.climate.keep_halves => index + 1 < count,
                false if self.is_wide() => !self.is_matched(file) || !self.left_out.is_empty(),
                whole => whole,
            };
            self.disk.append(file, number, &text, whole);
        }
        self.make_due(file, before);
    }

    fn kind_of_line(&mut self) -> &'static str {
        if self.rng.f64() < self.climate.poison {
            return POISON;
        }
        let is_stubborn = self.climate.stubborn > 0.0 && self.rng.f64() < self.climate.stubborn;
        if is_stubborn { STUBBORN } else { "line" }
    }

    pub fn shaped_line(&mut self, kind: &str, padding: usize) -> (LineNumber, Vec<u8>) {
        let goes_on = self.shape.multiline.is_some() && self.rng.bool();
        self.oracle.write_cells(kind, padding, goes_on, self.shape.longest)
    }

    /// A line as it stands in a file of this shape; now and then one of the other channel among its parts.
    fn append_shaped(&mut self, file: FileIndex, kind: &str, padding: usize) {
        let (number, text) = self.shaped_line(kind, padding);
        let parts = self.shape.parts(&text, "stdout", &mut self.rng);
        if parts.len() == 1 || self.rng.u8(0..4) == 0 {
            let whole = self.rng.u8(0..10) > 0;
            return self.disk.append(file, number, &parts.concat(), whole);
        }
        let (other, text) = self.shaped_line(kind, 100);
        let mut others = self.shape.parts(&text, "stderr", &mut self.rng).into_iter().peekable();
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 && self.rng.bool() && others.peek().is_some() {
                bytes.extend(others.next().expect("just seen"));
                ends.extend(others.peek().is_none().then_some((bytes.len(), other)));
            }
            bytes.extend(part);
            ends.extend((index == last).then_some((bytes.len(), number)));
        }
        while let Some(part) = others.next() {
            bytes.extend(part);
            ends.extend(others.peek().is_none().then_some((bytes.len(), other)));
        }
        self.disk.append_mixed(file, &bytes, &ends);
        self.reached.mixed_channels += 1;
    }
}
