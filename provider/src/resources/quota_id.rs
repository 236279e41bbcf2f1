//! Import ids of quotas: `user=…`, `client-id=…`, `user=…,client-id=…` or `ip=…`, with `<default>` for the default entity and
//! `,` and `%` inside a name percent-encoded.

use lockgate_client::admin::{QuotaEntity, QuotaName};
use percent_encoding::percent_decode_str;

/// How the entity of everybody without a quota of their own is called, here as in Kafka.
pub(crate) const DEFAULT: &str = "<default>";

/// Reads one part of an entity.
pub(crate) fn name(text: &str) -> QuotaName {
    if text == DEFAULT { QuotaName::Default } else { QuotaName::Named(text.to_owned()) }
}

/// Writes one part of an entity.
pub(crate) fn text(name: &QuotaName) -> &str {
    match name {
        QuotaName::Default => DEFAULT,
        QuotaName::Named(text) => text,
    }
}

/// Reads an id; the error is a sentence for the person.
pub(super) fn parse(id: &str) -> Result<QuotaEntity, String> {
    read(id).ok_or_else(|| {
        format!(
            "{id:?} is not the id of a quota. Write it as user=NAME, client-id=ID, user=NAME,client-id=ID or ip=ADDRESS, with \
             {DEFAULT} for the default of a kind, and with , as %2C and % as %25 inside a name."
        )
    })
}

fn read(id: &str) -> Option<QuotaEntity> {
    let mut entity = QuotaEntity::default();
    for part in id.split(',') {
        let (kind, value) = part.split_once('=')?;
        let place = match kind {
            "user" => &mut entity.user,
            "client-id" => &mut entity.client_id,
            "ip" => &mut entity.ip,
            _ => return None,
        };
        let value = percent_decode_str(value).decode_utf8().ok().filter(|value| !value.is_empty())?;
        if place.replace(name(&value)).is_some() {
            return None;
        }
    }
    let mixed = entity.ip.is_some() && (entity.user.is_some() || entity.client_id.is_some());
    (!mixed).then_some(entity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<QuotaName> {
        Some(QuotaName::Named(name.to_owned()))
    }

    #[test]
    fn an_id_names_one_or_both_parts_and_escapes() {
        let pair = parse("user=CN=a%2CO=50%25,client-id=<default>").expect("a good id");
        assert_eq!((pair.user, pair.client_id), (named("CN=a,O=50%"), Some(QuotaName::Default)));
        assert_eq!(parse("client-id=app").expect("a good id").client_id, named("app"));
        assert_eq!(parse("ip=10.0.0.1").expect("a good id").ip, named("10.0.0.1"));
        assert_eq!(parse("user=%3Cdefault%3E").expect("a good id").user, Some(QuotaName::Default));
    }

    #[test]
    fn what_is_no_id_is_explained() {
        for id in ["", "alice", "user=", "user=a,user=b", "group=g", "ip=10.0.0.1,user=a", "user=a,", "user=%FF"] {
            let refusal = parse(id).expect_err(id);
            assert!(refusal.contains("user=NAME,client-id=ID"), "{refusal}");
        }
    }
}
