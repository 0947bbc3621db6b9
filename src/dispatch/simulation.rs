//! The pacer against limiters of several kinds, in simulated time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::circuit_breaker::{BreakerEvent, CircuitBreaker, Signal};
use super::pacer::Pacer;
use super::stop::StopSwitch;

/// What a limiter counts by.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// So many a second, and so many at once after a pause. With a small depth
    /// this is nginx' `limit_req` with `burst` and `nodelay`.
    Bucket { per_second: f64, depth: f64 },
    /// So many in each full `per`.
    Window { calls: u64, per: Duration },
}

/// How it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// 429 and nothing.
    Nothing,
    /// 429 with whole seconds, rounded up.
    Seconds,
    /// 503 and nothing.
    Bare503,
    /// It announces with the last call that it lets in that it was the last.
    Before,
}

struct Server {
    limit: Limit,
    refusal: Refusal,
    start: Instant,
    /// Tokens, or calls let in in this window.
    level: f64,
    at: Duration,
    accepted: u64,
    refused: u64,
}

impl Server {
    fn new(limit: Limit, refusal: Refusal) -> Self {
        let level = if let Limit::Bucket { depth, .. } = limit { depth } else { 0.0 };
        Self { limit, refusal, start: Instant::now(), level, at: Duration::ZERO, accepted: 0, refused: 0 }
    }

    fn receive(&mut self) -> Signal {
        let now = self.start.elapsed();
        let left = match self.limit {
            Limit::Bucket { per_second, depth } => {
                self.level = (self.level + (now - self.at).as_secs_f64() * per_second).min(depth);
                self.level
            }
            Limit::Window { calls, per } => {
                let turned = now.as_nanos() / per.as_nanos() != self.at.as_nanos() / per.as_nanos();
                self.level = if turned { 0.0 } else { self.level };
                calls as f64 - self.level
            }
        };
        self.at = now;
        let wait = match self.limit {
            Limit::Bucket { per_second, .. } => Duration::from_secs_f64((2.0 - left).max(0.0) / per_second),
            Limit::Window { per, .. } => per - Duration::from_nanos((now.as_nanos() % per.as_nanos()) as u64),
        };
        let seconds = Duration::from_secs(wait.as_secs_f64().ceil() as u64);
        if left < 1.0 {
            self.refused += 1;
            return match self.refusal {
                Refusal::Nothing => Signal::Limited(None),
                Refusal::Bare503 => Signal::Busy,
                Refusal::Seconds | Refusal::Before => Signal::Limited(Some(seconds)),
            };
        }
        self.accepted += 1;
        self.level += if let Limit::Window { .. } = self.limit { 1.0 } else { -1.0 };
        if self.refusal == Refusal::Before && left < 2.0 { Signal::Spent(seconds) } else { Signal::Good }
    }
}

struct SimulationResult {
    accepted: u64,
    refused: u64,
    took: Duration,
    accepted_rate: Option<f64>,
}

/// Makes `calls` calls with `workers`, which answers reach after `latency`.
async fn simulate(
    rate: &str,
    server: Server,
    calls: u64,
    workers: u64,
    latency: Duration,
) -> SimulationResult {
    let breaker = CircuitBreaker::new(Duration::from_secs(3600), true);
    let pacer = Rc::new(Pacer::new(rate.parse().expect("a rate"), breaker));
    let (server, next) = (Rc::new(RefCell::new(server)), Rc::new(Cell::new(0)));
    let start = Instant::now();
    let local = LocalSet::new();
    for _ in 0..workers {
        let (pacer, server, next) = (Rc::clone(&pacer), Rc::clone(&server), Rc::clone(&next));
        local.spawn_local(async move {
            let switch = StopSwitch::default();
            while next.get() < calls {
                let row = next.replace(next.get() + 1);
                loop {
                    let permit = pacer.acquire(&switch).await.expect("a permit");
                    sleep(latency / 2).await;
                    let signal = server.borrow_mut().receive();
                    sleep(latency / 2).await;
                    let event = pacer.answered(permit, row, signal);
                    assert!(!matches!(event, BreakerEvent::GivenUp(..)), "{event:?}");
                    if matches!(signal, Signal::Good | Signal::Spent(_)) {
                        break;
                    }
                }
            }
        });
    }
    local.await;
    let server = server.borrow();
    let (_, accepted_rate) = pacer.refusals();
    SimulationResult {
        accepted: server.accepted,
        refused: server.refused,
        took: start.elapsed(),
        accepted_rate,
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Told ten times what the server allows: everything gets through, few calls
/// are refused, hardly any time is lost, and the person is told the truth.
#[tokio::test(start_paused = true)]
async fn the_rate_that_a_server_accepts_is_found() {
    use Limit::{Bucket, Window};
    let bucket = |per_second, depth| Bucket { per_second, depth };
    let limits = [
        ("1000/s", bucket(100.0, 100.0), 100.0, 6000),
        ("1000/s", bucket(100.0, 6.0), 100.0, 6000),
        ("1000/s", bucket(100.0, 21.0), 100.0, 6000),
        ("120/s", bucket(100.0, 6.0), 100.0, 6000),
        ("1000/s", Window { calls: 100, per: SECOND }, 100.0, 6000),
        ("1000/s", Window { calls: 6000, per: MINUTE }, 100.0, 12_000),
        ("1000/min", bucket(100.0 / 60.0, 100.0), 100.0 / 60.0, 2000),
        ("1000/min", Window { calls: 100, per: MINUTE }, 100.0 / 60.0, 2000),
    ];
    let mut problems = Vec::new();
    for (at, (rate, limit, allowed, calls)) in limits.into_iter().enumerate() {
        for (of, refusal) in
            [Refusal::Nothing, Refusal::Seconds, Refusal::Bare503, Refusal::Before].into_iter().enumerate()
        {
            // Few and near, or many and far.
            for (workers, latency) in [[(8, 20), (64, 50)][(at + of) % 2]] {
                let server = Server::new(limit, refusal);
                let latency = Duration::from_millis(latency);
                let ended = simulate(rate, server, calls, workers, latency).await;
                assert_eq!(ended.accepted, calls);
                let reachable = (workers as f64 / latency.as_secs_f64()).min(allowed);
                let ideal = calls as f64 / reachable;
                let share = ended.refused as f64 / (ended.refused + calls) as f64;
                let longer = ended.took.as_secs_f64() / ideal;
                let line = format!(
                    "{rate} {limit:?} {refusal:?} {workers} workers {latency:?}: {share:.4} refused, {longer:.3} of the ideal time, accepted_rate {:?}",
                    ended.accepted_rate
                );
                // A second's wait for what needs milliseconds is the server's own wish.
                let is_hasty = matches!(limit, Bucket { depth, .. } if depth < 100.0)
                    || matches!(limit, Window { per: SECOND, .. });
                let asks_too_long = is_hasty && matches!(refusal, Refusal::Seconds | Refusal::Before);
                let longer_max = if asks_too_long { 1.17 } else { 1.15 };
                let is_told = ended.accepted_rate.is_none_or(|found| found <= 1.05 * allowed);
                if share >= 0.05 || longer > longer_max || !is_told {
                    problems.push(line);
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
