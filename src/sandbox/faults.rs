//! Misbehaviour on request: which request meets which fault.
//!
//! A decision depends on the seed, the customer and the number of the customer's request alone. So a rehearsal with the
//! same seed meets the same faults however its requests interleave.

use std::collections::HashMap;
use std::time::Duration;

use super::answers::Answer;
use super::calls::CustomerKey;

/// Room for rounding when probabilities that were meant to make 1 are summed.
const SUM_MAX: f64 = 1.0 + 1e-9;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    RefuseBefore,
    ErrorAfter,
    ResetBefore,
    ResetAfter,
    Stall,
    Late,
    Throttle,
}

impl Fault {
    /// Every kind, in the order in which the random number is laid over them.
    pub(super) const ALL: [Self; 7] = [
        Self::RefuseBefore,
        Self::ErrorAfter,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Stall,
        Self::Late,
        Self::Throttle,
    ];

    /// The name in `--faults`, in the counters and in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RefuseBefore => "refuse_before",
            Self::ErrorAfter => "error_after",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::Stall => "stall",
            Self::Late => "late",
            Self::Throttle => "throttle",
        }
    }

    /// What is said instead of the call's own answer; nothing where that is kept or the connection closed.
    pub(super) fn answer(self) -> Option<Answer> {
        match self {
            Self::RefuseBefore => Some(Answer::error(503, "Service unavailable.")),
            Self::ErrorAfter => Some(Answer::error(500, "Internal server error.")),
            Self::Late => Some(Answer::error(504, "Gateway timeout.")),
            Self::Throttle => Some(Answer::throttled(Some(1))),
            Self::ResetBefore | Self::ResetAfter | Self::Stall => None,
        }
    }
}

/// How often the sandbox misbehaves: probabilities from 0 to 1, together at most 1, since a request meets one fault or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// 503 without acting, as from an overloaded server.
    pub refuse_before: f64,
    /// Acts, then answers 500.
    pub error_after: f64,
    /// Reads the request and closes the connection without acting.
    pub reset_before: f64,
    /// Acts, then closes the connection: the answer is lost.
    pub reset_after: f64,
    /// Acts, but answers only after `stall_for`.
    pub stall: f64,
    /// How long a stalled answer takes; default 2 s.
    pub stall_for: Duration,
    /// Answers 504 at once and acts only `late_for` later, as behind a gateway that gave up on a slow server.
    pub late: f64,
    /// How long after its 504 a late call is acted on; default 1 s.
    pub late_for: Duration,
    /// 429 with `Retry-After: 1`, without acting.
    pub throttle: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            refuse_before: 0.0,
            error_after: 0.0,
            reset_before: 0.0,
            reset_after: 0.0,
            stall: 0.0,
            stall_for: Duration::from_secs(2),
            late: 0.0,
            late_for: Duration::from_secs(1),
            throttle: 0.0,
        }
    }
}

/// Why a set of faults is not usable, in words for the one who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FaultsError(String);

/// The list of names for an error message.
fn known() -> String {
    let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    format!("known are {}, all (spread over these), and the times stall_for and late_for", names.join(", "))
}

impl Faults {
    /// Spreads the probability `p` evenly over the kinds.
    #[must_use]
    pub fn all(p: f64) -> Self {
        let mut faults = Self::default();
        faults.spread(p);
        faults
    }

    /// Reads the form of an option, such as `reset_after=0.05,stall=0.01,stall_for=500ms` or `all=0.1`. Later parts win.
    ///
    /// # Errors
    ///
    /// The first part that is not understood, or probabilities above 1 together.
    pub fn parse(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let no_value =
                || FaultsError(format!("\"{part}\" is not of the form name=probability; {}", known()));
            let (name, value) = part.split_once('=').ok_or_else(no_value)?;
            faults.set(name.trim(), value.trim())?;
        }
        faults.check()?;
        Ok(faults)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), FaultsError> {
        match name {
            "all" => self.spread(probability(name, value)?),
            "stall_for" => self.stall_for = time(name, value)?,
            "late_for" => self.late_for = time(name, value)?,
            _ => {
                let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
                let unknown = || FaultsError(format!("\"{name}\" is not a fault; {}", known()));
                let fault = fault.ok_or_else(unknown)?;
                *self.chance_of(fault) = probability(name, value)?;
            }
        }
        Ok(())
    }

    fn spread(&mut self, p: f64) {
        for fault in Fault::ALL {
            *self.chance_of(fault) = p / Fault::ALL.len() as f64;
        }
    }

    fn chance_of(&mut self, fault: Fault) -> &mut f64 {
        match fault {
            Fault::RefuseBefore => &mut self.refuse_before,
            Fault::ErrorAfter => &mut self.error_after,
            Fault::ResetBefore => &mut self.reset_before,
            Fault::ResetAfter => &mut self.reset_after,
            Fault::Stall => &mut self.stall,
            Fault::Late => &mut self.late,
            Fault::Throttle => &mut self.throttle,
        }
    }

    /// Each kind with its probability.
    fn chances(mut self) -> [(Fault, f64); Fault::ALL.len()] {
        Fault::ALL.map(|fault| (fault, *self.chance_of(fault)))
    }

    /// Refuses probabilities outside 0 to 1 and sums above 1.
    pub(super) fn check(&self) -> Result<(), FaultsError> {
        let chances = self.chances();
        if let Some((fault, p)) = chances.iter().find(|(_, p)| !(0.0..=1.0).contains(p)) {
            return Err(no_probability(fault.name(), &p.to_string()));
        }
        let sum: f64 = chances.iter().map(|(_, p)| p).sum();
        if sum > SUM_MAX {
            let why = "a request meets one fault at most, so 1 is the limit";
            return Err(FaultsError(format!("the probabilities make {sum} together; {why}")));
        }
        Ok(())
    }
}

fn probability(name: &str, value: &str) -> Result<f64, FaultsError> {
    let p = value.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    p.ok_or_else(|| no_probability(name, value))
}

fn no_probability(name: &str, value: &str) -> FaultsError {
    FaultsError(format!("{name}={value}: a probability is a number from 0 to 1"))
}

fn time(name: &str, value: &str) -> Result<Duration, FaultsError> {
    let read = match (value.strip_suffix("ms"), value.strip_suffix('s')) {
        (Some(digits), _) => digits.parse().map(Duration::from_millis).ok(),
        (None, Some(digits)) => digits.parse().map(Duration::from_secs).ok(),
        (None, None) => None,
    };
    let looks_like = "a time is a whole number with ms or s, such as 500ms or 2s";
    read.ok_or_else(|| FaultsError(format!("{name}={value}: {looks_like}")))
}

/// Decides for each request, and remembers how much each customer has met.
#[derive(Debug)]
pub(super) struct Chance {
    chances: [(Fault, f64); Fault::ALL.len()],
    is_possible: bool,
    seed: u64,
    per_customer_max: u32,
    met: HashMap<CustomerKey, Met>,
}

/// What one customer has met so far.
#[derive(Debug, Default)]
struct Met {
    requests: u64,
    faults: u32,
}

impl Chance {
    /// Nobody has met anything yet.
    pub(super) fn new(faults: Faults, seed: u64, per_customer_max: u32) -> Self {
        let chances = faults.chances();
        let is_possible = chances.iter().any(|(_, p)| *p > 0.0);
        Self { chances, is_possible, seed, per_customer_max, met: HashMap::new() }
    }

    /// The fault that this customer's next request meets.
    pub(super) fn next(&mut self, customer: &CustomerKey) -> Option<Fault> {
        if !self.is_possible {
            return None;
        }
        let met = match self.met.get_mut(customer) {
            Some(met) => met,
            None => self.met.entry(customer.clone()).or_default(),
        };
        let number = met.requests;
        met.requests += 1;
        if met.faults >= self.per_customer_max {
            return None;
        }
        let mut drawn = fastrand::Rng::with_seed(mix(self.seed, customer, number)).f64();
        for (fault, p) in self.chances {
            if drawn < p {
                met.faults += 1;
                return Some(fault);
            }
            drawn -= p;
        }
        None
    }
}

/// FNV-1a over what the decision depends on; unlike `std::hash` it stays the same from one Rust release to the next.
fn mix(seed: u64, customer: &CustomerKey, number: u64) -> u64 {
    let numbers = [seed, customer.brand_id, number];
    let bytes = numbers.into_iter().flat_map(u64::to_le_bytes).chain(customer.primary_id.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::*;

    fn customer(id: &str) -> CustomerKey {
        CustomerKey { brand_id: 2, primary_id: id.to_owned() }
    }

    #[test]
    fn an_option_is_read_and_later_parts_win() {
        let faults = Faults::parse("all=0.7, stall=0,reset_after=0.2,stall_for=500ms,late_for=3s").unwrap();
        assert_eq!((faults.stall, faults.reset_after), (0.0, 0.2));
        assert!((faults.throttle - 0.1).abs() < 1e-12);
        assert_eq!((faults.stall_for, faults.late_for), (Duration::from_millis(500), Duration::from_secs(3)));
        assert_eq!(Faults::parse(""), Ok(Faults::default()));
        assert_eq!(Faults::parse("all=1"), Ok(Faults::all(1.0)));
    }

    #[test]
    fn what_is_not_understood_is_named_with_what_is_known() {
        let cases = [
            ("stal=0.1", "\"stal\" is not a fault; known are refuse_before, error_after, reset_before"),
            ("stall", "\"stall\" is not of the form name=probability; known are"),
            ("stall=2", "stall=2: a probability is a number from 0 to 1"),
            ("stall=NaN", "stall=NaN: a probability"),
            ("stall=-0.1", "stall=-0.1: a probability"),
            ("stall_for=2", "stall_for=2: a time is a whole number with ms or s"),
            ("stall=0.6,late=0.6", "the probabilities make 1.2 together"),
        ];
        for (text, start) in cases {
            let said = Faults::parse(text).unwrap_err().to_string();
            assert!(said.starts_with(start), "{text}: {said}");
        }
    }

    #[test]
    fn decisions_follow_from_the_seed_however_customers_interleave() {
        let ids: Vec<String> = (0..50).map(|n| format!("A{n}")).collect();
        let mut by_customer = Chance::new(Faults::all(0.5), 7, 3);
        let mut by_round = Chance::new(Faults::all(0.5), 7, 3);
        let mut other_seed = Chance::new(Faults::all(0.5), 8, 3);
        let draw = |chance: &mut Chance, id: &String| chance.next(&customer(id));
        let first: Vec<Vec<_>> =
            ids.iter().map(|id| (0..8).map(|_| draw(&mut by_customer, id)).collect()).collect();
        let mut second = vec![Vec::new(); ids.len()];
        let mut third = second.clone();
        for _ in 0..8 {
            for (n, id) in ids.iter().enumerate().rev() {
                second[n].push(draw(&mut by_round, id));
                third[n].push(draw(&mut other_seed, id));
            }
        }
        assert_eq!(first, second);
        assert_ne!(first, third);
    }

    #[test]
    fn no_customer_meets_more_than_the_bound() {
        let mut chance = Chance::new(Faults::all(1.0), 1, 3);
        for id in ["A1", "A2"] {
            let met: Vec<bool> = (0..6).map(|_| chance.next(&customer(id)).is_some()).collect();
            assert_eq!(met, [true, true, true, false, false, false]);
        }
    }

    #[test]
    fn the_kinds_come_about_as_often_as_asked() {
        let mut chance = Chance::new(Faults::parse("stall=0.1,late=0.3").unwrap(), 3, 1);
        let drawn: Vec<_> = (0..10_000).filter_map(|n| chance.next(&customer(&n.to_string()))).collect();
        let stalls = drawn.iter().filter(|fault| **fault == Fault::Stall).count();
        let lates = drawn.iter().filter(|fault| **fault == Fault::Late).count();
        assert!((800..1200).contains(&stalls) && (2700..3300).contains(&lates), "{stalls} {lates}");
        assert_eq!(stalls + lates, drawn.len());
    }
}
