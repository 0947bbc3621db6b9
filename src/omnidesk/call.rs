//! The four calls.

use crate::mapping::{Address, Channel, Customer, FieldName, FieldValue, PrimaryId};

/// One request that the program means to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub customer: Customer,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `POST /api/v2/customer`
    Create {
        /// Names and custom fields that have a value.
        fields: Vec<(FieldName, FieldValue)>,
        /// The address linked with the creation.
        first: Option<Address>,
        /// The ticket that the customer is added to.
        ticket_id: Option<u64>,
        /// No other tickets are synced to the customer.
        no_sync: bool,
    },
    /// `PUT /api/v2/customer/updateCustomer`
    Update {
        /// Names and custom fields to change; others stay.
        fields: Vec<(FieldName, FieldValue)>,
    },
    /// `POST /api/v2/customer/addchannelonly`
    AddChannel {
        /// The address to add.
        address: Address,
        /// No other tickets are synced to the customer.
        no_sync: bool,
    },
    /// `DELETE /api/v2/customer/purgedata`
    Purge,
}

fn text_field(name: FieldName, text: &str) -> (FieldName, FieldValue) {
    (name, FieldValue::Text(text.to_owned()))
}

/// One of the four calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    Create,
    Update,
    AddChannel,
    Purge,
}

impl CallKind {
    /// In the order of the API page.
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::AddChannel, Self::Purge];

    /// As in summaries and result files.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::AddChannel => "add-channel",
            Self::Purge => "purge",
        }
    }

    /// Whether a second sending changes nothing. A second create may make a second
    /// customer: no page excludes it.
    pub(crate) fn is_repeatable(self) -> bool {
        self != Self::Create
    }
}

impl Call {
    /// An update of a customer who cannot exist: it shows the API's own answer to
    /// that, and changes nothing.
    pub(crate) fn control(brand_id: u64) -> Self {
        let id = format!("omnidesk-sync-control-{:016x}", fastrand::u64(..));
        // Letters, digits and hyphens always make an id.
        let primary_id = PrimaryId::new(&id).unwrap_or_else(|_| unreachable!("an id"));
        Self { customer: Customer { brand_id, primary_id }, action: Action::Update { fields: Vec::new() } }
    }

    /// A create whose e-mail address is none.
    pub(crate) fn invalid_create(customer: Customer) -> Self {
        let fields = vec![
            text_field(FieldName::Custom("channel_id".into()), "email"),
            text_field(FieldName::Custom("customer_link_channel".into()), "no address"),
        ];
        Self { customer, action: Action::Create { fields, first: None, ticket_id: None, no_sync: false } }
    }

    /// An update whose name is outside the pattern on the API's pages.
    pub(crate) fn invalid_update(customer: Customer) -> Self {
        let fields = vec![text_field(FieldName::First, "1 < 2")];
        Self { customer, action: Action::Update { fields } }
    }

    /// An update that adds addresses, too. The API's page lists no such fields for it.
    pub(crate) fn update_with_addresses(customer: Customer, addresses: &[Address]) -> Self {
        let field = |address: &Address| {
            let name = FieldName::Custom(extra_field(address.channel()).into());
            text_field(name, address.as_str())
        };
        Self { customer, action: Action::Update { fields: addresses.iter().map(field).collect() } }
    }

    /// A call of another kind for the same customer, with the same address.
    pub(crate) fn as_other_kind(&self, kind: CallKind) -> Self {
        let action = match (kind, self.address()) {
            (CallKind::Create, first) => {
                Action::Create { fields: Vec::new(), first: first.cloned(), ticket_id: None, no_sync: false }
            }
            (CallKind::AddChannel, Some(address)) => {
                Action::AddChannel { address: address.clone(), no_sync: false }
            }
            (CallKind::Update | CallKind::AddChannel, _) => Action::Update { fields: Vec::new() },
            (CallKind::Purge, _) => Action::Purge,
        };
        Self { customer: self.customer.clone(), action }
    }

    pub(crate) fn kind(&self) -> CallKind {
        match self.action {
            Action::Create { .. } => CallKind::Create,
            Action::Update { .. } => CallKind::Update,
            Action::AddChannel { .. } => CallKind::AddChannel,
            Action::Purge => CallKind::Purge,
        }
    }

    /// The names and custom fields that it sets.
    pub(crate) fn fields(&self) -> &[(FieldName, FieldValue)] {
        match &self.action {
            Action::Create { fields, .. } | Action::Update { fields } => fields,
            Action::AddChannel { .. } | Action::Purge => &[],
        }
    }

    /// The address that it links or adds.
    pub(crate) fn address(&self) -> Option<&Address> {
        match &self.action {
            Action::Create { first, .. } => first.as_ref(),
            Action::AddChannel { address, .. } => Some(address),
            Action::Update { .. } | Action::Purge => None,
        }
    }
}

/// The field of an address to add.
pub(super) fn extra_field(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "extra_email",
        Channel::Telephone => "extra_telephone",
        Channel::Facebook => "extra_facebook",
        Channel::Twitter => "extra_twitter",
    }
}
