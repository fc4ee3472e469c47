//! Floor 1: the rules. Each decides one thing, from values alone.
//!
//! No clock (`now` comes in, "ask again at" goes out), no I/O, no chance but what is handed in.
//!
//! *Invariant:* a rule knows nouns, never another rule and never the engine.

pub mod arrivals;
pub mod audit;
pub mod batch;
pub mod bottleneck;
pub mod budget;
pub mod cadence;
pub mod checkpoint;
pub mod circuit;
pub mod compression;
pub mod copies;
pub mod dead_letters;
pub mod envelope;
pub mod gather;
pub mod giving_up;
pub mod histogram;
pub mod history;
pub mod idle;
pub mod judge;
pub mod ladder;
pub mod ledger;
pub mod linger;
pub mod meter;
pub mod noise;
pub mod patience;
pub mod pattern;
pub mod quota;
pub mod reload;
pub mod repeats;
pub mod retry;
pub mod rotation;
pub mod split;
pub mod spread;
pub mod under_way;
pub mod unwrap;
