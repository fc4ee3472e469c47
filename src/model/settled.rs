//! What is settled beyond a frontier.
//!
//! *Invariant:* ranges are in order, apart from each other, none is empty, and there are at most [`MAX_RANGES`].

use super::identity::Window;
use super::offset::{Offset, Span};

/// The most ranges that one checkpoint holds. Each stands for a record that waits before it; so many are 16 KiB to save again
/// and again, of a file of which a thousand records wait.
pub const MAX_RANGES: usize = 1_024;

/// Ranges of a file that are settled though something before them is not, and how to know that the file still holds them:
/// nothing, of nearly all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled(Option<Box<Ranges>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges {
    ranges: Vec<Span>,
    window: Window,
}

impl Settled {
    /// Ranges beyond `frontier`, and the bytes just before the end of the last of them; `None` when no ledger can have said
    /// so.
    pub fn try_new(frontier: Offset, ranges: Vec<Span>, window: Window) -> Option<Self> {
        if ranges.is_empty() {
            return Some(Self::default());
        }
        let in_order = ranges.windows(2).all(|pair| pair[0].end() < pair[1].start());
        let is_sound = in_order
            && ranges[0].start() >= frontier
            && ranges.len() <= MAX_RANGES
            && !ranges.iter().any(|range| range.is_empty());
        is_sound.then(|| Self(Some(Box::new(Ranges { ranges, window }))))
    }

    pub fn ranges(&self) -> &[Span] {
        self.0.as_ref().map_or(&[], |settled| &settled.ranges)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Where the last range ends.
    pub fn end(&self) -> Option<Offset> {
        self.ranges().last().map(|range| range.end())
    }

    /// The bytes just before the end of the last range.
    pub fn window(&self) -> Window {
        self.0.as_ref().map(|settled| settled.window).unwrap_or_default()
    }

    /// Bytes in all ranges.
    pub fn bytes(&self) -> u64 {
        self.ranges().iter().map(|range| range.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ends: &[(u64, u64)]) -> Vec<Span> {
        ends.iter().map(|(start, end)| Span::new(Offset::new(*start), Offset::new(*end))).collect()
    }

    #[test]
    fn only_what_a_ledger_can_say_is_taken() {
        let window = Window::at_end_of(b"before the end");
        let many: Vec<_> = (0..=MAX_RANGES as u64).map(|place| (10 + 2 * place, 11 + 2 * place)).collect();
        for (frontier, of, is_sound) in [
            (10, &[][..], true),
            (10, &[(12, 14), (15, 20)], true),
            (10, &[(10, 14)], true),
            (10, &[(9, 14)], false),
            (10, &[(12, 12)], false),
            (10, &[(12, 14), (14, 20)], false),
            (10, &[(15, 20), (12, 14)], false),
            (10, &many[1..], true),
            (10, &many, false),
        ] {
            let settled = Settled::try_new(Offset::new(frontier), ranges(of), window);
            assert_eq!(settled.is_some(), is_sound, "{frontier}: {of:?}");
            if let Some(settled) = settled {
                assert_eq!(settled.bytes(), of.iter().map(|(start, end)| end - start).sum::<u64>());
                assert_eq!(settled.end(), of.last().map(|(_, end)| Offset::new(*end)));
            }
        }
    }
}
