//! Where the rows of a JSON file stand: decided once, from its outline.

use super::outline::{Node, NodeValue, Outline};
use crate::source::error::ExportFault;
use crate::source::signatures::FileKind;

/// How the rows of a file stand in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One a line.
    Lines,
    Rows(RowLayout),
}

/// Rows that are copied as lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RowLayout {
    /// The members that lead to them from each value at the top.
    pub(super) path: Vec<String>,
    pub(super) form: Form,
    /// What a person should know of it.
    pub(super) note: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// Each object is a row, also in a list.
    #[default]
    Objects,
    /// Each member of an object is a row, and its key a further member of this name.
    Members(Option<&'static str>),
    /// Each list is a row, inside of so many others.
    Cells { names: Vec<String>, depth: usize },
}

/// The member that holds the key of a row.
const KEY_NAME: &str = "_key";

/// Names of lists that hold rows of any kind.
const ROW_LISTS: [&str; 15] = [
    "records", "record", "data", "results", "result", "items", "value", "values", "rows", "entries",
    "objects", "list", "hits", "elements", "nodes",
];
/// Parts of the names of lists with people, and with something else.
const PEOPLE: [&str; 19] = [
    "contact",
    "customer",
    "client",
    "klant",
    "kund",
    "person",
    "people",
    "user",
    "member",
    "leden",
    "mitglied",
    "subscriber",
    "profile",
    "relatie",
    "debit",
    "debtor",
    "patient",
    "kontakt",
    "buyer",
];
const OTHERS: [&str; 33] = [
    "compan", "organi", "account", "order", "invoice", "product", "include", "error", "warning", "meta",
    "link", "tag", "deal", "ticket", "note", "owner", "agent", "staff", "column", "field", "schema",
    "bedrij", "firm", "bestell", "factu", "rechnung", "payment", "event", "phone", "mail", "address",
    "adres", "employee",
];
/// An object with such a member is a row itself.
const OWN_NAMES: [&str; 21] = [
    "id",
    "uuid",
    "guid",
    "email",
    "mail",
    "emailaddress",
    "emailadres",
    "name",
    "naam",
    "firstname",
    "lastname",
    "fullname",
    "voornaam",
    "achternaam",
    "vorname",
    "nachname",
    "prenom",
    "phone",
    "telephone",
    "telefoon",
    "telefon",
];
const ID_SUBJECTS: [&str; 13] = [
    "person", "account", "debtor", "external", "customer", "client", "klant", "kunde", "contact", "relatie",
    "debiteur", "user", "member",
];
const ID_ENDS: [&str; 7] = ["id", "nummer", "number", "nr", "no", "code", "key"];
/// Parts of the names of members beside a list in a page of an API.
const PAGE_WORDS: [&str; 25] = [
    "page", "total", "count", "size", "limit", "offset", "cursor", "next", "prev", "more", "status",
    "success", "ok", "url", "link", "time", "date", "version", "request", "meta", "first", "last", "start",
    "error", "kind",
];
/// Names of members of an API's error message.
const ERROR_WORDS: [&str; 32] = [
    "error",
    "errors",
    "message",
    "messages",
    "status",
    "statuscode",
    "statustext",
    "code",
    "detail",
    "details",
    "title",
    "type",
    "description",
    "errordescription",
    "errorcode",
    "erroruri",
    "errormessage",
    "requestid",
    "traceid",
    "correlationid",
    "success",
    "ok",
    "timestamp",
    "path",
    "instance",
    "category",
    "reason",
    "data",
    "fault",
    "msg",
    "hint",
    "documentationurl",
];
const ERROR_SIGNS: [&str; 8] =
    ["error", "errors", "message", "errordescription", "errormessage", "detail", "fault", "msg"];
/// Rows under keys that may be words, such as names of users.
const WORD_KEYS_MIN: u64 = 8;
/// Rows under keys that have the form of ids.
const KEYS_MIN: u64 = 3;
/// A list lies inside of so many objects.
const DEPTH_MAX: usize = 4;

/// A list, or an object in place of one, that may hold the rows.
struct Candidate<'a> {
    path: Vec<String>,
    elements: Vec<&'a Node>,
    len: u64,
    is_map: bool,
}

impl Layout {
    pub(super) fn new(outline: &Outline) -> Result<Self, ExportFault> {
        if outline.is_broken {
            return Ok(Self::Lines);
        }
        let is_list = outline.roots.iter().any(Node::is_list);
        let mut roots = Vec::new();
        outline.roots.iter().for_each(|root| add_rows(root, 0, &mut roots));
        if let Some((first, depth)) = roots.first().filter(|(root, _)| root.is_list()) {
            let names = header(first).ok_or(ExportFault::NoTable(NAMELESS))?;
            return Ok(Self::Rows(RowLayout {
                form: Form::Cells { names, depth: *depth },
                ..RowLayout::default()
            }));
        }
        let objects: Vec<&Node> =
            roots.iter().map(|(root, _)| *root).filter(|root| root.is_object()).collect();
        let is_only = outline.is_whole && objects.len() == 1;
        if is_only && is_error(objects[0]) {
            return Err(ExportFault::NoTable(ERROR_MESSAGE));
        }
        if is_only && is_columnwise(objects[0]) {
            return Err(ExportFault::NoTable(COLUMNWISE));
        }
        if let Some(rows) = rows_inside(&objects, is_only)? {
            return Ok(Self::Rows(rows));
        }
        let is_reflowed = is_list || outline.is_reflowed;
        Ok(if is_reflowed { Self::Rows(RowLayout::default()) } else { Self::Lines })
    }
}

const NAMELESS: FileKind = FileKind {
    name: "lists of values without names",
    remedy: "export the rows as objects, or put a list with the names of the columns first",
};
const COLUMNWISE: FileKind = FileKind {
    name: "an object with one column in each member",
    remedy: "export one object a row; with pandas by to_json(…, orient=\"records\", lines=True)",
};
const ERROR_MESSAGE: FileKind = FileKind {
    name: "the error message of an API and not the export",
    remedy: "download the export again, and check the address, the key and its rights",
};

/// The values that may be rows: lists of others stand for these.
fn add_rows<'a>(node: &'a Node, depth: usize, found: &mut Vec<(&'a Node, usize)>) {
    if node.is_list() && !node.is_row_of_cells() {
        node.elements().iter().for_each(|element| add_rows(element, depth + 1, found));
    } else {
        found.push((node, depth));
    }
}

/// The names in a list of texts, if they are no values.
fn header(node: &Node) -> Option<Vec<String>> {
    let is_name = |text: &str| {
        text.contains(|letter: char| letter.is_alphabetic()) && !text.contains('@') && text.trim() == text
    };
    let names = node.elements().iter().map(|cell| match &cell.value {
        NodeValue::Text(text) if is_name(text) => Some(text.clone()),
        _ => None,
    });
    let names: Vec<String> = names.collect::<Option<_>>()?;
    let is_distinct = names.iter().enumerate().all(|(at, name)| !names[..at].contains(name));
    (is_distinct && names.len() > 1 && names.len() as u64 == node.len()).then_some(names)
}

/// Rows in a list or in an object inside of the values at the top.
fn rows_inside(roots: &[&Node], is_only: bool) -> Result<Option<RowLayout>, ExportFault> {
    if let Some(rows) = map_over_lines(roots, is_only) {
        return Ok(Some(rows));
    }
    let are_pages = roots.iter().all(|root| is_page(root));
    let is_wrapped = if is_only { is_map(roots[0], &[])? || !has_own_member(roots[0]) } else { are_pages };
    if !is_wrapped {
        return Ok(None);
    }
    let mut found = Vec::new();
    for root in roots {
        collect(root, &mut Vec::new(), &mut found, is_only)?;
    }
    let Some(chosen) = choose(&found, are_pages)? else { return Ok(None) };
    let others = found.iter().filter(|other| other.path != chosen.path && other.len > 0);
    let others: Vec<String> = others.map(|other| format!("{:?}", other.path.join("."))).collect();
    rows_of(chosen, roots, &others).map(Some)
}

fn rows_of(chosen: &Candidate, roots: &[&Node], others: &[String]) -> Result<RowLayout, ExportFault> {
    let path = chosen.path.clone();
    let name = path.join(".");
    let first = chosen.elements.first();
    let (form, mut note) = if chosen.is_map {
        let has_key = chosen.elements.iter().any(|element| member(element, KEY_NAME).is_some());
        let key = (!has_key).then_some(KEY_NAME);
        let object = if path.is_empty() { "the object".to_owned() } else { format!("the object {name:?}") };
        let key_note = key.map(|key| format!(", and its name is the column {key:?}")).unwrap_or_default();
        (Form::Members(key), format!("each member of {object} is a row{key_note}"))
    } else if first.is_some_and(|first| first.is_row_of_cells()) {
        let names = roots.iter().find_map(|root| names_beside(root, &path, first.map_or(0, |row| row.len())));
        let names = names.or_else(|| header(first?)).ok_or(ExportFault::NoTable(NAMELESS))?;
        (Form::Cells { names, depth: 1 }, format!("the rows are the lists in the list {name:?}"))
    } else {
        (Form::Objects, format!("the rows are the objects in the list {name:?}"))
    };
    if !others.is_empty() {
        let verb = if others.len() == 1 { "is" } else { "are" };
        note += &format!("; {} {verb} not read", others.join(", "));
    }
    Ok(RowLayout { path, form, note: Some(note) })
}

/// The names of columns in a list beside that of the rows: `{"columns":[…],"data":[[…]]}`.
fn names_beside(root: &Node, path: &[String], cells: u64) -> Option<Vec<String>> {
    let mut holder = root;
    for key in &path[..path.len().checked_sub(1)?] {
        holder = member(holder, key)?;
    }
    let lists = holder.members().iter().filter(|list| list.len() == cells);
    lists.filter_map(header).next()
}

/// Objects that each hold some rows by their keys.
fn map_over_lines(roots: &[&Node], is_only: bool) -> Option<RowLayout> {
    let members: Vec<&Node> = roots.iter().flat_map(|root| root.members()).collect();
    let mut keys: Vec<&str> = members.iter().map(|member| &*member.key).collect();
    keys.sort_unstable();
    let count = keys.len();
    keys.dedup();
    let is_map = !is_only
        && roots.len() > 1
        && keys.len() == count
        && members.iter().all(|member| member.is_object() && is_id(&member.key))
        && are_alike(&members);
    is_map.then(|| {
        let note = format!("each member of an object is a row, and its name is the column {KEY_NAME:?}");
        RowLayout { path: Vec::new(), form: Form::Members(Some(KEY_NAME)), note: Some(note) }
    })
}

/// Finds the lists and the objects that may hold rows.
fn collect<'a>(
    node: &'a Node,
    path: &mut Vec<String>,
    found: &mut Vec<Candidate<'a>>,
    is_only: bool,
) -> Result<(), ExportFault> {
    if is_only && is_map(node, path)? {
        add(
            Candidate {
                path: path.clone(),
                elements: node.members().iter().collect(),
                len: node.len(),
                is_map: true,
            },
            found,
        );
        return Ok(());
    }
    for child in node.members() {
        path.push(child.key.clone());
        let is_rows = child.elements().first().is_none_or(|first| first.is_object() || first.is_list());
        if child.is_list() && is_rows {
            let mut rows = Vec::new();
            child.elements().iter().for_each(|element| add_rows(element, 1, &mut rows));
            let elements = rows.into_iter().map(|(row, _)| row).collect();
            add(Candidate { path: path.clone(), elements, len: child.len(), is_map: false }, found);
        } else if child.is_object() && path.len() < DEPTH_MAX {
            collect(child, path, found, is_only)?;
        }
        path.pop();
    }
    Ok(())
}

/// Adds what is found under a path in a further page.
fn add<'a>(candidate: Candidate<'a>, found: &mut Vec<Candidate<'a>>) {
    match found.iter_mut().find(|own| own.path == candidate.path) {
        Some(own) => {
            own.elements.extend(candidate.elements);
            own.len += candidate.len;
        }
        None => found.push(candidate),
    }
}

fn member<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.members().iter().find(|member| member.key == key)
}

/// Small letters and digits.
fn squash(key: &str) -> String {
    key.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_own_name(key: &str) -> bool {
    let key = squash(key);
    OWN_NAMES.contains(&&*key)
        || ID_SUBJECTS.iter().any(|subject| key.starts_with(subject))
            && ID_ENDS.iter().any(|end| key.ends_with(end))
}

/// Whether an object, or one inside of it, has a member that a row has.
fn has_own_member(node: &Node) -> bool {
    let mut members = node.members().iter();
    members.any(|member| match member.value {
        NodeValue::List(..) => false,
        // The rows of a map are no members of the object around it.
        NodeValue::Object(..) => is_map(member, &[]).is_ok_and(|is_map| !is_map) && has_own_member(member),
        _ => is_own_name(&member.key),
    })
}

/// Whether all that stands beside lists belongs to a page.
fn is_page(node: &Node) -> bool {
    node.members().iter().all(|member| match member.value {
        NodeValue::List(..) => true,
        NodeValue::Object(..) => is_page(member),
        NodeValue::Bare(ref word) if word == "null" => true,
        _ => {
            let key = squash(&member.key);
            PAGE_WORDS.iter().any(|word| key.contains(word)) && !is_own_name(&key)
        }
    })
}

/// Whether each member of an object is a row.
fn is_map(node: &Node, path: &[String]) -> Result<bool, ExportFault> {
    let members: Vec<&Node> = node.members().iter().collect();
    if members.is_empty() || !members.iter().all(|member| member.is_object()) || !are_alike(&members) {
        return Ok(false);
    }
    let len = node.len();
    let are_ids = members.iter().all(|member| is_id(&member.key));
    let have_signs = members.iter().all(|member| has_sign_of_id(&member.key));
    let are_people = members.iter().filter(|member| people_signs(member) > 0).count() * 2 > members.len();
    if are_ids || are_people && (have_signs && len >= KEYS_MIN || len >= WORD_KEYS_MIN) {
        return Ok(true);
    }
    if len < 2 || !are_people {
        return Ok(false);
    }
    let keys = members.iter().map(|member| member.key.clone()).collect();
    Err(ExportFault::RowsOrMembers { jq: jq_filter(path, true), keys })
}

/// Whether most members have most of their keys in common.
fn are_alike(members: &[&Node]) -> bool {
    let holders = |key: &str| members.iter().filter(|member| self::member(member, key).is_some()).count();
    let alike = members.iter().filter(|member| {
        let own = member.members();
        let common = own.iter().filter(|own| 2 * holders(&own.key) > members.len()).count();
        common > 0 && 2 * common >= own.len()
    });
    let filled = members.iter().filter(|member| member.len() > 0).count();
    filled > 0 && 4 * alike.count() >= 3 * filled
}

/// Digits, a UUID, or a long key such as Firebase makes.
fn is_id(key: &str) -> bool {
    let has_digit = key.bytes().any(|byte| byte.is_ascii_digit());
    has_digit && key.bytes().all(|byte| byte.is_ascii_digit())
        || key.len() >= 16 && (has_digit || key.starts_with('-'))
}

fn has_sign_of_id(key: &str) -> bool {
    key.len() >= 16 || key.bytes().any(|byte| byte.is_ascii_digit() || byte == b'@')
}

/// Whether an object holds columns: by the number of the row, or as lists.
fn is_columnwise(node: &Node) -> bool {
    let members = node.members();
    let is_scalar = |node: &Node| !node.is_object() && !node.is_list();
    let is_numbered = |column: &Node| {
        column.is_object()
            && column.len() > 0
            && column
                .members()
                .iter()
                .enumerate()
                .all(|(at, cell)| cell.key == at.to_string() && is_scalar(cell))
    };
    let is_column = |column: &Node| {
        column.is_row_of_cells() && column.len() > 1 && column.elements().iter().all(is_scalar)
    };
    let has_one_len = members.iter().all(|column| column.len() == members[0].len());
    members.len() > 1
        && has_one_len
        && (members.iter().all(is_numbered) || members.len() > 2 && members.iter().all(is_column))
}

/// How much the members of a row look like those of a person.
fn people_signs(row: &Node) -> u64 {
    let mut keys = Vec::new();
    add_keys(row, 3, &mut keys);
    let has = |parts: &[&str]| u64::from(keys.iter().any(|key| parts.iter().any(|part| key.contains(part))));
    2 * has(&["mail"])
        + has(&["phone", "mobile", "telefo", "mobiel", "handy"])
        + has(&[
            "firstname",
            "lastname",
            "voornaam",
            "achternaam",
            "vorname",
            "nachname",
            "surname",
            "prenom",
        ])
}

fn add_keys(node: &Node, depth: usize, keys: &mut Vec<String>) {
    for member in node.members() {
        keys.push(squash(&member.key));
        if depth > 0 {
            add_keys(member, depth - 1, keys);
        }
    }
}

impl Candidate<'_> {
    fn name_has(&self, words: &[&str]) -> bool {
        let last = self.path.last().map(|name| squash(name)).unwrap_or_default();
        // `customers.edges`, `contacts.nodes`.
        let holder = self.path.len().checked_sub(2).map(|at| squash(&self.path[at])).unwrap_or_default();
        let name =
            if ["edges", "nodes"].contains(&&*last) || ROW_LISTS.contains(&&*last) { holder } else { last };
        words.iter().any(|word| name.contains(word))
    }

    fn is_called_people(&self) -> bool {
        self.name_has(&PEOPLE) && !self.name_has(&OTHERS[..2])
    }

    /// Whether its rows have what people have.
    fn holds_people(&self) -> bool {
        self.is_called_people()
            || !self.name_has(&OTHERS)
                && self.elements.iter().any(|row| people_signs(row) > 0 || header(row).is_some())
    }

    fn jq_filter(&self) -> String {
        jq_filter(&self.path, self.is_map)
    }

    fn is_called_rows(&self) -> bool {
        self.path.last().is_none_or(|name| ROW_LISTS.contains(&&*squash(name)))
    }
}

/// The list that holds the customers, if there is one and no other.
fn choose<'a, 'b>(
    found: &'b [Candidate<'a>],
    are_pages: bool,
) -> Result<Option<&'b Candidate<'a>>, ExportFault> {
    let filter = |test: fn(&Candidate) -> bool| -> Vec<&'b Candidate<'a>> {
        found.iter().filter(|candidate| test(candidate)).collect()
    };
    let called = filter(|candidate| candidate.is_called_people());
    let people = filter(|candidate| candidate.holds_people());
    let rows = filter(|candidate| candidate.is_called_rows() && !candidate.name_has(&OTHERS));
    // A list with addresses is no member of a single customer.
    let with_addresses = filter(|candidate| candidate.elements.iter().any(|row| people_signs(row) > 1));
    let only = filter(|candidate| !candidate.name_has(&OTHERS));
    let only = if are_pages && found.len() == 1 { only } else { Vec::new() };
    let best = [called, people, rows, with_addresses, only]
        .into_iter()
        .find(|best| !best.is_empty())
        .unwrap_or_default();
    match &best[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        several => {
            let lists = several.iter().map(|list| format!("{:?}", list.path.join("."))).collect();
            Err(ExportFault::SeveralLists { lists, jq: several[0].jq_filter() })
        }
    }
}

/// What makes jq write the values in a list or in an object, each with its key.
fn jq_filter(path: &[String], is_map: bool) -> String {
    let is_plain = |key: &String| {
        key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !key.starts_with(|letter: char| letter.is_ascii_digit())
    };
    let steps = path.iter().map(|key| if is_plain(key) { format!(".{key}") } else { format!(".[{key:?}]") });
    let steps: String = steps.collect();
    let steps = if steps.is_empty() { "." } else { &*steps };
    match is_map {
        true => format!("{steps} | to_entries[] | .value + {{{KEY_NAME}: .key}}"),
        false => format!("{steps}[]"),
    }
}

/// Whether an object holds what an API says in place of rows.
fn is_error(node: &Node) -> bool {
    let has_sign = node.members().iter().any(|member| ERROR_SIGNS.contains(&&*squash(&member.key)));
    has_sign && has_error_words_alone(node)
}

fn has_error_words_alone(node: &Node) -> bool {
    node.members().iter().all(|member| {
        let key = squash(&member.key);
        let is_content = key == "data" && (member.is_list() || !has_error_words_alone(member));
        ERROR_WORDS.contains(&&*key) && !is_content
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Result<Layout, String> {
        let outline = Outline::read(text.as_bytes()).expect("memory");
        Layout::new(&outline).map_err(|fault| fault.to_string())
    }

    /// In words: how the rows stand, and in which members.
    fn words(text: &str) -> String {
        match layout(text) {
            Ok(Layout::Lines) => "lines".to_owned(),
            Ok(Layout::Rows(RowLayout { path, form, .. })) => {
                let form = match form {
                    Form::Objects => "objects".to_owned(),
                    Form::Members(key) => format!("members {}", key.unwrap_or_default()),
                    Form::Cells { names, depth } => format!("cells {depth} {}", names.join(" ")),
                };
                format!("{form} {}", path.join(".")).trim().to_owned()
            }
            Err(problem) => problem,
        }
    }

    const A: &str = r#"{"id":1,"first_name":"Ann","email":"a@example.com"}"#;
    const B: &str = r#"{"id":2,"first_name":"Bob","email":"b@example.com"}"#;
    const ACME: &str = r#"{"id":9,"name":"Acme"}"#;

    #[test]
    fn the_place_of_the_rows_shows_by_their_shape() {
        for (text, expected) in [
            (format!("{A}\n{B}\n"), "lines"),
            (format!("{A}\r\n\r\n{B}"), "lines"),
            (format!("{{broken\n{A}\n"), "lines"),
            (format!("{A}\n{{broken\n{B}\n"), "lines"),
            (format!("{A}{B}"), "objects"),
            (format!("{A},\n{B},\n"), "objects"),
            (format!("\u{1e}{A}\n\u{1e}{B}\n"), "objects"),
            (format!("{A}\n[{B}]\n"), "objects"),
            (format!("[[{A}],[{B}]]"), "objects"),
            ("{\n\"id\":1\n}\n{\n\"id\":2\n}\n".to_owned(), "objects"),
            // Lists inside of an object.
            (format!("{{\"total\":1,\"tags\":[1],\"lijst\":[{A}]}}"), "objects lijst"),
            (format!("{{\"export_id\":\"x\",\"lijst\":[{A}]}}"), "objects lijst"),
            (format!("{{\"contacts\":[{A}],\"companies\":[{ACME}]}}"), "objects contacts"),
            (format!("{{\"companies\":[{A}],\"contacts\":[]}}"), "objects contacts"),
            (format!("{{\"errors\":[],\"included\":[{ACME}],\"data\":[{A}]}}"), "objects data"),
            (format!("{{\"data\":{{\"contacts\":{{\"nodes\":[{A}]}}}}}}"), "objects data.contacts.nodes"),
            (
                format!("{{\"data\":{{\"contacts\":{{\"edges\":[{{\"node\":{A}}}]}}}}}}"),
                "objects data.contacts.edges",
            ),
            (format!("{{\"page\":1,\"rows\":[{A}]}}\n{{\"page\":2,\"rows\":[{B}]}}\n"), "objects rows"),
            (format!("[{{\"page\":1,\"rows\":[{A}]}},{{\"page\":2,\"rows\":[{B}]}}]"), "objects rows"),
            ("{\"records\":[],\"total\":0}".to_owned(), "objects records"),
            // A customer with lists is a customer.
            (format!("{{\"id\":1,\"contacts\":[{A},{B}]}}\n"), "lines"),
            (format!("{{\"klantnummer\":1,\"contacten\":[{A},{B}]}}\n"), "lines"),
            ("{\"phones\":[{\"number\":2}]}\n".to_owned(), "lines"),
            (format!("{{\"type\":\"RECORD\",\"record\":{{\"id\":1,\"items\":[{A}]}}}}\n"), "lines"),
            // Objects by their keys.
            (format!("{{\"1501\":{A}}}"), "members _key"),
            (format!("{{\"1501\":{A},\"1502\":{B}}}"), "members _key"),
            (format!("{{\n\"c-0\":{A},\n\"c-1\":{B},\n\"c-2\":{B}}}"), "members _key"),
            (format!("{{\"1501\":{A}}}\n{{\"1502\":{B}}}\n"), "members _key"),
            (
                format!("{{\"users\":{{\"1\":{A},\"2\":{B}}},\"orders\":{{\"7\":{{\"sum\":1}}}}}}"),
                "members _key users",
            ),
            ("{\"1\":{\"_key\":\"a\",\"x\":1},\"2\":{\"_key\":\"b\",\"x\":2}}".to_owned(), "members"),
            // A customer with objects is a customer.
            (format!("{{\"customer\":{A},\"address\":{{\"city\":\"Ede\"}}}}"), "lines"),
            (format!("{{\"id\":1,\"addresses\":{{\"billing\":{A},\"shipping\":{B}}}}}"), "lines"),
            (format!("{{\"contact\":{A},\"owner\":{B}}}\n{{\"contact\":{B},\"owner\":{A}}}\n"), "lines"),
            ("{\"properties\":{\"a\":{\"v\":1},\"b\":{\"v\":1},\"c\":{\"v\":1}}}".to_owned(), "lines"),
            // Lists of cells.
            ("[[\"id\",\"name\"],[1,\"Ann\"]]".to_owned(), "cells 1 id name"),
            ("[\"id\",\"name\"]\n[1,\"Ann\"]\n".to_owned(), "cells 0 id name"),
            (
                "{\"columns\":[\"id\",\"name\"],\"index\":[0],\"data\":[[1,\"Ann\"]]}".to_owned(),
                "cells 1 id name data",
            ),
        ] {
            assert_eq!(words(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_undecided_or_no_export_says_so() {
        for (text, expected) in [
            (format!("{{\"customers\":[{A}],\"users\":[{B}]}}"), "jq -c '.customers[]'"),
            (format!("{{\"active\":[{A}],\"not active\":[{B}]}}"), "\"active\", \"not active\""),
            (format!("{{\"ann\":{A},\"bob\":{B}}}"), "one customer or several"),
            ("{\"error\":\"invalid_token\"}".to_owned(), "error message of an API"),
            ("{\"message\":\"Unauthorized\",\"status\":401}".to_owned(), "error message of an API"),
            ("{\"errors\":[{\"message\":\"no\"}],\"data\":null}".to_owned(), "error message of an API"),
            ("[{\"message\":\"expired\",\"errorCode\":\"X\"}]".to_owned(), "error message of an API"),
            ("{\"id\":{\"0\":1,\"1\":2},\"email\":{\"0\":\"a\",\"1\":\"b\"}}".to_owned(), "to_json"),
            ("{\"id\":[1,2],\"name\":[\"a\",\"b\"],\"email\":[\"c\",\"d\"]}".to_owned(), "to_json"),
            ("[[1,\"Ann\"],[2,\"Bob\"]]".to_owned(), "without names"),
        ] {
            let found = words(&text);
            assert!(found.contains(expected), "{text}: {found}");
        }
    }

    #[test]
    fn a_list_behind_a_long_one_is_found_and_the_outline_stays_small() {
        let companies = vec![ACME; 40_000].join(",");
        let text = format!("{{\"companies\":[{companies}],\"contacts\":[{A}]}}");
        assert_eq!(words(&text), "objects contacts");
        let outline = Outline::read(text.as_bytes()).expect("memory");
        let kept: Vec<usize> = outline.roots[0].members().iter().map(|list| list.elements().len()).collect();
        assert_eq!(kept, [8, 1]);
        let nested = format!("{}{}", "[".repeat(100_000), "{\"a\":".repeat(100_000));
        assert!(layout(&nested).is_ok());
    }
}
