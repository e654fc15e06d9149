//! What the lab needs from the machine, and how to get it.

use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use socket2::{Domain, Socket, Type};

use crate::error::Missing;
use crate::{LabError, tools};

/// Program, package of Debian and Ubuntu.
const PROGRAMS: [(&str, &str); 9] = [
    ("sh", "dash"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("ovsdb-tool", "openvswitch-common"),
    ("ovsdb-server", "openvswitch-switch"),
    ("ovs-vswitchd", "openvswitch-switch"),
    ("ovs-vsctl", "openvswitch-switch"),
    ("ovs-ofctl", "openvswitch-common"),
    ("ovs-appctl", "openvswitch-common"),
];

/// Checks everything that the lab needs; the error lists all that is missing.
pub fn check() -> Result<(), LabError> {
    let mut missing = Vec::new();
    let mut lacks = |what: &str, remedy: String| {
        missing.push(Missing {
            what: what.to_owned(),
            remedy,
        });
    };
    for (program, package) in PROGRAMS {
        if tools::find(program).is_none() {
            lacks(
                &format!("the program {program}"),
                format!("apt-get install {package}"),
            );
        }
    }
    if !Path::new("/dev/net/tun").exists() {
        lacks(
            "/dev/net/tun",
            "modprobe tun, or start the container with --device /dev/net/tun".to_owned(),
        );
    }
    if !Path::new("/proc/sys/net/ipv6").exists() {
        lacks("IPv6", "start the kernel without ipv6.disable=1".to_owned());
    }
    if geteuid().is_root() {
        if let Err(error) = Socket::new(Domain::PACKET, Type::RAW, None) {
            lacks(
                "raw sockets",
                format!("{error}: the capability CAP_NET_RAW is needed"),
            );
        }
        if let Err(reason) = namespace_with_a_cable() {
            lacks("network namespaces", reason);
        }
    } else {
        lacks("root", "run as root, for example with sudo".to_owned());
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(LabError::Missing(missing))
    }
}

/// Tries what the lab is made of in a namespace that nobody else sees.
fn namespace_with_a_cable() -> Result<(), String> {
    thread::scope(|scope| {
        let attempt = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|error| {
                format!("{error}: the capability CAP_SYS_ADMIN is needed (docker run --privileged)")
            })?;
            let mut cable = tools::command("ip");
            cable.args([
                "link", "add", "veth0", "type", "veth", "peer", "name", "veth1",
            ]);
            tools::run(&mut cable).map(drop).map_err(|error| {
                format!(
                    "{error}: the capability CAP_NET_ADMIN and the kernel module veth are needed"
                )
            })
        });
        attempt
            .join()
            .unwrap_or_else(|_| Err("the attempt panicked".to_owned()))
    })
}
