#!/usr/bin/env python3
"""Programs a private Open vSwitch with Neutron's own code, and prints the flows of a bridge.

Usage, as root, with neutron in the Python environment and Open vSwitch installed:

    unshare --net record.py INVENTORY HOST OUTPUT [--explicitly-egress-direct]

INVENTORY is a file in the shape of Neutron's API, HOST says how its ports are plugged on this host
(host.json). The flows of the bridges are written to OUTPUT/BRIDGE.flows.

Everything that decides on a flow is Neutron's: the integration and physical bridges' base flows
(OVSIntegrationBridge, OVSPhysicalBridge, over os-ken), what the server tells the agent of rules
and members (SecurityGroupInfoAPIMixin), and the firewall (SecurityGroupAgentRpc with
OVSFirewallDriver). The database behind them is the inventory, and the ports are internal ones on
which nobody sends.
"""

import argparse
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import netaddr
from os_ken.base import app_manager
from oslo_config import cfg

from neutron.agent import securitygroups_rpc
from neutron.agent.common import ovs_lib
from neutron.agent.linux import ip_conntrack
from neutron.conf.plugins.ml2.drivers import ovs_conf
from neutron.db import securitygroups_rpc_base
from neutron.plugins.ml2.drivers.openvswitch.agent.openflow.native import (
    base_oskenapp, br_int, br_phys, main as native)

BR_INT, BR_PHYS = "br-int", "br-phys"
PATCH_INT, PATCH_PHYS = "int-br-phys", "phy-br-phys"
PROTOCOLS = "protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14"


def execute(command, process_input=None, **_):
    """Runs a tool of Open vSwitch as root, which this is already."""
    return subprocess.run([str(word) for word in command], input=process_input, check=True,
                          text=True, capture_output=True).stdout


class Server(securitygroups_rpc_base.SecurityGroupInfoAPIMixin):
    """What the server knows of the inventory."""

    def __init__(self, inventory):
        self.ports = {port["id"]: port for port in inventory["ports"]}
        self.groups = {group["id"]: group for group in inventory["security_groups"]}
        self.address_groups = {group["id"]: group for group in inventory["address_groups"]}

    def security_group_info_for_devices(self, context, devices):
        ports = {}
        for device in devices:
            port = dict(self.ports[device], device=device, security_group_rules=[],
                        security_group_source_groups=[],
                        security_group_remote_address_groups=[])
            port["fixed_ips"] = [fixed["ip_address"] for fixed in port["fixed_ips"]]
            ports[device] = port
        return self.security_group_info_for_ports(context, ports)

    def _select_rules_for_ports(self, context, ports):
        def stored(rule):
            prefix = rule["remote_ip_prefix"]
            cidr = prefix and str(netaddr.IPNetwork(prefix).cidr)
            protocol = None if rule["protocol"] in (None, "any") else str(rule["protocol"])
            # SecurityGroupDbMixin._make_canonical_ipv6_icmp_protocol
            if rule["ethertype"] == "IPv6":
                protocol = {"icmp": "ipv6-icmp", "icmpv6": "ipv6-icmp", "1": "58"}.get(
                    protocol, protocol)
            return dict(rule, normalized_cidr=cidr, protocol=protocol)
        return [(port["id"], stored(rule)) for port in ports.values()
                for group in port["security_groups"]
                for rule in self.groups[group]["security_group_rules"]]

    def _select_sg_ids_for_ports(self, context, ports):
        return [(group,) for group in {g for p in ports.values() for g in p["security_groups"]}]

    def _get_sgs_stateful_flag(self, context, sg_ids):
        return {group: self.groups[group].get("stateful", True) for group in sg_ids}

    def _select_ips_for_remote_group(self, context, remote_group_ids):
        ips = {group: set() for group in remote_group_ids}
        for port in self.ports.values():
            addresses = {(fixed["ip_address"], port["mac_address"]) for fixed in port["fixed_ips"]}
            addresses |= {(pair["ip_address"], pair["mac_address"])
                          for pair in port["allowed_address_pairs"]}
            for group in set(port["security_groups"]) & set(ips):
                ips[group] |= addresses
        return ips

    def _select_ips_for_remote_address_group(self, context, remote_address_group_ids):
        return {group: {(address, None) for address in self.address_groups[group]["addresses"]}
                for group in remote_address_group_ids}


class Switch:
    """A private Open vSwitch in this network namespace."""

    def __init__(self, directory):
        self.directory = directory
        for variable in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"):
            os.environ[variable] = directory
        self.database = f"unix:{directory}/db.sock"
        execute(["ip", "link", "set", "lo", "up"])
        execute(["ovsdb-tool", "create", f"{directory}/conf.db"])
        daemon = ["--pidfile", "--detach", "--no-chdir", "--log-file"]
        execute(["ovsdb-server", f"{directory}/conf.db", f"--remote=p{self.database}", *daemon])
        self.vsctl("--no-wait", "init")
        execute(["ovs-vswitchd", self.database, *daemon])

    def vsctl(self, *words):
        return execute(["ovs-vsctl", f"--db={self.database}", *words])

    def plug(self, inventory, host):
        """Adds the bridges and ports as Nova and Neutron's agent do."""
        for bridge in (BR_INT, BR_PHYS):
            self.vsctl("add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev",
                       "fail_mode=secure", PROTOCOLS)
        self.vsctl("add-port", BR_INT, PATCH_INT, "--", "set", "Interface", PATCH_INT,
                   "type=patch", f"options:peer={PATCH_PHYS}", f"ofport_request={host['patch']}")
        self.vsctl("add-port", BR_PHYS, PATCH_PHYS, "--", "set", "Interface", PATCH_PHYS,
                   "type=patch", f"options:peer={PATCH_INT}", "ofport_request=3")
        for port in inventory["ports"]:
            if port["name"] not in host["ofports"]:
                continue
            tap, network = f"tap{port['name']}", host["networks"][port["network_id"]]
            self.vsctl(
                "add-port", BR_INT, tap, f"tag={network['vlan']}", "--", "set", "Interface", tap,
                "type=internal", f"ofport_request={host['ofports'][port['name']]}",
                f"external_ids:iface-id={port['id']}",
                f"external_ids:attached-mac=\"{port['mac_address']}\"",
                "external_ids:iface-status=active", "--", "set", "Port", tap,
                f"other_config:tag={network['vlan']}",
                f"other_config:net_uuid={port['network_id']}", "other_config:network_type=vlan",
                f"other_config:physical_network={host['physical_network']}",
                f"other_config:segmentation_id={network['segment']}")

    def flows(self, bridge):
        text = execute(["ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "--no-names", "--no-stats",
                        bridge])
        return "".join(f"{line}\n" for line in text.splitlines() if "actions=" in line)

    def stop(self):
        for daemon in ("ovs-vswitchd", "ovsdb-server"):
            execute(["ovs-appctl", "-t", daemon, "exit"])


def program(app, arguments, inventory, host):
    """What neutron-openvswitch-agent does when it starts (ovs_neutron_agent.py)."""
    int_bridge = br_int.OVSIntegrationBridge(BR_INT, os_ken_app=app)
    phys_bridge = br_phys.OVSPhysicalBridge(BR_PHYS, os_ken_app=app)
    int_bridge.setup_controllers(cfg.CONF)
    int_bridge.setup_default_table()
    phys_bridge.setup_controllers(cfg.CONF)
    phys_bridge.setup_default_table()
    int_bridge.drop_port(in_port=host["patch"])
    phys_bridge.drop_port(in_port=3)
    for network in host["networks"].values():
        phys_bridge.provision_local_vlan(port=3, lvid=network["vlan"],
                                         segmentation_id=network["segment"], distributed=False)
        int_bridge.provision_local_vlan(port=host["patch"], lvid=network["vlan"],
                                        segmentation_id=network["segment"])
    agent = securitygroups_rpc.SecurityGroupAgentRpc(
        None, Server(inventory), integration_bridge=int_bridge)
    plugged = [port for port in inventory["ports"] if port["name"] in host["ofports"]]
    agent.prepare_devices_filter([port["id"] for port in plugged])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("inventory", type=pathlib.Path)
    parser.add_argument("host", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--explicitly-egress-direct", action="store_true")
    arguments = parser.parse_args()
    inventory = json.loads(arguments.inventory.read_text())
    host = json.loads(arguments.host.read_text())

    with tempfile.TemporaryDirectory() as directory:
        switch = Switch(directory)
        try:
            switch.plug(inventory, host)
            ovs_lib.utils.execute = execute
            # The kernel tracks no connection of the userspace datapath.
            ip_conntrack.IpConntrackManager._delete_conntrack_state = lambda *_, **__: None
            ovs_conf.register_ovs_opts(cfg.CONF)
            cfg.CONF(args=[], project="neutron", default_config_files=[])
            cfg.CONF.set_override("ovsdb_connection", switch.database, "OVS")
            cfg.CONF.set_override("bridge_mappings",
                                  [f"{host['physical_network']}:{BR_PHYS}"], "OVS")
            cfg.CONF.set_override("firewall_driver", "openvswitch", "SECURITYGROUP")
            cfg.CONF.set_override("explicitly_egress_direct",
                                  arguments.explicitly_egress_direct, "AGENT")
            native.init_config()
            run(functools.partial(program, arguments=arguments, inventory=inventory, host=host))
            for bridge in (BR_INT, BR_PHYS):
                (arguments.output / f"{bridge}.flows").write_text(switch.flows(bridge))
        finally:
            switch.stop()
    # os-ken's threads do not end by themselves.
    sys.stdout.flush()
    os._exit(0)


def run(what):
    """Runs `what` beside an os-ken application that the switch connects to."""
    manager = app_manager.AppManager.get_instance()
    manager.load_apps(["os_ken.controller.ofp_handler", "os_ken.app.ofctl.service",
                       base_oskenapp.__name__])
    manager.instantiate_apps(**manager.create_contexts())
    failures = []

    def guarded():
        try:
            what(manager.applications["BaseNeutronAgentOSKenApp"])
        except BaseException as failure:  # noqa: B902
            failures.append(failure)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


if __name__ == "__main__":
    main()
