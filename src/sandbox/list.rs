//! The list of customers, as other pages of the vendor show it: a GET with `itemStart` and
//! `itemLimit`, and an answer with `itemTotal`. It shows the name of a brand and no number;
//! here brand 2 is `Brand 2`.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use super::customer::Customer;

/// The path of a create, with another method.
pub(super) const LIST_PATH: &str = "/api/v2/customer";

const LIMIT_DEFAULT: usize = 15;
const LIMIT_MAX: usize = 99;

/// The customers that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListRange {
    start: usize,
    limit: usize,
}

impl ListRange {
    /// Reads a query; the answer that refuses it names the first error.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Answer> {
        let mut range = Self { start: 0, limit: LIMIT_DEFAULT };
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let number =
                || value.parse().map_err(|_| Answer::refusal(format!("{name}: expected a number from 0")));
            match &*name {
                "apiKey" => {}
                "itemStart" => range.start = number()?,
                "itemLimit" => range.limit = number()?,
                name => return Err(Answer::refusal(format!("{name}: is not a parameter of the list"))),
            }
        }
        if (1..=LIMIT_MAX).contains(&range.limit) {
            return Ok(range);
        }
        Err(Answer::refusal(format!("itemLimit: expected a number from 1 to {LIMIT_MAX}")))
    }

    pub(super) fn answer<'a>(self, customers: impl Iterator<Item = &'a Customer>, total: usize) -> Answer {
        let part = customers.skip(self.start).take(self.limit);
        let customers: Vec<Value> = part.map(entry).collect();
        let body = json!({ "itemTotal": total, "customers": customers }).to_string();
        Answer::new(StatusCode::OK, "application/json", body)
    }
}

fn entry(customer: &Customer) -> Value {
    json!({
        "id": format!("{}-{}", customer.id.brand_id, customer.id.primary_id),
        "external_primary_id": customer.id.primary_id,
        "brand_name": format!("Brand {}", customer.id.brand_id),
        "firstname": customer.firstname,
        "lastname": customer.lastname,
    })
}
