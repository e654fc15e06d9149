//! Policy rules against what oslo.policy's own code says of them.

use std::collections::BTreeMap;

use netlog_core::policy::{Credentials, Policy};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Fixture {
    callers: Vec<Caller>,
    targets: Vec<Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Caller {
    roles: Vec<String>,
    project_id: Option<String>,
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    rules: BTreeMap<String, Value>,
    /// For each caller and each target: `+` allowed, `-` not, `E` oslo.policy failed.
    verdicts: String,
    /// oslo.policy could not read a rule and takes it for `!`.
    #[serde(default)]
    unreadable: bool,
    /// What it failed with.
    #[serde(default)]
    errors: Vec<String>,
}

/// Rules that oslo.policy reads and netlog refuses, saying why: none of them can mean what their
/// author had in mind, or another way to write it is plain.
const REFUSED: [&str; 10] = [
    // Literals beyond text without a backslash, and numbers as Python prints them.
    r#""'it\\'s':%(name)s""#,
    r#""1.50:%(f)s""#,
    r#""[]:%(list)s""#,
    r#""{}:x""#,
    // The whole target, and formats other than `s`.
    r#""'a':%s""#,
    r#""'5':%(n)d""#,
    r#""'5':%(n)r""#,
    // Operators and blanks in the older lists: fields that no caller has.
    r#"["not role:manager"]"#,
    r#"[["not role:manager"]]"#,
    r#"[" role:manager"]"#,
];

#[test]
fn rules_mean_what_oslo_policy_makes_of_them() {
    let fixture: Fixture =
        serde_json::from_str(include_str!("fixtures/policy_cases.json")).unwrap();
    let (mut compared, mut refused) = (0, 0);
    let mut wrong = Vec::new();
    for case in &fixture.cases {
        let policy = Policy::with_rules(case.rules.clone());
        let policy = match policy {
            Ok(_) if case.unreadable => {
                wrong.push(format!("{:?}: oslo.policy cannot read it", case.rules));
                continue;
            }
            Ok(policy) => policy,
            // Refused when it is read, instead of when it is asked.
            Err(_) if case.unreadable || !case.errors.is_empty() => {
                compared += 1;
                continue;
            }
            Err(_) if REFUSED.contains(&case.rules["get_log"].to_string().as_str()) => {
                refused += 1;
                continue;
            }
            Err(error) => {
                wrong.push(format!("{:?}: {error}", case.rules));
                continue;
            }
        };
        let asked = fixture.callers.iter().flat_map(|caller| {
            let policy = &policy;
            fixture.targets.iter().map(move |target| {
                let credentials = Credentials {
                    roles: &caller.roles,
                    project_id: caller.project_id.as_deref(),
                    user_id: caller.user_id.as_deref(),
                    is_admin: caller.roles.iter().any(|role| role == "admin"),
                };
                policy.allows("get_log", &credentials, target)
            })
        });
        let verdicts: String = asked
            .map(|allowed| if allowed { '+' } else { '-' })
            .collect();
        let expected = case.verdicts.replace('E', "-");
        if verdicts != expected {
            wrong.push(format!(
                "{:?}:\n  {verdicts}, not\n  {expected}",
                case.rules
            ));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 400, "{compared}");
    assert_eq!(refused, REFUSED.len());
}
