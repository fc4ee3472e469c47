//! standpipe tails log files into Amazon Data Firehose: one line, one record, and no line lost.
//!
//! This page is the map. There is no logic here.
//!
//! # Nouns
//!
//! | noun | is |
//! |---|---|
//! | source | patterns that match files, and the delivery stream their lines go to |
//! | file | device, inode and birth time; a name is only where it was last seen |
//! | incarnation | one life of one file's content: truncation, or another file in its place, begins the next |
//! | fingerprint | a hash of a file's beginning; with the *window*, the bytes just before an offset, it tells lives apart |
//! | span | the bytes of one line, or of the lines that share a record, in their incarnation, newlines included |
//! | message | what a program said at once: a line, or several that belong together |
//! | record | what is sent for one span |
//! | verdict | what the service's answer means for one record: delivered, to be sent again, refused |
//! | settled | said of a span that is done with: acknowledged by the service, or put aside as a dead letter |
//! | ledger | the spans of one incarnation that are not yet behind its frontier |
//! | frontier | the end of the settled prefix: everything before it is settled |
//! | range | bytes beyond the frontier that are settled, though something before them is not |
//! | checkpoint | a frontier and ranges on disk, with what it takes to know the incarnation again |
//! | lane | one of the delivery streams that a stream's files are spread over, with its own queue and quota (in `daemon/lanes.rs`, a queue of blocking work) |
//! | quota | what the service takes in one second: requests, records and bytes |
//!
//! # Floors
//!
//! A room uses lower floors only (`tests/floors.rs` looks), and only floors 3 and 4 wait for anything.
//!
//! | floor | rooms | may do |
//! |---|---|---|
//! | 4 | [`cli`], [`daemon`] | everything: arguments, signals, tasks |
//! | 3 | [`shell`], [`config`], [`local`] | files, network, database, environment; decide nothing |
//! | 2 | [`engine`] | route events to rules and queue effects |
//! | 1 | [`rules`] | decide, from what is handed in |
//! | 0 | [`model`] | name things |
//!
//! [`local`] stands apart: it is the service's side of the conversation, and shares nothing with the daemon, so that
//! a wrong idea about the service has to be had twice to go unnoticed.
//!
//! # The walk of one line
//!
//!  1. A program appends a line. [`shell::watch`] turns inotify's event into a [`Hint`](engine::port::Hint): where
//!     to look, never what is there.
//!  2. The engine asks for a [`Survey`](engine::port::Survey), now or when the next is due anyway, and
//!     [`shell::files`] says which files there are on the ways that [`rules::pattern`] leads.
//!  3. [`rules::rotation`] compares what is seen with what is known: grown, truncated, renamed, gone, or new.
//!  4. A new file is opened; [`rules::rotation::recognise`] finds the checkpoint that it goes on from, if there is one.
//!  5. `engine/reading.rs` asks for a [`Read`](engine::port::Read) when it is the file's turn and the memory budget
//!     has room. This is the only place where a slow service makes standpipe slow.
//!  6. [`rules::history`] checks that the bytes before the offset are those of last time; if not, another incarnation
//!     begins.
//!  7. [`rules::split`] cuts the bytes into lines, or into records of many. Where it is asked for, [`rules::unwrap`]
//!     takes off what a container's runtime wrote, [`rules::gather`] makes a [`Message`](model::message::Message) of
//!     lines that belong together, and [`rules::envelope`] wraps it in JSON.
//!  8. [`rules::ledger`] admits its span, and the line waits as a [`Record`](model::record::Record).
//!  9. [`rules::spread`] says which lane of its stream carries the file; there [`rules::batch`] says when a request is full, [`rules::circuit`] whether its stream may send at all,
//!     [`rules::under_way`] how much may be under way, [`rules::quota`] whether it may leave now.
//! 10. [`shell::firehose`] sends it, on the way that [`shell::aws`] found, and reads a [`Verdict`](model::verdict::Verdict) for each record out of the answer.
//! 11. Delivered and refused records settle their spans, the refused ones as dead letters; for the others
//!     [`rules::retry`] says how long they wait before step 9.
//! 12. The ledger raises the frontier over the settled prefix.
//! 13. [`rules::checkpoint`] says when to save, and [`shell::store`] makes frontiers and dead letters durable in one
//!     transaction. Only now is the line forgotten.
//!
//! [`daemon`] carries effects to the shells and their results back as events; it is the one place where time passes.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod local;
pub mod model;
pub mod rules;
pub mod shell;
