//! The state machine against a simple model: the real dispatch, reconcile and
//! checkpoint, a server that is a map, and any interleaving of answers, lost answers,
//! crashes and resumes.
//!
//! The clock is tokio's, paused: it moves when nothing else can, so a case with
//! minutes of waiting takes milliseconds. A crash drops everything and opens the
//! checkpoint again. `kill` adds real kills.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use omnidesk_sync::checkpoint::{
    Checkpoint, ExportId, FirstPassResult, OpenRun, RunRecord, RunScope, RunState, Work, Worklist,
};
use omnidesk_sync::dispatch::{self, DispatchSettings, InDoubt, Job, LoadedState, Record, Reply, StopSwitch};
use omnidesk_sync::mapping::{
    Address, Channel, Customer, FieldName, FieldValue, Intent, OnExists, OnMissing, Operation, Place,
    PrimaryId, PurgeReason,
};
use omnidesk_sync::omnidesk::{self, ApiKey, ApiSettings, Client, RefusalTexts};
use omnidesk_sync::reconcile::{
    CustomerState, HashedIntent, Outcome, Policy, RowFingerprint, Situation, Step, next,
};
use omnidesk_sync::source::{ExportHash, RowRef};
use omnidesk_sync::units::{Amount, Rate};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::world::{open_checkpoint, proptest_config};

const CUSTOMERS: u8 = 3;
const NAMES: [&str; 4] = ["Ann", "Bob", "Cor", "Dik"];
const EMAILS: [&str; 3] = ["a@example.org", "b@example.org", "c@example.org"];
/// How long the server takes, so that calls of other customers come between.
const LATENCY: Duration = Duration::from_millis(3);
/// How much later a late call takes effect, and how long a client waits for it, also
/// after a crash.
const LATE: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(30);
/// Below the attempts, so that no row is given up.
const FAULTS_PER_CUSTOMER: u32 = 3;
/// The shortest pause before a retry: `send::PAUSE_MIN`.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Endless, since a jump of the clock must not end an exchange.
const TIMEOUT: Duration = Duration::from_secs(1_000_000);

#[derive(Debug, Clone)]
struct Row {
    customer: u8,
    operation: Operation,
    first: Option<usize>,
    last: Option<usize>,
    emails: BTreeSet<usize>,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    DoneAndLost,
    NotDoneAndLost,
    /// It takes effect later, without an answer.
    LateAndLost,
    Throttled,
    Refused,
    /// A gateway answers, after the API has acted.
    DoneBehindGateway,
    /// A gateway answers, and the API gets nothing.
    NotDoneBehindGateway,
}

/// When an execution crashes.
#[derive(Debug, Clone, Copy)]
enum Crash {
    BeforeCommit(u64),
    /// Before the replies.
    AfterCommit(u64),
    /// Before the answer, whether the request has taken effect or not.
    AtRequest(u64),
}

#[derive(Debug, Clone, Default)]
struct Case {
    rows: Vec<Row>,
    /// Customers who are there before the run.
    there: BTreeSet<u8>,
    on_exists: OnExists,
    on_missing: OnMissing,
    fates: Vec<Fate>,
    crashes: Vec<Crash>,
    /// Parts of the export that are run in between, each over a customer. Then all rows
    /// are `sync`.
    parts: Vec<(u8, Option<Crash>)>,
    concurrency: u32,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let operation = prop_oneof![
        4 => Just(Operation::Sync), 2 => Just(Operation::Create), 3 => Just(Operation::Update),
        2 => Just(Operation::AddChannel), 1 => Just(Operation::Purge),
    ];
    let name = || proptest::option::of(0..NAMES.len());
    let emails = proptest::collection::btree_set(0..EMAILS.len(), 0..3);
    let row = (0..CUSTOMERS, operation, name(), name(), emails).prop_map(
        |(customer, operation, first, last, emails)| Row { customer, operation, first, last, emails },
    );
    let fate = prop_oneof![
        8 => Just(Fate::Answered), 2 => Just(Fate::DoneAndLost), 2 => Just(Fate::NotDoneAndLost),
        2 => Just(Fate::LateAndLost), 1 => Just(Fate::Throttled),
    ];
    let fates = (proptest::collection::vec((fate, 0..10_u8), 0..50), 0..4_u8).prop_map(|(fates, refuses)| {
        // In every fourth case calls are also refused, or answered by a gateway, so rows fail.
        let odd = [Fate::Refused, Fate::DoneBehindGateway, Fate::NotDoneBehindGateway];
        let choose = |(fate, choice): (Fate, u8)| match odd.get(usize::from(choice)) {
            Some(odd) if refuses == 0 => *odd,
            _ => fate,
        };
        fates.into_iter().map(choose).collect()
    });
    let crash = prop_oneof![
        (1..12_u64).prop_map(Crash::BeforeCommit),
        (1..12_u64).prop_map(Crash::AfterCommit),
        (1..10_u64).prop_map(Crash::AtRequest),
    ];
    let crashes = proptest::collection::vec(crash.clone(), 0..6);
    let part = (0..CUSTOMERS, proptest::option::of(crash));
    let parts = prop_oneof![2 => Just(Vec::new()), 1 => proptest::collection::vec(part, 1..5)];
    let on_exists =
        prop_oneof![3 => Just(OnExists::Update), 2 => Just(OnExists::Skip), 1 => Just(OnExists::Fail)];
    let on_missing =
        prop_oneof![3 => Just(OnMissing::Create), 2 => Just(OnMissing::Skip), 1 => Just(OnMissing::Fail)];
    let settings = (proptest::collection::btree_set(0..CUSTOMERS, 0..3), on_exists, on_missing);
    (proptest::collection::vec(row, 1..16), fates, crashes, parts, 1..5_u32, any::<u64>(), settings).prop_map(
        |(mut rows, fates, crashes, parts, concurrency, seed, (there, on_exists, on_missing))| {
            begin_with_creates(&mut rows);
            if !parts.is_empty() {
                rows.iter_mut().for_each(|row| row.operation = Operation::Sync);
            }
            Case { rows, there, on_exists, on_missing, fates, crashes, parts, concurrency, seed }
        },
    )
}

impl Case {
    /// The customers before the run.
    fn customers(&self) -> BTreeMap<String, ServerCustomer> {
        let names = BTreeMap::from([("firstname", "Old".to_owned())]);
        let customer = ServerCustomer { names, emails: BTreeSet::new() };
        self.there.iter().map(|number| (id(*number), customer.clone())).collect()
    }

    /// Customers who were there before and whose first row would create them: with
    /// `on_exists` they stay as they are until a row purges them.
    fn untouchable(&self) -> BTreeSet<String> {
        let is_untouchable = |number: &&u8| {
            let first = self.rows.iter().find(|row| row.customer == **number);
            self.on_exists != OnExists::Update
                && first.is_some_and(|row| matches!(row.operation, Operation::Sync | Operation::Create))
        };
        self.there.iter().filter(is_untouchable).map(|number| id(*number)).collect()
    }
}

/// The first row of a customer always creates it.
fn begin_with_creates(rows: &mut [Row]) {
    let mut customers = BTreeSet::new();
    for row in rows {
        if customers.insert(row.customer) {
            row.first.get_or_insert(0);
            if matches!(row.operation, Operation::AddChannel | Operation::Purge) {
                row.operation = Operation::Sync;
            }
        }
    }
}

fn row_ref(number: u64) -> RowRef {
    RowRef { number, line: number + 1, offset: number, len: 1, file: None }
}

fn id(customer: u8) -> String {
    format!("C{customer}")
}

fn customer(number: u8) -> Customer {
    Customer { brand_id: 2, primary_id: PrimaryId::new(&id(number)).expect("an id") }
}

impl Row {
    fn intent(&self, number: u64) -> Intent {
        let name =
            |name, value: Option<usize>| value.map(|value| (name, FieldValue::Text(NAMES[value].to_owned())));
        let email = |at: &usize| Address::parse(Channel::Email, EMAILS[*at], None).expect("an address");
        Intent {
            at: Place::Row(row_ref(number)),
            customer: customer(self.customer),
            operation: self.operation,
            fields: [name(FieldName::First, self.first), name(FieldName::Last, self.last)]
                .into_iter()
                .flatten()
                .collect(),
            create_fields: Vec::new(),
            addresses: self.emails.iter().map(email).collect(),
            ticket_id: None,
            no_sync: false,
            warnings: Vec::new(),
            origin: None,
            reason: PurgeReason::Export,
        }
    }
}

/// A customer on the server.
#[derive(Debug, Clone, Default, PartialEq)]
struct ServerCustomer {
    names: BTreeMap<&'static str, String>,
    emails: BTreeSet<String>,
}

/// The model: the rows applied in order, with every call answered.
fn apply_in_order(case: &Case) -> BTreeMap<String, ServerCustomer> {
    let (mut customers, mut purged, mut untouchable) =
        (case.customers(), BTreeSet::new(), case.untouchable());
    for row in &case.rows {
        let id = id(row.customer);
        let exists = customers.contains_key(&id);
        let changes = match row.operation {
            _ if untouchable.contains(&id) => false,
            Operation::Sync | Operation::Create => true,
            // An update recreates no purged customer.
            Operation::Update => exists || case.on_missing == OnMissing::Create && !purged.contains(&id),
            _ => exists,
        };
        if row.operation == Operation::Purge {
            customers.remove(&id);
            untouchable.remove(&id);
            purged.insert(id);
        } else if changes {
            let customer = customers.entry(id).or_default();
            if row.operation != Operation::AddChannel {
                for (name, value) in [("firstname", row.first), ("lastname", row.last)] {
                    customer.names.extend(value.map(|value| (name, NAMES[value].to_owned())));
                }
            }
            if row.operation != Operation::Update || !exists {
                customer.emails.extend(row.emails.iter().map(|at| EMAILS[*at].to_owned()));
            }
        }
    }
    customers
}

/// The state of the server, and the violations that it has noticed.
#[derive(Default)]
struct ServerState {
    customers: BTreeMap<String, ServerCustomer>,
    /// Those who were there before the run and are not purged.
    there: BTreeSet<String>,
    /// Of those, the ones who have to stay as they are.
    untouchable: BTreeSet<String>,
    /// Those whom an update without a field has found.
    probed: BTreeSet<String>,
    /// Those of whom a call was refused for no reason of theirs: their next row does
    /// not know that they are there.
    refused: BTreeSet<String>,
    fates: VecDeque<Fate>,
    faults: BTreeMap<String, u32>,
    in_flight: BTreeSet<String>,
    has_refused: bool,
    /// When the answer to a customer's last request was lost.
    lost_at: BTreeMap<String, Instant>,
    violations: Vec<String>,
    /// Requests until the crash, and its notification.
    crash: Option<(u64, Rc<Notify>)>,
}

type Shared = Rc<RefCell<ServerState>>;

#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Lost;

impl ServerState {
    fn fate(&mut self, id: &str) -> Fate {
        let fate = self.fates.pop_front().unwrap_or(Fate::Answered);
        let faults = self.faults.entry(id.to_owned()).or_default();
        *faults += u32::from(fate != Fate::Answered);
        if *faults > FAULTS_PER_CUSTOMER { Fate::Answered } else { fate }
    }

    fn act(&mut self, path: &str, id: &str, body: &Value) -> (u16, &'static str) {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let names: Vec<_> =
            ["firstname", "lastname"].into_iter().filter_map(|name| Some((name, text(name)?))).collect();
        let is_change = !names.is_empty() || text("extra_email").is_some();
        if path != "/api/v2/customer"
            && is_change
            && self.untouchable.contains(id)
            && !self.refused.contains(id)
        {
            self.violations.push(format!("{id} was to be left alone"));
        }
        match (path, self.customers.get_mut(id)) {
            ("/api/v2/customer", Some(_)) if self.there.contains(id) => (400, "Customer already exists."),
            ("/api/v2/customer", Some(_)) => {
                self.violations.push(format!("a second create of {id}"));
                (200, "Fine.")
            }
            ("/api/v2/customer", None) => {
                let emails = text("customer_link_channel").into_iter().collect();
                self.customers
                    .insert(id.to_owned(), ServerCustomer { names: names.into_iter().collect(), emails });
                (200, "Fine.")
            }
            (_, None) => (400, "Customer not found."),
            ("/api/v2/customer/updateCustomer", Some(customer)) => {
                if !is_change {
                    self.probed.insert(id.to_owned());
                }
                customer.names.extend(names);
                (200, "Fine.")
            }
            ("/api/v2/customer/addchannelonly", Some(customer)) => {
                match customer.emails.insert(text("extra_email").expect("an address")) {
                    true => (200, "Fine."),
                    false => (400, "Channel already exists for this customer."),
                }
            }
            (_, Some(_)) => {
                self.customers.remove(id);
                self.there.remove(id);
                self.untouchable.remove(id);
                (200, "Fine.")
            }
        }
    }

    fn note_request(&mut self) {
        if let Some((remaining, crashed)) = &mut self.crash {
            *remaining = remaining.saturating_sub(1);
            if *remaining == 0 {
                crashed.notify_one();
            }
        }
    }
}

/// A customer with a request in flight.
struct InFlight(Shared, String);

impl InFlight {
    fn new(server: &Shared, id: &str) -> Self {
        if !server.borrow_mut().in_flight.insert(id.to_owned()) {
            server.borrow_mut().violations.push(format!("two concurrent calls of {id}"));
        }
        Self(Rc::clone(server), id.to_owned())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.borrow_mut().in_flight.remove(&self.1);
    }
}

async fn serve(server: Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map_err(|_| Lost)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let names = ["primary_id", "externalPrimaryID", "external_id"];
    let id = names.iter().find_map(|name| body[*name].as_str()).expect("an id").to_owned();
    let _in_flight = InFlight::new(&server, &id);
    let lost_at = server.borrow_mut().lost_at.remove(&id);
    if lost_at.is_some_and(|lost| lost.elapsed() < PAUSE_MIN) {
        server.borrow_mut().violations.push(format!("{id} was retried without a pause"));
    }
    let fate = server.borrow_mut().fate(&id);
    let customer = id.clone();
    if matches!(fate, Fate::Refused | Fate::DoneBehindGateway | Fate::NotDoneBehindGateway) {
        server.borrow_mut().refused.insert(customer.clone());
    }
    let (status, message) = match fate {
        Fate::Answered | Fate::DoneAndLost | Fate::DoneBehindGateway => {
            server.borrow_mut().act(&path, &id, &body)
        }
        Fate::NotDoneAndLost | Fate::NotDoneBehindGateway => (500, ""),
        Fate::Throttled => (429, "Too many requests."),
        Fate::Refused => {
            server.borrow_mut().has_refused = true;
            (400, "No.")
        }
        Fate::LateAndLost => {
            let server = Rc::clone(&server);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(LATE).await;
                server.borrow_mut().act(&path, &id, &body);
            });
            (504, "")
        }
    };
    server.borrow_mut().note_request();
    tokio::time::sleep(LATENCY).await;
    if matches!(fate, Fate::DoneAndLost | Fate::NotDoneAndLost | Fate::LateAndLost) {
        server.borrow_mut().lost_at.insert(customer, Instant::now());
    }
    if matches!(fate, Fate::DoneAndLost | Fate::NotDoneAndLost) {
        return Err(Lost);
    }
    if matches!(fate, Fate::DoneBehindGateway | Fate::NotDoneBehindGateway) {
        server.borrow_mut().has_refused = true;
        let response = Response::builder().status(404).body(Full::default());
        return response.map_err(|_| Lost);
    }
    let kind = if status == 200 { "result" } else { "error" };
    let answer = serde_json::json!({ "type": kind, "status": kind, "message": message }).to_string();
    let response = Response::builder().status(status).body(Full::from(answer));
    response.map_err(|_| Lost)
}

async fn listen(server: Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Rc::clone(&server);
            let service = service_fn(move |request| serve(Rc::clone(&server), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service);
            // An error is only that the client hangs up.
            tokio::task::spawn_local(async move { drop(connection.await) });
        }
    });
    format!("http://{address}")
}

/// Shared by all cases, since it is slow to make.
struct Stage {
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    server: Shared,
    client: Client,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (local, server) = (LocalSet::new(), Shared::default());
        let base_url = local.block_on(&runtime, listen(Rc::clone(&server)));
        let settings = ApiSettings {
            base_url: base_url.try_into().expect("a base URL"),
            auth: omnidesk::Auth::Header,
            body: omnidesk::BodyEncoding::Json,
            timeout: TIMEOUT,
            connections: 8,
        };
        let client = Client::new(&settings, &ApiKey::for_sandbox()).expect("a client");
        Self { runtime, local, server, client }
    }

    fn play(&self, case: Case) {
        *self.server.borrow_mut() = ServerState {
            customers: case.customers(),
            there: case.there.iter().map(|number| id(*number)).collect(),
            untouchable: case.untouchable(),
            fates: case.fates.clone().into(),
            ..ServerState::default()
        };
        // In memory if possible: a case syncs often.
        let folder = tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::TempDir::new());
        let folder = folder.expect("a folder");
        let world = World {
            case,
            server: Rc::clone(&self.server),
            client: self.client.clone(),
            checkpoint: folder.path().join("checkpoint"),
            settled: RefCell::default(),
            part: Cell::new(None),
            is_retry: Cell::new(false),
        };
        self.local.block_on(&self.runtime, world.play());
    }
}

/// A case and its state.
struct World {
    case: Case,
    server: Shared,
    client: Client,
    checkpoint: PathBuf,
    /// Rows whose outcome is durable, of the run over all and of each part.
    settled: RefCell<BTreeMap<Option<u8>, BTreeMap<u64, Outcome>>>,
    /// The customer of the part that is run.
    part: Cell<Option<u8>>,
    /// The run tries the rows again that failed.
    is_retry: Cell<bool>,
}

impl World {
    /// The outcomes of the run that executes.
    fn settled(&self) -> BTreeMap<u64, Outcome> {
        self.settled.borrow().get(&self.part.get()).cloned().unwrap_or_default()
    }

    /// Whether the run that executes covers the row.
    fn covers(&self, number: u64) -> bool {
        let customer = self.case.rows[number as usize - 1].customer;
        self.part.get().is_none_or(|part| part == customer)
    }

    fn rows_covered(&self) -> u64 {
        (1..=self.case.rows.len() as u64).filter(|number| self.covers(*number)).count() as u64
    }

    fn open(&self) -> (Checkpoint, OpenRun) {
        let mut checkpoint = open_checkpoint(&self.checkpoint, "tenant").expect("a checkpoint");
        let scope = match self.part.get() {
            Some(customer) => RunScope::Customers([customer; 16]),
            None => RunScope::Whole,
        };
        let open = checkpoint.open_runs().expect("runs").into_iter();
        let run = match open.into_iter().find(|run| run.record.scope == scope) {
            Some(run) => run,
            None => {
                let mut worklist = Worklist::default();
                let settled = self.settled();
                for number in 1..=self.case.rows.len() as u64 {
                    worklist.add_row(row_ref(number));
                    if self.covers(number) && !settled.contains_key(&number) {
                        worklist.set(number, Work::Calls);
                    }
                }
                let record = RunRecord { rows: self.rows_covered(), scope, ..RunRecord::default() };
                let export = ExportId { hash: ExportHash([7; 32]), ordinal: 1 };
                let first_pass = FirstPassResult { worklist, ..FirstPassResult::default() };
                checkpoint.begin(export, record, first_pass).expect("a run")
            }
        };
        (checkpoint, run)
    }

    /// The run counts the durable outcomes, and the watermark passes no other row.
    fn check_counts(&self, run: &OpenRun) {
        if self.is_retry.get() {
            return;
        }
        let rows = self.rows_covered();
        let mut counted: BTreeSet<u64> = (1..=run.record.watermark).collect();
        counted.extend(run.settled_ahead());
        counted.retain(|row| self.covers(*row));
        let settled = self.settled();
        assert_eq!(
            counted,
            settled.keys().copied().collect(),
            "watermark {} and rows ahead",
            run.record.watermark
        );
        assert_eq!(run.record.counts.total(), settled.len() as u64);
        assert_eq!(run.pending_rows(Work::Calls), rows - settled.len() as u64);
    }

    /// The server holds the acknowledged state, unless a pending call may change it.
    fn check_acknowledged(&self, checkpoint: &Checkpoint) {
        let policy = Policy { allow_recreate: true, ..self.policy(checkpoint, 99) };
        for number in 0..CUSTOMERS {
            let key = policy.key.customer(&customer(number));
            let state = checkpoint.lookups().state(key).expect("a state");
            if checkpoint.lookups().pending(key).is_some() {
                continue;
            }
            let exists = match state {
                CustomerState::Acknowledged(_) | CustomerState::Existing => true,
                CustomerState::Purged(_) | CustomerState::Absent | CustomerState::Vanished => false,
                CustomerState::Unknown | CustomerState::PerhapsPurged(_) => continue,
            };
            let server = self.server.borrow();
            let server_customer = server.customers.get(&id(number));
            assert_eq!(exists, server_customer.is_some(), "customer {number}");
            let Some(server_customer) = server_customer else { continue };
            let is_acknowledged = |row: Row| {
                let situation = Situation::new(state.clone(), Default::default());
                matches!(
                    next(&HashedIntent::new(row.intent(1), &policy.key), &situation, &policy),
                    Step::Done(_)
                )
            };
            let blank = Row {
                customer: number,
                operation: Operation::Sync,
                first: None,
                last: None,
                emails: BTreeSet::new(),
            };
            for (at, name) in NAMES.iter().enumerate() {
                let has = |field| server_customer.names.get(field).is_some_and(|value| value == name);
                let (first, last) =
                    (Row { first: Some(at), ..blank.clone() }, Row { last: Some(at), ..blank.clone() });
                assert!(!is_acknowledged(first) || has("firstname"), "customer {number} is not {name}");
                assert!(!is_acknowledged(last) || has("lastname"), "customer {number} is not {name}");
            }
            for (at, email) in EMAILS.iter().enumerate() {
                let row = Row { emails: [at].into(), ..blank.clone() };
                let has_email = server_customer.emails.contains(*email);
                assert!(!is_acknowledged(row) || has_email, "customer {number} has no {email}");
            }
        }
    }

    /// Also where rows failed and were tried again, the last row decides a field, and
    /// nothing from before a purge is left.
    fn check_last_rows(&self) {
        let (server, settled) = (self.server.borrow(), self.settled());
        for number in 0..CUSTOMERS {
            let Some(customer) = server.customers.get(&id(number)) else { continue };
            let own = || (1..).zip(&self.case.rows).filter(|(_, row)| row.customer == number);
            let last_purge = own().filter(|(at, row)| {
                row.operation == Operation::Purge && settled.get(at) == Some(&Outcome::Purged)
            });
            let last_purge = last_purge.last().map_or(0, |(at, _)| at);
            for (name, value_of) in [
                ("firstname", (|row: &Row| row.first) as fn(&Row) -> Option<usize>),
                ("lastname", |row: &Row| row.last),
            ] {
                let asking = own().filter(|(at, row)| {
                    *at > last_purge
                        && value_of(row).is_some()
                        && !matches!(row.operation, Operation::AddChannel | Operation::Purge)
                });
                let asked: Vec<_> =
                    asking.map(|(at, row)| (at, value_of(row).map(|value| NAMES[value]))).collect();
                let found = customer.names.get(name).map(String::as_str);
                if last_purge > 0 && found.is_some() {
                    let is_asked = asked.iter().any(|(_, value)| *value == found);
                    assert!(is_asked, "{name} of customer {number} was purged by row {last_purge}");
                }
                let is_later_purge =
                    |at: u64| own().any(|(purge, row)| purge > at && row.operation == Operation::Purge);
                if let Some((at, value)) = asked.last().filter(|(at, _)| !is_later_purge(*at)) {
                    let outcome = settled[at];
                    let is_applied = matches!(
                        outcome,
                        Outcome::Created | Outcome::Updated | Outcome::ChannelAdded | Outcome::Unchanged
                    );
                    assert!(
                        !is_applied || found == *value,
                        "{name} of customer {number} is {found:?}, and row {at} asked for {value:?}: {outcome:?}"
                    );
                }
            }
        }
    }

    /// No row of a customer who has to stay as it is has changed anything.
    fn check_untouchable(&self) {
        let (settled, server) = (self.settled(), self.server.borrow());
        let untouchable = self.case.untouchable();
        let is_checked = |id: String| untouchable.contains(&id) && !server.refused.contains(&id);
        for number in (0..CUSTOMERS).filter(|number| is_checked(id(*number))) {
            let own = (1..).zip(&self.case.rows).filter(|(_, row)| row.customer == number);
            for (at, _) in own.take_while(|(_, row)| row.operation != Operation::Purge) {
                let outcome = settled[&at];
                let is_unsent = matches!(outcome, Outcome::Skipped | Outcome::Failed | Outcome::InDoubt);
                assert!(is_unsent, "row {at} of customer {number} is {outcome:?}");
            }
        }
    }

    fn policy(&self, checkpoint: &Checkpoint, export: u32) -> Policy {
        let Case { on_exists, on_missing, .. } = self.case;
        Policy { on_exists, on_missing, ..Policy::new(checkpoint.key(), export) }
    }

    fn settings(&self, policy: Policy) -> DispatchSettings {
        DispatchSettings {
            rates: "100000/s".parse::<Rate>().expect("a rate").into(),
            concurrency: NonZeroU32::new(self.case.concurrency).expect("a worker"),
            attempts: NonZeroU32::new(FAULTS_PER_CUSTOMER + 2).expect("attempts"),
            // The paused clock runs ahead while a socket waits.
            patience: Duration::MAX,
            max_errors: Amount::Count(1000),
            failed_before: 0,
            purges_max: self.case.rows.iter().filter(|row| row.operation == Operation::Purge).count() as u64,
            pending_purges: Vec::new(),
            canary: 0,
            is_proven: true,
            in_doubt: InDoubt::Probe,
            probing: None,
            max_vanished: "100%".parse().expect("a share"),
            vanished_allowed: u64::MAX,
            settle: SETTLE,
            max_duration: None,
            stores_ids: false,
            texts: RefusalTexts::default(),
            policy,
        }
    }

    /// The rows without an outcome.
    fn jobs(&self, run: &OpenRun, policy: &Policy) -> Vec<Job> {
        let settled = self.settled();
        let rows = (1..).zip(&self.case.rows).filter(|(number, _)| !settled.contains_key(number));
        let has_calls = |row: u64| run.worklist.next_after(row - 1, Work::Calls) == Some(row);
        let rows = rows.filter(|(number, _)| has_calls(*number));
        rows.map(|(number, row)| Job {
            fingerprint: RowFingerprint::NONE,
            intent: Box::new(HashedIntent::new(row.intent(number), &policy.key)),
        })
        .collect()
    }

    /// Runs until the end or the crash. Returns whether the run has ended.
    async fn execute(&self, crash: Option<Crash>) -> bool {
        let (mut checkpoint, mut run) = self.open();
        self.check_counts(&run);
        self.check_acknowledged(&checkpoint);
        let policy = self.policy(&checkpoint, run.export.ordinal);
        let (feed, jobs) = mpsc::channel(1);
        feed.try_send(self.jobs(&run, &policy)).expect("room for one");
        drop(feed);
        let (records, inbox) = mpsc::channel(64);
        let (replies, replied) = mpsc::unbounded_channel();
        let crashed = Rc::new(Notify::new());
        self.server.borrow_mut().crash = match crash {
            Some(Crash::AtRequest(requests)) => Some((requests, Rc::clone(&crashed))),
            _ => None,
        };
        let has_ended = {
            let dispatching = dispatch::run(
                self.settings(policy),
                self.client.clone(),
                jobs,
                records,
                replied,
                StopSwitch::default(),
                Rc::default(),
            );
            let recording = self.record(&mut checkpoint, &mut run, (inbox, replies), crash, &crashed);
            tokio::select! {
                biased;
                () = crashed.notified() => false,
                (end, ()) = async { tokio::join!(dispatching, recording) } => {
                    assert_eq!(end.stop, None);
                    true
                }
            }
        };
        if has_ended {
            self.check_counts(&run);
            assert_eq!(run.pending_rows(Work::Calls), 0);
            checkpoint.close_run(&mut run, RunState::Finished, "now").expect("closed");
        }
        drop(checkpoint);
        // Requests from before the crash still take effect.
        tokio::time::sleep(2 * LATE).await;
        has_ended
    }

    /// Like `run::recorder`, without result files.
    async fn record(
        &self,
        checkpoint: &mut Checkpoint,
        run: &mut OpenRun,
        (mut inbox, replies): (mpsc::Receiver<Vec<Record>>, mpsc::UnboundedSender<Reply>),
        crash: Option<Crash>,
        crashed: &Notify,
    ) {
        let mut commits = 0;
        while let Some(mut records) = inbox.recv().await {
            commits += 1;
            let (mut calls, mut settled) = (0, Vec::new());
            let mut batch = checkpoint.batch().expect("a batch");
            for record in records.drain(..) {
                match record {
                    Record::Load { rows } => {
                        let lookups = batch.lookups();
                        let loaded = rows.into_iter().map(|(key, at)| LoadedState {
                            state: lookups.state(key).expect("a state"),
                            pending: lookups.pending(key),
                            progress: lookups.progress(run.id, at),
                        });
                        let _ = replies.send(Reply::Loaded(loaded.collect()));
                    }
                    Record::Begin { key, call, state } => {
                        if state != CustomerState::Unknown {
                            batch.set_state(key, &state).expect("recorded");
                        }
                        batch.set_pending(key, Some(call));
                        calls += 1;
                    }
                    Record::Wait(_) => {}
                    Record::Control { fooled_by } => assert_eq!(fooled_by, None),
                    Record::Confirm { key, state } => batch.set_state(key, &state).expect("recorded"),
                    Record::End(end) => {
                        batch.set_state(end.key, &end.state).expect("recorded");
                        batch.set_progress(run, end.line.at, &end.progress);
                        batch.set_pending(end.key, end.pending);
                    }
                    Record::Settle { at: Place::Row(at), outcome, .. } => {
                        batch.settle(run, at.number, outcome).expect("recorded");
                        settled.push((at.number, outcome));
                    }
                    Record::Settle { at: Place::Missing(_), .. } => panic!("no customer is missing"),
                }
            }
            if matches!(crash, Some(Crash::BeforeCommit(at)) if at == commits) {
                drop(batch);
                crashed.notify_one();
                return std::future::pending().await;
            }
            batch.commit(run, Vec::new()).expect("committed");
            for (row, outcome) in settled {
                self.add_outcome(row, outcome);
            }
            if matches!(crash, Some(Crash::AfterCommit(at)) if at == commits) {
                crashed.notify_one();
                return std::future::pending().await;
            }
            if calls > 0 {
                // The receiver may have been dropped.
                let _ = replies.send(Reply::Recorded { calls });
            }
        }
    }

    fn add_outcome(&self, row: u64, outcome: Outcome) {
        let before = self.settled.borrow_mut().entry(self.part.get()).or_default().insert(row, outcome);
        assert_eq!(before, None, "row {row} has two outcomes, the second {outcome:?}");
        assert_ne!(outcome, Outcome::NotAttempted);
    }

    /// Runs or resumes the part of a customer.
    async fn execute_part(&self, customer: u8, crash: Option<Crash>) {
        self.part.set(Some(customer));
        if self.execute(crash).await {
            // The next one of this customer decides its rows anew.
            self.settled.borrow_mut().remove(&self.part.get());
        }
        self.part.set(None);
    }

    async fn play(&self) {
        fastrand::seed(self.case.seed);
        let mut has_ended = false;
        let mut parts = self.case.parts.iter();
        for crash in &self.case.crashes {
            if !has_ended {
                has_ended = self.execute(Some(*crash)).await;
            }
            if let Some((customer, crash)) = parts.next() {
                self.execute_part(*customer, *crash).await;
            }
        }
        if !has_ended {
            assert!(self.execute(None).await);
        }
        // Parts that crashed are resumed after the rest, and undo nothing of it.
        for (customer, _) in &self.case.parts {
            self.execute_part(*customer, None).await;
        }
        assert_eq!(self.settled().len(), self.case.rows.len());
        if !self.server.borrow().has_refused {
            let server = self.server.borrow();
            // Nothing more is sent to a customer who was perhaps there before.
            let is_compared =
                |id: &String| self.case.on_exists == OnExists::Update || !server.probed.contains(id);
            let compared = |mut customers: BTreeMap<String, ServerCustomer>| {
                customers.retain(|id, _| is_compared(id));
                customers
            };
            assert_eq!(compared(server.customers.clone()), compared(apply_in_order(&self.case)));
        }
        self.check_untouchable();
        self.server.borrow_mut().fates.clear();
        let is_done = |outcome: &mut Outcome| !matches!(outcome, Outcome::Failed | Outcome::InDoubt);
        self.settled.borrow_mut().entry(None).or_default().retain(|_, outcome| is_done(outcome));
        self.is_retry.set(true);
        assert!(self.execute(None).await);
        self.check_last_rows();
        self.check_acknowledged(&open_checkpoint(&self.checkpoint, "tenant").expect("a checkpoint"));
        assert_eq!(self.server.borrow().violations, Vec::<String>::new());
    }
}

#[test]
fn any_interleaving_ends_where_the_rows_in_order_do() {
    let stage = Stage::new();
    let result = TestRunner::new(proptest_config(256)).run(&cases(), |case| {
        stage.play(case);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Found by the test above: the lost update had taken effect, its second attempt was
/// refused, and the checkpoint kept the first name as acknowledged.
#[test]
fn a_refusal_does_not_undo_an_earlier_attempt() {
    let row = |first| Row {
        customer: 0,
        operation: Operation::Sync,
        first: Some(first),
        last: None,
        emails: BTreeSet::new(),
    };
    Stage::new().play(Case {
        rows: vec![row(0), row(1)],
        fates: vec![Fate::Answered, Fate::DoneAndLost, Fate::Refused],
        concurrency: 1,
        ..Case::default()
    });
}

/// Found by the test above: the lost purge had taken effect, its second attempt was
/// refused, and the customer's next call made the checkpoint forget it.
#[test]
fn a_purge_that_may_have_been_done_is_not_forgotten() {
    let row = |operation, first, emails: &[usize]| Row {
        customer: 0,
        operation,
        first,
        last: None,
        emails: emails.iter().copied().collect(),
    };
    Stage::new().play(Case {
        rows: vec![
            row(Operation::Sync, Some(0), &[]),
            row(Operation::Purge, None, &[]),
            row(Operation::Sync, None, &[0]),
        ],
        fates: vec![Fate::Answered, Fate::DoneAndLost, Fate::Refused, Fate::Refused],
        concurrency: 1,
        ..Case::default()
    });
}

/// The last row holds the first name that the customer has already, so it need not
/// send it. The second row must not take it back when it is tried again.
#[test]
fn a_row_that_is_tried_again_undoes_no_later_row() {
    let row = |first, last| Row {
        customer: 0,
        operation: Operation::Sync,
        first: Some(first),
        last,
        emails: BTreeSet::new(),
    };
    Stage::new().play(Case {
        rows: vec![row(0, None), row(1, None), row(0, Some(2))],
        fates: vec![Fate::Answered, Fate::Refused],
        concurrency: 1,
        ..Case::default()
    });
}
