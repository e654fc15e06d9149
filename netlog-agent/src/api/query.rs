//! The parameters of a list: filters, fields, order and pages, as Neutron understands them.

use std::cmp::Ordering;

use axum::http::StatusCode;
use netlog_core::log::integer;
use netlog_core::request::boolean;
use serde_json::{Map, Value, json};

use super::{Reply, Request};
use crate::store::{Field, Search};

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
        Ok(Self {
            collection,
            request,
            fields: fields(request),
            filters: filters(request, collection)?,
            order: order(request, collection)?,
            limit: last(request, "limit").map(limit).transpose()?.flatten(),
            marker: last(request, "marker"),
            reverse: last(request, "page_reverse")
                .is_some_and(|reverse| reverse.eq_ignore_ascii_case("true")),
        })
    }

    /// The same list with whole objects.
    pub(super) fn whole(mut self) -> Self {
        self.fields.clear();
        self
    }

    /// The object that the page comes after, if there are pages.
    pub(super) fn marker(&self) -> Option<&'a str> {
        self.marker.filter(|_| self.limit.is_some())
    }

    /// The most objects of the page.
    pub(super) const fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// What to look for in the store, but for the marker.
    pub(super) fn search(&self) -> Search {
        let field = |name: &str| Field::named(name);
        Search {
            filters: self
                .filters
                .iter()
                .filter_map(|(name, filter)| Some((field(name)?, filter.texts())))
                .collect(),
            order: self
                .order
                .iter()
                .filter_map(|(name, down)| Some((field(name)?, *down)))
                .collect(),
            reverse: self.reverse,
            after: None,
        }
    }

    /// The list that was asked for, out of all objects that the caller may see.
    pub(super) fn reply(&self, objects: Vec<Value>) -> Reply {
        let marker = self.marker().and_then(|marker| {
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
        page.truncate(self.limit.unwrap_or(usize::MAX));
        self.page(page)
    }

    /// The page of these objects, which the limit lets through, in the order of the search.
    pub(super) fn page(&self, mut page: Vec<Value>) -> Reply {
        let mut links = Vec::new();
        if let Some(limit) = self.limit {
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
    /// The values as texts.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(texts) => texts.iter().map(ToString::to_string).collect(),
            Self::Boolean(values) => values.iter().map(ToString::to_string).collect(),
        }
    }

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
    let refused = || {
        Reply::fault(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            format_args!(
                "Bad limit request: Limit must be an integer 0 or greater and not '{text}'."
            ),
        )
    };
    let limit = integer(text).filter(|&limit| limit >= 0);
    let limit = limit.ok_or_else(refused)?;
    // What is too large to count is no limit either.
    Ok(usize::try_from(limit).ok().filter(|&limit| limit > 0))
}

/// Everything that is no other parameter narrows the list. Values are read before names that are
/// not known are refused.
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
    let (known, unknown): (Vec<&str>, Vec<&str>) = names
        .into_iter()
        .partition(|name| collection.filters.contains(name));
    let filter = |name| {
        let values = all(request, name);
        let filter = if collection.booleans.contains(&name) {
            let read = |value: &str| boolean(&Value::from(value)).map_err(Reply::from);
            Filter::Boolean(values.map(read).collect::<Result<_, _>>()?)
        } else {
            Filter::Text(values.collect())
        };
        Ok((name, filter))
    };
    let filters = known
        .into_iter()
        .map(filter)
        .collect::<Result<_, Reply>>()?;
    if unknown.is_empty() {
        Ok(filters)
    } else {
        Err(invalid(&unknown, "attribute for filtering"))
    }
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

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use proptest::prelude::*;

    use super::*;

    const THINGS: Collection = Collection {
        member: "thing",
        name: "things",
        key: "id",
        filters: &["id", "name", "rank", "on", "tags"],
        booleans: &["on"],
        sort_keys: &["id", "name", "rank"],
    };

    fn request(path_and_query: &str) -> Request {
        let request = axum::http::Request::builder()
            .uri(path_and_query)
            .body(())
            .unwrap();
        Request::new(request.into_parts().0, Bytes::new())
    }

    /// The ids of a list, and where its links lead.
    fn list(path_and_query: &str, things: &[Value]) -> (Vec<i64>, Option<String>, Option<String>) {
        let request = request(path_and_query);
        let Ok(query) = Query::parse(&request, &THINGS) else {
            panic!("{path_and_query} is refused");
        };
        let body = query.reply(things.to_vec()).into_body().unwrap();
        let ids = body["things"].as_array().unwrap().iter();
        let ids = ids.map(|thing| thing["number"].as_i64().unwrap()).collect();
        let link = |rel: &str| {
            let mut links = body["things_links"].as_array()?.iter();
            let link = links.find(|link| link["rel"] == rel)?;
            Some(
                link["href"]
                    .as_str()?
                    .trim_start_matches("http://localhost")
                    .to_owned(),
            )
        };
        (ids, link("next"), link("previous"))
    }

    fn thing(number: usize, name: &str, rank: Option<u8>) -> Value {
        let id = format!("id {number:03}&=+%");
        json!({"id": id, "number": number, "name": name, "rank": rank, "tags": ["x", name],
               "on": number.is_multiple_of(2)})
    }

    #[test]
    fn filters_narrow_a_list() {
        let things = [
            thing(0, "a", Some(5)),
            thing(1, "b", None),
            thing(2, "b", Some(7)),
        ];
        for (query, expected) in [
            ("", &[0, 1, 2][..]),
            ("name=b", &[1, 2]),
            ("name=a&name=b", &[0, 1, 2]),
            ("name=b&rank=7", &[2]),
            ("rank=", &[]),
            ("rank=None", &[]),
            ("on=yes", &[0, 2]),
            ("on=yes&on=no", &[0, 1, 2]),
            ("tags=a", &[0]),
            ("tags=x&name=b", &[1, 2]),
            ("sort_key=rank&sort_dir=desc", &[2, 0, 1]),
            ("limit=99999999999999999999999&name=a", &[0]),
        ] {
            assert_eq!(
                list(&format!("/things?{query}"), &things).0,
                expected,
                "{query}"
            );
        }
    }

    proptest! {
        /// Following the links shows every object once, in order, forwards and backwards,
        /// whatever the order, the filter and the size of the pages.
        #[test]
        fn pages_lead_through_the_whole_list(
            things in prop::collection::vec(("[ab]", prop::option::of(0u8..3)), 0..20),
            limit in 1usize..7,
            order in prop::collection::vec(
                (prop::sample::select(THINGS.sort_keys), prop::bool::ANY), 0..3),
            filter in prop::sample::select(&["", "&name=a"][..]),
        ) {
            let things: Vec<Value> = things
                .iter()
                .enumerate()
                .map(|(number, (name, rank))| thing(number, name, *rank))
                .collect();
            let order = order.iter().fold(String::new(), |order, (key, down)| {
                let direction = if *down { "desc" } else { "asc" };
                order + "&sort_key=" + key + "&sort_dir=" + direction
            });
            let (whole, ..) = list(&format!("/things?{filter}{order}"), &things);

            let mut forwards = Vec::new();
            let mut next = Some(format!("/things?limit={limit}{filter}{order}"));
            while let Some(page) = next {
                let (ids, following, _) = list(&page, &things);
                prop_assert!(ids.len() <= limit);
                forwards.extend(ids);
                next = following;
            }
            prop_assert_eq!(&forwards, &whole);

            let mut backwards = Vec::new();
            let mut previous =
                Some(format!("/things?limit={limit}&page_reverse=True{filter}{order}"));
            while let Some(page) = previous {
                let (ids, _, before) = list(&page, &things);
                backwards.splice(0..0, ids);
                previous = before;
            }
            prop_assert_eq!(&backwards, &whole);
        }
    }
}
