//! One file of an export: a kind of things in a cluster, what was left out of it, and how Terraform imports it.

use std::fmt::{self, Write};

use lockgate_client::{Error, ErrorCode};

use super::super::failure::Outcome;
use super::hcl::{Block, quoted};

/// The file that makes a plan take over what the cluster has, instead of making it.
pub(super) const IMPORTS_FILE: &str = "imports.tf";

const HEADING: &str = "Written by lockgate export terraform";

pub(super) struct Page {
    pub(super) file: &'static str,
    /// What is in the file, in a few words.
    pub(super) about: &'static str,
    /// One sentence for each thing that the cluster has, and the file has not.
    pub(super) left_out: Vec<String>,
    /// Stands in front of the resources, such as the variable that they use.
    pub(super) preamble: Option<&'static str>,
    pub(super) blocks: Vec<Exported>,
}

/// A resource, and the id that imports it.
pub(super) struct Exported {
    pub(super) kind: &'static str,
    pub(super) label: String,
    pub(super) id: String,
    pub(super) block: Block,
}

impl Page {
    pub(super) fn new(file: &'static str, about: &'static str) -> Self {
        Self { file, about, left_out: Vec::new(), preamble: None, blocks: Vec::new() }
    }

    /// A value that was asked for. What the user may not see, and what the cluster does not have, is left out with a
    /// sentence; every other error ends the export, which would be incomplete without a word.
    pub(super) fn keep<T>(&mut self, what: &str, asked: Result<T, Error>) -> Outcome<Option<T>> {
        match asked {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_left_out(&error) => {
                self.left_out.push(format!("{what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn is_left_out(error: &Error) -> bool {
    error.is_denied()
        || matches!(error, Error::Unsupported { .. })
        || matches!(error.code(), Some(ErrorCode::SecurityDisabled | ErrorCode::UnsupportedVersion))
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {HEADING}: {}.", self.about)?;
        for sentence in &self.left_out {
            writeln!(f, "# Not exported: {}", one_line(sentence))?;
        }
        if let Some(preamble) = self.preamble.filter(|_| !self.blocks.is_empty()) {
            write!(f, "\n{preamble}")?;
        }
        self.blocks.iter().try_for_each(|exported| write!(f, "\n{}", exported.block))
    }
}

/// The import blocks of all pages.
pub(super) fn imports(pages: &[Page]) -> String {
    let mut text = format!(
        "# {HEADING}. With this file a plan takes over what the cluster has; it can go after the apply.\n\
         # To make the same in another cluster, delete this file and name the other cluster in provider.tf.\n"
    );
    for Exported { kind, label, id, .. } in pages.iter().flat_map(|page| &page.blocks) {
        let _ = write!(text, "\nimport {{\n  to = {kind}.{label}\n  id = {}\n}}\n", quoted(id));
    }
    text
}

/// A sentence that can neither end a comment nor move a terminal's cursor.
pub(super) fn one_line(sentence: &str) -> String {
    let clean = |letter: char| match letter {
        letter if letter.is_control() => letter.escape_default().collect::<String>(),
        letter => letter.to_string(),
    };
    sentence.chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::super::hcl::Expression;
    use super::*;

    fn page() -> Page {
        let mut page = Page::new("topics.tf", "topics");
        let block = Block::resource("lockgate_topic", "a", vec![("name", Expression::Text("a".into()))]);
        page.blocks.push(Exported { kind: "lockgate_topic", label: "a".into(), id: "a\"${b".into(), block });
        page
    }

    #[test]
    fn what_is_left_out_stands_on_one_line() {
        let mut page = page();
        page.left_out.push("a\nresource {}".into());
        let wanted = "# Written by lockgate export terraform: topics.\n# Not exported: a\\nresource {}\n\n\
                      resource \"lockgate_topic\" \"a\" {\n  name = \"a\"\n}\n";
        assert_eq!(page.to_string(), wanted);
    }

    #[test]
    fn ids_are_escaped() {
        assert!(imports(&[page()]).ends_with("\nimport {\n  to = lockgate_topic.a\n  id = \"a\\\"$${b\"\n}\n"));
    }

    #[test]
    fn only_what_may_not_be_seen_is_left_out() {
        let broker = |code| Error::Broker(lockgate_client::BrokerError { code, message: None });
        let mut page = page();
        let denied = page.keep::<()>("ACLs", Err(broker(ErrorCode::ClusterAuthorizationFailed)));
        assert!(denied.expect("no failure").is_none() && page.left_out.len() == 1);
        assert!(page.keep::<()>("ACLs", Err(broker(ErrorCode::UnknownServerError))).is_err());
        assert!(page.keep::<()>("ACLs", Err(Error::Settings("No.".into()))).is_err());
        assert_eq!((page.keep("ACLs", Ok(1)).expect("no failure"), page.left_out.len()), (Some(1), 1));
    }
}
