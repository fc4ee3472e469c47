//! RecordIds with the bytes that they stand for, as they are kept: a few bytes each besides the RecordId itself.
//!
//! Places and times are differences to the record before. Of a RecordId what it shares with the one before is left out, and
//! one that is base64 is kept as the bytes that it stands for. Knows one block. Does not know where it is kept.
//!
//! *Invariant:* what is decoded is what was encoded; what is no block is none.

use std::cell::RefCell;

use base64_simd::STANDARD;

use crate::model::audit::Acknowledged;
use crate::model::offset::{Offset, Span};

/// The first byte of a block: how it is written.
const FORMAT: u8 = 1;

/// A RecordId that is kept as the beginning of the one before and a rest.
const TEXT: u8 = 0;
/// A RecordId that is kept as the bytes of which it is the base64.
const BASE64: u8 = 1;

/// Shorter RecordIds gain nothing by being taken for base64.
const MIN_BASE64_BYTES: usize = 16;

/// One record of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: String,
    /// The bytes of the file that it stands for; see [`Acknowledged::span`].
    pub span: Span,
    /// Parts of `span` that were left out of the record.
    pub left_out: Vec<Span>,
    /// When the service acknowledged it, in milliseconds since 1970.
    pub unix_ms: i64,
}

/// Writes records, in their order, as one block.
pub fn encode(records: &[Acknowledged]) -> Vec<u8> {
    let mut block = Vec::with_capacity(16 + records.len() * 16);
    block.push(FORMAT);
    let (mut end, mut unix_ms, mut id) = (0_u64, 0_i64, "");
    for record in records {
        let span = record.span;
        signed(&mut block, span.start().bytes().wrapping_sub(end).cast_signed());
        number(&mut block, span.len());
        number(&mut block, record.left_out.len() as u64);
        let mut place = span.start();
        for left_out in &record.left_out {
            number(&mut block, left_out.start().since(place));
            number(&mut block, left_out.len());
            place = left_out.end();
        }
        signed(&mut block, record.id.unix_ms().wrapping_sub(unix_ms));
        encode_id(&mut block, record.id.as_str(), id);
        (end, unix_ms, id) = (span.end().bytes(), record.id.unix_ms(), record.id.as_str());
    }
    block
}

/// The records of a block; `None` when it is none.
pub fn decode(block: &[u8]) -> Option<Vec<Kept>> {
    let mut left = block.strip_prefix(&[FORMAT])?;
    let (mut end, mut unix_ms) = (0_u64, 0_i64);
    let mut records: Vec<Kept> = Vec::new();
    while !left.is_empty() {
        let start = end.wrapping_add(take_signed(&mut left)?.cast_unsigned());
        let span = span_at(start, take_number(&mut left)?)?;
        let mut left_out = Vec::new();
        let mut place = start;
        for _ in 0..take_number(&mut left)? {
            let gap = span_at(place.checked_add(take_number(&mut left)?)?, take_number(&mut left)?)?;
            place = gap.end().bytes();
            left_out.push(gap);
        }
        unix_ms = unix_ms.wrapping_add(take_signed(&mut left)?);
        let id = decode_id(&mut left, records.last().map_or("", |before| &before.id))?;
        end = span.end().bytes();
        records.push(Kept { id, span, left_out, unix_ms });
    }
    Some(records)
}

fn span_at(start: u64, len: u64) -> Option<Span> {
    Some(Span::new(Offset::new(start), Offset::new(start.checked_add(len)?)))
}

fn encode_id(block: &mut Vec<u8>, id: &str, before: &str) {
    let shared = id.bytes().zip(before.bytes()).take_while(|(one, other)| one == other).count();
    let shared = id.floor_char_boundary(shared);
    if shared < id.len() / 2 && encode_base64(block, id) {
        return;
    }
    block.push(TEXT);
    number(block, shared as u64);
    let rest = &id[shared..];
    number(block, rest.len() as u64);
    block.extend_from_slice(rest.as_bytes());
}

thread_local! {
    /// Room for one decoded RecordId.
    static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes a RecordId as the bytes of which it is the base64; returns whether it is one, and made of them again.
fn encode_base64(block: &mut Vec<u8>, id: &str) -> bool {
    if id.len() < MIN_BASE64_BYTES || !id.len().is_multiple_of(4) {
        return false;
    }
    DECODED.with_borrow_mut(|bytes| {
        bytes.clear();
        // Without padding no two texts are the base64 of one.
        let is_made_again = |bytes: &[u8]| !id.ends_with('=') || STANDARD.encode_to_string(bytes) == id;
        if STANDARD.decode_append(id.as_bytes(), bytes).is_err() || !is_made_again(bytes) {
            return false;
        }
        block.push(BASE64);
        number(block, bytes.len() as u64);
        block.extend_from_slice(bytes);
        true
    })
}

fn decode_id(left: &mut &[u8], before: &str) -> Option<String> {
    match take_bytes(left, 1)?[0] {
        TEXT => {
            let shared = usize::try_from(take_number(left)?).ok()?;
            let rest = usize::try_from(take_number(left)?).ok()?;
            let rest = std::str::from_utf8(take_bytes(left, rest)?).ok()?;
            Some(format!("{}{rest}", before.get(..shared)?))
        }
        BASE64 => {
            let len = usize::try_from(take_number(left)?).ok()?;
            Some(STANDARD.encode_to_string(take_bytes(left, len)?))
        }
        _ => None,
    }
}

/// Writes a number in groups of seven bits, the lowest first.
fn number(block: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        block.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    block.push(number.to_le_bytes()[0]);
}

fn take_number(left: &mut &[u8]) -> Option<u64> {
    let mut found = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_bytes(left, 1)?[0];
        found |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(found);
        }
    }
    None
}

/// Writes a number so that small ones are short, whichever sign they have.
fn signed(block: &mut Vec<u8>, value: i64) {
    number(block, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn take_signed(left: &mut &[u8]) -> Option<i64> {
    let found = take_number(left)?;
    Some((found >> 1).cast_signed() ^ -(found & 1).cast_signed())
}

fn take_bytes<'a>(left: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(len)?;
    *left = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::record::Entry;
    use crate::model::record_id::RecordId;

    fn span(start: u64, len: u64) -> Span {
        span_at(start, len).expect("a span")
    }

    fn acknowledged(start: u64, len: u64, id: &str, unix_ms: i64) -> Acknowledged {
        let id = RecordId::alone(id, unix_ms);
        Acknowledged { entry: Entry(0), span: span(start, len), left_out: Vec::new(), id }
    }

    /// A RecordId as long as the service's.
    fn at_the_service(number: u64) -> String {
        let mut rng = fastrand::Rng::with_seed(number);
        let bytes: Vec<u8> = (0..168).map(|_| rng.u8(..)).collect();
        STANDARD.encode_to_string(bytes)
    }

    #[test]
    fn a_record_takes_few_bytes_besides_its_record_id() {
        let now = 1_795_900_000_000;
        let own: Vec<_> = (0..500)
            .map(|number| acknowledged(number * 185, 185, &format!("{:032x}{number:016x}", 7), now))
            .collect();
        assert!(encode(&own).len() < 12 * 500, "{}", encode(&own).len());
        let theirs: Vec<_> =
            (0..500).map(|number| acknowledged(number * 185, 185, &at_the_service(number), now)).collect();
        assert!(encode(&theirs).len() < (168 + 9) * 500, "{}", encode(&theirs).len());
    }

    #[test]
    fn what_is_no_block_is_none() {
        let block = encode(&[acknowledged(7, 8, "some id", 9)]);
        assert!(decode(&block).is_some());
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&block[1..]), None);
        for end in 2..block.len() {
            assert_eq!(decode(&block[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_what_was_encoded(
            rows in proptest::collection::vec(
                (any::<u32>(), 0..5_000_u64, prop_oneof!["[a-f0-9]{20,24}", "[A-Za-z0-9+/]{15,20}={0,2}", "\\PC{1,9}"],
                 any::<i64>(), proptest::collection::vec((0..9_u64, 1..9_u64), 0..3)),
                0..40,
            ),
        ) {
            let records: Vec<_> = rows.iter().map(|(start, len, id, unix_ms, gaps)| {
                let mut place = u64::from(*start);
                let left_out = gaps.iter().map(|(before, len)| {
                    let gap = span(place + before, *len);
                    place = gap.end().bytes();
                    gap
                });
                let left_out = left_out.collect();
                Acknowledged { left_out, ..acknowledged(u64::from(*start), *len, id, *unix_ms) }
            }).collect();
            let kept: Vec<_> = records.iter().map(|record| Kept {
                id: record.id.as_str().to_owned(),
                span: record.span,
                left_out: record.left_out.clone(),
                unix_ms: record.id.unix_ms(),
            }).collect();
            prop_assert_eq!(decode(&encode(&records)), Some(kept));
        }

        #[test]
        fn no_bytes_confuse_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[&[FORMAT], &bytes[..]].concat());
        }
    }
}
