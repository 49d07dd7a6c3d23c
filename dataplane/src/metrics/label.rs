//! The names of routes and backends as metrics know them: by number, and only so many.

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// The value of a label. It lives with what it names, and moves from table to table with it.
#[derive(Debug)]
pub struct Label {
    name: String,
    /// 0 until it is counted for the first time.
    number: AtomicU32,
}

impl Label {
    pub fn new(name: &impl Display) -> Arc<Self> {
        Arc::new(Self { name: name.to_string(), number: AtomicU32::new(0) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a label is counted under. A number is never given again, so that what comes late is not counted as another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Number(u32);

impl Number {
    /// Requests that came to no route.
    pub(super) const NONE: Self = Self(0);
    /// Those beyond the bound, and those that are gone.
    pub(super) const OTHER: Self = Self(1);
    const FIRST: u32 = 2;
}

/// Labels of one kind that have numbers of their own. At most [`MAX_LABELS`]; the rest is `other`.
#[derive(Debug, Default)]
pub(super) struct Directory(Mutex<Known>);

/// As docs/src/run/operations.md says: beyond 1,000 routes the rest is `other`.
pub(super) const MAX_LABELS: usize = 1000;

#[derive(Debug)]
struct Known {
    next: u32,
    labels: HashMap<u32, Weak<Label>>,
}

impl Default for Known {
    fn default() -> Self {
        Self { next: Number::FIRST, labels: HashMap::new() }
    }
}

/// What numbers stood for at one moment.
pub(super) struct Names {
    next: u32,
    labels: HashMap<u32, Arc<Label>>,
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name<'n> {
    Known(&'n str),
    /// It is counted as `other` from now on.
    Gone,
    /// It was given after the names were taken.
    New,
}

impl Directory {
    /// A label's number; given to it the first time.
    pub(super) fn number(&self, label: &Arc<Label>) -> Number {
        match label.number.load(Relaxed) {
            0 => self.assign(label),
            number => Number(number),
        }
    }

    fn assign(&self, label: &Arc<Label>) -> Number {
        let mut known = self.known();
        // Another worker may have come first; under the lock it is done or not begun.
        let number = label.number.load(Relaxed);
        if number != 0 {
            return Number(number);
        }
        if known.labels.len() >= MAX_LABELS {
            known.labels.retain(|_, label| label.strong_count() > 0);
        }
        let number = if known.labels.len() >= MAX_LABELS || known.next == u32::MAX {
            Number::OTHER.0
        } else {
            let number = known.next;
            known.next += 1;
            known.labels.insert(number, Arc::downgrade(label));
            number
        };
        label.number.store(number, Relaxed);
        Number(number)
    }

    pub(super) fn names(&self) -> Names {
        let mut known = self.known();
        known.labels.retain(|_, label| label.strong_count() > 0);
        let live = known.labels.iter().filter_map(|(number, label)| Some((*number, label.upgrade()?)));
        Names { next: known.next, labels: live.collect() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic leaves it whole: the number is stored last.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    pub(super) fn of(&self, number: Number) -> Name<'_> {
        match number {
            Number::NONE => Name::Known(""),
            Number::OTHER => Name::Known("other"),
            Number(number) => match self.labels.get(&number) {
                Some(label) => Name::Known(label.name()),
                None if number < self.next => Name::Gone,
                None => Name::New,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_keeps_its_number_and_what_is_beyond_the_bound_is_other() {
        let directory = Directory::default();
        let labels: Vec<_> = (0..MAX_LABELS).map(|at| Label::new(&format!("shop/{at}"))).collect();
        let numbers: Vec<_> = labels.iter().map(|label| directory.number(label)).collect();
        let beyond = Label::new(&"shop/beyond");
        assert_eq!(directory.number(&beyond), Number::OTHER);
        let again: Vec<_> = labels.iter().map(|label| directory.number(label)).collect();
        assert_eq!(again, numbers);
        let names = directory.names();
        assert_eq!(names.of(numbers[7]), Name::Known("shop/7"));
        assert_eq!(names.of(Number::NONE), Name::Known(""));
    }

    #[test]
    fn the_number_of_a_label_that_is_gone_is_never_given_again() {
        let directory = Directory::default();
        let gone = directory.number(&Label::new(&"shop/gone"));
        let before = directory.names();
        let next = Label::new(&"shop/next");
        let number = directory.number(&next);
        assert_ne!(number, gone);
        assert_eq!((before.of(gone), before.of(number)), (Name::Gone, Name::New));
        assert_eq!(directory.names().of(number), Name::Known("shop/next"));
    }
}
