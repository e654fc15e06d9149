//! Completions and man pages.

use netlog_cli::error::Exit;

use crate::support::netlog;

#[test]
fn completions_know_commands_and_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = netlog(["completion", shell]);
        assert_eq!(outcome.exit, Exit::Done);
        for word in ["netlog", "loggable", "resource-type", "status"] {
            assert!(outcome.stdout.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn each_command_has_a_man_page() {
    let directory = tempfile::tempdir().unwrap();
    let man = directory.path().join("man1");
    let outcome = netlog(["man", man.to_str().unwrap()]);
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (Exit::Done, ""));
    let create = std::fs::read_to_string(man.join("netlog-log-create.1")).unwrap();
    assert!(create.contains("resource\\-type"), "{create}");
    let mut pages: Vec<String> = std::fs::read_dir(&man)
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort_unstable();
    assert!(pages.contains(&"netlog.1".to_owned()), "{pages:?}");
    assert!(pages.contains(&"netlog-status.1".to_owned()), "{pages:?}");
}

#[test]
fn man_pages_need_a_directory() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let outcome = netlog(["man", path]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert!(outcome.stderr.starts_with(path), "{}", outcome.stderr);
}
