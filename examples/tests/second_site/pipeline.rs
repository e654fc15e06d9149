//! Neutron's flows as they change: what its agent does when ports come, go and move.

use std::collections::BTreeSet;

use netlog_lab::{BR_INT, Lab, Topology};

/// The flows of `br-int` that are not ours, one a line.
pub(crate) struct Pipeline(BTreeSet<String>);

impl Pipeline {
    pub(crate) fn of(topology: &Topology) -> Self {
        let lines = topology.br_int.iter().flat_map(|flows| flows.lines());
        Self(lines.map(|line| line.trim().to_owned()).collect())
    }

    /// Takes the flows away that name one of these ofports.
    pub(crate) fn without(&self, ofports: &[u16]) -> Self {
        let names_none = |flow: &&String| {
            let mut named = flow.split([',', ' ']).filter_map(ofport_in);
            !named.any(|(_, ofport, _)| ofports.contains(&ofport))
        };
        Self(self.0.iter().filter(names_none).cloned().collect())
    }

    /// The flows with other ofports: each pair is an old one and the new one.
    pub(crate) fn renumbered(&self, ofports: &[(u16, u16)]) -> Self {
        let renumber = |piece: &str| {
            let new = |(before, old, after): (&str, u16, &str)| {
                let (_, new) = ofports.iter().find(|(from, _)| *from == old)?;
                Some(format!("{before}{new}{after}"))
            };
            ofport_in(piece)
                .and_then(new)
                .unwrap_or_else(|| piece.to_owned())
        };
        let flow = |flow: &String| {
            let pieces = flow.split_inclusive([',', ' ']).map(|piece| {
                let bare = piece.trim_end_matches([',', ' ']);
                renumber(bare) + &piece[bare.len()..]
            });
            pieces.collect::<String>()
        };
        Self(self.0.iter().map(flow).collect())
    }

    /// Adds a flow.
    pub(crate) fn with(&self, flow: &str) -> Self {
        let mut flows = self.0.clone();
        flows.insert(flow.to_owned());
        Self(flows)
    }

    /// Makes another address a member of all the remote groups that this one is a member of.
    pub(crate) fn with_remote(&self, member: &str, other: &str) -> Self {
        let (member, other) = (format!("nw_src={member} "), format!("nw_src={other} "));
        let copies = self.0.iter().filter(|flow| flow.contains(&member));
        let copies = copies.map(|flow| flow.replace(&member, &other));
        Self(self.0.iter().cloned().chain(copies).collect())
    }

    /// Takes an address out of all remote groups.
    pub(crate) fn without_remote(&self, member: &str) -> Self {
        let member = format!("nw_src={member} ");
        Self(
            self.0
                .iter()
                .filter(|flow| !flow.contains(&member))
                .cloned()
                .collect(),
        )
    }

    /// Makes the switch's flows these, and leaves alone what is not of the pipeline.
    pub(crate) fn replace(&mut self, lab: &Lab, new: Self) {
        let gone = self
            .0
            .difference(&new.0)
            .map(|flow| format!("delete_strict {}", selection(flow)));
        let added = new
            .0
            .difference(&self.0)
            .map(|flow| format!("add {}", definition(flow)));
        let changes: Vec<String> = gone.chain(added).collect();
        lab.add_flows(BR_INT, &changes.join("\n")).unwrap();
        *self = new;
    }
}

/// The ofport that a piece of a flow names, with what stands before and after it.
fn ofport_in(piece: &str) -> Option<(&str, u16, &str)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let names = ["in_port=", "reg5=", "output:", "set_field:"];
    let (at, name) = names
        .iter()
        .find_map(|name| Some((piece.find(name)?, name)))?;
    let (before, value) = piece.split_at(at + name.len());
    let end = if *name == "set_field:" { "->reg5" } else { "" };
    Some((before, number(value.strip_suffix(end)?)?, end))
}

/// A flow as `ovs-ofctl` takes it.
fn definition(flow: &str) -> String {
    flow.replace("reset_counts ", "")
}

/// What tells a flow from others at its place.
fn selection(flow: &str) -> String {
    let flow = definition(flow);
    let (selection, _) = flow.split_once(" actions=").unwrap();
    let parts = selection.split([',', ' ']).filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.filter(|part| !part.starts_with("cookie=")).collect();
    parts.join(",")
}
