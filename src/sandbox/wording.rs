//! The refusals that the state decides, in several wordings, since the real API's is unknown.

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
    /// No text: 404 for an unknown customer, 422 for an unknown brand, 409 for what exists already.
    None,
}

/// Why a correct call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownCustomer,
    CustomerExists,
    UnknownBrand,
    AddressOfAnother,
    AddressExists,
}

impl Refusal {
    pub(super) fn answer(self, wording: Wording) -> Answer {
        let (status, code, english, dutch) = match self {
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
                StatusCode::CONFLICT,
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
        };
        match wording {
            Wording::English => Answer::refusal(english),
            Wording::Dutch => Answer::refusal(dutch),
            Wording::Code => Answer::refusal(code),
            Wording::None => Answer::empty(status),
        }
    }
}
