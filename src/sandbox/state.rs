//! What the sandbox holds, and the rules by which a correct call changes it or is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::Duplicates;
use super::answers::Answer;
use super::calls::{Action, Call, Channel, ChannelKind, CustomerKey, Details};

/// A snapshot: `customers` and `purged` are content, to be compared between runs; the rest tells how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Every customer, by brand and id.
    pub customers: Vec<Customer>,
    /// Every customer that was ever purged, by brand and id, also if created again later.
    pub purged: Vec<PurgedCustomer>,
    /// What happened so far.
    pub counters: Counters,
    /// What a correct client never does; the first hundred, with no personal data but the customer's id.
    pub violations: Vec<String>,
}

/// A customer as the calls left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The brand.
    pub brand_id: u64,
    /// The customer's id in the organisation's own system.
    pub primary_id: String,
    /// As last sent.
    pub firstname: Option<String>,
    /// As last sent.
    pub lastname: Option<String>,
    /// The custom fields, each as last sent.
    pub custom: BTreeMap<String, String>,
    /// The addresses, sorted.
    pub channels: BTreeSet<Channel>,
    /// The tickets that creates named.
    pub ticket_ids: BTreeSet<u64>,
    /// `noSync` as last sent, if ever.
    pub no_sync: Option<bool>,
}

/// A customer that was purged: all that is left is that it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedCustomer {
    /// The brand.
    pub brand_id: u64,
    /// The customer's id in the organisation's own system.
    pub primary_id: String,
}

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Requests to the API, whatever became of them; those to `/sandbox/` are not counted.
    pub requests: u64,
    /// Creates executed.
    pub create: u64,
    /// Updates executed.
    pub update: u64,
    /// Addresses added.
    pub add_channel: u64,
    /// Purges executed.
    pub purge: u64,
    /// Requests refused with a status from 400 to 415 for what they are, also if that answer was lost.
    pub refused: u64,
    /// Creates executed for an id that existed; only with [`Duplicates::Allow`].
    pub doubled: u64,
    /// Faults met, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Requests over the rate limit.
    pub throttled: u64,
    /// Late calls that were answered 504 and are still to be acted on.
    pub late_pending: u64,
}

/// Everything stored under one id.
#[derive(Debug, Default)]
struct Entry {
    /// One, unless duplicates are allowed; calls after a create go to the first.
    records: Vec<Record>,
    /// Whether the client has been told of a create.
    create_answered: bool,
}

#[derive(Debug, Default)]
struct Record {
    details: Details,
    channels: BTreeSet<Channel>,
    ticket_ids: BTreeSet<u64>,
    no_sync: Option<bool>,
}

/// The customers and their addresses.
#[derive(Debug)]
pub(super) struct Base {
    duplicates: Duplicates,
    brands: Option<Vec<u64>>,
    customers: BTreeMap<CustomerKey, Entry>,
    /// Who has an address, by brand; an address belongs to one customer.
    owners: HashMap<(u64, Channel), String>,
    purged: BTreeSet<CustomerKey>,
}

impl Base {
    /// Nobody is known yet.
    pub(super) fn new(duplicates: Duplicates, brands: Option<Vec<u64>>) -> Self {
        Self {
            duplicates,
            brands,
            customers: BTreeMap::new(),
            owners: HashMap::new(),
            purged: BTreeSet::new(),
        }
    }

    /// Does what the call says, wholly or not at all, counts it, and gives the answer.
    pub(super) fn act(&mut self, call: Call, counters: &mut Counters) -> Answer {
        let Call { customer, action } = call;
        let acted = if self.brands.as_ref().is_some_and(|brands| !brands.contains(&customer.brand_id)) {
            Err("Brand is invalid.")
        } else {
            match action {
                Action::Create { details, channel, ticket_id, no_sync } => {
                    let record = Record {
                        details,
                        channels: channel.into_iter().collect(),
                        ticket_ids: ticket_id.into_iter().collect(),
                        no_sync,
                    };
                    self.create(customer, record, counters)
                }
                Action::Update { details } => self.update(&customer, details, counters),
                Action::AddChannel { channel, no_sync } => {
                    self.add_channel(&customer, channel, no_sync, counters)
                }
                Action::Purge => self.purge(customer, counters),
            }
        };
        acted.unwrap_or_else(|message| {
            counters.refused += 1;
            Answer::refusal(message)
        })
    }

    fn create(
        &mut self,
        key: CustomerKey,
        record: Record,
        counters: &mut Counters,
    ) -> Result<Answer, &'static str> {
        let is_known = self.customers.contains_key(&key);
        if is_known && self.duplicates == Duplicates::Refuse {
            return Err("Customer already exists.");
        }
        for channel in &record.channels {
            self.check_owner(&key, channel)?;
        }
        for channel in &record.channels {
            self.owners.insert(owned(&key, channel), key.primary_id.clone());
        }
        self.customers.entry(key).or_default().records.push(record);
        counters.create += 1;
        counters.doubled += u64::from(is_known);
        Ok(Answer::done("User created and channel linked."))
    }

    fn update(
        &mut self,
        key: &CustomerKey,
        sent: Details,
        counters: &mut Counters,
    ) -> Result<Answer, &'static str> {
        let details = &mut self.record(key)?.details;
        details.firstname = sent.firstname.or(details.firstname.take());
        details.lastname = sent.lastname.or(details.lastname.take());
        details.custom.extend(sent.custom);
        counters.update += 1;
        Ok(Answer::done("Customer updated."))
    }

    fn add_channel(
        &mut self,
        key: &CustomerKey,
        channel: Channel,
        no_sync: Option<bool>,
        counters: &mut Counters,
    ) -> Result<Answer, &'static str> {
        self.record(key)?;
        self.check_owner(key, &channel)?;
        let owned = owned(key, &channel);
        if self.owners.contains_key(&owned) {
            return Err("Channel already exists for this customer.");
        }
        self.owners.insert(owned, key.primary_id.clone());
        let record = self.record(key)?;
        record.channels.insert(channel);
        record.no_sync = no_sync.or(record.no_sync);
        counters.add_channel += 1;
        Ok(Answer::done("Channel added to the customer."))
    }

    fn purge(&mut self, key: CustomerKey, counters: &mut Counters) -> Result<Answer, &'static str> {
        let entry = self.customers.remove(&key).ok_or("Customer not found.")?;
        for channel in entry.records.iter().flat_map(|record| &record.channels) {
            self.owners.remove(&owned(&key, channel));
        }
        self.purged.insert(key);
        counters.purge += 1;
        Ok(Answer::empty())
    }

    fn record(&mut self, key: &CustomerKey) -> Result<&mut Record, &'static str> {
        let entry = self.customers.get_mut(key);
        entry.and_then(|entry| entry.records.first_mut()).ok_or("Customer not found.")
    }

    fn check_owner(&self, key: &CustomerKey, channel: &Channel) -> Result<(), &'static str> {
        match self.owners.get(&owned(key, channel)) {
            Some(owner) if *owner != key.primary_id => Err("This channel is linked to another customer."),
            _ => Ok(()),
        }
    }

    /// Notes that the client now knows of this customer's create.
    pub(super) fn note_create_answered(&mut self, key: &CustomerKey) {
        if let Some(entry) = self.customers.get_mut(key) {
            entry.create_answered = true;
        }
    }

    /// Whether the client was told of a create of this customer that still stands.
    pub(super) fn is_create_answered(&self, key: &CustomerKey) -> bool {
        self.customers.get(key).is_some_and(|entry| entry.create_answered)
    }

    /// The content, in the order of brand and id.
    pub(super) fn content(&self) -> (Vec<Customer>, Vec<PurgedCustomer>) {
        let records = self
            .customers
            .iter()
            .flat_map(|(key, entry)| entry.records.iter().map(move |record| (key, record)));
        let customers = records.map(|(key, record)| Customer {
            brand_id: key.brand_id,
            primary_id: key.primary_id.clone(),
            firstname: record.details.firstname.clone(),
            lastname: record.details.lastname.clone(),
            custom: record.details.custom.clone(),
            channels: record.channels.clone(),
            ticket_ids: record.ticket_ids.clone(),
            no_sync: record.no_sync,
        });
        let purged = self.purged.iter().cloned();
        let purged =
            purged.map(|CustomerKey { brand_id, primary_id }| PurgedCustomer { brand_id, primary_id });
        (customers.collect(), purged.collect())
    }
}

/// An address as it is compared: within a brand, an e-mail address without regard to upper and lower case.
fn owned(key: &CustomerKey, channel: &Channel) -> (u64, Channel) {
    let mut channel = channel.clone();
    if channel.kind == ChannelKind::Email {
        channel.address = channel.address.to_lowercase();
    }
    (key.brand_id, channel)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use super::super::calls::Route;
    use super::*;

    struct World {
        base: Base,
        counters: Counters,
    }

    impl World {
        fn new(duplicates: Duplicates) -> Self {
            Self { base: Base::new(duplicates, Some(vec![2, 3])), counters: Counters::default() }
        }

        /// Sends a form body and gives the message, `""` for an empty body.
        fn send(&mut self, route: Route, form: &str) -> String {
            let form_type = Some("application/x-www-form-urlencoded");
            let call = Call::read(route, form_type, form.as_bytes()).unwrap();
            let answer = self.base.act(call, &mut self.counters);
            assert_eq!(
                answer.status,
                if answer.message.as_deref().is_none_or(is_result) { 200 } else { 400 }
            );
            answer.message.unwrap_or_default().into_owned()
        }
    }

    fn is_result(message: &str) -> bool {
        message.starts_with("User created")
            || message.ends_with("updated.")
            || message.starts_with("Channel added")
    }

    #[test]
    fn the_rules_answer_as_the_module_says() {
        use Route::{AddChannel, Create, Purge, Update};
        let mut world = World::new(Duplicates::Refuse);
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
            assert_eq!(world.send(route, form), expected, "{} {form}", route.name());
        }
        let (customers, purged) = world.base.content();
        let ids: Vec<_> =
            customers.iter().map(|customer| (customer.brand_id, &*customer.primary_id)).collect();
        assert_eq!(ids, [(2, "A"), (2, "B"), (3, "A")]);
        assert_eq!(purged, [PurgedCustomer { brand_id: 2, primary_id: "A".to_owned() }]);
        let Counters { create, update, add_channel, purge, refused, doubled, .. } = world.counters;
        assert_eq!([create, update, add_channel, purge, refused, doubled], [4, 0, 2, 1, 9, 0]);
    }

    #[test]
    fn an_update_changes_what_it_names_and_nothing_else() {
        let mut world = World::new(Duplicates::Refuse);
        world.send(
            Route::Create,
            "primary_id=A&brand_id=2&firstname=Ann&lastname=Vis&city=Ede&no=1&ticket_id=9",
        );
        world.send(Route::Update, "externalPrimaryID=A&brandID=2&lastname=&city=Epe&new=x");
        let (customers, _) = world.base.content();
        let customer = &customers[0];
        assert_eq!(customer.firstname.as_deref(), Some("Ann"));
        assert_eq!(customer.lastname.as_deref(), Some(""));
        let custom: Vec<_> = customer.custom.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(custom, [("city", "Epe"), ("new", "x"), ("no", "1")]);
        assert_eq!(customer.ticket_ids, BTreeSet::from([9]));
    }

    #[test]
    fn a_second_create_doubles_the_customer_where_that_is_allowed() {
        let mut world = World::new(Duplicates::Allow);
        let form = "primary_id=A&brand_id=2&channel_id=facebook&customer_link_channel=ann";
        assert_eq!(world.send(Route::Create, form), "User created and channel linked.");
        assert_eq!(world.send(Route::Create, form), "User created and channel linked.");
        assert_eq!((world.counters.doubled, world.base.content().0.len()), (1, 2));
        world.send(Route::Purge, "external_id=A&brand_id=2");
        assert!(world.base.content().0.is_empty() && world.base.owners.is_empty());
    }
}
