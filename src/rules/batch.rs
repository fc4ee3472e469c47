//! How much goes into one request.
//!
//! Knows the service's limits, counted on the wire, and the operation. Does not know where records come from or
//! when they leave.
//!
//! *Invariant (L4):* at most 500 records, at most 4 MiB on the wire after base64, each record at most 1,000 KiB
//! before it.

use crate::model::limits::{BATCH_RECORDS, BATCH_WIRE_BYTES, RECORD_BYTES, base64_len};

/// JSON around one record's data: `{"Data":""},`, rounded up.
const WIRE_OVERHEAD_BYTES: usize = 16;

/// JSON around the records, with the longest name of a delivery stream (64 characters), rounded up.
const REQUEST_OVERHEAD_BYTES: usize = 256;

/// What one request may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    records: usize,
    /// Data before base64.
    bytes: usize,
}

impl Limits {
    /// The service's limits for a batch, and no more than `records` and `bytes` (what one second's quota allows).
    pub fn batch(records: usize, bytes: usize) -> Self {
        Self { records: records.clamp(1, BATCH_RECORDS), bytes }
    }

    /// One record by itself.
    pub fn single() -> Self {
        Self { records: 1, bytes: usize::MAX }
    }
}

/// The size of a request that is being put together.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    limits: Limits,
    records: usize,
    bytes: usize,
    wire_bytes: usize,
}

impl Size {
    pub fn empty(limits: Limits) -> Self {
        Self { limits, records: 0, bytes: 0, wire_bytes: REQUEST_OVERHEAD_BYTES }
    }

    /// Counts a record of `len` bytes in, if there is room for it; the first one always fits.
    ///
    /// # Panics
    /// When the record alone is above the service's limit (L4).
    pub fn add(&mut self, len: usize) -> bool {
        assert!(len <= RECORD_BYTES, "L4: a record of {len} bytes");
        let wire = base64_len(len) + WIRE_OVERHEAD_BYTES;
        let fits = self.records < self.limits.records
            && self.bytes.saturating_add(len) <= self.limits.bytes
            && self.wire_bytes + wire <= BATCH_WIRE_BYTES;
        if fits || self.records == 0 {
            self.records += 1;
            self.bytes += len;
            self.wire_bytes += wire;
            return true;
        }
        false
    }

    /// Whether no further record fits, whatever its size.
    pub fn is_full(&self) -> bool {
        self.records >= self.limits.records
    }

    pub fn records(&self) -> usize {
        self.records
    }

    /// Data before base64.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> Size {
        Size::empty(Limits::batch(usize::MAX, usize::MAX))
    }

    #[test]
    fn a_batch_closes_at_five_hundred_records() {
        let mut size = batch();
        for _ in 0..500 {
            assert!(!size.is_full());
            assert!(size.add(1));
        }
        assert!(size.is_full());
        assert!(!size.add(1));
    }

    #[test]
    fn a_batch_closes_at_four_mebibytes_on_the_wire_not_before_base64() {
        let mut size = batch();
        let mut count = 0;
        while size.add(RECORD_BYTES) {
            count += 1;
        }
        assert_eq!(count, 3, "three times 1,000 KiB make 4,000 KiB in base64");
    }

    #[test]
    fn a_single_record_takes_no_other() {
        let mut size = Size::empty(Limits::single());
        assert!(size.add(RECORD_BYTES));
        assert!(!size.add(0));
    }

    #[test]
    #[should_panic(expected = "L4")]
    fn l4_a_record_above_the_limit_is_never_sent() {
        batch().add(RECORD_BYTES + 1);
    }

    proptest! {
        /// N20.
        #[test]
        fn l4_no_request_is_over_the_limits(lens in proptest::collection::vec(0usize..=RECORD_BYTES, 1..600)) {
            let mut size = batch();
            let taken: Vec<_> = lens.into_iter().take_while(|len| size.add(*len)).collect();
            let name = "n".repeat(64);
            let json: usize = taken.iter().map(|len| r#"{"Data":""},"#.len() + base64_len(*len)).sum();
            let wire = format!(r#"{{"DeliveryStreamName":"{name}","Records":[]}}"#).len() + json;
            prop_assert!(taken.len() <= BATCH_RECORDS && wire <= BATCH_WIRE_BYTES, "L4: {} records, {wire} bytes", taken.len());
        }
    }
}
