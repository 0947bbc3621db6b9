//! Writes a proposal as a commented configuration.

use std::fmt::Write as _;

use super::ids::IdColumn;
use super::toml_text::{key, list, quoted, variable};
use super::{Findings, Proposal};
use crate::mapping::is_rounded;
use crate::units::{Count, counted, pluralize};

/// Columns that are listed one by one.
const CUSTOM_MAX: usize = 200;
/// Other ids to mention.
const OTHER_IDS_MAX: usize = 3;

impl Findings {
    pub(super) fn render(&self) -> Proposal {
        let id = self.primary_id();
        let mut text = String::new();
        let rows = counted((self.sample.rows.len() + self.sample.malformed) as u64, "row");
        let rows = if self.sample.is_whole {
            format!("all {rows}")
        } else {
            format!("{rows} from all over the export")
        };
        text.push_str("#:schema ./omnidesk-sync.schema.json\n");
        let _ = writeln!(text, "# Proposed from the names of the columns and {rows}: check every line.");
        for note in self.notes() {
            let _ = writeln!(text, "# Note: {note}.");
        }
        text.push_str("\n[omnidesk]\nbase_url = \"https://account.omnidesk.com\"      # your tenant\napi_key  = { env = \"OMNIDESK_API_KEY\" }        # a key with the permission CUSTOMER_CUD\n\n[limits]\nrate = \"5/s\"\n");
        self.input(&mut text);
        text.push_str("\n[customer]\n");
        text.push_str(&id);
        text.push_str("brand_id = { value = 1 }   # admin settings of Omnidesk, tab Brands\n");
        self.names(&mut text);
        self.addresses(&mut text);
        self.custom(&mut text);
        self.operation(&mut text);
        let is_readable = !self.is_unreadable() && !self.lacks_header();
        Proposal { text, is_complete: self.ids.chosen.is_some() && is_readable }
    }

    pub(super) fn name(&self, at: usize) -> &str {
        &self.columns[at].name
    }

    fn names_of(&self, columns: &[usize]) -> Vec<&str> {
        columns.iter().map(|at| self.name(*at)).collect()
    }

    /// What a person has to know or to decide.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.export_notes.clone();
        if self.lacks_header() {
            notes.push("the first row holds values and no names of columns; write a header line above it, or have it exported".to_owned());
        }
        match &self.ids.chosen {
            None => self.add_notes_without_id(&mut notes),
            Some(id) => self.add_notes_of_id(id, &mut notes),
        }
        if let Some(full) = self.names.full.filter(|_| self.names.is_turned) {
            let name = quoted(self.name(full));
            notes.push(format!(
                "{name} seems to begin with the last name; its first word becomes the first name"
            ));
        }
        if self.region.is_open {
            notes.push(self.region.reason.clone());
        }
        if self.emails.columns.is_empty() && self.telephones.columns.is_empty() {
            notes.push("no column holds e-mail addresses or telephone numbers".to_owned());
        }
        if let Some(fault) = &self.sample.first_fault {
            let rows = match self.is_unreadable() {
                true => "no row can".to_owned(),
                false => format!("{} cannot", counted(self.sample.malformed as u64, "row")),
            };
            notes.push(format!("{rows} be split into cells; on {fault}"));
        }
        notes
    }

    /// Why no column is proposed as the id.
    fn add_notes_without_id(&self, notes: &mut Vec<String>) {
        notes.push("no column looks like a customer id; set primary_id below".to_owned());
        for column in self.columns.iter().filter(|column| column.content.rounded > 0) {
            notes.push(format!(
                "{} holds numbers that a program has rounded, such as {}; export it as text",
                quoted(&column.name),
                quoted(&column.content.top.0)
            ));
        }
        for id in &self.ids.harmful {
            let name = quoted(self.name(id.at));
            notes.push(if id.is_of_company {
                format!("{name} is the id of a company, and people of one company would become one customer")
            } else {
                format!("{name} is no id: {} share it with other people", counted(id.strangers as u64, "row"))
            });
        }
    }

    /// What is to be known of the id that is proposed.
    fn add_notes_of_id(&self, id: &IdColumn, notes: &mut Vec<String>) {
        let name = quoted(self.name(id.at));
        if let Some((value, rows)) = &id.placeholder {
            let rows = counted(*rows as u64, "row");
            notes.push(format!("{rows} have {} in {name}, and would become one customer", quoted(value)));
        }
        let placeholder = id.placeholder.as_ref().map_or(0, |(_, rows)| rows - 1);
        if id.repeats > placeholder {
            let repeats = counted((id.repeats - placeholder) as u64, "row");
            notes.push(format!("{name} repeats in {repeats}; right where each is a change of one customer, wrong where it is another person"));
        }
        if id.is_of_company {
            notes.push(format!("{name} is the id of a company; right where each row is another company"));
        }
        if let Some(first) = self.rounded_ids(id.at).next() {
            let rows = pluralize(self.rounded_ids(id.at).count() as u64, "row has", "rows have");
            notes.push(format!("{rows} an id such as {first} in {name}: a spreadsheet has rounded it, and people share it; format the column as text and export again"));
        }
        if id.counts_rows(&self.columns) {
            notes.push(format!("{name} counts the rows; an id stays the same in every export"));
        }
        if !self.ids.others.is_empty() {
            let others = self.names_of(&self.ids.others);
            let others: Vec<String> = others.into_iter().take(OTHER_IDS_MAX).map(quoted).collect();
            notes.push(format!("the id may also be {}; {name} is proposed", others.join(" or ")));
        }
    }

    /// The ids that a spreadsheet has rounded.
    fn rounded_ids(&self, at: usize) -> impl Iterator<Item = &str> {
        self.columns[at].filled_cells().filter(|cell| is_rounded(cell))
    }

    fn input(&self, text: &mut String) {
        text.push_str("\n[input]\n");
        for (key, value) in &self.input {
            let _ = writeln!(text, "{key} = {value}");
        }
        if let Some(encoding) = &self.encoding {
            let encoding = quoted(&encoding.to_ascii_lowercase());
            let _ =
                writeln!(text, "encoding = {encoding}   # guessed: check the accents in `plan --show 20`");
        }
        if !self.blanks.is_empty() {
            let blanks: Vec<&str> =
                std::iter::once("").chain(self.blanks.iter().map(String::as_str)).collect();
            let _ = writeln!(text, "blank = {}   # cells that were found and mean no value", list(&blanks));
        }
    }

    fn primary_id(&self) -> String {
        let Some(id) = &self.ids.chosen else {
            let line = "primary_id = \"\"   # needed: the column with the customer's id in your own system\n";
            return line.to_owned();
        };
        let column = &self.columns[id.at];
        let content = &column.content;
        let rows = Count(content.rows as u64);
        let blank = content.rows - content.filled;
        let mut reason = match (content.filled, id.repeats, blank) {
            (0, ..) => "by its name; no row has a value".to_owned(),
            (1, 0, 0) => "by its name".to_owned(),
            (_, 0, 0) => format!("another value on each of {rows} rows"),
            (_, 0, blank) => format!("no value twice; blank on {} of {rows} rows", Count(blank as u64)),
            (_, repeats, _) => format!("{} of {rows} rows repeat a value: see above", Count(repeats as u64)),
        };
        if super::reading::Reading::new(&column.name).has(super::vocabulary::Word::Company) {
            reason += "; rows are companies";
        }
        if content.filled > 0 && content.floats == content.filled {
            let template = format!("{{{{ ({} | split('.'))[0] }}}}", variable(&column.name));
            let reason = format!("{reason}; the template cuts the .0 that a program added");
            return format!("primary_id = {{ template = {} }}   # {reason}\n", quoted(&template));
        }
        format!("primary_id = {}   # {reason}\n", quoted(&column.name))
    }

    fn names(&self, text: &mut String) {
        let names = &self.names;
        if let Some(full) = names.full {
            let _ = writeln!(text, "name = {}   # {}", quoted(self.name(full)), names.reason);
            return;
        }
        if !names.first.is_empty() {
            let columns = self.names_of(&names.first);
            let reason = if columns.len() > 1 {
                "the one that people are called by, else the other"
            } else {
                "by its name"
            };
            let _ = writeln!(text, "firstname = {}   # {reason}", list(&columns));
        }
        let Some(last) = names.last else { return };
        let has_row = self.columns.iter().any(|column| column.name == "row");
        match names.particle.filter(|_| !has_row) {
            Some(particle) => {
                let (particle, last) = (variable(self.name(particle)), variable(self.name(last)));
                let template = format!("{{{{ ({particle} ~ ' ' ~ {last}) | trim }}}}");
                let _ = writeln!(
                    text,
                    "lastname = {{ template = {} }}   # with the column of particles before it",
                    quoted(&template)
                );
            }
            None => {
                let _ = writeln!(text, "lastname = {}   # by its name", quoted(self.name(last)));
            }
        }
    }

    fn addresses(&self, text: &mut String) {
        for (field, addresses) in [
            ("email", &self.emails),
            ("telephone", &self.telephones),
            ("twitter", &self.twitter),
            ("facebook", &self.facebook),
        ] {
            if addresses.columns.is_empty() {
                continue;
            }
            let columns = list(&self.names_of(&addresses.columns));
            let mut options = String::new();
            let mut reason = addresses.reason.clone();
            if field == "telephone" {
                if let Some(column) = self.region.column {
                    let _ = write!(options, ", region_column = {}", quoted(self.name(column)));
                }
                if let Some(region) = &self.region.region {
                    let _ = write!(options, ", region = {}", quoted(region));
                }
                if self.region.is_open {
                    options += ", invalid = \"drop\"";
                    reason = "until region is set, numbers without + are left out".to_owned();
                } else if !self.region.reason.is_empty() {
                    reason.clone_from(&self.region.reason);
                }
            }
            if let Some(separator) = addresses.split {
                let _ = write!(options, ", split = {}", quoted(separator));
                reason += "; some cells hold several";
            }
            let value = match addresses.columns.as_slice() {
                [at] if field == "telephone" && self.region.lacks_plus => {
                    let number = variable(self.name(*at));
                    let template = quoted(&format!("{{{{ '+' ~ {number} if {number} }}}}"));
                    format!("{{ template = {template}{options} }}")
                }
                _ if options.is_empty() => columns,
                _ => format!("{{ column = {columns}{options} }}"),
            };
            let _ = writeln!(text, "{field} = {value}   # {reason}");
        }
    }

    fn custom(&self, text: &mut String) {
        text.push_str("\n[customer.custom]   # custom fields, by their name in Omnidesk\n");
        let mapped = self.mapped();
        let rest: Vec<usize> = (0..self.columns.len()).filter(|at| !mapped.contains(at)).collect();
        for at in rest.iter().take(CUSTOM_MAX) {
            let name = self.name(*at);
            if self.columns[*at].is_list {
                let _ = writeln!(text, "# {} holds lists", quoted(name));
                continue;
            }
            let _ = write!(text, "# {} = {}", key(name), quoted(name));
            let left_out = [&self.emails, &self.telephones, &self.twitter, &self.facebook];
            let mut reasons = left_out.iter().flat_map(|addresses| &addresses.left_out);
            let harmful = self.ids.harmful.iter().find(|id| id.at == *at);
            if let Some((_, reason)) = reasons.find(|(column, _)| column == at) {
                let _ = write!(text, "   # not mapped: {reason}");
            } else if let Some(id) = harmful {
                text.push_str(if id.is_of_company {
                    "   # not mapped: the id of a company"
                } else {
                    "   # not mapped: different people share it"
                });
            }
            text.push('\n');
        }
        if rest.len() > CUSTOM_MAX {
            let _ = writeln!(text, "# … and {} more columns", Count((rest.len() - CUSTOM_MAX) as u64));
        }
    }

    fn operation(&self, text: &mut String) {
        text.push_str("\n[operation]\ndefault = \"sync\"\n");
        if let Some((at, values)) = &self.operation {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            let _ = writeln!(
                text,
                "# column = {}   # holds {}: set values to what each of them means",
                quoted(self.name(*at)),
                values.join(", ")
            );
        }
        if let Some(tap) = &self.tap {
            let _ = writeln!(
                text,
                "\n# {}.\n[[operation.rule]]\nwhen = {}\nthen = \"skip\"",
                tap.reason,
                quoted(&tap.when)
            );
        }
    }
}
