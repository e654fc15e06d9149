use super::*;

const INVENTORY: &str = "[inventory]\npath = /etc/netlog/inventory.json\n";

fn source(text: &str) -> Source {
    Source::new("/etc/netlog/a.conf", text)
}

/// The configuration that `text` makes, with the one option that must be set.
fn parse(text: &str) -> Result<(Config, Vec<Warning>), Error> {
    Config::parse(&[Source::new("/inventory.conf", INVENTORY), source(text)])
}

fn config(text: &str) -> Config {
    parse(text).unwrap().0
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn values(text: &str) -> Vec<(String, String, String, usize)> {
    Ini::parse(&[source(text)])
        .unwrap()
        .entries()
        .iter()
        .map(|entry| {
            (
                entry.section.clone(),
                entry.key.clone(),
                entry.value.clone(),
                entry.place.line,
            )
        })
        .collect()
}

fn value(line: &str) -> String {
    values(&format!("[s]\n{line}")).pop().unwrap().2
}

// What oslo_config.cfg.ConfigParser (oslo.config 10) makes of the same lines.
#[test]
fn ini_is_read_as_oslo_config_reads_it() {
    for (line, expected) in [
        ("a = b", "b"),
        ("a: b", "b"),
        ("a=b", "b"),
        ("a=", ""),
        ("a = b = c", "b = c"),
        ("a = unix:/run/s", "unix:/run/s"),
        ("a : b = c", "b = c"),
        ("a = b # c", "b # c"),
        ("a = b ; c", "b ; c"),
        ("a = 'b'", "b"),
        ("a = \"b\"", "b"),
        ("a = \" b \"", " b "),
        ("a = 'b\"", "'b\""),
        ("a = ''", ""),
        ("a = '", ""),
        ("a = \"it's\"", "it's"),
        ("a = '''", "'"),
        ("a = b\n c", "b\nc"),
        ("a = b\n\tc\n   d  ", "b\nc\nd"),
        ("a =\n b", "\nb"),
        ("a = b\n # c", "b\n# c"),
        ("a = 'b\n c'", "'b\nc'"),
        ("a = b\r\n", "b"),
        ("a = 1\ra = 2", "2"),
        ("a = 1\na = 2", "2"),
    ] {
        assert_eq!(value(line), expected, "{line:?}");
    }
}

/// Texts put together at random, and what the parser of oslo.config 10.7.0
/// made of them: the assignments in order, or the line that it refused. For an
/// assignment without a section it names the line at which it notices, we the
/// assignment's; so that line is not recorded.
#[derive(serde::Deserialize)]
struct Recorded {
    text: String,
    entries: Option<Vec<(String, String, String)>>,
    line: Option<usize>,
}

#[test]
fn random_texts_are_read_as_oslo_config_reads_them() {
    let recorded: Vec<Recorded> =
        serde_json::from_str(include_str!("testdata/oslo_config.json")).unwrap();
    assert!(recorded.len() >= 300);
    for Recorded {
        text,
        entries,
        line,
    } in recorded
    {
        match Ini::parse(&[source(&text)]) {
            Ok(ini) => {
                let found: Vec<_> = ini
                    .entries()
                    .iter()
                    .map(|entry| (&entry.section, &entry.key, &entry.value))
                    .map(|(section, key, value)| (section.clone(), key.clone(), value.clone()))
                    .collect();
                assert_eq!(Some(found), entries, "{text:?}");
            }
            Err(Error::Syntax { place, .. }) => {
                assert_eq!(entries, None, "{text:?}");
                assert!(line.is_none_or(|line| line == place.line), "{text:?}");
            }
            Err(other) => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn entries_know_section_key_and_line() {
    let text = "# c\n; c\n\n[OVS]\nkey one = 1\n\n[DEFAULT]\nA : 2\n  more\nb=3\n[ x ]\nc=4";
    let expected = [
        ("ovs", "key one", "1", 5),
        ("DEFAULT", "A", "2\nmore", 8),
        ("DEFAULT", "b", "3", 10),
        (" x ", "c", "4", 12),
    ]
    .map(|(section, key, value, line)| (section.into(), key.into(), value.into(), line));
    assert_eq!(values(text), expected);
}

#[test]
fn a_broken_line_is_named() {
    for (text, expected) in [
        (
            "[s]\nnothing",
            ":2: an assignment without = or :: \"nothing\"",
        ),
        ("[s]\n= x", ":2: a key must not be empty: \"= x\""),
        (
            "a = b",
            ":1: an assignment before the first section: \"a = b\"",
        ),
        ("[s", ":1: a section must end with ]: \"[s\""),
        ("[s] # c", ":1: a section must end with ]: \"[s] # c\""),
        ("[]", ":1: a section without a name: \"[]\""),
        (
            "[s]\n x",
            ":2: a continuation line with nothing to continue: \" x\"",
        ),
        (
            "[s]\na = b\n\n c",
            ":4: a continuation line with nothing to continue: \" c\"",
        ),
        (
            "[s]\na = b\n# c\n d",
            ":4: a continuation line with nothing to continue: \" d\"",
        ),
    ] {
        assert_eq!(error(text), format!("/etc/netlog/a.conf{expected}"));
    }
}

#[test]
fn the_last_value_counts_and_all_are_kept() {
    let ini = Ini::parse(&[
        Source::new("1", "[s]\na = 1\na = 2\n"),
        Source::new("2", "[S]\na = 3\n[t]\na = 4\n"),
    ])
    .unwrap();
    assert_eq!(ini.last("s", "a").unwrap().value, "3");
    assert_eq!(ini.last("s", "a").unwrap().place.to_string(), "2:2");
    let all: Vec<&str> = ini.all("s", "a").map(|entry| &*entry.value).collect();
    assert_eq!(all, ["1", "2", "3"]);
    assert_eq!(ini.last("s", "b"), None);
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = config("");
    assert_eq!(
        config.network_log,
        NetworkLog {
            rate_limit: None,
            burst_limit: 25,
            local_output_log_base: None,
            format: Format::Text,
            timestamp: Timestamp::Rfc3164,
            extra_fields: true,
            payload: false,
        }
    );
    assert_eq!(
        config.ovs.management_socket(),
        Path::new("/var/run/openvswitch/br-int.mgmt")
    );
    assert_eq!(
        config.ovs.ovsdb_connection.to_string(),
        "unix:/var/run/openvswitch/db.sock"
    );
    assert_eq!(
        config.flow_profile,
        FlowProfile {
            accepted_egress_table: 91,
            accepted_ingress_table: 92,
            dropped_table: 93,
            accepted_egress_normal_table: 94,
            port_register: 5,
            priority: 100,
            same_host_priority: 90,
        }
    );
    assert_eq!(
        config.inventory.path,
        Path::new("/etc/netlog/inventory.json")
    );
    assert_eq!(config.database.path, Path::new("/var/lib/netlog/netlog.db"));
    assert_eq!(config.api.bind, Bind::Tcp(([127, 0, 0, 1], 9696).into()));
    assert_eq!(config.syslog.socket, Path::new("/dev/log"));
    assert_eq!(config.syslog.facility.code(), 1);
    assert_eq!(config.syslog.tag, "netlog");
}

#[test]
fn every_option_can_be_set() {
    let config = config(
        "[network_log]\nrate_limit=+100\nburst_limit: 30\nlocal_output_log_base = '/var/log/sg.log'\n\
         format=json\ntimestamp=rfc3339\nextra_fields=No\npayload=ON\n\
         [OVS]\nintegration_bridge=br0\novsdb_connection=tcp:127.0.0.1:6640\nopenflow_socket=/run/x\n\
         [flow_profile]\naccepted_egress_table=1\naccepted_ingress_table=2\ndropped_table=254\n\
         accepted_egress_normal_table=0\nport_register=15\npriority=65535\nsame_host_priority=0\n\
         [inventory]\nsource=file\npath=/i\n[database]\npath=/d\n\
         [api]\nbind=unix:/run/netlog.sock\nauth_strategy=noauth\n\
         [oslo_policy]\npolicy_file=/p\n\
         [syslog]\nsocket=/s\nfacility=local3\ntag=sg\n",
    );
    assert_eq!(config.network_log.rate_limit, Some(100));
    assert_eq!(config.network_log.burst_limit, 30);
    assert_eq!(
        config.network_log.local_output_log_base.as_deref(),
        Some(Path::new("/var/log/sg.log"))
    );
    assert_eq!(config.network_log.format, Format::Json);
    assert_eq!(config.network_log.timestamp, Timestamp::Rfc3339);
    assert!(!config.network_log.extra_fields);
    assert!(config.network_log.payload);
    assert_eq!(config.ovs.integration_bridge, "br0");
    assert_eq!(
        config.ovs.ovsdb_connection.to_string(),
        "tcp:127.0.0.1:6640"
    );
    assert_eq!(config.ovs.management_socket(), Path::new("/run/x"));
    assert_eq!(config.flow_profile.dropped_table, 254);
    assert_eq!(config.flow_profile.priority, 65_535);
    assert_eq!(config.inventory.path, Path::new("/i"));
    assert_eq!(config.database.path, Path::new("/d"));
    assert_eq!(config.api.bind, Bind::Unix("/run/netlog.sock".into()));
    assert_eq!(
        config.oslo_policy.policy_file.as_deref(),
        Some(Path::new("/p"))
    );
    assert_eq!(config.syslog.facility.code(), 19);
    assert_eq!(config.syslog.tag, "sg");
}

#[test]
fn the_bridge_names_the_management_socket() {
    let config = config("[ovs]\nintegration_bridge = br-x\n");
    assert_eq!(
        config.ovs.management_socket(),
        Path::new("/var/run/openvswitch/br-x.mgmt")
    );
}

#[test]
fn a_bad_value_names_file_line_section_key_value_and_what_is_allowed() {
    for (section, key, value, allowed) in [
        (
            "network_log",
            "rate_limit",
            "99",
            "an integer of at least 100, or nothing: unlimited",
        ),
        (
            "network_log",
            "rate_limit",
            "fast",
            "an integer of at least 100, or nothing: unlimited",
        ),
        (
            "network_log",
            "burst_limit",
            "24",
            "an integer of at least 25",
        ),
        (
            "network_log",
            "burst_limit",
            "",
            "an integer of at least 25",
        ),
        (
            "network_log",
            "burst_limit",
            "99999999999",
            "an integer of at least 25",
        ),
        (
            "network_log",
            "local_output_log_base",
            "log",
            "an absolute path, or nothing: the local syslog",
        ),
        (
            "network_log",
            "format",
            "Text",
            "text | neutron | json | ecs | ocsf",
        ),
        ("network_log", "timestamp", "iso", "rfc3164 | rfc3339"),
        (
            "network_log",
            "payload",
            "maybe",
            "true | yes | on | 1 or false | no | off | 0",
        ),
        (
            "ovs",
            "integration_bridge",
            "",
            "text of one line, not empty",
        ),
        (
            "ovs",
            "ovsdb_connection",
            "ssl:1.2.3.4:6640",
            "unix:PATH, tcp:HOST:PORT or tcp:[IPV6]:PORT",
        ),
        (
            "flow_profile",
            "dropped_table",
            "255",
            "an integer from 0 to 254",
        ),
        (
            "flow_profile",
            "port_register",
            "16",
            "an integer from 0 to 15",
        ),
        (
            "flow_profile",
            "priority",
            "-1",
            "an integer from 0 to 65535",
        ),
        ("inventory", "source", "neutron", "file"),
        ("inventory", "path", "", "an absolute path"),
        ("database", "path", "netlog.db", "an absolute path"),
        (
            "api",
            "bind",
            "localhost:9696",
            "IP:PORT, [IPV6]:PORT or unix:PATH",
        ),
        (
            "api",
            "bind",
            "unix:relative",
            "IP:PORT, [IPV6]:PORT or unix:PATH",
        ),
        (
            "api",
            "auth_strategy",
            "keystone",
            "noauth | trusted-headers | static-tokens",
        ),
    ] {
        assert_eq!(
            error(&format!("[{section}]\n\n{key} = {value}\n")),
            format!(
                "/etc/netlog/a.conf:3: [{section}] {key} = {value:?} is not allowed; \
                 allowed: {allowed}"
            )
        );
    }
}

#[test]
fn a_value_of_two_lines_is_no_path() {
    assert!(error("[database]\npath = /a\n /b\n").contains("path = \"/a\\n/b\" is not allowed"));
}

#[test]
fn only_the_value_that_counts_is_judged() {
    let config = config("[network_log]\nrate_limit = 1\nrate_limit = 200\n");
    assert_eq!(config.network_log.rate_limit, Some(200));
}

#[test]
fn an_empty_optional_value_is_none() {
    let config = config("[network_log]\nrate_limit = 200\nrate_limit =\nlocal_output_log_base=\n");
    assert_eq!(config.network_log.rate_limit, None);
    assert_eq!(config.network_log.local_output_log_base, None);
}

#[test]
fn what_must_be_set_is_asked_for() {
    assert_eq!(
        Config::parse(&[]).unwrap_err().to_string(),
        "[inventory] path is not set in any file, and must be; allowed: an absolute path"
    );
}

#[test]
fn references_to_other_options_are_refused_and_dollars_can_be_written() {
    for value in ["$state_path/x", "${state_path}/x", "/x/$x"] {
        assert!(
            error(&format!("[database]\npath = {value}\n")).contains("$name is not looked up"),
            "{value}"
        );
    }
    for (written, read) in [
        ("/a$$b", "/a$b"),
        (r"/a\$b", "/a$b"),
        ("/a$1", "/a$1"),
        ("/a$", "/a$"),
        ("/$$$$", "/$$"),
    ] {
        let config = config(&format!("[database]\npath = {written}\n"));
        assert_eq!(config.database.path, Path::new(read), "{written}");
    }
}

#[test]
fn noauth_wants_a_local_address() {
    for bind in ["127.0.0.1:80", "[::1]:80", "unix:/run/s", "127.9.9.9:80"] {
        config(&format!("[api]\nbind = {bind}\n"));
    }
    for bind in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
        assert_eq!(
            error(&format!("[api]\nbind = {bind}\n")),
            format!(
                "/etc/netlog/a.conf:2: [api] bind = {bind:?} is not allowed; allowed: with \
                 auth_strategy = noauth a loopback address or unix:PATH, unless \
                 allow_unauthenticated_remote = true"
            )
        );
        config(&format!(
            "[api]\nbind = {bind}\nallow_unauthenticated_remote = true\n"
        ));
    }
}

#[test]
fn trusted_headers_want_a_unix_socket() {
    let trusted = "[api]\nauth_strategy = trusted-headers\n";
    config(&format!("{trusted}bind = unix:/run/s\n"));
    for bind in ["", "bind = 127.0.0.1:9696\n", "bind = 192.0.2.1:80\n"] {
        let error = error(&format!("{trusted}{bind}"));
        assert!(error.contains("bind = unix:PATH"), "{error}");
    }
}

#[test]
fn an_unknown_key_of_ours_is_a_warning() {
    let (_, warnings) = parse("[network_log]\nrate_limt = 100\n[api]\nBind = x\n").unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "/etc/netlog/a.conf:2: [network_log] rate_limt is not an option and has no effect",
            "/etc/netlog/a.conf:4: [api] Bind is not an option and has no effect",
        ]
    );
}

// The shape of the file that DevStack writes for Neutron's agent.
#[test]
fn the_file_of_neutrons_agent_is_read_without_a_word() {
    let (config, warnings) = parse(
        "[DEFAULT]\ndebug = True\ntransport_url = rabbit://stack:x@192.0.2.7:5672/\n\n\
         [agent]\ntunnel_types = vxlan\nextensions = log\nl2_population = True\n\n\
         [ovs]\nlocal_ip = 192.0.2.7\nbridge_mappings = public:br-ex,\n physnet1:br-phys\n\
         tunnel_bridge = br-tun\ndatapath_type = system\nof_listen_port = 6633\n\
         ovsdb_connection = tcp:127.0.0.1:6640\nigmp_snooping_enable = true\n\n\
         [securitygroup]\nfirewall_driver = openvswitch\nenable_security_group = True\n\n\
         [network_log]\nrate_limit = 100\nburst_limit = 25\n\
         #local_output_log_base = <None>\n\n\
         [database]\nconnection = mysql+pymysql://root:x@127.0.0.1/neutron?charset=utf8\n\
         [oslo_concurrency]\nlock_path = $state_path/lock\n",
    )
    .unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.network_log.rate_limit, Some(100));
    assert_eq!(
        config.ovs.ovsdb_connection.to_string(),
        "tcp:127.0.0.1:6640"
    );
}

#[test]
fn files_and_directories_are_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let first = write("first.ini", "[ovs]\nintegration_bridge=first\n");
    write("d/20.conf", "[ovs]\nintegration_bridge=twenty\n");
    write("d/10.conf", INVENTORY);
    write("d/10.conf.bak", "[ovs]\nintegration_bridge=backup\n");
    write("d/.30.conf", "[ovs]\nintegration_bridge=hidden\n");
    let first = Location::File(first);
    let rest = Location::Dir(dir.path().join("d"));
    let bridge = |locations: &[Location]| {
        let (config, _) = Config::load(locations).unwrap();
        config.ovs.integration_bridge
    };
    assert_eq!(bridge(&[first.clone(), rest.clone()]), "twenty");
    assert_eq!(bridge(&[rest, first]), "first");
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    for location in [
        Location::File(absent.clone()),
        Location::Dir(absent.clone()),
    ] {
        let message = Config::load(&[location]).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("{}: cannot be read: ", absent.display())),
            "{message}"
        );
    }
    let latin1 = dir.path().join("latin1.conf");
    std::fs::write(&latin1, b"[ovs]\nintegration_bridge = br\xe9\n").unwrap();
    let message = Config::load(&[Location::File(latin1)])
        .unwrap_err()
        .to_string();
    assert!(message.contains("UTF-8"), "{message}");
}

#[test]
fn the_sample_is_a_valid_file_that_changes_nothing() {
    let sample = Config::reference();
    let (from_sample, warnings) = Config::parse(&[source(&sample)]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(from_sample, config(""));
    // The defaults it shows are the defaults: an option in a comment has no
    // blank after the #.
    let shown: String = sample
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if option.starts_with(|c: char| c.is_ascii_lowercase()) => option,
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let (from_shown, warnings) = Config::parse(&[source(&shown)]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(from_shown, from_sample);
    assert!(shown.contains("\nburst_limit = 25\n"));
}

/// `NETLOG_WRITE_SAMPLE=1 cargo test` writes the file anew.
#[test]
fn the_sample_in_docs_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/netlog.conf.sample");
    if std::env::var_os("NETLOG_WRITE_SAMPLE").is_some() {
        std::fs::write(&path, Config::reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == Config::reference(),
        "{} is out of date: run this test with NETLOG_WRITE_SAMPLE=1",
        path.display()
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_but_never_panics(text in "[\\[\\]=:#;'\" \t\r\na-z$\\\\]{0,80}") {
        let _ = parse(&text);
        let _ = parse(&format!("[database]\npath = {text}"));
    }

    #[test]
    fn what_is_written_is_read_back(
        section in "[a-z_]{1,8}",
        key in "[a-z_]{1,8}",
        value in "[!-~]([ -~]{0,20}[!-~])?",
    ) {
        let quoted = format!("[{section}]\n{key} = \"{value}\"\n");
        proptest::prop_assert_eq!(values(&quoted), [(section, key, value, 2)]);
    }
}
