//! Who asks, and whether they may: SASL, principals, ACL decisions.
//!
//! A service gets an [`Authorized`] request, which only [`authorize`] makes, after the request's [`Guarded`] rule ran.
//! The rules live in `guard`, one file per request family, beside each other where a reviewer can compare them.

pub mod acl;
pub mod audit;
mod authorizer;
mod guard;
pub mod mapping;
mod operations;
mod principal;
pub mod quota;
pub mod sasl;
pub mod token;

use std::net::IpAddr;
use std::sync::Arc;

use kafka_protocol::ResponseError;

pub use authorizer::Authorizer;
pub use principal::Principal;

use crate::catalog::Image;
use crate::catalog::acl::{Operation, ResourceType};
use crate::clock::SystemClock;

use audit::Audit;
use authorizer::Indexed;

/// Facts about an authenticated connection that decisions need.
#[derive(Clone, Debug)]
pub struct Session {
    pub principal: Principal,
    pub host: IpAddr,
    /// Name of the listener that the client connected to.
    pub listener: Arc<str>,
}

/// Decides for one session against one image.
#[derive(Clone)]
pub struct Access {
    session: Arc<Session>,
    image: Arc<Image>,
    super_users: Arc<[Principal]>,
    acls: Arc<Indexed>,
    audit: Arc<Audit>,
}

impl Access {
    /// Indexes the image's ACLs anew: for a single decision. Connections ask their [`Authorizer`], which keeps the index.
    pub fn new(session: Arc<Session>, image: Arc<Image>, super_users: Arc<[Principal]>) -> Self {
        let acls = Arc::new(Indexed::new(image.acls.clone()));
        Self { session, image, super_users, acls, audit: Arc::new(Audit::new(Arc::new(SystemClock))) }
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The catalog as it was when the request was authorized.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Whether the session may; a refusal is audited.
    pub fn allows(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        let allowed = self.sees(operation, resource, name);
        if !allowed {
            self.audit.denied(&self.session, operation, resource, name);
        }
        allowed
    }

    /// Like [`Self::allows`], for lists that leave out what may not be seen: not audited.
    pub fn sees(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        let principal = &self.session.principal;
        self.is_super_user()
            || self.acls.index().allows(principal.as_str(), self.session.host, operation, resource, name)
    }

    /// Whether the session may do this to at least one resource of the type (Kafka's authorizeByResourceType).
    pub fn allows_any(&self, operation: Operation, resource: ResourceType) -> bool {
        let principal = &self.session.principal;
        self.is_super_user() || self.acls.index().allows_any(principal.as_str(), self.session.host, operation, resource)
    }

    fn is_super_user(&self) -> bool {
        self.super_users.contains(&self.session.principal)
    }
}

/// A request refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub ResponseError);

/// What a request needs. `guard` takes out of the request every item that is not allowed, and returns those items in
/// a form from which the service can answer them; or it refuses the whole request.
pub trait Guarded: Sized {
    type Denied;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal>;
}

/// A request whose remaining items are all allowed.
pub struct Authorized<R: Guarded> {
    request: R,
    denied: R::Denied,
    access: Access,
}

impl<R: Guarded> Authorized<R> {
    /// The allowed rest of the request, the items that were refused, and the access for further questions.
    pub fn into_parts(self) -> (R, R::Denied, Access) {
        (self.request, self.denied, self.access)
    }
}

/// The only way to an [`Authorized`] request. A request refused as a whole comes back, to be answered.
pub fn authorize<R: Guarded>(mut request: R, access: Access) -> Result<Authorized<R>, (Refusal, R)> {
    match request.guard(&access) {
        Ok(denied) => Ok(Authorized { request, denied, access }),
        Err(refusal) => Err((refusal, request)),
    }
}
