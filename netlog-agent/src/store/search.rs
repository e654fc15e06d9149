//! Lists of log objects, filtered, ordered and paged by SQLite.
//!
//! A page must not cost more the more log objects there are. So each field that a list can be
//! narrowed or ordered by has an index, and another that begins with the project, since most callers
//! see one project only. Each index ends in the id (the table has no other key), which is what
//! Neutron orders equal log objects by. A search is a walk over one of them:
//!
//! - over the index of a filter, or of the project and a filter, that alone gives the order too, or
//!   else
//! - over that of a filter that few log objects pass, which are then sorted, or else
//! - over that of the order, passing over what the filters refuse: since many pass, a page is full
//!   soon.
//!
//! SQLite is told which by a plus sign before the fields that it must not search or order by.
//!
//! A page that begins after a log object is what differs from it in the last key only, then what
//! differs in the last but one, and so on: ranges that follow each other, each of which an index
//! answers.
//!
//! What no index has is an order by two fields. Then log objects that agree in the first are a
//! group: a large one is searched as if the first field were a filter, small ones are sorted, some
//! together.

use std::ops::ControlFlow;

use netlog_core::log::LogObject;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

/// How many log objects may pass a filter for them to be sorted. Tests have fewer log objects, and
/// shall go all ways.
const FEW: usize = if cfg!(test) { 4 } else { 500 };

/// A field of a log object that lists can be narrowed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The id.
    Id,
    /// The project that owns it.
    Project,
    /// The name.
    Name,
    /// The description.
    Description,
    /// The type of resource.
    ResourceType,
    /// The security group that it names.
    Resource,
    /// The port that it names.
    Target,
    /// The events that it asks for.
    Event,
    /// Whether it is in force.
    Enabled,
    /// The number of its changes.
    RevisionNumber,
}

/// Which log objects are wanted, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Fields, and the texts of which each must be one: `true` and `false` for
    /// [`Field::Enabled`].
    pub filters: Vec<(Field, Vec<String>)>,
    /// Fields, and whether each is in descending order. Null comes before all else.
    pub order: Vec<(Field, bool)>,
    /// The order turned round.
    pub reverse: bool,
    /// Only log objects that come after this one.
    pub after: Option<LogObject>,
}

impl Field {
    /// The field that the API calls so.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "project_id" | "tenant_id" => Self::Project,
            "name" => Self::Name,
            "description" => Self::Description,
            "resource_type" => Self::ResourceType,
            "resource_id" => Self::Resource,
            "target_id" => Self::Target,
            "event" => Self::Event,
            "enabled" => Self::Enabled,
            "revision_number" => Self::RevisionNumber,
            _ => return None,
        })
    }

    /// The expression that there is an index on. An id that is null stands as an empty text,
    /// which comes first as well, and which no id is.
    const fn sql(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Project => "project_id",
            Self::Name => "name",
            Self::Description => "description",
            Self::ResourceType => "resource_type",
            Self::Resource => "ifnull(resource_id, '')",
            Self::Target => "ifnull(target_id, '')",
            Self::Event => "event",
            Self::Enabled => "enabled",
            Self::RevisionNumber => "revision_number",
        }
    }

    /// Whether an index on this field goes on with that one, before the id.
    const fn goes_on_with(self, next: Self) -> bool {
        match self {
            Self::Project => true,
            Self::Event | Self::Enabled => matches!(next, Self::Name),
            _ => false,
        }
    }

    /// What a text stands for in the table; `None` if no log object has it.
    fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::Enabled => text.parse::<bool>().ok().map(Value::from),
            Self::RevisionNumber => {
                let number = text.parse::<i64>().ok()?;
                (number.to_string() == text).then_some(number.into())
            }
            Self::Resource | Self::Target if text.is_empty() => None,
            _ => Some(text.to_owned().into()),
        }
    }

    /// What the field of a log object is in the table.
    fn of(self, log: &LogObject) -> Value {
        let optional = |id: Option<uuid::Uuid>| id.map_or_else(String::new, |id| id.to_string());
        match self {
            Self::Id => log.id.to_string().into(),
            Self::Project => log.project_id.clone().into(),
            Self::Name => log.name.clone().into(),
            Self::Description => log.description.clone().into(),
            Self::ResourceType => log.resource_type.clone().into(),
            Self::Resource => optional(log.resource_id).into(),
            Self::Target => optional(log.target_id).into(),
            Self::Event => log.event.as_str().to_owned().into(),
            Self::Enabled => log.enabled.into(),
            // SQLite's integers have a sign; the table refuses what does not fit.
            Self::RevisionNumber => i64::try_from(log.revision_number)
                .unwrap_or(i64::MAX)
                .into(),
        }
    }
}

/// Fields, and whether each is in descending order.
type Order = [(Field, bool)];

/// A condition, and the values for its question marks.
#[derive(Clone)]
struct Condition {
    sql: String,
    values: Vec<Value>,
}

impl Condition {
    fn one_of(field: Field, values: Vec<Value>) -> Self {
        let marks = vec!["?"; values.len()].join(", ");
        let sql = match values.len() {
            1 => format!("{} = ?", field.sql()),
            _ => format!("{} IN ({marks})", field.sql()),
        };
        Self { sql, values }
    }

    fn compare(field: Field, operator: &str, value: Value) -> Self {
        Self {
            sql: format!("{} {operator} ?", field.sql()),
            values: vec![value],
        }
    }

    /// All of these.
    fn all<'a>(conditions: impl Iterator<Item = &'a Self>) -> Self {
        let (mut sql, mut values) = ("true".to_owned(), Vec::new());
        for condition in conditions {
            sql.push_str(" AND ");
            sql.push_str(&condition.sql);
            values.extend_from_slice(&condition.values);
        }
        Self { sql, values }
    }

    /// The same, not to be searched by.
    fn unsearched(self) -> Self {
        Self {
            sql: format!("+{}", self.sql),
            ..self
        }
    }
}

/// A search, as conditions: filters, the order down to the id, and where it begins.
#[derive(Clone)]
struct Part<'a> {
    filters: Vec<(Field, Condition)>,
    order: Vec<(Field, bool)>,
    after: Option<&'a LogObject>,
}

impl<'a> Part<'a> {
    fn new(search: &'a Search) -> Self {
        let filters = search.filters.iter().map(|(field, texts)| {
            let values = texts.iter().filter_map(|text| field.read(text)).collect();
            (*field, Condition::one_of(*field, values))
        });
        let filters: Vec<_> = filters.collect();
        Self {
            order: order(search, &filters),
            after: search.after.as_ref(),
            filters,
        }
    }

    /// Of these log objects those that have this value in the field that comes first in the order.
    fn with_first(&self, value: Value, after: Option<&'a LogObject>) -> Self {
        let mut part = self.clone();
        let (first, _) = part.order.remove(0);
        part.filters
            .push((first, Condition::one_of(first, vec![value])));
        Self { after, ..part }
    }

    /// The condition that the log objects are of one project, if they are, to be searched by, and
    /// the other filters, which are not.
    fn by_project(&self) -> (Vec<Condition>, Vec<Condition>) {
        let filters = self.filters.iter().cloned();
        let (project, others): (Vec<_>, Vec<_>) = filters.partition(|(field, condition)| {
            *field == Field::Project && condition.values.len() == 1
        });
        let bare = |filters: Vec<(Field, Condition)>| filters.into_iter().map(|(_, filter)| filter);
        let others = bare(others).map(Condition::unsearched).collect();
        (bare(project).collect(), others)
    }
}

/// What is given log objects, until it has enough.
type Found<'a> = &'a mut dyn FnMut(LogObject) -> ControlFlow<()>;

/// Shows the log objects of a search to `found` until that has enough.
pub(super) fn run(
    connection: &Connection,
    search: &Search,
    mut found: impl FnMut(LogObject) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    find(connection, &Part::new(search), &mut found).map(drop)
}

fn find(
    connection: &Connection,
    part: &Part<'_>,
    found: Found<'_>,
) -> rusqlite::Result<ControlFlow<()>> {
    let walk = walk(connection, &part.filters, &part.order)?;
    if part.order.len() > 2 && !walk.sorted {
        return find_in_groups(connection, part, found);
    }
    for statement in statements(part, &walk) {
        if show(connection, statement, found)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Goes through log objects in an order that no index has. Those that agree in its first field are
/// a group: a large one is a search of its own, in the order of the fields that follow; small ones
/// are sorted, as many together as are few.
fn find_in_groups(
    connection: &Connection,
    part: &Part<'_>,
    found: Found<'_>,
) -> rusqlite::Result<ControlFlow<()>> {
    let (first, down) = part.order[0];
    let (beyond, before, direction) = if down {
        ("<", ">", "DESC")
    } else {
        (">", "<", "ASC")
    };
    let (project, others) = part.by_project();
    let mut from = None;
    // How far is looked ahead: a page rarely needs many.
    let mut ahead = FEW.div_ceil(8);
    if let Some(after) = part.after {
        let group = part.with_first(first.of(after), Some(after));
        if find(connection, &group, found)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        from = Some(Condition::compare(first, beyond, first.of(after)));
    }
    loop {
        let rest = Condition::all(project.iter().chain(&from));
        let value_at = |offset: usize| {
            let sql = format!(
                "SELECT {field} FROM logs WHERE {} ORDER BY {field} {direction} LIMIT 1 OFFSET {offset}",
                rest.sql,
                field = first.sql(),
            );
            let mut select = connection.prepare_cached(&sql)?;
            let value = select.query_row(params_from_iter(&rest.values), |row| row.get(0));
            value.optional()
        };
        let Some(nearest): Option<Value> = value_at(0)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let far: Option<Value> = value_at(ahead - 1)?;
        let is_group = far.as_ref() == Some(&nearest);
        let small = ahead < FEW;
        ahead = FEW.min(4 * ahead);
        let shown = if is_group && small {
            continue;
        } else if is_group {
            from = Some(Condition::compare(first, beyond, nearest.clone()));
            find(connection, &part.with_first(nearest, None), found)?
        } else {
            let until = far
                .clone()
                .map(|far| Condition::compare(first, before, far));
            let all = Condition::all([&rest].into_iter().chain(&until).chain(&others));
            from = far.map(|far| Condition::compare(first, &format!("{beyond}="), far));
            show(connection, select(&all, &part.order, "+"), found)?
        };
        if shown.is_break() || from.is_none() {
            return Ok(shown);
        }
    }
}

/// Runs a statement.
fn show(
    connection: &Connection,
    Condition { sql, values }: Condition,
    found: Found<'_>,
) -> rusqlite::Result<ControlFlow<()>> {
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        if found(super::log(row)?).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The statements that find log objects by a walk, one after the other.
fn statements(part: &Part<'_>, walk: &Walk) -> Vec<Condition> {
    let filters = part.filters.iter().cloned().enumerate();
    let filters: Vec<Condition> = filters
        .map(|(place, (_, condition))| {
            if walk.by.contains(&place) {
                condition
            } else {
                condition.unsearched()
            }
        })
        .collect();
    let statement = |(mut range, order): (Vec<Condition>, &Order)| {
        let sign = if walk.sorted {
            range = range.into_iter().map(Condition::unsearched).collect();
            "+"
        } else {
            ""
        };
        select(&Condition::all(filters.iter().chain(&range)), order, sign)
    };
    let ranges = ranges(part.after, &part.order);
    ranges.into_iter().map(statement).collect()
}

/// The statement that selects what a condition holds for, with this sign before the fields of the
/// order.
fn select(condition: &Condition, order: &Order, sign: &str) -> Condition {
    let order_by: Vec<String> = order
        .iter()
        .map(|(field, down)| {
            let direction = if *down { "DESC" } else { "ASC" };
            format!("{sign}{} {direction}", field.sql())
        })
        .collect();
    Condition {
        sql: format!(
            "SELECT * FROM logs WHERE {} ORDER BY {}",
            condition.sql,
            order_by.join(", ")
        ),
        values: condition.values.clone(),
    }
}

/// The order down to the id, which no two log objects share. What is the same for all log objects
/// that are searched gives no order.
fn order(search: &Search, filters: &[(Field, Condition)]) -> Vec<(Field, bool)> {
    let same = |field: Field| {
        filters.iter().any(|(filter, condition)| {
            let after = search.after.as_ref();
            let same = |value: &Value| after.is_none_or(|after| field.of(after) == *value);
            *filter == field && matches!(&condition.values[..], [value] if same(value))
        })
    };
    let mut order: Vec<(Field, bool)> = Vec::new();
    for &(field, down) in search.order.iter().chain(&[(Field::Id, false)]) {
        if field == Field::Id || !same(field) && order.iter().all(|(known, _)| *known != field) {
            order.push((field, down != search.reverse));
        }
        if field == Field::Id {
            break;
        }
    }
    order
}

/// How log objects are searched.
struct Walk {
    /// The places of the filters to search by; none to go by the order.
    by: Vec<usize>,
    /// Whether those that pass them are few, and are sorted.
    sorted: bool,
}

fn walk(
    connection: &Connection,
    filters: &[(Field, Condition)],
    order: &Order,
) -> rusqlite::Result<Walk> {
    let is_one = |place: &usize| filters[*place].1.values.len() == 1;
    let (projects, others): (Vec<usize>, Vec<usize>) =
        (0..filters.len()).partition(|place| filters[*place].0 == Field::Project);
    let project = projects.iter().copied().find(is_one);
    let project = project.or_else(|| projects.first().copied());
    let others = others
        .into_iter()
        .map(|other| project.into_iter().chain([other]).collect());
    let mut walks: Vec<Vec<usize>> = others.collect();
    // All that pass a filter besides are of the project too.
    let narrowest = walks.len().max(1);
    walks.extend(project.map(|project| vec![project]));

    let gives_order = |walk: &&Vec<usize>| {
        walk.iter().all(is_one)
            && match (&walk[..], order) {
                (_, [(Field::Id, _)]) => true,
                ([place], [(next, _), ..]) => filters[*place].0.goes_on_with(*next),
                _ => false,
            }
    };
    let ordered = walks.iter().find(gives_order);
    if let Some(walk) = ordered.filter(|walk| walk.len() == filters.len()) {
        return Ok(Walk {
            by: walk.clone(),
            sorted: false,
        });
    }
    for walk in walks.iter().take(narrowest) {
        let all = Condition::all(walk.iter().map(|place| &filters[*place].1));
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM logs WHERE {} LIMIT {FEW})",
            all.sql
        );
        let passing: usize = connection
            .prepare_cached(&sql)?
            .query_row(params_from_iter(all.values), |row| row.get(0))?;
        if passing < FEW {
            return Ok(Walk {
                by: walk.clone(),
                sorted: true,
            });
        }
    }
    Ok(Walk {
        by: ordered.cloned().unwrap_or_default(),
        sorted: false,
    })
}

/// What comes after a log object, as ranges that follow each other, and how each is ordered: by
/// the fields that are not the same throughout it. Everything if there is none.
fn ranges<'a>(after: Option<&LogObject>, order: &'a Order) -> Vec<(Vec<Condition>, &'a Order)> {
    let Some(after) = after else {
        return vec![(Vec::new(), order)];
    };
    let range = |differing: usize| {
        let (same, rest) = order.split_at(differing);
        let same = same
            .iter()
            .map(|(field, _)| Condition::compare(*field, "=", field.of(after)));
        let differs = rest.first().map(|(field, down)| {
            let operator = if *down { "<" } else { ">" };
            Condition::compare(*field, operator, field.of(after))
        });
        (same.chain(differs).collect(), rest)
    };
    (0..order.len()).rev().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, lock};
    use uuid::Uuid;

    /// How SQLite finds the log objects of a search.
    fn plan(store: &Store, search: &Search) -> Vec<String> {
        let connection = lock(&store.lists);
        let mut steps = Vec::new();
        let part = Part::new(search);
        let walk = walk(&connection, &part.filters, &part.order).unwrap();
        for Condition { sql, values } in statements(&part, &walk) {
            let mut explain = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let told = explain.query_map(params_from_iter(values), |row| row.get("detail"));
            steps.extend(told.unwrap().map(Result::<String, _>::unwrap));
        }
        steps
    }

    /// Nothing is sorted and nothing passed over, so that what a page costs depends on the page.
    #[test]
    fn an_index_gives_the_pages_of_one_project_in_any_order_and_with_any_filter() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("netlog.db")).unwrap();
        let log = |n| LogObject {
            target_id: Some(Uuid::from_u128(7)),
            resource_id: Some(Uuid::from_u128(8)),
            ..LogObject::new(Uuid::from_u128(n), "a")
        };
        let logs: Vec<LogObject> = (0..4 * FEW as u128).map(log).collect();
        store.create_logs(&logs).unwrap();
        let pages = |filters: &[(Field, String)], order: &[(Field, bool)]| {
            let filters = filters.iter().cloned();
            let filters: Vec<_> = filters.map(|(field, text)| (field, vec![text])).collect();
            for reverse in [false, true] {
                for after in [None, Some(logs[FEW].clone())] {
                    let search = Search {
                        filters: filters.clone(),
                        order: order.to_vec(),
                        reverse,
                        after,
                    };
                    for step in plan(&store, &search) {
                        let found = step.starts_with("SEARCH") && step.contains("(project_id=?");
                        assert!(found, "{step}: {search:?}");
                    }
                }
            }
        };
        let project = || (Field::Project, "a".to_owned());
        for field in [
            Field::Id,
            Field::Project,
            Field::Name,
            Field::ResourceType,
            Field::Resource,
            Field::Target,
            Field::Enabled,
        ] {
            for down in [false, true] {
                pages(&[project()], &[(field, down)]);
            }
        }
        for (field, text) in [
            (Field::Name, String::new()),
            (Field::Description, String::new()),
            (Field::ResourceType, logs[0].resource_type.clone()),
            (Field::Resource, Uuid::from_u128(8).to_string()),
            (Field::Target, Uuid::from_u128(7).to_string()),
            (Field::Event, "ALL".to_owned()),
            (Field::Enabled, "true".to_owned()),
            (Field::RevisionNumber, logs[0].revision_number.to_string()),
        ] {
            pages(&[project(), (field, text)], &[]);
        }
    }

    #[test]
    fn few_log_objects_with_one_of_two_names_are_looked_at_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("netlog.db")).unwrap();
        let log = |n: usize| LogObject {
            name: n.to_string(),
            ..LogObject::new(Uuid::from_u128(n as u128), "a")
        };
        let logs: Vec<LogObject> = (0..4 * FEW).map(log).collect();
        store.create_logs(&logs).unwrap();
        for after in [None, Some(logs[FEW].clone())] {
            for order in [Field::Id, Field::Name, Field::Target] {
                let search = Search {
                    filters: vec![
                        (Field::Name, vec!["5".to_owned(), "7".to_owned()]),
                        (Field::Project, vec!["a".to_owned()]),
                    ],
                    order: vec![(order, false)],
                    reverse: false,
                    after: after.clone(),
                };
                let steps = plan(&store, &search);
                let mut searches = steps.iter().filter(|step| !step.starts_with("USE TEMP"));
                let found = |step: &String| step.ends_with("(project_id=? AND name=?)");
                assert!(searches.all(found), "{steps:?}: {search:?}");
            }
        }
    }
}
