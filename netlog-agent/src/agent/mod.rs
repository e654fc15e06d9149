//! The composition: the only place that knows all the others.

mod families;
mod state;
mod status;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use netlog_core::audit::{Action, Outcome};
use netlog_core::classify::Tables;
use netlog_core::flow::FlowProfile;
use netlog_core::ledger::Ledger;
use netlog_core::log::LogDrivers;
use netlog_core::policy::Policy;
use netlog_core::record::{Format, Layout, Recorder, TimestampStyle};
use netlog_packet::Payload;
use netlog_ratelimit::LimitError;
use netlog_sink::{FileSink, Retry, SinkError, SyslogSink, Worker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use self::state::{Agent, Files, Message, Parts, Reloaded};
use self::status::Status;
use crate::api::policy::{self, PolicyFileError};
use crate::api::tokens::{self, TokensError};
use crate::api::{self, Api, Auth, BindError, Changed, Listener};
use crate::audit::Audit;
use crate::clock;
use crate::config::{self, AuthStrategy, Config, Location};
use crate::inventory::{self, FileError, InventoryFile};
use crate::ledger::{self, Bookkeeper, Books};
use crate::limits::{HostLimits, Setting};
use crate::metrics::Metrics;
use crate::ovsdb;
use crate::pipeline::{self, EventAccounts, Pipeline, SINK_QUEUE};
use crate::reload::{WatchError, Watcher};
use crate::store::{Store, StoreError};
use crate::switch::{Priority, Switch};

/// Entries that wait to be written to the audit log at most.
const AUDIT_QUEUE: usize = 1024;

/// How long the sink may take at the end for what it has not written yet.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the agent does not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The inventory file cannot be used.
    #[error(transparent)]
    Inventory(#[from] FileError),
    /// The rate limit makes no sense.
    #[error("[network_log]: {0}")]
    Limits(#[from] LimitError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Records cannot be written.
    #[error("[network_log] local_output_log_base: {0}")]
    Sink(#[from] SinkError),
    /// Callers cannot be told.
    #[error("[api] tokens_file: {0}")]
    Tokens(#[from] TokensError),
    /// Nobody knows what callers may do.
    #[error("[oslo_policy] policy_file: {0}")]
    Policy(#[from] PolicyFileError),
    /// A file cannot be watched for changes.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The audit log cannot be written.
    #[error("[audit] path: {0}")]
    Audit(SinkError),
    /// The API cannot listen.
    #[error("[api] bind: {0}")]
    Bind(#[from] BindError),
    /// Metrics cannot be served.
    #[error("[metrics] bind: {0}")]
    BindMetrics(BindError),
    /// The system gives no thread, socket or file descriptor.
    #[error("the system refused what the agent needs to start: {0}")]
    System(#[from] io::Error),
}

/// Why a configuration that was read again has no effect.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("[network_log]: {0}")]
    Limits(#[from] LimitError),
}

/// Checks everything that can be checked without starting: what `--check` does.
///
/// # Errors
/// When inventory, tokens or policy cannot be read, or the limits make no sense. The configuration
/// itself was checked when it was loaded.
pub fn check(config: &Config) -> Result<(), Error> {
    Setting::configured(&config.network_log)?;
    auth(config)?;
    load_policy(config)?;
    inventory::load(&config.inventory.path)?;
    Ok(())
}

/// Runs the agent until a signal stops it. On SIGHUP the files at `locations`, which `config` was
/// read from, are read again for what can change at run time: the limits.
///
/// # Errors
/// When it cannot start. What goes wrong later is logged, and tried again.
pub fn run(config: &Config, locations: &[Location]) -> Result<(), Error> {
    let limits = Arc::new(HostLimits::new(Setting::configured(&config.network_log)?));
    let inventory_path = &config.inventory.path;
    let inventory_file = Arc::new(InventoryFile::open(inventory_path)?);
    let inventory = inventory_file.in_force();
    let store = Arc::new(Store::open(&config.database.path)?);
    let ledger = Arc::new(Ledger::default());
    let sink = sink(config, &ledger)?;
    let audit_sink = audit_sink(config)?;
    let audit = Arc::new(Audit::to_sink(&audit_sink));
    let format = format(config);
    let auth = auth(config)?;
    let policy = Arc::new(ArcSwap::from_pointee(load_policy(config)?));

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (listener, metrics_listener) = runtime.block_on(listen(config))?;

    let (sender, messages) = mpsc::channel();
    let tables = Arc::new(ArcSwap::from_pointee(Tables::empty(format)));
    let bridge = config.ovs.integration_bridge.clone();
    let profile = profile(config);
    let books = Arc::new(Books::open(ledger::Parts {
        bridge: bridge.clone(),
        ledger: Arc::clone(&ledger),
        sink: sink_name(config),
        counters: sink.counters(),
        store: store.ledger()?,
        audit: Arc::clone(&audit),
        interval: Duration::from_secs(config.audit.gap_interval.into()),
    })?);
    let bookkeeper = Bookkeeper::start(Arc::clone(&books))?;
    let status = Arc::new(Status::new(
        bridge.clone(),
        Arc::clone(&inventory),
        Arc::clone(&ledger),
        Arc::clone(&books),
        sink.counters(),
        audit_sink.counters(),
    ));

    let start = audit.did(Action::Start, Outcome::Success, audit.agent());
    audit.record(&start.message(format_args!("bridge {bridge}, API on {}", config.api.bind)));
    let signals = watch_signals(sender.clone())?;
    let pipeline = Pipeline::new(pipeline::Parts {
        tables: Arc::clone(&tables),
        ledger: Arc::clone(&ledger),
        recorder: Recorder::new(format),
        limits: limits.in_force(),
        sink: sink.handle(),
        port_register: profile.port_register,
        // The standard library keys its own tables with randomness from the system.
        seed: RandomState::new().hash_one(0),
    })
    .telling_of_drift(tell(&sender, Message::Drift));
    let socket = config.ovs.management_socket();
    let switch = Switch::start(
        socket,
        profile,
        pipeline,
        Priority::RealTime,
        tell(&sender, Message::Switch),
    )?;
    let agent = Agent::new(
        Parts {
            bridge,
            profile,
            store: Arc::clone(&store),
            inventory: Arc::clone(&inventory),
            tables,
            ledger,
            books: Arc::clone(&books),
            drivers: LogDrivers::default(),
            policy: Arc::clone(&policy),
            limits: Arc::clone(&limits),
            audit: Arc::clone(&audit),
            files: Files {
                inventory: inventory_path.clone(),
                policy: config.oslo_policy.policy_file.clone(),
            },
            status: Arc::clone(&status),
        },
        switch,
    )?;
    let ovsdb = ovsdb::Driver::start(
        config.ovs.ovsdb_connection.clone(),
        tell(&sender, Message::Ovsdb),
    )?;
    let mut watchers = vec![Watcher::start("inventory", inventory_path, {
        let (file, mut tell) = (
            Arc::clone(&inventory_file),
            tell(&sender, Message::Inventory),
        );
        move || match file.read_again() {
            Ok(false) => {}
            Ok(true) => tell(Ok(())),
            Err(error) => tell(Err(error)),
        }
    })?];
    if let Some(path) = &config.oslo_policy.policy_file {
        let (file, mut tell) = (path.clone(), tell(&sender, Message::Policy));
        let watcher = Watcher::start("policy", path, move || tell(policy::load(&file)))?;
        watchers.push(watcher);
    }

    let metrics = Arc::new(Metrics::new({
        let (status, limits) = (Arc::clone(&status), Arc::clone(&limits));
        let port_series = config.metrics.port_series;
        move || status.families(&limits, port_series)
    }));
    let api = Api {
        store,
        inventory,
        inventory_file: config.inventory.writable.then_some(inventory_file),
        agent: Arc::new(ApiSeam {
            messages: sender,
            status,
            books,
        }),
        metrics: Arc::clone(&metrics),
        drivers: LogDrivers::default(),
        auth,
        policy,
        limits,
        audit: Arc::clone(&audit),
        clock: clock::utc_now,
    };
    let (stop_api, stopped) = watch::channel(());
    let until_stopped = move || {
        let mut stopped = stopped.clone();
        // An error means that the agent is gone: stop as well.
        async move { drop(stopped.changed().await) }
    };
    let api = thread::Builder::new()
        .name("api".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let metrics = async {
                    if let Some(listener) = metrics_listener {
                        api::serve_metrics(listener, metrics, until_stopped()).await;
                    }
                };
                tokio::join!(api::serve(listener, api, until_stopped()), metrics);
            });
        })?;

    info!(version = env!("CARGO_PKG_VERSION"), api = %config.api.bind, "netlog-agent started");
    agent.run(&messages, || {
        let reloaded = Reloaded {
            policy: load_policy(config),
            limits: reload_limits(locations),
        };
        sink.reopen();
        audit_sink.reopen();
        reloaded
    });

    info!("stopping");
    let reason = "a signal said so";
    audit.record(
        &audit
            .did(Action::Stop, Outcome::Success, audit.agent())
            .message(reason),
    );
    drop(stop_api);
    signals.close();
    drop(watchers);
    ovsdb.stop();
    if let Err(error) = sink.close(DRAIN_TIMEOUT) {
        error!("{error}");
    }
    // A panic of the API was reported by the panic hook.
    let _ = api.join();
    bookkeeper.close();
    if let Err(error) = audit_sink.close(DRAIN_TIMEOUT) {
        error!("the audit log: {error}");
    }
    info!("netlog-agent stopped");
    Ok(())
}

/// The limits that the configuration sets now.
fn reload_limits(locations: &[Location]) -> Result<Setting, ReloadError> {
    let (config, warnings) = Config::load(locations)?;
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(Setting::configured(&config.network_log)?)
}

/// Opens all places to listen, before any of them is served: the API's, and that of the metrics if
/// they have one. The API's comes last, so that whoever can connect to it finds the others open.
async fn listen(config: &Config) -> Result<(Listener, Option<Listener>), Error> {
    let metrics = match &config.metrics.bind {
        Some(bind) => Some(Listener::bind(bind).await.map_err(Error::BindMetrics)?),
        None => None,
    };
    Ok((Listener::bind(&config.api.bind).await?, metrics))
}

fn auth(config: &Config) -> Result<Auth, TokensError> {
    Ok(match config.api.auth_strategy {
        AuthStrategy::NoAuth => Auth::NoAuth,
        AuthStrategy::TrustedHeaders => Auth::TrustedHeaders(config.api.trusted_peers.clone()),
        AuthStrategy::StaticTokens => Auth::StaticTokens(tokens::load(&config.api.tokens_file)?),
    })
}

fn load_policy(config: &Config) -> Result<Policy, PolicyFileError> {
    match &config.oslo_policy.policy_file {
        Some(path) => policy::load(path),
        None => Ok(Policy::default()),
    }
}

fn sink(config: &Config, ledger: &Arc<Ledger>) -> Result<Worker, Error> {
    let accounts = Arc::new(EventAccounts(Arc::clone(ledger)));
    let retry = Retry::default();
    let worker = if let Some(path) = &config.network_log.local_output_log_base {
        Worker::spawn_for(FileSink::open(path)?, SINK_QUEUE, retry, accounts)
    } else {
        let syslog = &config.syslog;
        let sink = SyslogSink::new(&syslog.socket, syslog.facility.into(), &*syslog.tag);
        Worker::spawn_for(sink, SINK_QUEUE, retry, accounts)
    };
    Ok(worker?)
}

/// What the sink of [`sink`] is called.
fn sink_name(config: &Config) -> &'static str {
    if config.network_log.local_output_log_base.is_some() {
        "file"
    } else {
        "syslog"
    }
}

fn audit_sink(config: &Config) -> Result<Worker, Error> {
    let audit = &config.audit;
    let worker = if let Some(path) = &audit.path {
        let sink = FileSink::open(path).map_err(Error::Audit)?;
        Worker::spawn(sink, AUDIT_QUEUE, Retry::default())
    } else {
        let sink = SyslogSink::new(&config.syslog.socket, audit.facility.into(), &*audit.tag);
        Worker::spawn(sink, AUDIT_QUEUE, Retry::default())
    };
    Ok(worker?)
}

fn format(config: &Config) -> Format {
    let log = &config.network_log;
    Format {
        layout: match log.format {
            config::Format::Text => Layout::Text,
            config::Format::Neutron => Layout::Neutron,
            config::Format::Json => Layout::Json,
            config::Format::Ecs => Layout::Ecs,
            config::Format::Ocsf => Layout::Ocsf,
        },
        timestamp: match log.timestamp {
            // The syslog daemon puts the time before each line.
            _ if log.local_output_log_base.is_none() => TimestampStyle::None,
            config::Timestamp::Rfc3164 => TimestampStyle::Rfc3164,
            config::Timestamp::Rfc3339 => TimestampStyle::Rfc3339,
        },
        extra_fields: log.extra_fields,
        payload: if log.payload {
            Payload::Include
        } else {
            Payload::Omit
        },
    }
}

fn profile(config: &Config) -> FlowProfile {
    let profile = &config.flow_profile;
    FlowProfile {
        accepted_egress_table: profile.accepted_egress_table,
        accepted_ingress_table: profile.accepted_ingress_table,
        dropped_table: profile.dropped_table,
        accepted_egress_normal_table: profile.accepted_egress_normal_table,
        port_register: profile.port_register,
        priority: profile.priority,
        same_host_priority: profile.same_host_priority,
    }
}

/// A callback that sends what it is told to the agent.
fn tell<T: Send + 'static>(
    sender: &mpsc::Sender<Message>,
    message: impl Fn(T) -> Message + Send + 'static,
) -> impl FnMut(T) + Send + 'static {
    let sender = sender.clone();
    move |told| {
        // While the agent stops nobody listens any more.
        let _ = sender.send(message(told));
    }
}

/// Turns signals into messages, on a thread of its own.
fn watch_signals(sender: mpsc::Sender<Message>) -> io::Result<signal_hook::iterator::Handle> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let message = if signal == SIGHUP {
                    Message::Reload
                } else {
                    Message::Stop
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        })?;
    Ok(handle)
}

/// What the API sees of the agent.
struct ApiSeam {
    messages: mpsc::Sender<Message>,
    status: Arc<Status>,
    books: Arc<Books>,
}

impl api::Agent for ApiSeam {
    fn changed(&self, what: Changed) -> oneshot::Receiver<()> {
        let (done, in_force) = oneshot::channel();
        // If the agent is gone, so is the sender, and nobody waits.
        let _ = self.messages.send(Message::Changed(what, done));
        in_force
    }

    fn status(&self) -> serde_json::Value {
        self.status.to_json()
    }

    fn ledger(&self) -> serde_json::Value {
        self.books.to_json()
    }
}
