//! What nearly every file is without, at nearly every time: it takes memory only while it says something.
//!
//! Knows when that is. Does not know what is said.
//!
//! *Invariant:* whoever reads finds the same, whether memory is taken or not.

use std::ops::{Deref, DerefMut};

/// What can be said by nothing.
pub trait Sayable: Default + 'static {
    /// What nothing says.
    fn nothing() -> &'static Self;

    /// Whether it says no more than that.
    fn is_nothing(&self) -> bool;
}

/// A value that says nothing of most files.
#[derive(Debug)]
pub struct Seldom<T>(Option<Box<T>>);

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Clone for Seldom<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Sayable> Seldom<T> {
    /// The value, if memory is taken for it.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// Gives the memory back, if nothing is said.
    pub fn settle(&mut self) {
        self.0.take_if(|value| value.is_nothing());
    }

    /// Says nothing from now on; what was said is returned.
    pub fn take(&mut self) -> T {
        self.0.take().map(|value| *value).unwrap_or_default()
    }
}

impl<T: Sayable> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or_else(|| T::nothing())
    }
}

impl<T: Sayable> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Said {
        words: Vec<u8>,
    }

    impl Sayable for Said {
        fn nothing() -> &'static Self {
            static NOTHING: Said = Said { words: Vec::new() };
            &NOTHING
        }

        fn is_nothing(&self) -> bool {
            self.words.is_empty()
        }
    }

    #[test]
    fn memory_is_taken_while_something_is_said_and_what_is_read_is_the_same() {
        let mut seldom = Seldom::<Said>::default();
        assert_eq!((&*seldom, seldom.0.is_none()), (&Said::default(), true));
        seldom.words.push(7);
        seldom.settle();
        assert_eq!(seldom.words, [7], "it says something");
        seldom.words.clear();
        assert!(seldom.get_mut().is_some());
        seldom.settle();
        assert!(seldom.0.is_none() && seldom.get_mut().is_none());
        seldom.words.push(8);
        assert_eq!((seldom.take().words, seldom.take().words), (vec![8], vec![]));
    }
}
