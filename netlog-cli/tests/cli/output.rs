//! The output options against cliff, the library that prints for the OpenStack client.

use clap::Parser;
use netlog_cli::Terminal;
use netlog_cli::output::{ListArgs, ShowArgs, View};
use serde_json::Value;

#[derive(Parser)]
struct List {
    #[command(flatten)]
    output: ListArgs,
}

#[derive(Parser)]
struct Show {
    #[command(flatten)]
    output: ShowArgs,
}

#[test]
fn prints_what_cliff_prints() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("fixtures/cliff.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let strings = |key: &str| -> Vec<&str> {
            let list = case[key].as_array().unwrap();
            list.iter().map(|text| text.as_str().unwrap()).collect()
        };
        let headers = strings("headers");
        let args = std::iter::once("test").chain(strings("args"));
        // Started from a terminal, but printing elsewhere.
        let terminal = case.get("terminal").map(|width| Terminal {
            width: serde_json::from_value(width.clone()).unwrap(),
            shows_stdout: false,
            shows_stderr: false,
        });
        let mut rows: Vec<Vec<Value>> = serde_json::from_value(case["rows"].clone()).unwrap();
        let mut out = Vec::new();
        if case["kind"] == "list" {
            let view = View::of_list(List::parse_from(args).output, terminal);
            view.list(&headers, rows, &mut out).unwrap();
        } else {
            let view = View::of_one(Show::parse_from(args).output, terminal);
            let fields = headers.into_iter().zip(rows.remove(0)).collect();
            view.one(fields, &mut out).unwrap();
        }
        let printed = String::from_utf8(out).unwrap();
        if printed != case["stdout"].as_str().unwrap() {
            wrong.push(format!(
                "{} {}\n{printed}\n{}",
                case["kind"],
                case["args"],
                case["stdout"].as_str().unwrap()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_shell_runs_nothing_of_what_it_evaluates() {
    let args = Show::parse_from(["test", "-f", "shell"]).output;
    let name = r#"$(id) `id` \ "quoted""#;
    let mut out = Vec::new();
    let view = View::of_one(args, None);
    view.one(vec![("Name", name.into())], &mut out).unwrap();
    let script = format!("{}printf %s \"$name\"", String::from_utf8(out).unwrap());
    let shell = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .output();
    assert_eq!(String::from_utf8(shell.unwrap().stdout).unwrap(), name);
}

#[test]
fn options_are_taken_as_argparse_takes_them() {
    let args = List::parse_from(["test", "--max-width", "-1"]).output;
    let mut out = Vec::new();
    let wide = "x".repeat(200);
    let view = View::of_list(args, None);
    view.list(&["Name"], vec![vec![wide.clone().into()]], &mut out)
        .unwrap();
    assert!(String::from_utf8(out).unwrap().contains(&wide));
}
