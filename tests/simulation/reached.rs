//! The worst cases that seeds must have reached, or their run does not count.

use super::climate::Kind;
use super::families::Family;

use Kind::{Enveloped, Packed, Plain, Shaped};

const STREAMS: Kind = Kind::Wide(Family::Streams);
const LANES: Kind = Kind::Wide(Family::Lanes);
const THIN: Kind = Kind::Wide(Family::Thin);
const SILENT: Kind = Kind::Wide(Family::Silent);
const CUTS: Kind = Kind::Wide(Family::Cuts);
const PUBLISH: Kind = Kind::Wide(Family::Publish);
const BOTH: Kind = Kind::Wide(Family::Both);
const RENAME_COPY: Kind = Kind::Wide(Family::RenameCopy);
const COMPRESS: Kind = Kind::Wide(Family::Compress);
const READ_ERRORS: Kind = Kind::Wide(Family::ReadErrors);
const OUTAGE: Kind = Kind::Wide(Family::Outage);
const RELOADS: Kind = Kind::Wide(Family::Reloads);
const REPEATS: Kind = Kind::Wide(Family::Repeats);
const STUBBORN: Kind = Kind::Wide(Family::Stubborn);
const CLOCK: Kind = Kind::Wide(Family::Clock);
const NAMED: Kind = Kind::Wide(Family::Named);

/// Declares each counter once: its name, the worlds whose seeds must reach it, and what it counts.
macro_rules! counters {
    ($($name:ident [$($world:expr),*] $doc:literal;)*) => {
        /// How often each worst case was reached.
        #[derive(Clone, Debug, Default)]
        pub struct Reached {
            $(#[doc = $doc] pub $name: u64,)*
        }

        impl Reached {
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Every worst case of such a world was reached.
            pub fn check(&self, kind: Kind) {
                let counts: &[(&str, &[Kind], u64)] =
                    &[$((stringify!($name), &[$($world),*], self.$name),)*];
                for (name, worlds, count) in counts {
                    assert!(*count > 0 || !worlds.contains(&kind), "the {kind} seeds never reached: {name}");
                }
            }
        }
    };
}

counters! {
    crashes [Plain, Enveloped, STREAMS, PUBLISH, RENAME_COPY, COMPRESS] "The process was killed.";
    crashes_with_records_in_flight [Plain, STREAMS] "Requests were under way when the process was killed.";
    crashes_during_a_save [Plain] "A save was under way when the process was killed.";
    rotations [Plain, STREAMS, BOTH, READ_ERRORS, RELOADS] "A file was renamed by a rotator.";
    truncations [Plain, STREAMS] "A file was cut to nothing.";
    truncations_seen [Plain, Enveloped, Shaped] "The engine reported a truncation.";
    recycled_inodes [Plain] "A new file got the inode of one that was gone.";
    removed_with_unread_lines [Plain, STREAMS] "A file was unlinked while it was open and not delivered.";
    renamed_while_down [Plain] "A file with a checkpoint was renamed while no process ran.";
    lost_hints [Plain, STREAMS] "A hint never came.";
    overflows [Plain] "Hints were lost, and the engine was told so.";
    throttled [Plain] "A request was throttled.";
    partial_failures [Plain, STREAMS] "A record of a batch was not taken.";
    accepted_then_lost [Plain] "A request was accepted and its answer lost.";
    refused [Plain] "A request was refused for a record in it.";
    accepted_records_of_many_lines [Packed] "A record of several lines was accepted.";
    refused_records_of_many_lines [Packed] "A record of several lines was refused.";
    held [Plain, OUTAGE] "A stream's records waited because its service failed.";
    handed_on [LANES] "Files went on at another delivery stream, because theirs was down.";
    taken_back [LANES] "Files went back to their delivery stream.";
    ranges_saved [Plain, Enveloped, Shaped, Packed, STREAMS, REPEATS, STUBBORN] "What was settled beyond a frontier became durable.";
    started_with_ranges [Plain, Packed, Shaped, Enveloped, REPEATS, STUBBORN] "A process started with ranges that were settled beyond a frontier.";
    stops_beside_trouble [STUBBORN] "The process was told to end while a record waited that always fails.";
    record_ids [Plain, Enveloped, Shaped, Packed] "RecordIds became durable with their checkpoints.";
    failed_saves [Plain] "Progress could not be made durable.";
    unread_bytes_lost [Plain] "Bytes that the engine declared lost.";
    reloads [Plain, STREAMS, RELOADS] "Another configuration took effect.";
    sources_removed [Plain, STREAMS, RELOADS] "A configuration left a source out.";
    sources_back_with_records_under_way [Plain, STREAMS] "A source came back while requests were under way.";
    memory_full [Plain] "The memory budget had no room for another read.";
    sips [Plain] "A file was read a little at a time, because its stream had enough to send.";
    closed_for_others [Plain] "A named file was closed so that others could be open.";
    hidden [Plain, READ_ERRORS] "A survey could not look into a directory.";
    copies [Plain] "A file was copied and then truncated.";
    streams_wanted [NAMED] "A file was found for a stream that was not open.";
    streams_refused [NAMED] "A stream that a path names could not be opened.";
    compared [] "Two files that begin alike were compared.";
    copies_inherited [Plain, Enveloped, Shaped] "The engine went on in the copy of a file.";
    closed_and_renamed [Plain] "A file was renamed while it was followed and closed.";
    mixed_channels [Shaped] "Parts of two channels' lines stood between one another.";
    links_grew_thin [THIN] "A link carried a hundred times less for a while.";
    unanswered [SILENT] "An effect was not answered while there was trouble.";
    unreadable [READ_ERRORS] "An opening or a read was refused.";
    published [PUBLISH] "A file was renamed from a name that no source matches to one that a source does.";
    joined [CUTS] "What a rotation cut came in one record.";
    certainly_joined [CUTS] "Nothing could have kept it from that.";
    not_joined [CUTS] "What a rotation cut came in two.";
    compressed [COMPRESS] "A file was compressed and unlinked.";
    rename_copied [RENAME_COPY] "A file was renamed, copied and unlinked.";
    clock_jumps [CLOCK] "The wall clock jumped.";
    away [RELOADS] "A file was out of its directory, and came back.";
    sent_twice_as_due [BOTH] "A line was accepted by each of two streams that it was due to.";
}
