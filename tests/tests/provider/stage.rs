//! A broker, an operator who changes things behind terraform's back, and a folder of terraform.

use std::collections::BTreeMap;
use std::ops::Deref;

use anyhow::{Context, Result};
use lockgate_tests::broker::Broker;
use lockgate_tests::operator::Operator;
use lockgate_tests::terraform::{Said, Terraform};

use crate::access::{Access, Way};
use crate::{PASSWORD, with};

pub(crate) struct Stage {
    way: Way,
    pub(crate) operator: Operator,
    terraform: Terraform,
}

impl Deref for Stage {
    type Target = Terraform;

    fn deref(&self) -> &Terraform {
        &self.terraform
    }
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        let way = Access::of_this_run()?.open()?;
        let operator = Operator::of(&way.broker)?;
        let mut terraform = Terraform::new(&way.block)?;
        terraform.set("TF_VAR_password", PASSWORD);
        Ok(Self { way, operator, terraform })
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.way.broker
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.terraform.set(name, value);
    }

    /// Writes all that terraform and the provider say to each other into a file in the folder.
    pub(crate) fn traces(&mut self, file: &str) {
        let path = self.terraform.path().join(file).display().to_string();
        self.terraform.set("TF_LOG", "TRACE");
        self.terraform.set("TF_LOG_PATH", &path);
    }

    /// Makes this the configuration, beside the provider block.
    pub(crate) fn configure(&self, config: &str) -> Result<()> {
        self.terraform.write("main.tf", &with(&self.way.block, config))
    }

    /// Applies a configuration, sees what it did, such as `1 added, 0 changed, 0 destroyed`, and that nothing is left to do.
    pub(crate) fn applies(&self, config: &str, changes: &str) -> Result<()> {
        self.configure(config)?;
        self.apply()?.says(&format!("Resources: {changes}."))?;
        self.plans_nothing()
    }

    /// Sees that each of these changes of the configuration replaces the one resource.
    pub(crate) fn replaces(&self, config: &str, changes: &[(&str, &str)]) -> Result<()> {
        for (from, to) in changes {
            let changed = config.replace(from, to);
            anyhow::ensure!(changed != config, "{from} is not in the configuration");
            self.configure(&changed)?;
            self.plans("1 to add, 0 to change, 1 to destroy").with_context(|| (*to).to_owned())?;
        }
        self.configure(config)
    }

    /// A change by somebody else: terraform sees it, and undoes it.
    pub(crate) fn drifts(
        &self,
        changes: &str,
        what: &str,
        drift: impl FnOnce(&Operator) -> Result<()>,
    ) -> Result<Said> {
        drift(&self.operator)?;
        let said = self.plans(changes).with_context(|| what.to_owned())?;
        self.apply()?;
        self.plans_nothing().with_context(|| what.to_owned())?;
        Ok(said)
    }

    pub(crate) fn destroys(&self, resources: usize) -> Result<()> {
        let said = self.run(&["destroy", "-auto-approve"])?.succeeded()?;
        said.says(&format!("Destroy complete! Resources: {resources} destroyed."))
    }
}

/// The one result of a request about several things.
pub(crate) fn only<K, T>(results: impl IntoIterator<Item = (K, lockgate_client::Result<T>)>) -> Result<T> {
    Ok(results.into_iter().next().context("no answer")?.1?)
}

/// A map as the client's requests want it.
pub(crate) fn map<T: Clone>(entries: &[(&str, T)]) -> BTreeMap<String, T> {
    entries.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
}
