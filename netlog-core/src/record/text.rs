//! The text of the reference: its documentation's layout and its driver's.

use std::io::Write;

use super::{Scope, Verdict};
use crate::rule::Direction;

/// `action=… project_id=… log_resource_ids=['…', '…'] vm_port=`
pub(super) fn head(scope: &Scope<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"action=");
    out.extend_from_slice(scope.action.as_str().as_bytes());
    out.extend_from_slice(b" project_id=");
    out.extend(
        scope
            .project_id
            .bytes()
            .map(|byte| if byte.is_ascii_graphic() { byte } else { b'?' }),
    );
    out.extend_from_slice(b" log_resource_ids=[");
    for (at, log) in scope.logs.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        append(out, format_args!("{comma}'{log}'"));
    }
    out.extend_from_slice(b"] vm_port=");
}

/// ` direction=… security_group_rule_id=…` or ` direction=… reason=…`
pub(super) fn tail(direction: Direction, verdict: &Verdict<'_>, out: &mut Vec<u8>) {
    append(out, format_args!(" direction={direction}"));
    match verdict {
        Verdict::Rules([]) => out.extend_from_slice(b" security_group_rule_id=none"),
        Verdict::Rules([rule, ..]) => append(out, format_args!(" security_group_rule_id={rule}")),
        Verdict::Reason(reason) => append(out, format_args!(" reason={reason}")),
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = out.write_fmt(text);
}
