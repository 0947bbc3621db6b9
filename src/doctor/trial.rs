//! A trial: test customers go through all four calls and are purged.

use std::time::Duration;

use tokio::time::sleep;

use super::learned_settings::LearnedSettings;
use super::lessons::{Observation, TEST_NAMES, Truth, learn};
use super::report::{Check, DoctorReport, Verdict};
use super::server::{check_facts, check_key, status_text};
use super::test_customers::TestCustomers;
use crate::config::Config;
use crate::mapping::{Address, Channel, Customer, FieldName, FieldValue};
use crate::omnidesk::{
    Action, Answer, ApiKey, Auth, BodyEncoding, Call, CallKind, Client, Exchange, Meaning, Proof,
    RefusalTexts, ServerFacts, judge,
};

/// Between attempts of one call.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait that a server may ask for.
const WAIT_MAX: Duration = Duration::from_secs(60);

struct Trial<'a> {
    config: &'a Config,
    key: &'a ApiKey,
    brand: u64,
    client: Client,
    auth: Auth,
    body: BodyEncoding,
    facts: Option<ServerFacts>,
    observations: Vec<Observation>,
    checks: Vec<Check>,
}

/// Conducts a trial in a brand, purges its customers and those of an interrupted one,
/// and reports what it learned.
pub(super) async fn conduct(config: &Config, key: &ApiKey, brand: u64, report: &mut DoctorReport) {
    let tenant = config.omnidesk.base_url.tenant();
    let prepared = Trial::new(config, key, brand).and_then(|trial| {
        Ok((trial, TestCustomers::read(&config.checkpoint.path, &tenant).map_err(unrecorded)?))
    });
    let (mut trial, mut customers) = match prepared {
        Ok(prepared) => prepared,
        Err(check) => return report.add(check),
    };
    let result = trial.go_through(&mut customers).await;
    let purged = trial.purge_all(&mut customers).await;
    if let Some(facts) = &trial.facts {
        check_facts(facts, config, report);
    }
    trial.checks.drain(..).for_each(|check| report.add(check));
    match result {
        Ok(()) => trial.report_lessons(report),
        Err(check) => report.add(check),
    }
    purged.into_iter().for_each(|check| report.add(check));
}

/// Nothing is made that is not recorded.
fn unrecorded(error: std::io::Error) -> Check {
    Check::new("test customers", Verdict::Attention, format!("the record beside the checkpoint: {error}"))
}

impl<'a> Trial<'a> {
    fn new(config: &'a Config, key: &'a ApiKey, brand: u64) -> Result<Self, Check> {
        let (auth, body) = (config.omnidesk.auth, config.omnidesk.body);
        let client = client(config, key, auth, body)?;
        let (observations, checks) = (Vec::new(), Vec::new());
        Ok(Self { config, key, brand, client, auth, body, facts: None, observations, checks })
    }

    /// All calls of the trial. The error is why it cannot go on.
    async fn go_through(&mut self, customers: &mut TestCustomers) -> Result<(), Check> {
        self.find_auth().await?;
        let [one, two, second, invalid, unknown] = customers.add(self.brand).map_err(unrecorded)?;
        let first_email = email();
        let main = self.find_body([one, two], &first_email).await?;
        self.repeat_create(&main, &first_email).await?;
        let added = self.repeat_address(&main).await?;
        self.try_many_addresses(&main).await?;
        self.share_addresses(&second, [&first_email, &added]).await?;
        self.ask(Call::invalid_create(invalid), Truth::Invalid).await?;
        self.ask(Call::invalid_update(main.clone()), Truth::Invalid).await?;
        self.look_for(&unknown, &[CallKind::Update, CallKind::AddChannel, CallKind::Purge]).await?;
        let purge = Call { customer: main.clone(), action: Action::Purge };
        self.expect_done(purge, "purge").await?;
        self.look_for(&main, &[CallKind::Purge, CallKind::Update]).await
    }

    /// Finds where the API looks for the key: in the place in which another key gets
    /// another answer, else in the first in which it refuses none.
    async fn find_auth(&mut self) -> Result<(), Check> {
        let other = match self.auth {
            Auth::Header => Auth::Query,
            Auth::Query => Auth::Header,
        };
        let (mut accepted, mut refused) = (None, None);
        for auth in [self.auth, other] {
            let control = Call::control(self.brand);
            let own = client(self.config, self.key, auth, self.body)?;
            let (_, answer) = self.send(&own, &control).await?;
            if answer.meaning == Meaning::KeyRefused {
                refused.get_or_insert(answer);
                continue;
            }
            let wrong = client(self.config, &ApiKey::wrong(), auth, self.body)?;
            let (exchange, wrong_answer) = self.send(&wrong, &control).await?;
            let is_checked = signature(&answer) != signature(&wrong_answer);
            if is_checked {
                self.observations.push(Observation { truth: Truth::WrongKey, call: control, exchange });
                accepted = Some((auth, true));
                break;
            }
            accepted.get_or_insert((auth, false));
        }
        let Some((auth, is_checked)) = accepted else {
            return Err(refused.map_or_else(
                || Check::new("key", Verdict::Unreachable, "refused"),
                |answer| check_key(&answer, self.auth),
            ));
        };
        self.auth = auth;
        let text = if is_checked {
            "accepted, and a wrong one is not"
        } else {
            "not refused, and a wrong one neither"
        };
        self.checks.push(Check::new("key", Verdict::Good, text));
        Ok(())
    }

    /// Finds the form of bodies in which a customer can be created and updated.
    async fn find_body(&mut self, customers: [Customer; 2], email: &Address) -> Result<Customer, Check> {
        let other = match self.body {
            BodyEncoding::Json => BodyEncoding::Form,
            BodyEncoding::Form => BodyEncoding::Json,
        };
        let mut refused = None;
        for (body, customer) in [self.body, other].into_iter().zip(customers) {
            self.client = client(self.config, self.key, self.auth, body)?;
            let mut answer = Answer::new(Meaning::Unclear, Proof::Nothing, "");
            for call in [create(&customer, Some(email)), update(&customer)] {
                let (exchange, next) = self.send(&self.client.clone(), &call).await?;
                let is_done = next.proof == Proof::Done;
                answer = next;
                if !is_done {
                    // The wrong form makes any call invalid.
                    self.observations.push(Observation { truth: Truth::Invalid, call, exchange });
                    break;
                }
            }
            if answer.proof == Proof::Done {
                self.body = body;
                self.checks.push(Check::new("calls", Verdict::Good, "create and update work"));
                return Ok(customer);
            }
            refused.get_or_insert(answer);
        }
        let answer = refused.unwrap_or_else(|| Answer::new(Meaning::Unclear, Proof::Nothing, ""));
        let message = format!("no test customer can be made, {}: {}", status_text(&answer), answer.message);
        let hint = format!("does brand {} exist, and has the key the permission CUSTOMER_CUD?", self.brand);
        let verdict = match answer.meaning {
            Meaning::KeyRefused | Meaning::Unavailable => Verdict::Unreachable,
            _ => Verdict::Attention,
        };
        Err(Check::new("calls", verdict, message).with_hint(hint))
    }

    /// With the same address, and with another one.
    async fn repeat_create(&mut self, customer: &Customer, first: &Address) -> Result<(), Check> {
        for address in [first, &email()] {
            self.ask(create(customer, Some(address)), Truth::CustomerExists).await?;
        }
        Ok(())
    }

    /// Adds an address twice.
    async fn repeat_address(&mut self, customer: &Customer) -> Result<Address, Check> {
        let address = email();
        if self.expect_done(add(customer, &address), "add-channel").await? {
            self.ask(add(customer, &address), Truth::AddressExists).await?;
        }
        Ok(address)
    }

    /// Whether one update can add several addresses. Only a refusal of a repeated
    /// address shows whether one was added.
    async fn try_many_addresses(&mut self, customer: &Customer) -> Result<(), Check> {
        let texts = RefusalTexts::default();
        let is_repeat = |observation: &&Observation| observation.truth == Truth::AddressExists;
        let repeated = self.observations.iter().find(is_repeat).map(|repeat| repeat.answer(&texts));
        let addresses = [email(), account()];
        let call = Call::update_with_addresses(customer.clone(), &addresses);
        let answer = self.ask(call, Truth::Unknown).await?;
        let text = if answer.proof == Proof::Done {
            let again = self.ask(add(customer, &addresses[0]), Truth::Unknown).await?;
            match repeated.filter(|repeated| repeated.proof != Proof::Done) {
                Some(repeated) if signature(&repeated) == signature(&again) => "adds them",
                Some(_) => "is answered with success, and adds none",
                None => "is answered with success; whether it adds them does not show",
            }
        } else {
            "is refused"
        };
        let message = format!("an update with several addresses {text}");
        self.checks.push(Check::new("addresses", Verdict::Good, message));
        Ok(())
    }

    /// Gives addresses of the first customer to a second one: one with the create, one
    /// later.
    async fn share_addresses(
        &mut self,
        second: &Customer,
        [first, added]: [&Address; 2],
    ) -> Result<(), Check> {
        let answer = self.ask(create(second, Some(first)), Truth::AddressElsewhere).await?;
        let is_made =
            answer.proof == Proof::Done || self.expect_done(create(second, Some(&email())), "create").await?;
        if is_made {
            self.ask(add(second, added), Truth::AddressElsewhere).await?;
        }
        Ok(())
    }

    /// Calls for a customer whom the API does not know.
    async fn look_for(&mut self, customer: &Customer, kinds: &[CallKind]) -> Result<(), Check> {
        for kind in kinds {
            let call = match kind {
                CallKind::AddChannel => add(customer, &email()),
                CallKind::Purge => Call { customer: customer.clone(), action: Action::Purge },
                CallKind::Create | CallKind::Update => update(customer),
            };
            self.ask(call, Truth::NotFound).await?;
        }
        Ok(())
    }

    /// Purges every recorded customer, and takes those out of the record who are not in
    /// Omnidesk now.
    async fn purge_all(&mut self, customers: &mut TestCustomers) -> Option<Check> {
        let is_absent = |observation: &&Observation| {
            observation.truth == Truth::NotFound && observation.call.kind() == CallKind::Purge
        };
        let texts = RefusalTexts::default();
        let absent = self.observations.iter().find(is_absent).map(|absent| signature(&absent.answer(&texts)));
        let mut purged = 0;
        let mut problem = None;
        for customer in customers.of_tenant() {
            let call = Call { customer: customer.clone(), action: Action::Purge };
            let answer = match self.send(&self.client.clone(), &call).await {
                Ok((_, answer)) => answer,
                // The others would wait as long.
                Err(check) => return Some(still_there(customers, check.message())),
            };
            let is_away = matches!(answer.meaning, Meaning::Done | Meaning::NotFound);
            if !is_away && absent.as_ref() != Some(&signature(&answer)) {
                problem = Some(format!("{}: {}", status_text(&answer), answer.message));
                continue;
            }
            purged += 1;
            if let Err(error) = customers.remove(&customer) {
                return Some(unrecorded(error));
            }
        }
        match problem {
            Some(problem) => Some(still_there(customers, &problem)),
            None if purged == 0 => None,
            None => Some(Check::new("test customers", Verdict::Good, format!("{purged} ids purged"))),
        }
    }

    fn report_lessons(&mut self, report: &mut DoctorReport) {
        let lessons = learn(self.config.omnidesk.texts(), &self.observations);
        let show = |message: &str| self.client.show(message);
        lessons.checks(show).into_iter().for_each(|check| report.add(check));
        report.settings = Some(LearnedSettings { auth: self.auth, body: self.body, texts: lessons.texts });
    }

    /// Sends a call that nothing is in the way of. Says whether it worked.
    async fn expect_done(&mut self, call: Call, name: &str) -> Result<bool, Check> {
        let answer = self.ask(call, Truth::Valid).await?;
        let is_done = answer.proof == Proof::Done;
        if !is_done {
            let message = format!("{name} is refused, {}: {}", status_text(&answer), answer.message);
            self.checks.push(Check::new("calls", Verdict::Attention, message));
        }
        Ok(is_done)
    }

    async fn ask(&mut self, call: Call, truth: Truth) -> Result<Answer, Check> {
        let (exchange, answer) = self.send(&self.client.clone(), &call).await?;
        self.observations.push(Observation { truth, call, exchange });
        Ok(answer)
    }

    /// Sends a call at the configured rate, and again where that is safe. The error is
    /// an answer that is not the API's.
    async fn send(&mut self, client: &Client, call: &Call) -> Result<(Exchange, Answer), Check> {
        let limits = &self.config.limits;
        let mut attempts = limits.attempts.get();
        loop {
            sleep(limits.rate.timeline().time_for(1.0, Duration::ZERO)).await;
            let (exchange, facts) = client.observe(call).await;
            self.facts.get_or_insert(facts);
            let mut answer = judge(call, &exchange, &self.config.omnidesk.texts());
            answer.message = client.show(&answer.message);
            attempts -= 1;
            let is_safe = call.kind().is_repeatable() || answer.proof == Proof::NotDone;
            match answer.meaning {
                Meaning::Limited | Meaning::Unavailable | Meaning::Unsent if is_safe && attempts > 0 => {
                    sleep(answer.wait.unwrap_or(PAUSE).min(WAIT_MAX)).await;
                }
                // Some programs refuse so.
                _ if answer.is_server_fault() => return Ok((exchange, answer)),
                Meaning::Limited
                | Meaning::Unavailable
                | Meaning::Unsent
                | Meaning::Redirected
                | Meaning::Page => return Err(check_key(&answer, self.auth)),
                _ => return Ok((exchange, answer)),
            }
        }
    }
}

/// The customers who are perhaps still there.
fn still_there(customers: &TestCustomers, problem: &str) -> Check {
    let message = format!("perhaps still in Omnidesk ({problem}): {}", customers.names());
    let hint = "the next `doctor --write` purges them; or delete them in Omnidesk";
    Check::new("test customers", Verdict::Attention, message).with_hint(hint)
}

fn client(config: &Config, key: &ApiKey, auth: Auth, body: BodyEncoding) -> Result<Client, Check> {
    let settings = crate::omnidesk::ApiSettings { auth, body, ..config.api_settings() };
    Client::with_certificate(&settings, key)
        .map_err(|error| Check::new("TLS", Verdict::Misconfigured, error.to_string()))
}

/// What tells one answer from another.
fn signature(answer: &Answer) -> (Option<u16>, Meaning, String) {
    (answer.status, answer.meaning, answer.message.clone())
}

fn create(customer: &Customer, first: Option<&Address>) -> Call {
    let fields = [FieldName::First, FieldName::Last].into_iter().zip(TEST_NAMES);
    let fields = fields.map(|(name, text)| (name, FieldValue::Text(text.to_owned()))).collect();
    let action = Action::Create { fields, first: first.cloned(), ticket_id: None, no_sync: true };
    Call { customer: customer.clone(), action }
}

fn update(customer: &Customer) -> Call {
    let fields = vec![(FieldName::First, FieldValue::Text(TEST_NAMES[0].to_owned()))];
    Call { customer: customer.clone(), action: Action::Update { fields } }
}

fn add(customer: &Customer, address: &Address) -> Call {
    let action = Action::AddChannel { address: address.clone(), no_sync: true };
    Call { customer: customer.clone(), action }
}

/// An address of nobody: the domain is reserved for examples.
fn email() -> Address {
    let text = format!("test-{:016x}@example.com", fastrand::u64(..));
    Address::parse(Channel::Email, text, None).unwrap_or_else(|_| unreachable!("an address"))
}

fn account() -> Address {
    let text = format!("test{:08x}", fastrand::u32(..));
    Address::parse(Channel::Twitter, text, None).unwrap_or_else(|_| unreachable!("an account"))
}
