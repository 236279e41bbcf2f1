//! A certificate's subject as text, exactly as Java's `X500Principal.getName()` gives it (RFC 2253): mapping rules
//! and ACLs written for Kafka then fit here too.

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

/// Attribute types that have a keyword in RFC 2253; all others are written as dotted numbers.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];
/// What Java escapes with a backslash, wherever it stands.
const ESCAPED: &str = ",=+<>#;\"\\";

/// The subject of a certificate; `None` when the certificate or its subject cannot be read.
pub fn rfc2253(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let parts = certificate.subject().iter().map(|rdn| {
        let attributes = rdn.iter().map(attribute).collect::<Option<Vec<_>>>()?;
        Some(attributes.join("+"))
    });
    let mut parts = parts.collect::<Option<Vec<_>>>()?;
    // The most specific part comes last in the certificate and first in the text.
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let kind = attribute.attr_type().to_id_string();
    let keyword = KEYWORDS.iter().find(|(oid, _)| *oid == kind).map(|(_, keyword)| *keyword);
    match (keyword, text(attribute.attr_value())) {
        (Some(keyword), Some(value)) => Some(format!("{keyword}={}", escape(&value))),
        (keyword, _) => {
            let value = hex(attribute.attr_value())?;
            Some(format!("{}=#{value}", keyword.unwrap_or(&kind)))
        }
    }
}

/// The value, when it is one of the string types.
fn text(value: &Any<'_>) -> Option<String> {
    let octets = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => String::from_utf8(octets.to_vec()).ok(),
        Tag::T61String => Some(octets.iter().map(|octet| char::from(*octet)).collect()),
        Tag::BmpString => {
            let units: Vec<u16> = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// The value's DER encoding. Its length fits in two octets, since subjects are bounded by the handshake.
fn hex(value: &Any<'_>) -> Option<String> {
    let length = value.data.len();
    let mut octets = vec![value.header.raw_tag().and_then(|tag| tag.first().copied()).unwrap_or(value.tag().0 as u8)];
    match length {
        0..=0x7f => octets.push(length as u8),
        0x80..=0xff => octets.extend([0x81, length as u8]),
        0x100..=0xffff => octets.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => return None,
    }
    octets.extend_from_slice(value.data);
    Some(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

fn escape(value: &str) -> String {
    let start = value.len() - value.trim_start_matches([' ', '\r']).len();
    let end = value.trim_end_matches([' ', '\r']).len();
    let mut escaped = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        match character {
            '\0' => escaped.push_str("\\00"),
            _ => {
                if ESCAPED.contains(character) || at < start || at >= end {
                    escaped.push('\\');
                }
                escaped.push(character);
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn subject(parts: &[(DnType, DnValue)]) -> Option<String> {
        let mut name = DistinguishedName::new();
        parts.iter().for_each(|(kind, value)| name.push(kind.clone(), value.clone()));
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
        rfc2253(certificate.der())
    }

    fn text(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn most_specific_first_under_javas_keywords() {
        let parts = [
            (DnType::CountryName, text("DE")),
            (DnType::StateOrProvinceName, text("BY")),
            (DnType::LocalityName, text("Munich")),
            (DnType::OrganizationName, text("Example")),
            (DnType::OrganizationalUnitName, text("apps")),
            (DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 1]), text("u1")),
            (DnType::CommonName, text("app")),
        ];
        assert_eq!(subject(&parts).as_deref(), Some("CN=app,UID=u1,OU=apps,O=Example,L=Munich,ST=BY,C=DE"));
    }

    #[test]
    fn special_characters_are_escaped_as_java_does() {
        let cases = [
            ("a,b", "CN=a\\,b"),
            ("a+b=c", "CN=a\\+b\\=c"),
            ("#x", "CN=\\#x"),
            (" a b ", "CN=\\ a b\\ "),
            ("\"<>;\\", "CN=\\\"\\<\\>\\;\\\\"),
            ("Jörg", "CN=Jörg"),
        ];
        for (value, expected) in cases {
            assert_eq!(subject(&[(DnType::CommonName, text(value))]).as_deref(), Some(expected));
        }
    }

    #[test]
    fn other_types_are_numbers_with_their_encoding() {
        let email = DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]);
        let value = DnValue::Ia5String("a@b".try_into().expect("ASCII"));
        let parts = [(DnType::CommonName, text("app")), (email, value)];
        assert_eq!(subject(&parts).as_deref(), Some("1.2.840.113549.1.9.1=#1603614062,CN=app"));
    }

    #[test]
    fn a_value_cannot_pretend_to_be_another_part() {
        let forged = subject(&[(DnType::CommonName, text("x,CN=admin"))]);
        assert_eq!(forged.as_deref(), Some("CN=x\\,CN\\=admin"));
    }

    #[test]
    fn garbage_has_no_subject() {
        assert_eq!(rfc2253(b""), None);
        assert_eq!(rfc2253(&[0x30, 0x82, 0xff, 0xff]), None);
    }
}
