//! Who may do what: Neutron's policy rules (oslo.policy).
//!
//! A rule has a name (`create_log`) and an expression of checks:
//!
//! | check | holds if |
//! |---|---|
//! | `role:manager` | the caller has the role, in any case of letters |
//! | `rule:admin_only` | another rule holds |
//! | `project_id:%(project_id)s` | a field of the caller equals text made from the target |
//! | `'x':%(name)s`, `None:%(name)s` | a literal equals text made from the target |
//! | `field:logs:enabled=True` | a field of the target has a value |
//! | `field:port:device_owner=~^network:` | a field of the target begins so |
//! | `@`, empty text | always |
//! | `!` | never |
//!
//! with `and`, `or`, `not` and parentheses. A rule that does not exist is the rule `default`.
//! The older form is a list of which any has to hold, of lists of checks which all have to hold.
//!
//! What oslo.policy itself says of some four hundred rules is a fixture of the tests. A rule that
//! oslo.policy cannot read, it takes for `!`; one that it fails on, it notices when it is asked.
//! Both are errors here, when the policy is read.
//!
//! ```
//! use netlog_core::policy::{Credentials, Policy};
//! let policy = Policy::default();
//! let roles = ["manager".to_owned()];
//! let manager = Credentials { roles: &roles, project_id: Some("a"), ..Credentials::default() };
//! assert!(policy.allows("create_log", &manager, &serde_json::json!({"project_id": "a"})));
//! assert!(!policy.allows("create_log", &manager, &serde_json::json!({"project_id": "b"})));
//! ```

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec;

use serde_json::Value;

use crate::python;

/// Neutron's rules for what the agent's API offers, as of release 29.
///
/// `get_loggable_resource` says less than Neutron's, which compares the project of an object
/// that has none and so fails for a manager. `get_agent_status` is netlog's own.
const DEFAULTS: [(&str, &str); 50] = [
    ("context_is_admin", "role:admin"),
    ("context_is_advsvc", "role:advsvc"),
    ("admin_only", "rule:context_is_admin"),
    ("owner", "project_id:%(project_id)s"),
    ("admin_or_owner", "rule:context_is_admin or rule:owner"),
    ("regular_user", ""),
    ("network_owner", "project_id:%(network:project_id)s"),
    (
        "admin_or_network_owner",
        "rule:context_is_admin or rule:network_owner",
    ),
    (
        "admin_owner_or_network_owner",
        "rule:owner or rule:admin_or_network_owner",
    ),
    ("sg_owner", "project_id:%(security_group:project_id)s"),
    ("shared", "field:networks:shared=True"),
    ("external", "field:networks:router:external=True"),
    ("shared_security_group", "field:security_groups:shared=True"),
    ("shared_address_groups", "field:address_groups:shared=True"),
    ("service_api", "role:service"),
    ("network_device", "field:port:device_owner=~^network:"),
    ("compute_device", "field:port:device_owner=~^compute:"),
    ("baremetal_device", "field:port:device_owner=~^baremetal:"),
    ("manila_device", "field:port:device_owner=~^manila:"),
    ("default", "rule:admin_or_owner"),
    ("get_loggable_resource", "rule:admin_only or role:manager"),
    ("create_log", ADMIN_OR_PROJECT_MANAGER),
    ("get_log", ADMIN_OR_PROJECT_MANAGER),
    ("update_log", ADMIN_OR_PROJECT_MANAGER),
    ("delete_log", ADMIN_OR_PROJECT_MANAGER),
    (
        "get_security_group",
        "rule:admin_only or (role:reader and project_id:%(project_id)s) or \
         rule:shared_security_group",
    ),
    (
        "get_security_group_rule",
        "rule:admin_only or (role:reader and rule:sg_owner)",
    ),
    (
        "get_address_group",
        "rule:admin_only or (role:reader and project_id:%(project_id)s) or \
         rule:shared_address_groups",
    ),
    (
        "get_port",
        "rule:admin_only or rule:service_api or (role:reader and rule:network_owner) or \
         (role:reader and project_id:%(project_id)s)",
    ),
    (
        "get_network",
        "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:service_api or \
         rule:shared or rule:external or rule:context_is_advsvc",
    ),
    ("create_security_group", ADMIN_OR_PROJECT_MEMBER),
    ("update_security_group", ADMIN_OR_PROJECT_MEMBER),
    ("delete_security_group", ADMIN_OR_PROJECT_MEMBER),
    ("create_security_group_rule", ADMIN_OR_GROUP_MEMBER),
    ("delete_security_group_rule", ADMIN_OR_GROUP_MEMBER),
    ("update_port", ADMIN_SERVICE_OR_PROJECT_MEMBER),
    ("update_port:device_id", ADMIN_SERVICE_OR_PROJECT_MEMBER),
    (
        "update_port:device_owner",
        "not rule:network_device or rule:admin_only or rule:service_api or \
         (role:member and rule:network_owner)",
    ),
    (
        "update_port:mac_address",
        "rule:admin_only or rule:service_api or (role:manager and rule:network_owner)",
    ),
    ("update_port:fixed_ips", ADMIN_SERVICE_OR_NETWORK_MEMBER),
    (
        "update_port:fixed_ips:ip_address",
        ADMIN_SERVICE_OR_NETWORK_MEMBER,
    ),
    (
        "update_port:fixed_ips:subnet_id",
        "rule:admin_only or rule:service_api or (role:member and rule:network_owner) or rule:shared",
    ),
    (
        "update_port:port_security_enabled",
        ADMIN_SERVICE_OR_NETWORK_MEMBER,
    ),
    (
        "update_port:allowed_address_pairs",
        ADMIN_SERVICE_OR_NETWORK_MEMBER,
    ),
    (
        "update_port:allowed_address_pairs:mac_address",
        ADMIN_SERVICE_OR_NETWORK_MEMBER,
    ),
    (
        "update_port:allowed_address_pairs:ip_address",
        ADMIN_SERVICE_OR_NETWORK_MEMBER,
    ),
    // Whoever owns what runs on the port deletes it.
    (
        "delete_port",
        "rule:admin_only or rule:service_api or \
         ((service_roles:service or \
           (not rule:compute_device and not rule:baremetal_device and not rule:manila_device)) and \
          role:member and (rule:network_owner or project_id:%(project_id)s))",
    ),
    ("get_agent_status", "rule:admin_only"),
    ("get_agent_events", "rule:admin_only"),
    ("update_agent_limits", "rule:admin_only"),
];

const ADMIN_OR_PROJECT_MEMBER: &str =
    "rule:admin_only or (role:member and project_id:%(project_id)s)";
const ADMIN_OR_GROUP_MEMBER: &str = "rule:admin_only or (role:member and rule:sg_owner)";
const ADMIN_SERVICE_OR_PROJECT_MEMBER: &str =
    "rule:admin_only or rule:service_api or (role:member and project_id:%(project_id)s)";
const ADMIN_SERVICE_OR_NETWORK_MEMBER: &str =
    "rule:admin_only or rule:service_api or (role:member and rule:network_owner)";
const ADMIN_OR_PROJECT_MANAGER: &str =
    "(rule:admin_only) or (role:manager and project_id:%(project_id)s)";

/// Names of rules for lists that Neutron's documentation sets beside those for single objects. A
/// file that has only the one means the other too.
const PLURALS: [(&str, &str); 2] = [
    ("get_loggable_resources", "get_loggable_resource"),
    ("get_logs", "get_log"),
];

/// How deep expressions and references may nest.
const MAX_DEPTH: usize = 32;

/// Why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A rule's expression cannot be read.
    #[error("policy rule {rule}: {cause}")]
    Rule {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        cause: ExpressionError,
    },
    /// A rule refers to itself.
    #[error("policy rule {0} refers to itself, directly or by other rules")]
    Cycle(String),
}

/// Why an expression cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// Neither text nor a list of lists of text.
    #[error("must be text")]
    NotText,
    /// A word that is no check.
    #[error("{0:?} is no check: write kind:value, for example role:admin")]
    NotACheck(String),
    /// A check that asks a server, or compares by regular expression.
    #[error("{0:?} is a kind of check that netlog does not support")]
    Unsupported(String),
    /// `%` that is no field of the target.
    #[error("{0:?}: write %(name)s for a field of the target, and %% for a percent sign")]
    NotATemplate(String),
    /// A kind of check that looks like a literal and is none that netlog reads.
    #[error("{0:?} begins with no literal: write a number, 'text', True, False or None")]
    NotALiteral(String),
    /// The expression ends too early.
    #[error("the expression ends where a check is expected")]
    Unfinished,
    /// Something stands where the expression should end or go on.
    #[error("did not expect {0:?} here")]
    Unexpected(String),
    /// Too many parentheses or `not`.
    #[error("nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// Who asks, as far as rules can see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The caller's roles.
    pub roles: &'a [String],
    /// The project that the caller acts for.
    pub project_id: Option<&'a str>,
    /// The caller.
    pub user_id: Option<&'a str>,
    /// Whether the rule `context_is_admin` holds for the caller.
    pub is_admin: bool,
}

impl Credentials<'_> {
    /// Whether a field of the caller, by the names that Neutron gives them, is this text. What
    /// Neutron knows of callers and the agent does not is `None`, as there.
    fn has(&self, name: &str, text: &str) -> bool {
        let is = |value: Option<&str>| value.unwrap_or("None") == text;
        let flag = |value: bool| text == if value { "True" } else { "False" };
        match name {
            "project_id" | "tenant_id" | "tenant" => is(self.project_id),
            "user_id" | "user" => is(self.user_id),
            "roles" => self.roles.iter().any(|role| role == text),
            "is_admin" => flag(self.is_admin),
            "is_admin_project" => flag(true),
            "system_scope"
            | "domain"
            | "domain_id"
            | "user_domain"
            | "user_domain_id"
            | "user_name"
            | "project_domain"
            | "project_domain_id"
            | "project_name"
            | "tenant_name"
            | "service_user_id"
            | "service_user_domain_id"
            | "service_project_id"
            | "service_project_domain_id" => is(None),
            _ => false,
        }
    }
}

/// One expression.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Check {
    Always,
    Never,
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Rule(String),
    Role(Template),
    /// A field of the target has this value.
    Field {
        name: String,
        value: String,
    },
    /// A field of the target begins so.
    Prefix {
        name: String,
        prefix: String,
    },
    /// A field of the caller equals text made from the target.
    Credential {
        name: String,
        value: Template,
    },
    /// A literal equals text made from the target.
    Literal {
        literal: String,
        value: Template,
    },
}

/// Text with `%(name)s` in it, which stands for a field of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// A set of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: BTreeMap<String, Check>,
}

impl Default for Policy {
    fn default() -> Self {
        let rules = DEFAULTS
            .iter()
            // The defaults are read by a test; what cannot be read allows nobody.
            .map(|(name, text)| ((*name).to_owned(), parse(text).unwrap_or(Check::Never)))
            .collect();
        Self { rules }
    }
}

impl Policy {
    /// The defaults, with these rules in their place: expressions as text, or as the older lists.
    ///
    /// There may be rules that netlog does not know: those of Neutron's whole policy file can be
    /// given as they are. Only rules that matter to netlog have to be understood.
    ///
    /// # Errors
    /// When a rule that matters cannot be read, or a rule refers to itself.
    pub fn with_rules(
        rules: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Self, PolicyError> {
        let mut rules: BTreeMap<String, Value> = rules.into_iter().collect();
        for (plural, rule) in PLURALS {
            if let Some(expression) = rules.get(plural).cloned() {
                rules.entry(rule.to_owned()).or_insert(expression);
            }
        }
        let mut policy = Self::default();
        let mut unread = BTreeMap::new();
        for (rule, expression) in rules {
            let check = parse_value(&expression).unwrap_or_else(|cause| {
                unread.insert(rule.clone(), cause);
                Check::Never
            });
            policy.rules.insert(rule, check);
        }
        if let Some(rule) = policy.rules.keys().find(|&rule| policy.uses(rule, rule)) {
            return Err(PolicyError::Cycle(rule.clone()));
        }
        let matters = |rule: &str| {
            let own = DEFAULTS.iter().map(|&(own, _)| own);
            own.into_iter()
                .any(|own| own == rule || policy.uses(own, rule))
        };
        match unread.into_iter().find(|(rule, _)| matters(rule)) {
            Some((rule, cause)) => Err(PolicyError::Rule { rule, cause }),
            None => Ok(policy),
        }
    }

    /// Whether a rule lets a caller act on a target, a JSON object.
    pub fn allows(&self, rule: &str, caller: &Credentials<'_>, target: &Value) -> bool {
        self.rule(rule)
            .is_some_and(|check| self.holds(check, caller, target))
    }

    /// A rule, or `default` in its place.
    fn rule(&self, name: &str) -> Option<&Check> {
        self.rules.get(name).or_else(|| self.rules.get("default"))
    }

    /// Rules are free of cycles ([`Self::with_rules`]), so this ends.
    fn holds(&self, check: &Check, caller: &Credentials<'_>, target: &Value) -> bool {
        match check {
            Check::Always => true,
            Check::Never => false,
            Check::Not(check) => !self.holds(check, caller, target),
            Check::All(checks) => checks.iter().all(|c| self.holds(c, caller, target)),
            Check::Any(checks) => checks.iter().any(|c| self.holds(c, caller, target)),
            Check::Rule(name) => self.allows(name, caller, target),
            Check::Role(role) => role.fill(target).is_some_and(|role| {
                let role = role.to_lowercase();
                caller.roles.iter().any(|own| own.to_lowercase() == role)
            }),
            Check::Field { name, value } => target
                .get(name)
                .is_some_and(|field| !field.is_null() && python::str(field) == *value),
            Check::Prefix { name, prefix } => {
                let field = target.get(name).and_then(Value::as_str);
                field.is_some_and(|field| field.starts_with(prefix))
            }
            Check::Credential { name, value } => value
                .fill(target)
                .is_some_and(|value| caller.has(name, &value)),
            Check::Literal { literal, value } => value.fill(target).is_some_and(|v| v == *literal),
        }
    }

    /// Whether a rule refers to another, directly or by others.
    fn uses(&self, name: &str, other: &str) -> bool {
        let mut seen = Vec::new();
        let mut open: Vec<&Check> = self.rule(name).into_iter().collect();
        while let Some(check) = open.pop() {
            match check {
                Check::Not(check) => open.push(check),
                Check::All(checks) | Check::Any(checks) => open.extend(checks),
                Check::Rule(next) => {
                    // What is not there means the default rule.
                    let next = if self.rules.contains_key(next) {
                        next.as_str()
                    } else {
                        "default"
                    };
                    if next == other {
                        return true;
                    }
                    if !seen.contains(&next) {
                        seen.push(next);
                        open.extend(self.rules.get(next));
                    }
                }
                _ => {}
            }
        }
        false
    }
}

impl Template {
    /// Reads what may stand in one: Python's `%` formatting, as far as it makes sense here.
    fn parse(text: &str) -> Result<Self, ExpressionError> {
        let no_template = || ExpressionError::NotATemplate(text.to_owned());
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            pieces.push(Piece::Text(before.to_owned()));
            rest = if let Some(after) = after.strip_prefix('%') {
                pieces.push(Piece::Text("%".to_owned()));
                after
            } else {
                let field = after.strip_prefix('(').ok_or_else(no_template)?;
                let (name, after) = field.split_once(')').ok_or_else(no_template)?;
                pieces.push(Piece::Field(name.to_owned()));
                after.strip_prefix('s').ok_or_else(no_template)?
            };
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The text for a target; `None` where the target lacks a field.
    fn fill(&self, target: &Value) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Field(name) => filled.push_str(&python::str(target.get(name)?)),
            }
        }
        Some(filled)
    }
}

/// An expression as a policy file has it: text, or the older lists (any of lists of all).
fn parse_value(value: &Value) -> Result<Check, ExpressionError> {
    match value {
        Value::String(text) => parse(text),
        Value::Array(any) if any.is_empty() => Ok(Check::Always),
        // Without anything in them, lists within the list do not count.
        Value::Array(any) => any
            .iter()
            .filter(|all| !matches!(all, Value::Array(all) if all.is_empty()))
            .filter(|all| all.as_str() != Some(""))
            .map(|all| match all {
                Value::Array(all) => all.iter().map(parse_one).collect(),
                one => parse_one(one).map(|one| vec![one]),
            })
            .map(|all| all.map(Check::All))
            .collect::<Result<_, _>>()
            .map(Check::Any),
        _ => Err(ExpressionError::NotText),
    }
}

/// One check in a list, where it stands alone.
fn parse_one(value: &Value) -> Result<Check, ExpressionError> {
    leaf(value.as_str().ok_or(ExpressionError::NotText)?)
}

/// Reads an expression. `and` binds tighter than `or`, `not` tighter than both.
fn parse(text: &str) -> Result<Check, ExpressionError> {
    if text.is_empty() {
        return Ok(Check::Always);
    }
    let mut tokens = tokens(text).into_iter().peekable();
    let check = any(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(check),
        Some(token) => Err(ExpressionError::Unexpected(token)),
    }
}

type Tokens = Peekable<vec::IntoIter<String>>;

/// Words and parentheses. Parentheses inside a word, as in `%(name)s`, belong to it.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for mut word in text.split_whitespace() {
        while let Some(rest) = word.strip_prefix('(') {
            tokens.push("(".to_owned());
            word = rest;
        }
        let bare = word.trim_end_matches(')');
        if !bare.is_empty() {
            tokens.push(bare.to_owned());
        }
        tokens.extend(std::iter::repeat_n(")".to_owned(), word.len() - bare.len()));
    }
    tokens
}

/// Takes the next token if it is this word.
fn take(tokens: &mut Tokens, word: &str) -> bool {
    tokens
        .next_if(|token| token.eq_ignore_ascii_case(word))
        .is_some()
}

fn any(tokens: &mut Tokens, depth: usize) -> Result<Check, ExpressionError> {
    let mut checks = vec![all(tokens, depth)?];
    while take(tokens, "or") {
        checks.push(all(tokens, depth)?);
    }
    Ok(one_or(checks, Check::Any))
}

fn all(tokens: &mut Tokens, depth: usize) -> Result<Check, ExpressionError> {
    let mut checks = vec![unary(tokens, depth)?];
    while take(tokens, "and") {
        checks.push(unary(tokens, depth)?);
    }
    Ok(one_or(checks, Check::All))
}

/// The only check, or all of them joined.
fn one_or(mut checks: Vec<Check>, join: fn(Vec<Check>) -> Check) -> Check {
    match checks.pop() {
        Some(only) if checks.is_empty() => only,
        last => {
            checks.extend(last);
            join(checks)
        }
    }
}

fn unary(tokens: &mut Tokens, depth: usize) -> Result<Check, ExpressionError> {
    if depth > MAX_DEPTH {
        return Err(ExpressionError::TooDeep);
    }
    if take(tokens, "not") {
        return Ok(Check::Not(Box::new(unary(tokens, depth + 1)?)));
    }
    if take(tokens, "(") {
        let check = any(tokens, depth + 1)?;
        return if take(tokens, ")") {
            Ok(check)
        } else {
            Err(tokens
                .next()
                .map_or(ExpressionError::Unfinished, ExpressionError::Unexpected))
        };
    }
    leaf(&tokens.next().ok_or(ExpressionError::Unfinished)?)
}

/// Whether a regular expression stands for itself.
fn is_literal(expression: &str) -> bool {
    !expression.contains([
        '.', '^', '$', '*', '+', '?', '{', '}', '[', ']', '\\', '|', '(', ')',
    ])
}

/// Reads one check.
fn leaf(token: &str) -> Result<Check, ExpressionError> {
    let no_check = || ExpressionError::NotACheck(token.to_owned());
    match token {
        "@" => return Ok(Check::Always),
        "!" => return Ok(Check::Never),
        _ => {}
    }
    let quoted = |quote| token.len() > 1 && token.starts_with(quote) && token.ends_with(quote);
    if quoted('\'') || quoted('"') {
        return Err(no_check());
    }
    let (kind, value) = token.split_once(':').ok_or_else(no_check)?;
    match kind {
        "rule" => Ok(Check::Rule(value.to_owned())),
        "role" => Ok(Check::Role(Template::parse(value)?)),
        "field" => {
            let (_, field) = value.split_once(':').ok_or_else(no_check)?;
            let (name, value) = field.split_once('=').ok_or_else(no_check)?;
            if let Some(expression) = value.strip_prefix('~') {
                // Of regular expressions, those that say how a text begins.
                let prefix = expression
                    .strip_prefix('^')
                    .filter(|prefix| is_literal(prefix));
                let unsupported = || ExpressionError::Unsupported(token.to_owned());
                return Ok(Check::Prefix {
                    name: name.to_owned(),
                    prefix: prefix.ok_or_else(unsupported)?.to_owned(),
                });
            }
            Ok(Check::Field {
                name: name.to_owned(),
                value: value.to_owned(),
            })
        }
        "http" | "https" => Err(ExpressionError::Unsupported(token.to_owned())),
        kind if is_name(kind) => Ok(Check::Credential {
            name: kind.to_owned(),
            value: Template::parse(value)?,
        }),
        kind => Ok(Check::Literal {
            literal: literal(kind)
                .ok_or_else(|| ExpressionError::NotALiteral(token.to_owned()))?
                .to_owned(),
            value: Template::parse(value)?,
        }),
    }
}

/// Whether it can name a field of the caller, and is no literal of Python's.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && word
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !matches!(word, "True" | "False" | "None" | "and" | "or" | "not")
}

/// The text of a Python literal: quoted text, a number, `True`, `False` or `None`. Numbers have
/// to be written as Python prints them.
fn literal(word: &str) -> Option<&str> {
    if matches!(word, "True" | "False" | "None") {
        return Some(word);
    }
    for quote in ['\'', '"'] {
        let inner = word.strip_prefix(quote).and_then(|w| w.strip_suffix(quote));
        if let Some(inner) = inner {
            return (!inner.contains([quote, '\\'])).then_some(inner);
        }
    }
    let whole = word.parse().is_ok_and(|n: i64| n.to_string() == word);
    let decimal = word.parse().is_ok_and(|n: f64| format!("{n:?}") == word);
    (whole || (decimal && word.contains('.') && !word.contains('e'))).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_defaults_are_read_and_free_of_cycles() {
        for (name, text) in DEFAULTS {
            parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(
            Policy::with_rules(Vec::<(String, Value)>::new()).unwrap(),
            Policy::default()
        );
    }

    fn allows(rule: &str, roles: &str, project: &str, target: &Value) -> bool {
        let policy = Policy::with_rules([("get_log".to_owned(), json!(rule))]).unwrap();
        let roles: Vec<String> = roles.split(',').map(str::to_owned).collect();
        let caller = Credentials {
            roles: &roles,
            project_id: Some(project),
            user_id: Some("u"),
            is_admin: false,
        };
        policy.allows("get_log", &caller, target)
    }

    #[test]
    fn expressions_mean_what_oslo_policy_says() {
        let target = json!({"project_id": "a", "enabled": true, "n": 5, "gone": null});
        let table = [
            ("", true),
            ("@", true),
            ("!", false),
            ("role:Manager", true),
            ("role:member", false),
            ("not role:member", true),
            ("not not role:member", false),
            ("role:member or role:manager", true),
            ("role:manager and role:member", false),
            // `and` binds tighter than `or`.
            ("role:manager or role:member and role:member", true),
            ("(role:manager or role:member) and role:member", false),
            ("((role:manager))", true),
            ("project_id:%(project_id)s", true),
            ("tenant_id:%(project_id)s", true),
            ("project_id:b", false),
            ("project_id:%(missing)s", false),
            ("project_id:%(gone)s", false),
            ("user_id:u", true),
            ("no_such_field:u", false),
            ("'a':%(project_id)s", true),
            ("5:%(n)s", true),
            ("True:%(enabled)s", true),
            ("field:logs:enabled=True", true),
            ("field:logs:enabled=False", false),
            ("rule:admin_only", false),
            // What is not there means `default`: admin or owner.
            ("rule:no_such_rule", true),
            ("NOT role:member AND role:manager", true),
        ];
        for (rule, expected) in table {
            assert_eq!(allows(rule, "manager", "a", &target), expected, "{rule}");
        }
    }

    fn read(json: &str) -> Result<Policy, PolicyError> {
        Policy::with_rules(serde_json::from_str::<BTreeMap<_, _>>(json).unwrap())
    }

    #[test]
    fn older_lists_are_any_of_all() {
        let policy = read(r#"{"a": [["role:x", "role:y"], ["role:z"]], "b": []}"#).unwrap();
        let allows = |rule, roles: &[&str]| {
            let roles: Vec<String> = roles.iter().map(|&r| r.to_owned()).collect();
            let caller = Credentials {
                roles: &roles,
                ..Credentials::default()
            };
            policy.allows(rule, &caller, &json!({}))
        };
        assert!(allows("a", &["z"]));
        assert!(allows("a", &["x", "y"]));
        assert!(!allows("a", &["x"]));
        assert!(allows("b", &[]));
    }

    #[test]
    fn a_rule_for_a_list_stands_for_its_objects_unless_they_have_one() {
        let allows = |json: &str, rule: &str| {
            let policy = read(json).unwrap();
            policy.allows(rule, &Credentials::default(), &json!({}))
        };
        let plural = r#"{"get_loggable_resources": "rule:regular_user"}"#;
        assert!(allows(plural, "get_loggable_resource"));
        assert!(!allows(plural, "get_log"));
        let both = r#"{"get_logs": "@", "get_log": "!"}"#;
        assert!(!allows(both, "get_log"));
    }

    #[test]
    fn bad_policies_are_refused_with_the_rule_and_the_cause() {
        let cases = [
            (r#"{"get_log": 5}"#, "rule get_log: must be text"),
            (r#"{"get_log": "admin"}"#, "\"admin\" is no check"),
            (
                r#"{"get_log": "role:a and"}"#,
                "ends where a check is expected",
            ),
            (
                r#"{"get_log": "(role:a"}"#,
                "ends where a check is expected",
            ),
            (
                r#"{"get_log": "role:a role:b"}"#,
                "did not expect \"role:b\"",
            ),
            (r#"{"get_log": "role:a)"}"#, "did not expect \")\""),
            (r#"{"get_log": "http://x/"}"#, "does not support"),
            (
                r#"{"get_log": "rule:mine", "mine": "field:a:b=~x"}"#,
                "rule mine: ",
            ),
            (r#"{"r": "rule:s", "s": "not rule:r"}"#, "refers to itself"),
            (r#"{"owner": "rule:no_such_rule"}"#, "refers to itself"),
        ];
        for (json, expected) in cases {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        // A rule of Neutron's that has nothing to do with logs.
        read(r#"{"network_device": "field:port:device_owner=~^network:"}"#).unwrap();
        let deep = format!("{}role:a{}", "(".repeat(100), ")".repeat(100));
        assert_eq!(parse(&deep), Err(ExpressionError::TooDeep));
    }

    proptest! {
        #[test]
        fn reading_an_expression_never_panics(text in "[ ()@!a-c:%'=~]{0,40}|.{0,40}") {
            if let Ok(check) = parse(&text) {
                let policy = Policy::default();
                policy.holds(&check, &Credentials::default(), &json!({"a": "b"}));
            }
        }
    }
}
