//! Runs the scheduler and the senders until all rows have an outcome, or the run stops.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::circuit_breaker::CircuitBreaker;
use super::pace::DispatchEnd;
use super::pacer::Pacer;
use super::record::{Record, RecordQueue, Reply};
use super::row::Job;
use super::scheduler::{Network, Scheduler};
use super::sender::send_calls;
use super::settings::DispatchSettings;
use super::stop::{Stop, StopSwitch};
use super::timeline::Timeline;
use super::waits::WAIT_CHECKED_EVERY;
use crate::omnidesk::Client;

/// Makes the calls of all `jobs`, in order, and sends `records` of them, which the
/// recorder answers by `replies`. The `timeline` is the caller's, who may end this
/// future at any time. Must be called in a `LocalSet`.
pub async fn run(
    settings: DispatchSettings,
    client: Client,
    jobs: mpsc::Receiver<Vec<Job>>,
    records: mpsc::Sender<Vec<Record>>,
    replies: mpsc::UnboundedReceiver<Reply>,
    switch: StopSwitch,
    timeline: Rc<RefCell<Timeline>>,
) -> DispatchEnd {
    let queue = RecordQueue::new();
    let end = tokio::select! {
        biased;
        end = schedule(settings, client, jobs, (queue.clone(), timeline), replies, switch) => end,
        () = queue.deliver(&records) => DispatchEnd::default(),
    };
    queue.deliver_all(&records).await;
    end
}

async fn schedule(
    settings: DispatchSettings,
    client: Client,
    mut jobs: mpsc::Receiver<Vec<Job>>,
    (records, timeline): (RecordQueue, Rc<RefCell<Timeline>>),
    mut replies: mpsc::UnboundedReceiver<Reply>,
    switch: StopSwitch,
) -> DispatchEnd {
    let pacer = Pacer::new(settings.rates.clone(), CircuitBreaker::new(settings.patience));
    let (call_ready, attention) = (Notify::new(), Notify::new());
    let network = Rc::new(Network { client, pacer, switch: switch.clone(), call_ready, attention });
    let deadline = settings.max_duration.map(|duration| Instant::now() + duration);
    let mut senders = JoinSet::new();
    let count = settings.concurrency.get();
    let scheduler = Rc::new(RefCell::new(Scheduler::new(settings, Rc::clone(&network), records, timeline)));
    (0..count)
        .for_each(|_| drop(senders.spawn_local(send_calls(Rc::clone(&network), Rc::clone(&scheduler)))));
    let mut next_check = Instant::now() + WAIT_CHECKED_EVERY;
    let mut is_recording = true;
    loop {
        let (is_over, has_room, due) = {
            let mut scheduler = scheduler.borrow_mut();
            scheduler.take_turn();
            (scheduler.is_over(), scheduler.has_room(), scheduler.waits.first())
        };
        if is_over {
            break;
        }
        let is_stopped = switch.is_set();
        let wake_up = due.map_or(next_check, |(until, _)| until.min(next_check));
        tokio::select! {
            biased;
            reply = replies.recv(), if is_recording => {
                is_recording = reply.is_some();
                scheduler.borrow_mut().take_reply(reply);
            }
            batch = jobs.recv(), if has_room => scheduler.borrow_mut().add(batch),
            // A sender ends only if it panics: a bug, and the totals cannot add up.
            Some(_) = senders.join_next() => {
                switch.stop(Stop::RecorderClosed);
                break;
            }
            () = sleep_until(deadline), if !is_stopped => switch.stop(Stop::WindowClosed),
            () = switch.wait(), if !is_stopped => {}
            () = network.attention.notified() => {}
            () = tokio::time::sleep_until(wake_up) => {
                if next_check <= Instant::now() {
                    next_check = Instant::now() + WAIT_CHECKED_EVERY;
                    scheduler.borrow_mut().check_wait();
                }
            }
        }
    }
    let mut scheduler = scheduler.borrow_mut();
    // A run with fewer calls than the canary ends here with all of its calls.
    if !switch.is_set() {
        scheduler.settle_unproven();
    }
    DispatchEnd { stop: switch.reason(), pace: Some(scheduler.pace()), timeline: None }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
