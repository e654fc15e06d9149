use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::inventory::Inventory;
use crate::request::Caller;

const RECORDED: &str = include_str!("../../../tests/fixtures/inventory.json");
const NOW: UtcDateTime = UtcDateTime::UNIX_EPOCH;
const ADMIN: Caller<'_> = Caller {
    project_id: Some("admins"),
    any_project: true,
};

/// What a body asks of an inventory, whatever it is about.
fn asked(
    body: &[u8],
    inventory: &Inventory,
    ids: &mut impl Iterator<Item = Uuid>,
) -> Result<Vec<Edit>, EditError> {
    let ids = std::cell::RefCell::new(ids);
    let new_id = || ids.borrow_mut().next().unwrap();
    let port = inventory.written_ports().next().unwrap();
    let group = inventory.written_security_groups().next().unwrap();
    if let Ok(groups) = NewGroup::parse(body, ADMIN) {
        let groups = groups.into_vec().into_iter();
        return Ok(groups.map(|group| group.edit(NOW, new_id)).collect());
    }
    if let Ok(rules) = NewRule::parse(body, ADMIN) {
        return create_rules(rules.into_vec(), inventory, ADMIN, NOW, new_id);
    }
    if let Ok(change) = GroupChange::parse(body, ADMIN) {
        return Ok(Vec::from_iter(change.edit(group, inventory, NOW)?));
    }
    let change = PortChange::parse(body, ADMIN)?;
    Ok(Vec::from_iter(change.edit(port, inventory, ADMIN, NOW)?))
}

/// Attributes with values that they may have, and some that they may not.
fn attribute() -> impl Strategy<Value = (&'static str, Value)> {
    let inventory = Inventory::parse(RECORDED).unwrap();
    let groups = inventory.security_groups();
    let ids: Vec<String> = groups.map(|group| group.id.to_string()).collect();
    let id = prop::sample::select(ids);
    let words = |words: &[&'static str]| prop::sample::select(words.to_vec()).prop_map(Value::from);
    let one_of = |names: &[&'static str]| prop::sample::select(names.to_vec());
    let spelled = (id.clone(), any::<bool>()).prop_map(|(id, braced)| {
        let text = if braced { format!("{{{id}}}") } else { id };
        Value::from(text)
    });
    let address = words(&["10.1.0.11", "10.1.0.78", "fd01::99", "0/0", "10.1.0.0/24"]);
    let address = address.prop_map(|address| json!({"ip_address": address}));
    let list = |item: BoxedStrategy<Value>| {
        prop::collection::vec(item, 0..3)
            .prop_map(Value::from)
            .boxed()
    };
    let truth = any::<bool>().prop_map(Value::from);
    prop_oneof![
        (
            one_of(&["name", "description", "device_id"]),
            words(&["a", "b", "default"])
        ),
        (
            one_of(&["stateful", "port_security_enabled", "admin_state_up"]),
            truth
        ),
        (one_of(&["security_groups"]), list(spelled.clone().boxed())),
        (
            one_of(&["fixed_ips", "allowed_address_pairs"]),
            list(address.boxed())
        ),
        (one_of(&["mac_address"]), words(&["fa:16:3e:00:00:01", "x"])),
        (one_of(&["direction"]), words(&["ingress", "egress"])),
        (one_of(&["ethertype"]), words(&["IPv4", "ipv6"])),
        (
            one_of(&["protocol"]),
            words(&["tcp", "icmp", "ipv6-icmp", "47", "any"])
        ),
        (
            one_of(&["port_range_min", "port_range_max"]),
            (0u32..300).prop_map(Value::from)
        ),
        (
            one_of(&["remote_ip_prefix"]),
            words(&["10.0.0.1/8", "fd00::/8", "x"])
        ),
        (one_of(&["remote_group_id"]), spelled),
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let inventory = Inventory::parse(RECORDED).unwrap();
    let group = inventory.security_groups().next().unwrap().id;
    let member = prop::sample::select(vec!["security_group", "security_group_rule", "port"]);
    let set = prop::collection::vec(attribute(), 1..4);
    (member, set).prop_map(move |(member, set)| {
        // An attribute of another kind of object would have it refused.
        let known: &[&str] = match member {
            "security_group" => &["name", "description", "stateful"],
            "port" => &[
                "name",
                "admin_state_up",
                "mac_address",
                "fixed_ips",
                "security_groups",
                "port_security_enabled",
                "allowed_address_pairs",
            ],
            _ => &[
                "description",
                "direction",
                "ethertype",
                "protocol",
                "port_range_min",
                "port_range_max",
                "remote_ip_prefix",
                "remote_group_id",
            ],
        };
        let set = set.into_iter().filter(|(name, _)| known.contains(name));
        let mut set: Map<_, _> = set.map(|(name, value)| (name.to_owned(), value)).collect();
        if member == "security_group_rule" {
            set.insert("security_group_id".to_owned(), json!(group));
            set.entry("direction").or_insert(json!("egress"));
        }
        json!({member: set})
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is asked for and taken, the document stays an inventory, and what is not asked for
    /// stays as it is. Asked for again, it is refused or changes nothing, but for new groups.
    #[test]
    fn an_inventory_stays_one(bodies in prop::collection::vec(body(), 1..6)) {
        let mut ids = (1..).map(Uuid::from_u128);
        let mut text = RECORDED.to_owned();
        for body in bodies {
            let body = body.to_string().into_bytes();
            let before = Inventory::parse(&text).unwrap();
            let Ok(edits) = asked(&body, &before, &mut ids) else {
                continue;
            };
            let written = {
                let mut document = Document::parse(&text).unwrap();
                for edit in &edits {
                    document.apply(edit, NOW).unwrap();
                }
                document.to_string()
            };
            text = written;
            let after = Inventory::parse(&text);
            let shared = Inventory::parse_after(&text, &before);
            prop_assert_eq!(after.as_ref().ok(), shared.as_ref().ok());
            prop_assert!(after.is_ok(), "{:?}: {edits:?}", after);
            let after = after.unwrap();
            prop_assert_eq!(edits.is_empty(), before == after);
            let others = before.written_ports().skip(1);
            prop_assert!(others.eq(after.written_ports().skip(1)));
            let is_new = |edit: &Edit| edit.before.is_none() && edit.kind == Kind::SecurityGroup;
            if !edits.iter().any(is_new) {
                let again = asked(&body, &after, &mut ids);
                prop_assert!(again.is_err() || again == Ok(Vec::new()), "{again:?}");
            }
        }
    }
}

#[test]
fn ids_are_the_same_however_the_file_spells_them() {
    let text = r#"{"security_groups": [
        {"id": "5E000000-0000-4000-8000-0000000000A1", "project_id": "p"},
        {"id": "5e000000-0000-4000-8000-0000000000b1", "project_id": "p", "security_group_rules": [
            {"id": "4e000000-0000-4000-8000-000000000001", "direction": "ingress",
             "ethertype": "IPv4", "remote_group_id": "5e000000-0000-4000-8000-0000000000a1"}]}]}"#;
    let inventory = Inventory::parse(text).unwrap();
    let mut document = Document::parse(text).unwrap();
    let rule = json!({"security_group_rule": {
        "direction": "egress", "security_group_id": "5e000000-0000-4000-8000-0000000000a1"}});
    let rules = NewRule::parse(rule.to_string().as_bytes(), ADMIN)
        .unwrap()
        .into_vec();
    let mut apply = |edits: Vec<Edit>| {
        for edit in &edits {
            document.apply(edit, NOW).unwrap();
        }
        Inventory::parse(&document.to_string()).unwrap()
    };
    let rules = create_rules(rules, &inventory, ADMIN, NOW, || Uuid::from_u128(1)).unwrap();
    let inventory = apply(rules);
    let group = inventory.security_groups().next().unwrap();
    assert_eq!(group.security_group_rules.len(), 1);
    // The rule that allows the members of a group goes with it.
    let written = inventory.written_security_groups().next().unwrap();
    let inventory = apply(delete_group(written, &inventory, true).unwrap());
    assert_eq!(inventory.security_groups().count(), 1);
    assert_eq!(inventory.written_rules().count(), 0);
}

#[test]
fn what_nobody_edits_stays_as_it_is_written() {
    let port = |n: u8, more: &str| {
        format!(r#"{{"id": "11111111-0000-4000-8000-00000000000{n}", "project_id": "p"{more}}}"#)
    };
    let odd = r#", "n": 1.10e3,  "big": 123456789012345678901234567890, "k": {"k":1, "k":2}"#;
    let (first, second) = (port(1, odd), port(2, ""));
    let text = format!(r#"{{"z": [ 1.50 ], "ports": [{first}, {second}], "a": {{}}}}"#);
    let inventory = Inventory::parse(&text).unwrap();
    let mut document = Document::parse(&text).unwrap();
    let rename = PortChange::parse(br#"{"port": {"name": "x"}}"#, ADMIN).unwrap();
    let port = inventory.written_ports().nth(1).unwrap();
    let edit = rename.edit(port, &inventory, ADMIN, NOW).unwrap().unwrap();
    document.apply(&edit, NOW).unwrap();
    let expected = format!(
        "{{\n  \"z\": [ 1.50 ],\n  \"ports\": [\n    {first},\n    {{\n      \"id\": \
         \"11111111-0000-4000-8000-000000000002\",\n      \"project_id\": \"p\",\n      \
         \"name\": \"x\"\n    }}\n  ],\n  \"a\": {{}}\n}}\n"
    );
    assert_eq!(document.to_string(), expected);
}
