//! From a file and the environment to a [`Config`]: every mistake is one sentence that names its place and key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, Http, Listener, OauthBearer, validate};

/// Variables that start like this may override settings: `LOCKGATE_LIMITS__CONNECTIONS` is `limits.connections`.
const ENV_PREFIX: &str = "LOCKGATE_";
/// The one section whose keys hold dots, and are not fields of a struct.
const TOPIC_DEFAULTS: &str = "topic_defaults";

/// What is wrong with the settings, one sentence each.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl From<String> for ConfigError {
    fn from(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

/// Where each setting came from, to name it in messages.
pub(super) struct Origin {
    file: Option<PathBuf>,
    /// Key to variable.
    variables: BTreeMap<String, String>,
}

impl Origin {
    /// The beginning of a sentence about a key.
    pub(super) fn of(&self, key: &str) -> String {
        let within = |set: &str| set == key || set.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        if let Some((_, variable)) = self.variables.iter().find(|(set, _)| within(set)) {
            return format!("environment variable {variable}: `{key}`");
        }
        match &self.file {
            Some(file) => format!("{}: `{key}`", file.display()),
            None => format!("settings: `{key}`"),
        }
    }
}

/// Reads the settings: the file's, then the environment's on top, then defaults for the rest.
pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Config, ConfigError> {
    let mut table = match path {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    let shape = shape();
    let mut origin = Origin { file: path.map(Path::to_owned), variables: BTreeMap::new() };
    let mut problems = Vec::new();
    unknown_keys("", &table, &shape, &origin, &mut problems);
    apply_environment(&mut table, env, &shape, &mut origin, &mut problems);
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let config = typed(table, &origin)?;
    let problems = validate::problems(&config, &origin);
    if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let message = error.message().replace('\n', ", ");
        ConfigError::from(format!("{} line {line}: is not TOML: {message}", path.display()))
    })
}

/// A table that holds every key there is, so that keys and the types of their values can be looked up.
pub(super) fn shape() -> Table {
    let file = || Some(PathBuf::from("file"));
    let listener = Listener {
        advertised: Some("host:9093".to_owned()),
        client_ca_file: file(),
        certificate_file: file(),
        key_file: file(),
        ..Listener::default()
    };
    let http = Http { token_file: file(), ..Http::default() };
    let oauthbearer = OauthBearer {
        jwks: Some("https://host/keys".to_owned()),
        ca_file: file(),
        issuer: Some("https://host".to_owned()),
        ..OauthBearer::default()
    };
    Table::try_from(Config { listeners: vec![listener], oauthbearer, http, ..Config::default() })
        .expect("settings are plain data that TOML can hold")
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn unknown_keys(prefix: &str, table: &Table, shape: &Table, origin: &Origin, problems: &mut Vec<String>) {
    for (key, value) in table {
        let full = join(prefix, key);
        match (value, shape.get(key)) {
            (_, None) => problems.push(format!("{} is not a setting{}", origin.of(&full), nearest(prefix, key, shape))),
            (Value::Table(_), Some(Value::Table(_))) if full == TOPIC_DEFAULTS => {}
            (Value::Table(inner), Some(Value::Table(known))) => unknown_keys(&full, inner, known, origin, problems),
            (Value::Array(items), Some(Value::Array(known))) => {
                let Some(known) = known.first().and_then(Value::as_table) else { continue };
                for (index, item) in items.iter().enumerate() {
                    if let Some(item) = item.as_table() {
                        unknown_keys(&join(&full, &index.to_string()), item, known, origin, problems);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The end of a sentence about an unknown key.
fn nearest(prefix: &str, key: &str, shape: &Table) -> String {
    let best = shape.keys().min_by_key(|known| strsim::osa_distance(known, key));
    best.map(|known| format!("; the nearest one is `{}`", join(prefix, known))).unwrap_or_default()
}

fn apply_environment(
    table: &mut Table,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    shape: &Table,
    origin: &mut Origin,
    problems: &mut Vec<String>,
) {
    let mut variables: Vec<_> = env
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(ENV_PREFIX))
        .collect();
    // In the order of names, so that listener 0 exists before listener 1.
    variables.sort();
    for (name, value) in variables {
        let path: Vec<String> = name[ENV_PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
        // The command line has variables of its own (LOCKGATE_CLUSTER); only those that look like settings count.
        if path.len() == 1 && !shape.contains_key(&path[0]) {
            continue;
        }
        let result = match value.into_string() {
            Ok(value) => set(table, shape, &path, &value),
            Err(_) => Err("is not UTF-8".to_owned()),
        };
        match result {
            Ok(key) => drop(origin.variables.insert(key, name)),
            Err(problem) => problems.push(format!("environment variable {name}: {problem}")),
        }
    }
}

/// Sets one value from the environment; returns the key.
fn set(table: &mut Table, shape: &Table, path: &[String], text: &str) -> Result<String, String> {
    if let [section, name] = path
        && section == TOPIC_DEFAULTS
    {
        let name = name.replace('_', ".");
        let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let section = section.as_table_mut().ok_or("`topic_defaults` is not a section in the file")?;
        section.insert(name.clone(), Value::String(text.to_owned()));
        return Ok(join(TOPIC_DEFAULTS, &name));
    }
    let (Some((last, sections)), mut table, mut shape) = (path.split_last(), table, shape) else {
        return Err("names no setting".to_owned());
    };
    let mut prefix = String::new();
    let mut sections = sections.iter();
    while let Some(section) = sections.next() {
        let key = join(&prefix, section);
        let unknown = || format!("`{key}` is not a section{}", nearest(&prefix, section, shape));
        let known = shape.get(section).ok_or_else(unknown)?;
        if let Some(inner) = known.as_table() {
            let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| format!("`{key}` is not a section in the file"))?;
            (prefix, shape) = (key, inner);
        } else if let Some(inner) = known.as_array().and_then(|items| items.first()).and_then(Value::as_table) {
            let index = sections.next().and_then(|index| index.parse::<usize>().ok());
            let index = index.ok_or_else(|| format!("`{key}` wants an index next, as in {section}__0__name"))?;
            let entry = table.entry(section).or_insert_with(|| Value::Array(Vec::new()));
            let items = entry.as_array_mut().ok_or_else(|| format!("`{key}` is not a list in the file"))?;
            if index == items.len() {
                items.push(Value::Table(Table::new()));
            }
            let next = items.len();
            let item = items.get_mut(index).and_then(Value::as_table_mut);
            table = item.ok_or_else(|| format!("`{key}.{index}` does not exist; the next index is {next}"))?;
            (prefix, shape) = (format!("{key}.{index}"), inner);
        } else {
            return Err(unknown());
        }
    }
    let key = join(&prefix, last);
    let known = shape.get(last).ok_or_else(|| format!("`{key}` is not a setting{}", nearest(&prefix, last, shape)))?;
    table.insert(last.clone(), parse(known, text).map_err(|want| format!("`{key}` {want}, not {text:?}"))?);
    Ok(key)
}

/// A variable's text as a value of the type that the setting has.
fn parse(known: &Value, text: &str) -> Result<Value, &'static str> {
    let items = |text: &str| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect();
    match known {
        Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| "wants a whole number"),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| "wants true or false"),
        Value::Array(list) if !list.first().is_some_and(Value::is_table) => Ok(Value::Array(items(text))),
        Value::Array(_) | Value::Table(_) => Err("is a section and wants one variable for each of its keys"),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn typed(table: Table, origin: &Origin) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    leaves("", &table, &mut |key, alone| {
        if let Err(error) = alone.try_into::<Config>() {
            problems.push(format!("{}: {}", origin.of(key), error.message().replace('\n', ", ")));
        }
    });
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let unnamed: Vec<bool> = match table.get("listeners").and_then(Value::as_array) {
        Some(listeners) => listeners.iter().map(|listener| listener.get("mechanisms").is_none()).collect(),
        None => Vec::new(),
    };
    let mut config: Config =
        table.try_into().map_err(|error: toml::de::Error| ConfigError::from(error.message().to_owned()))?;
    for (listener, unnamed) in config.listeners.iter_mut().zip(unnamed) {
        listener.default_mechanisms(unnamed);
    }
    Ok(config)
}

/// Calls `each` with every value's key, and a table in which it is the only one: so a value of a wrong type is
/// blamed on its own key.
fn leaves(prefix: &str, table: &Table, each: &mut dyn FnMut(&str, Table)) {
    for (key, value) in table {
        let full = join(prefix, key);
        let alone = |value: Value| Table::from_iter([(key.clone(), value)]);
        match value {
            Value::Table(inner) => leaves(&full, inner, &mut |key, inner| each(key, alone(Value::Table(inner)))),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for (index, item) in items.iter().enumerate() {
                    let full = join(&full, &index.to_string());
                    match item.as_table() {
                        Some(item) => leaves(&full, item, &mut |key, inner| {
                            each(key, alone(Value::Array(vec![Value::Table(inner)])));
                        }),
                        None => each(&full, alone(Value::Array(vec![item.clone()]))),
                    }
                }
            }
            value => each(&full, alone(value.clone())),
        }
    }
}
