//! CreateAcls: every valid binding of a request in one change, and a sentence for each invalid one.

use std::net::IpAddr;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::{Context, Service, Services};
use crate::auth::acl::WILDCARD;
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::{AclBinding, CLUSTER_NAME, Operation, PatternType, Permission, ResourceType};
use crate::catalog::{CatalogRecord, Image};

/// Longest name of a resource or principal (octets).
const MAX_NAME: usize = 1024;
/// Bindings in the catalog: they are all in memory, and an index of them too.
const MAX_BINDINGS: usize = 200_000;

type Invalid = (ResponseError, String);

impl Service for CreateAclsRequest {
    async fn serve(services: &Services, _context: &Context, request: Authorized<Self>) -> CreateAclsResponse {
        let (request, (), _access) = request.into_parts();
        let bindings: Vec<_> = request.creations.iter().map(binding).collect();
        let valid: Vec<_> = bindings.iter().filter_map(|binding| binding.as_ref().ok()).cloned().collect();
        let created = services.catalog.change(|image| created(image, valid)).await;
        let failure = created.err().map(|error| match error {
            crate::catalog::ChangeError::Refused(invalid) => invalid,
            crate::catalog::ChangeError::Catalog(error) => (ResponseError::KafkaStorageError, error.to_string()),
        });
        let results = bindings.into_iter().map(|binding| match (binding, &failure) {
            (Err(invalid), _) => result(Some(invalid)),
            (Ok(_), failure) => result(failure.clone()),
        });
        CreateAclsResponse::default().with_results(results.collect())
    }

    fn refuse(refusal: Refusal, request: &Self, _context: &Context) -> CreateAclsResponse {
        let refused = AclCreationResult::default()
            .with_error_code(refusal.0.code())
            .with_error_message(Some(refusal.0.to_string().into()));
        CreateAclsResponse::default().with_results(vec![refused; request.creations.len()])
    }
}

fn created(image: &Image, bindings: Vec<AclBinding>) -> Result<(Vec<CatalogRecord>, ()), Invalid> {
    let new: Vec<_> =
        bindings.into_iter().filter(|binding| !image.acls.contains(binding)).map(CatalogRecord::Acl).collect();
    if image.acls.len() + new.len() > MAX_BINDINGS {
        let message = format!("The cluster holds {} ACLs already; {MAX_BINDINGS} is the limit.", image.acls.len());
        return Err((ResponseError::PolicyViolation, message));
    }
    Ok((new, ()))
}

fn result(invalid: Option<Invalid>) -> AclCreationResult {
    match invalid {
        None => AclCreationResult::default().with_error_message(None),
        Some((error, message)) => {
            AclCreationResult::default().with_error_code(error.code()).with_error_message(Some(message.into()))
        }
    }
}

/// The binding, if it could ever have an effect.
fn binding(creation: &AclCreation) -> Result<AclBinding, Invalid> {
    let invalid = |message: String| (ResponseError::InvalidRequest, message);
    let code = |what: &str, code: i8| invalid(format!("Invalid {what} {code}."));
    let binding = AclBinding {
        resource_type: ResourceType::from_code(creation.resource_type)
            .ok_or_else(|| code("resource type", creation.resource_type))?,
        pattern_type: PatternType::from_code(creation.resource_pattern_type)
            .ok_or_else(|| code("pattern type", creation.resource_pattern_type))?,
        resource_name: creation.resource_name.to_string(),
        principal: creation.principal.to_string(),
        host: creation.host.to_string(),
        operation: Operation::from_code(creation.operation).ok_or_else(|| code("operation", creation.operation))?,
        permission: Permission::from_code(creation.permission_type)
            .ok_or_else(|| code("permission type", creation.permission_type))?,
    };
    check_resource(&binding).and_then(|()| check_principal(&binding.principal)).map_err(invalid)?;
    if binding.host != WILDCARD && binding.host.parse::<IpAddr>().is_err() {
        return Err(invalid(format!("The host `{}` is neither an IP address nor *.", binding.host)));
    }
    Ok(binding)
}

fn check_resource(binding: &AclBinding) -> Result<(), String> {
    let name = &binding.resource_name;
    if name.is_empty() {
        return Err("Resource name should not be empty.".to_owned());
    }
    if name.len() > MAX_NAME {
        return Err(format!("The resource name is longer than {MAX_NAME} octets."));
    }
    let everything = binding.pattern_type == PatternType::Literal && name == WILDCARD;
    if binding.resource_type == ResourceType::Cluster && name != CLUSTER_NAME && !everything {
        return Err(format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}."));
    }
    match operations(binding.resource_type).contains(&binding.operation) {
        true => Ok(()),
        false => Err(format!("The operation {:?} does not exist on {:?}.", binding.operation, binding.resource_type)),
    }
}

/// Kafka knows no other type of principal unless a plugin brings one.
fn check_principal(principal: &str) -> Result<(), String> {
    match principal.split_once(':') {
        None => Err(format!(
            "Could not parse principal from `{principal}` (no colon is present separating the principal type from the \
             principal name)."
        )),
        Some(("User", name)) if !name.is_empty() && principal.len() <= MAX_NAME => Ok(()),
        Some(("User", _)) => Err(format!("A principal's name has 1 to {MAX_NAME} octets.")),
        Some((kind, _)) => Err(format!("The principal type `{kind}` does not exist here; it is `User`.")),
    }
}

/// What can be done to a resource (Kafka's `AclEntry.supportedOperations`).
fn operations(resource: ResourceType) -> &'static [Operation] {
    use Operation::*;
    match resource {
        ResourceType::Topic => &[All, Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs],
        ResourceType::Group => &[All, Read, Describe, Delete, DescribeConfigs, AlterConfigs],
        ResourceType::Cluster => {
            &[All, Create, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, Alter, Describe]
        }
        ResourceType::TransactionalId => &[All, Describe, Write, TwoPhaseCommit],
        ResourceType::DelegationToken => &[All, Describe],
        ResourceType::User => &[All, CreateTokens, DescribeTokens],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creation() -> AclCreation {
        AclCreation::default()
            .with_resource_type(ResourceType::Topic.code())
            .with_resource_pattern_type(PatternType::Prefixed.code())
            .with_resource_name("orders".into())
            .with_principal("User:alice".into())
            .with_host("10.0.0.1".into())
            .with_operation(Operation::Read.code())
            .with_permission_type(Permission::Allow.code())
    }

    #[test]
    fn a_valid_creation_is_the_binding_it_names() {
        let made = binding(&creation()).expect("valid");
        let expected = AclBinding {
            resource_type: ResourceType::Topic,
            pattern_type: PatternType::Prefixed,
            resource_name: "orders".to_owned(),
            principal: "User:alice".to_owned(),
            host: "10.0.0.1".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        };
        assert_eq!(made, expected);
    }

    #[test]
    fn what_could_never_have_an_effect_is_refused() {
        let cases = [
            (creation().with_resource_type(1), "resource type 1"),
            (creation().with_resource_pattern_type(2), "pattern type 2"),
            (creation().with_operation(1), "operation 1"),
            (creation().with_permission_type(1), "permission type 1"),
            (creation().with_resource_name("".into()), "should not be empty"),
            (creation().with_resource_name("x".repeat(MAX_NAME + 1).into()), "longer than"),
            (creation().with_principal("alice".into()), "no colon"),
            (creation().with_principal("User:".into()), "1 to"),
            (creation().with_principal("Group:ops".into()), "`Group`"),
            (creation().with_host("broker.example.com".into()), "neither an IP address"),
            (creation().with_operation(Operation::ClusterAction.code()), "does not exist on Topic"),
            (creation().with_resource_type(ResourceType::Cluster.code()).with_operation(7), "kafka-cluster"),
        ];
        for (creation, part) in cases {
            let (error, message) = binding(&creation).expect_err(part);
            assert_eq!(error, ResponseError::InvalidRequest);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_cluster_has_one_name_and_its_own_operations() {
        let cluster = creation()
            .with_resource_type(ResourceType::Cluster.code())
            .with_resource_pattern_type(PatternType::Literal.code())
            .with_resource_name(CLUSTER_NAME.into())
            .with_operation(Operation::IdempotentWrite.code());
        assert!(binding(&cluster).is_ok());
        assert!(binding(&cluster.with_operation(Operation::Read.code())).is_err());
    }

    #[test]
    fn creating_again_changes_nothing() {
        let made = binding(&creation()).expect("valid");
        let mut image = Image::default();
        let (records, ()) = created(&image, vec![made.clone()]).expect("there is room");
        assert_eq!(records, [CatalogRecord::Acl(made.clone())]);
        records.iter().for_each(|record| image.apply(record));
        assert_eq!(created(&image, vec![made]).expect("there is room").0, []);
    }
}
