//! How the values of a JSON file lie in each other: the first ones of each list and
//! of each object, and how many there are.

use std::io::{self, Read};

use super::lexer::{Kind, Lexer, Token};

const BLOCK_BYTES: usize = 64 << 10;
/// Values at the top, or in a list that is all of the file.
const ROOTS_MAX: usize = 64;
const MEMBERS_MAX: usize = 64;
const ELEMENTS_MAX: usize = 8;
/// A header may have more cells than that, and is read as a list.
const CELLS_MAX: usize = 1000;
const DEPTH_MAX: usize = 8;
/// Beyond so many, only values near the top are kept.
const NODES_MAX: usize = 20_000;
const TOP_DEPTH: usize = 3;
const TEXT_BYTES_MAX: usize = 200;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Of a member. As it is written, without quotes.
    pub(super) key: String,
    pub(super) value: NodeValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeValue {
    /// The first members, and how many there are.
    Object(Vec<Node>, u64),
    /// The first elements, and how many there are.
    List(Vec<Node>, u64),
    Text(String),
    /// A number, a truth value or null.
    Bare(String),
}

impl Node {
    pub(super) fn members(&self) -> &[Self] {
        if let NodeValue::Object(members, _) = &self.value { members } else { &[] }
    }

    pub(super) fn elements(&self) -> &[Self] {
        if let NodeValue::List(elements, _) = &self.value { elements } else { &[] }
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self.value, NodeValue::Object(..))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, NodeValue::List(..))
    }

    /// Whether it is a list of single values, such as the cells of a row.
    pub(super) fn is_row_of_cells(&self) -> bool {
        self.elements().first().is_some_and(|first| !first.is_object() && !first.is_list())
    }

    /// Values inside, also those that were not kept.
    pub(super) fn len(&self) -> u64 {
        match &self.value {
            NodeValue::Object(_, len) | NodeValue::List(_, len) => *len,
            _ => 0,
        }
    }
}

/// The outline of a file, or of its beginning.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// In order. A list at the top stands for itself.
    pub(super) roots: Vec<Node>,
    /// Whether the file holds nothing behind these.
    pub(super) is_whole: bool,
    /// Whether the values stand in another way than one a line.
    pub(super) is_reflowed: bool,
    /// Whether the first root is broken, so that lines have to be read one by one.
    pub(super) is_broken: bool,
}

impl Outline {
    /// Reads until the first row is known: to the end, if one object is all of the
    /// file.
    pub(super) fn read(mut reader: impl Read) -> io::Result<Self> {
        let mut builder = Builder::default();
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let got = reader.read(&mut block)?;
            block[..got].iter().for_each(|byte| builder.take(*byte));
            if got == 0 || builder.is_broken || builder.knows_first_row() {
                return Ok(builder.finish(got == 0));
            }
        }
    }
}

#[derive(Debug, Default)]
struct Builder {
    lexer: Lexer,
    outline: Outline,
    /// Containers that have no end yet.
    open: Vec<Node>,
    /// Depth inside of a container that is not kept.
    skipped: usize,
    nodes: usize,
    /// A text or a bare value that has no end yet.
    scalar: Option<Vec<u8>>,
    /// Of the member that comes, for each open object.
    keys: Vec<Option<String>>,
    /// A text in an object that may be a key.
    may_be_key: bool,
    is_broken: bool,
    /// Of the open root.
    has_line_end: bool,
    /// Whether a root stands on this line already.
    line_has_root: bool,
}

impl Builder {
    fn take(&mut self, byte: u8) {
        if self.is_broken {
            return;
        }
        let token = self.lexer.take(byte);
        if self.skipped > 0 {
            match token {
                Token::Open(_) => self.skipped += 1,
                Token::Close(_) => self.skipped -= 1,
                _ => {}
            }
            self.has_line_end |= byte == b'\n';
            return;
        }
        if !matches!(token, Token::Bare) && self.scalar.is_some() && !self.lexer.is_in_text() {
            if matches!(token, Token::TextEnd) {
                self.end_text();
                return;
            }
            self.end_bare();
        }
        match token {
            Token::Open(kind) => self.open(kind),
            Token::Close(_) => self.close(),
            Token::LineEnd if self.open.is_empty() => self.line_has_root = false,
            Token::LineEnd => self.has_line_end = true,
            Token::Comma | Token::Separator if self.open.is_empty() => self.outline.is_reflowed = true,
            Token::TextStart => {
                self.begin_scalar();
                self.may_be_key = self.keys.last().is_some_and(Option::is_none) && self.is_in_object();
            }
            Token::Text | Token::Bare => {
                if self.scalar.is_none() {
                    self.begin_scalar();
                    self.may_be_key = false;
                    self.is_broken |= self.lacks_key();
                }
                self.is_broken |= byte == b'\n';
                let scalar = self.scalar.get_or_insert_default();
                if scalar.len() < TEXT_BYTES_MAX {
                    scalar.push(byte);
                }
            }
            _ => {}
        }
    }

    fn is_in_object(&self) -> bool {
        self.open.last().is_some_and(Node::is_object)
    }

    /// Whether a value would stand in an object without a key.
    fn lacks_key(&self) -> bool {
        self.is_in_object() && self.keys.last().is_some_and(Option::is_none)
    }

    fn begin_scalar(&mut self) {
        self.scalar = Some(Vec::new());
    }

    fn end_text(&mut self) {
        let text = String::from_utf8_lossy(&self.scalar.take().unwrap_or_default()).into_owned();
        if self.may_be_key
            && let Some(key) = self.keys.last_mut()
        {
            *key = Some(text);
            return;
        }
        self.add(NodeValue::Text(text));
    }

    fn end_bare(&mut self) {
        let text = String::from_utf8_lossy(&self.scalar.take().unwrap_or_default()).into_owned();
        self.add(NodeValue::Bare(text));
    }

    /// The key of the value that comes.
    fn take_key(&mut self) -> String {
        self.keys.last_mut().and_then(Option::take).unwrap_or_default()
    }

    fn add(&mut self, value: NodeValue) {
        let key = self.take_key();
        self.put(Node { key, value });
    }

    fn open(&mut self, kind: Kind) {
        if self.lacks_key() {
            self.is_broken = true;
            return;
        }
        let key = self.take_key();
        let value = match kind {
            Kind::Object => NodeValue::Object(Vec::new(), 0),
            Kind::List => NodeValue::List(Vec::new(), 0),
        };
        if self.open.is_empty() {
            self.outline.is_reflowed |= self.line_has_root;
            (self.has_line_end, self.line_has_root) = (false, true);
        }
        if !self.has_room() {
            self.count();
            self.skipped = 1;
            return;
        }
        self.nodes += 1;
        self.open.push(Node { key, value });
        self.keys.push(None);
    }

    fn close(&mut self) {
        self.keys.pop();
        let Some(node) = self.open.pop() else {
            self.is_broken = true;
            return;
        };
        if self.open.is_empty() {
            self.outline.is_reflowed |= self.has_line_end;
        }
        self.put(node);
    }

    /// How many values the open container keeps.
    fn room(&self) -> usize {
        match self.open.last().map(|node| &node.value) {
            None => ROOTS_MAX,
            Some(NodeValue::Object(..)) => MEMBERS_MAX,
            Some(_) if self.open.len() == 1 => ROOTS_MAX,
            Some(NodeValue::List(elements, _)) if elements.first().is_some_and(is_scalar) => CELLS_MAX,
            Some(_) => ELEMENTS_MAX,
        }
    }

    fn has_room(&self) -> bool {
        let kept = self.open.last().map_or(self.outline.roots.len(), |node| match &node.value {
            NodeValue::Object(kept, _) | NodeValue::List(kept, _) => kept.len(),
            _ => 0,
        });
        kept < self.room()
            && self.open.len() < DEPTH_MAX
            && (self.nodes < NODES_MAX || self.open.len() < TOP_DEPTH)
    }

    fn count(&mut self) {
        if let Some(Node { value: NodeValue::Object(_, len) | NodeValue::List(_, len), .. }) =
            self.open.last_mut()
        {
            *len += 1;
        }
    }

    fn put(&mut self, node: Node) {
        let has_room = self.has_room();
        self.count();
        let kept = match self.open.last_mut().map(|node| &mut node.value) {
            None => Some(&mut self.outline.roots),
            Some(NodeValue::Object(kept, _) | NodeValue::List(kept, _)) => Some(kept),
            _ => None,
        };
        if let Some(kept) = kept.filter(|_| has_room) {
            kept.push(node);
        }
    }

    /// Whether what was read shows how the rows stand: a row is complete, and another
    /// one begins.
    fn knows_first_row(&self) -> bool {
        let complete = self.outline.roots.len();
        let in_list = self.open.first().filter(|node| node.is_list()).map_or(0, |list| list.elements().len());
        let begins = !self.open.is_empty() || self.skipped > 0 || self.scalar.is_some();
        complete > 1 || complete == 1 && begins || in_list > 1
    }

    fn finish(mut self, is_at_end: bool) -> Outline {
        if self.scalar.is_some() {
            self.end_bare();
        }
        // What has no end is the only one, or is left out.
        let is_list = self.open.first().is_some_and(Node::is_list);
        self.outline.is_broken = self.is_broken && self.outline.roots.is_empty() && !is_list;
        self.outline.is_whole = is_at_end && !self.is_broken;
        if self.outline.roots.is_empty() || is_list {
            while self.open.len() > 1 {
                let node = self.open.pop();
                let is_kept = !(is_list && self.open.len() == 1 && self.open[0].len() > 0);
                node.filter(|_| is_kept).into_iter().for_each(|node| self.put(node));
            }
            self.outline.roots.extend(self.open.pop());
            self.outline.is_reflowed |= self.has_line_end || is_list;
        }
        self.outline
    }
}

fn is_scalar(node: &Node) -> bool {
    matches!(node.value, NodeValue::Text(_) | NodeValue::Bare(_))
}
