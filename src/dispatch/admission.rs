//! Whose call is recorded next: one of a row that has begun goes before the
//! first of another row, so that rows end in about the order in which they
//! begin, and what a stopped run has done are whole rows.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Places for calls that are recorded, or about to be, and wait for a worker.
#[derive(Debug)]
pub(crate) struct AdmissionQueue(RefCell<QueueState>);

#[derive(Debug, Default)]
struct QueueState {
    free: usize,
    begun: VecDeque<oneshot::Sender<()>>,
    new: VecDeque<oneshot::Sender<()>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admission<'a>(&'a AdmissionQueue);

impl AdmissionQueue {
    pub(crate) fn new(places: usize) -> Self {
        Self(RefCell::new(QueueState { free: places, ..QueueState::default() }))
    }

    /// Waits for a place.
    pub(crate) async fn take(&self, has_begun: bool) -> Admission<'_> {
        let waiting = {
            let mut state = self.0.borrow_mut();
            if state.free > 0 {
                state.free -= 1;
                None
            } else {
                let (turn, waiting) = oneshot::channel();
                if has_begun { &mut state.begun } else { &mut state.new }.push_back(turn);
                Some(waiting)
            }
        };
        // Dropped before its turn comes, it is passed over by `give`.
        if let Some(waiting) = waiting {
            let _ = waiting.await;
        }
        Admission(self)
    }

    /// Makes room for more.
    pub(crate) fn add(&self, places: usize) {
        (0..places).for_each(|_| self.give());
    }

    fn give(&self) {
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
        self.0.give();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use tokio::task::{LocalSet, yield_now};

    #[tokio::test]
    async fn a_row_that_has_begun_goes_first_and_nobody_waits_for_one_who_left() {
        let (turns, order) = (Rc::new(AdmissionQueue::new(1)), Rc::new(RefCell::new(Vec::new())));
        let held = turns.take(false).await;
        let local = LocalSet::new();
        let start = |name: &'static str, has_begun| {
            let (turns, order) = (Rc::clone(&turns), Rc::clone(&order));
            local.spawn_local(async move {
                let _turn = turns.take(has_begun).await;
                order.borrow_mut().push(name);
                yield_now().await;
            })
        };
        start("new 1", false);
        let left = start("left", true);
        start("begun 1", true);
        start("new 2", false);
        start("begun 2", true);
        local.run_until(yield_now()).await;
        left.abort();
        local.run_until(yield_now()).await;
        drop(held);
        local.await;
        assert_eq!(*order.borrow(), ["begun 1", "begun 2", "new 1", "new 2"]);
        turns.add(1);
        let both = (turns.take(false).await, turns.take(true).await);
        drop(both);
        assert_eq!(turns.0.borrow().free, 2);
    }
}
