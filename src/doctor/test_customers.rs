//! The test customers of a trial. They are recorded beside the checkpoint before the
//! first of them is made, so that the next trial purges those of an interrupted one.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::report::{Check, DoctorReport, Verdict};
use crate::checkpoint::path_beside;
use crate::config::Config;
use crate::mapping::{Customer, PrimaryId};

/// A customer who may be in Omnidesk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TestCustomer {
    tenant: String,
    brand: u64,
    id: String,
}

/// The record of all test customers.
#[derive(Debug)]
pub(super) struct TestCustomers {
    path: PathBuf,
    tenant: String,
    customers: Vec<TestCustomer>,
}

impl TestCustomers {
    /// Reads the record beside a checkpoint. A missing one is empty.
    pub(super) fn read(checkpoint: &Path, tenant: &str) -> io::Result<Self> {
        let path = path_beside(checkpoint, ".doctor");
        let customers = match std::fs::read(&path) {
            Ok(text) => {
                parse(&text).map_err(|problem| io::Error::other(format!("{}: {problem}", path.display())))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, tenant: tenant.to_owned(), customers })
    }

    /// Records new ones; on the disk when this returns.
    pub(super) fn add<const N: usize>(&mut self, brand: u64) -> io::Result<[Customer; N]> {
        let trial = fastrand::u64(..);
        let made = std::array::from_fn(|at| {
            let id = format!("omnidesk-sync-test-{trial:016x}-{}", at + 1);
            TestCustomer { tenant: self.tenant.clone(), brand, id }
        });
        self.customers.extend(made.iter().cloned());
        self.write()?;
        Ok(made.map(|customer| customer.customer()))
    }

    /// Those of this tenant.
    pub(super) fn of_tenant(&self) -> Vec<Customer> {
        let own = self.customers.iter().filter(|customer| customer.tenant == self.tenant);
        own.map(TestCustomer::customer).collect()
    }

    /// All of them, for people.
    pub(super) fn names(&self) -> String {
        let name = |customer: &TestCustomer| {
            let TestCustomer { id, brand, tenant } = customer;
            let place = if *tenant == self.tenant { String::new() } else { format!(" of {tenant}") };
            format!("{id} of brand {brand}{place}")
        };
        self.customers.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Takes out one who is certainly not in Omnidesk.
    pub(super) fn remove(&mut self, customer: &Customer) -> io::Result<()> {
        self.customers.retain(|recorded| recorded.tenant != self.tenant || recorded.customer() != *customer);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        if self.customers.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&self.customers)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

/// Reports customers of an interrupted trial.
pub(super) fn report_unpurged(config: &Config, report: &mut DoctorReport) {
    let recorded = TestCustomers::read(&config.checkpoint.path, &config.omnidesk.base_url.tenant());
    let problem = match recorded {
        Ok(recorded) if recorded.customers.is_empty() => return,
        Ok(recorded) => format!("an interrupted trial may not have purged {}", recorded.names()),
        Err(error) => error.to_string(),
    };
    let check = Check::new("test customers", Verdict::Attention, problem);
    report.add(check.with_hint("`omnidesk-sync doctor --write --brand N` purges them"));
}

fn parse(text: &[u8]) -> Result<Vec<TestCustomer>, String> {
    let customers: Vec<TestCustomer> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    customers.iter().try_for_each(|customer| PrimaryId::new(&customer.id).map(drop))?;
    Ok(customers)
}

impl TestCustomer {
    fn customer(&self) -> Customer {
        // Checked when it was read, or made of letters, digits and hyphens.
        let primary_id = PrimaryId::new(&self.id).unwrap_or_else(|_| unreachable!("an id"));
        Customer { brand_id: self.brand, primary_id }
    }
}
