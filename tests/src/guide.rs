//! Pages of documentation, for tests that follow them as written.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::program::workspace;

/// A page that is followed.
pub struct Guide(String);

impl Guide {
    /// A page of this repository.
    pub fn read(page: impl AsRef<Path>) -> Result<Self> {
        let path = workspace().join(page);
        Ok(Self(std::fs::read_to_string(&path).with_context(|| path.display().to_string())?))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// The part under a heading, up to the next of the same level.
    pub fn section(&self, heading: &str) -> Result<Self> {
        let level = heading.split(' ').next().unwrap_or_default();
        let after = self.0.split_once(&format!("\n{heading}\n")).with_context(|| format!("no heading {heading:?}"))?.1;
        let end = after.find(&format!("\n{level} ")).unwrap_or(after.len());
        Ok(Self(after[..end].to_owned()))
    }

    /// The code blocks in one language, in order.
    pub fn blocks(&self, language: &str) -> Vec<String> {
        let opening = format!("\n```{language}\n");
        let after = self.0.split(&opening).skip(1);
        after.map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned() + "\n").collect()
    }

    /// The only code block in that language.
    pub fn block(&self, language: &str) -> Result<String> {
        let mut blocks = self.blocks(language);
        ensure!(blocks.len() == 1, "{} blocks of {language} instead of one:\n{}", blocks.len(), self.0);
        blocks.pop().context("one block")
    }
}
