//! Lists of log objects, filtered, ordered and paged by SQLite.
//!
//! A page must not cost more the more log objects there are. So each field that a list can be
//! narrowed or ordered by has an index, and each index ends in the id (the table has no other key),
//! which is what Neutron orders equal objects by. A search is a walk over one of them:
//!
//! - over the index of a filter that alone gives the order too, or else
//! - over that of a filter that few log objects pass, which are then sorted, or else
//! - over that of the order, passing over what the filters refuse: since many pass, a page is full
//!   soon.
//!
//! SQLite is told which by a plus sign before the fields that it must not search by.
//!
//! A page that begins after a log object is what differs from it in the last key only, then what
//! differs in the last but one, and so on: ranges that follow each other, each of which an index
//! answers.
//!
//! What no index has is an order by two fields in different directions, or by a second field other
//! than the name: then all log objects that agree in the first field are sorted.

use std::ops::ControlFlow;

use netlog_core::log::LogObject;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// How many log objects may pass a filter for them to be sorted.
const FEW: usize = 500;

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
        matches!(
            (self, next),
            (Self::Project | Self::Event | Self::Enabled, Self::Name)
        )
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

    fn compare(field: Field, operator: &str, log: &LogObject) -> Self {
        Self {
            sql: format!("{} {operator} ?", field.sql()),
            values: vec![field.of(log)],
        }
    }

    /// The same, not to be searched by.
    fn unsearched(self) -> Self {
        Self {
            sql: format!("+{}", self.sql),
            ..self
        }
    }
}

/// Shows the log objects of a search to `found` until that has enough.
pub(super) fn run(
    connection: &Connection,
    search: &Search,
    mut found: impl FnMut(LogObject) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let order = order(search);
    let mut filters: Vec<(Field, Condition)> = Vec::new();
    for (field, texts) in &search.filters {
        let values = texts.iter().filter_map(|text| field.read(text)).collect();
        filters.push((*field, Condition::one_of(*field, values)));
    }
    let by = searched(connection, &filters, &order)?;
    let filters = filters.into_iter().enumerate();
    let filters: Vec<Condition> = filters
        .map(|(place, (_, condition))| match by {
            Some(by) if by == place => condition,
            _ => condition.unsearched(),
        })
        .collect();
    for (range, order) in ranges(search.after.as_ref(), &order) {
        let order_by: Vec<String> = order
            .iter()
            .map(|(field, down)| format!("{} {}", field.sql(), if *down { "DESC" } else { "ASC" }))
            .collect();
        let conditions: Vec<&Condition> = filters.iter().chain(&range).collect();
        let all: Vec<&str> = conditions.iter().map(|c| c.sql.as_str()).collect();
        let all = if all.is_empty() {
            "true".to_owned()
        } else {
            all.join(" AND ")
        };
        let sql = format!(
            "SELECT * FROM logs WHERE {all} ORDER BY {}",
            order_by.join(", ")
        );
        let values = conditions.iter().flat_map(|condition| &condition.values);
        let mut select = connection.prepare_cached(&sql)?;
        let mut rows = select.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if found(super::log(row)?).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The order down to the id, which no two log objects share.
fn order(search: &Search) -> Vec<(Field, bool)> {
    let mut order: Vec<(Field, bool)> = Vec::new();
    for &(field, down) in search.order.iter().chain(&[(Field::Id, false)]) {
        if order.iter().all(|(known, _)| *known != field) {
            order.push((field, down != search.reverse));
        }
        if field == Field::Id {
            break;
        }
    }
    order
}

/// The filter to search by; `None` to go by the order.
fn searched(
    connection: &Connection,
    filters: &[(Field, Condition)],
    order: &Order,
) -> rusqlite::Result<Option<usize>> {
    let ordered = filters.iter().position(|(field, condition)| {
        condition.values.len() == 1
            && match order {
                [(Field::Id, _)] => true,
                [(next, _), ..] => field.goes_on_with(*next),
                [] => false,
            }
    });
    if let (Some(_), [_]) = (ordered, filters) {
        return Ok(ordered);
    }
    for (place, (_, condition)) in filters.iter().enumerate() {
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM logs WHERE {} LIMIT {FEW})",
            condition.sql
        );
        let passing: usize = connection
            .prepare_cached(&sql)?
            .query_row(params_from_iter(&condition.values), |row| row.get(0))?;
        if passing < FEW {
            return Ok(Some(place));
        }
    }
    Ok(ordered)
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
            .map(|(field, _)| Condition::compare(*field, "=", after));
        let differs = rest.first().map(|(field, down)| {
            let operator = if *down { "<" } else { ">" };
            Condition::compare(*field, operator, after)
        });
        (same.chain(differs).collect(), rest)
    };
    (0..order.len()).rev().map(range).collect()
}
