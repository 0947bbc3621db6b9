//! The four calls of the API page: from method, path and body to a typed call, or to the answer that refuses it.
//!
//! The id has three spellings and the brand two types, by call, and each is held to. A field that the page gives to
//! another call is refused instead of being taken for a custom field, since it can only be a slip of the client.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answers::Answer;
use super::fields::Fields;

/// The most digits of a telephone number, from ITU-T E.164.
const TELEPHONE_DIGITS_MAX: usize = 15;

/// One of the four calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Create,
    Update,
    AddChannel,
    Purge,
}

impl Route {
    const ALL: [Self; 4] = [Self::Create, Self::Update, Self::AddChannel, Self::Purge];

    /// The call at this path; no two share one.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.path() == path)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Create => "/api/v2/customer",
            Self::Update => "/api/v2/customer/updateCustomer",
            Self::AddChannel => "/api/v2/customer/addchannelonly",
            Self::Purge => "/api/v2/customer/purgedata",
        }
    }

    /// The only method of this call.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Create | Self::AddChannel => "POST",
            Self::Update => "PUT",
            Self::Purge => "DELETE",
        }
    }

    /// The name in messages, counters and the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::AddChannel => "add_channel",
            Self::Purge => "purge",
        }
    }

    /// Whether the page lists this field for this call.
    fn lists(self, field: &str) -> bool {
        let fields = match self {
            Self::Create => {
                "primary_id brand_id firstname lastname channel_id customer_link_channel ticket_id noSync"
            }
            Self::Update => "externalPrimaryID brandID firstname lastname",
            Self::AddChannel => {
                "primary_id brand_id extra_email extra_telephone extra_facebook extra_twitter noSync"
            }
            Self::Purge => "external_id brand_id",
        };
        fields.split(' ').any(|listed| listed == field)
    }

    fn takes_custom_fields(self) -> bool {
        matches!(self, Self::Create | Self::Update)
    }
}

/// What a customer is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CustomerKey {
    pub(super) brand_id: u64,
    pub(super) primary_id: String,
}

/// The kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// An e-mail address.
    Email,
    /// A telephone number in E.164.
    Telephone,
    /// A Facebook account.
    Facebook,
    /// A Twitter account, without `@`.
    Twitter,
}

impl ChannelKind {
    const ALL: [Self; 4] = [Self::Email, Self::Telephone, Self::Facebook, Self::Twitter];

    fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Telephone => "telephone",
            Self::Facebook => "facebook",
            Self::Twitter => "twitter",
        }
    }

    /// Whether an address can be one of this kind, and if not, what one looks like.
    fn check(self, address: &str) -> Result<(), &'static str> {
        let (is_fine, looks_like) = match self {
            Self::Email => (is_email(address), "an e-mail address"),
            Self::Telephone => (is_telephone(address), "a telephone number in E.164, such as +31201234567"),
            Self::Facebook => (!address.trim().is_empty(), "an account"),
            Self::Twitter => (is_twitter(address), "an account of letters, digits, _ and spaces"),
        };
        if is_fine { Ok(()) } else { Err(looks_like) }
    }
}

fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else {
        return false;
    };
    let has_dot = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    !local.is_empty() && has_dot && !domain.contains('@') && !address.contains(char::is_whitespace)
}

fn is_telephone(address: &str) -> bool {
    address.strip_prefix('+').is_some_and(|digits| {
        (1..=TELEPHONE_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_twitter(address: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b' ';
    !address.is_empty() && address.bytes().all(is_allowed)
}

/// An address of a customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Channel {
    /// What it is an address of.
    pub kind: ChannelKind,
    /// The address as it was sent.
    pub address: String,
}

impl Channel {
    /// An address that came in the field `field`.
    fn checked(kind: ChannelKind, address: String, field: &str) -> Result<Self, Answer> {
        match kind.check(&address) {
            Ok(()) => Ok(Self { kind, address }),
            Err(looks_like) => Err(Answer::refusal(format!("{field}: expected {looks_like}"))),
        }
    }
}

/// The fields that create and update share; what is `None` or absent was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Details {
    pub(super) firstname: Option<String>,
    pub(super) lastname: Option<String>,
    pub(super) custom: BTreeMap<String, String>,
}

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Create { details: Details, channel: Option<Channel>, ticket_id: Option<u64>, no_sync: Option<bool> },
    Update { details: Details },
    AddChannel { channel: Channel, no_sync: Option<bool> },
    Purge,
}

impl Action {
    /// The call that asks for this.
    pub(super) fn route(&self) -> Route {
        match self {
            Self::Create { .. } => Route::Create,
            Self::Update { .. } => Route::Update,
            Self::AddChannel { .. } => Route::AddChannel,
            Self::Purge => Route::Purge,
        }
    }
}

/// A call that is correct in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) customer: CustomerKey,
    pub(super) action: Action,
}

impl Call {
    /// Reads the call from a body, or gives the answer that refuses it and names the first thing that is wrong.
    pub(super) fn read(route: Route, content_type: Option<&str>, body: &[u8]) -> Result<Self, Answer> {
        let fields = Fields::read(content_type, body)?;
        refuse_strangers(route, &fields)?;
        match route {
            Route::Create => create(fields),
            Route::Update => update(fields),
            Route::AddChannel => add_channel(fields),
            Route::Purge => purge(fields),
        }
    }
}

/// Refuses fields of other calls, and where there are no custom fields, all unknown ones.
fn refuse_strangers(route: Route, fields: &Fields) -> Result<(), Answer> {
    let is_known = |name: &str| Route::ALL.iter().any(|other| other.lists(name));
    let is_stranger = |name: &&str| !route.lists(name) && (!route.takes_custom_fields() || is_known(name));
    match fields.names().find(is_stranger) {
        Some(name) => Err(Answer::refusal(format!("{name}: is not a field of {}", route.name()))),
        None => Ok(()),
    }
}

fn create(mut fields: Fields) -> Result<Call, Answer> {
    let primary_id = fields.needed_text("primary_id")?;
    let brand_id = fields.needed_whole("brand_id")?;
    let channel = match (fields.text("channel_id")?, fields.text("customer_link_channel")?) {
        (None, None) => None,
        (Some(kind), Some(address)) => Some(linked_channel(&kind, address)?),
        (Some(_), None) => {
            return Err(Answer::refusal("customer_link_channel: is missing beside channel_id"));
        }
        (None, Some(_)) => {
            return Err(Answer::refusal("channel_id: is missing beside customer_link_channel"));
        }
    };
    let ticket_id = fields.whole("ticket_id", "a number")?;
    let no_sync = fields.flag("noSync")?;
    let details = details(fields)?;
    let customer = CustomerKey { brand_id, primary_id };
    Ok(Call { customer, action: Action::Create { details, channel, ticket_id, no_sync } })
}

fn linked_channel(kind: &str, address: String) -> Result<Channel, Answer> {
    let kind = ChannelKind::ALL.into_iter().find(|known| known.name() == kind);
    let kind =
        kind.ok_or_else(|| Answer::refusal("channel_id: expected email, telephone, facebook or twitter"))?;
    Channel::checked(kind, address, "customer_link_channel")
}

fn update(mut fields: Fields) -> Result<Call, Answer> {
    let primary_id = fields.needed_text("externalPrimaryID")?;
    let brand_id = fields.needed_quoted_whole("brandID")?;
    let details = details(fields)?;
    Ok(Call { customer: CustomerKey { brand_id, primary_id }, action: Action::Update { details } })
}

fn details(mut fields: Fields) -> Result<Details, Answer> {
    let firstname = fields.text("firstname")?;
    let lastname = fields.text("lastname")?;
    Ok(Details { firstname, lastname, custom: fields.rest()? })
}

fn add_channel(mut fields: Fields) -> Result<Call, Answer> {
    let primary_id = fields.needed_text("primary_id")?;
    let brand_id = fields.needed_quoted_whole("brand_id")?;
    let mut channels = Vec::new();
    for kind in ChannelKind::ALL {
        let field = format!("extra_{}", kind.name());
        if let Some(address) = fields.text(&field)? {
            channels.push(Channel::checked(kind, address, &field)?);
        }
    }
    let no_sync = fields.flag("noSync")?;
    let channel = channels.pop().ok_or_else(|| Answer::refusal("extra_…: an address is missing"))?;
    // The page speaks of "the address to add", and its answer of one channel.
    if !channels.is_empty() {
        return Err(Answer::refusal("extra_…: more than one address in a call"));
    }
    let customer = CustomerKey { brand_id, primary_id };
    Ok(Call { customer, action: Action::AddChannel { channel, no_sync } })
}

fn purge(mut fields: Fields) -> Result<Call, Answer> {
    let primary_id = fields.needed_text("external_id")?;
    let brand_id = fields.needed_whole("brand_id")?;
    Ok(Call { customer: CustomerKey { brand_id, primary_id }, action: Action::Purge })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    fn read(route: Route, content_type: &str, body: &str) -> Result<Call, String> {
        Call::read(route, Some(content_type), body.as_bytes()).map_err(|answer| {
            let message = answer.message.clone().unwrap_or_default();
            format!("{} {message}", answer.status)
        })
    }

    #[test]
    fn correct_bodies_are_read() {
        let cases = [
            (Route::Create, JSON, r#"{"primary_id":"A1","brand_id":2}"#),
            (
                Route::Create,
                "Application/JSON; charset=utf-8",
                r#"{"primary_id":"A1","brand_id":2,"ticket_id":7}"#,
            ),
            (
                Route::Create,
                JSON,
                r#"{"primary_id":"A1","brand_id":2,"noSync":true,"Debtor no":"9","email":"x"}"#,
            ),
            (
                Route::Create,
                JSON,
                r#"{"primary_id":"A1","brand_id":2,"channel_id":"facebook","customer_link_channel":"1"}"#,
            ),
            (Route::Create, FORM, "primary_id=A1&brand_id=2&ticket_id=7&noSync=true&city=Den+Haag"),
            (Route::Update, JSON, r#"{"externalPrimaryID":"A1","brandID":"2"}"#),
            (
                Route::Update,
                JSON,
                r#"{"externalPrimaryID":"A1","brandID":"2","firstname":"","city":"Den Haag"}"#,
            ),
            (Route::Update, FORM, "externalPrimaryID=A1&brandID=2&lastname=Vis"),
            (Route::AddChannel, JSON, r#"{"primary_id":"A1","brand_id":"2","extra_email":"a@b.nl"}"#),
            (
                Route::AddChannel,
                JSON,
                r#"{"primary_id":"A1","brand_id":"2","extra_twitter":"an_n e1","noSync":false}"#,
            ),
            (Route::AddChannel, FORM, "primary_id=A1&brand_id=2&extra_telephone=%2B31201234567&noSync=false"),
            (Route::Purge, JSON, r#"{"external_id":"A1","brand_id":2}"#),
            (Route::Purge, FORM, "external_id=A1&brand_id=2"),
        ];
        for (route, content_type, body) in cases {
            let call = read(route, content_type, body).unwrap_or_else(|said| panic!("{body}: {said}"));
            let key = CustomerKey { brand_id: 2, primary_id: "A1".to_owned() };
            assert_eq!(call.customer, key, "{body}");
        }
    }

    #[test]
    fn the_parts_of_a_create_arrive_where_they_belong() {
        let body = r#"{"primary_id":"A1","brand_id":2,"firstname":"Özgür","channel_id":"telephone",
            "customer_link_channel":"+31201234567","ticket_id":7,"noSync":true,"city":"Den Haag"}"#;
        let details = Details {
            firstname: Some("Özgür".to_owned()),
            lastname: None,
            custom: BTreeMap::from([("city".to_owned(), "Den Haag".to_owned())]),
        };
        let channel = Some(Channel { kind: ChannelKind::Telephone, address: "+31201234567".to_owned() });
        let action = Action::Create { details, channel, ticket_id: Some(7), no_sync: Some(true) };
        assert_eq!(read(Route::Create, JSON, body).map(|call| call.action), Ok(action));
    }

    fn check_refusals(cases: &[(Route, &str, &str, &str)]) {
        for (route, content_type, body, expected) in cases {
            let said = read(*route, content_type, body).expect_err(body);
            assert_eq!(said, *expected, "{} {body}", route.name());
        }
    }

    #[test]
    fn wrong_types_are_refused_with_field_and_type() {
        use Route::{AddChannel, Create, Purge, Update};
        check_refusals(&[
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":"2"}"#,
                "400 brand_id: expected an integer, got a string",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":1,"brand_id":2}"#,
                "400 primary_id: expected a string, got an integer",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2.0}"#,
                "400 brand_id: expected an integer, got a number with a fraction or exponent",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":-2}"#,
                "400 brand_id: expected an integer, got a negative integer",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"ticket_id":"7"}"#,
                "400 ticket_id: expected a number, got a string",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"noSync":"true"}"#,
                "400 noSync: expected a boolean, got a string",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"noSync":1}"#,
                "400 noSync: expected a boolean, got an integer",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"firstname":null}"#,
                "400 firstname: expected a string, got null",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"city":["x"]}"#,
                "400 city: expected a string, got a list",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"age":4}"#,
                "400 age: expected a string, got an integer",
            ),
            (Create, JSON, r#"{"primary_id":"A","brand_id":2,"":"x"}"#, "400 a field without a name"),
            (
                Update,
                JSON,
                r#"{"externalPrimaryID":"A","brandID":2}"#,
                "400 brandID: expected a string, got an integer",
            ),
            (
                Update,
                JSON,
                r#"{"externalPrimaryID":"A","brandID":"two"}"#,
                "400 brandID: expected a string of digits, got other text",
            ),
            (
                Update,
                JSON,
                r#"{"externalPrimaryID":"A","brandID":"02"}"#,
                "400 brandID: expected a string of digits, got other text",
            ),
            (
                Update,
                JSON,
                r#"{"externalPrimaryID":"A","brandID":"2","city":{}}"#,
                "400 city: expected a string, got an object",
            ),
            (
                AddChannel,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"extra_email":"a@b.nl"}"#,
                "400 brand_id: expected a string, got an integer",
            ),
            (
                AddChannel,
                JSON,
                r#"{"primary_id":"A","brand_id":"2","extra_facebook":12}"#,
                "400 extra_facebook: expected a string, got an integer",
            ),
            (
                Purge,
                JSON,
                r#"{"external_id":"A","brand_id":"2"}"#,
                "400 brand_id: expected an integer, got a string",
            ),
            (Create, FORM, "primary_id=A&brand_id=two", "400 brand_id: expected an integer, got a string"),
            (
                Create,
                FORM,
                "primary_id=A&brand_id=2&noSync=1",
                "400 noSync: expected a boolean, got a string",
            ),
            (
                Create,
                FORM,
                "primary_id=A&brand_id=2&ticket_id=%2B7",
                "400 ticket_id: expected a number, got a string",
            ),
        ]);
    }

    #[test]
    fn missing_empty_and_foreign_fields_are_refused() {
        use Route::{AddChannel, Create, Purge, Update};
        check_refusals(&[
            (Create, JSON, "{}", "400 primary_id: is missing"),
            (Create, FORM, "", "400 primary_id: is missing"),
            (Create, JSON, r#"{"primary_id":"A"}"#, "400 brand_id: is missing"),
            (Create, JSON, r#"{"primary_id":" ","brand_id":2}"#, "400 primary_id: is empty"),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"channel_id":"email"}"#,
                "400 customer_link_channel: is missing beside channel_id",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"customer_link_channel":"x"}"#,
                "400 channel_id: is missing beside customer_link_channel",
            ),
            (
                Create,
                JSON,
                r#"{"externalPrimaryID":"A","brand_id":2}"#,
                "400 externalPrimaryID: is not a field of create",
            ),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"extra_email":"a@b.nl"}"#,
                "400 extra_email: is not a field of create",
            ),
            (Update, JSON, r#"{"externalPrimaryID":"A"}"#, "400 brandID: is missing"),
            (Update, JSON, r#"{"primary_id":"A","brandID":"2"}"#, "400 primary_id: is not a field of update"),
            (
                Update,
                JSON,
                r#"{"externalPrimaryID":"A","brandID":"2","noSync":true}"#,
                "400 noSync: is not a field of update",
            ),
            (
                Update,
                JSON,
                r#"{"externalPrimaryID":"A","brandID":"2","ticket_id":1}"#,
                "400 ticket_id: is not a field of update",
            ),
            (AddChannel, JSON, r#"{"primary_id":"A","brand_id":"2"}"#, "400 extra_…: an address is missing"),
            (
                AddChannel,
                JSON,
                r#"{"primary_id":"A","brand_id":"2","extra_email":"a@b.nl","extra_facebook":"1"}"#,
                "400 extra_…: more than one address in a call",
            ),
            (
                AddChannel,
                JSON,
                r#"{"primary_id":"A","brand_id":"2","city":"x"}"#,
                "400 city: is not a field of add_channel",
            ),
            (Purge, JSON, r#"{"external_id":"","brand_id":2}"#, "400 external_id: is empty"),
            (
                Purge,
                JSON,
                r#"{"external_id":"A","brand_id":2,"city":"x"}"#,
                "400 city: is not a field of purge",
            ),
        ]);
    }

    #[test]
    fn bodies_that_are_not_one_object_are_refused_without_quoting_them() {
        use Route::Create;
        check_refusals(&[
            (
                Create,
                "text/plain",
                "{}",
                "415 The content type must be application/json or application/x-www-form-urlencoded.",
            ),
            (
                Create,
                "",
                "{}",
                "415 The content type must be application/json or application/x-www-form-urlencoded.",
            ),
            (Create, JSON, "", "400 The body is not a JSON object (line 1, column 0)."),
            (Create, JSON, "\"Vis\"", "400 The body is not a JSON object (line 1, column 5)."),
            (Create, JSON, "[]", "400 The body is not a JSON object (line 1, column 0)."),
            (Create, JSON, "{} {}", "400 The body is not a JSON object (line 1, column 4)."),
            (
                Create,
                JSON,
                r#"{"primary_id":"A","brand_id":2,"primary_id":"A"}"#,
                "400 primary_id: sent more than once",
            ),
            (Create, FORM, "primary_id=A&brand_id=2&brand_id=2", "400 brand_id: sent more than once"),
        ]);
    }

    #[test]
    fn addresses_are_held_to_the_form_of_their_kind() {
        let fine = [
            ("email", "a@b.nl"),
            ("email", "a+b@mail.b.nl"),
            ("telephone", "+1"),
            ("telephone", "+123456789012345"),
            ("facebook", "ann"),
            ("twitter", "Ann_1 b"),
        ];
        let wrong = [
            ("email", "a"),
            ("email", "a@b"),
            ("email", "@b.nl"),
            ("email", "a@b@c.nl"),
            ("email", "a@.nl"),
            ("email", "a@b.nl."),
            ("email", "a b@c.nl"),
            ("telephone", "0201234567"),
            ("telephone", "+"),
            ("telephone", "+31 20"),
            ("telephone", "+1234567890123456"),
            ("facebook", ""),
            ("twitter", "@ann"),
            ("twitter", ""),
            ("twitter", "änn"),
            ("Email", "a@b.nl"),
            ("sms", "+1"),
        ];
        for (kind, address) in fine {
            assert!(linked_channel(kind, address.to_owned()).is_ok(), "{kind} {address}");
        }
        for (kind, address) in wrong {
            let answer = linked_channel(kind, address.to_owned()).expect_err(address);
            assert_eq!(answer.status, 400, "{kind} {address}");
        }
    }
}
