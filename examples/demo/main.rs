//! `netlog-demo`: the operator's workflow, on a real switch with real traffic.
//!
//! It starts the lab and the agent, walks through the workflow of Neutron's documentation with
//! the `netlog` command, sends traffic, and shows the records. It fails unless exactly the
//! expected records come.

use std::process::ExitCode;

use netlog_lab::{Agent, Family, Lab, LabError, Options, Record};

fn main() -> ExitCode {
    match run() {
        Ok(records) => {
            println!(
                "\nAll {records} expected records came, and no others. Nothing is left behind."
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize, LabError> {
    step(
        "Start a private Open vSwitch with Neutron's recorded pipeline, five VMs and two outside hosts",
    );
    let lab = Lab::start(&Options::default())?;
    step("Start netlog-agent beside it");
    let agent = Agent::start(&lab, "")?;
    let mut demo = Demo { agent, records: 0 };

    step("Confirm that security groups can be logged");
    demo.netlog(&["loggable", "resources", "list"])?;
    step("Log everything in project demo, whose VMs are vm1 and vm2");
    let description = "Collecting all security events in project demo";
    demo.netlog(&[
        "log",
        "create",
        "--resource-type",
        "security_group",
        "--description",
        description,
        "--enable",
        "--event",
        "ALL",
        "Log_Created",
    ])?;
    step("Show it");
    demo.netlog(&["log", "show", "Log_Created"])?;
    step("The log flows that the agent added: they report, and forward as before");
    for table in [91, 92, 93] {
        print!("{}", lab.flows(table)?);
    }

    step("North/south: a session from outside to vm1, IPv4; one ACCEPT");
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 3)?;
    demo.expect(&["ACCEPT:vm1:in"])?;
    step("North/south: the same over IPv6");
    lab.tcp_exchange("ext1", "vm1", Family::V6, 22, 3)?;
    demo.expect(&["ACCEPT:vm1:in"])?;
    step("North/south: a session from vm1 to the outside");
    lab.tcp_exchange("vm1", "ext1", Family::V4, 443, 1)?;
    demo.expect(&["ACCEPT:vm1:out"])?;
    step("East/west: a session from vm2 to vm1, IPv4; an ACCEPT from each port's perspective");
    lab.tcp_exchange("vm2", "vm1", Family::V4, 22, 1)?;
    demo.expect(&["ACCEPT:vm2:out", "ACCEPT:vm1:in"])?;
    step("East/west: a session from vm1 to vm2, IPv6, allowed by a remote group");
    lab.tcp_exchange("vm1", "vm2", Family::V6, 5432, 1)?;
    demo.expect(&["ACCEPT:vm1:out", "ACCEPT:vm2:in"])?;
    step("East/west: vm2 may send to port 80 of vm1, and vm1 does not take it; ACCEPT and DROP");
    lab.syn("vm2", "vm1", Family::V4, 80, 1)?;
    demo.expect(&["ACCEPT:vm2:out", "DROP:vm1:in"])?;
    step("North/south: no rule allows port 80, IPv4 and IPv6; every packet is a DROP");
    lab.syn("ext1", "vm1", Family::V4, 80, 2)?;
    lab.syn("ext1", "vm1", Family::V6, 80, 1)?;
    demo.expect(&["DROP:vm1:in", "DROP:vm1:in", "DROP:vm1:in"])?;

    step("Disable the log: events stop at once");
    demo.netlog(&["log", "set", "--disable", "Log_Created"])?;
    demo.netlog(&["log", "show", "Log_Created"])?;
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 3)?;
    lab.syn("ext1", "vm1", Family::V4, 80, 3)?;
    step("Enable it again: events resume, and the first record is that of a session sent now");
    demo.netlog(&["log", "set", "--enable", "Log_Created"])?;
    lab.tcp_exchange("ext1", "vm1", Family::V4, 8005, 1)?;
    demo.expect(&["ACCEPT:vm1:in"])?;

    step("What became of everything that reached a log flow");
    demo.netlog(&["status"])?;
    step("List and delete the log");
    demo.netlog(&["log", "list"])?;
    demo.netlog(&["log", "delete", "Log_Created"])?;
    demo.netlog(&["log", "list"])?;

    step("Stop the agent, take the lab down");
    let Demo { agent, records, .. } = demo;
    agent.terminate()?;
    let written = agent.records()?.len();
    drop(agent);
    lab.stop()?;
    if written == records {
        return Ok(records);
    }
    Err(unexpected(
        &format!("{records} records in all"),
        &format!("{written}"),
    ))
}

/// Says what comes next.
fn step(what: &str) {
    println!("\n# {what}");
}

struct Demo<'a> {
    agent: Agent<'a>,
    /// Records seen so far.
    records: usize,
}

impl Demo<'_> {
    /// Runs a `netlog` command and shows it as on a terminal.
    fn netlog(&self, args: &[&str]) -> Result<(), LabError> {
        let shown: Vec<String> = args
            .iter()
            .map(|arg| {
                if arg.contains(' ') {
                    format!("\"{arg}\"")
                } else {
                    (*arg).to_owned()
                }
            })
            .collect();
        println!("$ netlog {}", shown.join(" "));
        print!("{}", self.agent.netlog_ok(args)?);
        Ok(())
    }

    /// Waits for the next records, shows them, and checks that they are those expected.
    fn expect(&mut self, events: &[&str]) -> Result<(), LabError> {
        let records = self.agent.records_after(self.records, events.len())?;
        for record in &records {
            println!("{}", record.line);
        }
        self.records += records.len();
        if records
            .iter()
            .map(|record: &Record| &*record.event)
            .eq(events.iter().copied())
        {
            return Ok(());
        }
        let came: Vec<&str> = records.iter().map(|record| &*record.event).collect();
        Err(unexpected(&events.join(", "), &came.join(", ")))
    }
}

fn unexpected(expected: &str, got: &str) -> LabError {
    LabError::Unexpected {
        what: "the security event log".to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
    }
}
