//! What a program said and no record was made of: what it takes to make records of it later.
//!
//! Knows how that is written down beside a dead letter. Does not know how records are made.

use std::fmt;
use std::time::Duration;

use super::identity::{Incarnation, Origin};
use super::message::{Channel, Part, RuntimeMetadata};
use super::offset::Offset;

/// Where a text stands that became no record, and what was known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Where its first line begins.
    pub at: Offset,
    /// How many bytes of the message come before the text.
    pub before: u64,
    /// Whether the last byte is a newline that was appended.
    pub has_newline: bool,
    pub part: Part,
    pub metadata: Option<RuntimeMetadata>,
}

/// The file in which something was said, as records name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidIn {
    pub origin: Origin,
    pub incarnation: Incarnation,
    /// When it was read, since 1970.
    pub unix_time: Duration,
}

/// All of it, as it is kept beside a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmade {
    pub said: Said,
    pub file: SaidIn,
}

/// Words, a blank between two, the time a runtime wrote last: it may hold blanks itself.
impl fmt::Display for Unmade {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said { at, before, has_newline, part, metadata } = &self.said;
        let SaidIn { origin, incarnation, unix_time } = self.file;
        let (device, inode, millis) = (origin.device, origin.inode, unix_time.as_millis());
        let newline = if *has_newline { "newline" } else { "bare" };
        write!(out, "{device} {inode} {} {millis} {at} {before} {newline} {}", incarnation.0, word(*part))?;
        match metadata {
            None => Ok(()),
            Some(RuntimeMetadata { channel, time }) => write!(out, " {} {time}", channel.label()),
        }
    }
}

impl Unmade {
    /// What [`Display`](fmt::Display) wrote; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(10, ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let origin = Origin { device: number()?, inode: number()? };
        let incarnation = Incarnation(number()?);
        let unix_time = Duration::from_millis(number()?);
        let (at, before) = (Offset::new(number()?), number()?);
        let has_newline = match words.next()? {
            "newline" => true,
            "bare" => false,
            _ => return None,
        };
        let part = words.next().and_then(|said| PARTS.into_iter().find(|part| word(*part) == said))?;
        let metadata = match words.next() {
            None => None,
            Some(said) => {
                let channel = [Channel::Stdout, Channel::Stderr].into_iter();
                let channel = channel.into_iter().find(|channel| channel.label() == said)?;
                Some(RuntimeMetadata { channel, time: words.next()?.into() })
            }
        };
        let said = Said { at, before, has_newline, part, metadata };
        Some(Self { said, file: SaidIn { origin, incarnation, unix_time } })
    }
}

const PARTS: [Part; 4] = [Part::Whole, Part::Begins, Part::GoesOn, Part::Ends];

const fn word(part: Part) -> &'static str {
    match part {
        Part::Whole => "whole",
        Part::Begins => "begins",
        Part::GoesOn => "goes_on",
        Part::Ends => "ends",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_such_text_says_nothing() {
        for text in [
            "",
            "1 2 3 4 5 6 newline",
            "1 2 3 4 5 6 maybe whole",
            "1 2 3 4 5 6 bare some",
            "1 2 3 4 5 6 bare ends up",
        ] {
            assert_eq!(Unmade::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_alike(
            numbers: [u64; 5],
            (millis, has_newline, part) in (0u64..1 << 50, any::<bool>(), 0usize..4),
            metadata in proptest::option::of((any::<bool>(), ".*")),
        ) {
            let [device, inode, incarnation, at, before] = numbers;
            let metadata = metadata.map(|(is_error, time)| RuntimeMetadata {
                channel: if is_error { Channel::Stderr } else { Channel::Stdout },
                time: time.into(),
            });
            let said = Said { at: Offset::new(at), before, has_newline, part: PARTS[part], metadata };
            let file = SaidIn {
                origin: Origin { device, inode },
                incarnation: Incarnation(incarnation),
                unix_time: Duration::from_millis(millis),
            };
            let unmade = Unmade { said, file };
            prop_assert_eq!(Unmade::parse(&unmade.to_string()), Some(unmade));
        }
    }
}
