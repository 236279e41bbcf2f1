//! `topics.tf`: topics with what is set on themselves.

use std::collections::BTreeMap;

use lockgate_client::Admin;
use lockgate_client::admin::{ConfigEntry, ConfigResource, ConfigSource, Topic};

use super::super::failure::Outcome;
use super::hcl::{Block, Expression, is_kept, quoted};
use super::labels::labels;
use super::page::{Exported, Page};

pub(super) const FILE: &str = "topics.tf";
const KIND: &str = "lockgate_topic";

/// Topics whose configs one request asks for: an answer has about 3 KiB for each.
const DESCRIBED_AT_ONCE: usize = 200;

/// What is set on each topic, by its name.
type Configs = BTreeMap<String, Vec<ConfigEntry>>;

pub(super) async fn page(admin: &Admin) -> Outcome<Page> {
    let mut page = Page::new(FILE, "the topics that the user may describe, with the configs that are set on them");
    let listed = admin.list_topics().await;
    let Some(topics) = page.keep("the topics", listed)? else { return Ok(page) };
    let (internal, topics): (Vec<_>, Vec<_>) = topics.into_iter().partition(|topic| topic.internal);
    if !internal.is_empty() {
        let names: Vec<_> = internal.into_iter().map(|topic| topic.name).collect();
        page.left_out.push(format!("internal topics, which every cluster makes itself: {}.", names.join(", ")));
    }
    let configs = configs(admin, &topics, &mut page).await?;
    fill(&mut page, topics, configs);
    Ok(page)
}

async fn configs(admin: &Admin, topics: &[Topic], page: &mut Page) -> Outcome<Configs> {
    let mut configs = Configs::new();
    for some in topics.chunks(DESCRIBED_AT_ONCE) {
        let resources: Vec<_> = some.iter().map(|topic| ConfigResource::Topic(topic.name.clone())).collect();
        for (resource, described) in admin.describe_config_values(&resources).await? {
            let ConfigResource::Topic(name) = &resource else { continue };
            match described {
                // Deleted since the topics were listed.
                Err(error) if error.is_not_found() => {}
                described => {
                    let entries = page.keep(&format!("the configs of {resource}"), described)?;
                    configs.insert(name.clone(), entries.unwrap_or_default());
                }
            }
        }
    }
    Ok(configs)
}

fn fill(page: &mut Page, mut topics: Vec<Topic>, mut configs: Configs) {
    topics.retain(|topic| configs.contains_key(&topic.name));
    let names: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
    for (topic, label) in topics.into_iter().zip(labels(&names)) {
        let entries = configs.remove(&topic.name).unwrap_or_default();
        let config = settings(&topic.name, entries, &mut page.left_out);
        let mut attributes = vec![
            ("name", Expression::Text(topic.name.clone())),
            ("partitions", Expression::Bare(topic.partitions.len().to_string())),
            ("replication_factor", Expression::Bare(topic.replication_factor().to_string())),
        ];
        if !config.is_empty() {
            attributes.push(("config", Expression::Object(config)));
        }
        let block = Block::resource(KIND, &label, attributes);
        page.blocks.push(Exported { kind: KIND, label, id: topic.name, block });
    }
}

/// What is set on the topic itself; what brokers set for all of theirs is not the topic's.
fn settings(topic: &str, entries: Vec<ConfigEntry>, left_out: &mut Vec<String>) -> Vec<(String, Expression)> {
    let own = entries.into_iter().filter(|entry| entry.source == ConfigSource::Topic && !entry.read_only);
    let mut settings = Vec::new();
    for ConfigEntry { name, value, .. } in own {
        match value {
            Some(value) if is_kept(&value) => settings.push((quoted(&name), Expression::Text(value))),
            Some(_) => left_out.push(format!("{name} of topic {topic}: Terraform would change the value (NFC).")),
            None => left_out.push(format!("{name} of topic {topic}: the broker does not tell the value.")),
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use lockgate_client::admin::Partition;

    use super::*;

    fn topic(name: &str, replicas: &[i32]) -> Topic {
        let partition = |index| Partition {
            index,
            leader: 1,
            leader_epoch: 0,
            replicas: replicas.to_vec(),
            in_sync_replicas: replicas.to_vec(),
        };
        Topic { name: name.into(), topic_id: None, internal: false, partitions: vec![partition(0), partition(1)] }
    }

    fn entry(name: &str, value: Option<&str>, source: ConfigSource) -> ConfigEntry {
        ConfigEntry {
            name: name.into(),
            value: value.map(str::to_owned),
            source,
            read_only: false,
            sensitive: value.is_none(),
            synonyms: Vec::new(),
            documentation: None,
        }
    }

    #[test]
    fn only_what_is_set_on_the_topic_is_written() {
        let mut page = Page::new(FILE, "topics");
        let entries = vec![
            entry("cleanup.policy", Some("compact"), ConfigSource::Topic),
            entry("retention.ms", Some("5"), ConfigSource::AllBrokers),
            entry("secret", None, ConfigSource::Topic),
            entry("segment.ms", Some("7"), ConfigSource::Default),
        ];
        let configs = Configs::from([("a.b".to_owned(), entries), ("a_b".to_owned(), Vec::new())]);
        // The third was deleted in between: it has no configs.
        fill(&mut page, vec![topic("a.b", &[1, 2, 3]), topic("a_b", &[1]), topic("gone", &[1])], configs);
        let text = page.blocks.iter().map(|exported| exported.block.to_string()).collect::<String>();
        let wanted = r#"resource "lockgate_topic" "a_b_2" {
  name               = "a.b"
  partitions         = 2
  replication_factor = 3

  config = {
    "cleanup.policy" = "compact"
  }
}
resource "lockgate_topic" "a_b" {
  name               = "a_b"
  partitions         = 2
  replication_factor = 1
}
"#;
        assert_eq!(text, wanted);
        assert_eq!(page.left_out, ["secret of topic a.b: the broker does not tell the value."]);
    }
}
