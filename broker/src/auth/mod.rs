//! Who asks, and whether they may: SASL, principals, ACL decisions.
//!
//! A service gets an [`Authorized`] request, which only [`authorize`] makes, after the request's [`Guarded`] rule ran.
//! The rules live in `guard`, one file per request family, beside each other where a reviewer can compare them.

mod guard;
mod principal;

use std::net::IpAddr;
use std::sync::Arc;

use kafka_protocol::ResponseError;

pub use principal::Principal;

use crate::catalog::Image;
use crate::catalog::acl::{Operation, ResourceType};

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
}

impl Access {
    pub fn new(session: Arc<Session>, image: Arc<Image>, super_users: Arc<[Principal]>) -> Self {
        Self { session, image, super_users }
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
        self.sees(operation, resource, name)
    }

    /// Like [`Self::allows`], for lists that leave out what may not be seen: not audited.
    pub fn sees(&self, _operation: Operation, _resource: ResourceType, _name: &str) -> bool {
        unimplemented!()
    }

    /// Whether the session may do this to at least one resource of the type (Kafka's authorizeByResourceType).
    pub fn allows_any(&self, _operation: Operation, _resource: ResourceType) -> bool {
        unimplemented!()
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

/// The only way to an [`Authorized`] request.
pub fn authorize<R: Guarded>(mut request: R, access: Access) -> Result<Authorized<R>, Refusal> {
    let denied = request.guard(&access)?;
    Ok(Authorized { request, denied, access })
}
