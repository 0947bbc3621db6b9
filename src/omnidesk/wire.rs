//! The one table of wire names and types. The id has three spellings there and
//! the brand two types; nothing outside this file knows them.

use std::borrow::Cow;

use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::call::{Action, Call, CallKind, extra_field};
use crate::mapping::{FieldName, FieldValue};

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

/// `body`: the page of the customer API names neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BodyEncoding {
    /// `application/json`
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// A call as it is sent, without host and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Below the base URL.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl CallKind {
    /// Method and path.
    pub(super) fn endpoint(self) -> (Method, &'static str) {
        match self {
            Self::Create => (Method::POST, "/api/v2/customer"),
            Self::Update => (Method::PUT, "/api/v2/customer/updateCustomer"),
            Self::AddChannel => (Method::POST, "/api/v2/customer/addchannelonly"),
            Self::Purge => (Method::DELETE, "/api/v2/customer/purgedata"),
        }
    }
}

impl Request {
    pub(crate) fn new(call: &Call, encoding: BodyEncoding) -> Self {
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
#[derive(Serialize)]
#[serde(untagged)]
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Integer(u64),
    Flag(bool),
}

/// Name and value.
type Field<'a> = (&'a str, Scalar<'a>);

struct Fields<'a>(Vec<Field<'a>>);

fn fields(call: &Call) -> Vec<Field<'_>> {
    use Scalar::{Integer, Text};
    let id = Text(call.customer.primary_id.as_str().into());
    let brand = call.customer.brand_id;
    let mut fields = Vec::new();
    match &call.action {
        Action::Create { fields: values, first, ticket_id, no_sync } => {
            fields.extend([("primary_id", id), ("brand_id", Integer(brand))]);
            fields.extend(values.iter().map(value_field));
            if let Some(address) = first {
                fields.push(("channel_id", Text(address.channel().as_str().into())));
                fields.push(("customer_link_channel", Text(address.as_str().into())));
            }
            fields.extend(ticket_id.map(|ticket| ("ticket_id", Integer(ticket))));
            fields.extend(no_sync_field(*no_sync));
        }
        Action::Update { fields: values } => {
            fields.extend([("externalPrimaryID", id), ("brandID", Text(brand.to_string().into()))]);
            fields.extend(values.iter().map(value_field));
        }
        Action::AddChannel { address, no_sync } => {
            fields.extend([("primary_id", id), ("brand_id", Text(brand.to_string().into()))]);
            fields.push((extra_field(address.channel()), Text(address.as_str().into())));
            fields.extend(no_sync_field(*no_sync));
        }
        Action::Purge => fields.extend([("external_id", id), ("brand_id", Integer(brand))]),
    }
    fields
}

/// Left out unless true: elsewhere its mere presence counts.
fn no_sync_field(no_sync: bool) -> Option<Field<'static>> {
    no_sync.then_some(("noSync", Scalar::Flag(true)))
}

fn value_field((name, value): &(FieldName, FieldValue)) -> Field<'_> {
    let name = match name {
        FieldName::First => "firstname",
        FieldName::Last => "lastname",
        FieldName::Custom(name) => name,
    };
    (name, Scalar::Text(value.as_str().into()))
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
                Scalar::Integer(number) => form.append_pair(name, &number.to_string()),
                Scalar::Flag(flag) => form.append_pair(name, &flag.to_string()),
            };
        }
        form.finish()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Address, Channel, Customer, PrimaryId};

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
            let request = Request::new(&call(action), BodyEncoding::Json);
            assert_eq!(
                (format!("{} {}", request.method, request.path).as_str(), request.body.as_str()),
                (endpoint, body)
            );
        }
    }

    #[test]
    fn a_form_carries_the_same_fields() {
        let request =
            Request::new(&call(Action::AddChannel { address: phone(), no_sync: true }), BodyEncoding::Form);
        assert_eq!(request.body, "primary_id=00501&brand_id=2&extra_telephone=%2B31612345678&noSync=true");
    }
}
