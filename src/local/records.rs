//! The data of one request's records: from base64 to bytes, within the service's limits.
//!
//! Knows base64 and the limits of a record and a batch. Deliberately knows nothing of delivery streams, quotas
//! or JSON. Called by `api` for each request.
//!
//! *Invariant:* the records lie one behind the other in one allocation, in the request's order.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::limits::{BATCH_RECORDS, BATCH_WIRE_BYTES, RECORD_BYTES};
use super::refusal::{Kind, Refusal};

/// The decoded records of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    data: Vec<u8>,
    /// Where each record ends in `data`.
    ends: Vec<usize>,
}

impl Records {
    /// The one record of a `PutRecord`.
    ///
    /// Errors: wrong base64 is a `SerializationException`, too much data an `InvalidArgumentException`.
    pub(super) fn one(text: &str) -> Result<Self, Refusal> {
        let mut records = Self::default();
        records.decode(text)?;
        Ok(records)
    }

    /// The records of a `PutRecordBatch`.
    ///
    /// Errors: as [`Records::one`]; no record, more than 500, or more than 4 MiB of base64 are an
    /// `InvalidArgumentException` for the whole batch.
    pub(super) fn batch(texts: &[impl AsRef<str>]) -> Result<Self, Refusal> {
        if texts.is_empty() || texts.len() > BATCH_RECORDS {
            return Err(Refusal::new(
                Kind::InvalidArgument,
                format!("A batch holds 1 to {BATCH_RECORDS} records, not {}.", texts.len()),
            ));
        }
        let wire: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        if wire > BATCH_WIRE_BYTES {
            return Err(Refusal::new(
                Kind::InvalidArgument,
                format!("A batch holds at most {BATCH_WIRE_BYTES} bytes of base64, not {wire}."),
            ));
        }
        let mut records =
            Self { data: Vec::with_capacity(wire.div_ceil(4) * 3), ends: Vec::with_capacity(texts.len()) };
        for text in texts {
            records.decode(text.as_ref())?;
        }
        Ok(records)
    }

    fn decode(&mut self, text: &str) -> Result<(), Refusal> {
        let begin = self.data.len();
        // The padding sits at the end only: two base64 strings in a row are not one.
        STANDARD
            .decode_vec(text, &mut self.data)
            .map_err(|error| Refusal::new(Kind::Serialization, format!("Data is not base64: {error}.")))?;
        let len = self.data.len() - begin;
        if len > RECORD_BYTES {
            return Err(Refusal::new(
                Kind::InvalidArgument,
                format!("A record holds at most {RECORD_BYTES} bytes before base64, not {len}."),
            ));
        }
        self.ends.push(self.data.len());
        Ok(())
    }

    /// How many records.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All records' bytes, one record behind the other.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Each record's bytes, in the request's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| &self.data[self.range(index)])
    }

    /// Each record's length in bytes, in the request's order.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        (0..self.len()).map(|index| self.range(index).len() as u64)
    }

    fn range(&self, index: usize) -> Range<usize> {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        begin..self.ends[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(outcome: Result<Records, Refusal>) -> Kind {
        outcome.expect_err("it is beyond a limit").kind
    }

    #[test]
    fn the_data_blob_can_be_up_to_1000_kib_before_base64() {
        let largest = STANDARD.encode(vec![b'x'; 1000 * 1024]);
        assert_eq!(Records::one(&largest).unwrap().data().len(), 1000 * 1024);

        let larger = STANDARD.encode(vec![b'x'; 1000 * 1024 + 1]);
        assert_eq!(kind(Records::one(&larger)), Kind::InvalidArgument);
    }

    #[test]
    fn a_data_blob_is_any_kind_of_data() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(Records::one(&STANDARD.encode(&all)).unwrap().data(), all);
        assert_eq!(Records::one("").unwrap().sizes().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn two_base64_strings_in_a_row_are_not_data() {
        let concatenated = format!("{}{}", STANDARD.encode("a"), STANDARD.encode("b"));
        assert_eq!(kind(Records::one(&concatenated)), Kind::Serialization);
    }

    #[test]
    fn what_is_not_base64_is_a_serialization_fault() {
        for wrong in ["a", "YQ", "Y Q==", "YQ==\n", "-_-_", "é"] {
            assert_eq!(kind(Records::one(wrong)), Kind::Serialization, "{wrong:?}");
        }
    }

    #[test]
    fn a_batch_keeps_its_records_apart_and_in_order() {
        let batch = Records::batch(&["Zmlyc3Q=", "", "c2Vjb25k"]).unwrap();
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"first"[..], b"", b"second"]);
        assert_eq!(batch.data(), b"firstsecond");
    }

    #[test]
    fn a_batch_holds_one_to_500_records() {
        assert_eq!(kind(Records::batch(&[""; 0])), Kind::InvalidArgument);
        assert_eq!(Records::batch(&["YQ=="; 500]).unwrap().len(), 500);
        assert_eq!(kind(Records::batch(&["YQ=="; 501])), Kind::InvalidArgument);
    }

    #[test]
    fn a_batch_holds_up_to_4_mib_of_base64() {
        let quarter = STANDARD.encode(vec![b'x'; 786_432]);
        assert_eq!(quarter.len(), 1024 * 1024);
        let mut texts = vec![quarter; 4];
        assert_eq!(Records::batch(&texts).unwrap().len(), 4);

        texts.push("YQ==".to_owned());
        assert_eq!(kind(Records::batch(&texts)), Kind::InvalidArgument);
    }
}
