//! What the agent must not forget: log objects and port slots, in SQLite.
//!
//! A change is on disk when the call returns: the database is in WAL mode with
//! `synchronous = FULL`, so that neither a killed agent nor a lost power supply takes back what
//! the API has answered.
//!
//! | table | what |
//! |---|---|
//! | `logs` | log objects, one a row |
//! | `log_limits` | limits of log objects that have one; a row goes with its log object |
//! | `ledger` | what was counted, by what it was counted of; kept over kills, not over power cuts |
//! | `port_slots` | port id → slot; rows are never deleted, so a slot is never reused |
//!
//! The file names its owner (`PRAGMA application_id`) and its layout (`PRAGMA user_version`,
//! the number of `MIGRATIONS` that it has seen).

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netlog_core::log::LogObject;
use netlog_ratelimit::Quota;
use rusqlite::types::{ToSql as _, ToSqlOutput};
use rusqlite::{
    Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params, params_from_iter,
};
use time::UtcDateTime;
use uuid::Uuid;

use crate::limits::LogChange;

mod search;
#[cfg(test)]
mod tests;

pub use search::{Field, Search};

/// Marks a SQLite file as ours: `nlog`.
const APPLICATION_ID: i32 = 0x6e6c_6f67;

/// Each step from one layout to the next. Never change one that was released: add another.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE logs (
        id              TEXT    NOT NULL PRIMARY KEY,
        project_id      TEXT    NOT NULL,
        name            TEXT    NOT NULL,
        description     TEXT    NOT NULL,
        resource_type   TEXT    NOT NULL,
        resource_id     TEXT,
        target_id       TEXT,
        event           TEXT    NOT NULL CHECK (event IN ('ALL', 'ACCEPT', 'DROP')),
        enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        revision_number INTEGER NOT NULL CHECK (revision_number >= 0),
        created_at      INTEGER NOT NULL,
        updated_at      INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE port_slots (
        slot    INTEGER PRIMARY KEY AUTOINCREMENT CHECK (slot BETWEEN 1 AND 4294967295),
        port_id TEXT    NOT NULL UNIQUE
    ) STRICT;
",
    "
    CREATE TABLE log_limits (
        log_id      TEXT    NOT NULL PRIMARY KEY,
        rate_limit  INTEGER NOT NULL,
        burst_limit INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- Not a foreign key: a change of a log object replaces its row, which is no deletion here.
    CREATE TRIGGER log_limits_go AFTER DELETE ON logs BEGIN
        DELETE FROM log_limits WHERE log_id = old.id;
    END;
",
    "
    CREATE TABLE ledger (
        of      TEXT    NOT NULL PRIMARY KEY,
        numbers TEXT    NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    -- What lists are narrowed and ordered by. Each index ends in the id, the key of the table.
    CREATE INDEX logs_project         ON logs (project_id);
    CREATE INDEX logs_name            ON logs (name);
    CREATE INDEX logs_description     ON logs (description);
    CREATE INDEX logs_resource_type   ON logs (resource_type);
    CREATE INDEX logs_resource        ON logs (ifnull(resource_id, ''));
    CREATE INDEX logs_target          ON logs (ifnull(target_id, ''));
    CREATE INDEX logs_event           ON logs (event, id); -- or SQLite prefers logs_event_name
    CREATE INDEX logs_enabled         ON logs (enabled);
    CREATE INDEX logs_revision_number ON logs (revision_number);
    CREATE INDEX logs_project_name    ON logs (project_id, name);
    CREATE INDEX logs_event_name      ON logs (event, name);
    CREATE INDEX logs_enabled_name    ON logs (enabled, name);
    -- Neutron orders equal log objects by rising id under a falling key as well.
    CREATE INDEX logs_project_down       ON logs (project_id DESC, id);
    CREATE INDEX logs_name_down          ON logs (name DESC, id);
    CREATE INDEX logs_resource_type_down ON logs (resource_type DESC, id);
    CREATE INDEX logs_resource_down      ON logs (ifnull(resource_id, '') DESC, id);
    CREATE INDEX logs_target_down        ON logs (ifnull(target_id, '') DESC, id);
    CREATE INDEX logs_enabled_down       ON logs (enabled DESC, id);
",
    "
    -- The same for callers who see one project.
    CREATE INDEX logs_project_description     ON logs (project_id, description);
    CREATE INDEX logs_project_resource_type   ON logs (project_id, resource_type);
    CREATE INDEX logs_project_resource        ON logs (project_id, ifnull(resource_id, ''));
    CREATE INDEX logs_project_target          ON logs (project_id, ifnull(target_id, ''));
    CREATE INDEX logs_project_event           ON logs (project_id, event);
    CREATE INDEX logs_project_enabled         ON logs (project_id, enabled);
    CREATE INDEX logs_project_revision_number ON logs (project_id, revision_number);
    CREATE INDEX logs_project_name_down          ON logs (project_id, name DESC, id);
    CREATE INDEX logs_project_resource_type_down ON logs (project_id, resource_type DESC, id);
    CREATE INDEX logs_project_resource_down
        ON logs (project_id, ifnull(resource_id, '') DESC, id);
    CREATE INDEX logs_project_target_down
        ON logs (project_id, ifnull(target_id, '') DESC, id);
    CREATE INDEX logs_project_enabled_down       ON logs (project_id, enabled DESC, id);
",
];

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file or its folder cannot be made.
    #[error(
        "{path}: cannot create the database: {cause}; check [database] path and who may write there"
    )]
    Create {
        /// The database file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file is another program's database.
    #[error(
        "{path}: a SQLite database, but not one of netlog: set [database] path to another file"
    )]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// A later release has written the file.
    #[error(
        "{path}: has layout {found}, this netlog knows layouts up to {known}: install the release \
         that wrote it, or move the file away to start anew"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its layout.
        found: usize,
        /// The newest layout that is known here.
        known: usize,
    },
    /// SQLite failed.
    #[error(
        "{path}: {cause}; the database could not be read or written, check the disk and the file"
    )]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        cause: rusqlite::Error,
    },
}

/// Log objects and port slots, kept over restarts.
///
/// All calls block on the disk; call them where blocking is allowed.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Reads lists, so that a long one keeps no change waiting.
    lists: Mutex<Connection>,
}

impl Store {
    /// Opens the database, making the file (readable by its owner only) and its folder where
    /// they are missing, and brings an older layout up to date.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        create(&path).map_err(|cause| StoreError::Create {
            path: path.clone(),
            cause,
        })?;
        let sqlite = |cause| StoreError::Sqlite {
            path: path.clone(),
            cause,
        };
        let mut connection = Connection::open(&path).map_err(sqlite)?;
        connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(sqlite)?;
        check_owner(&connection, &path)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
            )
            .map_err(sqlite)?;
        migrate(&mut connection).map_err(sqlite)?;
        let lists = Connection::open(&path).map_err(sqlite)?;
        lists
            .execute_batch("PRAGMA query_only = ON;")
            .map_err(sqlite)?;
        Ok(Self {
            path,
            connection: Mutex::new(connection),
            lists: Mutex::new(lists),
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A connection of its own for the ledger's numbers, which are written once a second.
    ///
    /// # Errors
    /// When SQLite gives none.
    pub fn ledger(&self) -> Result<LedgerStore, StoreError> {
        let open = || {
            let connection = Connection::open(&self.path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            // A commit waits for no disk: what is lost with the power is what the switch's own
            // counters lose as well.
            connection.execute_batch("PRAGMA synchronous = NORMAL;")?;
            Ok(connection)
        };
        let connection = open().map_err(|cause| self.failed(cause))?;
        Ok(LedgerStore {
            path: self.path.clone(),
            connection: Mutex::new(connection),
        })
    }

    /// All log objects, in the order of their ids.
    pub fn logs(&self) -> Result<Vec<LogObject>, StoreError> {
        let connection = self.lock();
        let all = || {
            connection
                .prepare_cached("SELECT * FROM logs ORDER BY id")?
                .query_map([], log)?
                .collect::<rusqlite::Result<_>>()
        };
        all().map_err(|cause| self.failed(cause))
    }

    /// Shows log objects to `found`, one after the other, until that has enough.
    pub fn search(
        &self,
        search: &Search,
        found: impl FnMut(LogObject) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        search::run(&lock(&self.lists), search, found).map_err(|cause| self.failed(cause))
    }

    /// A log object by id.
    pub fn log(&self, id: Uuid) -> Result<Option<LogObject>, StoreError> {
        find(&self.lock(), id).map_err(|cause| self.failed(cause))
    }

    /// Adds log objects, all of them or none.
    pub fn create_logs(&self, logs: &[LogObject]) -> Result<(), StoreError> {
        self.create_logs_of(|| Ok(logs)).map(drop)
    }

    /// Adds the log objects that `make` answers, all of them or none. No other change comes
    /// between what `make` looks at and the addition.
    pub fn create_logs_of<L: AsRef<[LogObject]>, E: From<StoreError>>(
        &self,
        make: impl FnOnce() -> Result<L, E>,
    ) -> Result<L, E> {
        self.transaction(|transaction| {
            let logs = make()?;
            logs.as_ref()
                .iter()
                .try_for_each(|log| insert(transaction, log))
                .map_err(|cause| self.failed(cause))?;
            Ok(logs)
        })
    }

    /// Changes a log object in one step: `change` gets the newest state, and what it leaves is
    /// written if it answers true. `None` if there is no such log object.
    pub fn update_log<E: From<StoreError>>(
        &self,
        id: Uuid,
        change: impl FnOnce(&mut LogObject) -> Result<bool, E>,
    ) -> Result<Option<LogObject>, E> {
        self.transaction(|transaction| {
            let found = find(transaction, id).map_err(|cause| self.failed(cause))?;
            let Some(mut log) = found else {
                return Ok(None);
            };
            let before = log.clone();
            if change(&mut log)? {
                update(transaction, &before, &log).map_err(|cause| self.failed(cause))?;
            }
            Ok(Some(log))
        })
    }

    /// Deletes a log object if `check` agrees to its newest state. `None` if there is no such
    /// log object.
    pub fn delete_log<E: From<StoreError>>(
        &self,
        id: Uuid,
        check: impl FnOnce(&LogObject) -> Result<(), E>,
    ) -> Result<Option<LogObject>, E> {
        self.transaction(|transaction| {
            let found = find(transaction, id).map_err(|cause| self.failed(cause))?;
            let Some(log) = found else {
                return Ok(None);
            };
            check(&log)?;
            transaction
                .execute("DELETE FROM logs WHERE id = ?1", [id.to_string()])
                .map_err(|cause| self.failed(cause))?;
            Ok(Some(log))
        })
    }

    /// Deletes those of these log objects whose newest state `check` says yes to, all of them or
    /// none, and returns them.
    pub fn delete_logs_if(
        &self,
        ids: &[Uuid],
        check: impl Fn(&LogObject) -> bool,
    ) -> Result<Vec<LogObject>, StoreError> {
        self.transaction(|transaction| {
            let delete = || {
                let mut delete = transaction.prepare_cached("DELETE FROM logs WHERE id = ?1")?;
                let mut deleted = Vec::new();
                for id in ids {
                    if let Some(log) = find(transaction, *id)?.filter(&check) {
                        delete.execute([id.to_string()])?;
                        deleted.push(log);
                    }
                }
                Ok(deleted)
            };
            delete().map_err(|cause| self.failed(cause))
        })
    }

    /// The limit of a log object, if it has one.
    pub fn log_limit(&self, log: Uuid) -> Result<Option<Quota>, StoreError> {
        self.lock()
            .prepare_cached("SELECT * FROM log_limits WHERE log_id = ?1")
            .and_then(|mut select| select.query_row([log.to_string()], quota).optional())
            .map_err(|cause| self.failed(cause))
    }

    /// The limits of log objects that have one.
    pub fn log_limits(&self) -> Result<BTreeMap<Uuid, Quota>, StoreError> {
        log_limits(&self.lock()).map_err(|cause| self.failed(cause))
    }

    /// Changes limits of log objects in one step: `change` gets all there are, and answers with
    /// those to set (or to take away, with `None`). Returns what they were and are; a log object
    /// that does not exist is the error `missing`.
    pub fn update_log_limits<E: From<StoreError>>(
        &self,
        change: impl FnOnce(&BTreeMap<Uuid, Quota>) -> Result<BTreeMap<Uuid, Option<Quota>>, E>,
        missing: impl FnOnce(Uuid) -> E,
    ) -> Result<Vec<LogChange>, E> {
        self.transaction(|transaction| {
            let failed = |cause| E::from(self.failed(cause));
            let limits = log_limits(transaction).map_err(failed)?;
            let mut changed = Vec::new();
            for (log, after) in change(&limits)? {
                if find(transaction, log).map_err(failed)?.is_none() {
                    return Err(missing(log));
                }
                let id = log.to_string();
                match after {
                    Some(quota) => transaction.execute(
                        "REPLACE INTO log_limits VALUES (?1, ?2, ?3)",
                        params![id, quota.rate(), quota.burst()],
                    ),
                    None => transaction.execute("DELETE FROM log_limits WHERE log_id = ?1", [id]),
                }
                .map_err(failed)?;
                changed.push(LogChange {
                    log,
                    before: limits.get(&log).copied(),
                    after,
                });
            }
            Ok(changed)
        })
    }

    /// The slots of ports, in the order of the ports: small numbers from 1 that stand for ports
    /// in flow cookies. A port that has none gets the next one, for good: it is the same after a
    /// restart, and no other port ever gets it.
    pub fn slots(&self, ports: &[Uuid]) -> Result<Vec<u32>, StoreError> {
        self.transaction(|transaction| {
            let slots = || {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO port_slots (port_id) VALUES (?1) RETURNING slot",
                )?;
                let mut select =
                    transaction.prepare_cached("SELECT slot FROM port_slots WHERE port_id = ?1")?;
                ports
                    .iter()
                    .map(|port| {
                        let port = port.to_string();
                        let known = select.query_row([&port], |row| row.get(0)).optional()?;
                        match known {
                            Some(slot) => Ok(slot),
                            None => insert.query_row([&port], |row| row.get(0)),
                        }
                    })
                    .collect::<rusqlite::Result<_>>()
            };
            slots().map_err(|cause| self.failed(cause))
        })
    }

    /// Does `work` whole or not at all.
    fn transaction<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|cause| self.failed(cause))?;
        let done = work(&transaction)?;
        transaction.commit().map_err(|cause| self.failed(cause))?;
        Ok(done)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    fn failed(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::Sqlite {
            path: self.path.clone(),
            cause,
        }
    }
}

/// The ledger's numbers, kept over restarts of the agent.
#[derive(Debug)]
pub struct LedgerStore {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl LedgerStore {
    /// All rows: what is counted, and the numbers.
    pub fn rows(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.read("SELECT of, numbers FROM ledger", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// The port of each slot that was ever given.
    pub fn ports(&self) -> Result<BTreeMap<u32, Uuid>, StoreError> {
        let ports = self.read("SELECT slot, port_id FROM port_slots", |row| {
            Ok((row.get(0)?, parsed(row, "port_id", Uuid::try_parse)?))
        })?;
        Ok(ports.into_iter().collect())
    }

    /// Writes rows over those of the same name, and deletes those without numbers, all of them or
    /// none.
    pub fn save(&self, rows: &[(String, Option<String>)]) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let mut save = || {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut replace = transaction
                    .prepare_cached("REPLACE INTO ledger (of, numbers) VALUES (?1, ?2)")?;
                let mut delete = transaction.prepare_cached("DELETE FROM ledger WHERE of = ?1")?;
                for (of, numbers) in rows {
                    match numbers {
                        Some(numbers) => replace.execute([of, numbers])?,
                        None => delete.execute([of])?,
                    };
                }
            }
            transaction.commit()
        };
        save().map_err(|cause| self.failed(cause))
    }

    fn read<T>(
        &self,
        sql: &str,
        of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<T>> {
            connection.prepare(sql)?.query_map([], of)?.collect()
        };
        read().map_err(|cause| self.failed(cause))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    fn failed(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::Sqlite {
            path: self.path.clone(),
            cause,
        }
    }
}

/// A connection. A thread that panicked while it held the lock has rolled back.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the file and its folder, closed to others. SQLite gives the files beside it the same
/// mode.
fn create(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Refuses a database that is not ours, or newer than this program.
fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let sqlite = |cause| StoreError::Sqlite {
        path: path.to_owned(),
        cause,
    };
    let pragma = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
    let owner = pragma("PRAGMA application_id").map_err(sqlite)?;
    let tables = pragma("SELECT count(*) FROM sqlite_schema").map_err(sqlite)?;
    if owner != APPLICATION_ID && !(owner == 0 && tables == 0) {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
        });
    }
    let found = layout(connection).map_err(sqlite)?;
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: MIGRATIONS.len(),
        });
    }
    Ok(())
}

/// The number of migrations that the database has seen.
fn layout(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Takes the database through the migrations that it has not seen.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seen = layout(&transaction)?;
    for migration in MIGRATIONS.iter().skip(seen) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()
}

/// A log object by id.
fn find(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<LogObject>> {
    connection
        .prepare_cached("SELECT * FROM logs WHERE id = ?1")?
        .query_row([id.to_string()], log)
        .optional()
}

/// The limits of log objects.
fn log_limits(connection: &Connection) -> rusqlite::Result<BTreeMap<Uuid, Quota>> {
    connection
        .prepare_cached("SELECT * FROM log_limits")?
        .query_map([], |row| {
            Ok((parsed(row, "log_id", Uuid::try_parse)?, quota(row)?))
        })?
        .collect()
}

/// Reads a row of `log_limits`.
fn quota(row: &Row<'_>) -> rusqlite::Result<Quota> {
    let quota = Quota::new(row.get("rate_limit")?, row.get("burst_limit")?);
    quota.map_err(|cause| invalid(row, "rate_limit", cause))
}

/// What stands in the columns of a log object's row.
fn columns(log: &LogObject) -> rusqlite::Result<[(&'static str, ToSqlOutput<'_>); 12]> {
    let id = |id: Option<Uuid>| ToSqlOutput::Owned(id.map(|id| id.to_string()).into());
    Ok([
        ("id", log.id.to_string().into()),
        ("project_id", log.project_id.to_sql()?),
        ("name", log.name.to_sql()?),
        ("description", log.description.to_sql()?),
        ("resource_type", log.resource_type.to_sql()?),
        ("resource_id", id(log.resource_id)),
        ("target_id", id(log.target_id)),
        ("event", log.event.as_str().into()),
        ("enabled", log.enabled.into()),
        ("revision_number", log.revision_number.to_sql()?),
        ("created_at", log.created_at.unix_timestamp().into()),
        ("updated_at", log.updated_at.unix_timestamp().into()),
    ])
}

/// Adds a row for a log object.
fn insert(connection: &Connection, log: &LogObject) -> rusqlite::Result<()> {
    let (names, values): (Vec<_>, Vec<_>) = columns(log)?.into_iter().unzip();
    let (names, places) = (names.join(", "), vec!["?"; values.len()].join(", "));
    connection
        .prepare_cached(&format!("INSERT INTO logs ({names}) VALUES ({places})"))?
        .execute(params_from_iter(values))
        .map(drop)
}

/// Writes what a log object is now into its row. What is as it was is not written: each column is
/// in several indexes.
fn update(connection: &Connection, before: &LogObject, now: &LogObject) -> rusqlite::Result<()> {
    let both = columns(before)?.into_iter().zip(columns(now)?);
    let differ = both.filter_map(|(before, now)| (before != now).then_some(now));
    let (names, mut values): (Vec<_>, Vec<_>) = differ.unzip();
    if names.is_empty() {
        return Ok(());
    }
    values.push(before.id.to_string().into());
    let names = names.join(" = ?, ");
    connection
        .prepare_cached(&format!("UPDATE logs SET {names} = ? WHERE id = ?"))?
        .execute(params_from_iter(values))
        .map(drop)
}

/// Reads a row of `logs`.
fn log(row: &Row<'_>) -> rusqlite::Result<LogObject> {
    Ok(LogObject {
        id: parsed(row, "id", Uuid::try_parse)?,
        project_id: row.get("project_id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        resource_type: row.get("resource_type")?,
        resource_id: optional_id(row, "resource_id")?,
        target_id: optional_id(row, "target_id")?,
        event: parsed(row, "event", str::parse)?,
        enabled: row.get("enabled")?,
        revision_number: row.get("revision_number")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// A text column that means something.
fn parsed<T, E: std::error::Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).map_err(|cause| invalid(row, column, cause))
}

/// A column with an id or null.
fn optional_id(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Uuid>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| Uuid::try_parse(&text))
        .transpose()
        .map_err(|cause| invalid(row, column, cause))
}

/// A column with seconds since 1970.
fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<UtcDateTime> {
    UtcDateTime::from_unix_timestamp(row.get(column)?).map_err(|cause| invalid(row, column, cause))
}

/// A value that this program has not written.
fn invalid(
    row: &Row<'_>,
    column: &str,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    match row.as_ref().column_index(column) {
        Ok(index) => rusqlite::Error::FromSqlConversionFailure(
            index,
            rusqlite::types::Type::Text,
            Box::new(cause),
        ),
        Err(error) => error,
    }
}
