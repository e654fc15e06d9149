//! The house is built as ARCHITECTURE.md says.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Each crate of the workspace with the crates it depends on, tests left out.
fn dependencies() -> Vec<(String, BTreeSet<String>)> {
    let cargo = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        cargo.status.success(),
        "{}",
        String::from_utf8_lossy(&cargo.stderr)
    );
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let used = package["dependencies"].as_array().unwrap().iter();
            let used = used.filter(|dependency| dependency["kind"].is_null());
            (
                text(&package["name"]),
                used.map(|dependency| text(&dependency["name"])).collect(),
            )
        })
        .collect()
}

/// The rows of a table of ARCHITECTURE.md below this heading: the code in each cell.
fn table(heading: &str) -> Vec<Vec<Vec<String>>> {
    let text = read("ARCHITECTURE.md");
    let (_, section) = text.split_once(&format!("{heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let code = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    rows.map(|row| row.trim_matches('|').split('|').map(code).collect())
        .collect()
}

#[test]
fn crates_use_only_the_floors_below_them() {
    let text = read("ARCHITECTURE.md");
    let floors = table("## Floors");
    let floor = |name: &str| {
        let row = text
            .lines()
            .find(|line| line.contains(&format!("| `{name}` |")))
            .unwrap();
        row.chars().nth(2).unwrap().to_digit(10)
    };
    assert_eq!(floors.len(), 9, "{floors:?}");
    for (name, used) in dependencies() {
        let short = name.strip_prefix("netlog-").unwrap();
        let documented = if matches!(short, "benches" | "examples") {
            short
        } else {
            &name
        };
        let Some(own) = floor(documented) else {
            continue;
        };
        for other in used.iter().filter(|other| other.starts_with("netlog-")) {
            assert!(floor(other) < Some(own), "{name} must not use {other}");
        }
    }
}

#[test]
fn only_the_agent_knows_tokio() {
    for (name, used) in dependencies() {
        let knows = used
            .iter()
            .any(|other| ["tokio", "axum", "hyper"].contains(&other.as_str()));
        assert_eq!(knows, name == "netlog-agent", "{name}");
    }
}

#[test]
fn every_crate_inherits_the_lints_that_forbid_unsafe_code() {
    let workspace = read("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for (name, _) in dependencies() {
        let folder = match name.as_str() {
            "netlog-benches" => "benches",
            "netlog-examples" => "examples",
            other => other,
        };
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}");
    }
}

#[test]
fn pure_crates_read_no_clock_and_do_no_io() {
    let words = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
        "::now()",
        "now_utc",
    ];
    for krate in [
        "netlog-packet",
        "netlog-ofp",
        "netlog-ratelimit",
        "netlog-core",
    ] {
        let mut folders = vec![root().join(krate).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap_or_default();
                // Tests stand at the foot of a file, or in a file of their own.
                let code = text.split("#[cfg(test)]").next().unwrap();
                let test = path.ends_with("tests.rs") || path.ends_with("testdata.rs");
                for word in words.iter().filter(|_| !test) {
                    assert!(!code.contains(word), "{} uses {word}", path.display());
                }
            }
        }
    }
}

#[test]
fn the_folder_tree_is_the_one_described() {
    for (heading, source) in [
        ("### Inside `netlog-core`", "netlog-core/src"),
        ("### Inside `netlog-agent`", "netlog-agent/src"),
    ] {
        let described: BTreeSet<String> = table(heading)
            .into_iter()
            .flat_map(|row| row.into_iter().next().unwrap())
            .collect();
        let modules: BTreeSet<String> = fs::read_dir(root().join(source))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .filter(|name| name != "lib" && name != "main")
            .collect();
        assert_eq!(described, modules, "{heading}");
    }
}
