//! The content of the sandbox, and the rules by which a correct call changes it or is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::call::{Call, Route};
use super::call_file::CallFile;
use super::customer::{Channel, ChannelKind, Customer, CustomerId};
use super::list::ListRange;
use super::wording::{Refusal, RefusalForm};
use super::{Duplicates, Settings};

/// A snapshot: `customers` and `purged` can be compared between runs; the rest shows how they came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By brand and id.
    pub customers: Vec<Customer>,
    /// Every customer that was ever purged, by brand and id, also if created again later.
    pub purged: Vec<CustomerId>,
    pub counters: Counters,
    /// Errors of the client, the first hundred. They hold no personal data but the customer's id.
    pub violations: Vec<String>,
}

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// All requests to the API, and none to `/sandbox/`.
    pub requests: u64,
    /// Creates executed.
    pub create: u64,
    /// Updates executed.
    pub update: u64,
    /// Addresses added.
    pub add_channel: u64,
    /// Purges executed.
    pub purge: u64,
    /// Requests refused with a status from 400 to 422, also if that answer was lost.
    pub refused: u64,
    /// Creates executed for an id that existed; only with [`Duplicates::Allow`].
    pub doubled: u64,
    /// By kind.
    pub faults: BTreeMap<String, u64>,
    /// Requests answered by the script.
    pub scripted: u64,
    /// Requests over the rate limit.
    pub throttled: u64,
    /// Late calls that were answered 504 and are still to be acted on.
    pub late_pending: u64,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    duplicates: Duplicates,
    refusals: RefusalForm,
    brands: Option<Vec<u64>>,
    /// One customer an id, unless duplicates are allowed; calls after a create go to the first.
    customers: BTreeMap<CustomerId, Vec<Customer>>,
    /// The id that owns an address of a brand: an address belongs to one customer.
    owners: HashMap<(u64, Channel), String>,
    purged: BTreeSet<CustomerId>,
    /// Customers with a create that was answered with success.
    acknowledged: HashSet<CustomerId>,
    pub(super) counters: Counters,
    /// Gets every executed call.
    file: Option<CallFile>,
}

impl Store {
    pub(super) fn new(settings: &Settings) -> Self {
        let (duplicates, refusals) = (settings.duplicates, settings.refusals());
        Self { duplicates, refusals, brands: settings.brands.clone(), ..Self::default() }
    }

    /// Begins with the content of the server that wrote this file.
    pub(super) fn open_state(&mut self, path: &Path) -> io::Result<()> {
        let counters = self.counters.clone();
        self.file = Some(CallFile::open(path, |call| drop(self.execute(call)))?);
        // They are since the start.
        self.counters = counters;
        Ok(())
    }

    /// Executes a call wholly or not at all, counts it and gives the answer.
    pub(super) fn execute(&mut self, call: Call) -> Answer {
        if let Err(refusal) = self.check(&call) {
            self.counters.refused += 1;
            return self.refusals.answer(refusal);
        }
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.add(&call)) {
            return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, format!("The state file: {error}"));
        }
        let Call { route, customer } = call;
        let id = customer.id.clone();
        let owned = customer.channels.iter().map(|channel| (owner_key(&id, channel), id.primary_id.clone()));
        self.owners.extend(owned);
        let (counters, records) = (&mut self.counters, self.customers.entry(id).or_default());
        let (count, message) = match route {
            Route::Create => {
                counters.doubled += u64::from(!records.is_empty());
                records.push(customer);
                (&mut counters.create, "User created and channel linked.")
            }
            Route::Update => {
                records[0].merge(customer);
                (&mut counters.update, "Customer updated.")
            }
            Route::AddChannel => {
                records[0].merge(customer);
                (&mut counters.add_channel, "Channel added to the customer.")
            }
            Route::Purge => {
                self.purge(customer.id);
                self.counters.purge += 1;
                return Answer::new(StatusCode::OK, "application/json", "");
            }
        };
        *count += 1;
        Answer::success(message)
    }

    fn check(&self, Call { route, customer }: &Call) -> Result<(), Refusal> {
        let id = &customer.id;
        if self.brands.as_ref().is_some_and(|brands| !brands.contains(&id.brand_id)) {
            return Err(Refusal::UnknownBrand);
        }
        let exists = self.customers.contains_key(id);
        if *route == Route::Create {
            if exists && self.duplicates == Duplicates::Refuse {
                return Err(Refusal::CustomerExists);
            }
        } else if !exists {
            return Err(Refusal::UnknownCustomer);
        }
        for channel in &customer.channels {
            match self.owners.get(&owner_key(id, channel)) {
                Some(owner) if *owner != id.primary_id => {
                    return Err(Refusal::AddressOfAnother);
                }
                Some(_) if *route == Route::AddChannel => {
                    return Err(Refusal::AddressExists);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A part of the list, by brand and id.
    pub(super) fn list(&self, range: ListRange) -> Answer {
        let total: usize = self.customers.values().map(Vec::len).sum();
        range.answer(self.customers.values().flatten(), total)
    }

    fn purge(&mut self, id: CustomerId) {
        for channel in self.customers.remove(&id).iter().flatten().flat_map(|customer| &customer.channels) {
            self.owners.remove(&owner_key(&id, channel));
        }
        self.acknowledged.remove(&id);
        self.purged.insert(id);
    }

    /// The client learned that this create has worked.
    pub(super) fn acknowledge_create(&mut self, id: &CustomerId) {
        if self.customers.contains_key(id) {
            self.acknowledged.insert(id.clone());
        }
    }

    pub(super) fn is_create_acknowledged(&self, id: &CustomerId) -> bool {
        self.acknowledged.contains(id)
    }

    pub(super) fn snapshot(&self, violations: &[String]) -> State {
        State {
            customers: self.customers.values().flatten().cloned().collect(),
            purged: self.purged.iter().cloned().collect(),
            counters: self.counters.clone(),
            violations: violations.to_vec(),
        }
    }
}

/// An address as it is compared: within a brand, an e-mail address without regard to upper and lower case.
fn owner_key(id: &CustomerId, channel: &Channel) -> (u64, Channel) {
    let mut channel = channel.clone();
    if channel.kind == ChannelKind::Email {
        channel.address = channel.address.to_lowercase();
    }
    (id.brand_id, channel)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::*;

    fn store(duplicates: Duplicates) -> Store {
        Store::new(&Settings { duplicates, brands: Some(vec![2, 3]), ..Settings::default() })
    }

    /// Sends a form body and gives the message, `""` for an empty body.
    fn send(store: &mut Store, route: Route, form: &str) -> String {
        let call =
            Call::read(route, None, Some("application/x-www-form-urlencoded"), form.as_bytes()).unwrap();
        let answer = store.execute(call);
        let message = answer.message();
        assert_eq!(answer.status, if is_success(&message) { 200 } else { 400 });
        message
    }

    fn is_success(message: &str) -> bool {
        message.is_empty()
            || message.starts_with("User created")
            || message.ends_with("updated.")
            || message.starts_with("Channel added")
    }

    #[test]
    fn a_state_file_keeps_the_content_and_a_torn_line_costs_only_itself() {
        use Route::{AddChannel, Create, Purge, Update};
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("state");
        let open = || {
            let mut store = store(Duplicates::Refuse);
            store.open_state(&path).unwrap();
            store
        };
        let mut first = open();
        for (route, form) in [
            (Create, "primary_id=A&brand_id=2&channel_id=email&customer_link_channel=a%40b.nl&city=Delft"),
            (Create, "primary_id=B&brand_id=3"),
            (Create, "primary_id=B&brand_id=3"),
            (Update, "externalPrimaryID=A&brandID=2&lastname=Vis"),
            (AddChannel, "primary_id=A&brand_id=2&extra_facebook=bee"),
            (Purge, "external_id=B&brand_id=3"),
        ] {
            send(&mut first, route, form);
        }
        let before = first.snapshot(&[]);
        let second = open().snapshot(&[]);
        assert_eq!((&second.customers, &second.purged), (&before.customers, &before.purged));
        assert_eq!((second.customers.len(), second.counters), (1, Counters::default()));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 5, "no call that was refused");
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let mut third = open();
        assert_eq!(third.snapshot(&[]).customers.len(), 2, "the purge is lost");
        send(&mut third, Purge, "external_id=B&brand_id=3");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        std::fs::write(&path, "no call\n").unwrap();
        assert!(store(Duplicates::Refuse).open_state(&path).is_err());
    }

    #[test]
    fn the_rules_answer_as_the_module_says() {
        use Route::{AddChannel, Create, Purge, Update};
        let mut store = store(Duplicates::Refuse);
        let steps = [
            (Update, "externalPrimaryID=A&brandID=2", "Customer not found."),
            (
                Create,
                "primary_id=A&brand_id=2&channel_id=email&customer_link_channel=A%40b.nl",
                "User created and channel linked.",
            ),
            (Create, "primary_id=A&brand_id=2", "Customer already exists."),
            (
                Create,
                "primary_id=B&brand_id=2&channel_id=email&customer_link_channel=a%40B.nl",
                "This channel is linked to another customer.",
            ),
            (
                Create,
                "primary_id=A&brand_id=3&channel_id=email&customer_link_channel=a%40b.nl",
                "User created and channel linked.",
            ),
            (Create, "primary_id=A&brand_id=4", "Brand is invalid."),
            (Create, "primary_id=B&brand_id=2", "User created and channel linked."),
            (
                AddChannel,
                "primary_id=B&brand_id=2&extra_email=a%40b.nl",
                "This channel is linked to another customer.",
            ),
            (
                AddChannel,
                "primary_id=A&brand_id=2&extra_email=a%40b.nl",
                "Channel already exists for this customer.",
            ),
            (AddChannel, "primary_id=B&brand_id=2&extra_facebook=bee", "Channel added to the customer."),
            (AddChannel, "primary_id=C&brand_id=2&extra_facebook=cee", "Customer not found."),
            (Purge, "external_id=A&brand_id=2", ""),
            (Purge, "external_id=A&brand_id=2", "Customer not found."),
            (Update, "externalPrimaryID=A&brandID=2", "Customer not found."),
            (AddChannel, "primary_id=B&brand_id=2&extra_email=a%40b.nl", "Channel added to the customer."),
            (Create, "primary_id=A&brand_id=2", "User created and channel linked."),
        ];
        for (route, form, expected) in steps {
            assert_eq!(send(&mut store, route, form), expected, "{} {form}", route.endpoint().name);
        }
        let State { customers, purged, counters, .. } = store.snapshot(&[]);
        let ids: Vec<_> =
            customers.iter().map(|customer| (customer.id.brand_id, &*customer.id.primary_id)).collect();
        assert_eq!(ids, [(2, "A"), (2, "B"), (3, "A")]);
        assert_eq!(purged, [CustomerId { brand_id: 2, primary_id: "A".to_owned() }]);
        let Counters { create, update, add_channel, purge, refused, doubled, .. } = counters;
        assert_eq!([create, update, add_channel, purge, refused, doubled], [4, 0, 2, 1, 9, 0]);
    }

    #[test]
    fn an_update_changes_only_the_fields_that_are_sent() {
        let mut store = store(Duplicates::Refuse);
        send(
            &mut store,
            Route::Create,
            "primary_id=A&brand_id=2&firstname=Ann&lastname=Vis&city=Ede&no=1&ticket_id=9",
        );
        send(&mut store, Route::Update, "externalPrimaryID=A&brandID=2&lastname=&city=Epe&new=x");
        let customer = &store.snapshot(&[]).customers[0];
        assert_eq!(customer.firstname.as_deref(), Some("Ann"));
        assert_eq!(customer.lastname.as_deref(), Some(""));
        let custom: Vec<_> = customer.custom.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(custom, [("city", "Epe"), ("new", "x"), ("no", "1")]);
        assert_eq!(customer.ticket_ids, BTreeSet::from([9]));
    }

    #[test]
    fn a_second_create_makes_a_duplicate_where_that_is_allowed() {
        let mut store = store(Duplicates::Allow);
        let form = "primary_id=A&brand_id=2&channel_id=facebook&customer_link_channel=ann";
        assert_eq!(send(&mut store, Route::Create, form), "User created and channel linked.");
        assert_eq!(send(&mut store, Route::Create, form), "User created and channel linked.");
        assert_eq!((store.counters.doubled, store.snapshot(&[]).customers.len()), (1, 2));
        send(&mut store, Route::Purge, "external_id=A&brand_id=2");
        assert!(store.customers.is_empty() && store.owners.is_empty());
    }
}
