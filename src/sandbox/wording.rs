//! The refusals, in several wordings and with any status, since the real API's are unknown.

use std::collections::BTreeMap;

use hyper::StatusCode;

use super::answer::Answer;

/// How a refusal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Wording {
    /// 400 with an English sentence.
    #[default]
    English,
    /// 400 with a Dutch sentence.
    Dutch,
    /// 400 with a code such as `E_NOT_FOUND`.
    Code,
    /// No text: 404 for an unknown customer, 409 for what exists already, 422 for an unknown brand or an address of
    /// another customer, 400 for a call that is not correct.
    None,
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    WrongKey,
    /// A call that is not correct in itself.
    Invalid,
    UnknownCustomer,
    CustomerExists,
    UnknownBrand,
    AddressOfAnother,
    AddressExists,
}

/// The statuses of refusals, by kind. Default: those of the wording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses(BTreeMap<Refusal, StatusCode>);

/// How a server writes its refusals.
#[derive(Debug, Clone, Default)]
pub(super) struct RefusalForm {
    pub(super) wording: Wording,
    pub(super) statuses: Statuses,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::WrongKey,
        Self::Invalid,
        Self::UnknownCustomer,
        Self::CustomerExists,
        Self::UnknownBrand,
        Self::AddressOfAnother,
        Self::AddressExists,
    ];

    /// In a list of statuses.
    fn as_str(self) -> &'static str {
        match self {
            Self::WrongKey => "key",
            Self::Invalid => "invalid",
            Self::UnknownCustomer => "not_found",
            Self::CustomerExists => "exists",
            Self::UnknownBrand => "brand",
            Self::AddressOfAnother => "address_elsewhere",
            Self::AddressExists => "address_exists",
        }
    }

    /// The status without words, and the words.
    fn forms(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::WrongKey => (
                StatusCode::UNAUTHORIZED,
                "E_KEY",
                "The API key is missing or wrong.",
                "De API-sleutel ontbreekt of is onjuist.",
            ),
            Self::Invalid => (StatusCode::BAD_REQUEST, "E_INVALID", "Invalid input.", "Ongeldige invoer."),
            Self::UnknownCustomer => {
                (StatusCode::NOT_FOUND, "E_NOT_FOUND", "Customer not found.", "Klant niet gevonden.")
            }
            Self::CustomerExists => {
                (StatusCode::CONFLICT, "E_EXISTS", "Customer already exists.", "Klant bestaat al.")
            }
            Self::UnknownBrand => {
                (StatusCode::UNPROCESSABLE_ENTITY, "E_BRAND", "Brand is invalid.", "Ongeldig merk.")
            }
            Self::AddressOfAnother => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "E_CHANNEL_TAKEN",
                "This channel is linked to another customer.",
                "Dit kanaal is aan een andere klant gekoppeld.",
            ),
            Self::AddressExists => (
                StatusCode::CONFLICT,
                "E_CHANNEL_EXISTS",
                "Channel already exists for this customer.",
                "Kanaal bestaat al bij deze klant.",
            ),
        }
    }
}

impl Statuses {
    /// Reads a list such as `exists=409,not_found=404` or `all=200`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut statuses = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let names = || Refusal::ALL.map(Refusal::as_str).join(", ");
            let (name, value) =
                part.split_once('=').ok_or_else(|| format!("\"{part}\" is not of the form kind=status"))?;
            let status = value.trim().parse().ok().filter(|status| (200..=999).contains(status));
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            let status = status.ok_or_else(|| format!("{part}: a status is a number from 200 to 999"))?;
            let is_meant = |kind: &Refusal| name.trim() == "all" || name.trim() == kind.as_str();
            let kinds: Vec<Refusal> = Refusal::ALL.into_iter().filter(is_meant).collect();
            if kinds.is_empty() {
                return Err(format!("\"{name}\" is no kind of refusal; valid are {}, all", names()));
            }
            statuses.extend(kinds.into_iter().map(|kind| (kind, status)));
        }
        Ok(Self(statuses))
    }
}

impl RefusalForm {
    /// The answer to a refused call.
    pub(super) fn answer(&self, refusal: Refusal) -> Answer {
        let (bare, _, english, _) = refusal.forms();
        let status = if refusal == Refusal::WrongKey { bare } else { StatusCode::BAD_REQUEST };
        self.rewrite(refusal, Answer::error(status, english))
    }

    /// An answer with an English sentence, as this server writes it.
    pub(super) fn rewrite(&self, refusal: Refusal, english: Answer) -> Answer {
        let (bare, code, _, dutch) = refusal.forms();
        let words = match self.wording {
            Wording::English => None,
            Wording::Dutch => Some(dutch),
            Wording::Code => Some(code),
            Wording::None => return Answer::empty(self.status(refusal, bare)),
        };
        let status = self.status(refusal, english.status);
        words.map_or(Answer { status, ..english }, |words| Answer::error(status, words))
    }

    fn status(&self, refusal: Refusal, default: StatusCode) -> StatusCode {
        self.statuses.0.get(&refusal).copied().unwrap_or(default)
    }
}
