//! `doctor`: checks the set-up before anything is sent, and learns how a tenant answers.
//!
//! Three parts, each only if the one before found nothing in its way: the machine
//! (`machine`), the way to the server (`server`), and the API itself. One control
//! request shows whether the key works. A trial shows more: it makes test customers,
//! goes through all four calls and purges them (`trial`). `lessons` makes settings of
//! the answers, and takes none by which another refusal would be misread.

mod learned_settings;
mod lessons;
mod machine;
mod report;
mod server;
mod test_customers;
mod trial;

use crate::config::Config;
use crate::mapping::FieldOrigin;
use crate::omnidesk::ApiKey;

pub(crate) use learned_settings::LearnedSettings;
pub(crate) use report::{Check, DoctorReport, Verdict};

/// How far `doctor` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing is sent.
    Machine,
    /// One control request in this brand, if it is known.
    Control(Option<u64>),
    /// A trial with test customers in this brand.
    Trial(u64),
}

/// Checks the set-up. A trial needs the lock of the checkpoint.
pub(crate) fn examine(config: &Config, extent: Extent) -> Result<DoctorReport, std::io::Error> {
    let mut report = DoctorReport::default();
    let key = machine::examine(config, &mut report);
    if !matches!(extent, Extent::Trial(_)) {
        test_customers::report_unpurged(config, &mut report);
    }
    let Some(key) = key.filter(|_| extent != Extent::Machine && !report.has(Verdict::Misconfigured)) else {
        return Ok(report);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(examine_server(config, extent, &key, &mut report));
    Ok(report)
}

async fn examine_server(config: &Config, extent: Extent, key: &ApiKey, report: &mut DoctorReport) {
    server::reach(&config.omnidesk.base_url, config.omnidesk.timeout.0, report);
    if report.has(Verdict::Unreachable) {
        return;
    }
    match extent {
        Extent::Machine => {}
        Extent::Control(brand) => match brand.or_else(|| constant_brand(config)) {
            Some(brand) => server::ask_control(config, key, brand, report).await,
            None => report.add(
                Check::new("key", Verdict::Attention, "not tried: the brand differs from row to row")
                    .with_hint("--brand N names the brand of the control request"),
            ),
        },
        Extent::Trial(brand) => trial::conduct(config, key, brand, report).await,
    }
}

/// The brand of all rows.
fn constant_brand(config: &Config) -> Option<u64> {
    match &config.customer.brand_id.from {
        FieldOrigin::Constant(text) => text.trim().parse().ok(),
        FieldOrigin::Columns(_) | FieldOrigin::Template(_) => None,
    }
}
