//! `quotas.tf`: rates of users, client ids, both together, and addresses.

use std::net::IpAddr;

use lockgate_client::Admin;
use lockgate_client::admin::{Quota, QuotaEntity, QuotaName};

use super::super::failure::Outcome;
use super::hcl::{Block, Expression, is_kept};
use super::labels::labels;
use super::page::{Exported, Page};

pub(super) const FILE: &str = "quotas.tf";
const KIND: &str = "lockgate_quota";
/// The provider's name for everybody without a quota of their own.
const DEFAULT: &str = "<default>";

/// The provider's rates, with the largest number where only whole ones are taken.
const RATES: [(&str, Option<f64>); 4] = [
    ("producer_byte_rate", Some(i64::MAX as f64)),
    ("consumer_byte_rate", Some(i64::MAX as f64)),
    ("request_percentage", None),
    ("connection_creation_rate", Some(i32::MAX as f64 + 1.0)),
];

pub(super) async fn page(admin: &Admin) -> Outcome<Page> {
    let mut page = Page::new(FILE, "the quotas");
    let listed = admin.list_quotas(&QuotaEntity::default(), false).await;
    let Some(quotas) = page.keep("the quotas", listed)? else { return Ok(page) };
    fill(&mut page, quotas);
    Ok(page)
}

fn fill(page: &mut Page, quotas: Vec<Quota>) {
    let quotas: Vec<_> = quotas.into_iter().filter(|quota| is_expressible(quota, &mut page.left_out)).collect();
    let words: Vec<_> = quotas.iter().map(|quota| words(&quota.entity)).collect();
    for (quota, label) in quotas.into_iter().zip(labels(&words)) {
        let id = id(&quota.entity);
        let block = Block::resource(KIND, &label, attributes(&quota));
        page.blocks.push(Exported { kind: KIND, label, id, block });
    }
}

/// The parts of an entity: the provider's attribute, the name in its import id, and whom it names.
fn parts(entity: &QuotaEntity) -> impl Iterator<Item = (&'static str, &'static str, &QuotaName)> {
    [("user", "user", &entity.user), ("client_id", "client-id", &entity.client_id), ("ip", "ip", &entity.ip)]
        .into_iter()
        .filter_map(|(attribute, kind, name)| Some((attribute, kind, name.as_ref()?)))
}

fn text(name: &QuotaName) -> &str {
    match name {
        QuotaName::Default => DEFAULT,
        QuotaName::Named(name) => name,
    }
}

/// Says what the provider cannot have, of the whole entity or of a rate.
fn is_expressible(quota: &Quota, left_out: &mut Vec<String>) -> bool {
    let entity = &quota.entity;
    let named = parts(entity).filter_map(|(attribute, _, name)| match name {
        QuotaName::Default => None,
        QuotaName::Named(name) => Some((attribute, name.as_str())),
    });
    for (attribute, name) in named {
        let problem = if name == DEFAULT {
            "the provider takes that name for the default"
        } else if name.is_empty() {
            "the name is empty"
        } else if !is_kept(name) {
            "Terraform would change the name (NFC)"
        } else if attribute == "ip" && name.parse::<IpAddr>().is_err() {
            "the name is no address"
        } else {
            continue;
        };
        left_out.push(format!("the quota of {entity}: {problem}."));
        return false;
    }
    for (key, rate) in &quota.values {
        let problem = match RATES.iter().find(|(name, _)| name == key) {
            None => "the provider has no such rate",
            // An import takes all rates that the provider has, so one that it refuses takes the others with it.
            Some((_, most)) if !fits(*rate, *most) => {
                left_out.push(format!("the quota of {entity}: the provider does not take {key} = {rate}."));
                return false;
            }
            Some(_) => continue,
        };
        left_out.push(format!("{key} = {rate} of the quota of {entity}: {problem}."));
    }
    quota.values.keys().any(|key| RATES.iter().any(|(name, _)| name == key))
}

/// The bound itself is left out: as a float it stands for one more than the largest integer.
fn fits(rate: f64, bound: Option<f64>) -> bool {
    match bound {
        Some(bound) => rate.fract() == 0.0 && (1.0..bound).contains(&rate),
        None => rate > 0.0 && rate.is_finite(),
    }
}

fn attributes(quota: &Quota) -> Vec<(&'static str, Expression)> {
    let entity = parts(&quota.entity).map(|(name, _, value)| (name, Expression::Text(text(value).to_owned())));
    let rates = RATES.iter().filter_map(|(name, _)| {
        let rate = quota.values.get(*name)?;
        // Digits that do not round: the shortest form of a large float is another whole number.
        let number = if rate.fract() == 0.0 { format!("{rate:.0}") } else { rate.to_string() };
        Some((*name, Expression::Bare(number)))
    });
    entity.chain(rates).collect()
}

/// `user alice client default`.
fn words(entity: &QuotaEntity) -> String {
    let part = |(attribute, _, name)| match name {
        &QuotaName::Default => format!("{attribute} default"),
        QuotaName::Named(name) => format!("{attribute} {name}"),
    };
    parts(entity).map(part).collect::<Vec<_>>().join(" ")
}

/// The provider's import id.
fn id(entity: &QuotaEntity) -> String {
    let part = |(_, kind, name)| format!("{kind}={}", text(name).replace('%', "%25").replace(',', "%2C"));
    parts(entity).map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<QuotaName> {
        Some(QuotaName::Named(name.to_owned()))
    }

    fn quota(entity: QuotaEntity, rates: &[(&str, f64)]) -> Quota {
        Quota { entity, values: rates.iter().map(|(key, rate)| ((*key).to_owned(), *rate)).collect() }
    }

    fn filled(quotas: Vec<Quota>) -> Page {
        let mut page = Page::new(FILE, "quotas");
        fill(&mut page, quotas);
        page
    }

    #[test]
    fn entities_and_rates() {
        let pair = QuotaEntity { user: named("CN=a,O=50%"), client_id: Some(QuotaName::Default), ip: None };
        let page = filled(vec![quota(pair, &[("request_percentage", 12.5), ("producer_byte_rate", 1e18)])]);
        let wanted = r#"resource "lockgate_quota" "user_CN_a_O_50_client_id_default" {
  user               = "CN=a,O=50%"
  client_id          = "<default>"
  producer_byte_rate = 1000000000000000000
  request_percentage = 12.5
}
"#;
        assert_eq!(page.blocks[0].block.to_string(), wanted);
        assert_eq!(page.blocks[0].id, "user=CN=a%2CO=50%25,client-id=<default>");
    }

    #[test]
    fn what_the_provider_cannot_have_is_told() {
        let user = |name| QuotaEntity { user: named(name), ..QuotaEntity::default() };
        let host = QuotaEntity { ip: named("host.example"), ..QuotaEntity::default() };
        let page = filled(vec![
            quota(user("a"), &[("controller_mutation_rate", 5.0)]),
            quota(user("b"), &[("controller_mutation_rate", 5.0), ("consumer_byte_rate", 7.0)]),
            quota(user("c"), &[("consumer_byte_rate", i64::MAX as f64), ("request_percentage", 1.0)]),
            quota(user(DEFAULT), &[("consumer_byte_rate", 7.0)]),
            quota(host, &[("connection_creation_rate", 7.0)]),
        ]);
        let ids: Vec<_> = page.blocks.iter().map(|exported| exported.id.as_str()).collect();
        assert_eq!(ids, ["user=b"]);
        let wanted = [
            "controller_mutation_rate = 5 of the quota of user=a: the provider has no such rate.",
            "controller_mutation_rate = 5 of the quota of user=b: the provider has no such rate.",
            "the quota of user=c: the provider does not take consumer_byte_rate = 9223372036854775807.",
            "the quota of user=<default>: the provider takes that name for the default.",
            "the quota of ip=host.example: the name is no address.",
        ];
        assert_eq!(page.left_out.len(), wanted.len());
        for (told, wanted) in page.left_out.iter().zip(wanted) {
            assert_eq!(told.split("= 9223").next(), wanted.split("= 9223").next());
        }
    }
}
