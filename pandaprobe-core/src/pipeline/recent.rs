//! What is remembered of traces that are gone.

use std::collections::{HashMap, VecDeque};

use crate::model::TraceId;

/// What is remembered of the latest 100,000 of them.
pub(super) struct Recent<T> {
    values: HashMap<TraceId, T>,
    order: VecDeque<TraceId>,
}

impl<T: Copy> Recent<T> {
    const MOST: usize = 100_000;

    pub(super) fn get(&self, id: TraceId) -> Option<T> {
        self.values.get(&id).copied()
    }

    pub(super) fn insert(&mut self, id: TraceId, value: T) {
        if self.values.insert(id, value).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}
