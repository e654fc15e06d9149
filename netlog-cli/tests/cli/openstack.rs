//! `netlog` against the OpenStack client's recordings: same requests, same output, same
//! exit code.

use crate::support::{Answer, Server, netlog};
use serde_json::Value;

#[test]
fn does_what_the_openstack_client_did() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("fixtures/openstack_client.json")).unwrap();
    assert_eq!(cases.len(), 39);
    for case in &cases {
        let exchanges = case["http"].as_array().unwrap();
        let server = Server::on_tcp(exchanges.iter().map(answer).collect());
        let mut args = vec!["--endpoint", &server.endpoint];
        let command = case["command"].as_array().unwrap();
        args.extend(command.iter().map(|arg| arg.as_str().unwrap()));
        let outcome = netlog(&args);

        let name = args[2..].join(" ");
        assert_eq!(outcome.stdout, case["stdout"].as_str().unwrap(), "{name}");
        assert_eq!(outcome.stderr, case["stderr"].as_str().unwrap(), "{name}");
        assert_eq!(
            outcome.exit as u64,
            case["exit"].as_u64().unwrap(),
            "{name}"
        );
        let requests = server.requests();
        assert_eq!(requests.len(), exchanges.len(), "{name}");
        for (request, exchange) in requests.iter().zip(exchanges) {
            let line = format!(
                "{} {}",
                exchange["method"].as_str().unwrap(),
                exchange["path"].as_str().unwrap()
            );
            assert_eq!(request.line, line, "{name}");
            assert_eq!(request.body.as_ref(), exchange.get("body"), "{name}");
        }
    }
}

fn answer(exchange: &Value) -> Answer {
    Answer {
        status: exchange["status"].as_u64().unwrap(),
        request_id: exchange
            .get("request_id")
            .map(|id| id.as_str().unwrap().to_owned()),
        body: exchange.get("answer").map(Value::to_string),
    }
}
