//! Completions and man pages.

use std::path::Path;
use std::process::Command;

use netlog_cli::error::Exit;

use crate::support::netlog;

/// A folder with the completion scripts of all shells, by the names of the shells.
fn scripts() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = netlog(["completion", shell]);
        assert_eq!((outcome.exit, &*outcome.stderr), (Exit::Done, ""));
        std::fs::write(folder.path().join(shell), outcome.stdout).unwrap();
    }
    folder
}

/// What a program prints in a folder, without any complaint.
fn run(program: &str, args: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; scripts/prerequisites installs it"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.is_empty(),
        "{program} {args:?}: {said}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let folder = scripts();
    let complete = |line: &str| {
        let script = "source ./bash; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                      [ \"$2\" = word ] || COMP_WORDS[++COMP_CWORD]=; \
                      _netlog netlog \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
                      echo \"${COMPREPLY[@]}\"";
        let kind = if line.ends_with(' ') { "next" } else { "word" };
        let found = run("bash", &["-c", script, "bash", line, kind], folder.path());
        found
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(complete("netlog log cr"), ["create"]);
    for command in ["create", "list", "show", "set", "delete"] {
        assert!(
            complete("netlog log ").contains(&command.to_owned()),
            "{command}"
        );
    }
    assert_eq!(
        complete("netlog log create --resource-t"),
        ["--resource-type"]
    );
    assert_eq!(
        complete("netlog log create --event "),
        ["ALL", "ACCEPT", "DROP"]
    );
    assert_eq!(
        complete("netlog log list -f "),
        ["table", "json", "yaml", "csv", "value"]
    );
}

#[test]
fn fish_completes_commands_options_and_values() {
    let folder = scripts();
    let complete = |line: &str| {
        let script = format!("source fish; complete -C '{line}'");
        let found = run("fish", &["--no-config", "-c", &script], folder.path());
        let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        found.lines().map(word).collect::<Vec<_>>()
    };
    assert_eq!(complete("netlog log cr"), ["create"]);
    let commands = ["create", "delete", "help", "list", "set", "show"];
    assert_eq!(complete("netlog log "), commands);
    assert_eq!(
        complete("netlog log create --resource-t"),
        ["--resource-type"]
    );
    assert_eq!(
        complete("netlog log create --event "),
        ["ACCEPT", "ALL", "DROP"]
    );
}

#[test]
fn zsh_loads_its_script_as_a_completion_of_netlog() {
    let folder = scripts();
    let functions = folder.path().join("functions");
    std::fs::create_dir(&functions).unwrap();
    std::fs::copy(folder.path().join("zsh"), functions.join("_netlog")).unwrap();
    let script = "fpath=($PWD/functions $fpath); autoload -U compinit; compinit -u -d dump; \
                  autoload +X _netlog; print $_comps[netlog] $functions[_netlog_commands]";
    let known = run("zsh", &["-f", "-c", script], folder.path());
    assert!(known.starts_with("_netlog"), "{known}");
    run("zsh", &["-f", "-n", "zsh"], folder.path());
    let text = std::fs::read_to_string(folder.path().join("zsh")).unwrap();
    for word in ["loggable", "--resource-type", "ALL ACCEPT DROP"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn each_command_has_a_man_page_without_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let man = directory.path().join("man1");
    let outcome = netlog(["man", man.to_str().unwrap()]);
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (Exit::Done, ""));
    let mut pages: Vec<String> = std::fs::read_dir(&man)
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort_unstable();
    for command in [
        "",
        "-completion",
        "-decode",
        "-explain",
        "-log",
        "-log-create",
        "-log-delete",
        "-log-list",
        "-log-set",
        "-log-show",
        "-loggable-resources-list",
        "-man",
        "-status",
    ] {
        assert!(
            pages.contains(&format!("netlog{command}.1")),
            "{command}: {pages:?}"
        );
    }
    for page in &pages {
        // All warnings on; what is printed is thrown away.
        run(
            "groff",
            &["-man", "-Tutf8", "-Kutf8", "-ww", "-z", page],
            &man,
        );
    }
    let shown = run(
        "groff",
        &["-man", "-Tascii", "-P-c", "netlog-log-create.1"],
        &man,
    );
    for word in ["--resource-type", "ACCEPT", "Security group (name or ID)"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn man_pages_need_a_directory() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let outcome = netlog(["man", path]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(outcome.stderr.starts_with(path), "{}", outcome.stderr);
}
