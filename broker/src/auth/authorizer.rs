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
