//! Whatever answers in the API's place, no customer is doubled, no row is blamed for others, and people are told the truth.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::server::{Ending, Server, no_answer, success, with_headers};
use crate::world::{CommandOutput, RUN, World, rows, send_signal};

#[test]
fn status_and_heartbeat_show_what_a_run_waits_for() {
    let (limit, lost) = (with_headers(429, "Retry-After: 60\r\n", "{}"), no_answer(Ending::Close));
    for (reaction, reason) in
        [(limit, "the server's limit is reached"), (lost, "a call whose answer was lost")]
    {
        let server = Server::new(move |number, _| if number == 1 { reaction.clone() } else { success() });
        let world = World::with_server(&server.url()).with_settings("[report]\nheartbeat = \"50ms\"\n");
        world.edit_config("settle = \"300ms\"", "settle = \"60s\"");
        world.write_export(&rows(3));
        let mut child = world.spawn_piped(&RUN);
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let is_heartbeat =
            |line: &str| line.contains(" of 3 rows done, waiting until ") && line.contains(reason);
        assert!(lines.any(|line| is_heartbeat(&line.expect("a line"))), "{reason}");
        // The line can come before the commit.
        let waiting = loop {
            let waiting = world.status()["open_run"]["waiting"].take();
            if !waiting.is_null() {
                break waiting;
            }
        };
        assert!(waiting["reason"].as_str().is_some_and(|text| text.contains(reason)), "{waiting}");
        let text = world.execute(&["status"]).stdout;
        assert!(text.contains("\n  waiting until ") && text.contains(reason), "{text}");
        send_signal(child.id(), "INT");
        // Its last lines need a reader.
        lines.for_each(|line| drop(line.expect("a line")));
        CommandOutput::wait(child).expect_code(4).expect_stop("interrupted");
        assert_eq!(world.status()["open_run"]["waiting"], Value::Null);
    }
}
