//! The sections `[customer]`, `[customer.custom]` and `[operation]`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// What of a row becomes which field of a customer.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerSettings {
    /// The customer's id in the organisation's own system.
    pub primary_id: Value,
    /// The brand: admin settings of Omnidesk, tab Brands.
    pub brand_id: Value,
    /// First name.
    pub firstname: Option<Value>,
    /// Last name.
    pub lastname: Option<Value>,
    /// E-mail addresses.
    pub email: Option<Value>,
    /// Telephone numbers.
    pub telephone: Option<Value>,
    /// Twitter accounts.
    pub twitter: Option<Value>,
    /// Facebook accounts.
    pub facebook: Option<Value>,
    /// The ticket that a new customer is added to.
    pub ticket_id: Option<Value>,
    /// Whether other tickets stay as they are.
    pub no_sync: Option<Value>,
    /// Custom fields, by their name in Omnidesk.
    #[serde(default)]
    pub custom: BTreeMap<String, Value>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Value {
    /// The origin.
    pub from: Origin,
    /// Taken where the origin is blank.
    pub default: Option<String>,
    /// Whose national telephone numbers are understood: ISO 3166-1 alpha-2.
    pub region: Option<String>,
    /// What to do with an address that cannot be used.
    pub invalid: Invalid,
}

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Origin {
    /// One or several columns, by name.
    Columns(Vec<String>),
    /// The same for all rows.
    Constant(String),
    /// A minijinja template.
    Template(String),
}

/// `invalid`: what an address that cannot be used does to its row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Invalid {
    /// The row is rejected.
    #[default]
    Reject,
    /// The address is left out, and counted as a warning.
    Drop,
}

/// Which operation a row asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperationSettings {
    /// Where nothing else says so.
    pub default: Operation,
    /// The column that names the operation.
    pub column: Option<String>,
    /// The export's words for operations.
    pub values: BTreeMap<String, Operation>,
    /// Conditions; the first that holds wins, before `column` and `default`.
    pub rule: Vec<Rule>,
}

/// `[[operation.rule]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A minijinja expression.
    pub when: String,
    /// What it leads to.
    pub then: Operation,
}

/// What a row asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Whatever makes Omnidesk hold what the row holds.
    #[default]
    Sync,
    /// A new customer.
    Create,
    /// New values for a customer.
    Update,
    /// More addresses for a customer.
    AddChannel,
    /// The end of a customer's data.
    Purge,
    /// Nothing.
    Skip,
}

impl Operation {
    /// All of them, with the words of the configuration.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("sync", Self::Sync),
        ("create", Self::Create),
        ("update", Self::Update),
        ("add-channel", Self::AddChannel),
        ("purge", Self::Purge),
        ("skip", Self::Skip),
    ];

    /// The operation's word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, operation)| *operation == self).map_or("sync", |(word, _)| word)
    }
}

/// `names`: what to do with names outside the pattern seen on the API's pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Send them, and count them as a warning.
    #[default]
    Send,
    /// Write them in Latin letters.
    Transliterate,
    /// Reject the row.
    Reject,
}

const FORMS: &str = "a column \"name\", columns [\"a\", \"b\"], { column = \"name\" }, { value = 2 } or { template = \"{{ name }}\" }";

impl Value {
    fn new(from: Origin) -> Self {
        Self { from, default: None, region: None, invalid: Invalid::Reject }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ValueVisitor)
    }
}

/// By hand, since an untagged enum can say only that nothing fitted.
struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{FORMS}")
    }

    fn visit_str<E>(self, column: &str) -> Result<Value, E> {
        Ok(Value::new(Origin::Columns(vec![column.to_owned()])))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut columns: A) -> Result<Value, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = columns.next_element::<String>()? {
            names.push(name);
        }
        match names.is_empty() {
            true => Err(serde::de::Error::custom("the list of columns is empty")),
            false => Ok(Value::new(Origin::Columns(names))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        use serde::de::Error;
        let table = ValueTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        let mut origins = [
            table.column.map(|columns| Origin::Columns(columns.0)),
            table.value.map(|constant| Origin::Constant(constant.0)),
            table.template.map(Origin::Template),
        ]
        .into_iter()
        .flatten();
        match (origins.next(), origins.next()) {
            (Some(from), None) => Ok(Value {
                from,
                default: table.default.map(|constant| constant.0),
                region: table.region,
                invalid: table.invalid,
            }),
            (None, _) => Err(A::Error::custom("one of column, value and template is needed")),
            (Some(_), Some(_)) => {
                Err(A::Error::custom("only one of column, value and template can be given"))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueTable {
    column: Option<ColumnNames>,
    value: Option<Constant>,
    template: Option<String>,
    default: Option<Constant>,
    region: Option<String>,
    #[serde(default)]
    invalid: Invalid,
}

/// One name or several.
struct ColumnNames(Vec<String>);

impl<'de> Deserialize<'de> for ColumnNames {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        match Value::deserialize(reader)?.from {
            Origin::Columns(names) => Ok(Self(names)),
            _ => Err(serde::de::Error::custom("a column's name, or a list of them, is needed")),
        }
    }
}

/// A constant: TOML's own types, as text.
struct Constant(String);

impl<'de> Deserialize<'de> for Constant {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct ConstantVisitor;
        impl Visitor<'_> for ConstantVisitor {
            type Value = Constant;
            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("a text, a whole number, true or false")
            }
            fn visit_str<E>(self, text: &str) -> Result<Constant, E> {
                Ok(Constant(text.to_owned()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Constant, E> {
                Ok(Constant(number.to_string()))
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Constant, E> {
                Ok(Constant(truth.to_string()))
            }
        }
        reader.deserialize_any(ConstantVisitor)
    }
}
