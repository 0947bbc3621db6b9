//! Which call is recorded next: one of a row that has begun goes before the
//! first of another row. So rows end in about the order in which they begin, and
//! a stopped run has finished whole rows.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Places for calls that are recorded, or about to be, and wait for a worker.
#[derive(Debug)]
pub(super) struct AdmissionQueue(RefCell<QueueState>);

#[derive(Debug, Default)]
struct QueueState {
    free: usize,
    begun: VecDeque<oneshot::Sender<()>>,
    new: VecDeque<oneshot::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    BegunRow,
    NewRow,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Admission<'a>(&'a AdmissionQueue);

impl AdmissionQueue {
    pub(super) fn new(places: usize) -> Self {
        Self(RefCell::new(QueueState { free: places, ..QueueState::default() }))
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, priority: Priority) -> Admission<'_> {
        let waiting = {
            let mut state = self.0.borrow_mut();
            if state.free > 0 {
                state.free -= 1;
                None
            } else {
                let (admit, waiting) = oneshot::channel();
                match priority {
                    Priority::BegunRow => state.begun.push_back(admit),
                    Priority::NewRow => state.new.push_back(admit),
                }
                Some(waiting)
            }
        };
        // If this is dropped first, `admit_next` skips it.
        if let Some(waiting) = waiting {
            let _ = waiting.await;
        }
        Admission(self)
    }

    pub(super) fn add_places(&self, places: usize) {
        (0..places).for_each(|_| self.admit_next());
    }

    fn admit_next(&self) {
        let mut state = self.0.borrow_mut();
        while let Some(next) = state.begun.pop_front().or_else(|| state.new.pop_front()) {
            if next.send(()).is_ok() {
                return;
            }
        }
        state.free += 1;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.0.admit_next();
    }
}

#[cfg(test)]
mod tests {
    use super::Priority::{BegunRow, NewRow};
    use super::*;
    use std::rc::Rc;
    use tokio::task::{LocalSet, yield_now};

    #[tokio::test]
    async fn a_row_that_has_begun_goes_first_and_no_call_waits_for_a_dropped_one() {
        let (queue, order) = (Rc::new(AdmissionQueue::new(1)), Rc::new(RefCell::new(Vec::new())));
        let held = queue.enter(NewRow).await;
        let local = LocalSet::new();
        let start = |name: &'static str, priority| {
            let (queue, order) = (Rc::clone(&queue), Rc::clone(&order));
            local.spawn_local(async move {
                let _place = queue.enter(priority).await;
                order.borrow_mut().push(name);
                yield_now().await;
            })
        };
        start("new 1", NewRow);
        let dropped = start("dropped", BegunRow);
        start("begun 1", BegunRow);
        start("new 2", NewRow);
        start("begun 2", BegunRow);
        local.run_until(yield_now()).await;
        dropped.abort();
        local.run_until(yield_now()).await;
        drop(held);
        local.await;
        assert_eq!(*order.borrow(), ["begun 1", "begun 2", "new 1", "new 2"]);
        queue.add_places(1);
        let both = (queue.enter(NewRow).await, queue.enter(BegunRow).await);
        drop(both);
        assert_eq!(queue.0.borrow().free, 2);
    }
}
