//! The settings in `[omnidesk]` for sending a call.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, SyntaxViolation, Url};

use super::wire::{BodyEncoding, DOCUMENTED_FIELDS};

/// How to send calls to a tenant.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    pub base_url: BaseUrl,
    pub auth: Auth,
    pub body: BodyEncoding,
    /// For one exchange, from connecting to the last byte.
    pub timeout: Duration,
    /// Connections kept open.
    pub connections: usize,
}

/// `auth`: the vendor's pages show both forms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// The header `apiKey`.
    #[default]
    Header,
    /// `?apiKey=` in the URL, which is therefore never printed.
    Query,
}

/// Reads a URL that is HTTPS, or HTTP to this machine itself. Over HTTP elsewhere,
/// anybody could read the `exposed` data.
pub(crate) fn parse_url(text: &str, exposed: &str) -> Result<Url, String> {
    use SyntaxViolation::{Backslash, ExpectedDoubleSlash, TabOrNewlineIgnored};
    // The parser repairs a URL as browsers do, and these repairs can change its host.
    let violation = Cell::new(None);
    let note = |found| {
        if matches!(found, Backslash | ExpectedDoubleSlash | TabOrNewlineIgnored) {
            violation.set(Some(found));
        }
    };
    let url = Url::options().syntax_violation_callback(Some(&note)).parse(text.trim());
    let url = url.map_err(|error| format!("it is no URL ({error})"))?;
    if let Some(violation) = violation.get() {
        return Err(format!("it is no URL ({violation})"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("a user, a password or a fragment (#) does not belong in it".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(format!("anybody on the network could read {exposed}; write https")),
        other => Err(format!("the scheme {other:?} is not HTTPS")),
    }
}

/// Whether a URL is on this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The tenant's address: HTTPS, or HTTP to this machine itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// The address of a path below it.
    pub(crate) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }

    /// The addresses of its host, as the system resolves the name.
    pub(crate) fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.0.socket_addrs(|| None)
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// The name of the tenant in its checkpoint. A rehearsal on this machine is one
    /// tenant, whatever its port.
    pub fn tenant(&self) -> String {
        if self.is_loopback() { "loopback".to_owned() } else { self.to_string() }
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let url = parse_url(&text, "the key and the customers")
            .map_err(|problem| format!("{problem}; an example: \"https://account.omnidesk.com\""))?;
        if url.query().is_some() {
            return Err("a query (?) does not belong in it".to_owned());
        }
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Finds custom fields that, prefix included, have the name of a documented field
/// of any of the four calls: they would overwrite that field. One message for each.
pub(crate) fn custom_name_problems<'a>(
    names: impl IntoIterator<Item = &'a str>,
    prefix: &str,
) -> Vec<String> {
    let mut problems = Vec::new();
    for name in names {
        let field = format!("{prefix}{name}");
        if DOCUMENTED_FIELDS.iter().any(|documented| documented.eq_ignore_ascii_case(&field)) {
            problems.push(format!("customer.custom.{name}: {field:?} is a field of the API itself; map it in [customer], or rename the custom field"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_needed_except_to_this_machine() {
        for valid in [
            "https://account.omnidesk.com",
            "https://account.omnidesk.com/",
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:9",
        ] {
            assert!(BaseUrl::try_from(valid.to_owned()).is_ok(), "{valid}");
        }
        for invalid in [
            "http://account.omnidesk.com",
            "http://127.0.0.1.example.org",
            "ftp://x",
            "https:evil.example.org",
            "https:/evil.example.org",
            "https:\\\\evil.example.org",
            "https:\\/evil.example.org",
            "http:127.0.0.1",
            "https:///evil.example.org",
            "https://\\evil.example.org",
            "ht\ntps://evil.example.org",
            "account.omnidesk.com",
            "https://u:p@x",
            "https://x?apiKey=1",
        ] {
            assert!(BaseUrl::try_from(invalid.to_owned()).is_err(), "{invalid}");
        }
    }

    #[test]
    fn paths_go_below_the_base() {
        let base = BaseUrl::try_from("https://proxy.example.org/omnidesk/".to_owned()).expect("a URL");
        assert_eq!(
            base.join("/api/v2/customer").as_str(),
            "https://proxy.example.org/omnidesk/api/v2/customer"
        );
        assert_eq!(base.to_string(), "https://proxy.example.org/omnidesk");
    }

    #[test]
    fn custom_fields_cannot_take_a_documented_name() {
        assert!(custom_name_problems(["tier"], "").is_empty());
        assert_eq!(custom_name_problems(["tier", "brandID", "nosync"], "").len(), 2);
        assert_eq!(custom_name_problems(["id"], "brand_").len(), 1);
    }
}
