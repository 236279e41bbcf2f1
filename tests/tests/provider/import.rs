//! Import blocks with `-generate-config-out`: what is there already becomes a configuration that plans clean.

use anyhow::Result;
use lockgate_client::admin::{AclOperation, AclResourceType, QuotaAlteration, QuotaEntity, QuotaName};

use crate::PASSWORD;
use crate::stage::{Stage, map, only};

const IMPORTS: &str = r#"
import {
  to = lockgate_topic.legacy
  id = "legacy"
}

import {
  to = lockgate_user.bob
  id = "bob"
}

import {
  to = lockgate_acl.bob
  id = provider::lockgate::acl_id("User:bob", "*", ["Read", "Describe"], "Allow", "Topic", "leg", "Prefixed")
}

import {
  to = lockgate_quota.bob
  id = "user=bob,client-id=<default>"
}
"#;

#[test]
fn what_exists_is_imported_with_generated_configuration_that_plans_clean() -> Result<()> {
    let stage = Stage::new()?;
    let operator = &stage.operator;
    operator.topic("legacy", 2, &[("cleanup.policy", "compact")])?;
    operator.user("bob", PASSWORD)?;
    operator.allow("bob", AclResourceType::Topic, "leg", &[AclOperation::Read, AclOperation::Describe])?;
    let user = Some(QuotaName::Named("bob".to_owned()));
    let entity = QuotaEntity { user, client_id: Some(QuotaName::Default), ip: None };
    let changes = map(&[("request_percentage", Some(12.1)), ("consumer_byte_rate", Some(1e6))]);
    only(operator.wait(operator.admin().alter_quotas(&[QuotaAlteration { entity, changes }], false))?)?;

    stage.write("import.tf", IMPORTS)?;
    let said = stage.run(&["plan", "-generate-config-out=generated.tf"])?.succeeded()?;
    said.says("Plan: 4 to import, 0 to add, 0 to change, 0 to destroy.")?;
    stage.apply()?.says("4 imported, 0 added, 0 changed, 0 destroyed")?;
    stage.plans_nothing()
}
