//! Reads the list of customers page by page.
//!
//! Each page begins with the last customer of the page before. If that customer is not
//! there, the list has moved. Then the reading goes back until a page begins with a
//! customer who was read before. A list that has grown or moved is read again from its
//! beginning, until a page has nothing new.

use std::collections::BTreeMap;
use std::io;

use super::saved_list::{ListEntry, PageRecord, SavedList};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::dispatch::{SendEnd, SerialSender};
use crate::omnidesk::{Client, ListPage, ListedCustomer, PAGE_CUSTOMERS_MAX, judge_page};

/// A list that moves more often is not to be read.
const MOVES_MAX: u64 = 10_000;

/// Why the list cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl From<SendEnd> for ListError {
    fn from(end: SendEnd) -> Self {
        match end {
            SendEnd::Interrupted => Self::Interrupted,
            SendEnd::Failed(message) => Self::Failed(message),
        }
    }
}

/// The API's list.
pub(crate) struct ListSource {
    pub(crate) client: Client,
    pub(crate) sender: SerialSender,
}

impl ListSource {
    /// How many customers the list has.
    pub(crate) async fn count(&self) -> Result<u64, ListError> {
        Ok(self.page(0, 1).await?.total)
    }

    async fn page(&self, start: u64, limit: u64) -> Result<ListPage, ListError> {
        let request = async || {
            let (mut answer, page) = judge_page(&self.client.list(start, limit).await);
            answer.message = self.client.show(&answer.message);
            (answer, page)
        };
        Ok(self.sender.send(request).await?)
    }
}

pub(crate) struct ListReader<'a> {
    pub(crate) source: &'a ListSource,
    pub(crate) checkpoint: &'a Checkpoint,
    /// Their names in the list.
    pub(crate) brands: &'a BTreeMap<u64, String>,
    pub(crate) list: SavedList,
    /// Gets how many customers are read, and how long the list is.
    pub(crate) show_progress: &'a dyn Fn(u64, u64),
}

impl ListReader<'_> {
    /// Reads the rest of the list. What was read is kept if that fails.
    pub(crate) async fn read(mut self) -> Result<SavedList, ListError> {
        let total = self.read_forward().await?;
        if self.list.moves > 0 || self.list.first_total != Some(total) {
            self.read_beginning().await?;
        }
        Ok(self.list)
    }

    /// Reads on to the end. Returns how long the list is by then.
    async fn read_forward(&mut self) -> Result<u64, ListError> {
        loop {
            let (next, start) = (self.list.next, self.list.next.saturating_sub(1));
            let page = self.source.page(start, PAGE_CUSTOMERS_MAX).await?;
            let (total, end) = (page.total, start + page.customers.len() as u64);
            let has_moved = match page.customers.first() {
                Some(first) => next > 0 && !self.list.tags.contains(&self.tag(first)),
                None => next > 0,
            };
            let moves = self.list.moves + u64::from(has_moved);
            if moves > MOVES_MAX {
                return Err(ListError::Failed("the list moves faster than it can be read".to_owned()));
            }
            let back = next.saturating_sub(PAGE_CUSTOMERS_MAX - 1);
            let after = if has_moved { back } else { end };
            self.add(page, after, moves)?;
            if has_moved {
                continue;
            }
            if end >= total {
                return Ok(total);
            }
            if end <= next {
                let message = format!("it ends after {end} customers, and announces {total}");
                return Err(ListError::Failed(message));
            }
        }
    }

    async fn read_beginning(&mut self) -> Result<(), ListError> {
        let mut start = 0;
        loop {
            let page = self.source.page(start, PAGE_CUSTOMERS_MAX).await?;
            let (before, read) = (self.list.tags.len(), page.customers.len() as u64);
            self.add(page, self.list.next, self.list.moves)?;
            if self.list.tags.len() == before || read <= 1 {
                return Ok(());
            }
            start += read - 1;
        }
    }

    fn add(&mut self, page: ListPage, next: u64, moves: u64) -> Result<(), ListError> {
        let mut entries = Vec::with_capacity(page.customers.len());
        for listed in &page.customers {
            let tag = self.tag(listed);
            if !self.list.tags.contains(&tag) {
                entries.push(self.entry(tag, listed)?);
            }
        }
        self.list.add(PageRecord { next, total: page.total, moves, entries })?;
        (self.show_progress)(self.list.read_count(), page.total);
        Ok(())
    }

    fn entry(&self, tag: u64, listed: &ListedCustomer) -> Result<ListEntry, CheckpointError> {
        let brand = self.brands.iter().find(|(_, name)| **name == listed.brand_name);
        let customer = brand.and_then(|(brand, _)| listed.customer(*brand));
        let Some(customer) = customer else { return Ok(ListEntry { tag, customer: None, id: None }) };
        let key = self.checkpoint.key().customer(&customer);
        let is_unknown = self.checkpoint.lookups().state(key)?.is_unknown();
        let id = is_unknown.then(|| self.checkpoint.ids().encrypt(key, &customer));
        Ok(ListEntry { tag, customer: Some((key, customer.brand_id)), id })
    }

    fn tag(&self, listed: &ListedCustomer) -> u64 {
        let line = format!("{}\n{}", listed.brand_name, listed.name_in_list());
        self.checkpoint.key().customer_id(0, &line).short()
    }
}
