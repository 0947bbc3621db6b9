//! Messages to a chat: which runs are posted, and what a message holds.

use std::os::unix::fs::PermissionsExt;

use crate::server::{Server, json};
use crate::world::{CommandOutput, HEADER, RUN, World, rows};

/// A chat whose URL is in a file, with further settings.
fn world(chat: &Server, settings: &str) -> World {
    let world = World::default()
        .with_settings(&format!("[notify]\nwebhook = {{ file = \"webhook-url\" }}\n{settings}\n"));
    private_file(&world, "webhook-url", &format!("{}/hooks/s3cret\n", chat.url()));
    world
}

fn private_file(world: &World, name: &str, content: &str) {
    let path = world.file(name, content.as_bytes());
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("a mode");
}

/// Runs an export, and returns the chat's messages of it.
fn night(world: &World, chat: &Server, code: i32, rows: &str) -> Vec<String> {
    let before = chat.requests().len();
    let output = world.run(rows).expect_code(code);
    assert!(
        !output.stderr.contains("s3cret") && !output.stderr.contains("not delivered"),
        "{}",
        output.stderr
    );
    chat.requests()[before..].iter().map(|request| request.body.clone()).collect()
}

#[test]
fn a_chat_is_notified_of_a_change_and_not_of_each_night() {
    let chat = Server::new(|_, _| json(200, "ok"));
    let world = world(&chat, "webhook_headers = { file = \"headers\" }\nwebhook_title = \"nightly\"");
    private_file(
        &world,
        "headers",
        "Authorization: Bearer s3cret-token\n\nX-Room: 7\nContent-Type: application/x-chat\n",
    );
    let bad_phone = "C8,Ann,Smit,,,nonsense,sync\n";
    let bad_email = "C9,Ann,Smit,nobody,,,sync\n";
    let good = rows(2);

    assert!(night(&world, &chat, 0, &good).is_empty(), "all is well from the start");
    let messages = night(&world, &chat, 1, &format!("{good}{bad_email}"));
    let [message] = &messages[..] else { panic!("{messages:?}") };
    let start = "{\"text\":\"nightly: failing\\nexit code 1: 3 rows, 0 calls: 2 unchanged, 1 rejected, ";
    assert!(message.starts_with(start), "{message}");
    assert!(message.ends_with("\\n1 rejected (bad_email)\"}"), "{message}");

    let two = bad_email.replace("C9", "C7");
    assert!(night(&world, &chat, 1, &format!("{good}{bad_email}{two}")).is_empty(), "the same cause");
    let messages = night(&world, &chat, 1, &format!("{good}{bad_email}{bad_phone}"));
    assert!(messages[0].contains("nightly: failing for other causes\\n"), "{messages:?}");
    let messages = night(&world, &chat, 7, "C1,,,,,,purge\n");
    assert!(
        messages[0].contains("exit code 7: a guard blocked") && messages[0].contains("\\nallow_purge\\n"),
        "{messages:?}"
    );
    let messages = night(&world, &chat, 0, &good);
    assert!(messages[0].contains("nightly: ok again\\nexit code 0: "), "{messages:?}");
    assert!(night(&world, &chat, 0, &good).is_empty());

    for request in chat.requests() {
        assert_eq!(request.line(), "POST /hooks/s3cret");
        let head = request.head.to_lowercase();
        assert!(!head.contains("application/json"), "{head}");
        for line in ["content-type: application/x-chat", "authorization: bearer s3cret-token", "x-room: 7"] {
            assert!(head.contains(line), "{head}");
        }
        for word in ["Smit", "@example", "nobody", "nonsense", "C9", "export"] {
            assert!(!request.body.contains(word), "{word}: {}", request.body);
        }
    }
    let state = world.path("omnidesk-sync.checkpoint.notify");
    assert_eq!(std::fs::metadata(state).expect("the state").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_message_that_is_not_delivered_fails_no_run_and_is_sent_again() {
    let chat = Server::new(|number, _| if number == 0 { json(404, "no_service") } else { json(200, "ok") });
    let world = world(&chat, "");
    let bad = "C9,Ann,Smit,nobody,,,sync\n";
    let output = world.run(bad).expect_code(1);
    let expected = "the webhook notification was not delivered: 127.0.0.1: it answered 404";
    assert!(output.stderr.contains(expected) && !output.stderr.contains("s3cret"), "{}", output.stderr);
    assert_eq!(night(&world, &chat, 1, bad).len(), 1, "the next night repeats it");
    assert!(night(&world, &chat, 1, bad).is_empty());
}

#[test]
fn a_chat_can_be_notified_of_each_failure_or_of_each_end() {
    for (on, messages) in [("failure", [0, 1, 1, 0]), ("end", [1, 1, 1, 1])] {
        let chat = Server::new(|_, _| json(200, "ok"));
        let world = world(&chat, &format!("webhook_on = \"{on}\""));
        let (good, bad) = ((0, rows(1)), (1, "C9,Ann,Smit,nobody,,,sync\n".to_owned()));
        for ((code, rows), messages) in [&good, &bad, &bad, &good].into_iter().zip(messages) {
            assert_eq!(night(&world, &chat, *code, rows).len(), messages, "{on}");
        }
    }
}

#[test]
fn teams_gets_a_card_and_other_programs_get_the_codes() {
    let chat = Server::new(|_, _| json(202, ""));
    let bad = "C9,Ann,Smit,nobody,,,sync\n";
    let teams = world(&chat, "webhook_body = \"teams\"");
    let message: serde_json::Value = serde_json::from_str(&night(&teams, &chat, 1, bad)[0]).expect("JSON");
    assert!(chat.requests()[0].head.to_lowercase().contains("content-type: application/json"));
    assert_eq!(message["type"], "message");
    let card = &message["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    let texts: Vec<&str> = card["content"]["body"]
        .as_array()
        .expect("blocks")
        .iter()
        .map(|block| block["text"].as_str().expect("a text"))
        .collect();
    assert_eq!((texts[0], texts[2]), ("omnidesk-sync: failing", "1 rejected (bad_email)"), "{texts:?}");

    let program = world(&chat, "webhook_body = \"json\"");
    let message: serde_json::Value = serde_json::from_str(&night(&program, &chat, 1, bad)[0]).expect("JSON");
    assert_eq!(message["causes"], serde_json::json!({ "rejected (bad_email)": 1 }), "{message}");
    assert_eq!((&message["ok"], &message["changed"]), (&false.into(), &true.into()), "{message}");
    assert_eq!((&message["exit_code"], &message["schema"]), (&1.into(), &1.into()), "{message}");
}

#[test]
fn a_rehearsal_and_a_plan_notify_no_chat() {
    let chat = Server::new(|_, _| json(200, "ok"));
    let world = world(&chat, "webhook_on = \"end\"");
    world.write_export(&rows(1));
    world.execute(&["run", "--sandbox", "export.csv"]).expect_code(0);
    world.execute(&["plan", "export.csv"]).expect_code(0);
    assert!(chat.requests().is_empty());
}

#[test]
fn doctor_finds_a_url_that_cannot_be_read_and_one_that_everybody_can_read() {
    let chat = Server::new(|_, _| json(200, "ok"));
    let world = world(&chat, "");
    let doctor = || world.execute(&["doctor", "--offline"]);
    let shows = |output: CommandOutput, text: &str| {
        let line =
            output.stdout.lines().find(|line| line.contains(" notify ")).unwrap_or_default().to_owned();
        assert!(line.contains(text) && !output.stdout.contains("s3cret"), "{text}: {}", output.stdout);
    };
    shows(doctor().expect_code(0), "webhook-url");
    let path = world.path("webhook-url");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("a mode");
    shows(doctor().expect_code(1), "every user of this machine can read");
    private_file(&world, "webhook-url", "http://chat.example.org/s3cret");
    shows(doctor().expect_code(1), "write https");
    world.edit_config("webhook = ", "webhook_headers = { file = \"headers\" }\nwebhook = ");
    private_file(&world, "webhook-url", &chat.url());
    private_file(&world, "headers", "X-Room: 7\ns3cret\n");
    shows(doctor().expect_code(1), "line 2 of the file ");

    // A run goes its way all the same.
    std::fs::remove_file(path).expect("removed");
    world.write_export("C9,Ann,Smit,nobody,,,sync\n");
    world
        .execute(&RUN)
        .expect_code(1)
        .expect_stderr("the webhook notification was not delivered: the URL's file");
}

#[test]
fn configurations_that_share_a_checkpoint_have_a_state_each() {
    let chat = Server::new(|_, _| json(200, "ok"));
    let world = world(&chat, "webhook_title = \"crm\"");
    let shop = world.read("omnidesk-sync.toml").replace("\"crm\"", "\"shop\"");
    world.file("shop.toml", shop.as_bytes());
    world.file("good.csv", format!("{HEADER}{}", rows(1)).as_bytes());
    world.file("bad.csv", format!("{HEADER}C9,Ann,Smit,nobody,,,sync\n").as_bytes());
    for _ in 0..3 {
        world.execute(&["run", "--part", "bad.csv"]).expect_code(1);
        world.execute(&["run", "--part", "-c", "shop.toml", "good.csv"]).expect_code(0);
    }
    assert_eq!(chat.requests().len(), 1, "only the first failure is a change");
}
