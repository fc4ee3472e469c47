//! Removed files that are given up though something of them is unread: which, and why.
//!
//! A removed file takes room on the disk as long as it is held open. It is held until it is delivered, unless that
//! takes a day, or the disk is nearly full. Then one file goes with each look, the one that takes the most room, until
//! the disk has room again: so no more is lost than is needed. What counts is the room that a file takes, not its
//! size: a file with holes is large and frees little, and one whose content lies in its inode frees nothing.
//!
//! Knows what the kernel says of removed files. Does not know what is unread of them, nor how a loss is declared.
//! Called by `engine/unnamed.rs` with each answered survey.
//!
//! *Invariant:* for the disk only a file is given up whose closing frees room there.

use std::time::Duration;

use crate::model::time::Instant;

/// How long a removed file is held for what is unread of it.
const MAX_HELD: Duration = Duration::from_secs(24 * 60 * 60);

/// An open file without any name left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed<K> {
    pub file: K,
    /// The room it takes on its disk, in bytes.
    pub disk_bytes: u64,
    pub is_disk_nearly_full: bool,
    /// When it was noticed that no source matches a name of it.
    pub lost_since: Instant,
}

/// Why a file is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A day was not enough to deliver it.
    HeldTooLong,
    /// The disk is nearly full, and of the files held there this one takes the most room.
    DiskFull,
}

/// The files that are given up now, in the order of `removed`.
pub fn given_up<K: Copy + PartialEq>(removed: &[Removed<K>], now: Instant) -> Vec<(K, Cause)> {
    let frees_room = |held: &&Removed<K>| held.is_disk_nearly_full && held.disk_bytes > 0;
    let largest = removed.iter().filter(frees_room).max_by_key(|held| held.disk_bytes).map(|held| held.file);
    let cause = |held: &Removed<K>| {
        if largest == Some(held.file) {
            Some(Cause::DiskFull)
        } else {
            (now.since(held.lost_since) >= MAX_HELD).then_some(Cause::HeldTooLong)
        }
    };
    removed.iter().filter_map(|held| Some((held.file, cause(held)?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn at(seconds: u64) -> Instant {
        Instant::at(Duration::from_secs(seconds))
    }

    fn removed(file: u8, disk_bytes: u64, is_disk_nearly_full: bool, held: u64) -> Removed<u8> {
        Removed { file, disk_bytes, is_disk_nearly_full, lost_since: at(2 * DAY - held) }
    }

    fn given_up(removed: &[Removed<u8>]) -> Vec<(u8, Cause)> {
        super::given_up(removed, at(2 * DAY))
    }

    #[test]
    fn a_file_is_held_for_a_day_and_no_longer_than_its_disk_can_bear() {
        use Cause::{DiskFull, HeldTooLong};
        for (what, held, expected) in [
            ("none", vec![], vec![]),
            ("the disk has room", vec![removed(1, 4096, false, DAY - 1)], vec![]),
            ("a day is over", vec![removed(1, 4096, false, DAY)], vec![(1, HeldTooLong)]),
            ("the disk is nearly full", vec![removed(1, 4096, true, 0)], vec![(1, DiskFull)]),
            ("closing it frees nothing", vec![removed(1, 0, true, DAY - 1)], vec![]),
            ("it frees nothing, and a day is over", vec![removed(1, 0, true, DAY)], vec![(1, HeldTooLong)]),
            (
                "the one that takes the most room, and no other",
                vec![removed(1, 4096, true, 9), removed(2, 8192, true, 0), removed(3, 512, true, 9)],
                vec![(2, DiskFull)],
            ),
            (
                "a larger one on a disk that has room is no help",
                vec![removed(1, 4096, true, 0), removed(2, 8192, false, 0)],
                vec![(1, DiskFull)],
            ),
            (
                "each for its own reason",
                vec![removed(1, 4096, true, DAY), removed(2, 8192, true, DAY), removed(3, 0, false, DAY)],
                vec![(1, HeldTooLong), (2, DiskFull), (3, HeldTooLong)],
            ),
        ] {
            assert_eq!(given_up(&held), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn a_look_gives_up_at_most_one_file_for_the_disk_and_that_frees_the_most(
            files in prop::collection::vec((0..5u64, any::<bool>(), 0..DAY), 0..9),
        ) {
            let held: Vec<_> = (0..).zip(&files).map(|(file, (blocks, full, held))| {
                removed(file, blocks * 4096, *full, *held)
            }).collect();
            let most = held.iter().filter(|held| held.is_disk_nearly_full).map(|held| held.disk_bytes).max();
            let freed: Vec<_> = given_up(&held).iter().map(|(file, cause)| {
                assert_eq!(*cause, Cause::DiskFull, "none was held for a day");
                held[usize::from(*file)].disk_bytes
            }).collect();
            prop_assert_eq!(freed, Vec::from_iter(most.filter(|bytes| *bytes > 0)));
        }
    }
}
