//! The list of customers. Only other pages of the vendor show it, so nothing but
//! `verify` and `adopt --from-omnidesk` asks for it.

use serde_json::Value;

use crate::mapping::{Customer, PrimaryId};

/// The most customers that the API lists in one answer.
pub(crate) const PAGE_CUSTOMERS_MAX: u64 = 99;

/// A part of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListPage {
    /// Customers of the whole list.
    pub(crate) total: u64,
    pub(crate) customers: Vec<ListedCustomer>,
}

/// The list has the brand's name and not its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedCustomer {
    /// Omnidesk's own id.
    id: String,
    /// `None` of a customer without an id of the organisation's own system.
    pub(crate) primary_id: Option<PrimaryId>,
    pub(crate) brand_name: String,
}

impl ListPage {
    /// Reads an answer: `itemTotal`, and a list under a name that no page shows.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let total = match answer.get("itemTotal")? {
            Value::String(text) => text.parse().ok()?,
            total => total.as_u64()?,
        };
        let list = answer.as_object()?.values().find_map(Value::as_array);
        let customers = list.into_iter().flatten().map(ListedCustomer::parse).collect::<Option<Vec<_>>>()?;
        Some(Self { total, customers })
    }
}

impl ListedCustomer {
    /// The customer, if the organisation's own system has one, in a brand.
    pub(crate) fn customer(&self, brand_id: u64) -> Option<Customer> {
        Some(Customer { brand_id, primary_id: self.primary_id.clone()? })
    }

    /// What tells customers of one brand apart in the list.
    pub(crate) fn name_in_list(&self) -> String {
        format!("{}\n{}", self.id, self.primary_id.as_ref().map_or("", PrimaryId::as_str))
    }

    fn parse(customer: &Value) -> Option<Self> {
        let customer = customer.as_object()?;
        let id = match customer.get("external_primary_id") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(Value::Number(id)) => Some(id.to_string()),
            Some(Value::Null) | None => None,
            Some(_) => return None,
        };
        let brand_name = customer.get("brand_name")?.as_str()?.to_owned();
        let own_id = customer.get("id").map(Value::to_string).unwrap_or_default();
        Some(Self { id: own_id, primary_id: id.and_then(|id| PrimaryId::new(&id).ok()), brand_name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_under_any_name() {
        let body = br#"{"itemTotal":3,"customers":[
            {"id":1,"external_primary_id":"A1","brand_name":"Bloemen","firstname":"Ann"},
            {"id":2,"external_primary_id":17,"brand_name":"Bloemen"},
            {"id":3,"external_primary_id":null,"brand_name":"Tuin"}]}"#;
        let page = ListPage::parse(body).expect("a page");
        let ids: Vec<_> =
            page.customers.iter().map(|one| one.primary_id.as_ref().map(PrimaryId::as_str)).collect();
        assert_eq!((page.total, ids), (3, vec![Some("A1"), Some("17"), None]));
        assert_eq!(page.customers[2].brand_name, "Tuin");
        assert_eq!(ListPage::parse(br#"{"itemTotal":"0"}"#), Some(ListPage { total: 0, customers: vec![] }));
    }

    #[test]
    fn another_answer_is_no_list() {
        for body in [
            r#"{"type":"result","message":"x"}"#,
            r#"{"itemTotal":-1,"x":[]}"#,
            r#"{"itemTotal":1,"x":[{"external_primary_id":"A"}]}"#,
            r#"{"itemTotal":1,"x":["A"]}"#,
            "[]",
            "<html>",
            "",
        ] {
            assert_eq!(ListPage::parse(body.as_bytes()), None, "{body}");
        }
    }
}
