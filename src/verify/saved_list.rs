//! What was read of the list so far, in a private file beside the checkpoint.
//!
//! A header, then a record for each page, with checksums. The file holds keyed hashes.
//! Ids are in it only of customers who were unknown here, encrypted as in the checkpoint.
//! A record that was cut short is the end: its page is read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::checkpoint::path_beside;
use crate::reconcile::{BuildKeyHasher, CustomerKey, HashKey};

/// Raised when the records change.
const FORMAT: u32 = 1;
/// An older list says too little about now.
const AGE_SECONDS_MAX: i64 = 48 * 3600;

/// Which list it is: the tenant's, read with these names of brands, by this checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListScope {
    format: u32,
    tenant: String,
    checkpoint: String,
    brands: BTreeMap<u64, String>,
}

impl ListScope {
    pub(crate) fn new(tenant: String, key: &HashKey, brands: BTreeMap<u64, String>) -> Self {
        // A hash that only this checkpoint has, and of no customer.
        let checkpoint = key.derive("omnidesk-sync saved list").customer_id(0, "").to_string();
        Self { format: FORMAT, tenant, checkpoint, brands }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    scope: ListScope,
    /// Seconds since 1970.
    began: i64,
}

/// The result of one request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PageRecord {
    /// Where the next page begins.
    pub(super) next: u64,
    /// Customers of the whole list.
    pub(super) total: u64,
    /// How often the list has moved so far.
    pub(super) moves: u64,
    /// Customers whom no page before has.
    pub(super) entries: Vec<ListEntry>,
}

/// A customer of the list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ListEntry {
    /// Hash of the line in the list, for finding it again.
    pub(super) tag: u64,
    /// `None` of a customer of another brand, or without an id.
    pub(super) customer: Option<(CustomerKey, u64)>,
    /// The encrypted id of a customer who was unknown here.
    pub(super) id: Option<Vec<u8>>,
}

/// The list as far as it was read.
#[derive(Debug)]
pub(crate) struct SavedList {
    path: PathBuf,
    file: File,
    /// Of all customers.
    pub(super) tags: HashSet<u64>,
    /// Those of the brands, and their brand.
    pub(super) customers: HashMap<CustomerKey, u64, BuildKeyHasher>,
    /// Encrypted.
    pub(super) ids: HashMap<CustomerKey, Vec<u8>, BuildKeyHasher>,
    pub(super) next: u64,
    /// Of the first page.
    pub(super) first_total: Option<u64>,
    pub(super) moves: u64,
}

impl SavedList {
    /// Opens the list of an interrupted reading, or begins a new one.
    pub(crate) fn open(checkpoint: &Path, scope: ListScope) -> io::Result<Self> {
        let path = path_beside(checkpoint, ".list");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = &bytes[..];
        let pages = read_pages(&mut rest, &scope);
        let sound = if pages.is_some() { bytes.len() - rest.len() } else { 0 };
        file.set_len(sound as u64)?;
        file.seek(SeekFrom::End(0))?;
        let mut list = Self {
            path,
            file,
            tags: HashSet::new(),
            customers: HashMap::default(),
            ids: HashMap::default(),
            next: 0,
            first_total: None,
            moves: 0,
        };
        match pages {
            Some(pages) => pages.into_iter().for_each(|page| list.take(page)),
            None => list.write(&Header { scope, began: Timestamp::now().as_second() })?,
        }
        Ok(list)
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.first_total.is_some()
    }

    /// Customers of all brands that were read.
    pub(crate) fn read_count(&self) -> u64 {
        self.tags.len() as u64
    }

    /// The customers of the brands, sorted.
    pub(crate) fn keys(&self) -> Vec<CustomerKey> {
        let mut keys: Vec<CustomerKey> = self.customers.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Adds a page, which is in the file when this returns.
    pub(super) fn add(&mut self, page: PageRecord) -> io::Result<()> {
        self.write(&page)?;
        self.take(page);
        Ok(())
    }

    fn take(&mut self, page: PageRecord) {
        (self.next, self.moves) = (page.next, page.moves);
        self.first_total.get_or_insert(page.total);
        for entry in page.entries {
            self.tags.insert(entry.tag);
            let Some((key, brand)) = entry.customer else { continue };
            self.customers.insert(key, brand);
            if let Some(id) = entry.id {
                self.ids.insert(key, id);
            }
        }
    }

    fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        let bytes = postcard::to_stdvec(record).map_err(io::Error::other)?;
        let framed = postcard::to_stdvec(&(XxHash3_64::oneshot(&bytes), bytes));
        self.file.write_all(&framed.map_err(io::Error::other)?)
    }

    /// The comparison is made: the next one reads the list anew.
    pub(crate) fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The pages of the file; `None` if it is another list's, or too old.
fn read_pages(rest: &mut &[u8], scope: &ListScope) -> Option<Vec<PageRecord>> {
    let header: Header = take_record(rest)?;
    let age = Timestamp::now().as_second() - header.began;
    let is_ours = header.scope == *scope && (0..=AGE_SECONDS_MAX).contains(&age);
    is_ours.then(|| std::iter::from_fn(|| take_record(rest)).collect())
}

/// The next record, if it is whole.
fn take_record<T: DeserializeOwned>(rest: &mut &[u8]) -> Option<T> {
    let ((checksum, bytes), behind): ((u64, &[u8]), _) = postcard::take_from_bytes(rest).ok()?;
    let record = postcard::from_bytes(bytes).ok().filter(|_| XxHash3_64::oneshot(bytes) == checksum)?;
    *rest = behind;
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> ListScope {
        let brands = BTreeMap::from([(2, "Bloemen".to_owned())]);
        ListScope::new("tenant".to_owned(), &HashKey::new([7; 32]), brands)
    }

    fn page(next: u64) -> PageRecord {
        let customer = Some((CustomerKey([next as u8; 16]), 2));
        PageRecord { next, total: 9, moves: 0, entries: vec![ListEntry { tag: next, customer, id: None }] }
    }

    #[test]
    fn a_cut_or_changed_file_gives_the_pages_before() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (checkpoint, path) = (folder.path().join("c"), folder.path().join("c.list"));
        let open = || SavedList::open(&checkpoint, scope()).expect("a list");
        let mut list = open();
        assert!(!list.is_resumed());
        let lengths: Vec<usize> = [1, 2, 3]
            .map(|next| {
                list.add(page(next)).expect("written");
                std::fs::read(&path).expect("a file").len()
            })
            .to_vec();
        let whole = std::fs::read(&path).expect("a file");
        for len in lengths[0]..=whole.len() {
            let pages = lengths.iter().filter(|end| **end <= len).count() as u64;
            std::fs::write(&path, &whole[..len]).expect("written");
            assert_eq!((open().next, open().read_count()), (pages, pages), "{len} bytes");
        }
        for at in lengths[1]..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).expect("written");
            assert_eq!(open().next, 2, "byte {at}");
        }
    }

    #[test]
    fn another_list_is_not_resumed() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let checkpoint = folder.path().join("c");
        SavedList::open(&checkpoint, scope()).expect("a list").add(page(1)).expect("written");
        assert!(SavedList::open(&checkpoint, scope()).expect("a list").is_resumed());
        let other = ListScope::new("tenant".to_owned(), &HashKey::new([7; 32]), BTreeMap::new());
        assert!(!SavedList::open(&checkpoint, other).expect("a list").is_resumed());
    }
}
