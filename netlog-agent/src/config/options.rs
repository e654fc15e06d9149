//! Every option, once: its name, type, rule, default and help. The structs,
//! their reader, the list of known keys and the sample file all come from the
//! one table at the foot of this file. The doc comment of a field is the help
//! in the sample.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::rule::{
    Bind, Described, Rule, Words, at_least, between, boolean, line, one_of, parsed, path,
};
use super::{Error, Ini};
use crate::api::TrustedPeers;
use crate::ovsdb::Endpoint;

/// Defines an enum of words as they stand in a file.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl Words for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];
        }
    };
}

words! {
    /// How a record is written.
    Format {
        /// The documented line, with the headers spelled out.
        Text = "text",
        /// Byte for byte what Neutron's log driver writes.
        Neutron = "neutron",
        /// One flat JSON object a line.
        Json = "json",
        /// Elastic Common Schema, as JSON.
        Ecs = "ecs",
        /// Network Activity of the Open Cybersecurity Schema Framework, as JSON.
        Ocsf = "ocsf",
    }
}

words! {
    /// How the time of a record is written.
    Timestamp {
        /// `May  5 09:05:07`, local time (RFC 3164 section 4.1.2).
        Rfc3164 = "rfc3164",
        /// `2026-05-05T09:05:07.123456Z`, UTC (RFC 3339).
        Rfc3339 = "rfc3339",
    }
}

words! {
    /// Where the ports and security groups come from.
    InventorySource {
        /// A JSON file in the shape of Neutron's API.
        File = "file",
    }
}

words! {
    /// Who may use the API.
    AuthStrategy {
        /// Everyone who can reach it.
        NoAuth = "noauth",
        /// Callers whom the headers `X-User-Id`, `X-Project-Id` and `X-Roles` name.
        TrustedHeaders = "trusted-headers",
        /// Callers who send a token of `tokens_file`.
        StaticTokens = "static-tokens",
    }
}

/// A syslog facility (RFC 5424 section 6.2.1).
#[derive(Debug, Clone, Copy)]
pub struct Facility(netlog_sink::Facility);

impl Facility {
    /// The numerical code, 0 to 23.
    pub fn code(self) -> u8 {
        self.0 as u8 >> 3
    }
}

impl PartialEq for Facility {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code()
    }
}

impl Eq for Facility {}

impl From<Facility> for netlog_sink::Facility {
    fn from(facility: Facility) -> Self {
        facility.0
    }
}

impl Words for Facility {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("kern", Self(netlog_sink::Facility::LOG_KERN)),
        ("user", Self(netlog_sink::Facility::LOG_USER)),
        ("mail", Self(netlog_sink::Facility::LOG_MAIL)),
        ("daemon", Self(netlog_sink::Facility::LOG_DAEMON)),
        ("auth", Self(netlog_sink::Facility::LOG_AUTH)),
        ("syslog", Self(netlog_sink::Facility::LOG_SYSLOG)),
        ("lpr", Self(netlog_sink::Facility::LOG_LPR)),
        ("news", Self(netlog_sink::Facility::LOG_NEWS)),
        ("uucp", Self(netlog_sink::Facility::LOG_UUCP)),
        ("cron", Self(netlog_sink::Facility::LOG_CRON)),
        ("authpriv", Self(netlog_sink::Facility::LOG_AUTHPRIV)),
        ("ftp", Self(netlog_sink::Facility::LOG_FTP)),
        ("local0", Self(netlog_sink::Facility::LOG_LOCAL0)),
        ("local1", Self(netlog_sink::Facility::LOG_LOCAL1)),
        ("local2", Self(netlog_sink::Facility::LOG_LOCAL2)),
        ("local3", Self(netlog_sink::Facility::LOG_LOCAL3)),
        ("local4", Self(netlog_sink::Facility::LOG_LOCAL4)),
        ("local5", Self(netlog_sink::Facility::LOG_LOCAL5)),
        ("local6", Self(netlog_sink::Facility::LOG_LOCAL6)),
        ("local7", Self(netlog_sink::Facility::LOG_LOCAL7)),
    ];
}

/// One section of the table.
pub(super) struct Section {
    pub(super) name: &'static str,
    help: &'static [&'static str],
    /// Keys that other programs read from a section of the same name.
    beside: &'static [&'static str],
    options: Vec<Described>,
}

impl Section {
    /// True if `key` is an option of ours or of a program we share with.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.beside.contains(&key) || self.options.iter().any(|option| option.key == key)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n[{}]", self.name)?;
        comment(out, self.help)?;
        for option in &self.options {
            out.push('\n');
            comment(out, option.help)?;
            writeln!(out, "# Allowed: {}.", option.allowed)?;
            writeln!(out, "{}", option.assignment)?;
        }
        Ok(())
    }
}

fn comment(out: &mut String, lines: &[&str]) -> std::fmt::Result {
    // The backticks are for rustdoc.
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "#{}", line.replace('`', "")))
}

/// The sample file.
pub(super) fn reference() -> String {
    let mut out = String::from(
        "# Configuration of netlog-agent.\n\
         #\n\
         # Given with --config-file (repeatable) or --config-dir; what is read later wins.\n\
         # An option that is commented out is shown with its default. Files of Neutron's\n\
         # agent, such as openvswitch_agent.ini, can be given too.\n",
    );
    for section in sections() {
        // Writing to a String cannot fail.
        let _ = section.write(&mut out);
    }
    out
}

/// Defines the structs, and the two functions that go through all options.
macro_rules! options {
    ($($(#[doc = $section_help:literal])+
        $section:ident: $name:ident $(beside $beside:ident)? {
            $($(#[doc = $help:literal])+ $key:ident: $type:ty = $rule:expr,)+
        })+
    ) => {
        /// The agent's configuration: a struct for each section.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $section_help])+ pub $section: $name,)+
        }

        $($(#[doc = $section_help])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $help])+ pub $key: $type,)+
        })+

        /// Reads every option from `ini`, or takes its default.
        pub(super) fn read(ini: &Ini) -> Result<Config, Error> {
            Ok(Config {
                $($section: $name {
                    $($key: $rule.take(ini, stringify!($section), stringify!($key))?,)+
                },)+
            })
        }

        /// Every section, described.
        pub(super) fn sections() -> Vec<Section> {
            vec![$(Section {
                name: stringify!($section),
                help: &[$($section_help),+],
                beside: options!(@beside $($beside)?),
                options: vec![$({
                    let rule: Rule<$type> = $rule;
                    rule.describe(stringify!($key), &[$($help),+])
                },)+],
            },)+]
        }
    };
    (@beside) => { &[] };
    (@beside $beside:ident) => { $beside };
}

/// The keys that Neutron's agent reads from `[ovs]`, of this and earlier
/// releases.
const NEUTRON_OVS: &[&str] = &[
    "bridge_mac_table_size",
    "bridge_mappings",
    "datapath_type",
    "disable_packet_marking",
    "igmp_flood",
    "igmp_flood_reports",
    "igmp_flood_unregistered",
    "igmp_snooping_enable",
    "int_peer_patch_port",
    "local_ip",
    "of_connect_timeout",
    "of_inactivity_probe",
    "of_interface",
    "of_listen_address",
    "of_listen_port",
    "of_request_timeout",
    "openflow_processed_per_port",
    "ovsdb_debug",
    "ovsdb_interface",
    "ovsdb_timeout",
    "qos_meter_bandwidth",
    "resource_provider_bandwidths",
    "resource_provider_default_hypervisor",
    "resource_provider_hypervisors",
    "resource_provider_inventory_defaults",
    "resource_provider_packet_processing_inventory_defaults",
    "resource_provider_packet_processing_with_direction",
    "resource_provider_packet_processing_without_direction",
    "ssl_ca_cert_file",
    "ssl_cert_file",
    "ssl_key_file",
    "trunk_enabled",
    "tun_peer_patch_port",
    "tunnel_bridge",
    "use_veth_interconnection",
    "vhostuser_socket_dir",
    "vhostuser_socketdir_mode",
];

/// The keys that oslo.db reads from `[database]` (in `neutron.conf`), of this
/// and earlier releases.
const OSLO_DATABASE: &[&str] = &[
    "asyncio_connection",
    "asyncio_slave_connection",
    "backend",
    "connection",
    "connection_debug",
    "connection_parameters",
    "connection_recycle_time",
    "connection_trace",
    "db_inc_retry_interval",
    "db_max_retries",
    "db_max_retry_interval",
    "db_retry_interval",
    "engine",
    "idle_timeout",
    "max_overflow",
    "max_pool_size",
    "max_retries",
    "min_pool_size",
    "mysql_enable_ndb",
    "mysql_sql_mode",
    "mysql_wsrep_sync_wait",
    "pool_timeout",
    "retry_interval",
    "slave_connection",
    "sqlite_synchronous",
    "synchronous_reader",
    "use_db_reconnect",
];

/// The keys that oslo.policy reads from `[oslo_policy]` beside the one that counts here.
const OSLO_POLICY: &[&str] = &[
    "enforce_new_defaults",
    "enforce_scope",
    "policy_default_rule",
    "policy_dirs",
    "remote_content_type",
    "remote_ssl_ca_crt_file",
    "remote_ssl_client_crt_file",
    "remote_ssl_client_key_file",
    "remote_ssl_verify_server_crt",
    "remote_timeout",
];

impl Ovs {
    /// The management socket of the integration bridge: as configured, or
    /// where ovs-vswitchd puts it.
    pub fn management_socket(&self) -> PathBuf {
        self.openflow_socket.clone().unwrap_or_else(|| {
            PathBuf::from(format!(
                "/var/run/openvswitch/{}.mgmt",
                self.integration_bridge
            ))
        })
    }
}

options! {
    /// What is recorded, how much of it, and where it goes.
    network_log: NetworkLog {
        /// The greatest number of packets logged a second. What comes faster waits
        /// in a queue of `burst_limit` packets. Both limits are read again on SIGHUP.
        rate_limit: Option<u32> = at_least(100).optional("unlimited"),
        /// The greatest number of packets that wait to be logged. What does not fit
        /// is counted and not logged.
        burst_limit: u32 = at_least(25).or("25"),
        /// The file that records are written to.
        local_output_log_base: Option<PathBuf> = path().optional("the local syslog"),
        /// How a record is written.
        format: Format = one_of().or("text"),
        /// How the time of a record is written by `format = text`.
        timestamp: Timestamp = one_of().or("rfc3164"),
        /// Whether `format = text` names the direction, and the rule that accepted or
        /// the reason for the drop.
        extra_fields: bool = boolean().or("true"),
        /// Whether what follows the headers of a packet is recorded.
        payload: bool = boolean().or("false"),
    }
    /// Open vSwitch on this host. Neutron's agent reads a section of this name too.
    ovs: Ovs beside NEUTRON_OVS {
        /// The bridge that the ports of virtual machines are plugged into.
        integration_bridge: String = line().or("br-int"),
        /// Where ovsdb-server listens.
        ovsdb_connection: Endpoint = parsed("unix:PATH, tcp:HOST:PORT or tcp:[IPV6]:PORT")
            .or("unix:/var/run/openvswitch/db.sock"),
        /// The management socket of the integration bridge.
        openflow_socket: Option<PathBuf> = path()
            .optional("/var/run/openvswitch/BRIDGE.mgmt of the integration bridge"),
    }
    /// Where the firewall's flows are, for a firewall that does not use the numbers
    /// of Neutron's openvswitch driver.
    flow_profile: FlowProfile {
        /// The table that accepted new sessions from a port pass.
        accepted_egress_table: u8 = between(0, 254).or("91"),
        /// The table that accepted new sessions to a port pass.
        accepted_ingress_table: u8 = between(0, 254).or("92"),
        /// The table that dropped packets pass.
        dropped_table: u8 = between(0, 254).or("93"),
        /// The table that accepted egress traffic leaves the firewall through.
        accepted_egress_normal_table: u8 = between(0, 254).or("94"),
        /// The register that holds the OpenFlow port number of the port.
        port_register: u8 = between(0, 15).or("5"),
        /// The priority of log flows.
        priority: u16 = between(0, 65_535).or("100"),
        /// The priority of log flows for sessions between two ports of this host.
        same_host_priority: u16 = between(0, 65_535).or("90"),
    }
    /// Where ports and security groups are known from.
    inventory: Inventory {
        /// The kind of source.
        source: InventorySource = one_of().or("file"),
        /// The file of `source = file`: JSON in the shape of Neutron's API. It is read
        /// again when it changes.
        path: PathBuf = path().required("/etc/netlog/inventory.json"),
        /// Whether callers of the API may change ports and security groups, as the policy
        /// has it. The file is replaced with each change; nobody else should export it.
        writable: bool = boolean().or("false"),
    }
    /// The agent's own database of log objects. In Neutron's files a section of this
    /// name tells of the server's database; its keys are left alone.
    database: Database beside OSLO_DATABASE {
        /// The SQLite file.
        path: PathBuf = path().or("/var/lib/netlog/netlog.db"),
    }
    /// The HTTP API.
    api: Api {
        /// Where the API listens.
        bind: Bind = parsed("IP:PORT, [IPV6]:PORT or unix:PATH").or("127.0.0.1:9696"),
        /// Who may use the API. With noauth everyone who can reach it may; on a Unix
        /// socket that is root, and the user and primary group of the agent. With
        /// trusted-headers whatever stands in front of the agent has checked who calls
        /// and says so in headers. With static-tokens callers send a token.
        auth_strategy: AuthStrategy = one_of().or("noauth"),
        /// The hosts whose headers are believed with `auth_strategy = trusted-headers` and a
        /// TCP address. Whoever may open a Unix socket is believed. They are believed as
        /// well when they say in `X-Forwarded-For` whom they speak for, which the audit log
        /// tells: the last address there that is none of these hosts.
        trusted_peers: TrustedPeers = parsed("addresses and prefixes (192.0.2.7, 2001:db8::/64), \
                                              separated by commas").or(""),
        /// The tokens of `auth_strategy = static-tokens`: a JSON list of objects with
        /// `token`, `user_id`, `project_id` and `roles`. Only its owner may have access to it.
        tokens_file: PathBuf = path().or("/etc/netlog/tokens.json"),
        /// Whether `auth_strategy = noauth` may be used with a TCP address that other
        /// hosts can reach.
        allow_unauthenticated_remote: bool = boolean().or("false"),
    }
    /// What callers of the API may do, with an `auth_strategy` that tells them apart.
    oslo_policy: OsloPolicy beside OSLO_POLICY {
        /// YAML or JSON with rules in the place of Neutron's defaults. It is read again
        /// when it changes, and on SIGHUP; one that cannot be used changes nothing.
        policy_file: Option<PathBuf> = path().optional("Neutron's default rules"),
    }
    /// The audit log: who changed or tried to change what is logged, and what happened
    /// to the agent. Entries are CADF events in JSON, one a line.
    audit: Audit {
        /// The file that entries are written to. Never that of the records.
        path: Option<PathBuf> = path().optional("the local syslog"),
        /// The facility of entries in the local syslog. Never that of the records.
        facility: Facility = one_of().or("authpriv"),
        /// The tag (program name) of entries in the local syslog.
        tag: String = line().or("netlog-audit"),
        /// How many seconds the losses of one kind are added up before another entry
        /// tells of them. The first is told at once.
        gap_interval: u32 = at_least(1).or("60"),
    }
    /// Metrics for Prometheus. They are at /metrics of the API, for those who may see the agent's
    /// state, and where it is wanted at an address of their own.
    metrics: Metrics {
        /// Where /metrics and /healthz are served to everyone who can reach them.
        bind: Option<Bind> = parsed("IP:PORT, [IPV6]:PORT or unix:PATH").optional("only by the API"),
        /// The greatest number of ports that have series of their own beside the totals.
        port_series: usize = between(0, 10_000).or("500"),
    }
    /// The local syslog, used when `local_output_log_base` is not set.
    syslog: Syslog {
        /// The socket of the syslog daemon.
        socket: PathBuf = path().or("/dev/log"),
        /// The facility of the records.
        facility: Facility = one_of().or("user"),
        /// The tag (program name) of the records.
        tag: String = line().or("netlog"),
    }
}
