//! What each request needs, one file per family.
