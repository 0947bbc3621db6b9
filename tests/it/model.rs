//! The state machine against a simple model: dispatch, planning and checkpoint
//! as they are, a server that is a map, and any interleaving of answers, lost
//! answers, crashes and resumes.
//!
//! Time is tokio's, paused: it moves when nothing else can, so that a case
//! with minutes of waiting takes milliseconds. A crash drops everything and
//! opens the checkpoint again; what real kills add is in `kill`.

use std::cell::RefCell;
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
    Checkpoint, ExportId, FirstPassResult, OpenRun, RunRecord, RunState, Work, Worklist,
};
use omnidesk_sync::dispatch::{self, DispatchSettings, InDoubt, Job, LoadedState, Record, StopSwitch};
use omnidesk_sync::mapping::{
    Address, Channel, Customer, FieldName, FieldValue, Intent, Operation, Place, PrimaryId,
};
use omnidesk_sync::omnidesk::{self, ApiKey, ApiSettings, Client, RefusalTexts};
use omnidesk_sync::reconcile::{CustomerState, Outcome, Policy, RowFingerprint, Situation, Step, next};
use omnidesk_sync::source::{ExportHash, RowRef};
use omnidesk_sync::units::Amount;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::Instant;

const CUSTOMERS: u8 = 3;
const NAMES: [&str; 4] = ["Ann", "Bob", "Cor", "Dik"];
const EMAILS: [&str; 3] = ["a@example.org", "b@example.org", "c@example.org"];
/// How long the server takes, so that other customers get between.
const LATENCY: Duration = Duration::from_millis(3);
/// How much later a late call is carried out, and how long a client waits for
/// that; also after a crash, before anything is looked at.
const LATE: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(30);
/// Below the attempts, so that nobody is given up.
const FAULTS_PER_CUSTOMER: u32 = 3;
/// A call that failed is not tried again at once: `send::PAUSE_MIN`.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Never: a clock that jumps must not end an exchange.
const TIMEOUT: Duration = Duration::from_secs(1_000_000);

#[derive(Debug, Clone)]
struct Row {
    customer: u8,
    operation: Operation,
    first: Option<usize>,
    last: Option<usize>,
    emails: BTreeSet<usize>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    LostAndDone,
    LostAndNotDone,
    /// No answer, and carried out later.
    LostAndLate,
    Throttled,
    Refused,
}

/// Where an execution ends.
#[derive(Debug, Clone, Copy)]
enum Crash {
    BeforeCommit(u64),
    /// And before anybody hears of it.
    AfterCommit(u64),
    /// When the server has carried it out, or not, and before its answer.
    AtRequest(u64),
}

#[derive(Debug, Clone)]
struct Case {
    rows: Vec<Row>,
    fates: Vec<Fate>,
    crashes: Vec<Crash>,
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
        8 => Just(Fate::Answered), 2 => Just(Fate::LostAndDone), 2 => Just(Fate::LostAndNotDone),
        2 => Just(Fate::LostAndLate), 1 => Just(Fate::Throttled),
    ];
    // In one case of four the API refuses calls too: then rows fail.
    let fates = (proptest::collection::vec((fate, 0..10_u8), 0..50), 0..4_u8).prop_map(|(fates, refuses)| {
        let refused = |one| refuses == 0 && one == 0;
        fates.into_iter().map(|(fate, one)| if refused(one) { Fate::Refused } else { fate }).collect()
    });
    let crash = prop_oneof![
        (1..12_u64).prop_map(Crash::BeforeCommit),
        (1..12_u64).prop_map(Crash::AfterCommit),
        (1..10_u64).prop_map(Crash::AtRequest),
    ];
    let crashes = proptest::collection::vec(crash, 0..6);
    (proptest::collection::vec(row, 1..16), fates, crashes, 1..5_u32, any::<u64>()).prop_map(
        |(mut rows, fates, crashes, concurrency, seed)| {
            begin_with_creates(&mut rows);
            Case { rows, fates, crashes, concurrency, seed }
        },
    )
}

/// The first row of a customer makes one, whichever way.
fn begin_with_creates(rows: &mut [Row]) {
    let mut known = BTreeSet::new();
    for row in rows {
        if known.insert(row.customer) {
            row.first.get_or_insert(0);
            if matches!(row.operation, Operation::AddChannel | Operation::Purge) {
                row.operation = Operation::Sync;
            }
        }
    }
}

fn row_ref(number: u64) -> RowRef {
    RowRef { number, line: number + 1, offset: number, len: 1 }
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
            addresses: self.emails.iter().map(email).collect(),
            ticket_id: None,
            no_sync: false,
            warnings: Vec::new(),
        }
    }
}

/// What the server holds of a customer.
#[derive(Debug, Clone, Default, PartialEq)]
struct Holds {
    names: BTreeMap<&'static str, String>,
    emails: BTreeSet<String>,
}

/// The model: rows applied one after the other, by a client who is always
/// answered.
fn in_order(rows: &[Row]) -> BTreeMap<String, Holds> {
    let (mut held, mut purged) = (BTreeMap::<String, Holds>::new(), BTreeSet::new());
    for row in rows {
        let id = id(row.customer);
        let exists = held.contains_key(&id);
        let makes = match row.operation {
            Operation::Sync | Operation::Create => true,
            // A customer who was purged does not come back by an update.
            Operation::Update => exists || !purged.contains(&id),
            _ => exists,
        };
        if row.operation == Operation::Purge {
            held.remove(&id);
            purged.insert(id);
        } else if makes {
            let holds = held.entry(id).or_default();
            if row.operation != Operation::AddChannel {
                for (name, value) in [("firstname", row.first), ("lastname", row.last)] {
                    holds.names.extend(value.map(|value| (name, NAMES[value].to_owned())));
                }
            }
            if row.operation != Operation::Update || !exists {
                holds.emails.extend(row.emails.iter().map(|at| EMAILS[*at].to_owned()));
            }
        }
    }
    held
}

/// The server, and what it has seen that must not be.
#[derive(Default)]
struct Truth {
    held: BTreeMap<String, Holds>,
    fates: VecDeque<Fate>,
    faults: BTreeMap<String, u32>,
    busy: BTreeSet<String>,
    refused: bool,
    /// When a customer's last request got no answer that settles it.
    lost_at: BTreeMap<String, Instant>,
    violations: Vec<String>,
    /// Requests until the crash, and who is to hear of it.
    crash: Option<(u64, Rc<Notify>)>,
}

type Shared = Rc<RefCell<Truth>>;

#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Lost;

impl Truth {
    fn fate(&mut self, id: &str) -> Fate {
        let fate = self.fates.pop_front().unwrap_or(Fate::Answered);
        let met = self.faults.entry(id.to_owned()).or_default();
        *met += u32::from(fate != Fate::Answered);
        if *met > FAULTS_PER_CUSTOMER { Fate::Answered } else { fate }
    }

    fn act(&mut self, path: &str, id: &str, body: &Value) -> (u16, &'static str) {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let names = ["firstname", "lastname"].into_iter().filter_map(|name| Some((name, text(name)?)));
        let known = self.held.get_mut(id);
        match (path, known) {
            ("/api/v2/customer", Some(_)) => {
                self.violations.push(format!("a second create of {id}"));
                (200, "Fine.")
            }
            ("/api/v2/customer", None) => {
                let emails = text("customer_link_channel").into_iter().collect();
                self.held.insert(id.to_owned(), Holds { names: names.collect(), emails });
                (200, "Fine.")
            }
            (_, None) => (400, "Customer not found."),
            ("/api/v2/customer/updateCustomer", Some(holds)) => {
                holds.names.extend(names);
                (200, "Fine.")
            }
            ("/api/v2/customer/addchannelonly", Some(holds)) => {
                match holds.emails.insert(text("extra_email").expect("an address")) {
                    true => (200, "Fine."),
                    false => (400, "Channel already exists for this customer."),
                }
            }
            (_, Some(_)) => {
                self.held.remove(id);
                (200, "Fine.")
            }
        }
    }

    fn note_request(&mut self) {
        if let Some((left, heard)) = &mut self.crash {
            *left = left.saturating_sub(1);
            if *left == 0 {
                heard.notify_one();
            }
        }
    }
}

/// A customer with a request under way, until the request's end.
struct Busy(Shared, String);

impl Busy {
    fn new(truth: &Shared, id: &str) -> Self {
        if !truth.borrow_mut().busy.insert(id.to_owned()) {
            truth.borrow_mut().violations.push(format!("two calls of {id} at once"));
        }
        Self(Rc::clone(truth), id.to_owned())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.borrow_mut().busy.remove(&self.1);
    }
}

async fn serve(truth: Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map_err(|_| Lost)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let names = ["primary_id", "externalPrimaryID", "external_id"];
    let id = names.iter().find_map(|name| body[*name].as_str()).expect("an id").to_owned();
    let _busy = Busy::new(&truth, &id);
    let lost_at = truth.borrow_mut().lost_at.remove(&id);
    if lost_at.is_some_and(|lost| lost.elapsed() < PAUSE_MIN) {
        truth.borrow_mut().violations.push(format!("{id} was tried again at once"));
    }
    let fate = truth.borrow_mut().fate(&id);
    let customer = id.clone();
    let (status, message) = match fate {
        Fate::Answered | Fate::LostAndDone => truth.borrow_mut().act(&path, &id, &body),
        Fate::LostAndNotDone => (500, ""),
        Fate::Throttled => (429, "Too many requests."),
        Fate::Refused => {
            truth.borrow_mut().refused = true;
            (400, "No.")
        }
        Fate::LostAndLate => {
            let truth = Rc::clone(&truth);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(LATE).await;
                truth.borrow_mut().act(&path, &id, &body);
            });
            (504, "")
        }
    };
    truth.borrow_mut().note_request();
    tokio::time::sleep(LATENCY).await;
    if matches!(fate, Fate::LostAndDone | Fate::LostAndNotDone | Fate::LostAndLate) {
        truth.borrow_mut().lost_at.insert(customer, Instant::now());
    }
    if matches!(fate, Fate::LostAndDone | Fate::LostAndNotDone) {
        return Err(Lost);
    }
    let kind = if status == 200 { "result" } else { "error" };
    let answer = serde_json::json!({ "type": kind, "status": kind, "message": message }).to_string();
    let response = Response::builder().status(status).body(Full::from(answer));
    response.map_err(|_| Lost)
}

async fn listen(truth: Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let truth = Rc::clone(&truth);
            let service = service_fn(move |request| serve(Rc::clone(&truth), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service);
            // How a client leaves is of no interest.
            tokio::task::spawn_local(async move { drop(connection.await) });
        }
    });
    format!("http://{address}")
}

/// What all cases share, since it is slow to make.
struct Stage {
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    truth: Shared,
    client: Client,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (local, truth) = (LocalSet::new(), Shared::default());
        let base_url = local.block_on(&runtime, listen(Rc::clone(&truth)));
        let settings = ApiSettings {
            base_url: base_url.try_into().expect("a base URL"),
            auth: omnidesk::Auth::Header,
            body: omnidesk::BodyEncoding::Json,
            timeout: TIMEOUT,
            connections: 8,
        };
        let client = Client::new(&settings, &ApiKey::for_sandbox()).expect("a client");
        Self { runtime, local, truth, client }
    }

    fn play(&self, case: Case) {
        *self.truth.borrow_mut() = Truth { fates: case.fates.clone().into(), ..Truth::default() };
        // Thousands of syncs: in memory, where there is such a place.
        let folder = tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::TempDir::new());
        let folder = folder.expect("a folder");
        let world = World {
            case,
            truth: Rc::clone(&self.truth),
            client: self.client.clone(),
            checkpoint: folder.path().join("checkpoint"),
            settled: RefCell::default(),
        };
        self.local.block_on(&self.runtime, world.play());
    }
}

/// One case on its way.
struct World {
    case: Case,
    truth: Shared,
    client: Client,
    checkpoint: PathBuf,
    /// Rows whose outcome is durable.
    settled: RefCell<BTreeSet<u64>>,
}

impl World {
    fn open(&self) -> (Checkpoint, OpenRun) {
        let mut checkpoint = crate::world::open_checkpoint(&self.checkpoint, "tenant").expect("a checkpoint");
        let run = match checkpoint.open_run().expect("a run") {
            Some(run) => run,
            None => {
                let rows = self.case.rows.len() as u64;
                let mut worklist = Worklist::default();
                for number in 1..=rows {
                    worklist.add_row(row_ref(number));
                    worklist.set(number, Work::Calls);
                }
                let record = RunRecord { rows, ..RunRecord::default() };
                let export = ExportId { hash: ExportHash([7; 32]), ordinal: 1 };
                let first_pass = FirstPassResult { worklist, ..FirstPassResult::default() };
                checkpoint.begin(export, record, first_pass).expect("a run")
            }
        };
        (checkpoint, run)
    }

    /// The run's counts are what is durable, and the watermark passes no row that is not.
    fn check_counts(&self, run: &OpenRun) {
        let rows = self.case.rows.len() as u64;
        let mut counted: BTreeSet<u64> = (1..=run.record.watermark).collect();
        counted.extend(run.settled_ahead());
        let settled = self.settled.borrow();
        assert_eq!(counted, *settled, "watermark {} and rows ahead", run.record.watermark);
        assert_eq!(run.record.counts.total(), settled.len() as u64);
        assert_eq!(run.pending_rows(Work::Calls), rows - settled.len() as u64);
    }

    /// What the checkpoint claims that the server holds, it holds; unless a call
    /// is recorded that may still change it.
    fn check_claims(&self, checkpoint: &Checkpoint) {
        let policy = Policy { key: checkpoint.key(), export: 99, full: false, allow_recreate: true };
        for number in 0..CUSTOMERS {
            let key = policy.key.customer(&customer(number));
            let state = checkpoint.lookups().state(key).expect("a state");
            if checkpoint.lookups().pending(key).is_some() {
                continue;
            }
            let is_purged = matches!(state, CustomerState::Purged(_));
            if !is_purged && !matches!(state, CustomerState::Acknowledged(_)) {
                continue;
            }
            let truth = self.truth.borrow();
            let holds = truth.held.get(&id(number));
            assert_eq!(is_purged, holds.is_none(), "customer {number}");
            let Some(holds) = holds else { continue };
            let claims = |row: Row| {
                let situation = Situation::new(state.clone(), Default::default());
                matches!(next(&row.intent(1), &situation, &policy), Step::Done(_))
            };
            let blank = Row {
                customer: number,
                operation: Operation::Sync,
                first: None,
                last: None,
                emails: BTreeSet::new(),
            };
            for (at, name) in NAMES.iter().enumerate() {
                let held = |field| holds.names.get(field).is_some_and(|held| held == name);
                let (first, last) =
                    (Row { first: Some(at), ..blank.clone() }, Row { last: Some(at), ..blank.clone() });
                assert!(!claims(first) || held("firstname"), "customer {number} does not have {name}");
                assert!(!claims(last) || held("lastname"), "customer {number} does not have {name}");
            }
            for (at, email) in EMAILS.iter().enumerate() {
                let row = Row { emails: [at].into(), ..blank.clone() };
                assert!(!claims(row) || holds.emails.contains(*email), "customer {number} has no {email}");
            }
        }
    }

    fn settings(&self, policy: Policy) -> DispatchSettings {
        DispatchSettings {
            rate: "100000/s".parse().expect("a rate"),
            concurrency: NonZeroU32::new(self.case.concurrency).expect("a worker"),
            attempts: NonZeroU32::new(FAULTS_PER_CUSTOMER + 2).expect("attempts"),
            // The paused clock runs ahead while a socket is waited for.
            patience: Duration::MAX,
            max_errors: Amount::Count(1000),
            failed_before: 0,
            purges_max: self.case.rows.iter().filter(|row| row.operation == Operation::Purge).count() as u64,
            pending_purges: Vec::new(),
            canary: 0,
            is_proven: true,
            in_doubt: InDoubt::Probe,
            settle: SETTLE,
            max_duration: None,
            stores_ids: false,
            texts: RefusalTexts::default(),
            policy,
        }
    }

    /// The rows without an outcome.
    fn jobs(&self, run: &OpenRun, policy: &Policy) -> Vec<Job> {
        let settled = self.settled.borrow();
        let rows = (1..).zip(&self.case.rows).filter(|(number, _)| !settled.contains(number));
        let has_calls = |row: u64| run.worklist.next_after(row - 1, Work::Calls) == Some(row);
        let rows = rows.filter(|(number, _)| has_calls(*number));
        rows.map(|(number, row)| Job {
            key: policy.key.customer(&customer(row.customer)),
            fingerprint: RowFingerprint::NONE,
            intent: Box::new(row.intent(number)),
        })
        .collect()
    }

    /// Runs until the end or the crash; whether it came to its end.
    async fn execute(&self, crash: Option<Crash>) -> bool {
        let (mut checkpoint, mut run) = self.open();
        self.check_counts(&run);
        self.check_claims(&checkpoint);
        let policy =
            Policy { key: checkpoint.key(), export: run.export.ordinal, full: false, allow_recreate: false };
        let (feed, jobs) = mpsc::channel(1);
        feed.try_send(self.jobs(&run, &policy)).expect("room for one");
        drop(feed);
        let (records, inbox) = mpsc::channel(64);
        let heard = Rc::new(Notify::new());
        self.truth.borrow_mut().crash = match crash {
            Some(Crash::AtRequest(requests)) => Some((requests, Rc::clone(&heard))),
            _ => None,
        };
        let ended = {
            let dispatching = dispatch::run(
                self.settings(policy),
                self.client.clone(),
                jobs,
                records,
                StopSwitch::default(),
            );
            let recording = self.record(&mut checkpoint, &mut run, inbox, crash, &heard);
            tokio::select! {
                biased;
                () = heard.notified() => false,
                (end, ()) = async { tokio::join!(dispatching, recording) } => {
                    assert_eq!(end.stop, None);
                    true
                }
            }
        };
        if ended {
            self.check_counts(&run);
            assert_eq!(run.pending_rows(Work::Calls), 0);
            checkpoint.close_run(&mut run, RunState::Finished, "now").expect("closed");
        }
        drop(checkpoint);
        // What was sent before the crash is still carried out.
        tokio::time::sleep(2 * LATE).await;
        ended
    }

    /// As `run::recorder` does, without result files.
    async fn record(
        &self,
        checkpoint: &mut Checkpoint,
        run: &mut OpenRun,
        mut inbox: mpsc::Receiver<Vec<Record>>,
        crash: Option<Crash>,
        heard: &Notify,
    ) {
        let mut commits = 0;
        while let Some(mut records) = inbox.recv().await {
            commits += 1;
            let (mut waiting, mut settled) = (Vec::new(), Vec::new());
            let mut batch = checkpoint.batch().expect("a batch");
            for record in records.drain(..) {
                match record {
                    Record::Load { rows, reply } => {
                        let lookups = batch.lookups();
                        let loaded = rows.into_iter().map(|(key, at)| LoadedState {
                            state: lookups.state(key).expect("a state"),
                            pending: lookups.pending(key),
                            progress: lookups.progress(at),
                        });
                        let _ = reply.send(loaded.collect());
                    }
                    Record::Begin { key, call, state, reply } => {
                        if state != CustomerState::Unknown {
                            batch.set_state(key, &state).expect("recorded");
                        }
                        batch.set_pending(key, Some(call));
                        waiting.push(reply);
                    }
                    Record::Confirm { key, state } => batch.set_state(key, &state).expect("recorded"),
                    Record::End(end) => {
                        batch.set_state(end.key, &end.state).expect("recorded");
                        batch.set_progress(end.line.at, &end.progress);
                        batch.set_pending(end.key, end.pending);
                    }
                    Record::Settle { at: Place::Row(at), outcome, .. } => {
                        batch.settle(run, at.number, outcome).expect("recorded");
                        settled.push((at.number, outcome));
                    }
                    Record::Settle { at: Place::Missing(_), .. } => panic!("nobody is missing"),
                }
            }
            if matches!(crash, Some(Crash::BeforeCommit(at)) if at == commits) {
                drop(batch);
                heard.notify_one();
                return std::future::pending().await;
            }
            batch.commit(run, Vec::new()).expect("committed");
            for (row, outcome) in settled {
                self.add_outcome(row, outcome);
            }
            if matches!(crash, Some(Crash::AfterCommit(at)) if at == commits) {
                heard.notify_one();
                return std::future::pending().await;
            }
            for reply in waiting {
                // Whoever asked may be gone.
                let _ = reply.send(());
            }
        }
    }

    fn add_outcome(&self, row: u64, outcome: Outcome) {
        assert!(self.settled.borrow_mut().insert(row), "row {row} has two outcomes, the second {outcome:?}");
        assert_ne!(outcome, Outcome::NotAttempted);
    }

    async fn play(&self) {
        fastrand::seed(self.case.seed);
        let mut ended = false;
        for crash in &self.case.crashes {
            if !ended {
                ended = self.execute(Some(*crash)).await;
            }
        }
        if !ended {
            assert!(self.execute(None).await);
        }
        assert_eq!(self.settled.borrow().len(), self.case.rows.len());
        self.check_claims(&crate::world::open_checkpoint(&self.checkpoint, "tenant").expect("a checkpoint"));
        let truth = self.truth.borrow();
        assert_eq!(truth.violations, Vec::<String>::new());
        if !truth.refused {
            assert_eq!(truth.held, in_order(&self.case.rows));
        }
    }
}

#[test]
fn any_interleaving_ends_where_the_rows_in_order_do() {
    let stage = Stage::new();
    let played = TestRunner::new(crate::world::cases(256)).run(&cases(), |case| {
        stage.play(case);
        Ok(())
    });
    played.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Found by the test above: the lost update was done, its second try refused,
/// and the checkpoint went on claiming the first name.
#[test]
fn a_refusal_does_not_undo_an_earlier_try() {
    let row = |first| Row {
        customer: 0,
        operation: Operation::Sync,
        first: Some(first),
        last: None,
        emails: BTreeSet::new(),
    };
    Stage::new().play(Case {
        rows: vec![row(0), row(1)],
        fates: vec![Fate::Answered, Fate::LostAndDone, Fate::Refused],
        crashes: Vec::new(),
        concurrency: 1,
        seed: 0,
    });
}

/// Found by the test above: a purge was done and its answer lost, its second
/// try refused, and the next call of the customer let that be forgotten.
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
        fates: vec![Fate::Answered, Fate::LostAndDone, Fate::Refused, Fate::Refused],
        crashes: Vec::new(),
        concurrency: 1,
        seed: 0,
    });
}
