//! Command lines that are refused, and help.

use netlog_cli::error::Exit;
use serde_json::json;

use crate::support::{Answer, Server, netlog};

#[test]
fn wrong_options_are_named() {
    let create = ["log", "create", "--resource-type", "security_group", "x"];
    let cases: [(&[&str], &str); 10] = [
        (&[], "Usage: netlog"),
        (&["log", "create", "x"], "--resource-type <TYPE>"),
        (
            &["log", "create", "--resource-type", "", "x"],
            "--resource-type",
        ),
        (
            &["log", "create", "--resource-type", "security_group"],
            "<NAME>",
        ),
        (
            &["log", "set", "--enable", "--disable", "x"],
            "'--enable' cannot be used with '--disable'",
        ),
        (&["log", "delete"], "<LOG>..."),
        (
            &["log", "list", "-f", "xml"],
            "table, json, yaml, csv, value",
        ),
        // Only single values have names to be assigned to.
        (
            &["log", "list", "-f", "shell"],
            "table, json, yaml, csv, value]",
        ),
        (
            &["--endpoint", "https://host", "log", "list"],
            "expected http://HOST:PORT or unix:PATH",
        ),
        (
            &["--endpoint", "unix:", "log", "list"],
            "expected http://HOST:PORT or unix:PATH",
        ),
    ];
    for (args, message) in cases {
        let outcome = netlog(args);
        assert_eq!(outcome.exit, Exit::Usage, "{args:?}");
        assert_eq!(outcome.stdout, "");
        assert!(
            outcome.stderr.contains(message),
            "{args:?}: {}",
            outcome.stderr
        );
    }
    let outcome = netlog(create.iter().chain(&["--event", "REJECT"]));
    assert_eq!(outcome.exit, Exit::Usage);
    assert!(
        outcome
            .stderr
            .contains("[possible values: ALL, ACCEPT, DROP]"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn an_endpoint_that_is_no_url_is_a_usage_error() {
    let outcome = netlog(["--endpoint", "http://not a host", "log", "list"]);
    assert_eq!(outcome.exit, Exit::Usage);
    assert!(
        outcome
            .stderr
            .starts_with("'http://not a host' is no endpoint"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_column_that_does_not_exist() {
    let server = Server::on_tcp(vec![Answer::json(&json!({"logs": []}))]);
    let outcome = netlog(["--endpoint", &server.endpoint, "log", "list", "-c", "Size"]);
    assert_eq!(outcome.exit, Exit::Usage);
    assert_eq!(
        outcome.stderr,
        "no column is called Size; the columns are ID, Enabled, Name, Type, Summary\n"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut stderr = Vec::new();
    let exit = netlog_cli::run(
        ["netlog", "completion", "bash"].map(Into::into),
        &mut netlog_cli::Streams {
            stdin: &mut std::io::empty(),
            stdout: &mut Closed,
            stderr: &mut stderr,
            terminal: None,
        },
    );
    assert_eq!(exit, Exit::Done);
    assert_eq!(stderr, b"");
}

#[test]
fn help_tells_the_exit_codes_and_the_environment() {
    let outcome = netlog(["--help"]);
    assert_eq!(outcome.exit, Exit::Done);
    assert_eq!(outcome.stderr, "");
    for text in [
        "Exit codes:",
        "Examples:",
        "NETLOG_ENDPOINT",
        "http://127.0.0.1:9696",
    ] {
        assert!(outcome.stdout.contains(text), "{text}");
    }
    let version = concat!("netlog ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(netlog(["--version"]).stdout, version);
}
