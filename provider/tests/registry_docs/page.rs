//! Whole pages, section by section.

use std::fmt::Write;

use terraform_provider_lockgate::tfplugin::Schema;

use super::examples::Folder;
use super::schema;

const IMPORT_BLOCK: &str = "https://developer.hashicorp.com/terraform/language/import";
const IMPORT_COMMAND: &str = "https://developer.hashicorp.com/terraform/cli/commands/import";

pub(crate) fn provider(schema: &Schema, examples: &Folder) -> String {
    let mut page = opening("lockgate Provider", "lockgate Provider", schema.description());
    page += &usage(examples);
    page + &schema::section(schema)
}

pub(crate) fn resource(name: &str, schema: &Schema, examples: &Folder) -> String {
    let mut page = opening(&format!("{name} Resource - lockgate"), &format!("{name} (Resource)"), schema.description());
    page += &usage(examples);
    page += &schema::section(schema);
    page + &import(examples)
}

pub(crate) fn data_source(name: &str, schema: &Schema, examples: &Folder) -> String {
    let title = format!("{name} Data Source - lockgate");
    let mut page = opening(&title, &format!("{name} (Data Source)"), schema.description());
    page += &usage(examples);
    page + &schema::section(schema)
}

/// The registry's front matter, heading and description.
pub(crate) fn opening(title: &str, heading: &str, description: &str) -> String {
    let plain = description.replace('`', "");
    format!(
        "---\n# Made from the schema and the examples; {} writes it anew.\npage_title: \"{title}\"\nsubcategory: \
         \"\"\ndescription: |-\n  {plain}\n---\n\n# {heading}\n\n{description}\n",
        super::WRITE
    )
}

pub(crate) fn usage(examples: &Folder) -> String {
    let mut section = String::new();
    if let Some(code) = &examples.first {
        section += &format!("\n## Example Usage\n\n```terraform\n{code}\n```\n");
    }
    for example in &examples.further {
        let _ = write!(section, "\n### {}\n\n```terraform\n{}\n```\n", example.title, example.code);
    }
    section
}

fn import(examples: &Folder) -> String {
    let mut section = String::from("\n## Import\n\nImport is supported using the following syntax:\n");
    if let Some(code) = &examples.import_block {
        let _ = write!(
            section,
            "\nAn [`import` block]({IMPORT_BLOCK}) can be used with the `id` attribute, for example:\n\n```terraform\n{code}\n```\n"
        );
    }
    if let Some(command) = &examples.import_command {
        let _ = write!(
            section,
            "\nThe [`terraform import` command]({IMPORT_COMMAND}) can be used, for example:\n\n```shell\n{command}\n```\n"
        );
    }
    section
}
