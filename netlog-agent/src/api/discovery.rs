//! What there is to find: versions, resources, extensions.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Reply, Request};

/// An extension of Neutron's API that is served here.
struct Extension {
    alias: &'static str,
    name: &'static str,
    description: &'static str,
    updated: &'static str,
}

/// The extensions, with Neutron's texts.
const EXTENSIONS: [Extension; 9] = [
    Extension {
        alias: "logging",
        name: "Logging API Extension",
        description: "Provides a logging API for resources such as security group and firewall.",
        updated: "2017-01-01T10:00:00-00:00",
    },
    Extension {
        alias: "pagination",
        name: "Pagination support",
        description: "Extension that indicates that pagination is enabled.",
        updated: "2016-06-12T00:00:00-00:00",
    },
    Extension {
        alias: "project-id",
        name: "project_id field enabled",
        description: "Extension that indicates that project_id field is enabled.",
        updated: "2016-09-09T09:09:09-09:09",
    },
    Extension {
        alias: "revision-if-match",
        name: "If-Match constraints based on revision_number",
        description: "Extension indicating that If-Match based on revision_number is supported.",
        updated: "2016-12-11T00:00:00-00:00",
    },
    Extension {
        alias: "standard-attr-revisions",
        name: "Resource revision numbers",
        description: "This extension will display the revision number of neutron resources.",
        updated: "2016-04-11T10:00:00-00:00",
    },
    Extension {
        alias: "security-group",
        name: "security-group",
        description: "The security groups extension.",
        updated: "2012-10-05T10:00:00-00:00",
    },
    Extension {
        alias: "sorting",
        name: "Sorting support",
        description: "Extension that indicates that sorting is enabled.",
        updated: "2016-06-12T00:00:00-00:00",
    },
    Extension {
        alias: "standard-attr-description",
        name: "standard-attr-description",
        description: "Extension to add descriptions to standard attributes",
        updated: "2016-02-10T10:00:00-00:00",
    },
    Extension {
        alias: "standard-attr-timestamp",
        name: "Resource timestamps",
        description: "Adds created_at and updated_at fields to all Neutron resources that have \
                      Neutron standard attributes.",
        updated: "2016-09-12T10:00:00-00:00",
    },
];

impl Extension {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "alias": self.alias,
            "description": self.description,
            "updated": self.updated,
            "links": [],
        })
    }
}

/// The versions of the API.
pub(super) fn versions(request: &Request) -> Reply {
    let links = json!([{"rel": "self", "href": request.url("/v2.0/")}]);
    Reply::ok(json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}))
}

/// The core resources.
pub(super) fn resources(request: &Request) -> Reply {
    let resources: Vec<Value> = ["network", "subnet", "subnetpool", "port"]
        .iter()
        .map(|name| {
            let collection = format!("{name}s");
            let href = request.url(&format!("/v2.0/{collection}"));
            let links = json!([{"rel": "self", "href": href}]);
            json!({"name": name, "collection": collection, "links": links})
        })
        .collect();
    Reply::ok(json!({ "resources": resources }))
}

/// All extensions.
pub(super) fn extensions() -> Reply {
    let extensions: Vec<Value> = EXTENSIONS.iter().map(Extension::to_json).collect();
    Reply::ok(json!({ "extensions": extensions }))
}

/// One extension.
pub(super) fn extension(alias: &str) -> Reply {
    match EXTENSIONS.iter().find(|known| known.alias == alias) {
        Some(extension) => Reply::ok(json!({"extension": extension.to_json()})),
        None => Reply::web(
            StatusCode::NOT_FOUND,
            "Not Found",
            &format!(
                "The resource could not be found.<br /><br />\n\
                 Extension with alias {alias} does not exist\n\n"
            ),
        ),
    }
}
