//! A customer whom a person names on the command line.

use super::error::PlanError;
use crate::config::Config;
use crate::mapping::{Customer, FieldOrigin, PrimaryId};

/// The customers with these ids, each once. The brand is `brand`, or else the one
/// that the mapping gives every row.
pub(crate) fn named_customers<'a>(
    config: &Config,
    brand: Option<u64>,
    ids: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<Customer>, PlanError> {
    let brand_id = brand.map_or_else(|| constant_brand(config), Ok)?;
    let mut customers: Vec<Customer> = Vec::new();
    for id in ids {
        let primary_id =
            PrimaryId::new(id).map_err(|reason| PlanError::Usage(format!("{id:?}: {reason}")))?;
        let customer = Customer { brand_id, primary_id };
        if !customers.contains(&customer) {
            customers.push(customer);
        }
    }
    Ok(customers)
}

fn constant_brand(config: &Config) -> Result<u64, PlanError> {
    let brand = match &config.customer.brand_id.from {
        FieldOrigin::Constant(text) => text.trim().parse().ok(),
        FieldOrigin::Columns(_) | FieldOrigin::Template(_) => None,
    };
    let message =
        "the brand differs from row to row (brand_id in [customer]); give the customer's: --brand N";
    brand.ok_or_else(|| PlanError::Usage(message.to_owned()))
}
