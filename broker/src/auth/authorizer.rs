//! Makes the [`Access`] of each request, with the index of the newest ACLs.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::acl::AclIndex;
use super::audit::Audit;
use super::{Access, Principal, Session};
use crate::catalog::{Acls, Image};

/// One per broker.
pub struct Authorizer {
    super_users: Arc<[Principal]>,
    audit: Arc<Audit>,
    indexed: ArcSwap<Indexed>,
}

/// ACLs and their index, which is built when first asked: super users need none, and may be making ACLs by the thousand.
/// Holds the set, so that its address stays taken and comparing addresses is comparing sets.
pub(super) struct Indexed {
    acls: Arc<Acls>,
    index: OnceLock<AclIndex>,
}

impl Indexed {
    pub(super) fn new(acls: Arc<Acls>) -> Self {
        Self { acls, index: OnceLock::new() }
    }

    pub(super) fn index(&self) -> &AclIndex {
        self.index.get_or_init(|| AclIndex::new(self.acls.iter().map(AsRef::as_ref)))
    }
}

impl Authorizer {
    /// `super_users` with their type: `User:admin`.
    pub fn new(super_users: &[String], audit: Arc<Audit>) -> Self {
        let super_users = super_users.iter().map(|name| Principal::parse(name)).collect();
        let indexed = ArcSwap::from_pointee(Indexed::new(Arc::default()));
        Self { super_users, audit, indexed }
    }

    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// What a request of this session may do by this image.
    pub fn access(&self, session: Arc<Session>, image: Arc<Image>) -> Access {
        let acls = self.indexed(&image.acls);
        Access { session, image, super_users: self.super_users.clone(), acls, audit: self.audit.clone() }
    }

    fn indexed(&self, acls: &Arc<Acls>) -> Arc<Indexed> {
        let indexed = self.indexed.load();
        if Arc::ptr_eq(&indexed.acls, acls) {
            return indexed.clone();
        }
        // Two requests may do this for the same set; whichever is stored last serves the next ones.
        let indexed = Arc::new(Indexed::new(acls.clone()));
        self.indexed.store(indexed.clone());
        indexed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogRecord;
    use crate::catalog::acl::{AclBinding, Operation, PatternType, Permission, ResourceType};
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
        let built = authorizer.indexed(&image.acls);
        image.apply(&CatalogRecord::ProducerIds { next: 1 });
        assert!(Arc::ptr_eq(&built, &authorizer.indexed(&image.acls)), "other changes leave the index alone");
        image.apply(&CatalogRecord::AclDeleted(binding));
        assert!(!may("alice", &image));
    }
}
