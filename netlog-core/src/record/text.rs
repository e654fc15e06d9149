//! The text of the reference: its documentation's layout and its driver's.

use std::fmt::{self, Write};

use netlog_packet::room::Room;

use super::{Scope, Verdict};
use crate::rule::Direction;

/// `action=… project_id=… log_resource_ids=['…', '…'] vm_port=`
pub(super) fn head(scope: &Scope<'_>, out: &mut Room<'_>) {
    out.put("action=");
    out.put(scope.action.as_str());
    out.put(" project_id=");
    for byte in scope.project_id.bytes() {
        out.bytes(&[if byte.is_ascii_graphic() { byte } else { b'?' }]);
    }
    out.put(" log_resource_ids=[");
    for (at, log) in scope.logs.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        append(out, format_args!("{comma}'{log}'"));
    }
    out.put("] vm_port=");
}

/// ` direction=… security_group_rule_id=…` or ` direction=… reason=…`
pub(super) fn tail(direction: Direction, verdict: &Verdict<'_>, out: &mut Room<'_>) {
    append(out, format_args!(" direction={direction}"));
    match verdict {
        Verdict::Rules([]) => out.put(" security_group_rule_id=none"),
        Verdict::Rules([rule, ..]) => append(out, format_args!(" security_group_rule_id={rule}")),
        Verdict::Reason(reason) => append(out, format_args!(" reason={reason}")),
    }
}

fn append(out: &mut Room<'_>, text: fmt::Arguments<'_>) {
    // Writing to room cannot fail.
    let _ = out.write_fmt(text);
}
