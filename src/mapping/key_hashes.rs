//! A mark of what stands behind each mapped key, so that a changed mapping can
//! be told from changed data.

use serde_json::{Value as Json, json};

use super::addresses::Channel;
use super::intent::FieldName;
use super::settings::{CustomerSettings, Names, Value};

/// A key of `[customer]` with a mark of its expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedKey {
    /// As in the configuration, below `customer`: `email`, `custom.segment`.
    pub key: String,
    /// What it fills.
    pub subject: Subject,
    /// The same for the same expression read in the same way.
    pub mark: [u8; 8],
}

/// What a mapped key fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Who the customer is.
    Customer,
    /// A text field.
    Field(FieldName),
    /// Addresses.
    Channel(Channel),
    /// What a create is accompanied by.
    Rest,
}

impl MappedKey {
    /// The keys that are mapped, with their marks.
    #[must_use]
    pub fn all(
        customer: &CustomerSettings,
        names: Names,
        custom_field_prefix: &str,
        input: &crate::source::InputSettings,
    ) -> Vec<Self> {
        // How cells are read counts for all of them.
        let reading = json!([input.encoding, input.blank, input.clear]);
        let named = json!([reading, names]);
        let custom = json!([reading, custom_field_prefix]);
        let key = |key: &str, subject, value: &Option<Value>, reading: &Json| {
            value.as_ref().map(|value| Self { key: key.to_owned(), subject, mark: mark(value, reading) })
        };
        let (id, brand) = (Some(customer.primary_id.clone()), Some(customer.brand_id.clone()));
        let mut keys = vec![
            key("primary_id", Subject::Customer, &id, &reading),
            key("brand_id", Subject::Customer, &brand, &reading),
            key("firstname", Subject::Field(FieldName::First), &customer.firstname, &named),
            key("lastname", Subject::Field(FieldName::Last), &customer.lastname, &named),
            key("email", Subject::Channel(Channel::Email), &customer.email, &reading),
            key("telephone", Subject::Channel(Channel::Telephone), &customer.telephone, &reading),
            key("facebook", Subject::Channel(Channel::Facebook), &customer.facebook, &reading),
            key("twitter", Subject::Channel(Channel::Twitter), &customer.twitter, &reading),
            key("ticket_id", Subject::Rest, &customer.ticket_id, &reading),
            key("no_sync", Subject::Rest, &customer.no_sync, &reading),
        ];
        for (name, value) in &customer.custom {
            let field = FieldName::Custom(format!("{custom_field_prefix}{name}").into());
            let subject = Subject::Field(field);
            keys.push(key(&format!("custom.{name}"), subject, &Some(value.clone()), &custom));
        }
        keys.into_iter().flatten().collect()
    }
}

fn mark(value: &Value, reading: &Json) -> [u8; 8] {
    let hash = blake3::hash(json!([value, reading]).to_string().as_bytes());
    let mut mark = [0; 8];
    mark.copy_from_slice(&hash.as_bytes()[..8]);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(custom: &str, clear: &str) -> Vec<MappedKey> {
        let text = format!("primary_id = \"id\"\nbrand_id = \"brand\"\nfirstname = \"first\"\n{custom}");
        let customer = toml::from_str(&text).expect("settings");
        let input = toml::from_str(clear).expect("settings");
        MappedKey::all(&customer, Names::Send, "x_", &input)
    }

    #[test]
    fn a_mark_changes_with_its_own_expression_and_with_how_cells_are_read() {
        let before = keys("[custom]\ntier = \"tier\"\n", "");
        let names: Vec<&str> = before.iter().map(|key| key.key.as_str()).collect();
        assert_eq!(names, ["primary_id", "brand_id", "firstname", "custom.tier"]);
        assert_eq!(before[3].subject, Subject::Field(FieldName::Custom("x_tier".into())));
        let other = keys("[custom]\ntier = { column = \"tier\", default = \"none\" }\n", "");
        assert_eq!(before[..3], other[..3]);
        assert_ne!(before[3].mark, other[3].mark);
        let cleared = keys("[custom]\ntier = \"tier\"\n", "clear = [\"-\"]");
        assert!(before.iter().zip(&cleared).all(|(before, after)| before.mark != after.mark));
    }
}
