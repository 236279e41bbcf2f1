//! Client quotas: rates of users, client ids and addresses.

use std::collections::BTreeMap;
use std::fmt;

use krafka::__private::protocol::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterQuotaEntity, AlterQuotaEntry, AlterQuotaOp, ApiKey,
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, QuotaFilterComponent, versions,
};
use serde::Serialize;

use super::connection::{Admin, Api, Kind};
use crate::error::{Result, answer};

/// One part of an entity: everybody without a quota of their own, or one by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaName {
    Default,
    Named(String),
}

/// For whom a quota is. An address stands alone; a user and a client id may stand together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct QuotaEntity {
    pub user: Option<QuotaName>,
    pub client_id: Option<QuotaName>,
    pub ip: Option<QuotaName>,
}

impl QuotaEntity {
    const USER: &str = "user";
    const CLIENT_ID: &str = "client-id";
    const IP: &str = "ip";

    fn parts(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        [(Self::USER, &self.user), (Self::CLIENT_ID, &self.client_id), (Self::IP, &self.ip)]
            .into_iter()
            .filter_map(|(kind, name)| name.as_ref().map(|name| (kind, name.named())))
    }

    /// `None` for an entity with parts that this client does not know.
    fn from_parts(parts: impl Iterator<Item = (String, Option<String>)>) -> Option<Self> {
        let mut entity = Self::default();
        for (kind, name) in parts {
            let place = match kind.as_str() {
                Self::USER => &mut entity.user,
                Self::CLIENT_ID => &mut entity.client_id,
                Self::IP => &mut entity.ip,
                _ => {
                    tracing::warn!(kind, "quota of an unknown kind left out");
                    return None;
                }
            };
            *place = Some(name.map_or(QuotaName::Default, QuotaName::Named));
        }
        Some(entity)
    }
}

impl QuotaName {
    fn named(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Named(name) => Some(name),
        }
    }
}

impl fmt::Display for QuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, name)) in self.parts().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{kind}={}", name.unwrap_or("<default>"))?;
        }
        Ok(())
    }
}

/// An entity and what is set for it, by Kafka's keys (`producer_byte_rate`, …).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quota {
    pub entity: QuotaEntity,
    pub values: BTreeMap<String, f64>,
}

/// Changes to one entity; `None` removes a key, and keys that are not named stay as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaAlteration {
    pub entity: QuotaEntity,
    pub changes: BTreeMap<String, Option<f64>>,
}

const DESCRIBE: Api = Api {
    key: ApiKey::DescribeClientQuotas,
    name: "DescribeClientQuotas",
    min: versions::DESCRIBE_CLIENT_QUOTAS_MIN,
    max: versions::DESCRIBE_CLIENT_QUOTAS_MAX,
    kind: Kind::Read,
};
const ALTER: Api = Api {
    key: ApiKey::AlterClientQuotas,
    name: "AlterClientQuotas",
    min: versions::ALTER_CLIENT_QUOTAS_MIN,
    max: versions::ALTER_CLIENT_QUOTAS_MAX,
    kind: Kind::Write,
};

/// Wire codes of match types.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;

impl Admin {
    /// The quotas of entities that have at least the filter's parts, in order; of exactly the filter with `strict`.
    pub async fn list_quotas(&self, filter: &QuotaEntity, strict: bool) -> Result<Vec<Quota>> {
        let components = filter
            .parts()
            .map(|(kind, name)| QuotaFilterComponent {
                entity_type: kind.to_owned(),
                match_type: if name.is_some() { EXACT } else { DEFAULT },
                match_value: name.map(str::to_owned),
            })
            .collect();
        let response: DescribeClientQuotasResponse =
            self.call(DESCRIBE, &DescribeClientQuotasRequest { components, strict }).await?;
        answer(response.error_code, response.error_message)?;
        let mut quotas: Vec<Quota> = response
            .entries
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| {
                let parts = entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name));
                let values = entry.values.into_iter().map(|value| (value.key, value.value)).collect();
                Some(Quota { entity: QuotaEntity::from_parts(parts)?, values })
            })
            .collect();
        quotas.sort_by(|a, b| a.entity.cmp(&b.entity));
        Ok(quotas)
    }

    /// Sets and removes rates, or with `validate_only` says what doing so would answer.
    pub async fn alter_quotas(
        &self,
        alterations: &[QuotaAlteration],
        validate_only: bool,
    ) -> Result<Vec<(QuotaEntity, Result<()>)>> {
        let entries = alterations
            .iter()
            .map(|alteration| AlterQuotaEntry {
                entity: alteration
                    .entity
                    .parts()
                    .map(|(kind, name)| AlterQuotaEntity {
                        entity_type: kind.to_owned(),
                        entity_name: name.map(str::to_owned),
                    })
                    .collect(),
                ops: alteration
                    .changes
                    .iter()
                    .map(|(key, value)| AlterQuotaOp {
                        key: key.clone(),
                        value: value.unwrap_or_default(),
                        remove: value.is_none(),
                    })
                    .collect(),
            })
            .collect();
        let response: AlterClientQuotasResponse =
            self.call(ALTER, &AlterClientQuotasRequest { entries, validate_only }).await?;
        let results = response.entries.into_iter().filter_map(|entry| {
            let parts = entry.entity.into_iter().map(|part| (part.entity_type, part.entity_name));
            Some((QuotaEntity::from_parts(parts)?, answer(entry.error_code, entry.error_message)))
        });
        Ok(results.collect())
    }
}
