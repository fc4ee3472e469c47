//! One value, or several: what an index holds for a key that nearly always has one.
//!
//! Knows order. Does not know what the values stand for. A list of its own for each key would take more memory than key and
//! value together, a hundred thousand times.

/// Values that belong to one key: at least one, but for a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Few<T> {
    One(T),
    Several(Vec<T>),
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl<T: Copy + Ord> Few<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }

    /// Puts a value behind the others.
    pub(super) fn push(&mut self, value: T) {
        let place = self.as_slice().len();
        self.insert_at(place, value);
    }

    /// Puts a value in its place among others that are in order, unless it is there.
    pub(super) fn insert(&mut self, value: T) {
        if let Err(place) = self.as_slice().binary_search(&value) {
            self.insert_at(place, value);
        }
    }

    fn insert_at(&mut self, place: usize, value: T) {
        match self {
            Self::Several(values) if values.is_empty() => *self = Self::One(value),
            Self::Several(values) => values.insert(place, value),
            Self::One(other) => {
                let mut values = vec![*other];
                values.insert(place, value);
                *self = Self::Several(values);
            }
        }
    }

    /// Takes a value out, and tells whether none is left.
    pub(super) fn remove(&mut self, value: T) -> bool {
        let mut left: Vec<T> = self.as_slice().iter().copied().filter(|other| *other != value).collect();
        *self = match left.len() {
            1 => Self::One(left.remove(0)),
            _ => Self::Several(left),
        };
        self.as_slice().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_that_are_pushed_stay_in_the_order_in_which_they_came() {
        let mut few = Few::default();
        for value in [3, 1, 2] {
            few.push(value);
        }
        assert_eq!(few.as_slice(), [3, 1, 2]);
        assert!(!few.remove(1) && !few.remove(3));
        assert_eq!(few, Few::One(2));
        assert!(few.remove(2));
    }

    proptest! {
        #[test]
        fn few_values_are_a_set_in_order(steps in prop::collection::vec((any::<bool>(), 0_u8..4), 0..40)) {
            let (mut few, mut set) = (Few::default(), BTreeSet::new());
            for (is_there, value) in steps {
                if is_there {
                    few.insert(value);
                    set.insert(value);
                } else {
                    set.remove(&value);
                    prop_assert_eq!(few.remove(value), set.is_empty());
                }
                prop_assert_eq!(few.as_slice().to_vec(), set.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
