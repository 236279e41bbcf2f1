//! The examples of one resource, data source, function or provider: a folder with a first example of a conventional name, and
//! further ones, each a `.tf` file that opens with a comment of one line, its title.

use std::path::{Path, PathBuf};

/// The names by which terraform-plugin-docs knows a first example.
const FIRST: [&str; 4] = ["provider.tf", "resource.tf", "data-source.tf", "function.tf"];

const IMPORT_BLOCK: &str = "import-by-string-id.tf";
const IMPORT_COMMAND: &str = "import.sh";

/// An example besides the first.
pub(crate) struct Example {
    pub(crate) title: String,
    pub(crate) code: String,
}

#[derive(Default)]
pub(crate) struct Folder {
    pub(crate) first: Option<String>,
    pub(crate) further: Vec<Example>,
    /// An `import` block.
    pub(crate) import_block: Option<String>,
    /// A `terraform import` command.
    pub(crate) import_command: Option<String>,
}

impl Folder {
    /// Reads a folder; one that is not there has no examples.
    pub(crate) fn read(path: &Path) -> Self {
        let mut folder = Self::default();
        let Ok(entries) = std::fs::read_dir(path) else { return folder };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).expect("an example is text").trim_end().to_owned();
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name {
                IMPORT_BLOCK => folder.import_block = Some(text),
                IMPORT_COMMAND => folder.import_command = Some(text),
                _ if FIRST.contains(&name) => folder.first = Some(text),
                _ if name.ends_with(".tf") => folder.further.push(Example::parse(&file, &text)),
                _ => panic!("{} is not the name of an example", file.display()),
            }
        }
        folder
    }
}

impl Example {
    fn parse(file: &Path, text: &str) -> Self {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let title = first.strip_prefix("# ").unwrap_or_else(|| panic!("{} opens with no title", file.display()));
        Self { title: title.to_owned(), code: rest.trim_start().to_owned() }
    }
}
