//! Memory that records share which are made one after the other.
//!
//! Memory for each record would be two allocations, of sizes that no list of free memory is ready for: a fifth of what it
//! costs to ship an envelope. Knows bytes. Does not know what they say.
//!
//! *Invariant:* whoever keeps a record keeps at most [`MAX_BLOCK_BYTES`] with it; and the memory of all records is at most
//! three times what they are.

use bytes::{Bytes, BytesMut};

/// The most that records share, in bytes: enough for some forty, and little beside what was read with a record.
const MAX_BLOCK_BYTES: usize = 16 * 1024;

/// The longest record that shares memory, in bytes: little of a block is left behind where the next one does not fit.
const MAX_SHARED_BYTES: usize = MAX_BLOCK_BYTES / 8;

/// Where the next records are put.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// What is left of the memory.
    room: BytesMut,
    /// What was put, in bytes.
    bytes: usize,
}

impl Block {
    /// A record in memory that it shares with those before and behind it; `None` for one that is too long for that.
    ///
    /// Memory is taken for as much as came so far: few records have little.
    pub(super) fn put(&mut self, record: &[u8]) -> Option<Bytes> {
        if record.len() > MAX_SHARED_BYTES {
            return None;
        }
        if self.room.capacity() < record.len() {
            self.room = BytesMut::with_capacity(self.bytes.clamp(record.len(), MAX_BLOCK_BYTES));
        }
        self.bytes += record.len();
        self.room.extend_from_slice(record);
        Some(self.room.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_comes_out_and_memory_is_at_most_three_times_that(
            lengths in proptest::collection::vec(0_usize..MAX_SHARED_BYTES, 0..60),
        ) {
            let (mut block, mut taken, mut put) = (Block::default(), 0, Vec::new());
            for (number, length) in (0_u8..).zip(lengths) {
                let record = vec![number; length];
                let before = block.room.capacity();
                let data = block.put(&record).expect("it is short");
                if before < length {
                    taken += block.room.capacity() + length;
                    prop_assert!(block.room.capacity() + length <= MAX_BLOCK_BYTES);
                }
                put.push((data, record));
            }
            let made: usize = put.iter().map(|(_, record)| record.len()).sum();
            prop_assert!(taken <= 3 * made, "{} for {}", taken, made);
            for (data, record) in put {
                prop_assert_eq!(&data[..], &record[..]);
            }
        }
    }

    #[test]
    fn a_long_record_shares_nothing() {
        assert_eq!(Block::default().put(&[0; MAX_SHARED_BYTES + 1]), None);
    }
}
