//! Which lane of its stream carries an incarnation.
//!
//! Knows the family, and the lane that carries it. Does not know what lanes there are.

use super::{IncarnationState, Whose};
use crate::rules::rotation::family::family_name;
use crate::rules::spread::family;

/// Where one incarnation goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// The number of the family that the file belongs to.
    family: u64,
    /// Index of the lane in its stream; `None` until it is asked for.
    place: Option<usize>,
}

impl Lane {
    pub(super) fn of(whose: &Whose) -> Self {
        let name = family_name(whose.real_path());
        Self { family: family(name.as_os_str().as_encoded_bytes()), place: None }
    }
}

impl IncarnationState {
    /// The number of the family that the file belongs to.
    pub(in crate::engine) fn family(&self) -> u64 {
        self.lane.family
    }

    /// Index of the lane in its stream that carries the incarnation, once one does.
    pub(in crate::engine) fn lane(&self) -> Option<usize> {
        self.lane.place
    }

    /// Another lane carries the incarnation from now on.
    pub(in crate::engine) fn set_lane(&mut self, place: usize) {
        self.lane.place = Some(place);
    }
}
