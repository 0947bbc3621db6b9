//! The one table of wire names and types: the id has three spellings there
//! and the brand two types, and nobody else ever sees them.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::call::{Action, Call, CallKind};
use super::settings::BodyEncoding;
use crate::mapping::{Channel, FieldName, FieldValue};

/// Every field that the page of the customer API documents.
pub(super) const DOCUMENTED_FIELDS: [&str; 16] = [
    "primary_id",
    "brand_id",
    "firstname",
    "lastname",
    "channel_id",
    "customer_link_channel",
    "ticket_id",
    "noSync",
    "externalPrimaryID",
    "brandID",
    "extra_email",
    "extra_telephone",
    "extra_facebook",
    "extra_twitter",
    "external_id",
    "apiKey",
];

/// A call as it is sent, without host and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method.
    pub method: &'static str,
    /// The path below the base URL.
    pub path: &'static str,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl CallKind {
    /// Method and path, by the API page.
    #[must_use]
    pub fn endpoint(self) -> (&'static str, &'static str) {
        match self {
            Self::Create => ("POST", "/api/v2/customer"),
            Self::Update => ("PUT", "/api/v2/customer/updateCustomer"),
            Self::AddChannel => ("POST", "/api/v2/customer/addchannelonly"),
            Self::Purge => ("DELETE", "/api/v2/customer/purgedata"),
        }
    }
}

impl Request {
    /// A call as it is sent.
    #[must_use]
    pub fn of(call: &Call, encoding: BodyEncoding) -> Self {
        let (method, path) = call.kind().endpoint();
        let fields = Fields(fields(call));
        let (content_type, body) = match encoding {
            BodyEncoding::Json => ("application/json", fields.json()),
            BodyEncoding::Form => ("application/x-www-form-urlencoded", fields.form()),
        };
        Self { method, path, content_type, body }
    }
}

/// A value with its JSON type.
enum Scalar<'a> {
    Text(&'a str),
    Integer(u64),
    IntegerText(u64),
    True,
}

struct Fields<'a>(Vec<(Cow<'a, str>, Scalar<'a>)>);

fn fields(call: &Call) -> Vec<(Cow<'_, str>, Scalar<'_>)> {
    let id = Scalar::Text(call.customer.primary_id.as_str());
    let brand = call.customer.brand_id;
    let mut fields: Vec<(Cow<str>, Scalar)> = match call.kind() {
        CallKind::Create => vec![("primary_id".into(), id), ("brand_id".into(), Scalar::Integer(brand))],
        CallKind::Update => {
            vec![("externalPrimaryID".into(), id), ("brandID".into(), Scalar::IntegerText(brand))]
        }
        CallKind::AddChannel => {
            vec![("primary_id".into(), id), ("brand_id".into(), Scalar::IntegerText(brand))]
        }
        CallKind::Purge => vec![("external_id".into(), id), ("brand_id".into(), Scalar::Integer(brand))],
    };
    match &call.action {
        Action::Create { fields: texts, first, ticket_id, no_sync } => {
            fields.extend(texts.iter().map(text_field));
            if let Some(address) = first {
                fields.push(("channel_id".into(), Scalar::Text(address.channel().as_str())));
                fields.push(("customer_link_channel".into(), Scalar::Text(address.as_str())));
            }
            fields.extend(ticket_id.map(|ticket| ("ticket_id".into(), Scalar::Integer(ticket))));
            fields.extend(no_sync.then_some(("noSync".into(), Scalar::True)));
        }
        Action::Update { fields: texts } => fields.extend(texts.iter().map(text_field)),
        Action::AddChannel { address, no_sync } => {
            let name = match address.channel() {
                Channel::Email => "extra_email",
                Channel::Telephone => "extra_telephone",
                Channel::Facebook => "extra_facebook",
                Channel::Twitter => "extra_twitter",
            };
            fields.push((name.into(), Scalar::Text(address.as_str())));
            // Left out unless true: elsewhere its mere presence counts.
            fields.extend(no_sync.then_some(("noSync".into(), Scalar::True)));
        }
        Action::Purge => {}
    }
    fields
}

fn text_field<'a>((name, value): &'a (FieldName, FieldValue)) -> (Cow<'a, str>, Scalar<'a>) {
    let name = match name {
        FieldName::First => "firstname".into(),
        FieldName::Last => "lastname".into(),
        FieldName::Custom(name) => Cow::Borrowed(name.as_ref()),
    };
    (name, Scalar::Text(value.as_str()))
}

impl Fields<'_> {
    fn json(&self) -> String {
        // Text and integers cannot fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn form(&self) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.0 {
            match value {
                Scalar::Text(text) => form.append_pair(name, text),
                Scalar::Integer(number) | Scalar::IntegerText(number) => {
                    form.append_pair(name, &number.to_string())
                }
                Scalar::True => form.append_pair(name, "true"),
            };
        }
        form.finish()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        let mut map = writer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                Scalar::Text(text) => map.serialize_entry(name, text)?,
                Scalar::Integer(number) => map.serialize_entry(name, number)?,
                Scalar::IntegerText(number) => map.serialize_entry(name, &number.to_string())?,
                Scalar::True => map.serialize_entry(name, &true)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Address, Customer, PrimaryId};

    fn call(action: Action) -> Call {
        Call {
            customer: Customer { brand_id: 2, primary_id: PrimaryId::new("00501").expect("an id") },
            action,
        }
    }

    fn named() -> Vec<(FieldName, FieldValue)> {
        vec![
            (FieldName::First, FieldValue::Text("Ann".into())),
            (FieldName::Last, FieldValue::Clear),
            (FieldName::Custom("loyalty tier".into()), FieldValue::Text("7".into())),
        ]
    }

    fn phone() -> Address {
        Address::parse(Channel::Telephone, "+31612345678", None).expect("a number")
    }

    /// Field names and types as on the API page.
    #[test]
    fn the_four_calls_as_json() {
        let cases = [
            (
                Action::Create { fields: named(), first: Some(phone()), ticket_id: Some(9), no_sync: true },
                "POST /api/v2/customer",
                r#"{"primary_id":"00501","brand_id":2,"firstname":"Ann","lastname":"","loyalty tier":"7","channel_id":"telephone","customer_link_channel":"+31612345678","ticket_id":9,"noSync":true}"#,
            ),
            (
                Action::Create { fields: vec![], first: None, ticket_id: None, no_sync: false },
                "POST /api/v2/customer",
                r#"{"primary_id":"00501","brand_id":2}"#,
            ),
            (
                Action::Update { fields: named() },
                "PUT /api/v2/customer/updateCustomer",
                r#"{"externalPrimaryID":"00501","brandID":"2","firstname":"Ann","lastname":"","loyalty tier":"7"}"#,
            ),
            (
                Action::AddChannel { address: phone(), no_sync: false },
                "POST /api/v2/customer/addchannelonly",
                r#"{"primary_id":"00501","brand_id":"2","extra_telephone":"+31612345678"}"#,
            ),
            (Action::Purge, "DELETE /api/v2/customer/purgedata", r#"{"external_id":"00501","brand_id":2}"#),
        ];
        for (action, endpoint, body) in cases {
            let request = Request::of(&call(action), BodyEncoding::Json);
            assert_eq!(
                (format!("{} {}", request.method, request.path).as_str(), request.body.as_str()),
                (endpoint, body)
            );
        }
    }

    #[test]
    fn a_form_carries_the_same_fields() {
        let request =
            Request::of(&call(Action::AddChannel { address: phone(), no_sync: true }), BodyEncoding::Form);
        assert_eq!(request.body, "primary_id=00501&brand_id=2&extra_telephone=%2B31612345678&noSync=true");
    }
}
