//! Faults on request: which request gets which fault.
//!
//! The choice depends only on the seed, the customer and the number of the customer's request. So a rehearsal with the
//! same seed has the same faults, however its requests interleave.

use std::collections::HashMap;
use std::time::Duration;

use hyper::StatusCode;

use super::answer::Answer;
use super::customer::CustomerId;
use super::gateway;
use super::reaction::{Execution, Reaction};

/// Room for rounding when probabilities that were meant to make 1 are summed.
const SUM_MAX: f64 = 1.0 + 1e-9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// 503 without acting, as from an overloaded server.
    RefuseBefore,
    /// Acts, then answers 500.
    ErrorAfter,
    /// Reads the request and closes the connection without acting.
    ResetBefore,
    /// Acts, then closes the connection: the answer is lost.
    ResetAfter,
    /// Acts, but answers only after `stall_for`.
    Stall,
    /// Answers 504 at once and acts only `late_for` later, as behind a gateway that gave up on a slow server.
    Late,
    /// 429 with `Retry-After: 1`, without acting.
    Throttle,
    /// An answer that is not the API's, without acting.
    GatewayBefore,
    /// Acts, then gives an answer that is not the API's.
    GatewayAfter,
}

impl Fault {
    /// In the order in which the random number is laid over them. New ones come last, so that those before them stay as
    /// they are for a seed.
    pub(super) const ALL: [Self; 9] = [
        Self::RefuseBefore,
        Self::ErrorAfter,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Stall,
        Self::Late,
        Self::Throttle,
        Self::GatewayBefore,
        Self::GatewayAfter,
    ];

    /// In `--faults`, the counters and the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RefuseBefore => "refuse_before",
            Self::ErrorAfter => "error_after",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::Stall => "stall",
            Self::Late => "late",
            Self::Throttle => "throttle",
            Self::GatewayBefore => "gateway_before",
            Self::GatewayAfter => "gateway_after",
        }
    }

    fn reaction(self, random: &mut fastrand::Rng) -> Reaction {
        let error = |status, message| Some(Answer::error(status, message));
        let (execution, answer) = match self {
            Self::RefuseBefore => {
                (Execution::Never, error(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable."))
            }
            Self::ErrorAfter => {
                (Execution::Now, error(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error."))
            }
            Self::ResetBefore => (Execution::Never, None),
            Self::ResetAfter => (Execution::Now, None),
            Self::Stall => return Reaction::Stall,
            Self::Late => (Execution::Late, error(StatusCode::GATEWAY_TIMEOUT, "Gateway timeout.")),
            Self::Throttle => (Execution::Never, Some(Answer::throttled(Some(1)))),
            Self::GatewayBefore => (Execution::Never, Some(gateway::answer(random))),
            Self::GatewayAfter => (Execution::Now, Some(gateway::answer(random))),
        };
        Reaction::Replace { execution, answer }
    }
}

/// Probabilities from 0 to 1, in the order of [`Fault::ALL`].
type Chances = [f64; Fault::ALL.len()];

/// How often the sandbox fails. The probabilities are at most 1 together, since a request gets one fault or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    chances: Chances,
    pub(super) stall_for: Duration,
    pub(super) late_for: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        let (stall_for, late_for) = (Duration::from_secs(2), Duration::from_secs(1));
        Self { chances: Chances::default(), stall_for, late_for }
    }
}

impl Faults {
    /// Reads an option such as `reset_after=0.05,stall=0.01,stall_for=500ms` or `all=0.1`. Later parts override earlier
    /// ones.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                format!("\"{part}\" is not of the form name=probability; {}", valid_names())
            })?;
            faults.set(name.trim(), value.trim())?;
        }
        let sum: f64 = faults.chances.iter().sum();
        if sum > SUM_MAX {
            let reason = "a request gets one fault at most, so 1 is the limit";
            return Err(format!("the probabilities make {sum} together; {reason}"));
        }
        Ok(faults)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "all" => self.chances = [probability(name, value)? / Fault::ALL.len() as f64; Fault::ALL.len()],
            "stall_for" => self.stall_for = time(name, value)?,
            "late_for" => self.late_for = time(name, value)?,
            _ => {
                let nth = Fault::ALL.iter().position(|fault| fault.as_str() == name);
                let nth = nth.ok_or_else(|| format!("\"{name}\" is not a fault; {}", valid_names()))?;
                self.chances[nth] = probability(name, value)?;
            }
        }
        Ok(())
    }
}

fn valid_names() -> String {
    let names = Fault::ALL.map(Fault::as_str).join(", ");
    format!("valid are {names}, all (spread over these), and the times stall_for and late_for")
}

fn probability(name: &str, value: &str) -> Result<f64, String> {
    let p = value.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    p.ok_or_else(|| format!("{name}={value}: a probability is a number from 0 to 1"))
}

fn time(name: &str, value: &str) -> Result<Duration, String> {
    let time = value.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| format!("{name}={value}: a time is a number with a unit, such as 500ms or 2s"))
}

/// Chooses the fault of each request, and counts the faults of each customer.
#[derive(Debug)]
pub(super) struct FaultSelector {
    chances: Chances,
    seed: u64,
    per_customer_max: u32,
    counts: HashMap<CustomerId, FaultCount>,
}

#[derive(Debug, Default)]
struct FaultCount {
    requests: u64,
    faults: u32,
}

impl FaultSelector {
    pub(super) fn new(faults: Faults, seed: u64, per_customer_max: u32) -> Self {
        Self { chances: faults.chances, seed, per_customer_max, counts: HashMap::new() }
    }

    /// The fault of this customer's next request, and what it makes of the request.
    pub(super) fn next(&mut self, customer: &CustomerId) -> Option<(Fault, Reaction)> {
        if self.chances == Chances::default() {
            return None;
        }
        let count = self.counts.entry(customer.clone()).or_default();
        let number = count.requests;
        count.requests += 1;
        if count.faults >= self.per_customer_max {
            return None;
        }
        let mut random = fastrand::Rng::with_seed(mix(self.seed, customer, number));
        let mut point = random.f64();
        for (fault, chance) in Fault::ALL.into_iter().zip(self.chances) {
            if point < chance {
                count.faults += 1;
                return Some((fault, fault.reaction(&mut random)));
            }
            point -= chance;
        }
        None
    }
}

/// FNV-1a over seed, customer and number; unlike `std::hash` it stays the same from one Rust release to the next.
fn mix(seed: u64, customer: &CustomerId, number: u64) -> u64 {
    let numbers = [seed, customer.brand_id, number];
    let bytes = numbers.into_iter().flat_map(u64::to_le_bytes).chain(customer.primary_id.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::*;

    fn customer(id: &str) -> CustomerId {
        CustomerId { brand_id: 2, primary_id: id.to_owned() }
    }

    fn selector(faults: &str, seed: u64, per_customer_max: u32) -> FaultSelector {
        FaultSelector::new(Faults::parse(faults).unwrap(), seed, per_customer_max)
    }

    #[test]
    fn an_option_is_read_and_later_parts_win() {
        let faults = Faults::parse("all=0.7, stall=0,reset_after=0.2,stall_for=500ms,late_for=3s").unwrap();
        let chance = |fault: Fault| faults.chances[fault as usize];
        assert_eq!((chance(Fault::Stall), chance(Fault::ResetAfter)), (0.0, 0.2));
        assert!((chance(Fault::Throttle) - 0.7 / 9.0).abs() < 1e-12);
        assert_eq!((faults.stall_for, faults.late_for), (Duration::from_millis(500), Duration::from_secs(3)));
        assert_eq!(Faults::parse(""), Ok(Faults::default()));
        assert_eq!(Faults::parse("all=1").unwrap().chances, [1.0 / 9.0; 9]);
    }

    #[test]
    fn an_error_quotes_the_option_and_lists_the_valid_names() {
        let cases = [
            ("stal=0.1", "\"stal\" is not a fault; valid are refuse_before, error_after, reset_before"),
            ("stall", "\"stall\" is not of the form name=probability; valid are"),
            ("stall=2", "stall=2: a probability is a number from 0 to 1"),
            ("stall=NaN", "stall=NaN: a probability"),
            ("stall=-0.1", "stall=-0.1: a probability"),
            ("stall_for=2", "stall_for=2: a time is a number with a unit"),
            ("stall=0.6,late=0.6", "the probabilities make 1.2 together"),
        ];
        for (text, start) in cases {
            let error = Faults::parse(text).unwrap_err();
            assert!(error.starts_with(start), "{text}: {error}");
        }
    }

    #[test]
    fn choices_follow_from_the_seed_however_customers_interleave() {
        let ids: Vec<String> = (0..50).map(|n| format!("A{n}")).collect();
        let mut by_customer = selector("all=0.5", 7, 3);
        let mut by_round = selector("all=0.5", 7, 3);
        let mut other_seed = selector("all=0.5", 8, 3);
        let next = |selector: &mut FaultSelector, id: &String| selector.next(&customer(id));
        let first: Vec<Vec<_>> =
            ids.iter().map(|id| (0..8).map(|_| next(&mut by_customer, id)).collect()).collect();
        let mut second = vec![Vec::new(); ids.len()];
        let mut third = second.clone();
        for _ in 0..8 {
            for (n, id) in ids.iter().enumerate().rev() {
                second[n].push(next(&mut by_round, id));
                third[n].push(next(&mut other_seed, id));
            }
        }
        assert_eq!(first, second);
        assert_ne!(first, third);
    }

    #[test]
    fn no_customer_gets_more_faults_than_the_bound() {
        let mut selector = selector("all=1", 1, 3);
        for id in ["A1", "A2"] {
            let has_fault: Vec<bool> = (0..6).map(|_| selector.next(&customer(id)).is_some()).collect();
            assert_eq!(has_fault, [true, true, true, false, false, false]);
        }
    }

    #[test]
    fn each_fault_comes_as_often_as_its_probability() {
        let mut selector = selector("stall=0.1,late=0.3", 3, 1);
        let faults: Vec<Fault> = (0..10_000)
            .filter_map(|n| selector.next(&customer(&n.to_string())).map(|(fault, _)| fault))
            .collect();
        let stalls = faults.iter().filter(|fault| **fault == Fault::Stall).count();
        let lates = faults.iter().filter(|fault| **fault == Fault::Late).count();
        assert!((800..1200).contains(&stalls) && (2700..3300).contains(&lates), "{stalls} {lates}");
        assert_eq!(stalls + lates, faults.len());
    }
}
