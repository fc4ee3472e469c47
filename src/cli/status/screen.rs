//! What stands on the screen while a daemon is watched, and what keys do to it.
//!
//! Knows rows, columns and keys. Does not know where texts come from, or a terminal: everything here is a value.
//!
//! *Invariant:* a frame has as many rows as the screen at most, and none is wider.

use console::{Key, Style, truncate_str};

/// What the keys do, in the last row.
const HELP: &str = "q leaves   arrows and Page Up, Down move   / filters";

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// What is shown.
#[derive(Clone, Debug)]
pub(super) struct Shown<'a> {
    pub(super) text: &'a str,
    /// Why what is shown is old, if it is.
    pub(super) stale: Option<&'a str>,
}

/// What a key asks for beyond another frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Asked {
    Frame,
    Leave,
}

/// Where a person is in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Screen {
    filter: String,
    /// Keys go into the filter.
    typing: bool,
    /// Lines of the text that are above the screen, without its first.
    above: usize,
    /// How many lines moved past fit, as of the last frame.
    page: usize,
    /// The most lines that may be above, as of the last frame.
    most_above: usize,
}

impl Screen {
    /// What the rows that are shown have in their names.
    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn press(&mut self, key: &Key) -> Asked {
        match (self.typing, key) {
            (_, Key::CtrlC) | (false, Key::Char('q' | 'Q')) => return Asked::Leave,
            (true, Key::Enter) => self.typing = false,
            (_, Key::Escape) => (self.typing, self.filter) = (false, String::new()),
            (true, Key::Backspace) => drop(self.filter.pop()),
            (true, Key::Char(letter)) if !letter.is_control() => self.filter.push(*letter),
            (false, Key::Char('/')) => self.typing = true,
            (_, Key::ArrowUp) | (false, Key::Char('k')) => self.go(|above, _| above.saturating_sub(1)),
            (_, Key::ArrowDown) | (false, Key::Char('j')) => self.go(|above, _| above + 1),
            (_, Key::PageUp) => self.go(usize::saturating_sub),
            (_, Key::PageDown) | (false, Key::Char(' ')) => self.go(|above, page| above + page),
            (_, Key::Home) => self.above = 0,
            (_, Key::End) => self.above = self.most_above,
            _ => {}
        }
        Asked::Frame
    }

    fn go(&mut self, to: impl Fn(usize, usize) -> usize) {
        self.above = to(self.above, self.page).min(self.most_above);
    }

    /// Lines of the screen, from its top: the text's first line, as much of the others as fits, and a line about keys.
    pub(super) fn frame(&mut self, shown: &Shown<'_>, size: Size) -> Vec<String> {
        let mut lines = shown.text.lines();
        let mut head: Vec<String> = match shown.stale {
            Some(why) => vec![Kind::Fault.paint(why, size.columns)],
            None => Vec::new(),
        };
        head.extend(lines.next().map(|line| paint(line, shown, size.columns)));
        let body: Vec<&str> = lines.collect();
        self.page = size.rows.saturating_sub(head.len() + 1);
        self.most_above = body.len().saturating_sub(self.page);
        self.above = self.above.min(self.most_above);
        let visible = body.iter().skip(self.above).take(self.page);
        let mut frame = head;
        frame.extend(visible.map(|line| paint(line, shown, size.columns)));
        frame.truncate(size.rows.saturating_sub(1));
        frame.push(Kind::Foot.paint(&self.foot(body.len()), size.columns));
        frame
    }

    fn foot(&self, lines: usize) -> String {
        if self.typing {
            return format!("/{}_   Enter keeps it, Esc shows all", self.filter);
        }
        let filter = match self.filter.as_str() {
            "" => String::new(),
            filter => format!("   only {filter:?}, Esc shows all"),
        };
        let below = lines.saturating_sub(self.above + self.page);
        let place = match (self.above, below) {
            (0, 0) => String::new(),
            (above, below) => format!("   {above} lines above, {below} below"),
        };
        // Beside a filter there is no room for both in 80 columns.
        let help = if filter.is_empty() { HELP } else { "q leaves" };
        format!("{help}{filter}{place}")
    }
}

/// What a line is, by how a table begins it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Good,
    Fault,
    Advice,
    Heading,
    Foot,
    Stale,
    Plain,
}

impl Kind {
    fn of(line: &str) -> Self {
        const HEADINGS: [&str; 6] =
            ["STREAM ", "SOURCE ", "FILE ", "NOT READ", "DAEMON ", "DELIVERY STREAM "];
        match line {
            _ if line.starts_with("  ! ") || line.ends_with("NOT READY") || line.ends_with("NO ANSWER") => {
                Self::Fault
            }
            _ if line.trim_start().starts_with("-> ") => Self::Advice,
            _ if line.starts_with("standpipe ") => Self::Good,
            _ if HEADINGS.iter().any(|heading| line.starts_with(heading)) => Self::Heading,
            _ => Self::Plain,
        }
    }

    /// The line in the kind's colours, where the terminal and `NO_COLOR` allow them.
    fn paint(self, line: &str, columns: usize) -> String {
        let style = match self {
            Self::Good => Style::new().green(),
            Self::Fault => Style::new().red(),
            Self::Advice => Style::new().cyan(),
            Self::Heading => Style::new().bold(),
            Self::Foot => Style::new().reverse(),
            Self::Stale => Style::new().dim(),
            Self::Plain => return truncate_str(line, columns, "…").into_owned(),
        };
        style.apply_to(truncate_str(line, columns, "…")).to_string()
    }
}

fn paint(line: &str, shown: &Shown<'_>, columns: usize) -> String {
    let kind = if shown.stale.is_some() { Kind::Stale } else { Kind::of(line) };
    kind.paint(line, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { rows: 5, columns: 20 };

    fn text(lines: usize) -> String {
        (0..lines).map(|line| format!("line {line}\n")).collect()
    }

    fn frame(screen: &mut Screen, text: &str, size: Size) -> Vec<String> {
        let frame = screen.frame(&Shown { text, stale: None }, size);
        frame.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect()
    }

    #[test]
    fn a_frame_is_never_larger_than_the_screen_and_keeps_the_first_line() {
        for rows in 1..12 {
            for columns in [1, 2, 20, 300] {
                for lines in [0, 1, 4, 40] {
                    let mut screen = Screen::default();
                    let frame = frame(&mut screen, &text(lines), Size { rows, columns });
                    assert!(frame.len() <= rows, "{rows} rows: {frame:?}");
                    assert!(
                        frame.iter().all(|line| console::measure_text_width(line) <= columns),
                        "{frame:?}"
                    );
                    if rows > 1 && lines > 0 && columns > 6 {
                        assert_eq!(frame[0], "line 0");
                    }
                }
            }
        }
    }

    #[test]
    fn keys_move_through_the_text_and_stop_at_its_ends() {
        let mut screen = Screen::default();
        let text = text(10);
        let mut seen = |keys: &[Key]| {
            for key in keys {
                assert_eq!(screen.press(key), Asked::Frame);
            }
            frame(&mut screen, &text, SMALL)[1].clone()
        };
        assert_eq!(seen(&[]), "line 1");
        assert_eq!(seen(&[Key::ArrowDown, Key::ArrowDown]), "line 3");
        assert_eq!(seen(&[Key::PageDown]), "line 6");
        assert_eq!(seen(&[Key::PageDown, Key::PageDown]), "line 7", "three fit, nine are there");
        assert_eq!(seen(&[Key::ArrowUp]), "line 6");
        assert_eq!(seen(&[Key::Home]), "line 1");
        assert_eq!(seen(&[Key::End]), "line 7");
        assert_eq!(seen(&[Key::PageUp, Key::PageUp, Key::PageUp]), "line 1");
    }

    #[test]
    fn a_filter_is_typed_and_taken_back_and_q_is_a_letter_in_it() {
        let mut screen = Screen::default();
        for letter in "/queue".chars() {
            assert_eq!(screen.press(&Key::Char(letter)), Asked::Frame);
        }
        assert_eq!(screen.filter(), "queue");
        screen.press(&Key::Backspace);
        screen.press(&Key::Enter);
        assert_eq!(screen.filter(), "queu");
        assert_eq!(screen.press(&Key::Char('q')), Asked::Leave);
        screen.press(&Key::Escape);
        assert_eq!(screen.filter(), "");
        assert_eq!(screen.press(&Key::CtrlC), Asked::Leave);
    }

    #[test]
    fn what_is_old_says_so_above_everything() {
        let shown = Shown { text: "standpipe 1  ready\n", stale: Some("no answer for 3 s") };
        let frame = Screen::default().frame(&shown, SMALL);
        assert!(frame[0].contains("no answer for 3 s") && frame[1].contains("standpipe 1"), "{frame:?}");
    }

    #[test]
    fn a_line_is_known_by_how_a_table_begins_it() {
        for (line, kind) in [
            ("standpipe 1  up 3 s  ready", Kind::Good),
            ("standpipe 1  up 3 s  NOT READY", Kind::Fault),
            ("  ! app: held", Kind::Fault),
            ("    -> create it", Kind::Advice),
            ("FILE          LAG", Kind::Heading),
            ("/var/log/a.log  3", Kind::Plain),
        ] {
            assert_eq!(Kind::of(line), kind, "{line}");
        }
    }
}
