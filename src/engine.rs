//! Routes events to rules and queues effects.

pub mod port;
