//! The sections `[customer]`, `[customer.custom]` and `[operation]`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::addresses::Channel;
use super::intent::FieldName;
use super::operation::Operation;

/// The origin of each field of a customer.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerSettings {
    /// The customer's id in the organisation's own system.
    pub primary_id: FieldSource,
    /// The brand: admin settings of Omnidesk, tab Brands.
    pub brand_id: FieldSource,
    /// The whole name, in place of the next two: the first word, and the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<FieldSource>,
    pub firstname: Option<FieldSource>,
    pub lastname: Option<FieldSource>,
    pub email: Option<FieldSource>,
    pub telephone: Option<FieldSource>,
    pub twitter: Option<FieldSource>,
    pub facebook: Option<FieldSource>,
    /// The ticket that a new customer is added to.
    pub ticket_id: Option<FieldSource>,
    /// Whether other tickets stay as they are.
    pub no_sync: Option<FieldSource>,
    /// Custom fields, by their name in Omnidesk.
    #[serde(default)]
    pub custom: BTreeMap<String, FieldSource>,
}

impl CustomerSettings {
    /// With nothing but the id and the brand.
    pub(crate) fn new(primary_id: FieldSource, brand_id: FieldSource) -> Self {
        Self {
            primary_id,
            brand_id,
            name: None,
            firstname: None,
            lastname: None,
            email: None,
            telephone: None,
            twitter: None,
            facebook: None,
            ticket_id: None,
            no_sync: None,
            custom: BTreeMap::new(),
        }
    }

    /// The mapped text fields with their keys in `[customer]`.
    pub(super) fn fields(
        &self,
        custom_prefix: &str,
    ) -> impl Iterator<Item = (String, FieldName, &FieldSource)> {
        let names = [
            ("name", FieldName::First, &self.name),
            ("name", FieldName::Last, &self.name),
            ("firstname", FieldName::First, &self.firstname),
            ("lastname", FieldName::Last, &self.lastname),
        ];
        let names =
            names.into_iter().filter_map(|(key, name, from)| Some((key.to_owned(), name, from.as_ref()?)));
        let custom = self.custom.iter().map(move |(name, from)| {
            (format!("custom.{name}"), FieldName::Custom(format!("{custom_prefix}{name}").into()), from)
        });
        names.chain(custom)
    }

    /// Keys that contradict each other, and keys of addresses elsewhere.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.name.is_some() && (self.firstname.is_some() || self.lastname.is_some()) {
            let problem =
                "the whole name takes the place of firstname and lastname; leave out one or the other";
            problems.push(format!("customer.name: {problem}"));
        }
        if self.primary_id.map.is_some() {
            problems.push("customer.primary_id: map is for fields; an id is the export's own".to_owned());
        }
        let others = [
            ("primary_id", Some(&self.primary_id)),
            ("brand_id", Some(&self.brand_id)),
            ("ticket_id", self.ticket_id.as_ref()),
            ("no_sync", self.no_sync.as_ref()),
        ];
        let others = others.into_iter().filter_map(|(key, source)| Some((key.to_owned(), source?)));
        let accompanying = others.clone().filter(|(key, _)| key != "ticket_id");
        let channels = self.channels().map(|(channel, source)| (channel.as_str().to_owned(), source));
        for (key, _) in accompanying.chain(channels).filter(|(_, source)| source.on == SentOn::Create) {
            let reason = match key.as_str() {
                "primary_id" | "brand_id" => "every call names its customer by id and brand",
                "no_sync" => "it goes with each address that is added, also after the create",
                _ => "an address is added once, and no call changes one",
            };
            problems
                .push(format!("customer.{key}: on = \"create\" is for names and custom fields; {reason}"));
        }
        let fields = self.fields("").map(|(key, _, source)| (key, source));
        for (key, source) in others.chain(fields) {
            if source.split.is_some() {
                problems.push(format!("customer.{key}: split is for addresses"));
            }
            if source.map.is_some() && matches!(source.from, FieldOrigin::Constant(_)) {
                problems.push(format!("customer.{key}: map needs a column or a template"));
            }
        }
        for (channel, source) in self.channels() {
            let key = channel.as_str();
            if source.map.is_some() {
                problems.push(format!("customer.{key}: map is for fields, not for addresses"));
            }
            if channel != Channel::Telephone && source.region_column.is_some() {
                problems.push(format!("customer.{key}: region_column is for telephone"));
            }
            if source.split.as_ref().is_some_and(String::is_empty) {
                problems.push(format!(
                    "customer.{key}: split needs the text between two addresses, such as \";\""
                ));
            }
        }
        problems
    }

    /// The mapped channels, in the order in which a customer's addresses are sent.
    pub(super) fn channels(&self) -> impl Iterator<Item = (Channel, &FieldSource)> {
        let channels = [
            (Channel::Email, &self.email),
            (Channel::Telephone, &self.telephone),
            (Channel::Facebook, &self.facebook),
            (Channel::Twitter, &self.twitter),
        ];
        channels.into_iter().filter_map(|(channel, from)| Some((channel, from.as_ref()?)))
    }
}

/// Where the value of a field comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldSource {
    pub from: FieldOrigin,
    /// Used if the origin is blank; with `map`, if its value is not in there.
    pub default: Option<String>,
    /// The values that are sent in place of the export's. A blank is looked up as
    /// the empty text, and stays a blank without an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<BTreeMap<String, String>>,
    /// The region of national telephone numbers: ISO 3166-1 alpha-2.
    pub region: Option<String>,
    /// The column that names the region of the row's national numbers. `region`
    /// then counts where its cell is blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_column: Option<String>,
    /// The text between two addresses in one cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    pub invalid: InvalidAddress,
    #[serde(skip_serializing_if = "SentOn::is_default")]
    pub on: SentOn,
}

/// `on`: the calls that carry a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SentOn {
    /// The create, and updates when the value changes.
    #[default]
    Change,
    /// The create alone, so that what agents change stays.
    Create,
}

impl SentOn {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum FieldOrigin {
    /// One or several columns, by name.
    Columns(Vec<String>),
    /// The same for all rows.
    Constant(String),
    /// A minijinja template.
    Template(String),
}

/// `invalid`: the effect of an unusable address on its row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvalidAddress {
    /// The row is rejected.
    #[default]
    Reject,
    /// The address is omitted, with a warning.
    Drop,
}

/// How the operation of a row is found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperationSettings {
    /// Used if neither a rule nor the column decides.
    pub default: Operation,
    /// The column that names the operation.
    pub column: Option<String>,
    /// The export's words for operations.
    pub values: BTreeMap<String, Operation>,
    /// Conditions; the first that holds wins, before `column` and `default`.
    pub rule: Vec<Rule>,
    /// What follows if a customer to be created exists.
    pub on_exists: OnExists,
    /// What follows if a customer to be updated does not exist.
    pub on_missing: OnMissing,
}

/// `on_exists`: what follows if a customer to be created exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExists {
    /// The row becomes an update.
    #[default]
    Update,
    /// The customer stays as it is, and the row is skipped.
    Skip,
    /// Likewise, and the row fails.
    Fail,
}

/// `on_missing`: what follows if a customer to be updated does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// The row becomes a create.
    #[default]
    Create,
    /// Nobody is created, and the row is skipped.
    Skip,
    /// Likewise, and the row fails.
    Fail,
}

/// `[[operation.rule]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A minijinja expression.
    pub when: String,
    /// The operation of rows for which it holds.
    pub then: Operation,
}

/// `names`: how names outside the pattern of the API's pages are handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NamePolicy {
    /// Send them, with a warning.
    #[default]
    Send,
    /// Write them in Latin letters.
    Transliterate,
    /// Reject the row.
    Reject,
}

impl From<FieldOrigin> for FieldSource {
    fn from(from: FieldOrigin) -> Self {
        Self {
            from,
            default: None,
            map: None,
            region: None,
            region_column: None,
            split: None,
            invalid: InvalidAddress::Reject,
            on: SentOn::Change,
        }
    }
}

impl JsonSchema for FieldSource {
    fn schema_name() -> Cow<'static, str> {
        "FieldSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (columns, table) = (columns_schema(generator), generator.subschema_for::<FieldTable>());
        json_schema!({
            "description": "A column, a list of columns, or a table.",
            "anyOf": [columns, table],
        })
    }
}

fn columns_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ],
    })
}

impl<'de> Deserialize<'de> for FieldSource {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(FieldSourceVisitor)
    }
}

/// By hand: the error of an untagged enum says only that nothing fits.
struct FieldSourceVisitor;

impl<'de> Visitor<'de> for FieldSourceVisitor {
    type Value = FieldSource;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(
            "a column \"name\", columns [\"a\", \"b\"], { column = \"name\" }, { value = 2 } or { template = \"{{ name }}\" }",
        )
    }

    fn visit_str<E>(self, column: &str) -> Result<FieldSource, E> {
        Ok(FieldOrigin::Columns(vec![column.to_owned()]).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, columns: A) -> Result<FieldSource, A::Error> {
        let names = Vec::deserialize(SeqAccessDeserializer::new(columns))?;
        if names.is_empty() {
            return Err(A::Error::custom("the list of columns is empty"));
        }
        Ok(FieldOrigin::Columns(names).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldSource, A::Error> {
        let table = FieldTable::deserialize(MapAccessDeserializer::new(map))?;
        let from = match (&table.column, &table.value, &table.template) {
            (Some(names), None, None) => FieldOrigin::Columns(names.clone()),
            (None, Some(Constant(text)), None) => FieldOrigin::Constant(text.clone()),
            (None, None, Some(template)) => FieldOrigin::Template(template.clone()),
            (None, None, None) => {
                return Err(A::Error::custom("one of column, value and template is needed"));
            }
            _ => return Err(A::Error::custom("only one of column, value and template can be given")),
        };
        let FieldTable { default, map, region, region_column, split, invalid, on, .. } = table;
        let map = map.map(|map| map.into_iter().map(|(value, Constant(sent))| (value, sent)).collect());
        let default = default.map(|Constant(text)| text);
        Ok(FieldSource { from, default, map, region, region_column, split, invalid, on })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["column"] }, { "required": ["value"] }, { "required": ["template"] }]))]
struct FieldTable {
    #[serde(default, deserialize_with = "column_names")]
    #[schemars(schema_with = "columns_schema")]
    column: Option<Vec<String>>,
    value: Option<Constant>,
    template: Option<String>,
    default: Option<Constant>,
    map: Option<BTreeMap<String, Constant>>,
    region: Option<String>,
    region_column: Option<String>,
    split: Option<String>,
    #[serde(default)]
    invalid: InvalidAddress,
    #[serde(default)]
    on: SentOn,
}

/// One name or several.
fn column_names<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Vec<String>>, D::Error> {
    match FieldSource::deserialize(reader)?.from {
        FieldOrigin::Columns(names) => Ok(Some(names)),
        _ => Err(D::Error::custom("the name of a column, or a list of names, is needed")),
    }
}

/// A value of one of TOML's own types, as text.
#[derive(Deserialize, JsonSchema)]
#[serde(from = "TomlValue")]
struct Constant(String);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text, a whole number, true or false is needed")]
enum TomlValue {
    Text(String),
    Number(i64),
    Truth(bool),
}

impl From<TomlValue> for Constant {
    fn from(value: TomlValue) -> Self {
        Self(match value {
            TomlValue::Text(text) => text,
            TomlValue::Number(number) => number.to_string(),
            TomlValue::Truth(truth) => truth.to_string(),
        })
    }
}
