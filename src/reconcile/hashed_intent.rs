//! What a row asks for, with its hashes.

use std::ops::Deref;

use super::hashes::{AddressHash, CustomerKey, FieldTag, HashKey, ValueHash};
use crate::mapping::{Address, FieldName, FieldValue, Intent};

/// A field with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldHash {
    pub(crate) tag: FieldTag,
    pub(crate) value: ValueHash,
}

impl FieldHash {
    pub(crate) fn new(key: &HashKey, name: &FieldName, value: &FieldValue) -> Self {
        let tag = key.field(name);
        Self { tag, value: key.value(tag, value.as_str()) }
    }
}

/// An [`Intent`] with the hashes by which it is compared and recorded. They are made
/// once, where the row is read: each decision and each answer needs them.
#[derive(Debug, Clone)]
pub struct HashedIntent {
    intent: Intent,
    /// The customer.
    pub key: CustomerKey,
    /// Of its fields and addresses, in their order.
    fields: Vec<FieldHash>,
    addresses: Vec<AddressHash>,
}

impl HashedIntent {
    pub fn new(intent: Intent, key: &HashKey) -> Self {
        let customer = key.customer(&intent.customer);
        Self::of_customer(intent, customer, key)
    }

    /// The same of a customer whose hash is known.
    pub(crate) fn of_customer(intent: Intent, customer: CustomerKey, key: &HashKey) -> Self {
        let fields = intent.fields.iter().map(|(name, value)| FieldHash::new(key, name, value));
        let addresses = intent.addresses.iter().map(|address| key.address(address));
        let (fields, addresses) = (fields.collect(), addresses.collect());
        Self { intent, key: customer, fields, addresses }
    }

    pub(crate) fn into_intent(self) -> Intent {
        self.intent
    }

    pub(crate) fn hashed_fields(&self) -> impl Iterator<Item = (&(FieldName, FieldValue), FieldHash)> {
        self.intent.fields.iter().zip(self.fields.iter().copied())
    }

    pub(crate) fn hashed_addresses(&self) -> impl Iterator<Item = (&Address, AddressHash)> {
        self.intent.addresses.iter().zip(self.addresses.iter().copied())
    }

    pub(crate) fn address_hashes(&self) -> &[AddressHash] {
        &self.addresses
    }

    /// Of a field that one of its calls carries.
    pub(super) fn field_hash(&self, name: &FieldName) -> Option<FieldHash> {
        self.hashed_fields().find(|((own, _), _)| own == name).map(|(_, hash)| hash)
    }

    /// Likewise of an address.
    pub(super) fn address_hash(&self, address: &Address) -> Option<AddressHash> {
        self.hashed_addresses().find(|(own, _)| *own == address).map(|(_, hash)| hash)
    }
}

impl Deref for HashedIntent {
    type Target = Intent;

    fn deref(&self) -> &Intent {
        &self.intent
    }
}
