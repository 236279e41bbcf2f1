//! `lockgate acl`.

use clap::{Args, Subcommand};
use lockgate_client::Admin;
use lockgate_client::admin::{Acl, AclFilter, AclOperation, AclPatternType, AclPermission, AclResourceType};

use super::connection::ConnectionArgs;
use super::failure::{Failure, Failures, Outcome};
use super::input::confirm;
use super::output::{Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum AclCommand {
    /// List the ACLs that match; without a filter, all
    List {
        #[command(flatten)]
        resource: ResourceArgs,
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Allow or deny operations to a principal
    Create {
        /// Such as User:alice
        #[arg(long, short, value_parser = principal)]
        principal: String,
        #[command(flatten)]
        resource: ResourceArgs,
        /// The resource's name is a prefix
        #[arg(long)]
        prefixed: bool,
        /// Such as Read, Write, Describe, All; repeatable, or with commas
        #[arg(long = "operation", short, required = true, value_delimiter = ',', value_name = "OPERATION")]
        operations: Vec<AclOperation>,
        /// Address that the client connects from
        #[arg(long, default_value = "*")]
        host: String,
        /// Deny instead of allow; a deny wins over every allow
        #[arg(long)]
        deny: bool,
    },
    /// Delete the ACLs that match
    Delete {
        #[command(flatten)]
        resource: ResourceArgs,
        #[command(flatten)]
        filter: FilterArgs,
        /// Delete all ACLs, when nothing narrows them down
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub(super) struct ResourceArgs {
    /// Topic, * for all
    #[arg(long, short)]
    topic: Option<String>,
    /// Consumer group, * for all
    #[arg(long, short)]
    group: Option<String>,
    /// Transactional id, * for all
    #[arg(long, value_name = "ID")]
    transactional_id: Option<String>,
    /// The cluster itself
    #[arg(long)]
    cluster_resource: bool,
}

#[derive(Debug, Default, Args)]
pub(super) struct FilterArgs {
    /// Such as User:alice
    #[arg(long, short, value_parser = principal)]
    principal: Option<String>,
    /// Address that the client connects from
    #[arg(long)]
    host: Option<String>,
    /// Such as Read, Write, Describe, All
    #[arg(long, short)]
    operation: Option<AclOperation>,
    /// Literal or Prefixed
    #[arg(long, value_name = "TYPE")]
    pattern_type: Option<AclPatternType>,
    /// Allow or Deny
    #[arg(long)]
    permission: Option<AclPermission>,
}

impl ResourceArgs {
    /// Kafka's name for the cluster as a resource.
    const CLUSTER: &str = "kafka-cluster";

    fn named(&self) -> Option<(AclResourceType, String)> {
        let named = |kind, name: &Option<String>| name.clone().map(|name| (kind, name));
        named(AclResourceType::Topic, &self.topic)
            .or_else(|| named(AclResourceType::Group, &self.group))
            .or_else(|| named(AclResourceType::TransactionalId, &self.transactional_id))
            .or_else(|| self.cluster_resource.then(|| (AclResourceType::Cluster, Self::CLUSTER.to_owned())))
    }
}

impl FilterArgs {
    fn filter(self, resource: &ResourceArgs) -> AclFilter {
        let (resource_type, resource_name) = resource.named().unzip();
        AclFilter {
            resource_type,
            resource_name,
            pattern_type: self.pattern_type,
            principal: self.principal,
            host: self.host,
            operation: self.operation,
            permission: self.permission,
        }
    }
}

fn principal(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("it must be written as TYPE:NAME, such as User:alice".to_owned()),
    }
}

pub(super) async fn run(command: AclCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    match command {
        AclCommand::List { resource, filter } => {
            let filter = filter.filter(&resource);
            let acls = connection.admin().await?.list_acls(&filter).await?;
            Ok(output.print(&acls, || table(&acls))?)
        }
        AclCommand::Create { principal, resource, prefixed, operations, host, deny } => {
            let Some((resource_type, resource_name)) = resource.named() else {
                let sentence = "name the resource with --topic, --group, --transactional-id or --cluster-resource";
                return Err(Failure::Usage(sentence.to_owned()));
            };
            let acls: Vec<Acl> = operations
                .into_iter()
                .map(|operation| Acl {
                    resource_type,
                    resource_name: resource_name.clone(),
                    pattern_type: if prefixed { AclPatternType::Prefixed } else { AclPatternType::Literal },
                    principal: principal.clone(),
                    host: host.clone(),
                    operation,
                    permission: if deny { AclPermission::Deny } else { AclPermission::Allow },
                })
                .collect();
            create(&connection.admin().await?, acls, output).await
        }
        AclCommand::Delete { resource, filter, all, yes } => {
            let filter = filter.filter(&resource);
            if filter == AclFilter::default() && !all {
                return Err(Failure::Usage("name what to delete, or say --all to delete every ACL".to_owned()));
            }
            delete(&connection.admin().await?, filter, yes, output).await
        }
    }
}

async fn create(admin: &Admin, acls: Vec<Acl>, output: Output) -> Outcome {
    let mut failures = Failures::default();
    let results = admin.create_acls(&acls).await?;
    let created: Vec<Acl> = acls
        .into_iter()
        .zip(results)
        .filter_map(|(acl, result)| failures.keep(&format!("ACL {}", sentence(&acl)), result).map(|()| acl))
        .collect();
    if output.is_json() || !created.is_empty() {
        output.print(&created, || table(&created))?;
    }
    failures.outcome()
}

async fn delete(admin: &Admin, filter: AclFilter, yes: bool, output: Output) -> Outcome {
    let doomed = admin.list_acls(&filter).await?;
    if doomed.is_empty() {
        return Err(Failure::Text("No ACL matches.".to_owned()));
    }
    confirm(&format!("{}Delete these {} ACLs?", table(&doomed), doomed.len()), yes)?;
    let mut failures = Failures::default();
    let mut deleted = Vec::new();
    for result in admin.delete_acls(&[filter]).await? {
        deleted.extend(failures.keep("ACLs", result).unwrap_or_default());
    }
    if output.is_json() || !deleted.is_empty() {
        output.print(&deleted, || table(&deleted))?;
    }
    failures.outcome()
}

fn sentence(acl: &Acl) -> String {
    let Acl { principal, operation, permission, resource_type, resource_name, .. } = acl;
    format!("{permission} {operation} on {resource_type} {resource_name} to {principal}")
}

fn table(acls: &[Acl]) -> Table {
    let mut table = Table::new(&["PRINCIPAL", "HOST", "PERMISSION", "OPERATION", "RESOURCE", "NAME", "PATTERN"]);
    for acl in acls {
        table.row(vec![
            acl.principal.clone(),
            acl.host.clone(),
            acl.permission.to_string(),
            acl.operation.to_string(),
            acl.resource_type.to_string(),
            acl.resource_name.clone(),
            acl.pattern_type.to_string(),
        ]);
    }
    table
}
