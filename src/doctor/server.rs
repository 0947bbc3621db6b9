//! The way to the server, and one control request.

use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use super::report::{Check, DoctorReport, Verdict};
use crate::config::Config;
use crate::omnidesk::{
    Answer, ApiKey, Auth, BaseUrl, Call, Client, Meaning, RefusalTexts, ServerFacts, judge, proxy_variable,
};
use crate::units::{Count, Period, local_time};

/// For one address of the server.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// More than the second that `Date` counts in, and the way of an answer.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(30);
/// A certificate is renewed before.
const CERTIFICATE_DAYS_MIN: u64 = 14;
const DAY_SECONDS: u64 = 86_400;

/// Resolves the name of the server and connects to it.
pub(super) fn reach(base_url: &BaseUrl, timeout: Duration, report: &mut DoctorReport) {
    if let Some(variable) = proxy_variable().filter(|_| !base_url.is_loopback()) {
        return report.good("network", format!("through the proxy in {variable}, which resolves the name"));
    }
    let host = base_url.host();
    let addresses = match base_url.resolve() {
        Ok(addresses) => addresses,
        Err(error) => {
            let check = Check::new("DNS", Verdict::Unreachable, format!("{host}: {error}"));
            return report.add(check.with_hint("is base_url right, and is there a network?"));
        }
    };
    let names: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    report.good("DNS", format!("{host} is {}", names.join(", ")));
    let timeout = timeout.min(CONNECT_TIMEOUT_MAX);
    let mut problem = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return report.good("TCP", format!("{address} answers")),
            Err(error) => problem = format!("{address}: {error}"),
        }
    }
    let check = Check::new("TCP", Verdict::Unreachable, problem);
    report.add(check.with_hint("does a firewall of this machine or of its network stand between?"));
}

/// Sends a control request, and reports what its answer shows.
pub(super) async fn ask_control(config: &Config, key: &ApiKey, brand: u64, report: &mut DoctorReport) {
    let client = match Client::with_certificate(&config.api_settings(), key) {
        Ok(client) => client,
        Err(error) => return report.add(Check::new("TLS", Verdict::Misconfigured, error.to_string())),
    };
    let call = Call::control(brand);
    let (exchange, facts) = client.observe(&call).await;
    let mut answer = judge(&call, &exchange, &config.omnidesk.texts());
    answer.message = client.show(&answer.message);
    check_facts(&facts, config, report);
    report.add(check_key(&answer, config.omnidesk.auth));
    if report.verdict() < Verdict::Unreachable {
        report.add(check_control(&call, &answer));
    }
}

/// What the first answer shows of certificate and clock.
pub(super) fn check_facts(facts: &ServerFacts, config: &Config, report: &mut DoctorReport) {
    let now = SystemTime::now();
    if config.omnidesk.base_url.is_https()
        && let Some(end) = facts.certificate_end
    {
        let days = end.duration_since(now).unwrap_or_default().as_secs() / DAY_SECONDS;
        let verdict = if days < CERTIFICATE_DAYS_MIN { Verdict::Attention } else { Verdict::Good };
        let message = format!("the certificate expires in {} days", Count(days));
        report.add(Check::new("TLS", verdict, message));
    }
    let Some(date) = facts.date else { return };
    let difference = now.duration_since(date).unwrap_or_else(|error| error.duration());
    if difference <= CLOCK_DIFFERENCE_MAX {
        return report.good("clock", "as the server's");
    }
    let server = jiff::Timestamp::try_from(date).map(local_time).unwrap_or_default();
    let message = format!("differs by {} from the server's, which shows {server}", Period(difference));
    let hint = "set this machine's clock: --stop-at and the times of runs go by it";
    report.add(Check::new("clock", Verdict::Attention, message).with_hint(hint));
}

/// Whether the API itself answered, and took the key.
pub(super) fn check_key(answer: &Answer, auth: Auth) -> Check {
    let (message, status) = (&answer.message, status_text(answer));
    match answer.meaning {
        Meaning::KeyRefused => {
            let other = match auth {
                Auth::Header => "query",
                Auth::Query => "header",
            };
            let hint = format!(
                "the key needs the permission CUSTOMER_CUD; if it is right, try auth = \"{other}\", or `doctor --write --brand N`"
            );
            Check::new("key", Verdict::Unreachable, format!("refused, {status}: {message}")).with_hint(hint)
        }
        Meaning::Unsent => Check::new("TLS", Verdict::Unreachable, message.clone()),
        Meaning::Redirected | Meaning::Page | Meaning::Unavailable | Meaning::Limited => {
            let text = format!("the API does not answer, {status}: {message}");
            Check::new("API", Verdict::Unreachable, text)
        }
        _ => Check::new("key", Verdict::Good, "not refused"),
    }
}

/// Whether the answer to an unknown customer is understood.
fn check_control(call: &Call, answer: &Answer) -> Check {
    let customer = &call.customer;
    let (brand, id) = (customer.brand_id, customer.primary_id.as_str());
    let words = format!("an unknown customer gets {}: {}", status_text(answer), answer.message);
    if answer.shows_probing() == Some(false) {
        let message = format!(
            "the API answers success to an update of a customer that it cannot know; {id} of brand {brand} may have been created"
        );
        let hint = format!(
            "remove the customer with `omnidesk-sync purge --brand {brand} {id} --allow-purge`, and set in_doubt = \"hold\""
        );
        return Check::new("control", Verdict::Attention, message).with_hint(hint);
    }
    if answer.meaning == Meaning::NotFound {
        return Check::new("control", Verdict::Good, words);
    }
    let hint = RefusalTexts::suggestion(call, &answer.message)
        .unwrap_or_else(|| format!("`omnidesk-sync doctor --write --brand {brand}` learns what it means"));
    Check::new("control", Verdict::Attention, words).with_hint(hint)
}

/// `status 404`, or that there is none.
pub(super) fn status_text(answer: &Answer) -> String {
    answer.status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"))
}
