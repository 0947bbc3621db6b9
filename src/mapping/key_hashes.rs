//! A hash of each mapped key's expression, to distinguish a changed mapping from
//! changed data.

use serde_json::json;

use super::addresses::Channel;
use super::intent::FieldName;
use super::settings::{CustomerSettings, NamePolicy};

/// A key of `[customer]` with a hash of its expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MappedKey {
    /// As in the configuration, below `customer`: `email`, `custom.segment`.
    pub(crate) key: String,
    pub(crate) subject: Subject,
    /// The same for the same expression, as long as cells are read in the same way.
    pub(crate) hash: [u8; 8],
}

/// The part of a customer that a mapped key fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The customer's key: id and brand.
    Customer,
    Field(FieldName),
    /// First and last name, from one value.
    WholeName,
    Channel(Channel),
    /// A value that accompanies a create.
    Rest,
}

impl Subject {
    /// Whether a key with this subject fills `part` of a call.
    pub(crate) fn covers(&self, part: &Self) -> bool {
        match self {
            Self::WholeName => {
                matches!(part, Self::Field(FieldName::First | FieldName::Last) | Self::WholeName)
            }
            other => other == part,
        }
    }
}

impl MappedKey {
    pub(crate) fn all(
        customer: &CustomerSettings,
        names: NamePolicy,
        custom_field_prefix: &str,
        input: &crate::source::InputSettings,
    ) -> Vec<Self> {
        let fields = customer.fields(custom_field_prefix);
        let fields = fields.filter_map(|(key, name, source)| match (key.as_str(), name) {
            ("name", FieldName::First) => Some((key, Subject::WholeName, source)),
            ("name", _) => None,
            (_, name) => Some((key, Subject::Field(name), source)),
        });
        let channels = customer.channels();
        let channels = channels
            .map(|(channel, source)| (channel.as_str().to_owned(), Subject::Channel(channel), source));
        let others = [
            ("primary_id", Subject::Customer, Some(&customer.primary_id)),
            ("brand_id", Subject::Customer, Some(&customer.brand_id)),
            ("ticket_id", Subject::Rest, customer.ticket_id.as_ref()),
            ("no_sync", Subject::Rest, customer.no_sync.as_ref()),
        ];
        let others =
            others.into_iter().filter_map(|(key, subject, source)| Some((key.to_owned(), subject, source?)));
        // How cells are read counts for all keys.
        let cells = json!([input.encoding, input.blank, input.clear]);
        let keys = others.chain(fields).chain(channels).map(|(key, subject, source)| {
            let reading = match subject {
                Subject::Field(FieldName::Custom(_)) => json!([cells, custom_field_prefix]),
                Subject::Field(_) => json!([cells, names]),
                _ => cells.clone(),
            };
            let expression = json!([source, reading]).to_string();
            let mut hash = [0; 8];
            blake3::Hasher::new().update(expression.as_bytes()).finalize_xof().fill(&mut hash);
            Self { key, subject, hash }
        });
        keys.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(custom: &str, input: &str) -> Vec<MappedKey> {
        let text = format!("primary_id = \"id\"\nbrand_id = \"brand\"\nfirstname = \"first\"\n{custom}");
        let customer = toml::from_str(&text).expect("settings");
        let input = toml::from_str(input).expect("settings");
        MappedKey::all(&customer, NamePolicy::Send, "x_", &input)
    }

    #[test]
    fn a_hash_changes_with_its_own_expression_and_with_how_cells_are_read() {
        let before = keys("[custom]\ntier = \"tier\"\n", "");
        let names: Vec<&str> = before.iter().map(|key| key.key.as_str()).collect();
        assert_eq!(names, ["primary_id", "brand_id", "firstname", "custom.tier"]);
        assert_eq!(before[3].subject, Subject::Field(FieldName::Custom("x_tier".into())));
        let other = keys("[custom]\ntier = { column = \"tier\", default = \"none\" }\n", "");
        assert_eq!(before[..3], other[..3]);
        assert_ne!(before[3].hash, other[3].hash);
        let cleared = keys("[custom]\ntier = \"tier\"\n", "clear = [\"-\"]");
        assert!(before.iter().zip(&cleared).all(|(before, after)| before.hash != after.hash));
    }
}
