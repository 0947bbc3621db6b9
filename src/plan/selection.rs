//! Which rows of an export a run is about.

use std::collections::BTreeSet;

use super::error::PlanError;
use crate::checkpoint::RunScope;
use crate::mapping::{Mapping, PrimaryId};
use crate::reconcile::{CustomerKey, HashKey};

/// What the command line asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Selection {
    #[default]
    All,
    /// `--part`: all rows, and they are a part of the base.
    Part,
    /// `--only`: the rows of these customers, of a brand if it is given.
    Customers { ids: Vec<String>, brand: Option<u64> },
    /// Customers whom a person wants to be purged: all rows.
    Request,
}

/// The customers of `--only`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelectedCustomers {
    brand_id: u64,
    ids: BTreeSet<String>,
}

impl SelectedCustomers {
    pub(super) fn new(ids: &[String], brand: Option<u64>, mapping: &Mapping) -> Result<Self, PlanError> {
        let brand_id = brand.or(mapping.constant_brand).ok_or_else(|| {
            let text = "--only: brand_id is no constant in this mapping, so an id may be that of several customers; add --brand and the number of the brand";
            PlanError::Usage(text.to_owned())
        })?;
        let check = |id: &String| match PrimaryId::new(id) {
            Ok(id) => Ok(id.as_str().to_owned()),
            Err(reason) => Err(PlanError::Usage(format!("--only {id:?}: {reason}"))),
        };
        Ok(Self { brand_id, ids: ids.iter().map(check).collect::<Result<_, _>>()? })
    }

    pub(super) fn contains(&self, brand_id: u64, id: &str) -> bool {
        self.brand_id == brand_id && self.ids.contains(id)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Keyed: no id can be tried out against it.
    pub(super) fn scope(&self, key: &HashKey) -> RunScope {
        let mut keys: Vec<CustomerKey> =
            self.ids.iter().map(|id| key.customer_id(self.brand_id, id)).collect();
        keys.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for key in keys {
            hasher.update(&key.0);
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        RunScope::Customers(hash)
    }

    /// Those of whom the export holds no row, if there are any.
    pub(super) fn check_present(&self, present: &BTreeSet<String>, export: &str) -> Result<(), PlanError> {
        let absent: Vec<&str> = self.ids.difference(present).map(String::as_str).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let (brand, ids) = (self.brand_id, absent.join(", "));
        Err(PlanError::Usage(format!(
            "{export} has no row of brand {brand} with the id {ids}; nothing was sent\n  hint: --only takes ids as they are sent; check the id, the brand and --limit"
        )))
    }
}
