//! The sandbox as a client sees it: over a socket, by a client of a few lines that shares nothing with the real one.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use omnidesk_sync::sandbox::{
    BodyForm, Channel, ChannelKind, CustomerId, Duplicates, Faults, KeyPlace, RateLimit, Sandbox,
    SandboxError, Script, Settings, State, Statuses, Wording,
};
use serde_json::{Value, json};

use crate::world::World;

/// Far more than any of these tests takes, so that a bug ends them.
const PATIENCE: Duration = Duration::from_secs(60);

const CUSTOMER: &str = "/api/v2/customer";
const UPDATE: &str = "/api/v2/customer/updateCustomer";
const ADD_CHANNEL: &str = "/api/v2/customer/addchannelonly";
const PURGE: &str = "/api/v2/customer/purgedata";

const JSON: &str = "Content-Type: application/json\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> (u16, Value) {
        (self.status, serde_json::from_str(&self.body).unwrap_or(Value::Null))
    }

    fn message(&self) -> String {
        self.json().1["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// One connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(sandbox: &Sandbox) -> Self {
        let url = sandbox.base_url();
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn write(&mut self, method: &str, target: &str, headers: &str, body: &str) {
        let length = body.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n");
        let stream = self.0.get_mut();
        stream.write_all((head + body).as_bytes()).unwrap();
    }

    /// The next answer, or `None` if the connection ends in order and without a byte.
    fn read(&mut self) -> Option<Reply> {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            if self.0.read_line(&mut head).unwrap() == 0 {
                assert_eq!(head, "", "the connection ended inside an answer");
                return None;
            }
            if let Some(value) = head[start..].to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        let status = head[9..12].parse().unwrap();
        Some(Reply { status, head: head.to_ascii_lowercase(), body: String::from_utf8(body).unwrap() })
    }

    fn send(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Option<Reply> {
        self.write(method, target, headers, body);
        self.read()
    }

    fn json(&mut self, method: &str, target: &str, body: &Value) -> Option<Reply> {
        self.send(method, target, JSON, &body.to_string())
    }

    fn create(&mut self, id: &str) -> Option<Reply> {
        self.json("POST", CUSTOMER, &json!({"primary_id": id, "brand_id": 2}))
    }

    fn update(&mut self, id: &str) -> Option<Reply> {
        self.json("PUT", UPDATE, &json!({"externalPrimaryID": id, "brandID": "2", "city": "Ede"}))
    }

    fn log(&mut self) -> Vec<Value> {
        let reply = self.send("GET", "/sandbox/log", "", "").unwrap();
        reply.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn start(settings: Settings) -> (Sandbox, Client) {
    let sandbox = Sandbox::start(settings).unwrap();
    let client = Client::new(&sandbox);
    (sandbox, client)
}

fn with_faults(faults: &str, per_customer_max: u32) -> Settings {
    Settings {
        faults: Faults::parse(faults).unwrap(),
        faults_per_customer_max: per_customer_max,
        ..Settings::default()
    }
}

fn with_script(script: &str) -> Settings {
    Settings { script: Script::parse(script, Path::new("script.toml")).unwrap(), ..Settings::default() }
}

/// Asks again until the condition holds.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "the condition never held");
        std::thread::yield_now();
    }
}

fn ids(state: &State) -> Vec<&str> {
    state.customers.iter().map(|customer| &*customer.id.primary_id).collect()
}

#[test]
fn the_four_calls_answer_as_the_page_says_and_have_their_effects() {
    let (sandbox, mut client) = start(Settings::default());
    let body = json!({"primary_id": "A1", "brand_id": 2, "firstname": "Ann", "lastname": "O'Brien", "channel_id": "email",
        "customer_link_channel": "ann@example.org", "ticket_id": 7, "noSync": true, "city": "Ede"});
    let created = client.json("POST", CUSTOMER, &body).unwrap();
    assert_eq!(
        created.json(),
        (200, json!({"type": "result", "message": "User created and channel linked."}))
    );
    assert!(created.head.contains("content-type: application/json"));
    let body = json!({"externalPrimaryID": "A1", "brandID": "2", "lastname": "Vis"});
    let updated = client.json("PUT", UPDATE, &body).unwrap();
    assert_eq!(updated.json(), (200, json!({"type": "result", "message": "Customer updated."})));
    let body = json!({"primary_id": "A1", "brand_id": "2", "extra_telephone": "+31201234567"});
    let added = client.json("POST", ADD_CHANNEL, &body).unwrap();
    assert_eq!(added.json(), (200, json!({"type": "result", "message": "Channel added to the customer."})));
    client.create("A0").unwrap();
    let purged = client.json("DELETE", PURGE, &json!({"external_id": "A0", "brand_id": 2})).unwrap();
    assert_eq!((purged.status, &*purged.body), (200, ""));

    let state = sandbox.state();
    let channel = |kind, address: &str| Channel { kind, address: address.to_owned() };
    let customer = &state.customers[0];
    assert_eq!(customer.firstname.as_deref(), Some("Ann"));
    assert_eq!(customer.lastname.as_deref(), Some("Vis"));
    let channels: Vec<_> = customer.channels.iter().cloned().collect();
    let email = channel(ChannelKind::Email, "ann@example.org");
    assert_eq!(channels, [email, channel(ChannelKind::Telephone, "+31201234567")]);
    assert_eq!(state.purged, [CustomerId { brand_id: 2, primary_id: "A0".to_owned() }]);
    let shown = client.send("GET", "/sandbox/state", "", "").unwrap();
    assert_eq!(serde_json::from_str::<State>(&shown.body).unwrap(), state);
    let shown = &shown.json().1["customers"][0];
    assert_eq!(
        *shown,
        json!({"brand_id": 2, "primary_id": "A1", "firstname": "Ann", "lastname": "Vis", "custom": {"city": "Ede"},
            "channels": [{"kind": "email", "address": "ann@example.org"},
                {"kind": "telephone", "address": "+31201234567"}],
            "ticket_ids": [7], "no_sync": true})
    );
    assert_eq!(state.violations, Vec::<String>::new());
}

#[test]
fn form_bodies_do_the_same() {
    let (sandbox, mut client) = start(Settings::default());
    let calls = [
        ("POST", CUSTOMER, "primary_id=A1&brand_id=2&firstname=%C3%96zg%C3%BCr&ticket_id=7&noSync=true"),
        ("PUT", UPDATE, "externalPrimaryID=A1&brandID=2&city=Den+Haag"),
        ("POST", ADD_CHANNEL, "primary_id=A1&brand_id=2&extra_telephone=%2B31201234567"),
        ("POST", CUSTOMER, "primary_id=A0&brand_id=2"),
        ("DELETE", PURGE, "external_id=A0&brand_id=2"),
    ];
    for (method, path, form) in calls {
        assert_eq!(client.send(method, path, FORM, form).unwrap().status, 200, "{form}");
    }
    let state = sandbox.state();
    assert_eq!(ids(&state), ["A1"]);
    assert_eq!(state.customers[0].firstname.as_deref(), Some("Özgür"));
    assert_eq!(state.customers[0].custom["city"], "Den Haag");
}

#[test]
fn other_requests_are_refused_by_their_status() {
    let (sandbox, mut client) = start(Settings { brands: Some(vec![2]), ..Settings::default() });
    let large = "x".repeat(1024 * 1024 + 1);
    let cases = [
        ("POST", "/api/v2/customers", JSON, "{}", 404, "There is nothing at this path."),
        ("GET", "/sandbox/other", "", "", 404, "There is nothing at this path."),
        ("POST", UPDATE, JSON, "{}", 405, "This path takes PUT only."),
        ("PUT", CUSTOMER, "", "", 405, "This path takes POST only."),
        ("GET", "/api/v2/customer?itemLimit=100", "", "", 400, "itemLimit: expected a number from 1 to 99"),
        ("GET", "/api/v2/customer?itemStart=-1", "", "", 400, "itemStart: expected a number"),
        ("GET", "/api/v2/customer?start=1", "", "", 400, "start: is not a parameter of the list"),
        ("POST", "/sandbox/state", JSON, "{}", 405, "This path takes GET only."),
        ("POST", CUSTOMER, JSON, &large, 413, "The body is larger than 1 MiB."),
        ("POST", CUSTOMER, "Content-Type: text/plain\r\n", "{}", 415, "The content type must be"),
        ("POST", CUSTOMER, "", "{}", 415, "The content type must be"),
        ("POST", CUSTOMER, JSON, "{", 400, "The body is not a JSON object"),
        (
            "POST",
            CUSTOMER,
            JSON,
            r#"{"primary_id":"A1","brand_id":"2"}"#,
            400,
            "brand_id: expected an integer",
        ),
        ("POST", CUSTOMER, JSON, r#"{"primary_id":"A1","brand_id":9}"#, 400, "Brand is invalid."),
        ("DELETE", PURGE, JSON, r#"{"external_id":"A1","brand_id":2}"#, 400, "Customer not found."),
    ];
    for (method, path, headers, body, status, message) in cases {
        let reply = client.send(method, path, headers, body).unwrap();
        assert_eq!((reply.status, reply.json().1["status"].as_str()), (status, Some("error")), "{path}");
        assert!(reply.message().starts_with(message), "{path}: {}", reply.message());
        assert_eq!(reply.head.contains("\r\nallow:"), status == 405, "{path}");
    }
    let counters = sandbox.state().counters;
    assert_eq!((counters.requests, counters.refused, counters.create), (13, 13, 0));
}

#[test]
fn the_list_shows_a_part_of_the_customers_and_counts_all() {
    let (_sandbox, mut client) = start(Settings::default());
    (0..20).for_each(|id| assert_eq!(client.create(&format!("A{id:02}")).unwrap().status, 200));
    for (query, first, len) in
        [("", "A00", 15), ("?itemStart=18", "A18", 2), ("?itemStart=3&itemLimit=1", "A03", 1)]
    {
        let (status, list) = client.send("GET", &format!("{CUSTOMER}{query}"), "", "").unwrap().json();
        assert_eq!((status, &list["itemTotal"]), (200, &20.into()), "{query}");
        let customers = list["customers"].as_array().unwrap();
        assert_eq!((customers.len(), &customers[0]["external_primary_id"]), (len, &first.into()), "{query}");
        assert_eq!(customers[0]["brand_name"], "Brand 2");
    }
    let log = client.log();
    assert_eq!(log.last().map(|entry| &entry["call"]), Some(&"list".into()));
}

#[test]
fn a_key_is_required_where_one_is_set_and_is_never_shown() {
    let settings = Settings { api_key: Some("s3cret".into()), ..Settings::default() };
    assert!(!format!("{settings:?}").contains("s3cret"));
    let (sandbox, mut client) = start(settings);
    let body = r#"{"primary_id":"A1","brand_id":2}"#;
    let wrong = [("", CUSTOMER), ("apiKey: other\r\n", CUSTOMER), ("", "/api/v2/customer?apiKey=other")];
    for (header, target) in wrong {
        let reply = client.send("POST", target, &format!("{header}{JSON}"), body).unwrap();
        assert_eq!((reply.status, &*reply.message()), (401, "The API key is missing or wrong."));
    }
    let header = format!("APIKEY: s3cret\r\n{JSON}");
    assert_eq!(client.send("POST", CUSTOMER, &header, body).unwrap().status, 200);
    let purge = r#"{"external_id":"A1","brand_id":2}"#;
    let target = format!("{PURGE}?apiKey=s3cret");
    assert_eq!(client.send("DELETE", &target, JSON, purge).unwrap().status, 200);
    let shown = format!("{:?} {:?} {sandbox:?}", client.log(), sandbox.state());
    assert!(!shown.contains("s3cret") && !shown.contains("apiKey"));
}

#[test]
fn calls_over_the_rate_limit_are_throttled() {
    for (retry_after, header) in [(true, "\r\nretry-after: 43200\r\n"), (false, "")] {
        let calls = NonZeroU32::new(2).unwrap();
        let limit = RateLimit { calls, per: Duration::from_secs(86_400), retry_after };
        let (sandbox, mut client) = start(Settings { rate_limit: Some(limit), ..Settings::default() });
        assert_eq!(client.create("A1").unwrap().status, 200);
        assert_eq!(client.create("A2").unwrap().status, 200);
        let reply = client.create("A3").unwrap();
        assert_eq!((reply.status, &*reply.message()), (429, "Too many requests."));
        assert_eq!(reply.head.contains("retry-after"), retry_after);
        assert!(header.is_empty() || reply.head.contains(header), "{}", reply.head);
        let state = sandbox.state();
        assert_eq!((state.counters.throttled, ids(&state)), (1, vec!["A1", "A2"]));
        assert_eq!(client.log()[2]["primary_id"], "A3");
    }
}

#[test]
fn faults_with_an_answer_act_or_not() {
    let cases = [
        ("refuse_before=1", 503, 0, false),
        ("error_after=1", 500, 1, false),
        ("throttle=1", 429, 0, true),
        ("stall=1,stall_for=1ms", 200, 1, false),
    ];
    for (faults, status, created, has_retry_after) in cases {
        let (sandbox, mut client) = start(with_faults(faults, 1));
        let reply = client.create("A1").unwrap();
        assert_eq!((reply.status, sandbox.state().counters.create), (status, created), "{faults}");
        assert_eq!(reply.head.contains("\r\nretry-after: 1\r\n"), has_retry_after, "{faults}");
        let name = faults.split('=').next().unwrap();
        assert_eq!(sandbox.state().counters.faults[name], 1);
        // The customer has reached its bound; its next call gets no fault.
        let expected = if created == 0 { 400 } else { 200 };
        assert_eq!(client.update("A1").unwrap().status, expected, "{faults}");
        let log = client.log();
        assert_eq!((&log[0]["fault"], &log[0]["status"]), (&json!(name), &json!(status)));
        assert_eq!((&log[1]["fault"], &log[1]["end"]), (&Value::Null, &json!("answered")));
    }
}

#[test]
fn a_gateway_answers_in_many_ways_by_the_seed_and_acts_or_not() {
    for (faults, acts) in [("gateway_before=1", false), ("gateway_after=1", true)] {
        let answers = |seed| -> Vec<(u16, bool)> {
            let (sandbox, mut client) = start(Settings { seed, ..with_faults(faults, 1) });
            let answers = (0..200).map(|n| {
                let Reply { status, head, body } = client.create(&format!("A{n}")).unwrap();
                assert_eq!(head.contains("\r\nlocation: "), (300..400).contains(&status), "{head}");
                assert_eq!(head.contains("\r\nretry-after: 1\r\n"), status == 503, "{head}");
                assert!(body.is_empty() || body.starts_with("<html><head><title>"), "{body}");
                (status, body.is_empty())
            });
            let answers = answers.collect();
            let state = sandbox.state();
            let created = if acts { 200 } else { 0 };
            let name = faults.trim_end_matches("=1");
            assert_eq!((state.counters.create, state.counters.faults[name]), (created, 200));
            // The customer has reached its bound.
            assert_eq!(client.update("A0").unwrap().status, if acts { 200 } else { 400 });
            assert_eq!(sandbox.state().violations, Vec::<String>::new());
            answers
        };
        let first = answers(1);
        assert_eq!(first, answers(1));
        assert_ne!(first, answers(2));
        let kinds: BTreeSet<(u16, bool)> = first.into_iter().collect();
        let pages = [302, 307, 400, 401, 403, 404, 500, 503].map(|status| (status, false));
        let empty = [204, 404, 409].map(|status| (status, true));
        assert_eq!(kinds, pages.into_iter().chain(empty).collect());
    }
}

#[test]
fn resets_close_the_connection_without_a_byte_and_act_or_not() {
    for (faults, created) in [("reset_before=1", 0), ("reset_after=1", 1)] {
        let (sandbox, mut client) = start(with_faults(faults, 1));
        // A request before it, so that the connection is one that was kept alive.
        assert_eq!(client.send("GET", "/sandbox/state", "", "").unwrap().status, 200);
        assert!(client.create("A1").is_none(), "{faults}");
        assert_eq!(sandbox.state().counters.create, created, "{faults}");
        let mut client = Client::new(&sandbox);
        let log = client.log();
        assert_eq!((&log[0]["end"], &log[0]["status"]), (&json!("closed"), &Value::Null), "{faults}");
        // The client cannot know, so a second create is no violation.
        let again = client.create("A1").unwrap();
        let expected =
            if created == 0 { "User created and channel linked." } else { "Customer already exists." };
        assert_eq!(again.message(), expected);
        assert_eq!(sandbox.state().violations, Vec::<String>::new());
    }
}

#[test]
fn a_stalled_call_is_acted_on_although_the_client_gives_up() {
    let (sandbox, mut client) = start(with_faults("stall=1,stall_for=86400s", 1));
    client.write("POST", CUSTOMER, JSON, r#"{"primary_id":"A1","brand_id":2}"#);
    wait_until(|| sandbox.state().counters.create == 1);
    let mut second = Client::new(&sandbox);
    assert_eq!(second.log()[0]["end"], "pending");
    drop(client);
    wait_until(|| second.log()[0]["end"] == "abandoned");
    assert_eq!(second.update("A1").unwrap().status, 200);
    assert_eq!(second.create("A1").unwrap().message(), "Customer already exists.");
    assert_eq!(sandbox.state().violations, Vec::<String>::new());
}

#[test]
fn a_late_call_is_acted_on_after_its_504() {
    let (sandbox, mut client) = start(with_faults("late=1,late_for=1ms", 1));
    assert_eq!(client.create("A1").unwrap().status, 504);
    wait_until(|| sandbox.state().counters.late_pending == 0);
    let state = sandbox.state();
    assert_eq!((state.counters.create, ids(&state)), (1, vec!["A1"]));
}

#[test]
fn a_create_behind_a_late_create_makes_a_duplicate_where_that_is_allowed() {
    let settings = Settings { duplicates: Duplicates::Allow, ..with_faults("late=1,late_for=100ms", 1) };
    let (sandbox, mut client) = start(settings);
    assert_eq!(client.create("A1").unwrap().status, 504);
    assert_eq!(client.create("A1").unwrap().status, 200);
    wait_until(|| sandbox.state().counters.late_pending == 0);
    let state = sandbox.state();
    assert_eq!((state.counters.doubled, ids(&state)), (1, vec!["A1", "A1"]));
}

#[test]
fn a_blind_second_create_is_a_violation() {
    let (sandbox, mut client) = start(Settings::default());
    client.create("A1").unwrap();
    assert_eq!(client.create("A1").unwrap().message(), "Customer already exists.");
    let expected = "customer A1 of brand 2: create again after one that was answered with success";
    assert_eq!(sandbox.state().violations, [expected]);
    client.json("DELETE", PURGE, &json!({"external_id": "A1", "brand_id": 2})).unwrap();
    assert_eq!(client.create("A1").unwrap().status, 200);
    assert_eq!(sandbox.state().violations.len(), 1, "a create after a purge is none");
}

#[test]
fn two_calls_of_a_customer_at_the_same_time_are_a_violation() {
    let (sandbox, mut first) = start(with_faults("stall=1,stall_for=2s", 2));
    let (mut second, mut other) = (Client::new(&sandbox), Client::new(&sandbox));
    first.write("POST", CUSTOMER, JSON, r#"{"primary_id":"A1","brand_id":2}"#);
    wait_until(|| sandbox.state().counters.create == 1);
    second.write("PUT", UPDATE, JSON, r#"{"externalPrimaryID":"A1","brandID":"2"}"#);
    other.write("POST", CUSTOMER, JSON, r#"{"primary_id":"A2","brand_id":2}"#);
    for client in [&mut first, &mut second, &mut other] {
        assert_eq!(client.read().unwrap().status, 200);
    }
    let expected = "customer A1 of brand 2: update arrived while create was unanswered";
    assert_eq!(sandbox.state().violations, [expected]);
}

/// The faults of each customer, in the order of its requests.
fn faults_by_customer(seed: u64, order: impl Iterator<Item = u32>) -> BTreeMap<String, Vec<Value>> {
    let faults = "refuse_before=0.2,error_after=0.2,reset_after=0.2,throttle=0.2";
    let (sandbox, mut client) = start(Settings { seed, ..with_faults(faults, 3) });
    for customer in order {
        if client.update(&format!("A{customer}")).is_none() {
            client = Client::new(&sandbox);
        }
    }
    let mut faults: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in client.log() {
        let id = entry["primary_id"].as_str().unwrap().to_owned();
        faults.entry(id).or_default().push(entry["fault"].clone());
    }
    faults
}

#[test]
fn the_same_seed_gives_the_same_faults_however_customers_interleave() {
    let by_customer = faults_by_customer(5, (0..120).map(|n| n / 6));
    let by_round = faults_by_customer(5, (0..120).map(|n| n % 20));
    assert_eq!(by_customer, by_round);
    assert_ne!(by_customer, faults_by_customer(6, (0..120).map(|n| n % 20)));
    for faults in by_customer.values() {
        assert!(faults.iter().filter(|fault| !fault.is_null()).count() <= 3);
    }
}

#[test]
fn refusals_come_in_other_wordings() {
    let cases = [
        (Wording::English, 400, 400, "Customer not found.", "Customer already exists."),
        (Wording::Dutch, 400, 400, "Klant niet gevonden.", "Klant bestaat al."),
        (Wording::Code, 400, 400, "E_NOT_FOUND", "E_EXISTS"),
        (Wording::None, 404, 409, "", ""),
    ];
    for (wording, unknown_status, exists_status, unknown_text, exists_text) in cases {
        let (sandbox, mut client) = start(Settings { wording, ..Settings::default() });
        let unknown = client.update("A1").unwrap();
        client.create("A1").unwrap();
        let exists = client.create("A1").unwrap();
        assert_eq!((unknown.status, &*unknown.message()), (unknown_status, unknown_text));
        assert_eq!((exists.status, &*exists.message()), (exists_status, exists_text));
        assert_eq!(unknown.body.is_empty(), wording == Wording::None);
        assert_eq!(sandbox.state().counters.refused, 2);
    }
}

#[test]
fn refusals_come_with_any_status_and_each_kind_with_its_own() {
    let statuses = Statuses::parse("all=200, exists=409,invalid=422").unwrap();
    let (_sandbox, mut client) = start(Settings { statuses, ..Settings::default() });
    assert_eq!(client.update("A1").unwrap().json().1["status"], "error");
    let not_found = client.update("A1").unwrap();
    client.create("A1").unwrap();
    let exists = client.create("A1").unwrap();
    let invalid = client.send("POST", CUSTOMER, JSON, "{}").unwrap();
    assert_eq!([not_found.status, exists.status, invalid.status], [200, 409, 422]);
    for (text, problem) in [
        ("exists", "not of the form kind=status"),
        ("gone=404", "valid are key, invalid, not_found, exists"),
        ("all=99", "a number from 200 to 999"),
    ] {
        assert!(Statuses::parse(text).unwrap_err().contains(problem), "{text}");
    }
}

#[test]
fn a_server_of_one_form_of_body_reads_nothing_else() {
    let body = Some(BodyForm::Form);
    let (sandbox, mut client) = start(Settings { body, ..Settings::default() });
    let json = client.send("POST", CUSTOMER, JSON, r#"{"primary_id":"A1","brand_id":2}"#).unwrap();
    assert_eq!((json.status, &*json.message()), (400, "primary_id: is missing"));
    assert_eq!(client.send("POST", CUSTOMER, FORM, "primary_id=A1&brand_id=2").unwrap().status, 200);
    assert_eq!(sandbox.state().customers.len(), 1);
}

#[test]
fn a_server_of_one_place_of_the_key_looks_nowhere_else() {
    let (header, query) = ("apiKey: k\r\nContent-Type: application/json\r\n", "/api/v2/customer?apiKey=k");
    for (place, statuses) in
        [(None, [200, 200]), (Some(KeyPlace::Header), [200, 401]), (Some(KeyPlace::Query), [401, 200])]
    {
        let settings = Settings { api_key: Some("k".into()), key_place: place, ..Settings::default() };
        let (_sandbox, mut client) = start(settings);
        let by_header = client.send("POST", CUSTOMER, header, r#"{"primary_id":"A1","brand_id":2}"#).unwrap();
        let by_query = client.send("POST", query, JSON, r#"{"primary_id":"A2","brand_id":2}"#).unwrap();
        assert_eq!([by_header.status, by_query.status], statuses, "{place:?}");
    }
}

#[test]
fn a_script_answers_in_place_of_the_api_and_acts_or_not() {
    let script = r#"
        [[answer]]
        call = "create"
        acts = true
        status = 302
        headers = { Location = "https://login.example.org/", X-Gateway = "1" }
        body = "<html></html>"

        [[answer]]
        call = "add-channel"
        status = 200
        headers = { Content-Type = "application/json" }
        body = '{"type":"result","message":"Kanaal toegevoegd."}'

        [[answer]]
        call = "purge"
        acts = true
        status = 404
    "#;
    let (sandbox, mut client) = start(with_script(script));
    let created = client.create("A1").unwrap();
    assert_eq!((created.status, &*created.body), (302, "<html></html>"));
    assert!(created.head.contains("\r\nlocation: https://login.example.org/\r\n"), "{}", created.head);
    assert!(created.head.contains("\r\nx-gateway: 1\r\n"), "{}", created.head);
    assert_eq!(ids(&sandbox.state()), ["A1"]);
    let body = json!({"primary_id": "A1", "brand_id": "2", "extra_telephone": "+31201234567"});
    let added = client.json("POST", ADD_CHANNEL, &body).unwrap();
    assert_eq!((added.status, &*added.message()), (200, "Kanaal toegevoegd."));
    assert!(sandbox.state().customers[0].channels.is_empty());
    assert_eq!(client.update("A1").unwrap().message(), "Customer updated.", "no rule is for updates");
    let purged = client.json("DELETE", PURGE, &json!({"external_id": "A1", "brand_id": 2})).unwrap();
    assert_eq!((purged.status, &*purged.body), (404, ""));
    let State { customers, counters, violations, .. } = sandbox.state();
    assert_eq!((customers.len(), counters.purge, counters.scripted), (0, 1, 3));
    assert_eq!(violations, Vec::<String>::new());
    let log = client.log();
    assert_eq!((&log[0]["status"], &log[0]["fault"]), (&json!(302), &Value::Null));
}

#[test]
fn the_first_rule_that_matches_and_is_not_used_up_answers() {
    let script = r#"
        answer = [
            { id = "A*", skip = 1, times = 2, status = 500 },
            { id = "A1", times = 1, status = 503 },
            { call = "update", status = 404 },
        ]
    "#;
    let (sandbox, mut client) = start(with_script(script));
    let mut statuses = Vec::new();
    for id in ["A1", "A1", "B1", "A2", "A1", "A1"] {
        statuses.push(client.create(id).unwrap().status);
    }
    // A call that a rule has answered is no match of the rules below it.
    assert_eq!(statuses, [503, 500, 200, 500, 200, 400]);
    assert_eq!(client.update("A1").unwrap().status, 404);
    assert_eq!(sandbox.state().counters.scripted, 4);
}

#[test]
fn a_script_sends_any_final_status() {
    for status in (200..=999).chain([101]) {
        let (_sandbox, mut client) = start(with_script(&format!("[[answer]]\nstatus = {status}")));
        let reply = client.create("A1").unwrap();
        assert_eq!((reply.status, &*reply.body), (status, ""));
    }
}

#[test]
fn a_scripted_answer_is_no_fault_and_keeps_to_the_rate_limit() {
    let limit =
        RateLimit { calls: NonZeroU32::new(2).unwrap(), per: Duration::from_secs(86_400), retry_after: true };
    let settings = Settings {
        faults: Faults::parse("error_after=1").unwrap(),
        rate_limit: Some(limit),
        ..with_script("[[answer]]\nstatus = 402\nid = \"A1\"")
    };
    let (sandbox, mut client) = start(settings);
    let statuses = ["A1", "A2", "A1"].map(|id| client.create(id).unwrap().status);
    assert_eq!(statuses, [402, 500, 429]);
    assert_eq!(sandbox.state().counters.scripted, 1);
}

#[test]
fn the_script_in_the_documentation_is_valid() {
    let page = include_str!("../../docs/troubleshooting.md");
    let script = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (sandbox, mut client) = start(with_script(script));
    let statuses = ["A1", "A1", "C-7", "C-7"].map(|id| client.create(id).unwrap().status);
    assert_eq!(statuses, [302, 400, 409, 409]);
    assert_eq!(ids(&sandbox.state()), ["A1"]);
}

#[test]
fn a_wrong_script_is_refused_with_its_place() {
    let world = World::with_server("http://127.0.0.1:9");
    world.file("odd.toml", b"[[answer]]\nstatus = 100\n");
    for (file, expected) in [
        ("odd.toml", "the sandbox: odd.toml:2:10: status 100 cannot be sent; valid are 101 and 200 to 999"),
        ("none.toml", "the sandbox: none.toml: No such file"),
    ] {
        let output = world.execute(&["sandbox", "--script", file]).expect_code(2);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}

#[test]
fn latency_and_jitter_change_nothing_but_the_time() {
    let wait = Duration::from_millis(1);
    let (sandbox, mut client) =
        start(Settings { latency: wait, latency_jitter: wait, ..Settings::default() });
    assert_eq!(client.create("A1").unwrap().status, 200);
    assert_eq!(client.create("").unwrap().status, 400);
    assert_eq!(ids(&sandbox.state()), ["A1"]);
}

#[test]
fn the_log_keeps_the_order_of_arrival() {
    let (_sandbox, mut client) = start(Settings::default());
    client.create("A1").unwrap();
    client.update("A1").unwrap();
    client.send("GET", "/elsewhere", "", "").unwrap();
    let log = client.log();
    let entries: Vec<_> = log.iter().map(|entry| (&entry["seq"], &entry["call"], &entry["status"])).collect();
    let (one, two, three) = (json!(1), json!(2), json!(3));
    let (create, update, ok, missing) = (json!("create"), json!("update"), json!(200), json!(404));
    assert_eq!(entries, [(&one, &create, &ok), (&two, &update, &ok), (&three, &Value::Null, &missing)]);
    let at: Vec<_> = log.iter().map(|entry| entry["at_us"].as_u64().unwrap()).collect();
    assert!(at.is_sorted());
}

#[test]
fn a_dropped_sandbox_closes_its_connections() {
    let (sandbox, mut client) = start(Settings::default());
    client.create("A1").unwrap();
    drop(sandbox);
    assert!(client.read().is_none());
}

#[test]
fn addresses_of_other_machines_and_taken_ones_are_refused() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Sandbox::start(Settings { listen, ..Settings::default() });
    assert!(matches!(refused, Err(SandboxError::NotLoopback(_))));
    let (sandbox, _client) = start(Settings::default());
    let listen = sandbox.base_url().strip_prefix("http://").unwrap().parse().unwrap();
    let refused = Sandbox::start(Settings { listen, ..Settings::default() });
    assert!(matches!(refused, Err(SandboxError::Listen { .. })));
}
