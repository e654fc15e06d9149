//! The configuration of the agent.
//!
//! The files are INI as oslo.config writes and reads it, so that the file of
//! Neutron's agent (`openvswitch_agent.ini`) can be given as it is: `[ovs]
//! integration_bridge` or `[network_log] rate_limit` mean here what they mean
//! there. Three layers, each with one job:
//!
//! - `ini` turns text into assignments that know their file and line;
//! - `rule` says how a value is read, and tells it in words;
//! - `options` is the table of all options, from which the structs, the
//!   reader, the list of known keys and the sample file are made.
//!
//! Files are read in [`Config::load`] only; [`Config::parse`] is a pure
//! function. A value that is not allowed is an error with file, line, section,
//! key and what would be allowed. A key that nobody knows, in a section that
//! is ours, is a [`Warning`] for the caller to log; sections that are not ours
//! are none of our business.
//!
//! ```
//! use netlog_agent::config::{Config, Source};
//!
//! let file = Source::new(
//!     "/etc/netlog/netlog.conf",
//!     "[network_log]\nrate_limit = 500\nlog_level = 3\n[inventory]\npath = /etc/netlog/i.json\n",
//! );
//! let (config, warnings) = Config::parse(&[file])?;
//! assert_eq!(config.network_log.rate_limit, Some(500));
//! assert_eq!(config.network_log.burst_limit, 25);
//! assert_eq!(
//!     warnings[0].to_string(),
//!     "/etc/netlog/netlog.conf:3: [network_log] log_level is not an option and has no effect",
//! );
//! # Ok::<(), netlog_agent::config::Error>(())
//! ```

mod ini;
mod options;
mod rule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use ini::{Entry, Ini, Place, Source};
pub use options::{
    Api, AuthStrategy, Config, Database, Facility, FlowProfile, Format, Inventory, InventorySource,
    Metrics, NetworkLog, Ovs, Syslog, Timestamp,
};
pub use rule::{Bind, BindError};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is not INI.
    #[error("{place}: {problem}: {text:?}")]
    Syntax {
        /// The line.
        place: Place,
        /// What is wrong with it.
        problem: &'static str,
        /// The line's text.
        text: String,
    },
    /// A value is not allowed.
    #[error("{place}: [{section}] {key} = {value:?} is not allowed; allowed: {allowed}")]
    Value {
        /// Where it is set.
        place: Place,
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// What may be written instead.
        allowed: String,
    },
    /// An option that has no default is set in no file.
    #[error("[{section}] {key} is not set in any file, and must be; allowed: {allowed}")]
    Missing {
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// What may be written.
        allowed: String,
    },
}

/// A key that means nothing to anyone; probably a typing error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands.
    pub place: Place,
    /// The section, one of ours.
    pub section: String,
    /// The key.
    pub key: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: [{}] {} is not an option and has no effect",
            self.place, self.section, self.key
        )
    }
}

/// What the command line names as a place to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `--config-file`.
    File(PathBuf),
    /// `--config-dir`: its `*.conf` files in the order of their names.
    Dir(PathBuf),
}

impl Config {
    /// Reads the files at `locations` in order; what is read later wins.
    pub fn load(locations: &[Location]) -> Result<(Self, Vec<Warning>), Error> {
        let mut sources = Vec::new();
        for location in locations {
            match location {
                Location::File(path) => sources.push(read(path)?),
                Location::Dir(path) => {
                    for file in conf_files(path)? {
                        sources.push(read(&file)?);
                    }
                }
            }
        }
        Self::parse(&sources)
    }

    /// The configuration that the sources make together, and the keys in them
    /// that have no meaning.
    pub fn parse(sources: &[Source]) -> Result<(Self, Vec<Warning>), Error> {
        let ini = Ini::parse(sources)?;
        let config = options::read(&ini)?;
        config.check(&ini)?;
        let sections = options::sections();
        let warnings = ini
            .entries()
            .iter()
            .filter(|entry| {
                sections
                    .iter()
                    .any(|ours| ours.name == entry.section && !ours.knows(&entry.key))
            })
            .map(|entry| Warning {
                place: entry.place.clone(),
                section: entry.section.clone(),
                key: entry.key.clone(),
            })
            .collect();
        Ok((config, warnings))
    }

    /// A commented sample file with every option and its default.
    pub fn reference() -> String {
        options::reference()
    }

    /// The rules that concern more than one option.
    fn check(&self, ini: &Ini) -> Result<(), Error> {
        self.check_audit(ini)?;
        let api = &self.api;
        let entry = ini
            .last("api", "bind")
            .or_else(|| ini.last("api", "auth_strategy"));
        let (Bind::Tcp(address), Some(entry)) = (&api.bind, entry) else {
            return Ok(());
        };
        match api.auth_strategy {
            AuthStrategy::NoAuth
                if !address.ip().is_loopback() && !api.allow_unauthenticated_remote =>
            {
                Err(Error::value(
                    entry,
                    "with auth_strategy = noauth a loopback address or unix:PATH, \
                     unless allow_unauthenticated_remote = true",
                ))
            }
            AuthStrategy::TrustedHeaders if api.trusted_peers.is_empty() => Err(Error::value(
                entry,
                "with auth_strategy = trusted-headers bind = unix:PATH, or trusted_peers, since \
                 whoever reaches a port can send headers",
            )),
            _ => Ok(()),
        }
    }

    /// Records and audit entries never go to the same place.
    fn check_audit(&self, ini: &Ini) -> Result<(), Error> {
        let refuse = |section, key, allowed| match ini.last(section, key) {
            Some(entry) => Err(Error::value(entry, allowed)),
            None => Ok(()),
        };
        match (&self.network_log.local_output_log_base, &self.audit.path) {
            (Some(records), Some(audit)) if records == audit => {
                refuse("audit", "path", "another file than local_output_log_base")
            }
            (None, None) if self.syslog.facility == self.audit.facility => {
                let allowed = "another facility than [syslog] and [audit] share";
                refuse("audit", "facility", allowed)?;
                refuse("syslog", "facility", allowed)
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Source, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Source::new(path, text)),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The files that the shell's `DIR/*.conf` names, sorted.
fn conf_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.ends_with(b".conf") && !name.starts_with(b".") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
