//! The parameters of a list: filters, fields, order and pages, as Neutron understands them.

use std::cmp::Ordering;

use axum::http::StatusCode;
use netlog_core::log::boolean;
use serde_json::{Map, Value, json};

use super::{Reply, Request};

/// A kind of object that can be listed.
pub(super) struct Collection {
    /// The name of one object in a body.
    pub(super) member: &'static str,
    /// The name of many.
    pub(super) name: &'static str,
    /// The attribute that tells objects apart.
    pub(super) key: &'static str,
    /// The attributes that a list can be narrowed by.
    pub(super) filters: &'static [&'static str],
    /// Those of them that are true or false.
    pub(super) booleans: &'static [&'static str],
    /// The attributes that a list can be ordered by.
    pub(super) sort_keys: &'static [&'static str],
}

/// Parameters that are no filters.
const RESERVED: [&str; 6] = [
    "fields",
    "limit",
    "marker",
    "page_reverse",
    "sort_key",
    "sort_dir",
];

/// What is asked of a list.
pub(super) struct Query<'a> {
    collection: &'a Collection,
    request: &'a Request,
    fields: Vec<&'a str>,
    filters: Vec<(&'a str, Filter<'a>)>,
    /// Attributes, and whether each is in descending order.
    order: Vec<(&'a str, bool)>,
    limit: Option<usize>,
    marker: Option<&'a str>,
    reverse: bool,
}

/// Values of which an attribute must have one.
enum Filter<'a> {
    Text(Vec<&'a str>),
    Boolean(Vec<bool>),
}

impl<'a> Query<'a> {
    /// Reads the parameters of a request.
    pub(super) fn parse(request: &'a Request, collection: &'a Collection) -> Result<Self, Reply> {
        let limit = last(request, "limit").map(limit).transpose()?.flatten();
        Ok(Self {
            collection,
            request,
            fields: fields(request),
            filters: filters(request, collection)?,
            order: order(request, collection)?,
            limit,
            marker: last(request, "marker"),
            reverse: last(request, "page_reverse")
                .is_some_and(|reverse| reverse.eq_ignore_ascii_case("true")),
        })
    }

    /// The list that was asked for, out of all objects that the caller may see.
    pub(super) fn reply(&self, objects: Vec<Value>) -> Reply {
        let marker = self.marker.filter(|_| self.limit.is_some());
        let marker = marker.and_then(|marker| {
            let key = self.collection.key;
            objects.iter().find(|object| object[key] == marker).cloned()
        });
        let mut page: Vec<Value> = objects
            .into_iter()
            .filter(|object| self.filters.iter().all(|(name, f)| f.holds(&object[*name])))
            .filter(|object| match &marker {
                Some(marker) => self.compare(marker, object) == Ordering::Less,
                None => true,
            })
            .collect();
        page.sort_by(|a, b| self.compare(a, b));
        let mut links = Vec::new();
        if let Some(limit) = self.limit {
            page.truncate(limit);
            let full = page.len() == limit;
            if self.reverse {
                page.reverse();
            }
            if full || self.reverse {
                links.push(self.link("next", page.last()));
            }
            if full || !self.reverse {
                links.push(self.link("previous", page.first()));
            }
        }
        let name = self.collection.name;
        let shown = page.into_iter().map(|object| pick(object, &self.fields));
        let mut body = Map::new();
        body.insert(name.to_owned(), shown.collect());
        if !links.is_empty() {
            body.insert(format!("{name}_links"), Value::Array(links));
        }
        Reply::ok(Value::Object(body))
    }

    /// How two objects are ordered; equal ones by their key, so that pages have an end.
    fn compare(&self, a: &Value, b: &Value) -> Ordering {
        let key = (self.collection.key, false);
        let by_attribute = |&(name, descending): &(&str, bool)| {
            let order = compare(&a[name], &b[name]);
            if descending { order.reverse() } else { order }
        };
        let order = self
            .order
            .iter()
            .chain([&key])
            .map(by_attribute)
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal);
        if self.reverse { order.reverse() } else { order }
    }

    /// The address of the page beside this one.
    fn link(&self, rel: &str, edge: Option<&Value>) -> Value {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.request.query {
            if name != "marker" && name != "page_reverse" {
                parameters.append_pair(name, value);
            }
        }
        if let Some(marker) = edge.and_then(|edge| edge[self.collection.key].as_str()) {
            parameters.append_pair("marker", marker);
        }
        if rel == "previous" {
            parameters.append_pair("page_reverse", "True");
        }
        let path = self.request.url(&self.request.path);
        json!({"rel": rel, "href": format!("{path}?{}", parameters.finish())})
    }
}

impl Collection {
    /// One object, with the fields that were asked for.
    pub(super) fn show(&self, request: &Request, object: Value) -> Value {
        json!({self.member: pick(object, &fields(request))})
    }
}

impl Filter<'_> {
    /// Whether an attribute has one of the values. A list has it if an element has; an object if
    /// one of its members has it, written `name=value`. Null has none.
    fn holds(&self, attribute: &Value) -> bool {
        match (self, attribute) {
            (Self::Boolean(values), Value::Bool(value)) => values.contains(value),
            (Self::Boolean(_), _) | (_, Value::Null) => false,
            (Self::Text(_), Value::Array(items)) => items.iter().any(|item| self.holds(item)),
            (Self::Text(texts), Value::Object(members)) => texts.iter().any(|text| {
                text.split_once('=')
                    .is_some_and(|(name, value)| members.get(name).is_some_and(|m| m == value))
            }),
            (Self::Text(texts), Value::String(value)) => texts.contains(&value.as_str()),
            (Self::Text(texts), value) => texts.contains(&value.to_string().as_str()),
        }
    }
}

/// All values of a parameter.
fn all<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = &'a str> {
    request
        .query
        .iter()
        .filter(move |(parameter, _)| parameter == name)
        .map(|(_, value)| value.as_str())
}

/// The last value of a parameter, which is the one that counts.
fn last<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    all(request, name).last()
}

/// The fields to show; all if none is named.
fn fields(request: &Request) -> Vec<&str> {
    all(request, "fields")
        .filter(|name| !name.is_empty())
        .collect()
}

/// Only these fields of an object.
fn pick(object: Value, fields: &[&str]) -> Value {
    match object {
        Value::Object(members) if !fields.is_empty() => members
            .into_iter()
            .filter(|(name, _)| fields.contains(&name.as_str()))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

/// The most objects of a page; none for `0`.
fn limit(text: &str) -> Result<Option<usize>, Reply> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reply::fault(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            format_args!(
                "Bad limit request: Limit must be an integer 0 or greater and not '{text}'."
            ),
        ));
    }
    // A number that is too large for us is no limit either.
    Ok(text.parse().ok().filter(|&limit| limit > 0))
}

/// Everything that is no other parameter narrows the list.
fn filters<'a>(
    request: &'a Request,
    collection: &Collection,
) -> Result<Vec<(&'a str, Filter<'a>)>, Reply> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in &request.query {
        if !RESERVED.contains(&name.as_str()) && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let unknown: Vec<&str> = names
        .iter()
        .filter(|name| !collection.filters.contains(name))
        .copied()
        .collect();
    if !unknown.is_empty() {
        return Err(invalid(&unknown, "attribute for filtering"));
    }
    names
        .into_iter()
        .map(|name| {
            let values = all(request, name);
            let filter = if collection.booleans.contains(&name) {
                let read = |value: &str| boolean(&Value::from(value)).map_err(Reply::from);
                Filter::Boolean(values.map(read).collect::<Result<_, _>>()?)
            } else {
                Filter::Text(values.collect())
            };
            Ok((name, filter))
        })
        .collect()
}

/// The order: as many keys as directions, all of them known.
fn order<'a>(request: &'a Request, collection: &Collection) -> Result<Vec<(&'a str, bool)>, Reply> {
    let given = |name| {
        all(request, name)
            .filter(|value| !value.is_empty())
            .collect::<Vec<_>>()
    };
    let (keys, directions) = (given("sort_key"), given("sort_dir"));
    if keys.len() != directions.len() {
        return Err(Reply::bad_request(
            "The number of sort_keys and sort_dirs must be same",
        ));
    }
    let unknown: Vec<&str> = keys
        .iter()
        .filter(|key| !collection.sort_keys.contains(key))
        .copied()
        .collect();
    if !unknown.is_empty() {
        return Err(invalid(&unknown, "attribute for sort_keys"));
    }
    let unknown: Vec<&str> = directions
        .iter()
        .filter(|direction| !matches!(**direction, "asc" | "desc"))
        .copied()
        .collect();
    if !unknown.is_empty() {
        return Err(invalid(
            &unknown,
            "value for sort_dirs, valid value is 'asc' and 'desc'",
        ));
    }
    let descending = directions.iter().map(|direction| *direction == "desc");
    Ok(keys.into_iter().zip(descending).collect())
}

/// These words are not valid as something.
fn invalid(words: &[&str], what: &str) -> Reply {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    Reply::bad_request(format_args!("[{}] is invalid {what}", quoted.join(", ")))
}

/// Null first, then by value.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (a, b) => a.as_i64().cmp(&b.as_i64()),
    }
}
