//! A map that keeps only its newest entries, so that a long run does not grow without bound.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Values by name. Inserting more than `limit` names evicts the oldest.
#[derive(Debug)]
pub(super) struct Bounded<V> {
    limit: usize,
    values: HashMap<Arc<str>, V>,
    order: VecDeque<Arc<str>>,
}

impl<V> Bounded<V> {
    /// Creates an empty map.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Inserts or replaces a value. A replaced value keeps its position in the eviction order.
    pub(super) fn insert(&mut self, name: &str, value: V) {
        let name = Arc::<str>::from(name);
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.values.get(name)
    }

    /// A mutable reference to the value of `name`.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.values.get_mut(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_is_evicted() {
        let mut map = Bounded::new(2);
        for (name, value) in [("a", 1), ("b", 2), ("b", 3), ("c", 4)] {
            map.insert(name, value);
        }
        assert_eq!(
            ["a", "b", "c"].map(|name| map.get(name).copied()),
            [None, Some(3), Some(4)]
        );
        assert_eq!((map.values.len(), map.order.len()), (2, 2));
    }
}
