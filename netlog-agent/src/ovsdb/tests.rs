//! The session against the messages of a real ovsdb-server
//! (`testdata/transcript.md`), and against what other servers may send.
//!
//! The transcript's reading notes name traps. Each has a test:
//!
//! | trap | test |
//! |---|---|
//! | messages stand one behind the other, without a frame | `changes_that_arrive_together_are_told_once`, and those of `stream` |
//! | the first answer has `initial`, updates have `insert`, `modify`, `delete` | `the_first_answer_gives_every_port_of_every_bridge`, `the_whole_transcript_ends_where_it_began` |
//! | columns at their default are omitted | `omitted_columns_are_at_their_default_and_not_unknown` |
//! | an optional value is cleared by the empty set | `an_optional_value_is_cleared_by_the_empty_set` |
//! | a set changes by its symmetric difference | `differences_of_sets_lead_from_any_set_to_any` |
//! | a changed pair comes with its new value | `a_changed_iface_id_leaves_the_other_ids` |
//! | a removed pair comes with its old value | `a_pair_that_comes_with_its_own_value_goes` |
//! | a set of one is bare | `a_set_of_one_is_bare_and_any_other_is_not` |
//! | a port comes in two updates | `a_port_is_added_in_two_steps` |
//! | `ofport` -1 and an error: there is no device | `a_device_that_does_not_exist_has_an_error_and_no_number` |
//! | re-plugged in one transaction, perhaps with the same number | `a_port_is_plugged_again` |
//! | a device that vanishes keeps its number and its row | `a_device_that_vanishes_keeps_its_number` |
//! | a bridge's interfaces are known by `Bridge.ports` and `Port.interfaces` only | `an_interface_is_where_a_bridges_port_names_it` |
//! | `set-controller` cuts every connection to the bridge | `controllers_are_neither_touched_nor_looked_at` |
//! | a restart of vswitchd leaves the rows, and takes the flows | `a_restart_of_vswitchd_changes_no_port`, and `examples/tests/switch_heal.rs` |

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value::Null;
use serde_json::{Value, json};

use super::*;

const TRANSCRIPT: &str = include_str!("testdata/transcript.md");
const ZERO: Duration = Duration::ZERO;

/// The messages from the server under a heading of the transcript.
fn recorded(heading: &str) -> Vec<&'static str> {
    let (_, section) = TRANSCRIPT
        .split_once(&format!("# {heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let end = section.find("\n#").unwrap_or(section.len());
    let messages: Vec<&str> = section[..end]
        .split("`<--`")
        .skip(1)
        .map(|message| {
            let (_, json) = message.split_once("```json\n").unwrap();
            json.split_once("\n```").unwrap().0
        })
        .collect();
    assert!(!messages.is_empty(), "no messages under {heading}");
    messages
}

/// The heading that the first messages stand under.
const LIST_DBS: &str = "list_dbs / get_schema version";
const MONITOR: &str = "monitor_cond request";

fn column(kind: schema::Kind) -> Value {
    use schema::Kind;
    match kind {
        Kind::One => json!({"type": "string"}),
        Kind::Set => json!({"type": {"key": "string", "min": 0, "max": "unlimited"}}),
        Kind::Map => json!({"type": {"key": "string", "value": "string", "max": "unlimited"}}),
    }
}

/// A schema that has what we need.
fn schema() -> Value {
    let tables: serde_json::Map<String, Value> = schema::TABLES
        .iter()
        .map(|table| {
            let columns: serde_json::Map<String, Value> = table
                .columns
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), column(*kind)))
                .collect();
            (table.name.to_owned(), json!({ "columns": columns }))
        })
        .collect();
    json!({"name": "Open_vSwitch", "version": "8.3.1", "tables": tables})
}

/// A session, and the server's side of it.
struct Pair {
    session: Session,
}

impl Pair {
    fn new() -> Self {
        Self {
            session: Session::new(ZERO),
        }
    }

    /// Everything that the session wants to send.
    fn sent(&mut self) -> Vec<Value> {
        let values = serde_json::Deserializer::from_slice(self.session.output())
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap();
        let count = self.session.output().len();
        self.session.sent(count);
        values
    }

    /// The one request that the session wants to send.
    fn request(&mut self, method: &str) -> Value {
        let requests = self.sent();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0]["method"], method);
        requests[0].clone()
    }

    fn receive(&mut self, message: &Value) -> Result<(), SessionError> {
        self.session.receive(message.to_string().as_bytes(), ZERO)
    }

    /// Answers the one request.
    fn answer(&mut self, method: &str, result: &Value) -> Result<(), SessionError> {
        let id = self.request(method)["id"].clone();
        self.receive(&json!({"id": id, "result": result, "error": null}))
    }

    fn refuse(&mut self, method: &str, error: &Value) -> Result<(), SessionError> {
        let id = self.request(method)["id"].clone();
        self.receive(&json!({"id": id, "error": error}))
    }

    /// A session that waits for the answer to `monitor_cond`.
    fn checked() -> Self {
        let mut pair = Self::new();
        let answer: Value = serde_json::from_str(recorded(LIST_DBS)[0]).unwrap();
        pair.answer("list_dbs", &answer["result"]).unwrap();
        pair.answer("get_schema", &schema()).unwrap();
        pair
    }

    /// A session that monitors the rows of `initial`.
    fn monitoring(initial: &Value) -> Self {
        let mut pair = Self::checked();
        pair.answer("monitor_cond", initial).unwrap();
        pair.event();
        pair
    }

    /// A session that monitors the recorded switch.
    fn recorded() -> Self {
        let answer: Value = serde_json::from_str(recorded(MONITOR)[0]).unwrap();
        Self::monitoring(&answer["result"])
    }

    fn event(&mut self) -> SessionEvent {
        let event = self.session.event().unwrap();
        assert_eq!(self.session.event(), None);
        event
    }

    fn changed(&mut self) -> Arc<Topology> {
        match self.event() {
            SessionEvent::Changed(topology) => topology,
            other => panic!("{other:?}"),
        }
    }

    /// Plays one recorded message; the topology if it changed.
    fn play(&mut self, message: &str) -> Option<Arc<Topology>> {
        self.session.receive(message.as_bytes(), ZERO).unwrap();
        let event = self.session.event()?;
        match event {
            SessionEvent::Changed(topology) => Some(topology),
            other => panic!("{other:?}"),
        }
    }

    /// Plays what is recorded under a heading; the topology after it.
    fn play_all(&mut self, heading: &str) -> Option<Arc<Topology>> {
        let mut last = None;
        for message in recorded(heading) {
            last = self.play(message).or(last);
        }
        last
    }

    fn update2(&mut self, updates: &Value) -> Result<(), SessionError> {
        self.receive(&json!({
            "id": null, "method": "update2", "params": [["monid", "netlog"], updates],
        }))
    }
}

fn pct4(topology: &Topology) -> &Interface {
    named(topology, "pct4").unwrap()
}

fn named<'a>(topology: &'a Topology, name: &str) -> Option<&'a Interface> {
    topology.ports("br-int").find(|port| port.name == name)
}

const ADD: &str = "add port (nova/os-vif style, one transaction)";
const REPLUG: &str = "delete + re-add in ONE transaction (re-plug)";

// ---- the recorded session ----

#[test]
fn the_first_answer_gives_every_port_of_every_bridge() {
    let answer: Value = serde_json::from_str(recorded(MONITOR)[0]).unwrap();
    let mut pair = Pair::checked();
    pair.answer("monitor_cond", &answer["result"]).unwrap();
    let SessionEvent::Snapshot(topology) = pair.event() else {
        panic!("not a snapshot");
    };
    let bridges: Vec<&str> = topology.bridges().collect();
    assert_eq!(bridges, ["br-int", "br-phys"]);
    let ports = |bridge| -> Vec<(&str, Option<u32>, &str)> {
        topology
            .ports(bridge)
            .map(|port| (&*port.name, port.ofport, &*port.kind))
            .collect()
    };
    assert_eq!(
        ports("br-int"),
        [
            ("br-int", Some(65534), "internal"),
            ("int-br-phys", Some(6), "patch"),
            ("pcvm1", Some(1), ""),
            ("pcvm2", Some(2), ""),
            ("pcvm3", Some(3), ""),
            ("pcvm4", Some(4), ""),
            ("pcvm5", Some(5), ""),
        ]
    );
    assert_eq!(
        ports("br-phys"),
        [
            ("br-phys", Some(65534), "internal"),
            ("pcext1", Some(1), ""),
            ("pcext2", Some(2), ""),
            ("phy-br-phys", Some(3), "patch"),
        ]
    );
    assert_eq!(ports("br-tun"), []);
    assert!(topology.has_bridge("br-phys") && !topology.has_bridge("br-tun"));
    assert_eq!(
        topology.port("br-int", "11111111-0000-4000-8000-000000000005"),
        Some(&Interface {
            uuid: "8cab7950-8c1c-4aaa-8ad2-c05056f71f54".parse().unwrap(),
            name: "pcvm5".to_owned(),
            kind: String::new(),
            iface_id: Some("11111111-0000-4000-8000-000000000005".to_owned()),
            attached_mac: Some("fa:16:3e:00:02:05".to_owned()),
            ofport: Some(5),
            admin_up: true,
            link_up: true,
            error: None,
            shadowed: false,
        })
    );
    assert!(!topology.ports("br-int").next().unwrap().admin_up);
}

// Trap: columns at their default are left out, and a port comes in two steps.
#[test]
fn a_port_is_added_in_two_steps() {
    let mut pair = Pair::recorded();
    let messages = recorded(ADD);
    let first = pair.play(messages[0]).unwrap();
    let port = pct4(&first);
    assert_eq!(
        port.iface_id.as_deref(),
        Some("44444444-0000-4000-8000-000000000004")
    );
    assert_eq!(port.attached_mac.as_deref(), Some("fa:16:3e:00:01:44"));
    assert_eq!(
        (port.ofport, port.admin_up, port.link_up),
        (None, false, false)
    );
    assert_eq!((&*port.kind, &port.error), ("", &None));
    let second = pair.play(messages[1]).unwrap();
    let port = pct4(&second);
    assert_eq!(
        (port.ofport, port.admin_up, port.link_up),
        (Some(7), true, true)
    );
}

#[test]
fn changes_that_arrive_together_are_told_once() {
    let mut pair = Pair::recorded();
    let together: String = recorded(ADD).concat();
    let topology = pair.play(&together).unwrap();
    assert_eq!(pct4(&topology).ofport, Some(7));
}

#[test]
fn what_the_agent_does_not_see_is_no_change() {
    let mut pair = Pair::recorded();
    pair.play_all(ADD);
    assert_eq!(pair.play_all("agent binds it (tag + other_config)"), None);
    assert_eq!(
        pair.play_all("rate limit set (as neutron log driver does)"),
        None
    );
}

#[test]
fn link_and_admin_state_are_followed() {
    let mut pair = Pair::recorded();
    pair.play_all(ADD);
    for (heading, admin_up, link_up) in [
        ("guest side link down => link_state", true, false),
        ("guest side link up", true, true),
        (
            "host side admin down => admin_state + link_state",
            false,
            false,
        ),
        ("host side admin up", true, true),
    ] {
        let topology = pair.play_all(heading).unwrap();
        let port = pct4(&topology);
        assert_eq!(
            (port.admin_up, port.link_up),
            (admin_up, link_up),
            "{heading}"
        );
    }
}

// Trap: a changed pair comes with its new value, and the others do not come.
#[test]
fn a_changed_iface_id_leaves_the_other_ids() {
    let mut pair = Pair::recorded();
    pair.play_all(ADD);
    let topology = pair
        .play_all("change iface-id (port re-bound to another neutron port)")
        .unwrap();
    let port = pct4(&topology);
    assert_eq!(
        port.iface_id.as_deref(),
        Some("55555555-0000-4000-8000-000000000005")
    );
    assert_eq!(port.attached_mac.as_deref(), Some("fa:16:3e:00:01:44"));
    assert_eq!(
        topology.port("br-int", "44444444-0000-4000-8000-000000000004"),
        None
    );
    // The next message removes a pair that we do not look at.
    assert_eq!(pair.play_all("remove one external_id key"), None);
}

// Trap: a removed pair comes with its old value.
#[test]
fn a_pair_that_comes_with_its_own_value_goes() {
    let mut pair = Pair::recorded();
    let row = "81497fdf-e7f7-4d39-b179-0e9e31ef9959";
    let mut modify = |value: &str| {
        let pairs = json!(["map", [["iface-id", value]]]);
        pair.update2(&json!({"Interface": {row: {"modify": {"external_ids": pairs}}}}))
            .unwrap();
        named(&pair.changed(), "pcvm2").unwrap().iface_id.clone()
    };
    let own = "11111111-0000-4000-8000-000000000002";
    assert_eq!(modify(own), None);
    assert_eq!(modify(own).as_deref(), Some(own));
    assert_eq!(modify("other").as_deref(), Some("other"));
    assert_eq!(modify("other"), None);
}

#[test]
fn an_ofport_can_change() {
    let mut pair = Pair::recorded();
    pair.play_all(ADD);
    let topology = pair.play_all("ofport change via ofport_request").unwrap();
    assert_eq!(pct4(&topology).ofport, Some(40));
}

// Trap: the set of ports has old and new in one difference; rows go and come in
// the same message, and the number may be the same again.
#[test]
fn a_port_is_plugged_again() {
    let mut pair = Pair::recorded();
    pair.play_all(ADD);
    let before = pair.play_all("ofport change via ofport_request").unwrap();
    let messages = recorded(REPLUG);
    let after = pair.play(messages[0]).unwrap();
    assert_eq!(
        after
            .ports("br-int")
            .filter(|port| port.name == "pct4")
            .count(),
        1
    );
    assert_eq!(pct4(&after).ofport, None);
    assert_ne!(pct4(&after).uuid, pct4(&before).uuid);
    let after = pair.play(messages[1]).unwrap();
    assert_eq!(pct4(&after).ofport, Some(40));
    let after = pair.play(messages[2]).unwrap();
    assert!(pct4(&after).link_up);
    assert_ne!(before, after);
}

// Trap: the number stays when the device goes; no row is deleted.
#[test]
fn a_device_that_vanishes_keeps_its_number() {
    let mut pair = Pair::recorded();
    pair.play_all(ADD);
    pair.play_all(REPLUG);
    let topology = pair
        .play_all("underlying netdev disappears (VM/tap destroyed before del-port)")
        .unwrap();
    let port = pct4(&topology);
    assert_eq!(
        (port.ofport, port.admin_up, port.link_up),
        (Some(40), false, false)
    );
    let topology = pair.play_all("del-port").unwrap();
    assert_eq!(named(&topology, "pct4"), None);
    assert_eq!(topology.ports("br-int").count(), 7);
}

// Trap: -1 is no number.
#[test]
fn a_device_that_does_not_exist_has_an_error_and_no_number() {
    let mut pair = Pair::recorded();
    let topology = pair
        .play_all("add-port for a device that does not exist (ofport -1, error)")
        .unwrap();
    let port = named(&topology, "pcnone").unwrap();
    assert_eq!(port.ofport, None);
    assert_eq!(
        port.error.as_deref(),
        Some("could not open network device pcnone (No such device)")
    );
    let topology = pair.play_all("del-port pcnone").unwrap();
    assert_eq!(named(&topology, "pcnone"), None);
}

#[test]
fn the_whole_transcript_ends_where_it_began() {
    let mut pair = Pair::checked();
    let answer: Value = serde_json::from_str(recorded(MONITOR)[0]).unwrap();
    pair.answer("monitor_cond", &answer["result"]).unwrap();
    let SessionEvent::Snapshot(first) = pair.event() else {
        panic!("not a snapshot");
    };
    let (_, rest) = TRANSCRIPT.split_once("## Port life cycle").unwrap();
    let (updates, _) = rest.split_once("## monitor_cancel").unwrap();
    let mut last = Arc::clone(&first);
    let mut count = 0;
    for message in updates.split("```json\n").skip(1) {
        let message = message.split_once("\n```").unwrap().0;
        last = pair.play(message).unwrap_or(last);
        count += 1;
    }
    assert_eq!(count, 22);
    assert_eq!(first, last);
}

#[test]
fn the_monitor_can_be_cancelled() {
    let mut pair = Pair::recorded();
    pair.session.cancel();
    let request = pair.request("monitor_cancel");
    assert_eq!(request["params"], json!([["monid", "netlog"]]));
    // What was under way is not told any more.
    pair.session
        .receive(recorded(ADD)[0].as_bytes(), ZERO)
        .unwrap();
    assert_eq!(pair.session.event(), None);
    pair.receive(&json!({"id": request["id"], "result": {}, "error": null}))
        .unwrap();
    assert_eq!(pair.event(), SessionEvent::Cancelled);
    pair.session.cancel();
    assert_eq!(pair.sent(), [Null; 0]);
}

// ---- how it begins ----

#[test]
fn only_what_is_needed_is_asked_for() {
    let mut pair = Pair::checked();
    let request = pair.request("monitor_cond");
    assert_eq!(
        request["params"],
        json!(["Open_vSwitch", ["monid", "netlog"], {
            "Bridge": [{"columns": ["name", "ports"]}],
            "Port": [{"columns": ["interfaces"]}],
            "Interface": [{"columns": [
                "name", "type", "ofport", "external_ids", "admin_state", "link_state", "error",
            ]}],
        }])
    );
}

#[test]
fn another_database_is_refused() {
    let mut pair = Pair::new();
    let error = pair
        .answer("list_dbs", &json!(["OVN_Northbound", "_Server"]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server has no database Open_vSwitch, only [\"OVN_Northbound\",\"_Server\"]"
    );
}

#[test]
fn a_schema_that_lacks_something_is_refused() {
    let mut lacking = schema();
    let tables = lacking["tables"].as_object_mut().unwrap();
    tables.remove("Port");
    tables["Interface"]["columns"]
        .as_object_mut()
        .unwrap()
        .remove("ofport");
    tables["Bridge"]["columns"]["ports"] = json!({"type": "uuid"});
    let mut pair = Pair::new();
    pair.answer("list_dbs", &json!(["Open_vSwitch"])).unwrap();
    let error = pair.answer("get_schema", &lacking).unwrap_err();
    assert_eq!(
        error.to_string(),
        "schema 8.3.1 of Open_vSwitch is not supported, it lacks: \
         column Bridge.ports of another type than \"uuid\", table Port, column Interface.ofport"
    );
}

#[test]
fn an_answer_may_leave_out_the_error() {
    let mut pair = Pair::new();
    let id = pair.request("list_dbs")["id"].clone();
    pair.receive(&json!({"id": id, "result": ["Open_vSwitch"]}))
        .unwrap();
    pair.request("get_schema");
}

#[test]
fn a_server_that_knows_no_conditions_is_asked_for_rows() {
    // As ovsdb-server says it, and as the specification has it.
    for error in [json!("unknown method"), json!({"error": "unknown method"})] {
        let mut pair = Pair::checked();
        pair.refuse("monitor_cond", &error).unwrap();
        pair.answer("monitor", &json!({})).unwrap();
        assert_eq!(
            pair.event(),
            SessionEvent::Snapshot(Arc::new(Topology::default()))
        );
    }
}

#[test]
fn other_refusals_end_the_session() {
    let mut pair = Pair::checked();
    let error = pair
        .refuse("monitor_cond", &json!({"error": "syntax error"}))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refused monitor_cond: {\"error\":\"syntax error\"}"
    );
    let mut pair = Pair::checked();
    pair.refuse("monitor_cond", &json!("unknown method"))
        .unwrap();
    assert!(matches!(
        pair.refuse("monitor", &json!("unknown method")),
        Err(SessionError::Refused {
            method: "monitor",
            ..
        })
    ));
}

// ---- bridges of our own making ----

fn uuid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// The value of a set of references.
fn references(numbers: &[u32]) -> Value {
    let members: Vec<Value> = numbers.iter().map(|n| json!(["uuid", uuid(*n)])).collect();
    match members.as_slice() {
        [one] => one.clone(),
        _ => json!(["set", members]),
    }
}

/// `initial`s of a bridge `br` (row 1) with ports (rows 100 and up) of one
/// interface each (rows 200 and up): name, iface-id, ofport.
fn bridge(ports: &[(&str, &str, i64)]) -> Value {
    let mut port_rows = json!({});
    let mut interface_rows = json!({});
    for (n, (name, iface_id, ofport)) in (0..).zip(ports) {
        port_rows[uuid(100 + n)] = json!({"initial": {"interfaces": references(&[200 + n])}});
        interface_rows[uuid(200 + n)] = json!({"initial": {
            "name": name,
            "ofport": ofport,
            "link_state": "up",
            "external_ids": ["map", [["iface-id", iface_id]]],
        }});
    }
    let rows: Vec<u32> = (0..).zip(ports).map(|(n, _)| 100 + n).collect();
    json!({
        "Bridge": {uuid(1): {"initial": {"name": "br", "ports": references(&rows)}}},
        "Port": port_rows,
        "Interface": interface_rows,
    })
}

fn ofport(topology: &Topology, iface_id: &str) -> Option<u32> {
    topology.port("br", iface_id)?.ofport
}

#[test]
fn two_ports_swap_their_numbers_in_one_update() {
    let mut pair = Pair::monitoring(&bridge(&[("tap1", "a", 1), ("tap2", "b", 2)]));
    pair.update2(&json!({"Interface": {
        uuid(200): {"modify": {"ofport": 2}},
        uuid(201): {"modify": {"ofport": 1}},
    }}))
    .unwrap();
    let topology = pair.changed();
    assert_eq!(ofport(&topology, "a"), Some(2));
    assert_eq!(ofport(&topology, "b"), Some(1));
}

#[test]
fn two_ports_swap_their_numbers_in_two_updates() {
    let mut pair = Pair::monitoring(&bridge(&[("tap1", "a", 1), ("tap2", "b", 2)]));
    pair.update2(&json!({"Interface": {uuid(200): {"modify": {"ofport": 2}}}}))
        .unwrap();
    let topology = pair.changed();
    assert_eq!(ofport(&topology, "a"), Some(2));
    assert_eq!(ofport(&topology, "b"), Some(2));
    pair.update2(&json!({"Interface": {uuid(201): {"modify": {"ofport": 1}}}}))
        .unwrap();
    assert_eq!(ofport(&pair.changed(), "b"), Some(1));
}

#[test]
fn a_port_of_two_bridges_is_on_both() {
    let mut initial = bridge(&[("tap1", "a", 1)]);
    initial["Bridge"][uuid(2)] = json!({"initial": {"name": "br2", "ports": references(&[100])}});
    let mut pair = Pair::monitoring(&initial);
    pair.update2(&json!({"Interface": {uuid(200): {"modify": {"ofport": 9}}}}))
        .unwrap();
    let topology = pair.changed();
    assert_eq!(topology.port("br", "a"), topology.port("br2", "a"));
    assert_eq!(topology.port("br2", "a").unwrap().ofport, Some(9));
    // The difference of a set takes it from one of them.
    pair.update2(&json!({"Bridge": {uuid(1): {"modify": {"ports": references(&[100])}}}}))
        .unwrap();
    let topology = pair.changed();
    assert_eq!(topology.ports("br").count(), 0);
    assert!(topology.has_bridge("br"));
    assert_eq!(topology.ports("br2").count(), 1);
}

#[test]
fn a_second_interface_of_an_iface_id_waits_until_the_first_is_gone() {
    let mut pair = Pair::monitoring(&bridge(&[("tap9", "a", 1)]));
    pair.update2(&json!({
        "Bridge": {uuid(1): {"modify": {"ports": references(&[150])}}},
        "Port": {uuid(150): {"insert": {"interfaces": references(&[250])}}},
        "Interface": {uuid(250): {"insert": {
            "name": "tap0", "ofport": 5, "link_state": "up",
            "external_ids": ["map", [["iface-id", "a"]]],
        }}},
    }))
    .unwrap();
    let both = pair.changed();
    let shadowed: Vec<(&str, bool)> = both
        .ports("br")
        .map(|port| (&*port.name, port.shadowed))
        .collect();
    assert_eq!(shadowed, [("tap0", true), ("tap9", false)]);
    assert_eq!(ofport(&both, "a"), Some(1));
    // The first device loses its carrier, as when its machine has moved away.
    pair.update2(&json!({"Interface": {uuid(200): {"modify": {"link_state": "down"}}}}))
        .unwrap();
    assert_eq!(ofport(&pair.changed(), "a"), Some(5));
    pair.update2(&json!({"Interface": {uuid(200): {"modify": {"link_state": "up"}}}}))
        .unwrap();
    assert_eq!(ofport(&pair.changed(), "a"), Some(1));
    // Then it goes.
    pair.update2(&json!({
        "Bridge": {uuid(1): {"modify": {"ports": references(&[100])}}},
        "Port": {uuid(100): {"delete": null}},
        "Interface": {uuid(200): {"delete": null}},
    }))
    .unwrap();
    let one = pair.changed();
    assert_eq!(ofport(&one, "a"), Some(5));
    assert!(one.ports("br").all(|port| !port.shadowed));
}

#[test]
fn an_interface_without_a_number_never_shadows_one_that_has() {
    let mut pair = Pair::checked();
    pair.answer(
        "monitor_cond",
        &bridge(&[("tap1", "a", -1), ("tap2", "a", 2)]),
    )
    .unwrap();
    let SessionEvent::Snapshot(topology) = pair.event() else {
        panic!("not a snapshot");
    };
    assert_eq!(ofport(&topology, "a"), Some(2));
}

#[test]
fn a_bond_has_all_its_interfaces() {
    let mut pair = Pair::monitoring(&bridge(&[("eth0", "", 1)]));
    pair.update2(&json!({
        "Port": {uuid(100): {"modify": {"interfaces": references(&[260])}}},
        "Interface": {uuid(260): {"insert": {"name": "eth1", "ofport": 2}}},
    }))
    .unwrap();
    let topology = pair.changed();
    let names: Vec<&str> = topology.ports("br").map(|port| &*port.name).collect();
    assert_eq!(names, ["eth0", "eth1"]);
    // An empty iface-id is none, so that they are no duplicates.
    assert!(
        topology
            .ports("br")
            .all(|port| port.iface_id.is_none() && !port.shadowed)
    );
}

// Trap: a column of at most one is emptied by the empty set.
#[test]
fn an_optional_value_is_cleared_by_the_empty_set() {
    let mut pair = Pair::monitoring(&bridge(&[("tap1", "a", 1)]));
    pair.update2(&json!({"Interface": {uuid(200): {"modify": {
        "ofport": ["set", []], "link_state": ["set", []],
    }}}}))
    .unwrap();
    let topology = pair.changed();
    let port = topology.port("br", "a").unwrap();
    assert_eq!((port.ofport, port.link_up), (None, false));
}

#[test]
fn omitted_columns_are_at_their_default_and_not_unknown() {
    // Nothing but a name: a device without a number, down, of no special type.
    let mut pair = Pair::monitoring(&bridge(&[]));
    pair.update2(&json!({
        "Bridge": {uuid(1): {"modify": {"ports": references(&[100])}}},
        "Port": {uuid(100): {"insert": {"interfaces": references(&[200])}}},
        "Interface": {uuid(200): {"insert": {"name": "tap1"}}},
    }))
    .unwrap();
    let topology = pair.changed();
    let bare = Interface {
        uuid: uuid(200).parse().unwrap(),
        name: "tap1".to_owned(),
        kind: String::new(),
        iface_id: None,
        attached_mac: None,
        ofport: None,
        admin_up: false,
        link_up: false,
        error: None,
        shadowed: false,
    };
    assert_eq!(topology.ports("br").collect::<Vec<_>>(), [&bare]);

    // In a row that is deleted and comes again, what was before does not shine through.
    pair.update2(&json!({"Interface": {uuid(200): {"modify": {
        "ofport": 7, "link_state": "up", "type": "internal",
        "external_ids": ["map", [["iface-id", "a"]]],
    }}}}))
    .unwrap();
    assert_eq!(ofport(&pair.changed(), "a"), Some(7));
    pair.update2(&json!({"Interface": {uuid(200): {"delete": null}}}))
        .unwrap();
    pair.update2(&json!({"Interface": {uuid(200): {"insert": {"name": "tap1"}}}}))
        .unwrap();
    let mut last = None;
    while let Some(event) = pair.session.event() {
        last = Some(event);
    }
    let Some(SessionEvent::Changed(topology)) = last else {
        panic!("{last:?}");
    };
    assert_eq!(topology.ports("br").collect::<Vec<_>>(), [&bare]);
}

#[test]
fn a_set_of_one_is_bare_and_any_other_is_not() {
    let names = |topology: &Topology| -> Vec<String> {
        topology.ports("br").map(|port| port.name.clone()).collect()
    };
    let one = json!(["uuid", uuid(100)]);
    let in_a_set = json!(["set", [["uuid", uuid(100)]]]);
    let none = json!(["set", []]);
    let two = json!(["set", [["uuid", uuid(100)], ["uuid", uuid(101)]]]);
    for (initial, expected) in [
        (&none, vec![]),
        (&one, vec!["tap1"]),
        // Not as ovsdb-server writes it, but as RFC 7047 allows it.
        (&in_a_set, vec!["tap1"]),
        (&two, vec!["tap1", "tap2"]),
    ] {
        let mut rows = bridge(&[("tap1", "a", 1), ("tap2", "b", 2)]);
        rows["Bridge"][uuid(1)]["initial"]["ports"] = initial.clone();
        let mut pair = Pair::checked();
        pair.answer("monitor_cond", &rows).unwrap();
        let SessionEvent::Snapshot(topology) = pair.event() else {
            panic!("not a snapshot");
        };
        assert_eq!(names(&topology), expected, "{initial}");
    }
    // As a difference, too.
    let mut pair = Pair::monitoring(&bridge(&[("tap1", "a", 1), ("tap2", "b", 2)]));
    let mut modify = |ports: &Value| {
        pair.update2(&json!({"Bridge": {uuid(1): {"modify": {"ports": ports}}}}))
            .unwrap();
        names(&pair.changed())
    };
    assert_eq!(modify(&one), ["tap2"]);
    assert_eq!(modify(&two), ["tap1"]);
    assert_eq!(modify(&in_a_set), [""; 0]);
}

#[test]
fn an_interface_is_where_a_bridges_port_names_it() {
    let rows = json!({
        "Bridge": {uuid(1): {"initial": {"name": "br"}}, uuid(2): {"initial": {"name": "br2"}}},
        "Port": {uuid(100): {"initial": {"interfaces": references(&[200])}}},
        "Interface": {uuid(200): {"initial": {
            "name": "tap1", "ofport": 1, "external_ids": ["map", [["iface-id", "a"]]],
        }}},
    });
    let mut pair = Pair::checked();
    pair.answer("monitor_cond", &rows).unwrap();
    let SessionEvent::Snapshot(topology) = pair.event() else {
        panic!("not a snapshot");
    };
    let places =
        |topology: &Topology| ["br", "br2"].map(|bridge| topology.port(bridge, "a").is_some());
    assert_eq!(places(&topology), [false, false]);
    // The interface's own row never says a word of it.
    let mut modify = |updates: Value| {
        pair.update2(&updates).unwrap();
        places(&pair.changed())
    };
    let port = references(&[100]);
    assert_eq!(
        modify(json!({"Bridge": {uuid(1): {"modify": {"ports": port}}}})),
        [true, false]
    );
    assert_eq!(
        modify(json!({"Bridge": {
            uuid(1): {"modify": {"ports": port}}, uuid(2): {"modify": {"ports": port}},
        }})),
        [false, true]
    );
    let interface = references(&[200]);
    assert_eq!(
        modify(json!({"Port": {uuid(100): {"modify": {"interfaces": interface}}}})),
        [false, false]
    );
}

/// A client that sets a bridge's controllers replaces all of them, and every OpenFlow connection
/// ends. So the session changes nothing: it asks, and listens.
#[test]
fn controllers_are_neither_touched_nor_looked_at() {
    let mut pair = Pair::new();
    let mut asked = Vec::new();
    for answer in [
        json!(["Open_vSwitch"]),
        schema(),
        serde_json::from_str::<Value>(recorded(MONITOR)[0]).unwrap()["result"].clone(),
    ] {
        let request = pair.sent().remove(0);
        pair.receive(&json!({"id": request["id"], "result": answer, "error": null}))
            .unwrap();
        asked.push(request["method"].as_str().unwrap().to_owned());
    }
    pair.event();
    for heading in [
        "rate limit set (as neutron log driver does)",
        "a second controller (unix socket) on br-phys",
        "back",
    ] {
        assert_eq!(pair.play_all(heading), None, "{heading}");
    }
    pair.session.tick(PROBE_INTERVAL).unwrap();
    pair.session.cancel();
    let rest = pair.sent();
    asked.extend(
        rest.iter()
            .map(|request| request["method"].as_str().unwrap().to_owned()),
    );
    let only_reads = [
        "list_dbs",
        "get_schema",
        "monitor_cond",
        "echo",
        "monitor_cancel",
    ];
    assert_eq!(asked, only_reads);
}

/// What vswitchd writes when it begins is what stands there already, and its own row.
#[test]
fn a_restart_of_vswitchd_changes_no_port() {
    let mut pair = Pair::monitoring(&bridge(&[("tap1", "a", 1)]));
    pair.update2(&json!({"Open_vSwitch": {uuid(9): {"modify": {
        "cur_cfg": 8, "ovs_version": "3.1.0", "db_version": "8.3.1",
    }}}}))
    .unwrap();
    assert_eq!(pair.session.event(), None);
    // Its devices go down and come again, with the numbers that they had.
    let mut set = |state: Value| {
        pair.update2(&json!({"Interface": {uuid(200): {"modify": {"link_state": state}}}}))
            .unwrap();
        let topology = pair.changed();
        let port = topology.port("br", "a").unwrap();
        (port.ofport, port.link_up)
    };
    assert_eq!(set(json!(["set", []])), (Some(1), false));
    assert_eq!(set(json!("up")), (Some(1), true));
}

#[test]
fn a_bridge_comes_and_goes() {
    let mut pair = Pair::monitoring(&json!({}));
    pair.update2(&json!({"Bridge": {uuid(1): {"insert": {"name": "br"}}}}))
        .unwrap();
    assert!(pair.changed().has_bridge("br"));
    // Its set of ports was empty, hence left out, until now.
    pair.update2(&json!({
        "Bridge": {uuid(1): {"modify": {"ports": references(&[100])}}},
        "Port": {uuid(100): {"insert": {"interfaces": references(&[200])}}},
        "Interface": {uuid(200): {"insert": {"name": "br", "type": "internal"}}},
    }))
    .unwrap();
    assert_eq!(pair.changed().ports("br").count(), 1);
    pair.update2(&json!({
        "Bridge": {uuid(1): {"delete": null}},
        "Port": {uuid(100): {"delete": null}},
        "Interface": {uuid(200): {"delete": null}},
    }))
    .unwrap();
    assert_eq!(*pair.changed(), Topology::default());
}

#[test]
fn rows_of_the_older_dialect_give_the_same() {
    let rename = |value: Value| {
        let text = value.to_string().replace("\"initial\"", "\"new\"");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let mut pair = Pair::checked();
    pair.refuse("monitor_cond", &json!("unknown method"))
        .unwrap();
    let initial = bridge(&[("tap1", "a", 1), ("tap2", "b", 2)]);
    pair.answer("monitor", &rename(initial.clone())).unwrap();
    let SessionEvent::Snapshot(old) = pair.event() else {
        panic!("not a snapshot");
    };
    let mut other = Pair::checked();
    other.answer("monitor_cond", &initial).unwrap();
    assert_eq!(other.event(), SessionEvent::Snapshot(old));

    let mut update = |updates: Value| {
        pair.receive(
            &json!({"id": null, "method": "update", "params": [["monid", "netlog"], updates]}),
        )
        .unwrap();
        pair.changed()
    };
    // A change: old has the changed columns, new the whole row.
    let topology = update(json!({"Interface": {uuid(200): {
        "old": {"ofport": 1},
        "new": {
            "name": "tap1", "type": "", "ofport": 7, "link_state": "up", "admin_state": ["set", []],
            "external_ids": ["map", [["iface-id", "a"]]], "error": ["set", []],
        },
    }}}));
    assert_eq!(ofport(&topology, "a"), Some(7));
    let topology = update(json!({
        "Bridge": {uuid(1): {
            "old": {"ports": references(&[100, 101])},
            "new": {"name": "br", "ports": references(&[100])},
        }},
        "Port": {uuid(101): {"old": {"interfaces": references(&[201])}}},
        "Interface": {uuid(201): {"old": {"name": "tap2"}}},
    }));
    assert_eq!(topology.port("br", "b"), None);
    assert_eq!(topology.ports("br").count(), 1);
}

#[test]
fn a_row_of_the_older_dialect_keeps_its_age_when_it_changes() {
    let mut pair = Pair::checked();
    pair.refuse("monitor_cond", &json!("unknown method"))
        .unwrap();
    let tap = |name: &str, ofport| {
        let ids = json!(["map", [["iface-id", "a"]]]);
        json!({"new": {"name": name, "ofport": ofport, "external_ids": ids}})
    };
    let initial = json!({
        "Bridge": {uuid(1): {"new": {"name": "br", "ports": references(&[100])}}},
        "Port": {uuid(100): {"new": {"interfaces": references(&[200, 201])}}},
        "Interface": {uuid(200): tap("tap9", 1)},
    });
    pair.answer("monitor", &initial).unwrap();
    pair.event();
    for (row, interface) in [(201, tap("tap0", 5)), (200, tap("tap9", 2))] {
        let updates = json!({"Interface": {uuid(row): interface}});
        let params = json!([["monid", "netlog"], updates]);
        pair.receive(&json!({"id": null, "method": "update", "params": params}))
            .unwrap();
    }
    let SessionEvent::Changed(_) = pair.session.event().unwrap() else {
        panic!("no change");
    };
    assert_eq!(ofport(&pair.changed(), "a"), Some(2));
}

// ---- servers that err ----

#[test]
fn a_change_of_an_unknown_row_ends_the_session() {
    let mut pair = Pair::recorded();
    let error = pair
        .update2(&json!({"Interface": {uuid(9): {"modify": {"ofport": 1}}}}))
        .unwrap_err();
    assert!(
        matches!(
            error,
            SessionError::Replica(ReplicaError::UnknownRow {
                table: "Interface",
                ..
            })
        ),
        "{error}"
    );
}

#[test]
fn a_malformed_update_ends_the_session() {
    for updates in [
        json!([]),
        json!({"Bridge": []}),
        json!({"Bridge": {"no-uuid": {"delete": null}}}),
        json!({"Bridge": {uuid(1): null}}),
        json!({"Bridge": {uuid(1): {}}}),
        json!({"Bridge": {uuid(1): {"insert": []}}}),
        json!({"Bridge": {uuid(1): {"insert": {"name": ["set", ["a", "b"]]}}}}),
        json!({"Bridge": {uuid(1): {"insert": {"name": null}}}}),
        json!({"Bridge": {uuid(1): {"insert": {"ports": ["uuid", "x"]}}}}),
        json!({"Interface": {uuid(1): {"insert": {"external_ids": ["map", [["a"]]]}}}}),
        json!({"Interface": {uuid(1): {"insert": {"external_ids": "a"}}}}),
        json!({"Interface": {uuid(1): {"insert": {"ofport": 1.5}}}}),
    ] {
        let error = Pair::recorded().update2(&updates).unwrap_err();
        assert!(
            matches!(error, SessionError::Replica(ReplicaError::Malformed { .. })),
            "{updates}: {error}"
        );
    }
}

#[test]
fn tables_and_monitors_of_others_are_left_alone() {
    let mut pair = Pair::recorded();
    pair.update2(&json!({"Flow_Table": "whatever"})).unwrap();
    pair.receive(&json!({"id": null, "method": "update2", "params": [["monid", "x"], []]}))
        .unwrap();
    pair.receive(&json!({"id": null, "method": "stolen", "params": ["lock"]}))
        .unwrap();
    pair.receive(&json!({"id": 77, "result": "late", "error": null}))
        .unwrap();
    assert_eq!(pair.session.event(), None);
}

#[test]
fn numbers_that_no_port_has_are_none() {
    for number in [-1, 0, i64::from(u32::MAX) + 1, i64::MIN] {
        let mut pair = Pair::checked();
        pair.answer("monitor_cond", &bridge(&[("tap1", "a", number)]))
            .unwrap();
        let SessionEvent::Snapshot(topology) = pair.event() else {
            panic!("not a snapshot");
        };
        assert_eq!(ofport(&topology, "a"), None, "{number}");
    }
}

#[test]
fn a_monitor_that_the_server_cancels_ends_the_session() {
    let error = Pair::recorded()
        .receive(
            &json!({"id": null, "method": "monitor_canceled", "params": [["monid", "netlog"]]}),
        )
        .unwrap_err();
    assert_eq!(error.to_string(), "the server cancelled the monitor");
}

// ---- echo ----

#[test]
fn an_echo_is_answered_with_what_it_holds() {
    let mut pair = Pair::new();
    pair.sent();
    pair.receive(&json!({"id": "echo", "method": "echo", "params": ["x", {"y": 1}]}))
        .unwrap();
    assert_eq!(
        pair.sent(),
        [json!({"id": "echo", "result": ["x", {"y": 1}], "error": null})]
    );
}

#[test]
fn an_unknown_request_is_refused() {
    let mut pair = Pair::recorded();
    pair.receive(&json!({"id": 4, "method": "make_coffee", "params": []}))
        .unwrap();
    assert_eq!(
        pair.sent(),
        [json!({"id": 4, "result": null, "error": "unknown method"})]
    );
}

#[test]
fn a_silent_server_is_asked_and_then_left() {
    let mut pair = Pair::recorded();
    let (session, probe) = (&mut pair.session, PROBE_INTERVAL);
    assert_eq!(session.deadline(), probe);
    session.tick(Duration::from_millis(4_999)).unwrap();
    assert_eq!(session.output(), b"");
    session.tick(probe).unwrap();
    assert_eq!(session.deadline(), probe * 2);
    assert_eq!(
        pair.sent(),
        [json!({"id": "echo", "method": "echo", "params": []})]
    );
    // The answer, or any other sign of life, moves the deadline.
    pair.session
        .receive(
            b"{\"id\":\"echo\",\"result\":[],\"error\":null}",
            probe + probe / 2,
        )
        .unwrap();
    assert_eq!(pair.session.deadline(), probe * 5 / 2);
    pair.session.tick(probe * 5 / 2).unwrap();
    pair.request("echo");
    pair.session.tick(probe * 3).unwrap();
    let error = pair.session.tick(probe * 7 / 2).unwrap_err();
    assert_eq!(error.to_string(), "the server was silent for 10 s");
}

#[test]
fn a_server_gets_its_time_to_answer_even_if_we_ask_late() {
    let mut pair = Pair::recorded();
    let late = PROBE_INTERVAL * 10;
    pair.session.tick(late).unwrap();
    pair.request("echo");
    assert_eq!(pair.session.deadline(), late + PROBE_INTERVAL);
    pair.session.tick(late).unwrap();
}

#[test]
fn a_server_that_does_not_read_is_left() {
    let mut pair = Pair::recorded();
    let echo = json!({"id": 1, "method": "echo", "params": ["x".repeat(1 << 19)]});
    pair.receive(&echo).unwrap();
    assert!(matches!(pair.receive(&echo), Err(SessionError::Backlog(_))));
}

// ---- any server ----

/// Small JSON that looks a little like the protocol.
fn noise() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Null),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec![
            "set",
            "map",
            "uuid",
            "name",
            "ports",
            "monid",
            "netlog",
            "insert",
            "modify",
            "delete",
            "old",
            "new",
            "initial",
            "Bridge",
            "Interface",
            "00000000-0000-4000-8000-000000000001",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop::sample::select(vec![
            "Bridge",
            "Port",
            "Interface",
            "insert",
            "modify",
            "delete",
            "new",
            "name",
            "ports",
            "external_ids",
            "ofport",
            "00000000-0000-4000-8000-000000000001",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// What a port's columns are in the model: the set of its interfaces.
type Model = std::collections::BTreeSet<u32>;

proptest! {
    #[test]
    fn noise_is_refused_or_ignored(noise in noise(), which in 0..4) {
        let mut pair = Pair::recorded();
        let _ = match which {
            0 => pair.update2(&noise),
            1 => pair.receive(&json!({"id": null, "method": "update", "params": [["monid", "netlog"], noise]})),
            2 => pair.receive(&json!({"id": 3, "result": noise})),
            _ => Pair::checked().answer("monitor_cond", &noise),
        };
    }

    #[test]
    fn differences_of_sets_lead_from_any_set_to_any(states in prop::collection::vec(
        prop::collection::btree_set(200_u32..206, 0..6), 2..6,
    )) {
        let mut interfaces = json!({});
        for n in 200..206 {
            interfaces[uuid(n)] = json!({"initial": {"name": n.to_string()}});
        }
        let members = |set: &Model| references(&set.iter().copied().collect::<Vec<_>>());
        let initial = json!({
            "Bridge": {uuid(1): {"initial": {"name": "br", "ports": references(&[100])}}},
            "Port": {uuid(100): {"initial": {"interfaces": members(&states[0])}}},
            "Interface": interfaces,
        });
        let mut pair = Pair::monitoring(&initial);
        for pair_of_states in states.windows(2) {
            let (old, new) = (&pair_of_states[0], &pair_of_states[1]);
            let difference: Model = old ^ new;
            pair.update2(&json!({"Port": {uuid(100): {"modify": {"interfaces": members(&difference)}}}}))
                .unwrap();
            if difference.is_empty() {
                prop_assert_eq!(pair.session.event(), None);
                continue;
            }
            let topology = pair.changed();
            let names: Vec<String> = topology.ports("br").map(|port| port.name.clone()).collect();
            let expected: Vec<String> = new.iter().map(u32::to_string).collect();
            prop_assert_eq!(names, expected);
        }
    }
}
