//! What an answer means, and what it proves.

/// The meaning of an answer, on its way from HTTP to the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meaning {
    /// The call worked.
    Done,
    /// The address that it would add exists already: as good as done.
    DoneBefore,
    /// A create was refused because the customer exists.
    Exists,
    /// Refused, because there is no such customer.
    NotFound,
    /// Refused for another reason; sending it again would not help.
    Refused,
    /// Not the API's answer, such as a gateway's: sending it again would not help.
    Unclear,
    /// 401 or 403: the key was refused, or something in front of the API refused
    /// this call.
    KeyRefused,
    /// A redirect, which is never followed.
    Redirected,
    /// A web page with a status that is no success and no fault of the server.
    Page,
    /// Too many requests: all calls have to wait.
    Limited,
    /// A fault of the server or on the way to it, after the request was sent.
    Unavailable,
    /// Nothing was sent.
    Unsent,
}

/// What an exchange proves of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Done,
    NotDone,
    /// Something between may have answered in the API's place, after the API
    /// acted.
    Nothing,
}

impl Meaning {
    /// Whether something in front of the API may have answered, or the key is
    /// refused: then all calls are in danger, and the row may not be to blame.
    pub(crate) fn is_suspicious(self) -> bool {
        matches!(self, Self::KeyRefused | Self::Redirected | Self::Page)
    }
}
