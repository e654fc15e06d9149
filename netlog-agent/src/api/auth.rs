//! Who callers are.

use std::fmt;

use axum::http::HeaderMap;
use netlog_core::policy::{Credentials, Policy};
use netlog_core::request::Caller;
use serde::Deserialize;
use serde_json::json;

use super::peer::Origin;
use super::{Peer, TrustedPeers};

/// The project of callers who need not say who they are, as Neutron calls it.
const NOAUTH_PROJECT: &str = "fake_project_id";

/// How the API learns who a caller is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Auth {
    /// It does not: every caller may do everything, as with Neutron's `auth_strategy = noauth`.
    /// On a Unix socket the kernel says who they are, and only root and the agent's own user and
    /// (primary) group are callers.
    NoAuth,
    /// The headers `X-User-Id`, `X-Project-Id` and `X-Roles` say it; whatever stands in front of
    /// the agent (Keystone's middleware, a proxy) has checked them. They are believed on a Unix
    /// socket, which its mode guards, and from these hosts.
    TrustedHeaders(TrustedPeers),
    /// The header `X-Auth-Token` holds one of these tokens.
    StaticTokens(Vec<StaticToken>),
}

/// A token that stands for a caller.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticToken {
    /// What the caller sends.
    pub token: String,
    /// The caller's name.
    pub user_id: String,
    /// The project that the caller acts for.
    pub project_id: String,
    /// The caller's roles.
    pub roles: Vec<String>,
}

impl fmt::Debug for StaticToken {
    /// All but the token itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticToken")
            .field("user_id", &self.user_id)
            .field("project_id", &self.project_id)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The caller's id.
    pub user_id: Option<String>,
    /// The project that the caller acts for.
    pub project_id: Option<String>,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// Whether the policy takes the caller for an administrator.
    pub is_admin: bool,
    /// Whether objects of all projects exist for the caller.
    pub any_project: bool,
    /// Whether the policy is not asked.
    pub unrestricted: bool,
}

impl Context {
    /// The caller as objects see them.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            project_id: self.project_id.as_deref(),
            any_project: self.any_project,
        }
    }

    /// The caller as the policy sees them.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials {
            roles: &self.roles,
            project_id: self.project_id.as_deref(),
            user_id: self.user_id.as_deref(),
            is_admin: self.is_admin,
        }
    }

    /// A caller whose reach the policy decides: admins and services see all projects.
    fn restricted(
        user_id: String,
        project_id: Option<String>,
        roles: Vec<String>,
        policy: &Policy,
    ) -> Self {
        let mut context = Self {
            user_id: Some(user_id),
            project_id,
            roles,
            is_admin: false,
            any_project: false,
            unrestricted: false,
        };
        let allows = |context: &Self, rule| policy.allows(rule, &context.credentials(), &json!({}));
        context.is_admin = allows(&context, "context_is_admin");
        context.any_project = context.is_admin
            || allows(&context, "service_api")
            || allows(&context, "context_is_advsvc");
        context
    }
}

impl Auth {
    /// Where a request comes from: behind a proxy whose word is taken, what the proxy says.
    pub(super) fn origin(&self, headers: &HeaderMap, peer: Peer) -> Origin {
        match self {
            Self::TrustedHeaders(trusted) => trusted.origin(headers, peer),
            Self::NoAuth | Self::StaticTokens(_) => Origin::Peer(peer),
        }
    }

    /// The caller who sends these headers from there; `None` if nobody vouches for them.
    pub fn identify(&self, headers: &HeaderMap, peer: Peer, policy: &Policy) -> Option<Context> {
        let given = |name: &str| headers.get(name)?.to_str().ok();
        // An empty header names nobody and nothing.
        let header = |name: &str| given(name).filter(|value| !value.is_empty());
        match self {
            Self::NoAuth if !peer.is_ours() => None,
            // A caller who names a project must name it in the request too: nobody has checked
            // the header.
            Self::NoAuth => Some(Context {
                user_id: None,
                project_id: match header("x-project-id") {
                    Some(_) => None,
                    None => Some(NOAUTH_PROJECT.to_owned()),
                },
                roles: vec!["admin".to_owned()],
                is_admin: true,
                any_project: true,
                unrestricted: true,
            }),
            Self::TrustedHeaders(trusted) if !trusted.contain(peer) => None,
            Self::TrustedHeaders(_) => {
                let user = header("x-user-id")?.to_owned();
                // Neutron knows a project without a name, and so does who acts for it.
                let project = given("x-project-id").map(str::to_owned);
                let roles = header("x-roles").unwrap_or_default();
                let roles = roles.split(',').map(|role| role.trim().to_owned());
                Some(Context::restricted(user, project, roles.collect(), policy))
            }
            Self::StaticTokens(tokens) => {
                let given = header("x-auth-token")?;
                let known = tokens.iter().find(|known| same(&known.token, given))?;
                Some(Context::restricted(
                    known.user_id.clone(),
                    Some(known.project_id.clone()),
                    known.roles.clone(),
                    policy,
                ))
            }
        }
    }
}

/// Whether two tokens are equal, found out in a time that does not tell how much of them is.
fn same(known: &str, given: &str) -> bool {
    let differs = |(a, b): (u8, u8)| a ^ b;
    known.len() == given.len()
        && known
            .bytes()
            .zip(given.bytes())
            .map(differs)
            .fold(0, |all, one| all | one)
            == 0
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_empty_header_names_nobody_but_the_project_without_a_name() {
        let auth = Auth::TrustedHeaders(TrustedPeers::default());
        let identify = |user: &'static str, project: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-user-id", HeaderValue::from_static(user));
            headers.insert("x-project-id", HeaderValue::from_static(project));
            auth.identify(&headers, Peer::InProcess, &Policy::default())
        };
        assert_eq!(identify("", "p"), None);
        let nameless = identify("u", "").unwrap();
        assert!(nameless.caller().sees("") && !nameless.caller().sees("p"));
        assert!(identify("u", "p").unwrap().caller().sees("p"));
    }
}
