//! The registry's documentation in `docs/`: made from the provider's schemas and from `examples/`, both in the layout of
//! terraform-plugin-docs, and checked for drift. `LOCKGATE_WRITE_DOCS=1 cargo test --workspace --test registry_docs` writes it
//! anew.

mod examples;
mod function;
mod page;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use terraform_provider_lockgate::provider::LockgateProvider;
use terraform_provider_lockgate::tfplugin::{Attribute, Provider, Schema, Shape};

use examples::Folder;

const WRITE: &str = "LOCKGATE_WRITE_DOCS=1 cargo test --workspace --test registry_docs";

/// Folders below `docs/` whose every page is made here. `docs/guides` is written by hand.
const MADE: [&str; 3] = ["resources", "data-sources", "functions"];

fn provider_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `topic` for `lockgate_topic`: the registry leaves the provider's name out of paths.
fn short(type_name: &str) -> &str {
    type_name.split_once('_').map_or(type_name, |(_, rest)| rest)
}

/// Every schema with a name for messages.
fn schemas() -> Vec<(String, Schema)> {
    let provider = LockgateProvider::default();
    let resources = provider.resources().into_iter().map(|r| (r.type_name().to_owned(), r.schema()));
    let data_sources = provider.data_sources().into_iter().map(|d| (format!("data.{}", d.type_name()), d.schema()));
    [("provider".to_owned(), provider.schema())].into_iter().chain(resources).chain(data_sources).collect()
}

/// All pages: their paths below `docs/`, and their text.
fn pages() -> BTreeMap<PathBuf, String> {
    let provider = LockgateProvider::default();
    let folder = |kind: &str, name: &str| Folder::read(&provider_folder().join("examples").join(kind).join(name));
    let mut pages = BTreeMap::new();
    let index = page::provider(&provider.schema(), &folder("provider", ""));
    pages.insert(PathBuf::from("index.md"), index);
    for resource in provider.resources() {
        let name = resource.type_name();
        let text = page::resource(name, &resource.schema(), &folder("resources", name));
        pages.insert(Path::new("resources").join(short(name)).with_extension("md"), text);
    }
    for data_source in provider.data_sources() {
        let name = data_source.type_name();
        let text = page::data_source(name, &data_source.schema(), &folder("data-sources", name));
        pages.insert(Path::new("data-sources").join(short(name)).with_extension("md"), text);
    }
    for function in provider.functions() {
        let name = function.name();
        let text = function::page(name, &function.signature(), &folder("functions", name));
        pages.insert(Path::new("functions").join(name).with_extension("md"), text);
    }
    pages
}

/// What is in the folders that are made here.
fn present() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for kind in MADE {
        let Ok(entries) = std::fs::read_dir(provider_folder().join("docs").join(kind)) else { continue };
        found.extend(entries.map(|entry| Path::new(kind).join(entry.expect("a readable folder").file_name())));
    }
    found
}

#[test]
fn the_pages_are_what_schemas_and_examples_say() {
    let docs = provider_folder().join("docs");
    let pages = pages();
    let left_over: Vec<_> = present().into_iter().filter(|path| !pages.contains_key(path)).collect();
    if std::env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
        for path in &left_over {
            std::fs::remove_file(docs.join(path)).expect("an old page can be removed");
        }
        for (path, text) in &pages {
            let path = docs.join(path);
            std::fs::create_dir_all(path.parent().expect("a page lies in a folder")).expect("docs can be written");
            std::fs::write(path, text).expect("docs can be written");
        }
        return;
    }
    assert!(left_over.is_empty(), "provider/docs has pages of nothing: {left_over:?}; run {WRITE}");
    for (path, text) in &pages {
        let found = std::fs::read_to_string(docs.join(path)).unwrap_or_default();
        assert!(found == *text, "provider/docs/{} is out of date; run {WRITE}", path.display());
    }
}

#[test]
fn everything_has_an_example_and_a_resource_shows_its_import() {
    let provider = LockgateProvider::default();
    let examples = provider_folder().join("examples");
    let mut wanted = vec!["provider/provider.tf".to_owned()];
    for resource in provider.resources() {
        let files = ["resource.tf", "import.sh", "import-by-string-id.tf"];
        wanted.extend(files.map(|file| format!("resources/{}/{file}", resource.type_name())));
    }
    wanted.extend(provider.data_sources().iter().map(|d| format!("data-sources/{}/data-source.tf", d.type_name())));
    wanted.extend(provider.functions().iter().map(|f| format!("functions/{}/function.tf", f.name())));
    let missing: Vec<_> = wanted.iter().filter(|path| !examples.join(path).is_file()).collect();
    assert!(missing.is_empty(), "provider/examples lacks {missing:?}");
}

#[test]
fn every_attribute_is_described_with_its_default() {
    fn look(place: &str, attributes: &[Attribute], problems: &mut Vec<String>) {
        for attribute in attributes {
            let (place, text) = (format!("{place}.{}", attribute.name()), attribute.description());
            if text.len() < 10 || !text.ends_with('.') {
                problems.push(format!("{place}: {text:?} is no sentence"));
            }
            if attribute.default_value().is_some() && !text.contains("Default `") {
                problems.push(format!("{place}: its default is not named"));
            }
            if let Shape::Nested(_, nested) = attribute.shape() {
                look(&place, nested, problems);
            }
        }
    }
    let mut problems = Vec::new();
    for (place, schema) in schemas() {
        look(&place, schema.attributes(), &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
