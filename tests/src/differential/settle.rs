//! Apache Kafka's broker answers from what it has read of its controllers' log, so that for some moments after a change it
//! shows what was before. A question that follows a change waits until the broker has read a later one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use crate::until;
use crate::wire::{Connection, check};

/// A topic whose configs are changed for nothing but this.
pub(super) const TOPIC: &str = "settle";
const CONFIG: &str = "retention.ms";
/// Parts of the broker hear of one change one after the other.
const AFTERWARDS: Duration = Duration::from_millis(20);
/// What goes to the controllers.
const CHANGES: [ApiKey; 11] = [
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::CreatePartitions,
    ApiKey::AlterConfigs,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::AlterUserScramCredentials,
    ApiKey::AlterClientQuotas,
    ApiKey::ElectLeaders,
    ApiKey::UpdateFeatures,
];

pub(crate) struct Settling {
    address: SocketAddr,
    changed: bool,
}

impl Settling {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self { address, changed: false }
    }

    /// To be called before each request. Changes follow each other at once: the controllers know what they did.
    pub(super) fn before(&mut self, key: i16) -> Result<()> {
        let change = CHANGES.iter().any(|change| *change as i16 == key);
        if self.changed && !change {
            self.settle()?;
        }
        self.changed = change;
        Ok(())
    }

    /// Waits until the broker has heard of every change so far.
    pub(crate) fn settle(&self) -> Result<()> {
        static VALUES: AtomicU64 = AtomicU64::new(1_000_000);
        let value = text(&VALUES.fetch_add(1, Ordering::Relaxed).to_string());
        let mut connection = Connection::plain(self.address)?;
        let config = AlterableConfig::default().with_name(text(CONFIG)).with_value(Some(value.clone()));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(TOPIC))
            .with_configs(vec![config]);
        let change = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = connection.call(&change, 1)?;
        check(answer.responses.first().context("no answer for the topic")?.error_code, "a config")?;
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(TOPIC))
            .with_configuration_keys(Some(vec![text(CONFIG)]));
        let question = DescribeConfigsRequest::default().with_resources(vec![resource]);
        until(Duration::from_secs(30), "the broker has heard of a change", || {
            let answer = connection.call(&question, 4).ok()?;
            let shown = answer.results.first()?.configs.first()?.value.clone();
            (shown.as_ref() == Some(&value)).then_some(())
        })?;
        thread::sleep(AFTERWARDS);
        Ok(())
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
