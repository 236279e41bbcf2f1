//! Import ids of ACLs: `principal|host|operation[,operation]|permission|type|name|pattern`.
//!
//! In our own ids `|` and `%` inside a part are percent-encoded. Ids of the Kafka provider by Mongey have the same parts and
//! encode nothing, so a `|` inside the principal or the name is found by where operations, permission and type stand.

use std::collections::BTreeSet;

use lockgate_client::admin::{AclOperation, AclPatternType, AclPermission, AclResourceType};
use percent_encoding::percent_decode_str;

use crate::cluster::AclScope;

const FORM: &str = "principal|host|operation[,operation]|permission|resource type|resource name|pattern type";

/// The id of ACLs.
pub(crate) fn format(scope: &AclScope, operations: &BTreeSet<AclOperation>) -> String {
    let text = |part: &str| part.replace('%', "%25").replace('|', "%7C");
    let operations: Vec<_> = operations.iter().map(|operation| operation.name()).collect();
    let AclScope { resource_type, pattern_type, permission, .. } = scope;
    format!(
        "{}|{}|{}|{permission}|{resource_type}|{}|{pattern_type}",
        text(&scope.principal),
        text(&scope.host),
        operations.join(","),
        text(&scope.resource_name)
    )
}

/// Reads an id; the error is a sentence for the person.
pub(crate) fn parse(id: &str) -> Result<(AclScope, BTreeSet<AclOperation>), String> {
    let parts: Vec<&str> = id.split('|').collect();
    let readings: Vec<_> = (2..parts.len()).filter_map(|at| read_at(&parts, at)).collect();
    match readings.as_slice() {
        [reading] => Ok(reading.clone()),
        [] => Err(format!(
            "{id:?} is not an ACL id. Write it as {FORM}, for example \
             User:alice|*|Read,Describe|Allow|Topic|orders|Literal, with | as %7C and % as %25 inside a part."
        )),
        several => Err(format!(
            "{id:?} can be read in {} ways. Write | as %7C and % as %25 inside the principal and the resource name.",
            several.len()
        )),
    }
}

/// The reading in which the operations are part `at`, if that makes sense.
fn read_at(parts: &[&str], at: usize) -> Option<(AclScope, BTreeSet<AclOperation>)> {
    let [permission, resource_type, name @ .., pattern_type] = parts.get(at + 1..)? else { return None };
    if name.is_empty() {
        return None;
    }
    let operations: BTreeSet<_> =
        parts[at].split(',').map(|text| text.trim().parse()).collect::<Result<_, _>>().ok()?;
    // Only a part that holds no bare | can be one of ours.
    let text = |parts: &[&str]| match parts {
        [one] => percent_decode_str(one).decode_utf8_lossy().into_owned(),
        several => several.join("|"),
    };
    let scope = AclScope {
        principal: text(&parts[..at - 1]),
        host: text(&parts[at - 1..at]),
        resource_type: resource_type.parse::<AclResourceType>().ok()?,
        resource_name: text(name),
        pattern_type: pattern_type.parse::<AclPatternType>().ok()?,
        permission: permission.parse::<AclPermission>().ok()?,
    };
    Some((scope, operations))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(id: &str) -> (AclScope, BTreeSet<AclOperation>) {
        parse(id).expect(id)
    }

    #[test]
    fn our_ids_name_several_operations_and_escape() {
        let (scope, operations) = parsed("User:CN=a%7Cb,O=50%25|10.0.0.1|Read,Describe|Deny|Group|app%7Cone|Prefixed");
        assert_eq!(scope.principal, "User:CN=a|b,O=50%");
        assert_eq!(scope.host, "10.0.0.1");
        assert_eq!(scope.resource_name, "app|one");
        assert_eq!((scope.resource_type, scope.pattern_type), (AclResourceType::Group, AclPatternType::Prefixed));
        assert_eq!(scope.permission, AclPermission::Deny);
        assert_eq!(operations, BTreeSet::from([AclOperation::Read, AclOperation::Describe]));
        assert_eq!(parsed(&format(&scope, &operations)), (scope, operations));
    }

    #[test]
    fn the_other_providers_ids_are_read_with_bars_and_percents_inside() {
        let (scope, operations) = parsed("User:CN=a|b%|*|IdempotentWrite|Allow|Cluster|kafka-cluster|Literal");
        assert_eq!(scope.principal, "User:CN=a|b%");
        assert_eq!(operations, BTreeSet::from([AclOperation::IdempotentWrite]));
        let (scope, _) = parsed("User:x|*|Write|Allow|TransactionalId|tx|of|app|Literal");
        assert_eq!((scope.principal.as_str(), scope.resource_name.as_str()), ("User:x", "tx|of|app"));
        let (scope, _) = parsed("User:100%|*|Write|Allow|Topic|t|Literal");
        assert_eq!(scope.principal, "User:100%");
    }

    #[test]
    fn an_id_with_two_readings_is_refused() {
        let refusal = parse("User:x|*|Read|Allow|Topic|*|Read|Allow|Topic|t|Literal").expect_err("two readings");
        assert!(refusal.contains("2 ways"), "{refusal}");
    }

    #[test]
    fn what_is_no_id_is_explained() {
        for id in ["", "User:x", "User:x|*|Read|Allow|Topic|Literal", "User:x|*|Reed|Allow|Topic|t|Literal"] {
            let refusal = parse(id).expect_err(id);
            assert!(refusal.contains("User:alice|*|Read,Describe"), "{refusal}");
        }
    }
}
