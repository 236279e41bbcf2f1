//! Makes the [`Access`] of each request, with the index of the newest ACLs.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::acl::AclIndex;
use super::audit::Audit;
use super::{Access, Principal, Session};
use crate::catalog::Image;
use crate::catalog::acl::AclBinding;

/// One per broker.
pub struct Authorizer {
    super_users: Arc<[Principal]>,
    audit: Arc<Audit>,
    indexed: ArcSwap<Indexed>,
}

/// Holds the set that was indexed, so that its address stays taken and comparing addresses is comparing sets.
struct Indexed {
    acls: Arc<BTreeSet<AclBinding>>,
    index: Arc<AclIndex>,
}

impl Authorizer {
    /// `super_users` with their type: `User:admin`.
    pub fn new(super_users: &[String], audit: Arc<Audit>) -> Self {
        let super_users = super_users.iter().map(|name| Principal::parse(name)).collect();
        let acls = Arc::new(BTreeSet::new());
        let indexed = ArcSwap::from_pointee(Indexed { acls, index: Arc::new(AclIndex::default()) });
        Self { super_users, audit, indexed }
    }

    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// What a request of this session may do by this image.
    pub fn access(&self, session: Arc<Session>, image: Arc<Image>) -> Access {
        let index = self.index(&image.acls);
        Access { session, image, super_users: self.super_users.clone(), index, audit: self.audit.clone() }
    }

    fn index(&self, acls: &Arc<BTreeSet<AclBinding>>) -> Arc<AclIndex> {
        let indexed = self.indexed.load();
        if Arc::ptr_eq(&indexed.acls, acls) {
            return indexed.index.clone();
        }
        // Two requests may build the same index; whichever is stored last serves the next ones.
        let index = Arc::new(AclIndex::new(acls.iter()));
        self.indexed.store(Arc::new(Indexed { acls: acls.clone(), index: index.clone() }));
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogRecord;
    use crate::catalog::acl::{Operation, PatternType, Permission, ResourceType};
    use crate::clock::ManualClock;

    #[test]
    fn the_index_is_built_once_per_set_of_acls_and_follows_its_changes() {
        let audit = Arc::new(Audit::new(Arc::new(ManualClock::at(0))));
        let authorizer = Authorizer::new(&["User:admin".to_owned()], audit);
        let session = |user: &str| {
            Arc::new(Session { principal: Principal::user(user), host: [10, 0, 0, 1].into(), listener: "l".into() })
        };
        let may = |user: &str, image: &Image| {
            let access = authorizer.access(session(user), Arc::new(image.clone()));
            access.allows(Operation::Read, ResourceType::Topic, "orders")
        };
        let mut image = Image::default();
        assert!(!may("alice", &image));
        assert!(may("admin", &image), "a super user needs no ACL");
        let binding = AclBinding {
            resource_type: ResourceType::Topic,
            pattern_type: PatternType::Literal,
            resource_name: "orders".to_owned(),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        };
        image.apply(&CatalogRecord::Acl(binding.clone()));
        assert!(may("alice", &image));
        let built = authorizer.index(&image.acls);
        image.apply(&CatalogRecord::ProducerIds { next: 1 });
        assert!(Arc::ptr_eq(&built, &authorizer.index(&image.acls)), "other changes leave the index alone");
        image.apply(&CatalogRecord::AclDeleted(binding));
        assert!(!may("alice", &image));
    }
}
