//! The four calls of the API page: from method, path and body to a typed call, or to the answer that refuses it.
//!
//! The id has three spellings and the brand two types, by call; each is enforced. A field that the page gives to another
//! call is refused and not taken for a custom field, since it can only be an error of the client.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::BodyForm;
use super::answer::Answer;
use super::customer::{Channel, ChannelKind, Customer, CustomerId};
use super::fields::Fields;

/// One of the four calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Route {
    Create,
    Update,
    AddChannel,
    Purge,
}

/// A call as the API page describes it.
pub(super) struct Endpoint {
    /// In messages, counters and the log.
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    path: &'static str,
    /// The fields that the page lists, separated by spaces.
    fields: &'static str,
}

impl Route {
    const ALL: [Self; 4] = [Self::Create, Self::Update, Self::AddChannel, Self::Purge];

    /// The call at this path; no two share one.
    pub(super) fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.endpoint().path == path)
    }

    pub(super) fn endpoint(self) -> Endpoint {
        match self {
            Self::Create => Endpoint {
                name: "create",
                method: "POST",
                path: "/api/v2/customer",
                fields: "primary_id brand_id firstname lastname channel_id customer_link_channel ticket_id noSync",
            },
            Self::Update => Endpoint {
                name: "update",
                method: "PUT",
                path: "/api/v2/customer/updateCustomer",
                fields: "externalPrimaryID brandID firstname lastname",
            },
            Self::AddChannel => Endpoint {
                name: "add_channel",
                method: "POST",
                path: "/api/v2/customer/addchannelonly",
                fields: "primary_id brand_id extra_email extra_telephone extra_facebook extra_twitter noSync",
            },
            Self::Purge => Endpoint {
                name: "purge",
                method: "DELETE",
                path: "/api/v2/customer/purgedata",
                fields: "external_id brand_id",
            },
        }
    }

    /// Whether the page lists this field for this call.
    fn lists(self, field: &str) -> bool {
        self.endpoint().fields.split(' ').any(|listed| listed == field)
    }

    /// Refuses fields of other calls, and all unknown ones where the call takes no custom fields.
    fn check_names(self, fields: &Fields) -> Result<(), Answer> {
        let has_custom_fields = matches!(self, Self::Create | Self::Update);
        let is_listed = |name: &str| Self::ALL.iter().any(|route| route.lists(name));
        let is_foreign = |name: &&str| !self.lists(name) && (!has_custom_fields || is_listed(name));
        match fields.names().find(is_foreign) {
            Some(name) => Err(Answer::refusal(format!("{name}: is not a field of {}", self.endpoint().name))),
            None => Ok(()),
        }
    }
}

/// A call that is correct in itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) route: Route,
    /// The fields that were sent.
    pub(super) customer: Customer,
}

impl Call {
    /// Reads the call from a body. The answer that refuses it names the first error.
    pub(super) fn read(
        route: Route,
        only: Option<BodyForm>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, Answer> {
        let mut fields = Fields::read(only, content_type, body)?;
        route.check_names(&fields)?;
        let primary_id = fields.required_text(match route {
            Route::Create | Route::AddChannel => "primary_id",
            Route::Update => "externalPrimaryID",
            Route::Purge => "external_id",
        })?;
        let brand_id = match route {
            Route::Create | Route::Purge => fields.required_integer("brand_id")?,
            Route::Update => fields.required_digits("brandID")?,
            Route::AddChannel => fields.required_digits("brand_id")?,
        };
        // Fields of other calls are refused above, so each call is read as if it had all of them.
        let customer = Customer {
            id: CustomerId { brand_id, primary_id },
            channels: read_channels(&mut fields)?,
            ticket_ids: fields.integer("ticket_id", "a number")?.into_iter().collect(),
            no_sync: fields.boolean("noSync")?,
            firstname: fields.text("firstname")?,
            lastname: fields.text("lastname")?,
            custom: fields.into_custom()?,
        };
        // The page speaks of "the address to add", and its answer of one channel.
        match customer.channels.len() {
            0 if route == Route::AddChannel => Err(Answer::refusal("extra_…: an address is missing")),
            2.. => Err(Answer::refusal("extra_…: more than one address in a call")),
            _ => Ok(Self { route, customer }),
        }
    }
}

fn read_channels(fields: &mut Fields) -> Result<BTreeSet<Channel>, Answer> {
    let mut channels = BTreeSet::new();
    match (fields.text("channel_id")?, fields.text("customer_link_channel")?) {
        (None, None) => {}
        (Some(name), Some(address)) => {
            let kind = ChannelKind::ALL.into_iter().find(|kind| kind.as_str() == name);
            let unknown = || Answer::refusal("channel_id: expected email, telephone, facebook or twitter");
            channels.insert(channel(kind.ok_or_else(unknown)?, address, "customer_link_channel")?);
        }
        (Some(_), None) => {
            return Err(Answer::refusal("customer_link_channel: is missing beside channel_id"));
        }
        (None, Some(_)) => {
            return Err(Answer::refusal("channel_id: is missing beside customer_link_channel"));
        }
    }
    for kind in ChannelKind::ALL {
        let field = format!("extra_{}", kind.as_str());
        if let Some(address) = fields.text(&field)? {
            channels.insert(channel(kind, address, &field)?);
        }
    }
    Ok(channels)
}

fn channel(kind: ChannelKind, address: String, field: &str) -> Result<Channel, Answer> {
    match kind.check(&address) {
        Ok(()) => Ok(Channel { kind, address }),
        Err(expected) => Err(Answer::refusal(format!("{field}: expected {expected}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    fn read(route: Route, content_type: &str, body: &str) -> Result<Call, String> {
        Call::read(route, None, Some(content_type), body.as_bytes())
            .map_err(|answer| format!("{} {}", answer.status.as_u16(), answer.message()))
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
            let call = read(route, content_type, body).unwrap_or_else(|error| panic!("{body}: {error}"));
            let id = CustomerId { brand_id: 2, primary_id: "A1".to_owned() };
            assert_eq!(call.customer.id, id, "{body}");
        }
    }

    #[test]
    fn the_parts_of_a_create_arrive_where_they_belong() {
        let body = r#"{"primary_id":"A1","brand_id":2,"firstname":"Özgür","channel_id":"telephone",
            "customer_link_channel":"+31201234567","ticket_id":7,"noSync":true,"city":"Den Haag"}"#;
        let customer = Customer {
            id: CustomerId { brand_id: 2, primary_id: "A1".to_owned() },
            firstname: Some("Özgür".to_owned()),
            lastname: None,
            custom: BTreeMap::from([("city".to_owned(), "Den Haag".to_owned())]),
            channels: [Channel { kind: ChannelKind::Telephone, address: "+31201234567".to_owned() }].into(),
            ticket_ids: [7].into(),
            no_sync: Some(true),
        };
        assert_eq!(read(Route::Create, JSON, body), Ok(Call { route: Route::Create, customer }));
    }

    fn check_refusals(cases: &[(Route, &str, &str, &str)]) {
        for (route, content_type, body, expected) in cases {
            let error = read(*route, content_type, body).expect_err(body);
            assert_eq!(error, *expected, "{} {body}", route.endpoint().name);
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
        let valid = [
            ("email", "a@b.nl"),
            ("email", "a+b@mail.b.nl"),
            ("telephone", "+1"),
            ("telephone", "+123456789012345"),
            ("facebook", "ann"),
            ("twitter", "Ann_1 b"),
        ];
        let invalid = [
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
        let read = |kind: &str, address: &str| {
            let mut form = url::form_urlencoded::Serializer::new("primary_id=A1&brand_id=2".to_owned());
            form.append_pair("channel_id", kind).append_pair("customer_link_channel", address);
            Call::read(Route::Create, None, Some(FORM), form.finish().as_bytes())
        };
        for (kind, address) in valid {
            assert!(read(kind, address).is_ok(), "{kind} {address}");
        }
        for (kind, address) in invalid {
            assert_eq!(read(kind, address).expect_err(address).status, 400, "{kind} {address}");
        }
    }
}
